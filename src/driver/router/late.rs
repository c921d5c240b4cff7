//! What follows a missed deadline: the caller has its answer, and what its request left behind is settled.

use std::time::{Duration, Instant};

use super::{ReplyTo, RequestId, Router};
use crate::error::{Error, Stage};
use crate::job::JobId;
use crate::systemd1::Call;

/// How long what a late request left behind is followed before it is forgotten.
pub(super) const SETTLE: Duration = Duration::from_secs(60);

/// How long a late creation's call is followed that systemd has not answered: it may be silent for as long as that,
/// and then create what nobody waits for any more.
pub(super) const UNANSWERED: Duration = Duration::from_secs(600);

impl<R: ReplyTo> Router<R> {
    pub(super) fn expire(&mut self, now: Instant, id: RequestId) {
        let Some(entry) = self.requests.get_mut(&id) else { return };
        if entry.reply.is_none() {
            return self.forget(id);
        }
        let (stage, job, came_late) = (entry.stage, entry.job, entry.plan.is_past_its_job());
        let creates = entry.plan.owns_its_job();
        log::info!("{}: the deadline came first: {stage}{}", entry.plan.asked(), told(job));
        let waits = entry.plan.as_wait().is_some();
        entry.plan.be_late();
        let error = Error::Timeout {
            asked: entry.plan.asked().clone(),
            stage,
            job,
            waited: now.saturating_duration_since(entry.submitted),
        };
        self.answer(now, id, Err(error));
        match (stage, job) {
            _ if came_late => self.note_late(now, id),
            // Others may wait for the answer to its call, and are to ask for themselves.
            (Stage::Call, _) if waits => self.forget(id),
            (Stage::Call, _) if creates => self.settle_until(now + UNANSWERED, id),
            (Stage::Call, _) => self.settle_until(now + SETTLE, id),
            (Stage::Job, Some(job)) => {
                self.cancel_if_ours(id, job, false);
                self.settle_until(now + SETTLE, id);
            }
            _ => self.forget(id),
        }
    }

    /// What was to be created is there, too late for its caller; the rest of the steps may still clear it away.
    pub(super) fn note_late(&mut self, now: Instant, id: RequestId) {
        self.stats.late += 1;
        if let Some(entry) = self.requests.get_mut(&id) {
            entry.settling = true;
        }
        self.settle_until(now + SETTLE, id);
    }

    pub(super) fn settle_until(&mut self, until: Instant, id: RequestId) {
        if let Some(entry) = self.requests.get_mut(&id) {
            self.timers.remove(&(entry.deadline, id));
            entry.deadline = until;
            self.timers.insert((until, id), ());
        }
    }

    /// Cancels a late create's own job, unless somebody else waits for it too.
    pub(super) fn cancel_if_ours(&mut self, id: RequestId, job: JobId, was_seen: bool) {
        let ours = self.requests.get(&id).is_some_and(|entry| entry.plan.owns_its_job());
        let waits = |id: &RequestId| self.requests.get(id).is_some_and(|entry| entry.reply.is_some());
        if !ours || !self.link.is_up() || self.jobs.waiters(job).iter().any(waits) {
            return;
        }
        if self.jobs.may_be_anothers(job) && !was_seen {
            // The look that is due says whether the number is still this job's.
            self.look_later(job);
            return;
        }
        log::info!("job {job} is cancelled, for nobody waits for it any more");
        self.push_send(Call::CancelJob(job), false);
    }
}

fn told(job: Option<JobId>) -> String {
    job.map_or_else(String::new, |job| format!(", job {job}"))
}
