//! Taking over a unit that is there: another process's, or one's own after a restart.

use std::sync::Arc;

use super::active::{Active, ActiveScope, ActiveSlice};
use super::record::Record;
use super::{Manager, finish_properties};
use crate::deadline::Deadline;
use crate::driver::Outcome;
use crate::error::{Asked, Error, Operation, Result};
use crate::job::{InvocationId, StageTimes};
use crate::systemd1::{self, Call};
use crate::unit::{Value, name};

impl Manager {
    /// Takes over a running scope by its name: the handle means the run that it is in now, and no later one.
    ///
    /// Blocks until systemd has told its properties or until the deadline. Changes nothing; a retry is safe. Errors:
    /// [`Error::NoSuchUnit`] where no such scope is active, [`Error::Unsupported`] where systemd has given its run no
    /// invocation ID, by which it could be told from others (`init.scope`), otherwise as [`Manager::properties`].
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// let manager = unitwait::Manager::system()?;
    /// let active = manager.adopt_scope("job.scope", Duration::from_secs(1))?;
    /// active.stop(Duration::from_secs(5))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn adopt_scope(&self, unit: &str, deadline: impl Into<Deadline>) -> Result<ActiveScope> {
        name::check_kind(unit, "scope")?;
        self.adopt(unit, deadline.into()).map(ActiveScope)
    }

    /// Takes over an active slice by its name. Otherwise as [`Manager::adopt_scope`].
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// let slice = unitwait::Manager::system()?.adopt_slice("jobs.slice", Duration::from_secs(1))?;
    /// println!("{}", slice.control_group());
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn adopt_slice(&self, unit: &str, deadline: impl Into<Deadline>) -> Result<ActiveSlice> {
        name::check_kind(unit, "slice")?;
        self.adopt(unit, deadline.into()).map(ActiveSlice)
    }

    fn adopt(&self, unit: &str, deadline: Deadline) -> Result<Active> {
        // All in one answer: two would speak of two runs, where one ends between them.
        let call = Call::GetAll { path: systemd1::unit_path(unit), interface: String::new() };
        let held = self.ask_unit(Operation::Adopt, unit, call, deadline, finish_properties)?;
        let text = |name: &str| held.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
        let invocation = held.get("InvocationID").and_then(InvocationId::from_value);
        let asked = Asked::new(Operation::Adopt, Some(unit));
        if matches!(text("ActiveState").as_str(), "inactive" | "failed" | "") {
            return Err(Error::NoSuchUnit { asked });
        }
        if invocation.is_none() {
            let reason = "systemd has given it no invocation ID, by which its run could be told from others";
            return Err(Error::Unsupported { asked, reason: reason.into() });
        }
        Ok(Active {
            manager: self.clone(),
            unit: unit.into(),
            control_group: text("ControlGroup"),
            outcome: Outcome::Adopted,
            job: None,
            invocation,
            gaps: Vec::new(),
            left_out: Vec::new(),
            times: StageTimes::default(),
            record: Arc::new(Record::new(Vec::new(), Vec::new(), None)),
            spread: None,
        })
    }
}
