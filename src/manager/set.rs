//! Setting properties on a unit that is there, and seeing that the kernel holds them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::active::Active;
use super::record::Record;
use super::request::unexpected;
use super::{Manager, finish_properties};
use crate::cgroup::{self, LimitGap};
use crate::deadline::Deadline;
use crate::driver::{Changed, Plan, Run, Set, Single, Success};
use crate::error::{Asked, Error, Operation, Result, Stage};
use crate::job::InvocationId;
use crate::systemd1::{self, Call};
use crate::unit::{Property, Update, Value, name};

/// How often a unit is looked at whose control group vanishes under the look.
const MOST_LOOKS: usize = 3;

/// What became of an update that systemd accepted.
///
/// ```no_run
/// use std::time::Duration;
/// use unitwait::{Manager, Update};
///
/// let update = Update::new().memory_max(64 << 20);
/// let updated = Manager::system()?.set("job.scope", &update, Duration::from_secs(5))?;
/// for gap in &updated.limit_gaps {
///     println!("set, and yet {gap}");
/// }
/// # Ok::<(), unitwait::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Updated {
    /// The limits of the update that the kernel does not hold. Empty where all are in force, or verification was
    /// switched off.
    pub limit_gaps: Vec<LimitGap>,
    /// The optional properties that this systemd does not know, or does not let be set on this kind of unit, by
    /// name.
    pub left_out: Vec<String>,
}

impl Manager {
    /// Sets properties of a unit by its name, and sees that the kernel holds those that are limits.
    ///
    /// systemd looks at all properties before it changes any, so that an update is made as a whole or not at all.
    /// What is set on a slice that is not there yet it gets when it comes up. The kernel's files are read in the
    /// calling thread, after a second answer of systemd's. Blocks until then or until the deadline. Errors:
    /// [`Error::InvalidInput`], [`Error::NoSuchUnit`], [`Error::AccessDenied`], [`Error::UnknownProperty`] (see
    /// [`Property::optional`]), [`Error::Limit`] where limits are required, [`Error::Timeout`], [`Error::Connect`],
    /// [`Error::Disconnected`], [`Error::Dbus`]. Idempotent: to set twice is to set once, and a retry is safe.
    /// After a timeout at [`Stage::Call`] the update was made or not; at [`Stage::Verify`] it was made, and only
    /// what the kernel made of it is not known.
    ///
    /// Source: `org.freedesktop.systemd1(5)`, `SetUnitProperties()`.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use unitwait::{Manager, Update};
    ///
    /// let update = Update::new().tasks_max(500).cpu_weight(50).persistent(true);
    /// Manager::system()?.set("jobs.slice", &update, Duration::from_secs(5))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn set(&self, unit: &str, update: &Update, deadline: impl Into<Deadline>) -> Result<Updated> {
        name::check(unit)?;
        Target { manager: self, unit, run: None }.set(update, deadline.into())
    }
}

impl Active {
    pub(super) fn set(&self, update: &Update, deadline: Deadline) -> Result<Updated> {
        update.check()?;
        let Some(invocation) = self.invocation else {
            return Err(Error::NoSuchUnit { asked: Asked::new(Operation::Set, Some(&self.unit)) });
        };
        let run = Some((invocation, &self.record));
        Target { manager: &self.manager, unit: &self.unit, run }.set(update, deadline)
    }
}

/// Whose properties are to be set.
struct Target<'a> {
    manager: &'a Manager,
    unit: &'a str,
    /// The one run that is meant, and what its handle was asked for; `None` for whatever has the name.
    run: Option<(InvocationId, &'a Arc<Record>)>,
}

impl Target<'_> {
    fn set(&self, update: &Update, deadline: Deadline) -> Result<Updated> {
        update.check()?;
        let begun = Instant::now();
        let until = deadline.instant(begun, self.manager.0.default_timeout);
        let Changed { properties, left_out } = self.change(update, until)?;
        let mut limit_gaps = Vec::new();
        if update.verify && properties.iter().any(cgroup::is_limit) {
            limit_gaps = self.gaps(&properties, until).map_err(|error| after_change(error, begun))?;
        }
        if update.require_limits && !limit_gaps.is_empty() {
            return Err(Error::Limit { asked: self.asked(), gaps: limit_gaps, released: false });
        }
        Ok(Updated { limit_gaps, left_out })
    }

    fn asked(&self) -> Asked {
        Asked::new(Operation::Set, Some(self.unit))
    }

    fn change(&self, update: &Update, until: Instant) -> Result<Changed> {
        let (asked, run) = (self.asked(), self.run.map(|(run, _)| run));
        let (unit, properties) = (self.unit.to_string(), update.properties.clone());
        let plan = Set::new(asked.clone(), unit, run, !update.persistent, properties);
        let record = self.run.map(|(_, record)| Arc::clone(record));
        let finish = move |success, _| match success {
            Success::Changed(changed) => {
                if let Some(record) = record {
                    record.note(changed.properties.clone());
                }
                Ok(*changed)
            }
            _ => Err(unexpected(asked)),
        };
        let changed = self.manager.ask(Box::new(plan), until.into(), Box::new(finish));
        if let Some((_, record)) = self.run {
            drop(record.take_in());
        }
        changed
    }

    /// The limits that the kernel does not hold. systemd writes the files before it answers the change (seen on 252
    /// and 257: each of 500 in a row was there), and before it answers the read that comes after in any case.
    fn gaps(&self, properties: &[Property], until: Instant) -> Result<Vec<LimitGap>> {
        let layout = self.manager.layout();
        let mut gaps = Vec::new();
        for _ in 0..MOST_LOOKS {
            let held = self.read(until)?;
            let text = |name: &str| held.get(name).and_then(Value::as_str).unwrap_or_default();
            let group = text("ControlGroup");
            let limits = cgroup::changed_limits(properties, &held);
            if group.is_empty() {
                if self.run.is_some() || text("LoadState") == "not-found" {
                    return Err(Error::NoSuchUnit { asked: self.asked() });
                }
                return Ok(cgroup::gaps_of_none(&limits));
            }
            gaps = cgroup::gaps(layout, group, &limits);
            if gaps.is_empty() || layout.path(group).exists() {
                break;
            }
            // It ended under the look, and systemd knows what has become of it, or will in a moment.
        }
        Ok(gaps)
    }

    fn read(&self, until: Instant) -> Result<BTreeMap<String, Value>> {
        let (asked, interface) = (self.asked(), String::new());
        let plan: Box<dyn Plan> = match self.run {
            Some((invocation, _)) => {
                let call = Call::GetAll { path: invocation.object_path(), interface };
                Box::new(Run::new(asked.clone(), call, invocation))
            }
            None => {
                let call = Call::GetAll { path: systemd1::unit_path(self.unit), interface };
                Box::new(Single { asked: asked.clone(), call })
            }
        };
        self.manager.ask(plan, until.into(), finish_properties(asked))
    }
}

/// Once systemd has accepted the change, no error may read as if it had not.
fn after_change(error: Error, begun: Instant) -> Error {
    match error {
        Error::Timeout { asked, job, .. } => {
            Error::Timeout { asked, stage: Stage::Verify, job, waited: begun.elapsed() }
        }
        Error::Disconnected { asked, job, .. } => Error::Disconnected { asked, stage: Stage::Verify, job },
        other => other,
    }
}
