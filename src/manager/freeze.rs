//! Freezing and thawing: through systemd, and done when the kernel says so.

use super::active::Active;
use super::request::finish_property;
use super::run::{Until, unreadable};
use super::ticket::Finish;
use super::{Manager, finish_nothing, finish_properties};
use crate::cgroup::{CgroupMode, Vigil};
use crate::deadline::Deadline;
use crate::driver::{Plan, Run, Single};
use crate::error::{Asked, Error, Operation, Result, Stage};
use crate::job::InvocationId;
use crate::systemd1::{self, Call};
use crate::unit::{Value, name};

impl Manager {
    /// Freezes the processes of a unit, by its name, as [`ActiveScope::freeze`](crate::ActiveScope::freeze) does those of
    /// a run. It is the run that has the name at the call that is frozen, and no later one. Blocks and fails as that;
    /// [`Error::NoSuchUnit`] where the unit is not active.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// unitwait::Manager::system()?.freeze_unit("job.scope", Duration::from_secs(5))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn freeze_unit(&self, unit: &str, deadline: impl Into<Deadline>) -> Result<()> {
        self.set_unit_frozen(unit, true, deadline.into())
    }

    /// Thaws the processes of a unit, by its name, as [`ActiveScope::thaw`](crate::ActiveScope::thaw) does those of a
    /// run. Blocks and fails as [`Manager::freeze_unit`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// unitwait::Manager::system()?.thaw_unit("job.scope", Duration::from_secs(5))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn thaw_unit(&self, unit: &str, deadline: impl Into<Deadline>) -> Result<()> {
        self.set_unit_frozen(unit, false, deadline.into())
    }

    fn set_unit_frozen(&self, unit: &str, freeze: bool, deadline: Deadline) -> Result<()> {
        name::check(unit)?;
        let until = Until::new(self, asked(freeze, unit), deadline)?;
        let get_all = Call::GetAll { path: systemd1::unit_path(unit), interface: String::new() };
        let plan = Box::new(Single { asked: until.asked.clone(), call: get_all });
        let held = self.ask(plan, Deadline::At(until.at), finish_properties(until.asked.clone()))?;
        let text = |name: &str| held.get(name).and_then(Value::as_str).unwrap_or_default();
        if matches!(text("ActiveState"), "inactive" | "failed") {
            return Err(Error::NoSuchUnit { asked: until.asked });
        }
        let invocation = held.get("InvocationID").and_then(InvocationId::from_value);
        let freezer = Freezer { manager: self, until, unit, invocation, freeze };
        let vigil = match text("ControlGroup") {
            "" => None,
            group => Vigil::open(&self.0.site.layout, group).map_err(unreadable)?,
        };
        freezer.carry_out(vigil)
    }
}

impl Active {
    pub(super) fn set_frozen(&self, freeze: bool, deadline: Deadline) -> Result<()> {
        let until = Until::new(&self.manager, asked(freeze, &self.unit), deadline)?;
        let Some(invocation) = self.invocation else { return Err(Error::NoSuchUnit { asked: until.asked }) };
        let (manager, unit) = (&self.manager, self.unit.as_str());
        let freezer = Freezer { manager, until, unit, invocation: Some(invocation), freeze };
        freezer.carry_out(self.open_group(Vigil::open)?)
    }
}

fn asked(freeze: bool, unit: &str) -> Asked {
    Asked::new(if freeze { Operation::Freeze } else { Operation::Thaw }, Some(unit))
}

/// One freezing or thawing of one run.
struct Freezer<'a> {
    manager: &'a Manager,
    until: Until,
    unit: &'a str,
    invocation: Option<InvocationId>,
    freeze: bool,
}

/// How often systemd is asked at the most: another caller may undo each time what it has done.
const MOST_TRIES: u32 = 5;

impl Freezer<'_> {
    /// The control group was opened before systemd is asked, and so is the run's.
    fn carry_out(&self, vigil: Option<Vigil>) -> Result<()> {
        self.ask_once()?;
        let Some(mut vigil) = vigil else { return Err(self.unsupported("it has no control group")) };
        for _ in 1..MOST_TRIES {
            if self.holds(&mut vigil)? {
                return Ok(());
            }
            self.ask_once().map_err(|error| self.until.after(error))?;
        }
        if self.holds(&mut vigil)? {
            return Ok(());
        }
        Err(self.unsupported(if self.freeze {
            "systemd says that it did, and the kernel has it running: another thaws it, or it is a slice, of which \
             systemd freezes none where one of its units cannot be frozen"
        } else {
            "systemd says that it did, and the kernel has it frozen: another freezes it, or a control group above it"
        }))
    }

    fn ask_once(&self) -> Result<()> {
        match self.ask(|path| Call::UnitFreezer { path, freeze: self.freeze }, finish_nothing) {
            Err(Error::Unsupported { reason, .. }) => Err(self.refused(reason)),
            // What the kernel has come to is seen next. systemd 257 takes the end of the thaw before for a thaw that
            // calls the freeze off.
            Err(Error::Dbus { name, .. }) if name == systemd1::FREEZE_CANCELLED => Ok(()),
            // Where the same is under way for another caller that has no name of its own: the state tells.
            Err(error @ Error::Dbus { .. }) if !self.is_under_way(&self.state()?) => Err(error),
            Ok(()) | Err(Error::Dbus { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits until the kernel says so; `false` where that is not to come, for systemd has undone it or never did it.
    fn holds(&self, vigil: &mut Vigil) -> Result<bool> {
        loop {
            vigil.look().map_err(unreadable)?;
            if vigil.is_frozen() == Some(self.freeze) {
                return Ok(true);
            }
            let state = self.state().map_err(|error| self.until.after(error))?;
            vigil.look().map_err(unreadable)?;
            match vigil.is_frozen() {
                Some(frozen) if frozen == self.freeze => return Ok(true),
                Some(_) if !self.is_under_way(&state) => return Ok(false),
                Some(_) => {}
                None => return Err(self.unsupported("the kernel does not say whether it is frozen")),
            }
            if self.until.is_over() {
                return Err(self.until.timeout(Stage::Verify));
            }
            vigil.wait(self.until.at, &[]).map_err(unreadable)?;
        }
    }

    /// Whether a state of the unit is, or leads to, the one that is asked for. A newer systemd knows more of them, such
    /// as `frozen-by-parent`.
    fn is_under_way(&self, state: &str) -> bool {
        if self.freeze { state.starts_with("fr") } else { state == "thawing" }
    }

    fn state(&self) -> Result<String> {
        let get = |path| Call::Get { path, interface: systemd1::UNIT.into(), name: "FreezerState".into() };
        let state: Value = self.ask(get, finish_property)?;
        Ok(state.as_str().unwrap_or_default().into())
    }

    fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(String) -> Call,
        finish: impl FnOnce(Asked) -> Finish<T>,
    ) -> Result<T> {
        let asked = self.until.asked.clone();
        let plan: Box<dyn Plan> = match self.invocation {
            Some(invocation) => {
                let call = call(invocation.object_path());
                Box::new(Run::new(asked.clone(), call, invocation))
            }
            None => Box::new(Single { asked: asked.clone(), call: call(systemd1::unit_path(self.unit)) }),
        };
        let answer = self.manager.ask(plan, Deadline::At(self.until.at), finish(asked));
        answer.map_err(|error| self.until.in_all(error))
    }

    fn refused(&self, reason: String) -> Error {
        match self.manager.layout().mode() {
            CgroupMode::Unified => self.unsupported(reason),
            mode => self.unsupported(format!(
                "systemd freezes by cgroup v2 alone, and the layout here is {mode}; it says: {reason}"
            )),
        }
    }

    fn unsupported(&self, reason: impl Into<String>) -> Error {
        Error::Unsupported { asked: self.until.asked.clone(), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_sixteen_bytes() {
        assert_eq!(InvocationId::from_value(&Value::bytes([7; 16])), Some(InvocationId::from_bytes([7; 16])));
        assert_eq!(InvocationId::from_value(&Value::bytes([])), None);
        assert_eq!(InvocationId::from_value(&Value::from("7777777777777777")), None);
    }
}
