//! The driver: one dbus thread for each manager, and the way to it.

mod connection;
mod create;
mod event_loop;
mod optional;
mod plan;
mod router;
mod set;
mod signals;
mod stats;
mod wait;
mod wake;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, SendTimeoutError, Sender, bounded};

pub(crate) use create::{Create, pids_property};
pub(crate) use event_loop::Endpoint;
use event_loop::{Command, EventLoop};
pub use plan::Outcome;
pub(crate) use plan::{Created, Plan, Success, dictionary};
pub use router::UnitEvent;
pub(crate) use router::{Answer, RequestId, WatchId, Watcher};
pub(crate) use set::{Changed, Set};
pub use stats::Stats;
pub(crate) use wait::{RunEnd, Wait};
pub(crate) use wake::Wake;

use crate::error::{Asked, Error, Operation, Result, Stage};
use crate::job::JobId;

/// How many commands may lie between the callers and the thread, which takes them all at each turn.
const COMMANDS: usize = 1024;

/// Where one answer goes. Filling it must not block: a channel of capacity one whose receiver may be gone.
pub(crate) trait Slot: Send {
    fn fill(self: Box<Self>, answer: Answer);
    fn note(&self, stage: Stage, job: Option<JobId>);
}

/// The callers' end of the driver.
pub(crate) struct Driver {
    commands: Sender<Command>,
    wake: Arc<Wake>,
    thread: Mutex<Option<JoinHandle<()>>>,
    next: AtomicU64,
    /// Requests whose deadline had passed before the thread could be told of them.
    never_sent: AtomicU64,
    pid: u32,
}

impl Driver {
    /// Starts the thread. It connects when the first request needs it.
    pub(crate) fn start(endpoint: Endpoint, window: usize, name: &str) -> Result<Driver> {
        let system = |doing| move |source| Error::System { doing, source };
        let wake = Arc::new(Wake::new().map_err(system("make an eventfd"))?);
        let (commands, receiver) = bounded(COMMANDS);
        let event_loop = EventLoop::new(endpoint, window, receiver, Arc::clone(&wake));
        // A panic drops the loop, and with it every waiting caller's channel: each is told so at once.
        let run = move || {
            if catch_unwind(AssertUnwindSafe(|| event_loop.run())).is_err() {
                log::error!("the dbus thread panicked; its manager is closed");
            }
        };
        let spawned = signals::without(|| thread::Builder::new().name(name.into()).spawn(run));
        let thread = Mutex::new(Some(spawned.map_err(system("start the dbus thread"))?));
        let (next, never_sent) = (AtomicU64::new(1), AtomicU64::new(0));
        Ok(Driver { commands, wake, thread, next, never_sent, pid: process::id() })
    }

    /// Hands a request over. Blocks only while the way to the thread is full, and never past the deadline.
    pub(crate) fn submit(&self, plan: Plan, deadline: Instant, reply: Box<dyn Slot>) -> Result<RequestId> {
        self.check_process()?;
        let id = RequestId(self.next.fetch_add(1, Ordering::Relaxed));
        let asked = plan.asked().clone();
        let begun = Instant::now();
        let timeout = |waited| {
            self.never_sent.fetch_add(1, Ordering::Relaxed);
            Error::Timeout { asked, stage: Stage::Queued, job: None, waited }
        };
        if deadline <= begun {
            return Err(timeout(Duration::ZERO));
        }
        let command = Command::Submit { id, plan: Box::new(plan), deadline, reply };
        match self.commands.send_deadline(command, deadline) {
            Ok(()) => {
                self.wake.ring();
                Ok(id)
            }
            Err(SendTimeoutError::Timeout(_)) => Err(timeout(begun.elapsed())),
            Err(SendTimeoutError::Disconnected(_)) => Err(closed()),
        }
    }

    /// Tells the thread of a watcher. Blocks only while the way to the thread is full, and never past the deadline.
    pub(crate) fn watch(&self, watcher: Box<dyn Watcher>, deadline: Instant) -> Result<WatchId> {
        self.check_process()?;
        let id = WatchId(self.next.fetch_add(1, Ordering::Relaxed));
        self.commands.send_deadline(Command::Watch(id, watcher), deadline).map_err(|_| closed())?;
        self.wake.ring();
        Ok(id)
    }

    /// Tells the thread that a watcher has gone. Where the way to it is full, the thread finds that out by itself.
    pub(crate) fn unwatch(&self, id: WatchId) {
        if self.check_process().is_ok() && self.commands.try_send(Command::Unwatch(id)).is_ok() {
            self.wake.ring();
        }
    }

    /// Tells the thread that a request's caller waits no longer.
    pub(crate) fn abandon(&self, id: RequestId) {
        if self.check_process().is_ok() && self.commands.try_send(Command::Abandon(id)).is_ok() {
            self.wake.ring();
        }
    }

    /// Reads the counters; blocks for at most `wait`.
    pub(crate) fn stats(&self, wait: Duration) -> Result<Stats> {
        self.check_process()?;
        let (to, stats) = bounded(1);
        let late = || {
            let asked = Asked::new(Operation::Stats, None);
            Error::Timeout { asked, stage: Stage::Queued, job: None, waited: wait }
        };
        self.commands.send_timeout(Command::Stats(to), wait).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => late(),
            SendTimeoutError::Disconnected(_) => closed(),
        })?;
        self.wake.ring();
        let mut stats: Stats = stats.recv_timeout(wait).map_err(|error| match error {
            RecvTimeoutError::Timeout => late(),
            RecvTimeoutError::Disconnected => closed(),
        })?;
        stats.timed_out += self.never_sent.load(Ordering::Relaxed);
        Ok(stats)
    }

    /// After a fork, the child has no thread and shares the parent's socket: it must leave both alone.
    pub(crate) fn check_process(&self) -> Result<()> {
        if process::id() == self.pid { Ok(()) } else { Err(Error::Forked) }
    }
}

pub(crate) fn closed() -> Error {
    Error::Closed { reason: "it has ended, or panicked; its log says which".into() }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if process::id() != self.pid {
            return;
        }
        let closing = self.commands.send_timeout(Command::Close, Duration::from_millis(100));
        self.wake.ring();
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // An answer that nobody took may hold the last handle, and is then dropped by the thread itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            if closing.is_ok() || thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}
