//! The non-blocking half: a request that was handed over, and the ways to its one answer.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, Thread, ThreadId};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use crate::deadline::Deadline;
use crate::driver::{self, Answer, Driver, RequestId, Slot, Success, Wake};
use crate::error::{Asked, Error, Result, Stage};
use crate::job::{JobId, StageTimes};

/// How long past its deadline a caller waits for the driver's own word before it speaks for itself.
const GRACE: Duration = Duration::from_millis(100);

/// How far a request is, written by the dbus thread and read by its caller.
#[derive(Debug, Default)]
struct Progress {
    stage: AtomicU8,
    job: AtomicU32,
}

const STAGES: [Stage; 7] =
    [Stage::Connect, Stage::Queued, Stage::Call, Stage::Job, Stage::Verify, Stage::Wait, Stage::HalfWay];

/// Turns the driver's answer into what the caller asked for.
pub(super) type Finish<T> = Box<dyn FnOnce(Success, StageTimes) -> Result<T> + Send>;

pub(super) struct TypedSlot<T> {
    asked: Asked,
    to: Sender<Result<T>>,
    finish: Finish<T>,
    progress: Arc<Progress>,
    bell: Bell,
}

/// Rings when the answer is in its channel, or never will be.
pub(super) struct Bell {
    /// For a caller who waits with poll(2).
    descriptor: Weak<Wake>,
    /// The thread that asked, which is nearly always the one that waits.
    asker: Thread,
}

impl Drop for Bell {
    fn drop(&mut self) {
        // Whoever has gone away takes its descriptor with it.
        self.descriptor.upgrade().iter().for_each(|bell| bell.ring());
        self.asker.unpark();
    }
}

impl<T: Send> Slot for TypedSlot<T> {
    fn fill(self: Box<Self>, answer: Answer) {
        // The bell is the first to be taken hold of, so that it is the last to be let go, also in a panic.
        let TypedSlot { bell: _bell, to, finish, .. } = *self;
        let Answer { result, times } = answer;
        // A caller that has gone away takes its answer with it.
        let _ = to.try_send(result.and_then(|success| finish(success, times)));
    }

    fn note(&self, stage: Stage, job: Option<JobId>) {
        match job {
            Some(job) => {
                log::debug!("{}: {stage}, job {job}", self.asked);
                self.progress.job.store(job.get(), Ordering::Relaxed);
            }
            None => log::debug!("{}: {stage}", self.asked),
        }
        let at = STAGES.iter().position(|known| *known == stage).unwrap_or_default();
        self.progress.stage.store(u8::try_from(at).unwrap_or_default(), Ordering::Release);
    }
}

/// A request under way. It goes on whether or not anybody waits: dropping a ticket is always safe, and leaves
/// the request to be carried out, or given up at its deadline. Only the manager's end is the request's too: with the
/// last handle (a [`Manager`](crate::Manager), what came of it, a ticket) goes the thread, which first sends what has
/// room to be sent, and then leaves the rest: what still waited in line is not asked for any more.
///
/// `Send`, so that one thread may ask and another wait.
#[must_use = "the answer comes through the ticket; to drop it is to not care"]
pub struct Ticket<T> {
    driver: Arc<Driver>,
    id: RequestId,
    asked: Asked,
    begun: Instant,
    deadline: Instant,
    answer: Receiver<Result<T>>,
    progress: Arc<Progress>,
    asker: ThreadId,
}

impl<T: Send + 'static> Ticket<T> {
    pub(super) fn submit(
        driver: &Arc<Driver>,
        plan: driver::Plan,
        deadline: Instant,
        finish: Finish<T>,
    ) -> Result<Ticket<T>> {
        Ticket::submit_with(driver, plan, deadline, finish, Weak::new())
    }

    /// Has the bell rung once there is an answer.
    pub(super) fn submit_with(
        driver: &Arc<Driver>,
        plan: driver::Plan,
        deadline: Instant,
        finish: Finish<T>,
        bell: Weak<Wake>,
    ) -> Result<Ticket<T>> {
        let begun = Instant::now();
        let (to, answer) = bounded(1);
        let progress = Arc::new(Progress::default());
        let asked = plan.asked().clone();
        let here = thread::current();
        let (asker, noted) = (here.id(), Arc::clone(&progress));
        let bell = Bell { descriptor: bell, asker: here };
        let slot = TypedSlot { asked: asked.clone(), to, finish, progress: noted, bell };
        let id = driver.submit(plan, deadline, Box::new(slot))?;
        Ok(Ticket { driver: Arc::clone(driver), id, asked, begun, deadline, answer, progress, asker })
    }
}

impl<T> Ticket<T> {
    /// Waits for the answer, until the request's own deadline or the one given here, whichever is first.
    ///
    /// Blocks the calling thread and no other. Where the deadline given here comes first, the request is given
    /// up as if its own had passed: [`Error::Timeout`] says how far it was, and the driver settles what it left.
    /// After a `fork`, the child has [`Error::Forked`] at once. Any other error is the request's own.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use unitwait::{Deadline, Manager, Scope};
    ///
    /// let manager = Manager::system()?;
    /// let ticket = manager.submit(&Scope::new("job.scope").own_process(), Duration::from_secs(5))?;
    /// let scope = ticket.wait(Deadline::Default)?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn wait(self, deadline: impl Into<Deadline>) -> Result<T> {
        self.driver.check_process()?;
        let until = match deadline.into() {
            Deadline::Default => self.deadline,
            Deadline::At(at) => at.min(self.deadline),
        };
        let (early, begun) = (until < self.deadline, self.begun);
        match self.receive(until) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Disconnected) => return Err(driver::closed()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if early {
            self.driver.abandon(self.id);
        }
        match self.receive(until.max(begun) + GRACE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => Err(driver::closed()),
            Err(RecvTimeoutError::Timeout) => Err(self.own_timeout()),
        }
    }

    /// The thread that asked sleeps at once: the channel's own wait first looks about for a while, in case the answer is
    /// on its way, and an answer of systemd's is never as near as that.
    fn receive(&self, until: Instant) -> std::result::Result<Result<T>, RecvTimeoutError> {
        if thread::current().id() != self.asker {
            return self.answer.recv_deadline(until);
        }
        loop {
            match self.answer.try_recv() {
                Ok(answer) => return Ok(answer),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(RecvTimeoutError::Timeout);
            }
            thread::park_timeout(left);
        }
    }

    /// The answer, if it is there: `None` while the request is under way. Does not block.
    ///
    /// The answer is given once; after it, and after the manager's thread has ended, [`Error::Closed`]; in the
    /// child of a `fork`, [`Error::Forked`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use unitwait::{Manager, Scope};
    /// # let manager = Manager::system()?;
    /// let ticket = manager.submit(&Scope::new("job.scope").own_process(), Duration::from_secs(5))?;
    /// while ticket.try_wait().is_none() {
    ///     std::thread::yield_now(); // something useful
    /// }
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn try_wait(&self) -> Option<Result<T>> {
        if let Err(forked) = self.driver.check_process() {
            return Some(Err(forked));
        }
        match self.answer.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(driver::closed())),
        }
    }

    /// The channel that the answer comes through, for `crossbeam_channel::select!`.
    ///
    /// It brings exactly one answer, by the request's deadline and what the machine adds to it.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use unitwait::{Manager, Scope};
    /// # let manager = Manager::system()?;
    /// let ticket = manager.submit(&Scope::new("job.scope").own_process(), Duration::from_secs(5))?;
    /// let scope = ticket.receiver().recv().expect("one answer comes")?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn receiver(&self) -> &Receiver<Result<T>> {
        &self.answer
    }

    /// Refuses in the child of a `fork`, where no answer comes.
    #[cfg(feature = "capi")]
    pub(crate) fn check_process(&self) -> Result<()> {
        self.driver.check_process()
    }

    /// Gives the request up, as if its deadline had passed.
    pub(super) fn give_up(self) {
        self.driver.abandon(self.id);
    }

    /// How far the request is, as the dbus thread last told it; once it is answered, how far it had come.
    ///
    /// For showing it to people while they wait. Does not block, and asks nobody. [`Stage::Connect`] until the thread
    /// has looked at the request.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use unitwait::{Deadline, Manager, UnitJob};
    ///
    /// let manager = Manager::system()?;
    /// let ticket = manager.submit(&UnitJob::stop("job.scope"), Duration::from_secs(30))?;
    /// std::thread::sleep(Duration::from_secs(1));
    /// println!("after a second: {}", ticket.stage());
    /// ticket.wait(Deadline::Default)?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn stage(&self) -> Stage {
        let at = usize::from(self.progress.stage.load(Ordering::Acquire));
        STAGES.get(at).copied().unwrap_or(Stage::Connect)
    }

    fn own_timeout(&self) -> Error {
        let stage = self.stage();
        let job = Some(self.progress.job.load(Ordering::Relaxed)).filter(|job| *job != 0).map(JobId::new);
        Error::Timeout { asked: self.asked.clone(), stage, job, waited: self.begun.elapsed() }
    }
}

impl<T> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("asked", &self.asked).field("id", &self.id).finish_non_exhaustive()
    }
}
