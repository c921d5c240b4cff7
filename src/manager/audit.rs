//! The audit of a unit that is there: what was asked for against what the kernel holds now.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Manager;
use super::active::Active;
use super::record::Record;
use crate::cgroup::{self, AuditFinding, Subject};
use crate::deadline::Deadline;
use crate::error::{Asked, Error, Operation, Result};
use crate::unit::Value;

/// What an audit found.
///
/// ```no_run
/// use std::time::Duration;
///
/// let manager = unitwait::Manager::system()?;
/// let audit = manager.audit("job.scope", Duration::from_secs(5))?;
/// for finding in &audit.findings {
///     println!("{}: {finding}", audit.unit);
/// }
/// # Ok::<(), unitwait::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// The unit's name.
    pub unit: String,
    /// Its control group; empty where it is over.
    pub control_group: String,
    /// All that is not as it was asked for. Empty where all is.
    pub findings: Vec<AuditFinding>,
}

impl Manager {
    /// Compares what systemd says of a unit with what the kernel holds, now: each process's control group in every
    /// hierarchy, and each limit's file.
    ///
    /// systemd writes a limit when it is set and at `daemon-reload`; what is written past it in between it neither
    /// sees nor says. Reads properties, then files of the kernel in the calling thread; changes nothing. Blocks
    /// until the properties are there or until the deadline. Errors: [`Error::NoSuchUnit`] where no unit of that
    /// name is loaded, otherwise as [`Manager::properties`].
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// let manager = unitwait::Manager::system()?;
    /// assert!(manager.audit("system.slice", Duration::from_secs(5))?.findings.is_empty());
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn audit(&self, unit: &str, deadline: impl Into<Deadline>) -> Result<Audit> {
        let held = self.properties(unit, deadline)?;
        if held.get("LoadState").and_then(Value::as_str) == Some("not-found") {
            return Err(Error::NoSuchUnit { asked: Asked::new(Operation::Get, Some(unit)) });
        }
        Ok(audit(self, unit, &Record::new(Vec::new(), Vec::new(), None), &held))
    }
}

impl Active {
    pub(super) fn audit(&self, deadline: Deadline) -> Result<Audit> {
        let over = |finding| {
            let (unit, control_group) = (self.unit.clone(), String::new());
            Ok(Audit { unit, control_group, findings: vec![finding] })
        };
        match self.properties(deadline) {
            Ok(held) => Ok(audit(&self.manager, &self.unit, &self.record, &held)),
            Err(Error::Superseded { .. }) => over(AuditFinding::Replaced),
            Err(Error::NoSuchUnit { .. }) => over(AuditFinding::Gone),
            Err(other) => Err(other),
        }
    }
}

fn audit(manager: &Manager, unit: &str, record: &Record, held: &BTreeMap<String, Value>) -> Audit {
    let control_group = held.get("ControlGroup").and_then(Value::as_str).unwrap_or_default();
    let findings = if control_group.is_empty() {
        vec![AuditFinding::Gone]
    } else {
        cgroup::audit(&Subject {
            layout: Arc::clone(&manager.0.site.layout),
            control_group,
            placed: &record.placed,
            asked: &record.limits(),
            held,
        })
    };
    Audit { unit: unit.into(), control_group: control_group.into(), findings }
}
