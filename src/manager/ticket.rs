//! The non-blocking half: a request that was handed over, and the ways to its one answer.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::deadline::Deadline;
use crate::driver::{self, Answer, Driver, Mailbox, Over, Post, RequestId, Slot, Success, Wake, mailbox};
use crate::error::{Asked, Error, Result, Stage};
use crate::job::{JobId, StageTimes};

/// How long past its deadline a caller waits for the driver's own word before it speaks for itself.
const GRACE: Duration = Duration::from_millis(100);

/// How far a request is, written by the dbus thread and read by its caller.
pub(super) struct Progress {
    asked: Asked,
    stage: AtomicU8,
    job: AtomicU32,
}

const STAGES: [Stage; 7] =
    [Stage::Connect, Stage::Queued, Stage::Call, Stage::Job, Stage::Verify, Stage::Wait, Stage::HalfWay];

/// Turns the driver's answer into what the caller asked for.
pub(super) type Finish<T> = Box<dyn FnOnce(Success, StageTimes) -> Result<T> + Send>;

pub(super) struct TypedSlot<T> {
    finish: Finish<T>,
    post: Post<Result<T>, Progress>,
    bell: Bell,
}

/// Rings when the answer is there: for a caller who waits with poll(2).
pub(super) struct Bell(Weak<Wake>);

impl Drop for Bell {
    fn drop(&mut self) {
        // Whoever has gone away takes its descriptor with it.
        self.0.upgrade().iter().for_each(|bell| bell.ring());
    }
}

impl<T: Send> Slot for TypedSlot<T> {
    fn fill(self: Box<Self>, answer: Answer) {
        // The bell is the first to be taken hold of, so that it is the last to be let go, also in a panic.
        let TypedSlot { bell: _bell, finish, post } = *self;
        let Answer { result, times } = answer;
        // A caller that has gone away takes its answer with it.
        post.deliver(result.and_then(|success| finish(success, times)));
    }

    fn note(&self, stage: Stage, job: Option<JobId>) {
        let progress = self.post.note();
        match job {
            Some(job) => {
                log::debug!("{}: {stage}, job {job}", progress.asked);
                progress.job.store(job.get(), Ordering::Relaxed);
            }
            None => log::debug!("{}: {stage}", progress.asked),
        }
        let at = STAGES.iter().position(|known| *known == stage).unwrap_or_default();
        progress.stage.store(u8::try_from(at).unwrap_or_default(), Ordering::Release);
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
    begun: Instant,
    deadline: Instant,
    answer: Arc<Mailbox<Result<T>, Progress>>,
    /// Made for who asks for it.
    channel: OnceLock<Box<dyn Channel<T>>>,
}

/// The answer, or that it was given before.
type Given<T> = std::result::Result<Result<T>, Over>;

/// A channel, behind a door, so that a program which asks for none has nothing of its code.
trait Channel<T>: Send + Sync {
    fn receiver(&self) -> &Receiver<Result<T>>;
    fn wait(&self, until: Instant) -> Option<Given<T>>;
}

impl<T: Send> Channel<T> for Receiver<Result<T>> {
    fn receiver(&self) -> &Receiver<Result<T>> {
        self
    }

    fn wait(&self, until: Instant) -> Option<Given<T>> {
        match self.recv_deadline(until) {
            Ok(answer) => Some(Ok(answer)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(Over)),
        }
    }
}

fn told<T>(given: Given<T>) -> Result<T> {
    given.unwrap_or_else(|Over| Err(driver::closed()))
}

impl<T: Send + 'static> Ticket<T> {
    pub(super) fn submit(
        driver: &Arc<Driver>,
        plan: Box<dyn driver::Plan>,
        deadline: Instant,
        finish: Finish<T>,
    ) -> Result<Ticket<T>> {
        Ticket::submit_with(driver, plan, deadline, finish, Weak::new())
    }

    /// Has the bell rung once there is an answer.
    pub(super) fn submit_with(
        driver: &Arc<Driver>,
        plan: Box<dyn driver::Plan>,
        deadline: Instant,
        finish: Finish<T>,
        bell: Weak<Wake>,
    ) -> Result<Ticket<T>> {
        let begun = Instant::now();
        let (asked, stage, job) = (plan.asked().clone(), AtomicU8::default(), AtomicU32::default());
        let (post, answer) = mailbox(Progress { asked, stage, job });
        let slot = TypedSlot { finish, post, bell: Bell(bell) };
        let id = driver.submit(plan, deadline, Box::new(slot))?;
        Ok(Ticket { driver: Arc::clone(driver), id, begun, deadline, answer, channel: OnceLock::new() })
    }

    /// The channel that the answer comes through, for `crossbeam_channel::select!`.
    ///
    /// It brings exactly one answer, by the request's deadline and what the machine adds to it; none, where
    /// [`try_wait`](Ticket::try_wait) has given it already.
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
        let channel = self.channel.get_or_init(|| {
            let (to, answer) = bounded(1);
            self.answer.pass_on(to);
            Box::new(answer)
        });
        channel.receiver()
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
        if let Some(answer) = self.answer_by(until) {
            return answer;
        }
        if early {
            self.driver.abandon(self.id);
        }
        self.answer_by(until.max(begun) + GRACE).unwrap_or_else(|| Err(self.own_timeout()))
    }

    /// The answer, or that it was given already; `None` at the time given here.
    fn answer_by(&self, until: Instant) -> Option<Result<T>> {
        let answer = match self.channel.get() {
            Some(channel) => channel.wait(until),
            None => self.answer.wait(until),
        };
        answer.map(told)
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
        let answer = match self.channel.get() {
            Some(channel) => channel.wait(self.begun),
            None => self.answer.look(),
        };
        answer.map(told)
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
        let at = usize::from(self.answer.note.stage.load(Ordering::Acquire));
        STAGES.get(at).copied().unwrap_or(Stage::Connect)
    }

    fn own_timeout(&self) -> Error {
        let stage = self.stage();
        let job = Some(self.answer.note.job.load(Ordering::Relaxed)).filter(|job| *job != 0).map(JobId::new);
        Error::Timeout { asked: self.answer.note.asked.clone(), stage, job, waited: self.begun.elapsed() }
    }
}

impl<T> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("asked", &self.answer.note.asked)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
