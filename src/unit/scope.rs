//! A scope to create: systemd's unit for processes that somebody else started.

use std::sync::Arc;
use std::time::Duration;

use super::list;
use super::resource::{self, DevicePolicy, resource_setters};
use super::{OnExists, Properties, Property, Spread, Value, name};
use crate::error::{Error, Result};

/// What a scope is to be: its name, its processes, and the properties it is given.
///
/// A plain value: nothing is checked or sent before a manager is asked for it. Source of all properties:
/// `org.freedesktop.systemd1(5)`, and the man page that each setter names; the limits' is
/// `systemd.resource-control(5)`.
///
/// ```
/// use unitwait::Scope;
///
/// let scope = Scope::new("job-1.scope").own_process().slice("jobs.slice").memory_max(64 << 20).tasks_max(20);
/// scope.check()?;
/// # Ok::<(), unitwait::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    pub(crate) name: String,
    pub(crate) pids: Vec<i64>,
    pub(crate) slice: Option<String>,
    pub(crate) spread: Option<Spread>,
    pub(crate) properties: Arc<Properties>,
    pub(crate) on_exists: OnExists,
    pub(crate) verify: bool,
    pub(crate) require_limits: bool,
}

/// The setters that scopes and slices share, and living units have no use for. `$builder` makes one of the type in
/// an example.
macro_rules! common_setters {
    ($builder:literal) => {
        /// What the unit is for, in words, as `systemctl status` shows it (`Description=`, `systemd.unit(5)`).
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".description(\"nightly build\");")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn description(self, text: impl Into<String>) -> Self {
            self.property(Property::known("Description", text.into()))
        }

        /// Whether it gets the dependencies that every unit of its kind has: to be stopped before shutdown, above all
        /// (`DefaultDependencies=`, `systemd.unit(5)`). On where nothing is said.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".default_dependencies(false);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn default_dependencies(self, on: bool) -> Self {
            self.property(Property::known("DefaultDependencies", on))
        }

        /// Units that must be up before it, or down after it, where both are asked for; none of them is started for it
        /// (`After=`, `systemd.unit(5)`). This and the setters of other units below take whole lists: what was set
        /// before is replaced.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".after([\"network.target\"]);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn after<S: Into<String>>(self, units: impl IntoIterator<Item = S>) -> Self {
            self.property(Property::known("After", Value::strings(units)))
        }

        /// Units that must be up after it, or down before it, where both are asked for (`Before=`, `systemd.unit(5)`).
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".before([\"report.service\"]);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn before<S: Into<String>>(self, units: impl IntoIterator<Item = S>) -> Self {
            self.property(Property::known("Before", Value::strings(units)))
        }

        /// Units that must be started with it, and that it is stopped with; which is first, only [`after`](Self::after)
        /// and [`before`](Self::before) say (`Requires=`, `systemd.unit(5)`).
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".requires([\"data.mount\"]);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn requires<S: Into<String>>(self, units: impl IntoIterator<Item = S>) -> Self {
            self.property(Property::known("Requires", Value::strings(units)))
        }

        /// Units that are started with it if they can be (`Wants=`, `systemd.unit(5)`).
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".wants([\"metrics.service\"]);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn wants<S: Into<String>>(self, units: impl IntoIterator<Item = S>) -> Self {
            self.property(Property::known("Wants", Value::strings(units)))
        }

        /// Units that must be up for it, and that it does not outlive (`BindsTo=`, `systemd.unit(5)`).
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".binds_to([\"vpn.service\"]);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn binds_to<S: Into<String>>(self, units: impl IntoIterator<Item = S>) -> Self {
            self.property(Property::known("BindsTo", Value::strings(units)))
        }

        /// Units that it is stopped and restarted with (`PartOf=`, `systemd.unit(5)`).
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".part_of([\"shop.target\"]);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn part_of<S: Into<String>>(self, units: impl IntoIterator<Item = S>) -> Self {
            self.property(Property::known("PartOf", Value::strings(units)))
        }

        /// What to do where a unit of that name exists; [`OnExists::Fail`] where nothing is said. So it also
        /// says what a retry does where the first try came through: fail, leave all as it is (`Join`, `Accept`), or
        /// stop the unit and create it once more (`Replace`).
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".on_exists(unitwait::OnExists::Replace);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn on_exists(mut self, policy: OnExists) -> Self {
            self.on_exists = policy;
            self
        }

        /// Whether, after the job is done, the kernel is asked for the processes' groups and the limits
        /// (`cgroups(7)`). On where nothing is said.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".verify(false);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn verify(mut self, on: bool) -> Self {
            self.verify = on;
            self
        }

        /// Whether a limit that the kernel does not hold is an error ([`Error::Limit`], the unit being stopped
        /// again) rather than told in the result. Off where nothing is said; refused together with `verify(false)`.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".tasks_max(20).require_limits(true);")]
        /// assert!(unit.check().is_ok());
        /// assert!(unit.verify(false).check().is_err());
        /// ```
        #[must_use]
        pub fn require_limits(mut self, on: bool) -> Self {
            self.require_limits = on;
            self
        }
    };
}
pub(super) use common_setters;

impl Scope {
    /// A scope of this name, which ends in `.scope`, with no process yet.
    ///
    /// ```
    /// let scope = unitwait::Scope::new("job-1.scope").pid(std::process::id());
    /// assert!(scope.check().is_ok());
    /// ```
    pub fn new(name: impl Into<String>) -> Scope {
        Scope {
            name: name.into(),
            pids: Vec::new(),
            slice: None,
            spread: None,
            properties: Arc::default(),
            on_exists: OnExists::Fail,
            verify: true,
            require_limits: false,
        }
    }

    /// One more process to place in it, by its PID (`PIDs`, `StartTransientUnit()` in `org.freedesktop.systemd1(5)`).
    /// The same one twice counts once.
    ///
    /// ```
    /// let scope = unitwait::Scope::new("job.scope").pid(std::process::id());
    /// assert!(scope.check().is_ok());
    /// ```
    #[must_use]
    pub fn pid(mut self, pid: impl Into<i64>) -> Scope {
        self.pids.push(pid.into());
        self
    }

    /// More processes to place in it. Otherwise as [`Scope::pid`].
    ///
    /// ```
    /// let scope = unitwait::Scope::new("job.scope").pids([4711, 4712]);
    /// assert!(scope.check().is_ok());
    /// assert!(scope.pids([-1]).check().is_err());
    /// ```
    #[must_use]
    pub fn pids<P: Into<i64>>(mut self, pids: impl IntoIterator<Item = P>) -> Scope {
        self.pids.extend(pids.into_iter().map(Into::into));
        self
    }

    /// The calling process is to be placed in it, with all its threads. Its number is read now, and not after a
    /// `fork`.
    ///
    /// ```
    /// let scope = unitwait::Scope::new("job.scope").own_process();
    /// assert_eq!(scope, unitwait::Scope::new("job.scope").pid(std::process::id()));
    /// ```
    #[must_use]
    pub fn own_process(self) -> Scope {
        self.pid(std::process::id())
    }

    /// The slice it is to be in, made where it is not there (`Slice=`, `systemd.resource-control(5)`); systemd's own
    /// default where nothing is said.
    ///
    /// ```
    /// let scope = unitwait::Scope::new("job.scope").pid(1).slice("jobs.slice");
    /// assert!(scope.check().is_ok());
    /// assert!(scope.slice("jobs").check().is_err());
    /// ```
    #[must_use]
    pub fn slice(mut self, slice: impl Into<String>) -> Scope {
        self.slice = Some(slice.into());
        self
    }

    /// Spreads the scopes of the slice over child slices of it, this one to the child that its name says. PID 1's work at
    /// each create grows with the siblings of what is created; spread, it does not. Off where nothing is said.
    ///
    /// ```
    /// use unitwait::{Scope, Spread};
    ///
    /// let scope = Scope::new("job.scope").pid(1).slice("jobs.slice");
    /// assert!(scope.clone().spread(50).check().is_ok());
    /// assert!(scope.spread(Spread::Auto).check().is_ok());
    /// assert!(Scope::new("job.scope").pid(1).spread(50).check().is_err());
    /// ```
    #[must_use]
    pub fn spread(mut self, over: impl Into<Spread>) -> Scope {
        self.spread = Some(over.into());
        self
    }

    /// Whether its control group is left to its processes to divide, with every controller (`Delegate=`,
    /// `systemd.resource-control(5)`). Off where nothing is said.
    ///
    /// ```
    /// let scope = unitwait::Scope::new("job.scope").pid(1).delegate(true);
    /// assert!(scope.check().is_ok());
    /// ```
    #[must_use]
    pub fn delegate(self, on: bool) -> Scope {
        self.property(Property::known("Delegate", on))
    }

    /// Leaves its control group to its processes to divide, with these controllers (`Delegate=cpu memory`,
    /// `systemd.resource-control(5)`).
    ///
    /// ```
    /// let scope = unitwait::Scope::new("job.scope").pid(1).delegate_controllers(["cpu", "memory"]);
    /// assert!(scope.check().is_ok());
    /// ```
    #[must_use]
    pub fn delegate_controllers<S: Into<String>>(self, controllers: impl IntoIterator<Item = S>) -> Scope {
        self.property(Property::known("DelegateControllers", Value::strings(controllers)))
    }

    /// When systemd forgets it: `inactive` (keeps a failed one) or `inactive-or-failed` (`CollectMode=`,
    /// `systemd.unit(5)`). `inactive` where nothing is said.
    ///
    /// ```
    /// let scope = unitwait::Scope::new("job.scope").pid(1).collect_mode("inactive-or-failed");
    /// assert!(scope.check().is_ok());
    /// ```
    #[must_use]
    pub fn collect_mode(self, mode: impl Into<String>) -> Scope {
        self.property(Property::known("CollectMode", mode.into()))
    }

    /// How long its processes have to end after SIGTERM, before SIGKILL (`TimeoutStopSec=`, which
    /// `systemd.service(5)` describes and scopes have too). Microseconds on the wire; `Duration::MAX` is no end.
    /// systemd's own default where nothing is said (`DefaultTimeoutStopSec=`, `systemd-system.conf(5)`).
    ///
    /// ```
    /// let scope = unitwait::Scope::new("job.scope").pid(1).timeout_stop(std::time::Duration::from_secs(5));
    /// assert!(scope.check().is_ok());
    /// ```
    #[must_use]
    pub fn timeout_stop(self, wait: Duration) -> Scope {
        self.property(Property::known("TimeoutStopUSec", resource::micros(wait)))
    }

    /// How its processes are ended: `control-group`, `mixed`, `process` or `none` (`KillMode=`, `systemd.kill(5)`).
    /// `control-group` where nothing is said.
    ///
    /// ```
    /// let scope = unitwait::Scope::new("job.scope").pid(1).kill_mode("mixed");
    /// assert!(scope.check().is_ok());
    /// ```
    #[must_use]
    pub fn kill_mode(self, mode: impl Into<String>) -> Scope {
        self.property(Property::known("KillMode", mode.into()))
    }

    common_setters!(r#"Scope::new("job.scope").pid(1)"#);
    resource_setters!(r#"Scope::new("job.scope").pid(1)"#);

    /// Requests that were made of it share its properties.
    fn properties_mut(&mut self) -> &mut Vec<Property> {
        Arc::make_mut(&mut self.properties).list_mut()
    }

    /// Refuses what could never be created, with [`Error::InvalidInput`]: a bad name, no process, an impossible
    /// PID, a property of a wrong type or with a value out of its range. Does not block, sends nothing, and does not look whether the processes
    /// live. Every call that creates a scope does this first.
    ///
    /// ```
    /// assert!(unitwait::Scope::new("a/b.scope").pid(1).check().is_err());
    /// ```
    pub fn check(&self) -> Result<()> {
        self.check_all_but_presence()?;
        if self.pids.is_empty() {
            return Err(Error::invalid("scope", &self.name, "a scope needs at least one process"));
        }
        Ok(())
    }

    /// The same for a scope whose process is yet to be made.
    pub(crate) fn check_all_but_presence(&self) -> Result<()> {
        name::check_kind(&self.name, "scope")?;
        if let Some(slice) = &self.slice {
            name::check_kind(slice, "slice")?;
        }
        if let Some(spread) = self.spread {
            spread.check(self.slice.as_deref())?;
        }
        for &pid in &self.pids {
            check_pid(pid)?;
        }
        if self.on_exists == OnExists::Accept {
            return Err(Error::invalid(
                "policy",
                "accept",
                "only a slice can be taken as it is; join the scope",
            ));
        }
        check_policy(self.verify, self.require_limits)?;
        self.properties.check()
    }
}

/// What is required must be looked at.
pub(super) fn check_policy(verify: bool, require_limits: bool) -> Result<()> {
    if require_limits && !verify {
        let reason = "limits can be required only where they are verified";
        return Err(Error::invalid("policy", "require_limits without verify", reason));
    }
    Ok(())
}

pub(crate) fn check_pid(pid: i64) -> Result<()> {
    let reason = match pid {
        1.. if i32::try_from(pid).is_ok() => return Ok(()),
        1.. => "no process has a number that large",
        0 => "0 does not name a process; give a process's own number",
        _ => "a negative number names a process group, not a process",
    };
    Err(Error::invalid("PID", pid.to_string(), reason))
}

/// Far more than any unit needs, and far less than a bus takes for a reason to end the connection.
pub(super) const MOST_BYTES: usize = 1 << 20;

pub(super) fn check_size(properties: &[Property]) -> Result<()> {
    let bytes: usize = properties.iter().map(|property| property.value().size()).sum();
    if bytes > MOST_BYTES {
        let reason = format!("together they have {bytes} bytes, and {MOST_BYTES} is the most");
        return Err(Error::invalid("properties", format!("{} of them", properties.len()), reason));
    }
    Ok(())
}

pub(super) fn check_properties(properties: &[Property]) -> Result<()> {
    check_size(properties)?;
    for property in properties {
        property.check()?;
        if matches!(property.name(), "PIDs" | "PIDFDs" | "Slice") {
            let reason = "it is set by the request itself: use `pid` and `slice`";
            return Err(Error::invalid("property", property.name(), reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_be_is_refused_before_anything_is_sent() {
        let good = || Scope::new("a.scope").pid(1);
        let bad = [
            Scope::new("a.scope"),
            Scope::new("a.slice").pid(1),
            good().pid(0),
            good().pid(-5),
            good().pid(i64::from(u32::MAX)),
            good().slice("a.scope"),
            good().on_exists(OnExists::Accept),
            good().property(Property::new("MemoryMax", "lots")),
            good().description("x".repeat(2 << 20)),
            good().require_limits(true).verify(false),
            good().property(Property::new("PIDs", Value::Array("u".into(), vec![]))),
        ];
        for scope in bad {
            assert!(scope.check().unwrap_err().is_invalid_input(), "{scope:?}");
        }
        good().memory_max(1).memory_max(2).check().unwrap();
        assert_eq!(good().memory_max(1).memory_max(2).properties[..], [Property::new("MemoryMax", 2u64)]);
    }
}
