//! The driver: one dbus thread for each manager, and the way to it.

mod connection;
mod create;
mod event_loop;
mod fork;
mod mailbox;
mod optional;
mod placing;
mod plan;
mod router;
mod set;
pub(crate) mod signals;
mod stats;
mod wait;
mod wake;

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{SendTimeoutError, Sender, bounded};

pub(crate) use create::{Create, NewUnit, Site};
pub(crate) use event_loop::Endpoint;
use event_loop::{Command, EventLoop};
use fork::Here;
#[cfg(feature = "capi")]
pub(crate) use fork::Inside;
pub(crate) use mailbox::{Mailbox, Over, Post, mailbox};
pub(crate) use placing::PidfdsUnknown;
pub use plan::Outcome;
pub(crate) use plan::{Created, Either, Plan, Run, Single, Success, dictionary};
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

/// For how long the drop of the last handle waits for the thread's end.
const PARTING: Duration = Duration::from_secs(1);

/// Where one answer goes. Filling it must not block: a channel of capacity one whose receiver may be gone.
pub(crate) trait Slot: Send {
    fn fill(self: Box<Self>, answer: Answer);
    fn note(&self, stage: Stage, job: Option<JobId>);
}

/// The callers' end of the driver.
pub(crate) struct Driver {
    /// `None` only while it is being dropped.
    parts: Option<Parts>,
    here: Here,
}

struct Parts {
    commands: Sender<Command>,
    wake: Arc<Wake>,
    thread: JoinHandle<()>,
    /// Told of the thread's end.
    ended: Arc<Mailbox<()>>,
    next: AtomicU64,
    /// Requests whose deadline had passed before the thread could be told of them.
    never_sent: AtomicU64,
}

impl Driver {
    /// Starts to connect, and starts the thread.
    pub(crate) fn start(endpoint: Endpoint, window: usize, name: &str) -> Result<Driver> {
        let here = Here::now();
        let wake = Arc::new(Wake::new()?);
        let (commands, receiver) = bounded(COMMANDS);
        let (alive, ended) = mailbox(());
        let event_loop = EventLoop::new(endpoint, window, receiver, Arc::clone(&wake));
        // A panic drops the loop, and with it every waiting caller's channel: each is told so at once.
        let run = move || {
            let _alive: Post<()> = alive;
            if catch_unwind(AssertUnwindSafe(|| event_loop.run())).is_err() {
                log::error!("the dbus thread panicked; its manager is closed");
            }
        };
        let spawned = signals::spawn(name, Box::new(run));
        let thread = spawned.map_err(|source| Error::System { doing: "start the dbus thread", source })?;
        let (next, never_sent) = (AtomicU64::new(1), AtomicU64::new(0));
        Ok(Driver { parts: Some(Parts { commands, wake, thread, ended, next, never_sent }), here })
    }

    /// Hands a request over. Blocks only while the way to the thread is full, and never past the deadline.
    pub(crate) fn submit(
        &self,
        plan: Box<dyn Plan>,
        deadline: Instant,
        reply: Box<dyn Slot>,
    ) -> Result<RequestId> {
        let parts = self.parts()?;
        let id = RequestId(parts.next.fetch_add(1, Ordering::Relaxed));
        let asked = plan.asked().clone();
        let begun = Instant::now();
        let timeout = |waited| {
            parts.never_sent.fetch_add(1, Ordering::Relaxed);
            Error::Timeout { asked, stage: Stage::Queued, job: None, waited }
        };
        if deadline <= begun {
            return Err(timeout(Duration::ZERO));
        }
        let command = Command::Submit { id, plan, deadline, reply };
        match parts.commands.send_deadline(command, deadline) {
            Ok(()) => {
                parts.wake.ring();
                Ok(id)
            }
            Err(SendTimeoutError::Timeout(_)) => Err(timeout(begun.elapsed())),
            Err(SendTimeoutError::Disconnected(_)) => Err(closed()),
        }
    }

    /// Tells the thread of a watcher. Blocks only while the way to the thread is full, and never past the deadline.
    pub(crate) fn watch(&self, watcher: Box<dyn Watcher>, deadline: Instant) -> Result<WatchId> {
        let id = WatchId(self.parts()?.next.fetch_add(1, Ordering::Relaxed));
        self.have_done(Asked::new(Operation::Watch, None), deadline, move |it| it.watch(id, watcher))?;
        Ok(id)
    }

    /// Tells the thread that a wait for a run is to come. Blocks as to [`watch`](Driver::watch) does.
    pub(crate) fn hear_units(&self, asked: Asked, deadline: Instant) -> Result<()> {
        self.have_done(asked, deadline, EventLoop::hear_units)
    }

    fn have_done(
        &self,
        asked: Asked,
        deadline: Instant,
        what: impl FnOnce(&mut EventLoop) + Send + 'static,
    ) -> Result<()> {
        let (parts, begun) = (self.parts()?, Instant::now());
        match parts.commands.send_deadline(Command::Do(Box::new(what)), deadline) {
            Ok(()) => {
                parts.wake.ring();
                Ok(())
            }
            Err(SendTimeoutError::Timeout(_)) => {
                Err(Error::Timeout { asked, stage: Stage::Queued, job: None, waited: begun.elapsed() })
            }
            Err(SendTimeoutError::Disconnected(_)) => Err(closed()),
        }
    }

    /// Tells the thread that a watcher has gone. Where the way to it is full, the thread finds that out by itself.
    pub(crate) fn unwatch(&self, id: WatchId) {
        self.tell(Command::Do(Box::new(move |it| it.unwatch(id))));
    }

    /// Tells the thread that a request's caller waits no longer.
    pub(crate) fn abandon(&self, id: RequestId) {
        self.tell(Command::Abandon(id));
    }

    fn tell(&self, command: Command) {
        let Ok(parts) = self.parts() else { return };
        if parts.commands.try_send(command).is_ok() {
            parts.wake.ring();
        }
    }

    /// Reads the counters; blocks for at most `wait`.
    pub(crate) fn stats(&self, wait: Duration) -> Result<Stats> {
        let parts = self.parts()?;
        let (until, asked) = (Instant::now() + wait, Asked::new(Operation::Stats, None));
        let (to, stats) = mailbox(());
        self.have_done(asked.clone(), until, move |it| to.deliver(it.stats()))?;
        let late = || Error::Timeout { asked, stage: Stage::Queued, job: None, waited: wait };
        let answer = stats.wait(until + wait).ok_or_else(late)?;
        let mut stats: Stats = answer.map_err(|Over| closed())?;
        stats.timed_out += parts.never_sent.load(Ordering::Relaxed);
        Ok(stats)
    }

    /// After a fork, the child has no thread and shares the parent's socket: it must leave both alone.
    fn parts(&self) -> Result<&Parts> {
        self.parts.as_ref().filter(|_| Here::now() == self.here).ok_or(Error::Forked)
    }

    pub(crate) fn check_process(&self) -> Result<()> {
        self.parts().map(drop)
    }
}

pub(crate) fn closed() -> Error {
    Error::Closed { reason: "it has ended, or panicked; its log says which".into() }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        if Here::now() != self.here {
            // Even to let go of it is to touch it: the thread's handle would detach whatever thread has its place now.
            return mem::forget(parts);
        }
        let Parts { commands, wake, thread, ended, .. } = parts;
        let closing = commands.send_deadline(Command::Close, Instant::now() + Duration::from_millis(100));
        // Before the bell, for where the command found no room, this is what tells the thread.
        drop(commands);
        wake.ring();
        // An answer that nobody took may hold the last handle, and is then dropped by the thread itself.
        if thread.thread().id() == thread::current().id() || closing.is_err() && !thread.is_finished() {
            return;
        }
        // Whatever holds the thread up (the host program's own logger, say) is not to hold up the caller.
        if ended.wait(Instant::now() + PARTING).is_some() {
            let _ = thread.join();
        }
    }
}
