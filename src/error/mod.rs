//! What can go wrong, typed: each error says what was asked, how far it came, and what a person can do.

mod asked;
mod tell;

use std::io;
use std::time::Duration;

pub use asked::{Asked, Operation, Stage};
pub(crate) use tell::Escaped;

use crate::cgroup::{LimitGap, MisplacedProcess};
use crate::job::{InvocationId, JobId, JobResult};

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that a call of this crate can fail with.
///
/// [`Display`](std::fmt::Display) is one line for people that ends with what can be done; the fields and the
/// questions ([`is_timeout`](Error::is_timeout), [`unit`](Error::unit), …) are for programs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The request itself is wrong; it was refused before anything was sent, and nothing has changed.
    InvalidInput {
        /// Which part of the request: `unit name`, `property`, `PID`, …
        what: &'static str,
        /// What was given.
        given: String,
        /// Why it cannot be.
        reason: String,
    },
    /// No connection to the manager could be made.
    Connect {
        /// The D-Bus address that was tried.
        address: String,
        /// Why it failed, in the words of whoever refused.
        reason: String,
    },
    /// systemd or the bus refused for want of rights.
    AccessDenied {
        /// What was asked.
        asked: Asked,
        /// The D-Bus error's name.
        name: String,
        /// The D-Bus error's text.
        message: String,
    },
    /// A unit of that name is there already; no job was made for this request.
    UnitExists {
        /// What was asked.
        asked: Asked,
        /// The state of the unit that is there (`ActiveState`), where it could be read.
        state: Option<String>,
    },
    /// No unit of that name is loaded, or the run that a handle means is over.
    NoSuchUnit {
        /// What was asked.
        asked: Asked,
    },
    /// The handle's run is over, and another run has its name now; that one was not touched.
    Superseded {
        /// What was asked.
        asked: Asked,
        /// The run that the handle means.
        invocation: InvocationId,
    },
    /// A process that was to be placed is not there (any more).
    NoSuchProcess {
        /// What was asked.
        asked: Asked,
        /// The process, where it is known which.
        pid: Option<u32>,
    },
    /// systemd does not know a property, or does not let it be set on this kind of unit.
    UnknownProperty {
        /// What was asked.
        asked: Asked,
        /// The property's name on D-Bus; empty where systemd did not say which.
        property: String,
        /// The D-Bus error's text.
        message: String,
    },
    /// No such job is queued or running; it may just have ended.
    NoSuchJob {
        /// The job.
        job: JobId,
    },
    /// The job ended, and not with `done`.
    JobFailed {
        /// What was asked.
        asked: Asked,
        /// The job.
        job: JobId,
        /// How it ended.
        result: JobResult,
    },
    /// The deadline came first.
    Timeout {
        /// What was asked.
        asked: Asked,
        /// How far it had come.
        stage: Stage,
        /// The job, once systemd had made one.
        job: Option<JobId>,
        /// How long the call had waited.
        waited: Duration,
    },
    /// The connection ended while the request was under way.
    Disconnected {
        /// What was asked.
        asked: Asked,
        /// How far it had come.
        stage: Stage,
        /// The job, once systemd had made one.
        job: Option<JobId>,
    },
    /// The job is done, and the kernel has processes elsewhere than in the unit's control group.
    Misplaced {
        /// What was asked.
        asked: Asked,
        /// Each process that is not where it should be, and where it is.
        processes: Vec<MisplacedProcess>,
    },
    /// A condition of the unit (`ConditionPathExists=`, …) was not met, so systemd did not start it.
    ConditionUnmet {
        /// What was asked.
        asked: Asked,
        /// The job.
        job: JobId,
    },
    /// Limits were required, and the kernel does not hold them. A unit that was created for the request is stopped
    /// again; one that was there before stays, and so does a change to one.
    Limit {
        /// What was asked.
        asked: Asked,
        /// Each limit that is not in force.
        gaps: Vec<LimitGap>,
        /// Whether the created unit is known to be gone again; never after a change to a living one.
        released: bool,
    },
    /// Processes can join a running unit only where it is delegated (`Delegate=yes`), and it is not.
    NotDelegated {
        /// What was asked.
        asked: Asked,
    },
    /// The unit has no control group of that name below its own; nothing was attached.
    NoSuchControlGroup {
        /// What was asked.
        asked: Asked,
        /// The control group that is not there.
        control_group: String,
    },
    /// What was asked cannot be done to this unit, or on this machine's layout of control groups.
    Unsupported {
        /// What was asked.
        asked: Asked,
        /// Why not.
        reason: String,
    },
    /// To replace the unit would kill a process that is to be placed in it: it runs in that unit now.
    WouldKill {
        /// What was asked.
        asked: Asked,
        /// The process.
        pid: u32,
    },
    /// The command could not be executed; nothing of it has run, and its child is gone.
    Exec {
        /// What was asked.
        asked: Asked,
        /// Whether the child was in its scope already, so that it is `execve(2)` itself that failed. Where it was
        /// not, it is what comes before: the fork, the user and groups, the directory, or a closure given to
        /// `pre_exec`; nothing was asked of systemd then.
        placed: bool,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The manager was opened by another process, before a `fork`; open one of this process's own.
    Forked,
    /// The manager's thread is gone; this manager cannot be used any more.
    Closed {
        /// Why, in the thread's last words.
        reason: String,
    },
    /// The operating system refused something that the driver needs (a thread, a descriptor, a file).
    System {
        /// What was being done.
        doing: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Any other D-Bus error.
    Dbus {
        /// What was asked.
        asked: Asked,
        /// The error's name.
        name: String,
        /// The error's text.
        message: String,
    },
    /// systemd answered with a message of another form than its documentation gives.
    Protocol {
        /// What was asked.
        asked: Asked,
        /// What was wrong with the answer.
        reason: String,
    },
}

impl Error {
    pub(crate) fn invalid(what: &'static str, given: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::InvalidInput { what, given: given.into(), reason: reason.into() }
    }

    /// Whether the request was refused before anything was sent, for what it said.
    ///
    /// ```
    /// let scope = unitwait::Scope::new("not a name").pid(1);
    /// assert!(scope.check().unwrap_err().is_invalid_input());
    /// ```
    pub fn is_invalid_input(&self) -> bool {
        matches!(self, Error::InvalidInput { .. })
    }

    /// Whether the deadline came first.
    ///
    /// ```
    /// let error = unitwait::Scope::new("bad").check().unwrap_err();
    /// assert!(!error.is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Timeout { .. })
    }

    /// What was asked, where the error belongs to one request.
    ///
    /// ```
    /// let error = unitwait::Scope::new("bad").check().unwrap_err();
    /// assert!(error.asked().is_none());
    /// ```
    pub fn asked(&self) -> Option<&Asked> {
        match self {
            Error::AccessDenied { asked, .. }
            | Error::UnitExists { asked, .. }
            | Error::NoSuchUnit { asked }
            | Error::Superseded { asked, .. }
            | Error::NoSuchProcess { asked, .. }
            | Error::UnknownProperty { asked, .. }
            | Error::JobFailed { asked, .. }
            | Error::Timeout { asked, .. }
            | Error::Disconnected { asked, .. }
            | Error::Misplaced { asked, .. }
            | Error::ConditionUnmet { asked, .. }
            | Error::Limit { asked, .. }
            | Error::NotDelegated { asked }
            | Error::NoSuchControlGroup { asked, .. }
            | Error::Unsupported { asked, .. }
            | Error::WouldKill { asked, .. }
            | Error::Exec { asked, .. }
            | Error::Dbus { asked, .. }
            | Error::Protocol { asked, .. } => Some(asked),
            Error::InvalidInput { .. }
            | Error::Connect { .. }
            | Error::NoSuchJob { .. }
            | Error::Forked
            | Error::Closed { .. }
            | Error::System { .. } => None,
        }
    }

    /// The unit that was meant.
    ///
    /// ```
    /// let error = unitwait::Scope::new("bad").check().unwrap_err();
    /// assert_eq!(error.unit(), None);
    /// ```
    pub fn unit(&self) -> Option<&str> {
        self.asked()?.unit.as_deref()
    }

    /// How far the request came, where that is known to matter (a timeout, a lost connection).
    ///
    /// ```
    /// let error = unitwait::Scope::new("bad").check().unwrap_err();
    /// assert_eq!(error.stage(), None);
    /// ```
    pub fn stage(&self) -> Option<Stage> {
        match self {
            Error::Timeout { stage, .. } | Error::Disconnected { stage, .. } => Some(*stage),
            _ => None,
        }
    }

    /// The job that systemd made for the request.
    ///
    /// ```
    /// let error = unitwait::Scope::new("bad").check().unwrap_err();
    /// assert_eq!(error.job(), None);
    /// ```
    pub fn job(&self) -> Option<JobId> {
        match self {
            Error::Timeout { job, .. } | Error::Disconnected { job, .. } => *job,
            Error::JobFailed { job, .. } | Error::ConditionUnmet { job, .. } | Error::NoSuchJob { job } => {
                Some(*job)
            }
            _ => None,
        }
    }

    /// The name of the D-Bus error behind it, where there is one.
    ///
    /// ```
    /// let error = unitwait::Scope::new("bad").check().unwrap_err();
    /// assert_eq!(error.dbus_name(), None);
    /// ```
    pub fn dbus_name(&self) -> Option<&str> {
        match self {
            Error::AccessDenied { name, .. } | Error::Dbus { name, .. } => Some(name),
            _ => None,
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::System { source, .. } | Error::Exec { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_asked_how_far_it_came_and_what_to_do() {
        let error = Error::Timeout {
            asked: Asked::new(Operation::CreateScope, Some("a.scope")),
            stage: Stage::Job,
            job: Some(JobId::new(42)),
            waited: Duration::from_millis(1500),
        };
        assert_eq!(
            error.to_string(),
            "could not create scope a.scope by the deadline, after 1.5s: systemd accepted it and its job is \
             not over; job 42 (look at the unit before trying again: it may be there)"
        );
        assert_eq!((error.unit(), error.stage()), (Some("a.scope"), Some(Stage::Job)));
        assert_eq!(error.job(), Some(JobId::new(42)));
    }

    #[test]
    fn results_stay_small_enough_to_return_by_value() {
        assert!(size_of::<Error>() <= 128, "{}", size_of::<Error>());
    }
}
