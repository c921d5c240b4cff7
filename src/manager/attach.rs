//! Attaching processes to a living scope, or to a control group below it that its owner made.

use std::sync::Arc;

use super::active::{Active, ActiveScope};
use super::finish_nothing;
use super::request::look_up;
use super::run::Until;
use crate::cgroup::{self, Inspection, Place, Process, Sights, Subtree, asked_limits};
use crate::deadline::Deadline;
use crate::error::{Asked, Error, Operation, Result};
use crate::systemd1::{self, Call};
use crate::unit::{Value, check_pid};

impl Active {
    fn attach(&self, below: Option<&str>, pids: &[u32], deadline: Deadline) -> Result<()> {
        let asked = Asked::new(Operation::Attach, Some(&self.unit));
        below.map_or(Ok(()), check_subgroup)?;
        if pids.is_empty() {
            return Err(Error::invalid("PID", "", "no process is named"));
        }
        let pids: Vec<i64> = pids.iter().copied().map(Into::into).collect();
        pids.iter().try_for_each(|pid| check_pid(*pid))?;
        let processes = look_up(&pids, &asked)?;
        let until = Until::new(&self.manager, asked, deadline)?;
        let group = match below {
            Some(below) => format!("{}/{below}", self.control_group.trim_end_matches('/')),
            None => self.control_group.clone(),
        };
        self.check_group(&until, below, &group)?;
        let call = |path| Call::RunAttach {
            path,
            interface: systemd1::type_interface(&self.unit),
            subgroup: below.map_or(String::new(), |below| format!("/{below}")),
            pids: processes.iter().map(|process| process.pid).collect(),
        };
        match self.ask_run(&until, call, finish_nothing) {
            Ok(()) => {}
            Err(Error::NoSuchControlGroup { asked, .. }) => {
                return Err(Error::NoSuchControlGroup { asked, control_group: group });
            }
            Err(error @ Error::Dbus { .. }) => return Err(self.reason(&until, error)),
            Err(error) => return Err(error),
        }
        let findings = cgroup::inspect(&Inspection {
            place: Place::Exact(group),
            processes: processes.clone(),
            limits: asked_limits(&self.record.limits()),
            sights: Sights::default(),
            invocation_link: None,
            layout: Arc::clone(&self.manager.0.site.layout),
            everywhere: false,
        });
        if !findings.misplaced.is_empty() {
            return Err(Error::Misplaced { asked: until.asked, processes: findings.misplaced });
        }
        // One that is neither there nor elsewhere has ended, and its number may have been another's by then.
        let is_missing = |process: &&Process| !findings.present.contains(&process.pid);
        match processes.iter().find(is_missing) {
            Some(process) => Err(Error::NoSuchProcess { asked: until.asked, pid: Some(process.pid) }),
            None => Ok(()),
        }
    }

    /// In hybrid mode systemd passes over a group that v1 lacks in silence, and leaves the processes in two places.
    fn check_group(&self, until: &Until, below: Option<&str>, group: &str) -> Result<()> {
        let layout = &self.manager.0.site.layout;
        let opened = |group: &str| Subtree::open(layout, group).map_err(super::run::unreadable);
        let is_missing = |group: &str| Ok(opened(group)?.is_none_or(|subtree| !subtree.is_complete()));
        // Where the unit's own is gone, systemd says what became of the unit.
        if below.is_none() || is_missing(&self.control_group)? || !is_missing(group)? {
            return Ok(());
        }
        Err(Error::NoSuchControlGroup { asked: until.asked.clone(), control_group: group.into() })
    }

    /// The refusal of a unit without delegation has no name of its own, nor has that of one that is on its way down; so
    /// the unit is asked.
    fn reason(&self, until: &Until, refusal: Error) -> Error {
        let asked = until.asked.clone();
        match self.properties(Deadline::At(until.at)) {
            Ok(held) => match (held.get("ActiveState").and_then(Value::as_str), held.get("Delegate")) {
                (Some("inactive" | "failed"), _) => Error::NoSuchUnit { asked },
                (_, Some(delegate)) if delegate.as_bool() == Some(false) => Error::NotDelegated { asked },
                _ => refusal,
            },
            Err(Error::NoSuchUnit { .. }) => Error::NoSuchUnit { asked },
            Err(Error::Superseded { invocation, .. }) => Error::Superseded { asked, invocation },
            Err(_) => refusal,
        }
    }
}

/// Refuses what is no path of a control group below the unit's own, as systemd and the kernel would.
fn check_subgroup(below: &str) -> Result<()> {
    let reason = if below.is_empty() {
        "it is empty; `attach` is for the unit's own control group"
    } else if below.starts_with('/') {
        "it is absolute, and is to count from the unit's own control group"
    } else if below.contains(['\0', '\n']) {
        "a control group's name has no NUL byte and no line break"
    } else if below.split('/').any(|part| matches!(part, "" | "." | "..")) {
        "a part of it is empty, `.` or `..`"
    } else if below.len() > LONGEST || below.split('/').any(|part| part.len() > LONGEST_NAME) {
        "it is too long for a path in the file system"
    } else {
        return Ok(());
    };
    Err(Error::invalid("control group", below, reason))
}

/// `NAME_MAX`, and what systemd's `PATH_MAX` leaves beside the unit's own path (`limits.h`).
const LONGEST_NAME: usize = 255;
const LONGEST: usize = 3072;

impl ActiveScope {
    /// Attaches processes to this run, which must be delegated (`Delegate=yes`): moves them, with all their threads, out
    /// of whatever control groups they are in and into the unit's own, and sees that the kernel has them there. Children
    /// that they had before stay where they are.
    ///
    /// Blocks until then or until the deadline. A retry is safe, and a process that is there already stays. Errors:
    /// [`Error::InvalidInput`] for a list of none, for 0, and for a kernel thread; [`Error::NoSuchProcess`] where one
    /// has ended; [`Error::NotDelegated`]; [`Error::Misplaced`] where the kernel has one elsewhere afterwards;
    /// [`Error::Superseded`] where the name has since been taken by another run, which is left alone;
    /// [`Error::NoSuchUnit`] where the run is over; [`Error::AccessDenied`], also where a process is another user's and
    /// the caller not root; [`Error::Timeout`] and others as [`Self::kill`]. Bad input, and a process that is not there,
    /// is found before anything is sent. After any other error, and after a deadline, some of the processes may have
    /// been attached.
    ///
    /// Source: `org.freedesktop.systemd1(5)`, `AttachProcesses()`.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use unitwait::{Manager, Scope};
    ///
    /// let manager = Manager::system()?;
    /// let scope = Scope::new("pool.scope").own_process().delegate(true);
    /// let active = manager.create_scope(&scope, Duration::from_secs(5))?;
    /// let worker = std::process::Command::new("sleep").arg("60").spawn().expect("sleep starts");
    /// active.attach([worker.id()], Duration::from_secs(5))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn attach(&self, pids: impl IntoIterator<Item = u32>, deadline: impl Into<Deadline>) -> Result<()> {
        let pids: Vec<u32> = pids.into_iter().collect();
        self.0.attach(None, &pids, deadline.into())
    }

    /// Attaches processes to a control group below this run's own, which its owner has made: `workers`, `pods/a`. In
    /// hybrid mode it must be there both in cgroup v2 and in v1's `name=systemd`.
    ///
    /// Blocks and fails as [`Self::attach`]; [`Error::InvalidInput`] also for a path that is absolute or goes up, and
    /// [`Error::NoSuchControlGroup`] where there is no such group.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use unitwait::{Manager, Scope};
    ///
    /// let manager = Manager::system()?;
    /// let scope = Scope::new("pool.scope").own_process().delegate(true);
    /// let active = manager.create_scope(&scope, Duration::from_secs(5))?;
    /// std::fs::create_dir(active.path().expect("it is known").join("workers")).expect("the unit is delegated");
    /// let worker = std::process::Command::new("sleep").arg("60").spawn().expect("sleep starts");
    /// active.attach_to("workers", [worker.id()], Duration::from_secs(5))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn attach_to(
        &self,
        subgroup: &str,
        pids: impl IntoIterator<Item = u32>,
        deadline: impl Into<Deadline>,
    ) -> Result<()> {
        let pids: Vec<u32> = pids.into_iter().collect();
        self.0.attach(Some(subgroup), &pids, deadline.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_below_the_unit_is_taken_for_a_subgroup() {
        let long = "a".repeat(256);
        for bad in
            ["", "/", "/a", "..", "a/../b", "./a", "a//b", "a/", "a\0b", "a\nb", &long, &"a/".repeat(2000)]
        {
            assert!(check_subgroup(bad).is_err_and(|error| error.is_invalid_input()), "{bad:?} passed");
        }
        for good in ["a", "pods/a.scope/x", "...", "ä b"] {
            check_subgroup(good).expect(good);
        }
    }
}
