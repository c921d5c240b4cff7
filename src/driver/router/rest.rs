//! What is not kept up while nothing is asked: all by which strangers' jobs would wake the dbus thread.
//!
//! On a bus, the match rule for the ends of jobs is taken back, and put back right before the next call that makes
//! one, for a bus handles what comes over a connection in its order. The connection stays: another would cost the next
//! caller three round trips, and its place may be taken where the bus is full. The rule for the owner of the manager's
//! name stays too, which nobody's jobs set off. A manager that is the peer itself tells each connection of everything,
//! unasked: there only to hang up helps.

use std::mem;
use std::time::{Duration, Instant};

use super::{Link, Output, ReplyTo, Router};
use crate::systemd1::{self, Call};

/// For how long nothing was asked before it is thought that nothing will be soon.
pub(super) const REST_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Rest {
    /// When it is to begin, where there is something to take back and nothing to do.
    at: Option<Instant>,
    /// Whether this connection does not hear of the ends of jobs.
    is_deaf: bool,
    /// Whether the last connection was given up for this, so that the next is no sign that anything was missed.
    has_hung_up: bool,
}

impl Rest {
    pub(super) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// A new connection has all its rules.
    pub(super) fn connected(&mut self) {
        self.is_deaf = false;
    }

    /// The manager has answered over a connection; says whether the last one was given up on purpose.
    pub(super) fn take_hung_up(&mut self) -> bool {
        mem::take(&mut self.has_hung_up)
    }
}

impl<R: ReplyTo> Router<R> {
    /// After each event: sees whether there is nothing to do any more, or something again.
    pub(super) fn note_rest(&mut self, now: Instant) {
        let is_disturbed = match self.link {
            Link::Direct => true,
            Link::Bus { .. } => !self.rest.is_deaf,
            Link::Down | Link::Connecting | Link::Greeting => false,
        };
        // All else that is under way belongs to a request; what nobody will answer any more, to one that is forgotten.
        let is_idle = self.requests.is_empty() && self.owed.is_empty() && !self.watches.has_watchers();
        let since = self.rest.at.filter(|_| is_idle && is_disturbed);
        self.rest.at = (is_idle && is_disturbed).then(|| since.unwrap_or(now + REST_AFTER));
    }

    pub(super) fn rest(&mut self, now: Instant) {
        if self.rest.at.is_none_or(|at| at > now) {
            return;
        }
        self.rest.at = None;
        if self.link == Link::Direct {
            self.rest.has_hung_up = true;
            self.forget_connection(now);
            self.outputs.push_back(Output::LetGo);
        } else {
            self.rest.is_deaf = true;
            self.push_send(Call::RemoveMatch(systemd1::JOB_RULE.into()), false);
        }
    }

    /// A call is about to make a job.
    pub(super) fn hear_of_jobs(&mut self) {
        if mem::take(&mut self.rest.is_deaf) {
            self.push_send(Call::AddMatch(systemd1::JOB_RULE.into()), false);
        }
    }
}
