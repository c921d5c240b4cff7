//! What the verbs of a living run share: one deadline over all their steps, and the run's control group, held open and
//! known to be this run's.
//!
//! The order is what makes it sure. The group is opened first; then systemd is seen to have this run still, which it
//! had when the handle was made. So it had it at the opening, the group was the run's, and what is done through the
//! open directory can reach no later run.

use std::fs;
use std::time::Instant;

use super::Manager;
use super::active::Active;
use super::request::finish_property;
use super::ticket::Finish;
use crate::cgroup::{CgroupLayout, Vigil};
use crate::deadline::Deadline;
use crate::error::{Asked, Error, Result, Stage};
use crate::job::InvocationId;
use crate::systemd1::{self, Call};
use crate::unit::Value;

/// What [`Vigil::open`] and [`Vigil::open_with_oom`] give.
pub(super) type Opened = std::io::Result<Option<Vigil>>;

/// One deadline over all the steps of a call.
pub(super) struct Until {
    pub asked: Asked,
    pub at: Instant,
    begun: Instant,
}

impl Until {
    /// A deadline that has passed is answered at once, before anything is done.
    pub(super) fn new(manager: &Manager, asked: Asked, deadline: Deadline) -> Result<Until> {
        manager.0.driver.check_process()?;
        let begun = Instant::now();
        let until = Until { asked, at: deadline.instant(begun, manager.0.default_timeout), begun };
        if until.at <= begun { Err(until.timeout(Stage::Queued)) } else { Ok(until) }
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.at
    }

    pub(super) fn timeout(&self, stage: Stage) -> Error {
        Error::Timeout { asked: self.asked.clone(), stage, job: None, waited: self.begun.elapsed() }
    }

    /// The error of one step, with the time that all of them took.
    pub(super) fn in_all(&self, error: Error) -> Error {
        match error {
            Error::Timeout { asked, stage, job, .. } => {
                Error::Timeout { asked, stage, job, waited: self.begun.elapsed() }
            }
            other => other,
        }
    }

    /// The error of a step that came after systemd had carried out what was asked.
    pub(super) fn after(&self, error: Error) -> Error {
        if error.is_timeout() { self.timeout(Stage::Verify) } else { error }
    }
}

/// The operating system's refusal to show a control group.
pub(super) fn unreadable(source: std::io::Error) -> Error {
    Error::System { doing: "read the unit's control group", source }
}

/// Whether an error says that the handle's run is over.
pub(super) fn says_over(error: &Error) -> bool {
    matches!(error, Error::NoSuchUnit { .. } | Error::Superseded { .. })
}

impl Active {
    /// Asks this run's own object, in the name of what the caller asked for.
    pub(super) fn ask_run<T: Send + 'static>(
        &self,
        until: &Until,
        call: impl FnOnce(String) -> Call,
        finish: impl FnOnce(Asked) -> Finish<T>,
    ) -> Result<T> {
        let (plan, asked) = self.run_plan(until.asked.operation, call)?;
        let answer = self.manager.ask(plan, Deadline::At(until.at), finish(asked));
        answer.map_err(|error| until.in_all(error))
    }

    /// Opens a watch over this run's control group, or over what has its place; `None` where there is none.
    pub(super) fn open_group(
        &self,
        open: impl FnOnce(&CgroupLayout, &str) -> Opened,
    ) -> Result<Option<Vigil>> {
        if self.control_group.is_empty() {
            return Ok(None);
        }
        open(&self.manager.0.site.layout, &self.control_group).map_err(unreadable)
    }

    /// Opens a watch over this run's control group; `None` where the run is over, and has no process any more.
    ///
    /// The bus is asked only where neither systemd's own link nor the group's number says whose the group is.
    pub(super) fn watch(
        &self,
        until: &Until,
        open: impl FnOnce(&CgroupLayout, &str) -> Opened,
    ) -> Result<Option<Vigil>> {
        let Some(vigil) = self.open_group(open)? else { return Ok(None) };
        let number = vigil.subtree().id();
        let is_its = number.is_some() && number == self.record.group;
        match self.holder() {
            Holder::Unknown if !is_its => match self.ask_current(until) {
                Ok(()) => Ok(Some(vigil)),
                // A handle that never saw its run cannot tell whose processes these are.
                Err(error) if says_over(&error) && self.invocation.is_some() => Ok(None),
                Err(error) => Err(error),
            },
            Holder::Unknown | Holder::ThisRun => Ok(Some(vigil)),
            Holder::AnotherRun => Ok(None),
        }
    }

    /// Sees that systemd has this run still. Costs no message where systemd keeps links to its runs; those of slices it
    /// does not.
    pub(super) fn check_current(&self, until: &Until) -> Result<()> {
        match (self.holder(), self.invocation) {
            (Holder::ThisRun, _) => Ok(()),
            (Holder::AnotherRun, Some(invocation)) => {
                Err(Error::Superseded { asked: until.asked.clone(), invocation })
            }
            _ => self.ask_current(until),
        }
    }

    pub(super) fn ask_current(&self, until: &Until) -> Result<()> {
        let state = |path| Call::Get { path, interface: systemd1::UNIT.into(), name: "ActiveState".into() };
        let state: Value = self.ask_run(until, state, finish_property)?;
        match state.as_str() {
            Some("inactive" | "failed") => Err(Error::NoSuchUnit { asked: until.asked.clone() }),
            _ => Ok(()),
        }
    }

    /// Which run has the name by systemd's own link. It makes it before the run's first process and removes it with
    /// the run's control group.
    fn holder(&self) -> Holder {
        let links = self.manager.0.site.links.as_ref();
        let link =
            links.and_then(|links| fs::read_link(links.join(format!("invocation:{}", self.unit))).ok());
        let holder = link.and_then(|id| id.to_str()?.parse::<InvocationId>().ok());
        match (holder, self.invocation) {
            (Some(holder), Some(own)) if holder == own => Holder::ThisRun,
            (Some(_), Some(_)) => Holder::AnotherRun,
            _ => Holder::Unknown,
        }
    }
}

enum Holder {
    ThisRun,
    AnotherRun,
    Unknown,
}
