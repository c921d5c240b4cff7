//! What is kept of a request.

use std::time::{Duration, Instant};

use super::line::{Lane, Place};
use crate::driver::plan::Plan;
use crate::error::Stage;
use crate::job::{JobId, StageTimes};
use crate::systemd1::{Call, Verb};

/// The call that a request makes next, or has made last.
#[derive(Debug)]
pub(super) enum Asking {
    /// The plan's creation. It is not kept here, for it may be large, and thousands may wait in line.
    Creation,
    Call(Box<Call>),
}

impl Asking {
    pub(super) fn lane(&self) -> Lane {
        match self {
            Asking::Creation => Lane::Creation,
            Asking::Call(call) => Lane::of(call),
        }
    }

    /// What is to be done to a unit that is there.
    pub(super) fn verb(&self) -> Option<Verb> {
        let Asking::Call(call) = self else { return None };
        match **call {
            Call::UnitJob { verb, .. } | Call::RunJob { verb, .. } => Some(verb),
            _ => None,
        }
    }

    pub(super) fn may_be_repeated(&self) -> bool {
        matches!(self, Asking::Call(call) if call.may_be_repeated())
    }
}

#[derive(Debug)]
pub(super) struct Entry<R> {
    pub(super) plan: Box<dyn Plan>,
    /// `None` once the answer was given: the entry is then only being settled.
    pub(super) reply: Option<R>,
    /// Whether a late creation's unit is being looked at, for it may have to be cleared away.
    pub(super) settling: bool,
    /// Whether a call that changes something was carried out, or is being.
    pub(super) half_way: bool,
    pub(super) stage: Stage,
    pub(super) place: Option<Place>,
    pub(super) job: Option<JobId>,
    pub(super) asking: Option<Asking>,
    pub(super) deadline: Instant,
    pub(super) submitted: Instant,
    /// `None` until something was sent.
    pub(super) times: Option<Box<Times>>,
}

#[derive(Debug)]
pub(super) struct Times {
    pub(super) stages: StageTimes,
    pub(super) marked: Instant,
}

impl<R> Entry<R> {
    /// The unit that was asked for.
    pub(super) fn unit(&self) -> Option<&str> {
        self.plan.asked().unit.as_deref()
    }

    /// The unit by whose name the end of its job is told. Only a created unit's is sure to be the name that was
    /// asked for: that of any other may be an alias.
    pub(super) fn created_unit(&self) -> Option<&str> {
        self.unit().filter(|_| matches!(self.asking, Some(Asking::Creation)))
    }

    /// The call to send now.
    pub(super) fn next_call(&mut self) -> Option<Call> {
        match self.asking.as_ref()? {
            Asking::Creation => self.plan.creation(),
            Asking::Call(call) => Some((**call).clone()),
        }
    }

    /// The times of its stages, and what has passed since it was marked last, which is another's from now on.
    pub(super) fn mark(&mut self, now: Instant) -> (&mut StageTimes, Duration) {
        let first = || Box::new(Times { stages: StageTimes::default(), marked: self.submitted });
        let Times { stages, marked } = &mut **self.times.get_or_insert_with(first);
        (stages, now.saturating_duration_since(std::mem::replace(marked, now)))
    }
}
