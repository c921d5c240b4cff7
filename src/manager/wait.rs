//! The end of a run, and how it came about.

use std::fmt;
use std::time::Instant;

use super::active::Active;
use super::request::unexpected;
use super::ticket::Finish;
use crate::deadline::Deadline;
use crate::driver::{Plan, RunEnd, Success, Wait};
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
}

/// What ended a run.
///
/// ```
/// assert_eq!(unitwait::Ending::OomKilled.to_string(), "killed for want of memory");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// Its processes ended by themselves. systemd is not their parent, and does not know their exit statuses.
    Exited,
    /// It was stopped by request, anybody's.
    Stopped,
    /// The kernel killed processes of it for want of memory.
    OomKilled,
    /// It ran, or took to stop, longer than `RuntimeMaxSec=` or `TimeoutStopSec=` allow.
    TimedOut,
    /// systemd has another reason, which [`Ended::result`] tells.
    Failed,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ending::Exited => "ended by itself",
            Ending::Stopped => "stopped by request",
            Ending::OomKilled => "killed for want of memory",
            Ending::TimedOut => "ran out of time",
            Ending::Failed => "failed",
        })
    }
}

impl Ended {
    fn new(end: RunEnd, oom_killed: bool) -> Ended {
        let ending = match end.result.as_deref() {
            Some("oom-kill") => Ending::OomKilled,
            Some("timeout") => Ending::TimedOut,
            _ if end.stopped => Ending::Stopped,
            _ if oom_killed => Ending::OomKilled,
            None | Some("success") => Ending::Exited,
            Some(_) => Ending::Failed,
        };
        Ended { ending, result: end.result }
    }
}

impl Active {
    pub(super) fn wait(&self, deadline: Deadline) -> Result<Ended> {
        let deadline = deadline.instant(Instant::now(), self.manager.0.default_timeout);
        let asked = Asked::new(Operation::Wait, Some(&self.unit));
        let Some(invocation) = self.invocation else { return Ok(Ended::new(RunEnd::default(), false)) };
        let wait = Wait::new(asked.clone(), &self.unit, invocation.object_path());
        let end = self.manager.ask(Plan::Wait(Box::new(wait)), deadline.into(), finish_wait(asked))?;
        Ok(Ended::new(end, false))
    }
}

fn finish_wait(asked: Asked) -> Finish<RunEnd> {
    Box::new(move |success, _| match success {
        Success::Ended(end) => Ok(end),
        _ => Err(unexpected(asked)),
    })
}
