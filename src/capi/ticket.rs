//! The non-blocking half for C: a request that was handed over, with a descriptor for programs that poll.

use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::Arc;

use super::active::{Active, finished, unitwait_active, unitwait_finished};
use super::error::{Failure, answer, quiet, stage, unitwait_code, unitwait_error, unitwait_stage};
use super::handle::{Handle, Shared, find, give, known};
use super::manager::unitwait_manager;
use super::pass::{Out, deadline};
use super::request::{Asks, asks, unitwait_request};
use crate::deadline::Deadline;
use crate::driver::Wake;
use crate::error::{Result, Stage};
use crate::manager::{ActiveScope, ActiveSlice, FinishedJob, Ticket};

/// A request under way. Owned by the caller; freeing it leaves the request to be carried out, or given up at its
/// deadline.
pub struct unitwait_ticket {
    _private: [u8; 0],
}

impl Handle for unitwait_ticket {
    type Object = Pending;
    const WHAT: &'static str = "ticket";
}

/// What is behind a ticket's handle.
pub(super) struct Pending {
    ticket: Shared<Option<Box<dyn AnyTicket>>>,
    bell: Arc<Wake>,
}

enum Answer {
    Active(Active),
    Finished(FinishedJob),
}

impl From<ActiveScope> for Answer {
    fn from(scope: ActiveScope) -> Answer {
        Answer::Active(Active::Scope(scope))
    }
}

impl From<ActiveSlice> for Answer {
    fn from(slice: ActiveSlice) -> Answer {
        Answer::Active(Active::Slice(slice))
    }
}

impl From<FinishedJob> for Answer {
    fn from(job: FinishedJob) -> Answer {
        Answer::Finished(job)
    }
}

/// A ticket, whatever its request answers with.
trait AnyTicket: Send {
    fn wait(self: Box<Self>, by: Deadline) -> Result<Answer>;
    fn try_wait(&self) -> Option<Result<Answer>>;
    fn check_process(&self) -> Result<()>;
    fn stage(&self) -> Stage;
}

impl<T: Into<Answer> + Send> AnyTicket for Ticket<T> {
    fn wait(self: Box<Self>, by: Deadline) -> Result<Answer> {
        Ticket::wait(*self, by).map(Into::into)
    }

    fn try_wait(&self) -> Option<Result<Answer>> {
        Ticket::try_wait(self).map(|answer| answer.map(Into::into))
    }

    fn check_process(&self) -> Result<()> {
        Ticket::check_process(self)
    }

    fn stage(&self) -> Stage {
        Ticket::stage(self)
    }
}

impl Answer {
    fn hand_over(self, active: &Out<*mut unitwait_active>, job: &Out<unitwait_finished>) {
        match self {
            Answer::Active(created) => created.hand_over(active),
            Answer::Finished(ended) => job.put(finished(&ended)),
        }
    }
}

fn taken() -> Failure {
    let message = "the ticket's answer was taken already, or another thread waits for it (it is given once)";
    Failure::new(unitwait_code::UNITWAIT_CLOSED, message)
}

/// Hands a scope, a slice or a job over, and gives its ticket at once. The timeout is the request's own. Blocks only
/// while the way to the dbus thread is full, and never past the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_submit(
    manager: *const unitwait_manager,
    request: *const unitwait_request,
    timeout_ms: i64,
    ticket: Out<*mut unitwait_ticket>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    ticket.put(ptr::null_mut());
    answer(error, || {
        let (opened, by) = (find(manager)?, deadline(timeout_ms)?);
        ticket.needed("ticket")?;
        let asks = asks(request)?;
        let (bell, manager) = (Arc::new(Wake::new()?), &opened.manager);
        let pending: Box<dyn AnyTicket> = match asks {
            Asks::Scope(scope) => Box::new(manager.submit_with(&scope, by, &bell)?),
            Asks::Slice(slice) => Box::new(manager.submit_with(&slice, by, &bell)?),
            Asks::Job(job) => Box::new(manager.submit_with(&job, by, &bell)?),
            other @ Asks::Update(_) => return Err(other.wrong("scopes, slices and jobs")),
        };
        ticket.put(give(Pending { ticket: Shared::new(Some(pending)), bell }));
        Ok(())
    })
}

/// A descriptor that poll(2) finds readable once the answer is there, for an event loop; -1 where it is no ticket's
/// handle. The ticket's own: it is not to be read or closed, stays readable until the ticket is freed, and ends then, so
/// take it out of an epoll set before. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_ticket_descriptor(ticket: *const unitwait_ticket) -> c_int {
    quiet(-1, || Some(known(ticket)?.bell.as_fd().as_raw_fd()))
}

/// How far the request is; UNITWAIT_STAGE_NONE once its answer was taken. Does not block, and asks nobody.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_ticket_stage(ticket: *const unitwait_ticket) -> unitwait_stage {
    let none = unitwait_stage::UNITWAIT_STAGE_NONE;
    quiet(none, || known(ticket)?.ticket.with(|ticket| Some(stage(ticket.as_ref()?.stage()))))
}

/// Waits for the answer: the handle of a scope or slice goes to `active`, what a job was to `job`; each may be NULL. The
/// answer is given once, UNITWAIT_CLOSED from then on.
///
/// Blocks until it is there, until the request's own deadline, or for this timeout, whichever is first; -1 is the
/// request's own. Where this timeout comes first the request is given up, as if its own had passed.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_ticket_wait(
    ticket: *const unitwait_ticket,
    timeout_ms: i64,
    active: Out<*mut unitwait_active>,
    job: Out<unitwait_finished>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    active.put(ptr::null_mut());
    job.put(unitwait_finished::default());
    answer(error, || {
        let (pending, by) = (find(ticket)?, deadline(timeout_ms)?);
        let ticket = pending.ticket.with(|ticket| {
            ticket.as_ref().ok_or_else(taken)?.check_process()?;
            ticket.take().ok_or_else(taken)
        })?;
        ticket.wait(by)?.hand_over(&active, &job);
        Ok(())
    })
}

/// The answer if it is there, as unitwait_ticket_wait() gives it; UNITWAIT_PENDING while it is not. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_ticket_try_wait(
    ticket: *const unitwait_ticket,
    active: Out<*mut unitwait_active>,
    job: Out<unitwait_finished>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    active.put(ptr::null_mut());
    job.put(unitwait_finished::default());
    answer(error, || {
        let pending = find(ticket)?;
        let answer = pending.ticket.with(|ticket| {
            let waiting = ticket.as_ref().ok_or_else(taken)?;
            waiting.check_process()?;
            let answer = waiting.try_wait();
            // What is left of it is let go of out of the lock.
            Ok::<_, Failure>(answer.map(|answer| (answer, ticket.take())))
        })?;
        let (answer, _rest) = answer.ok_or_else(Failure::pending)?;
        answer?.hand_over(&active, &job);
        Ok(())
    })
}
