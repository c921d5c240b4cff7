//! The end of a run, and how it came about.

use std::fmt;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;

use super::active::Active;
use super::request::unexpected;
use super::run::{Until, unreadable};
use super::ticket::{Finish, Ticket};
use crate::cgroup::Vigil;
use crate::deadline::Deadline;
use crate::driver::{RunEnd, Success, Wait, Wake};
use crate::error::{Asked, Operation, Result};

/// How a run ended.
///
/// ```
/// use unitwait::{Ended, Ending};
///
/// fn went_well(ended: &Ended) -> bool {
///     matches!(ended.ending, Ending::Exited | Ending::Stopped)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// How it came about.
    pub ending: Ending,
    /// systemd's own word for the result (`success`, `timeout`, `oom-kill`, …); `None` where it was forgotten before
    /// it could be read, as systemd forgets units that ended well.
    pub result: Option<String>,
    /// How the process ended that unitwait itself started ([`ScopedChild::wait_all`](crate::ScopedChild::wait_all));
    /// `None` for a run of anybody else's processes, whose parent alone is told.
    pub status: Option<ExitStatus>,
}

/// What ended a run.
///
/// ```
/// assert_eq!(unitwait::Ending::OomKilled.to_string(), "killed for want of memory");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// All its processes ended, and nobody had systemd stop it: they exited, or signals killed them (those of
    /// [`ActiveScope::kill_all`](crate::ActiveScope::kill_all) included). systemd is not their parent, and is not told.
    Exited,
    /// The process that unitwait itself started was killed by this signal, and nothing else ended the run.
    Killed(i32),
    /// It was stopped by request, anybody's.
    Stopped,
    /// The kernel killed processes of it for want of memory: systemd says so, or the kernel's own counter did while
    /// this was waited for (cgroup v1: not that of groups below the unit's).
    OomKilled,
    /// It ran, or took to stop, longer than `RuntimeMaxSec=` or `TimeoutStopSec=` allow.
    TimedOut,
    /// systemd has another reason, which [`Ended::result`] tells.
    Failed,
    /// It was over, and systemd had forgotten it, before it could be asked: as it does with runs that ended well, and
    /// with others where it is told to (`CollectMode=inactive-or-failed`, `reset_failed`).
    Unknown,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exited => f.write_str("its processes ended"),
            Ending::Killed(signal) => write!(f, "killed by signal {signal}"),
            Ending::Stopped => f.write_str("stopped by request"),
            Ending::OomKilled => f.write_str("killed for want of memory"),
            Ending::TimedOut => f.write_str("ran out of time"),
            Ending::Failed => f.write_str("failed"),
            Ending::Unknown => f.write_str("over, and nobody knows how"),
        }
    }
}

impl Ended {
    fn new(end: RunEnd, oom_killed: bool) -> Ended {
        let ending = match end.result.as_deref() {
            Some("oom-kill") => Ending::OomKilled,
            Some("timeout") => Ending::TimedOut,
            _ if end.stopped => Ending::Stopped,
            _ if oom_killed => Ending::OomKilled,
            Some("success") => Ending::Exited,
            Some(_) => Ending::Failed,
            None if end.was_told => Ending::Exited,
            None => Ending::Unknown,
        };
        Ended { ending, result: end.result, status: None }
    }

    /// The same run, of which the status of the process is known that was started in it.
    pub(super) fn with_status(self, status: ExitStatus) -> Ended {
        let ending = match (self.ending, status.signal()) {
            (Ending::Exited | Ending::Unknown, Some(signal)) => Ending::Killed(signal),
            // A run that went wrong otherwise would have been kept.
            (Ending::Unknown, None) => Ending::Exited,
            (ending, _) => ending,
        };
        Ended { ending, status: Some(status), ..self }
    }
}

impl Active {
    pub(super) fn wait(&self, deadline: Deadline) -> Result<Ended> {
        let asked = Asked::new(Operation::Wait, Some(&self.unit));
        let until = Until::new(&self.manager, asked.clone(), deadline)?;
        let Some(invocation) = self.invocation else { return Ok(Ended::new(RunEnd::default(), false)) };
        // Before systemd is asked, for it removes the group, and what the kernel has counted, when the run ends.
        let mut vigil = self.watch(&until, Vigil::open_with_oom)?;
        let before = vigil.as_ref().map_or(0, Vigil::oom_kills);
        let bell = Arc::new(Wake::new()?);
        let plan = Box::new(Wait::new(asked.clone(), &self.unit, invocation.object_path()));
        let (driver, finish) = (&self.manager.0.driver, finish_wait(asked));
        driver.hear_units(until.asked.clone(), until.at)?;
        let ticket = Ticket::submit_with(driver, plan, until.at, finish, Arc::downgrade(&bell))?;
        while let Some(vigil) = vigil.as_mut().filter(|vigil| !vigil.is_empty()) {
            if let Some(end) = ticket.try_wait() {
                return Ok(Ended::new(end?, vigil.oom_kills() > before));
            }
            if until.is_over() {
                break;
            }
            if let Err(error) = vigil.wait(until.at, &[bell.as_fd()]) {
                // Else systemd would keep the unit's name for as long as the deadline is.
                ticket.give_up();
                return Err(unreadable(error));
            }
        }
        let end = ticket.wait(Deadline::Default).map_err(|error| until.in_all(error))?;
        Ok(Ended::new(end, vigil.is_some_and(|vigil| vigil.oom_kills() > before)))
    }
}

fn finish_wait(asked: Asked) -> Finish<RunEnd> {
    Box::new(move |success, _| match success {
        Success::Ended(end) => Ok(end),
        _ => Err(unexpected(asked)),
    })
}
