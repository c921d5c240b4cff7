//! The connection: libdbus behind one door, never waited on. It knows messages, and nothing of units.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use dbus::Message;
use dbus::channel::Channel;

use super::fork::Inside;
use super::mailbox::{Mailbox, Over, mailbox};
use super::router::Refusal;
use super::signals;
use super::wake::Wake;
use crate::sys;

/// An open connection. Authentication, Hello and all else go through [`Connection::pump`].
pub(crate) struct Connection {
    channel: Channel,
    /// Whether the numbers of processes here mean others where the manager is, or none.
    pub counts_otherwise: bool,
}

/// What poll(2) is to watch the bus socket for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interest {
    pub fd: RawFd,
    pub read: bool,
    pub write: bool,
}

impl Connection {
    fn new(mut channel: Channel) -> Connection {
        channel.set_watch_enabled(true);
        let socket = channel.watch().fd;
        let counts_otherwise = sys::peer_counts_otherwise(sys::borrow(&channel, socket));
        Connection { channel, counts_otherwise }
    }

    /// Puts a message out, without blocking, and gives its size; what does not fit into the socket goes with the next
    /// pump.
    pub(crate) fn send(&self, mut message: Message, wants_reply: bool) -> Result<u64, ()> {
        message.set_no_reply(!wants_reply);
        let size = size(&message);
        self.channel.send(message).map(|_| size)
    }

    pub(crate) fn interest(&self) -> Interest {
        let watch = self.channel.watch();
        Interest { fd: watch.fd, read: watch.read, write: watch.write }
    }

    /// Reads and writes what can be without blocking; false once the connection has ended.
    pub(crate) fn pump(&self) -> bool {
        self.channel.read_write(Some(Duration::ZERO)).is_ok() && self.channel.is_connected()
    }

    /// Whether something is yet to be written: for want of room, or because the authentication is not over.
    pub(crate) fn has_unsent(&self) -> bool {
        self.channel.has_messages_to_send()
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.channel.is_connected()
    }

    /// The next message that has come in.
    pub(crate) fn next(&self) -> Option<Message> {
        self.channel.pop_message()
    }
}

/// libdbus tells a message's size by a copy alone, which takes a fraction of a microsecond.
pub(crate) fn size(message: &Message) -> u64 {
    let mut size = 0;
    let _ = message.marshal(|bytes| {
        size = bytes.len() as u64;
        Ok::<(), ()>(())
    });
    size
}

/// A connection that is being made.
///
/// connect(2) blocks while the listener's accept queue is full, so it has a thread of its own that can be left
/// behind; there is never more than one of them for a manager.
pub(crate) struct Connecting(Arc<Mailbox<Result<Connection, Refusal>>>);

impl From<dbus::Error> for Refusal {
    fn from(error: dbus::Error) -> Refusal {
        let short = error.name().and_then(|name| name.strip_prefix("org.freedesktop.DBus.Error."));
        Refusal {
            passing: matches!(short, Some("LimitsExceeded" | "NoMemory")),
            denied: matches!(short, Some("AccessDenied")),
            reason: error.message().unwrap_or("refused").into(),
        }
    }
}

impl From<std::io::Error> for Refusal {
    /// A thread could not be started.
    fn from(error: std::io::Error) -> Refusal {
        let reason = format!("could not start a thread to connect in: {error}");
        Refusal { passing: true, ..Refusal::new(reason) }
    }
}

impl Connecting {
    /// Begins; `wake` is rung when [`Connecting::outcome`] has something to tell.
    pub(crate) fn start(address: &str, wake: Arc<Wake>) -> std::io::Result<Connecting> {
        let (tell, outcome) = mailbox(());
        let address = address.to_string();
        let connect = move || {
            let opened = Channel::open_private(&address).map(Connection::new);
            // The other end is to begin while the dbus thread wakes up.
            let _ = opened.as_ref().map(|connection| {
                let _inside = Inside::enter();
                connection.pump()
            });
            tell.deliver(opened.map_err(Refusal::from));
            wake.ring();
        };
        signals::spawn("unitwait-connect", Box::new(connect))?;
        Ok(Connecting(outcome))
    }

    /// The connection, or why there is none; `None` while it is still being made.
    pub(crate) fn outcome(&self) -> Option<Result<Connection, Refusal>> {
        let outcome = self.0.look()?;
        Some(outcome.unwrap_or_else(|Over| Err(Refusal::new("the attempt was cut short"))))
    }
}
