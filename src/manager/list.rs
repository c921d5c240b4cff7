//! Looks for units: by pattern and state, and by a process that is in one.

use std::collections::HashSet;
use std::time::Instant;

use super::Manager;
use super::request::unexpected;
use super::ticket::Finish;
use crate::cgroup::{siblings, unit_path};
use crate::deadline::Deadline;
use crate::driver::{Single, Success};
use crate::error::{Asked, Error, Operation, Result};
use crate::systemd1::{self, Call};
use crate::unit::{Value, name};

/// One line of [`Manager::list_units`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnitStatus {
    /// The unit's name.
    pub name: String,
    /// What it is for, in words.
    pub description: String,
    /// `loaded`, `not-found`, …
    pub load_state: String,
    /// `active`, `inactive`, `failed`, …
    pub active_state: String,
    /// The state in the words of the unit's type: `running`, `abandoned`, …
    pub sub_state: String,
    /// Its object on D-Bus.
    pub object_path: String,
}

impl Manager {
    /// Lists the loaded units whose names match one of the glob patterns; all where there are none. Blocks until
    /// the answer or until the deadline. Errors as [`Manager::property`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// for unit in unitwait::Manager::system()?.list_units(&["*.scope"], Duration::from_secs(1))? {
    ///     println!("{} {}", unit.name, unit.active_state);
    /// }
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn list_units(&self, patterns: &[&str], deadline: impl Into<Deadline>) -> Result<Vec<UnitStatus>> {
        self.list_units_in(&[], patterns, deadline)
    }

    /// As [`Manager::list_units`], only those in one of the states, by any of systemd's words for one: that of loading
    /// (`loaded`), of activity (`failed`), or of the unit's type (`abandoned`). In any where there are none.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// let failed = unitwait::Manager::system()?.list_units_in(&["failed"], &["*.scope"], Duration::from_secs(1))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn list_units_in(
        &self,
        states: &[&str],
        patterns: &[&str],
        deadline: impl Into<Deadline>,
    ) -> Result<Vec<UnitStatus>> {
        let is_word = |state: &&&str| {
            !state.is_empty() && state.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if let Some(bad) = states.iter().find(|state| !is_word(state)) {
            return Err(Error::invalid(
                "state",
                *bad,
                "a state is a word such as `active` or `stop-sigterm`",
            ));
        }
        // Twice the longest name would match nothing that the longest does not.
        let most = 2 * name::LONGEST;
        if let Some(bad) = patterns.iter().find(|pattern| pattern.contains('\0') || pattern.len() > most) {
            return Err(Error::invalid("pattern", *bad, format!("it has a NUL byte, or over {most} bytes")));
        }
        let asked = Asked::new(Operation::List, None);
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let call = Call::ListUnits { states: texts(states), patterns: texts(patterns) };
        let plan = Box::new(Single { asked: asked.clone(), call });
        self.ask(plan, deadline.into(), finish_list(asked))
    }

    /// The loaded units in a slice and in the slices below it, those that it was spread over among them, and those slices.
    ///
    /// Only what has a control group is in a slice: what is active. A slice that is not there holds nothing. Blocks and
    /// fails as [`Manager::list_units`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// for unit in unitwait::Manager::system()?.units_in_slice("jobs.slice", Duration::from_secs(5))? {
    ///     println!("{}", unit.name);
    /// }
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn units_in_slice(&self, slice: &str, deadline: impl Into<Deadline>) -> Result<Vec<UnitStatus>> {
        name::check_kind(slice, "slice")?;
        let deadline = deadline.into().instant(Instant::now(), self.0.default_timeout);
        let group = unit_path(self.0.root(&Asked::new(Operation::List, None), deadline)?, None, slice);
        let below: HashSet<String> = siblings::units_below(&self.0.site.layout, &group).into_iter().collect();
        let mut units = self.list_units(&[], deadline)?;
        units.retain(|unit| below.contains(&unit.name));
        Ok(units)
    }

    /// The name of the unit that a process is in, as systemd knows it. Blocks until the answer or until the deadline.
    /// Errors: [`Error::NoSuchUnit`] where it is in none, [`Error::NoSuchProcess`], otherwise as
    /// [`Manager::kill_unit`]. Source: `org.freedesktop.systemd1(5)`, `GetUnitByPID()`.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// let own = unitwait::Manager::system()?.unit_of_process(std::process::id(), Duration::from_secs(1))?;
    /// println!("this process is in {own}");
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn unit_of_process(&self, pid: u32, deadline: impl Into<Deadline>) -> Result<String> {
        crate::unit::check_pid(pid.into())?;
        let asked = Asked::new(Operation::FindUnit, Some(&pid.to_string()));
        let plan = Box::new(Single { asked: asked.clone(), call: Call::UnitByPid(pid) });
        self.ask(plan, deadline.into(), finish_unit_name(asked))
    }
}

fn finish_unit_name(asked: Asked) -> Finish<String> {
    Box::new(move |success, _| match success {
        Success::Answer(values) => {
            let unit = values.first().and_then(|path| systemd1::unit_at(path.as_str()?));
            unit.ok_or_else(|| unexpected(asked))
        }
        _ => Err(unexpected(asked)),
    })
}

fn finish_list(asked: Asked) -> Finish<Vec<UnitStatus>> {
    Box::new(move |success, _| match success {
        Success::Answer(values) => match values.first() {
            Some(Value::Array(_, units)) => {
                units.iter().map(unit_status).collect::<Option<_>>().ok_or_else(|| unexpected(asked))
            }
            _ => Err(unexpected(asked)),
        },
        _ => Err(unexpected(asked)),
    })
}

/// Source: `org.freedesktop.systemd1(5)`, `ListUnits()`: name, description, load state, active state, sub state,
/// followed unit, object path, and the job.
fn unit_status(line: &Value) -> Option<UnitStatus> {
    let text = |at: usize| line.items().get(at)?.as_str().map(String::from);
    Some(UnitStatus {
        name: text(0)?,
        description: text(1)?,
        load_state: text(2)?,
        active_state: text(3)?,
        sub_state: text(4)?,
        object_path: text(6)?,
    })
}
