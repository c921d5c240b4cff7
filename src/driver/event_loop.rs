//! The dbus thread: ppoll(2) on the bus socket, the bell and the nearest deadline, and the router between them.
//!
//! It alone owns the connection and the table of jobs, holds no lock, and never waits for a caller. Idle, it wakes once,
//! to take back what others' jobs would wake it by, and then not at all.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use dbus::Message;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::time::TimeSpec;

use super::Slot;
use super::connection::{self, Connecting, Connection};
use super::fork::Inside;
use super::placing;
use super::plan::Plan;
use super::router::{Output, Refusal, ReplyTo, RequestId, Router, WatchId, Watcher};
use super::stats::Stats;
use super::wake::Wake;
use crate::systemd1::{Call, Incoming};
use crate::{cgroup, sys};

/// How many commands are taken in one turn: callers who ask without a pause hold up no answer and no deadline.
const TURN: usize = 256;

/// For how long a full socket may hold up the end of the thread.
const FAREWELL: Duration = Duration::from_millis(100);

/// What callers ask of the thread.
pub(crate) enum Command {
    Submit {
        id: RequestId,
        plan: Box<dyn Plan>,
        deadline: Instant,
        reply: Box<dyn Slot>,
    },
    Abandon(RequestId),
    /// Anything else, which a program has nothing of that does not ask for it.
    Do(Box<dyn FnOnce(&mut EventLoop) + Send>),
    Close,
}

impl ReplyTo for Box<dyn Slot> {
    fn reached(&self, stage: crate::error::Stage, job: Option<crate::job::JobId>) {
        self.as_ref().note(stage, job);
    }
}

/// The address, and whether the manager itself listens there.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub address: String,
    pub direct: bool,
}

pub(crate) struct EventLoop {
    endpoint: Endpoint,
    commands: Receiver<Command>,
    wake: Arc<Wake>,
    router: Router<Box<dyn Slot>>,
    connection: Option<Connection>,
    connecting: Option<Connecting>,
    traffic: Traffic,
    /// What came in and was read, but not yet counted: that takes a moment, which no caller is to wait for.
    read: Vec<Message>,
}

/// What ended a poll(2), if not the deadline: whatever is left undone is told by the next one again.
#[derive(Clone, Copy, Debug)]
struct Woken {
    by_bell: bool,
    by_bus: bool,
}

/// Messages and their bytes, over all connections.
#[derive(Default)]
struct Traffic {
    sent: (u64, u64),
    received: (u64, u64),
}

impl Traffic {
    fn add_to(&self, rest: Stats) -> Stats {
        let ((messages_sent, bytes_sent), (messages_received, bytes_received)) = (self.sent, self.received);
        Stats { messages_sent, bytes_sent, messages_received, bytes_received, ..rest }
    }
}

impl EventLoop {
    pub(crate) fn new(
        endpoint: Endpoint,
        window: usize,
        commands: Receiver<Command>,
        wake: Arc<Wake>,
    ) -> Self {
        let mut router = Router::new(endpoint.address.clone(), window);
        // Before the first request asks for it, and before there is a thread to ask: connecting takes longer than that.
        let connecting = Connecting::start(&endpoint.address, Arc::clone(&wake)).ok();
        if connecting.is_some() {
            router.is_being_connected();
        }
        let (connection, traffic, read) = (None, Traffic::default(), Vec::new());
        EventLoop { endpoint, commands, wake, router, connection, connecting, traffic, read }
    }

    /// Runs until the last caller closes.
    pub(crate) fn run(mut self) {
        loop {
            let woken = self.wait();
            if woken.by_bell {
                self.wake.clear();
            }
            if !self.take_commands() {
                return self.send_the_last();
            }
            let is_new = self.look_at_connecting();
            if woken.by_bus || is_new {
                self.look_at_connection();
            }
            self.router.tick(Instant::now());
            self.connect_if_due();
            self.carry_out();
            self.count_received();
            self.see_whether_it_lives();
            if self.connection.as_ref().is_some_and(|connection| !connection.has_unsent()) {
                self.router.all_is_out(Instant::now());
            }
        }
    }

    /// libdbus may end a connection while it writes; its descriptor is then another's, and must not be waited for.
    fn see_whether_it_lives(&mut self) {
        while self.connection.as_ref().is_some_and(|connection| !connection.is_alive()) {
            self.lose_connection();
            self.carry_out();
        }
    }

    /// What was handed over before the last handle was dropped is sent, as far as there is room for it; nobody waits
    /// for what comes of it.
    fn send_the_last(mut self) {
        self.carry_out();
        let until = Instant::now() + FAREWELL;
        while let Some(connection) = &self.connection {
            let interest = connection.interest();
            let left = until.saturating_duration_since(Instant::now());
            if !interest.write || left.is_zero() {
                return;
            }
            let inside = Inside::enter();
            let lives = connection.pump();
            drop(inside);
            if !lives {
                return;
            }
            let mut fds = [PollFd::new(sys::borrow(connection, interest.fd), PollFlags::POLLOUT)];
            let _ = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
        }
    }

    fn wait(&self) -> Woken {
        // Not poll(2), whose milliseconds are as long as a call takes.
        let left = |deadline: Instant| TimeSpec::from(deadline.saturating_duration_since(Instant::now()));
        let timeout = self.router.deadline().map(left);
        let mut fds = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        if let Some(connection) = &self.connection {
            let interest = connection.interest();
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, interest.read);
            flags.set(PollFlags::POLLOUT, interest.write);
            fds.push(PollFd::new(sys::borrow(connection, interest.fd), flags));
        }
        // An interrupted poll is one that woke early.
        let _ = ppoll(&mut fds, timeout, None);
        let has_come = |at: usize| fds.get(at).is_some_and(|fd| fd.any().unwrap_or(true));
        Woken { by_bell: has_come(0), by_bus: has_come(1) }
    }

    pub(super) fn hear_units(&mut self) {
        self.router.hear_units();
    }

    pub(super) fn watch(&mut self, id: WatchId, watcher: Box<dyn Watcher>) {
        self.router.watch(id, watcher);
    }

    pub(super) fn unwatch(&mut self, id: WatchId) {
        self.router.unwatch(id);
    }

    pub(super) fn stats(&self) -> Stats {
        self.traffic.add_to(self.router.stats())
    }

    fn take_commands(&mut self) -> bool {
        for _ in 0..TURN {
            let now = Instant::now();
            match self.commands.try_recv() {
                Ok(Command::Submit { id, plan, deadline, reply }) => {
                    self.router.submit(now, id, plan, deadline, reply);
                }
                Ok(Command::Abandon(id)) => self.router.abandon(now, id),
                Ok(Command::Do(what)) => what(self),
                Ok(Command::Close) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
        // The rest in the next turn, which is to come at once.
        self.wake.ring();
        true
    }

    /// Whether a connection has just been made, which has yet to be begun with.
    fn look_at_connecting(&mut self) -> bool {
        let Some(outcome) = self.connecting.as_ref().and_then(Connecting::outcome) else { return false };
        self.connecting = None;
        match outcome {
            Ok(connection) => {
                self.connection = Some(connection);
                self.router.connected(Instant::now(), self.endpoint.direct);
                true
            }
            Err(refusal) => {
                self.no_connection(&refusal);
                false
            }
        }
    }

    fn look_at_connection(&mut self) {
        if let Some(connection) = &self.connection {
            let inside = Inside::enter();
            let alive = connection.pump();
            drop(inside);
            // The router logs, and the host program's logger may take its time: none of a fork's.
            while let Some((word, message)) = next_of(connection, self.is_deaf()) {
                self.read.push(message);
                match word {
                    Word::Said(incoming) => self.router.incoming(Instant::now(), incoming),
                    Word::Unwanted => self.router.hear_peer(Instant::now()),
                    Word::Nothing => {}
                }
            }
            if !alive {
                self.lose_connection();
            }
        }
    }

    fn count_received(&mut self) {
        if !self.read.is_empty() {
            let _inside = Inside::enter();
            self.traffic.received.0 += self.read.len() as u64;
            self.traffic.received.1 +=
                self.read.drain(..).map(|message| connection::size(&message)).sum::<u64>();
        }
    }

    /// Whether what comes of units is of no use: systemd tells of all of them, unasked, whoever is at its own socket.
    fn is_deaf(&self) -> bool {
        self.endpoint.direct && !self.router.hears_units()
    }

    fn connect_if_due(&mut self) {
        if self.router.begin_connecting(Instant::now()) {
            match Connecting::start(&self.endpoint.address, Arc::clone(&self.wake)) {
                Ok(connecting) => self.connecting = Some(connecting),
                Err(error) => self.no_connection(&error.into()),
            }
        }
    }

    fn no_connection(&mut self, refusal: &Refusal) {
        log::warn!("no connection to {}: {}", self.endpoint.address, refusal.reason);
        self.router.connect_failed(Instant::now(), refusal);
    }

    fn lose_connection(&mut self) {
        let inside = Inside::enter();
        self.connection = None;
        drop(inside);
        log::warn!("the connection to {} has ended", self.endpoint.address);
        let reason = "the connection was closed before it was ready; authentication may have been refused";
        self.router.disconnected(Instant::now(), reason);
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.router.output() {
            match output {
                Output::Send { serial, call, wants_reply } => self.send(serial, &call, wants_reply),
                Output::Inspect(id, inspection) => {
                    let findings = cgroup::inspect(&inspection);
                    self.router.inspected(Instant::now(), id, findings);
                }
                Output::Deliver(slot, answer) => slot.fill(answer),
                Output::HangUp => self.lose_connection(),
                Output::LetGo => {
                    let _inside = Inside::enter();
                    self.connection = None;
                }
            }
        }
    }

    fn send(&mut self, serial: u32, call: &Call, wants_reply: bool) {
        let Some(connection) = &self.connection else { return };
        log::trace!("{call:?} as {serial}");
        let pidfds = match placing::pidfds(call) {
            Ok(pidfds) => pidfds,
            Err(ended) => return self.router.unsent(Instant::now(), serial, ended),
        };
        let inside = Inside::enter();
        let by_pidfd = placing::message(call, serial, &pidfds);
        // A connection that cannot pass descriptors refuses those, and nothing else.
        let sent = match by_pidfd.and_then(|message| connection.send(message, wants_reply).ok()) {
            Some(size) => Some(size),
            None => match placing::by_number(call, || connection.counts_otherwise) {
                Ok(call) => connection.send(call.to_message(serial, &[]), wants_reply).ok(),
                Err(strangers) => {
                    drop(inside);
                    return self.router.unsent(Instant::now(), serial, strangers);
                }
            },
        };
        drop(inside);
        match sent {
            Some(size) => {
                self.traffic.sent.0 += 1;
                self.traffic.sent.1 += size;
            }
            None => self.lose_connection(),
        }
    }
}

/// What a message says here.
enum Word {
    Said(Incoming),
    /// It is of units, of which nobody wants to hear.
    Unwanted,
    Nothing,
}

/// The next message, and what it says.
fn next_of(connection: &Connection, deaf: bool) -> Option<(Word, Message)> {
    let _inside = Inside::enter();
    let message = connection.next()?;
    let word = match deaf && Incoming::is_of_units(&message) {
        true => Word::Unwanted,
        false => Incoming::parse(&message).map_or(Word::Nothing, Word::Said),
    };
    Some((word, message))
}
