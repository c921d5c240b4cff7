//! The table of jobs: who waits for which, and how those ended whose call is not answered yet.

use std::collections::VecDeque;

use super::RequestId;
use super::line::Lane;
use super::table::Table;
use crate::job::{JobId, JobResult};
use crate::systemd1::JobRemoved;

/// How many results of unknown jobs are kept while a call may still turn out to have made one of them.
const MOST_EARLY: usize = 4096;

#[derive(Debug)]
struct Awaited {
    lane: Lane,
    /// Which manager made it, counted by this router.
    epoch: u64,
    waiters: Vec<RequestId>,
    /// Whether it was asked for over an earlier connection, so that its end is told only to who subscribes.
    is_inherited: bool,
}

/// A job that ended while calls were under way, any of which may be answered with its path.
#[derive(Debug)]
struct Early {
    removed: JobRemoved,
    /// The number of the last call sent before.
    sent: u64,
}

#[derive(Debug, Default)]
pub(super) struct Jobs {
    awaited: Table<JobId, Awaited>,
    under_way: [usize; 3],
    early: VecDeque<Early>,
    /// The youngest call that a result was thrown away from.
    lost: u64,
    /// How often a manager was met: another one may count its jobs anew.
    epoch: u64,
}

impl Jobs {
    /// One job may have several waiters: systemd answers a second stop of a unit with the first one's job.
    pub(super) fn wait(&mut self, job: JobId, lane: Lane, id: RequestId) {
        let awaited = self.awaited.get_or_insert(job, || {
            self.under_way[lane as usize] += 1;
            Awaited { lane, epoch: self.epoch, waiters: Vec::new(), is_inherited: false }
        });
        awaited.waiters.push(id);
    }

    pub(super) fn leave(&mut self, job: JobId, id: RequestId) {
        let Some(awaited) = self.awaited.get_mut(&job) else { return };
        awaited.waiters.retain(|waiter| *waiter != id);
        if awaited.waiters.is_empty() {
            self.take(job);
        }
    }

    /// Ends the wait for a job, and says who waited.
    pub(super) fn take(&mut self, job: JobId) -> Vec<RequestId> {
        let Some(awaited) = self.awaited.remove(&job) else { return Vec::new() };
        self.under_way[awaited.lane as usize] -= 1;
        awaited.waiters
    }

    pub(super) fn waiters(&self, job: JobId) -> &[RequestId] {
        self.awaited.get(&job).map_or(&[], |awaited| &awaited.waiters)
    }

    /// Another manager, or the same one again: what it says of the jobs of the last may be of jobs of its own.
    pub(super) fn meet_manager(&mut self) {
        self.epoch += 1;
        self.early.clear();
    }

    /// Whether the manager that is there may have given the job's number to another job.
    pub(super) fn may_be_anothers(&self, job: JobId) -> bool {
        self.awaited.get(&job).is_some_and(|awaited| awaited.epoch != self.epoch)
    }

    /// The job was looked at, and is the one that is waited for.
    pub(super) fn is_its_own(&mut self, job: JobId) {
        if let Some(awaited) = self.awaited.get_mut(&job) {
            awaited.epoch = self.epoch;
        }
    }

    pub(super) fn under_way(&self, lane: Lane) -> usize {
        self.under_way[lane as usize]
    }

    pub(super) fn ids(&self) -> Vec<JobId> {
        self.awaited.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.awaited.is_empty()
    }

    pub(super) fn inherit_all(&mut self) {
        self.awaited.iter_mut().for_each(|(_, awaited)| awaited.is_inherited = true);
    }

    pub(super) fn has_inherited(&self) -> bool {
        self.awaited.values().any(|awaited| awaited.is_inherited)
    }

    /// Keeps a result for the calls up to number `sent`, which are not answered yet. In a flood the oldest result
    /// goes, and from then on such a call's result [may be lost](Jobs::may_be_lost).
    pub(super) fn remember(&mut self, removed: JobRemoved, sent: u64) {
        if self.early.len() == MOST_EARLY {
            self.lost = self.early.pop_front().map_or(self.lost, |early| early.sent);
        }
        self.early.push_back(Early { removed, sent });
    }

    /// How a job ended before its call was answered; where the unit is known, only as told of that unit. The result
    /// stays, for one job may be the answer to several calls.
    pub(super) fn recall(&self, job: JobId, unit: Option<&str>) -> Option<JobResult> {
        let is_it = |early: &&JobRemoved| early.job == job && unit.is_none_or(|unit| early.unit == unit);
        let mut early = self.early.iter().map(|early| &early.removed);
        early.find(is_it).map(|early| early.result.clone())
    }

    pub(super) fn may_be_lost(&self, sent: u64) -> bool {
        sent <= self.lost
    }

    /// Forgets the results that no call can be about any more, the oldest one under way being number `oldest`.
    pub(super) fn forget_early(&mut self, oldest: Option<u64>) {
        let oldest = oldest.unwrap_or(u64::MAX);
        let over = self.early.iter().take_while(|early| early.sent < oldest).count();
        self.early.drain(..over);
    }
}
