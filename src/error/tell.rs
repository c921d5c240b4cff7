//! Errors in words: one line for people that ends with what can be done.

use std::fmt::{self, Write};

use super::{Error, Operation, Stage};

impl Stage {
    const fn told(self) -> &'static str {
        match self {
            Stage::Fork => "the child was not ready to be placed, and nothing was sent",
            Stage::Connect => "no connection to the manager yet, and nothing was sent",
            Stage::Queued => "it still waited in line, and nothing was sent",
            Stage::Call => "the call was sent and systemd has not answered",
            Stage::Job => "systemd accepted it and its job is not over",
            Stage::Wait => "it is still there",
            Stage::HalfWay => {
                "some of its steps may have been carried out, and the next still waited in line"
            }
            Stage::Verify => "it was carried out and the kernel's side was still being checked",
        }
    }
}

impl Error {
    /// What a person can do about it.
    ///
    /// ```
    /// let error = unitwait::Scope::new("bad").check().unwrap_err();
    /// assert!(!error.hint().is_empty());
    /// ```
    pub fn hint(&self) -> &'static str {
        match self {
            Error::InvalidInput { .. } => "correct the request; nothing was sent",
            Error::Connect { .. } => {
                "see that the bus and systemd run and that the address is right; `unitwait doctor` tells"
            }
            Error::AccessDenied { .. } => {
                "ask as root, use the user manager, or have the administrator allow it in polkit"
            }
            Error::UnitExists { .. } => "choose another name, stop that unit, or ask to join or replace it",
            Error::NoSuchUnit { .. } => "it ended, was never started, or is misspelt",
            Error::Superseded { .. } => "look the unit up again by its name if the new run is meant",
            Error::NoSuchProcess { asked, .. } => match asked.operation {
                Operation::Kill => {
                    "ask for all of its processes: a scope or slice has neither a main nor a control process"
                }
                Operation::FindUnit => "it has ended, or is misspelt",
                _ => "the process ended before it could be placed; start it again",
            },
            Error::UnknownProperty { .. } => "leave the property out, or use a systemd that knows it",
            Error::NoSuchJob { .. } => "it is over already",
            Error::JobFailed { result, .. } => result.hint(),
            Error::Timeout { stage: Stage::Fork | Stage::Connect | Stage::Queued, .. } => {
                "nothing has changed: try again, with a longer deadline if the manager is busy"
            }
            Error::Timeout { asked, stage: Stage::Wait, .. } if asked.operation == Operation::Watch => {
                "wait on: nothing has happened to these units"
            }
            Error::Timeout { asked, .. } | Error::Disconnected { asked, .. }
                if asked.operation.only_reads() =>
            {
                "nothing has changed: try again, with a longer deadline if the manager is busy"
            }
            Error::Timeout { asked, .. } if asked.operation == Operation::Wait => "wait on, or stop it",
            Error::Timeout { asked, .. } if asked.operation == Operation::WaitEmpty => {
                "it has processes still: wait on, or kill them all"
            }
            Error::Timeout { asked, .. } if asked.operation == Operation::WaitForChild => {
                "wait on, or kill the process"
            }
            Error::Timeout { asked, .. } if asked.operation == Operation::KillAll => {
                "try again; a process in an uninterruptible wait dies when that ends"
            }
            Error::Disconnected { stage: Stage::Connect | Stage::Queued, .. } => {
                "nothing has changed: try again"
            }
            Error::Timeout { asked, .. } | Error::Disconnected { asked, .. }
                if asked.operation == Operation::Set =>
            {
                "set it again: to set twice is to set once"
            }
            Error::Timeout { .. } | Error::Disconnected { .. } => {
                "look at the unit before trying again: it may be there"
            }
            Error::Misplaced { .. } => {
                "another program moves processes between control groups; find it, or place the processes again"
            }
            Error::ConditionUnmet { .. } => "see Condition…= among its properties",
            Error::Limit { .. } => {
                "have the controller enabled or delegated here, ask for what the kernel can hold, or do without"
            }
            Error::NotDelegated { .. } => "create the unit with delegation, or replace it",
            Error::NoSuchControlGroup { .. } => {
                "make the group first, in each hierarchy that systemd keeps the unit in"
            }
            Error::Unsupported { .. } => "change what the reason names, or do without",
            Error::WouldKill { .. } => "choose another name, or move the process out of that unit first",
            Error::Exec { placed: true, .. } => "see that the program is there, and may be executed",
            Error::Exec { placed: false, .. } => {
                "see the command's user, directory and closures, and the limits on processes and descriptors"
            }
            Error::Forked => "open a manager after the fork",
            Error::Closed { .. } => "open the manager again",
            Error::System { .. } => "see the limits on descriptors, threads and memory",
            Error::Dbus { .. } => "see the journal of systemd",
            Error::Protocol { .. } => {
                "something other than systemd may own the name `org.freedesktop.systemd1`"
            }
        }
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if at == 0 { "" } else { ", " })?;
    }
    Ok(())
}

/// A text whose control characters, and what else moves or hides characters, are shown by their numbers. `{:?}` does so
/// for all that is not printable, with tables of all such characters.
pub(crate) struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\0'..' ' | '"' | '\'' | '\\' | '\u{7f}' => write!(f, "{}", c.escape_default()),
            '\u{80}'..'\u{a0}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{10ffff}' => write!(f, "{}", c.escape_unicode()),
            c => f.write_char(c),
        })
    }
}

/// As much of what was given as people read.
fn clipped(given: &str) -> std::borrow::Cow<'_, str> {
    const MOST: usize = 200;
    match given.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &given[..end]).into(),
        None => given.into(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(f)?;
        write!(f, " ({})", self.hint())
    }
}

impl Error {
    fn tell(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidInput { what, given, reason } => {
                write!(f, "bad {what} \"{}\": {reason}", Escaped(&clipped(given)))
            }
            Error::Connect { address, reason } => write!(f, "could not connect to {address}: {reason}"),
            Error::UnitExists { asked, state } => {
                write!(f, "could not {asked}: a unit of that name exists")?;
                state.as_ref().map_or(Ok(()), |state| write!(f, " and is {state}"))
            }
            Error::NoSuchUnit { asked } => write!(f, "could not {asked}: no such unit"),
            Error::Superseded { asked, invocation } => {
                write!(f, "could not {asked}: its run {invocation} is over and another has its name")
            }
            Error::NoSuchProcess { asked, pid: Some(pid) } => {
                write!(f, "could not {asked}: there is no process {pid}")
            }
            Error::NoSuchProcess { asked, pid: None } if asked.operation == Operation::Kill => {
                write!(f, "could not {asked}: it has no such process")
            }
            Error::NoSuchProcess { asked, pid: None } => write!(f, "could not {asked}: a process has ended"),
            Error::UnknownProperty { asked, property, message } => {
                write!(f, "could not {asked}: systemd does not take property {property}: {message}")
            }
            Error::NoSuchJob { job } => write!(f, "there is no job {job}"),
            Error::JobFailed { asked, job, result } => {
                write!(f, "could not {asked}: job {job} ended as {result}")
            }
            Error::Timeout { asked, stage, job, waited } => {
                write!(f, "could not {asked} by the deadline")?;
                if !waited.is_zero() {
                    write!(f, ", after {waited:.1?}")?;
                }
                write!(f, ": {}", stage.told())?;
                job.map_or(Ok(()), |job| write!(f, "; job {job}"))
            }
            Error::Disconnected { asked, stage, job } => {
                write!(f, "could not {asked}: the connection ended; {}", stage.told())?;
                job.map_or(Ok(()), |job| write!(f, "; job {job}"))
            }
            Error::Misplaced { asked, processes } => {
                write!(f, "{asked}: done, and yet ")?;
                list(f, processes)
            }
            Error::ConditionUnmet { asked, .. } => {
                write!(f, "could not {asked}: a condition of it is not met, and systemd did not start it")
            }
            Error::Limit { asked, gaps, released } => {
                write!(f, "could not {asked} with the limits required: ")?;
                list(f, gaps)?;
                f.write_str(match (asked.operation, released) {
                    (Operation::Set, _) => "; the change stands",
                    (_, true) => "; it was released again",
                    (_, false) => "; it may still be there",
                })
            }
            Error::NotDelegated { asked } => write!(f, "could not {asked}: the unit is not delegated"),
            Error::NoSuchControlGroup { asked, control_group } => {
                write!(f, "could not {asked}: there is no control group {control_group}")
            }
            Error::Unsupported { asked, reason } => write!(f, "could not {asked}: {reason}"),
            Error::WouldKill { asked, pid } => {
                write!(f, "could not {asked}: to replace the unit would kill process {pid}, which runs in it")
            }
            Error::Exec { asked, placed: true, source } => {
                write!(f, "could not {asked}: the command could not be executed: {source}")
            }
            Error::Exec { asked, placed: false, source } => {
                write!(f, "could not {asked}: the child could not be made ready to execute: {source}")
            }
            Error::Forked => f.write_str("the manager belongs to the process that opened it, before a fork"),
            Error::Closed { reason } => write!(f, "the manager's thread is gone: {reason}"),
            Error::System { doing, source } => write!(f, "could not {doing}: {source}"),
            Error::AccessDenied { asked, name, message } | Error::Dbus { asked, name, message } => {
                write!(f, "could not {asked}: {message} [{name}]")
            }
            Error::Protocol { asked, reason } => write!(f, "could not {asked}: {reason}"),
        }
    }
}
