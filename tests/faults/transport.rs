//! Sockets that are no good: opening ends by its deadline, at once where the answer is clear, and a later try on a
//! good one works.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use dbus::arg::Variant;
use dbus::{Message, MessageType};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, connect, listen};
use unitwait::{Error, Manager, Stage};

use crate::alone::{Holdings, alone, thread_names};
use crate::bus::{Bus, Directory};
use crate::manager::{BUS, Script, signal};
use crate::wire::{Wire, line};
use crate::world::{LONG, Place, World, by};

const SHORT: Duration = Duration::from_millis(300);

/// A socket that does with each connection what it is told; the number says which one it is.
pub struct Listener {
    directory: Directory,
    pub connections: Arc<AtomicU32>,
}

impl Listener {
    pub fn new(treat: impl Fn(UnixStream, u32) + Send + Sync + 'static) -> Listener {
        let directory = Directory::new();
        let socket = UnixListener::bind(directory.join("bus")).expect("a socket can be bound");
        Listener::on(directory, socket, treat)
    }

    /// Begins to accept from a socket that is there.
    fn on(
        directory: Directory,
        socket: UnixListener,
        treat: impl Fn(UnixStream, u32) + Send + Sync + 'static,
    ) -> Listener {
        let connections = Arc::new(AtomicU32::new(0));
        let (count, treat) = (Arc::clone(&connections), Arc::new(treat));
        thread::spawn(move || {
            for stream in socket.incoming().map_while(Result::ok) {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let treat = Arc::clone(&treat);
                thread::spawn(move || treat(stream, number));
            }
        });
        Listener { directory, connections }
    }

    pub fn address(&self) -> String {
        format!("unix:path={}", self.directory.join("bus").display())
    }

    pub fn open(&self, deadline: Duration) -> Result<Manager, Error> {
        by(deadline, || Manager::builder().at(self.address()).open(deadline))
    }

    /// As a bus, and as the manager itself.
    fn open_both_ways(&self, deadline: Duration, check: impl Fn(Result<Manager, Error>)) {
        for direct in [false, true] {
            let builder = Manager::builder().at(self.address()).direct(direct);
            check(by(deadline, || builder.open(deadline)));
        }
    }
}

/// Accepts, and never says a word.
pub struct Silence(Listener);

impl Silence {
    pub fn new() -> Silence {
        Silence(Listener::new(|stream, _| hold(stream)))
    }

    pub fn address(&self) -> String {
        self.0.address()
    }
}

/// Keeps a connection open until the other side ends it.
fn hold(mut stream: UnixStream) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

fn assert_refused(result: Result<Manager, Error>) {
    match result {
        Err(Error::Connect { .. }) => {}
        other => panic!("expected a refusal, and had {other:?}"),
    }
}

fn assert_too_late(result: Result<Manager, Error>) {
    match result {
        // A direct peer is asked as soon as it has accepted.
        Err(Error::Timeout { stage: Stage::Connect | Stage::Call, job: None, .. }) => {}
        other => panic!("expected a deadline while connecting, and had {other:?}"),
    }
}

#[test]
fn refused_authentication_is_told_at_once() {
    let refusing = Listener::new(|mut stream, _| {
        while line(&mut stream).is_ok() {
            let _ = stream.write_all(b"REJECTED EXTERNAL\r\n");
        }
    });
    by(Duration::ZERO, || refusing.open_both_ways(LONG, assert_refused));
}

#[test]
fn a_socket_that_accepts_and_says_nothing_costs_no_more_than_the_deadline() {
    let silence = Silence::new();
    silence.0.open_both_ways(SHORT, assert_too_late);
}

#[test]
fn a_socket_that_closes_at_once_is_told_at_once() {
    let closing = Listener::new(|stream, _| drop(stream));
    by(Duration::ZERO, || closing.open_both_ways(LONG, assert_refused));
}

#[test]
fn half_a_hello_ends_by_the_deadline_or_with_the_connection() {
    let answer_half = |stream: UnixStream| {
        let mut raw = stream.try_clone().unwrap();
        let Ok(wire) = Wire::server(stream) else { return };
        let Ok(hello) = wire.receive() else { return };
        let mut reply = from_bus(hello.method_return().append1(":1.5"));
        reply.set_serial(1);
        let _ = reply.marshal(|bytes| raw.write_all(&bytes[..bytes.len() / 2]));
    };
    let half = Listener::new(move |stream, _| {
        let held = stream.try_clone().unwrap();
        answer_half(stream);
        hold(held);
    });
    assert_too_late(half.open(SHORT));
    let half_and_gone = Listener::new(move |stream, _| answer_half(stream));
    assert_refused(by(Duration::ZERO, || half_and_gone.open(LONG)));
}

#[test]
fn what_is_no_dbus_is_told_at_once() {
    let web = Listener::new(|mut stream, _| {
        let _ = line(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    assert_refused(by(Duration::ZERO, || web.open(LONG)));
    let garbling = Listener::new(|stream, _| {
        let mut raw = stream.try_clone().unwrap();
        let Ok(wire) = Wire::server(stream) else { return };
        let _ = wire.receive();
        let _ = raw.write_all(&[0xff; 64]);
        let _ = std::io::copy(&mut raw, &mut std::io::sink());
    });
    assert_refused(by(Duration::ZERO, || garbling.open(LONG)));
}

#[test]
fn an_address_where_nobody_is_is_told_at_once() {
    let directory = Directory::new();
    let gone = directory.join("gone");
    drop(UnixListener::bind(&gone).unwrap());
    let addresses = [
        format!("unix:path={}", directory.join("never").display()),
        format!("unix:path={}", gone.display()),
        "tcp:host=127.0.0.1,port=1".into(),
        "unix:nonsense=1".into(),
        "nonsense:".into(),
    ];
    for address in addresses {
        assert_refused(by(Duration::ZERO, || Manager::builder().at(address).open(LONG)));
    }
}

/// A socket that nobody accepts from: one connection fills its queue, and connect(2) blocks from there on.
pub fn full_queue(at: &Path) -> (UnixListener, UnixStream) {
    let socket = UnixListener::bind(at).unwrap();
    listen(&socket, Backlog::new(0).unwrap()).unwrap();
    (socket, UnixStream::connect(at).unwrap())
}

#[test]
fn a_full_accept_queue_costs_no_more_than_the_deadline_and_is_left_behind() {
    let directory = Directory::new();
    let _full = full_queue(&directory.join("bus"));
    let address = format!("unix:path={}", directory.join("bus").display());
    for _ in 0..3 {
        assert_too_late(by(SHORT, || Manager::builder().at(address.as_str()).open(SHORT)));
    }
}

/// libdbus connects with a blocking socket, so a full queue never reads as `EAGAIN` (`unix(7)`): connect(2) waits, in a
/// thread of its own, and goes on once there is room.
#[test]
fn a_full_accept_queue_is_waited_out_within_the_deadline() {
    alone(|| {
        let directory = Directory::new();
        let (socket, _first) = full_queue(&directory.join("bus"));
        let own = nix::sys::socket::socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            None,
        );
        let address = UnixAddr::new(&directory.join("bus")).unwrap();
        assert_eq!(connect(own.unwrap().as_raw_fd(), &address), Err(Errno::EAGAIN), "it is not full");
        let at = format!("unix:path={}", directory.join("bus").display());
        let opening = thread::spawn(move || by(LONG, || Manager::builder().at(at).open(LONG)));
        while !thread_names().iter().any(|name| name.starts_with("unitwait-connec")) {
            assert!(!opening.is_finished(), "it did not wait: {:?}", opening.join().unwrap());
        }
        let is_well = |stream, number| full_for_a_while(stream, 3 + number);
        let _listener = Listener::on(directory, socket, is_well);
        assert_eq!(opening.join().unwrap().unwrap().version(), "of the second bus");
    });
}

#[test]
fn a_handle_that_hangs_in_a_full_accept_queue_is_well_again_once_the_bus_is() {
    alone(|| {
        let mut world = World::on_bus();
        let before = Holdings::now();
        for _ in 0..3 {
            world.bus().kill();
            let path = world.bus().socket();
            let (full, first) = full_queue(&path);
            let error = by(SHORT, || world.manager.property("a.scope", "SubState", SHORT)).unwrap_err();
            assert_eq!(error.stage(), Some(Stage::Connect), "{error}");
            let closed = world.builder();
            assert_too_late(by(SHORT, || closed.open(SHORT)));
            drop((full, first));
            world.bring_the_bus_back();
            by(LONG / 3, || world.round_trip());
        }
        // The threads that were left behind in connect(2) have ended with the queue.
        before.assert_no_more(4 << 20);
    });
}

pub fn from(mut message: Message, sender: &str) -> Message {
    message.set_sender(Some(sender.into()));
    message
}

pub fn from_bus(message: Message) -> Message {
    from(message, BUS)
}

/// Plays both the bus and the manager, badly: the first connections are refused with `LimitsExceeded` at Hello.
fn full_for_a_while(stream: UnixStream, number: u32) {
    let Ok(wire) = Wire::server(stream) else { return };
    while let Ok(call) = wire.receive() {
        let full = || call.error(&"org.freedesktop.DBus.Error.LimitsExceeded".into(), c"no more connections");
        let no = || call.error(&"org.freedesktop.DBus.Error.AccessDenied".into(), c"say Hello first");
        let reply = match (call.msg_type(), call.member().as_deref()) {
            (MessageType::MethodCall, Some("Hello")) if number < 3 => from_bus(full()),
            (MessageType::MethodCall, _) if number < 3 => from_bus(no()),
            (MessageType::MethodCall, Some("Hello")) => from_bus(call.method_return().append1(":1.5")),
            (MessageType::MethodCall, Some("GetNameOwner")) => from_bus(call.method_return().append1(":1.0")),
            (MessageType::MethodCall, Some("Get")) => {
                let mut reply = call.method_return().append1(Variant("of the second bus"));
                reply.set_sender(Some(":1.0".into()));
                reply
            }
            _ => continue,
        };
        if !call.get_no_reply() && wire.send(reply).is_err() {
            return;
        }
    }
}

#[test]
fn a_bus_that_is_full_is_waited_out_within_the_deadline() {
    let full = Listener::new(full_for_a_while);
    let manager = full.open(LONG).unwrap();
    assert_eq!(manager.version(), "of the second bus");
    assert_eq!(full.connections.load(Ordering::SeqCst), 4);
    // A real one: this world's script and its handle take the two places that there are.
    let world = World::on(Bus::with_limits(&[("max_connections_per_user", 2)]));
    assert_too_late(by(SHORT, || world.builder().open(SHORT)));
    let World { manager, script, place } = world;
    drop(manager);
    by(LONG / 3, || place.builder().open(LONG)).unwrap();
    drop(script);
}

#[test]
fn a_bus_without_a_manager_refuses_at_once() {
    let bus = Bus::start();
    assert_refused(by(Duration::ZERO, || Manager::builder().at(bus.address()).open(LONG)));
    let _script = Script::on(&bus);
    Place::Bus(bus).builder().open(LONG).unwrap();
}

#[test]
fn a_peer_that_has_told_of_a_unit_has_let_this_client_in() {
    let directory = Directory::new();
    let script = Script::listen(&directory.join("private"));
    let place = Place::Socket(directory);
    script.answer_opens(false);
    let builder = place.builder();
    let opening = thread::spawn(move || builder.open(LONG));
    script.next("Get");
    let path = dbus::Path::from("/org/freedesktop/systemd1/unit/a_2escope");
    script.send(signal("UnitNew").append2("a.scope", path));
    script.answer_opens(true);
    script.hang_up();
    opening.join().unwrap().unwrap();
}
