//! A scope to create: systemd's unit for processes that somebody else started.

use std::time::Duration;

use super::{OnExists, Property, Value, name};
use crate::error::{Error, Result};

/// What a scope is to be: its name, its processes, and the properties it is given.
///
/// A plain value: nothing is checked or sent before a manager is asked for it. Source of all properties:
/// `org.freedesktop.systemd1(5)` and `systemd.resource-control(5)`.
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
    pub(crate) properties: Vec<Property>,
    pub(crate) on_exists: OnExists,
    pub(crate) verify: bool,
    pub(crate) require_limits: bool,
}

/// The setters that scopes and slices share.
macro_rules! common_setters {
    () => {
        /// What the unit is for, in words.
        #[must_use]
        pub fn description(self, text: impl Into<String>) -> Self {
            self.property(Property::new("Description", text.into()))
        }

        /// The most memory it may use, in bytes; beyond it processes are killed (`MemoryMax=`).
        #[must_use]
        pub fn memory_max(self, bytes: u64) -> Self {
            self.property(Property::new("MemoryMax", bytes))
        }

        /// Memory, in bytes, beyond which it is slowed and reclaimed from (`MemoryHigh=`; cgroup v2 only).
        #[must_use]
        pub fn memory_high(self, bytes: u64) -> Self {
            self.property(Property::new("MemoryHigh", bytes))
        }

        /// Memory, in bytes, that is not reclaimed while others have some to spare (`MemoryLow=`; cgroup v2
        /// only).
        #[must_use]
        pub fn memory_low(self, bytes: u64) -> Self {
            self.property(Property::new("MemoryLow", bytes))
        }

        /// The most swap it may use, in bytes (`MemorySwapMax=`; cgroup v2 only).
        #[must_use]
        pub fn memory_swap_max(self, bytes: u64) -> Self {
            self.property(Property::new("MemorySwapMax", bytes))
        }

        /// The most processes and threads it may have (`TasksMax=`).
        #[must_use]
        pub fn tasks_max(self, tasks: u64) -> Self {
            self.property(Property::new("TasksMax", tasks))
        }

        /// CPU time for each second of the clock: half a second is half of one CPU, two seconds are two CPUs
        /// (`CPUQuota=50%`, `CPUQuota=200%`). Microseconds on the wire.
        #[must_use]
        pub fn cpu_quota(self, per_second: Duration) -> Self {
            self.property(Property::new("CPUQuotaPerSecUSec", micros(per_second)))
        }

        /// Its share of the CPU against its siblings', 1 to 10,000, 100 where nothing is said (`CPUWeight=`).
        #[must_use]
        pub fn cpu_weight(self, weight: u64) -> Self {
            self.property(Property::new("CPUWeight", weight))
        }

        /// Its share of I/O against its siblings', 1 to 10,000, 100 where nothing is said (`IOWeight=`).
        #[must_use]
        pub fn io_weight(self, weight: u64) -> Self {
            self.property(Property::new("IOWeight", weight))
        }

        /// The CPUs it may run on, by number (`AllowedCPUs=`; cgroup v2 only).
        #[must_use]
        pub fn allowed_cpus(self, cpus: impl IntoIterator<Item = u16>) -> Self {
            self.property(Property::new("AllowedCPUs", mask(cpus)))
        }

        /// The memory nodes it may use, by number (`AllowedMemoryNodes=`; cgroup v2 only).
        #[must_use]
        pub fn allowed_memory_nodes(self, nodes: impl IntoIterator<Item = u16>) -> Self {
            self.property(Property::new("AllowedMemoryNodes", mask(nodes)))
        }

        /// Whether it gets the dependencies that every unit of its kind has (`DefaultDependencies=`).
        #[must_use]
        pub fn default_dependencies(self, on: bool) -> Self {
            self.property(Property::new("DefaultDependencies", on))
        }

        /// Units that must be up before it, or down after it (`After=`).
        #[must_use]
        pub fn after<S: Into<String>>(self, units: impl IntoIterator<Item = S>) -> Self {
            self.property(Property::new("After", Value::strings(units)))
        }

        /// Units that must be up after it, or down before it (`Before=`).
        #[must_use]
        pub fn before<S: Into<String>>(self, units: impl IntoIterator<Item = S>) -> Self {
            self.property(Property::new("Before", Value::strings(units)))
        }

        /// Units that must be started with it (`Requires=`).
        #[must_use]
        pub fn requires<S: Into<String>>(self, units: impl IntoIterator<Item = S>) -> Self {
            self.property(Property::new("Requires", Value::strings(units)))
        }

        /// Units that are started with it if they can be (`Wants=`).
        #[must_use]
        pub fn wants<S: Into<String>>(self, units: impl IntoIterator<Item = S>) -> Self {
            self.property(Property::new("Wants", Value::strings(units)))
        }

        /// Units that it must not outlive (`BindsTo=`).
        #[must_use]
        pub fn binds_to<S: Into<String>>(self, units: impl IntoIterator<Item = S>) -> Self {
            self.property(Property::new("BindsTo", Value::strings(units)))
        }

        /// Units that it is stopped and restarted with (`PartOf=`).
        #[must_use]
        pub fn part_of<S: Into<String>>(self, units: impl IntoIterator<Item = S>) -> Self {
            self.property(Property::new("PartOf", Value::strings(units)))
        }

        /// Any other property, by its name on D-Bus and its typed value. One that was set before is replaced.
        #[must_use]
        pub fn property(mut self, property: Property) -> Self {
            self.properties.retain(|set| set.name() != property.name());
            self.properties.push(property);
            self
        }

        /// What to do where a unit of that name exists; [`OnExists::Fail`] where nothing is said.
        #[must_use]
        pub fn on_exists(mut self, policy: OnExists) -> Self {
            self.on_exists = policy;
            self
        }

        /// Whether, after the job is done, the kernel is asked for the processes' groups and the limits. On
        /// where nothing is said.
        #[must_use]
        pub fn verify(mut self, on: bool) -> Self {
            self.verify = on;
            self
        }

        /// Whether a limit that the kernel does not hold is an error ([`Error::Limit`], the unit being stopped
        /// again) rather than told in the result. Off where nothing is said; refused together with `verify(false)`.
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
            properties: Vec::new(),
            on_exists: OnExists::Fail,
            verify: true,
            require_limits: false,
        }
    }

    /// One more process to place in it.
    #[must_use]
    pub fn pid(mut self, pid: impl Into<i64>) -> Scope {
        self.pids.push(pid.into());
        self
    }

    /// More processes to place in it.
    #[must_use]
    pub fn pids<P: Into<i64>>(mut self, pids: impl IntoIterator<Item = P>) -> Scope {
        self.pids.extend(pids.into_iter().map(Into::into));
        self
    }

    /// The calling process is to be placed in it.
    #[must_use]
    pub fn own_process(self) -> Scope {
        self.pid(std::process::id())
    }

    /// The slice it is to be in; systemd's own default where nothing is said.
    #[must_use]
    pub fn slice(mut self, slice: impl Into<String>) -> Scope {
        self.slice = Some(slice.into());
        self
    }

    /// Whether its control group is left to its processes to divide, with every controller (`Delegate=`).
    #[must_use]
    pub fn delegate(self, on: bool) -> Scope {
        self.property(Property::new("Delegate", on))
    }

    /// Leaves its control group to its processes to divide, with these controllers (`Delegate=cpu memory`).
    #[must_use]
    pub fn delegate_controllers<S: Into<String>>(self, controllers: impl IntoIterator<Item = S>) -> Scope {
        self.property(Property::new("DelegateControllers", Value::strings(controllers)))
    }

    /// When systemd forgets it: `inactive` (keeps a failed one) or `inactive-or-failed` (`CollectMode=`).
    #[must_use]
    pub fn collect_mode(self, mode: impl Into<String>) -> Scope {
        self.property(Property::new("CollectMode", mode.into()))
    }

    /// How long its processes have to end after SIGTERM, before SIGKILL (`TimeoutStopSec=`). Microseconds on
    /// the wire.
    #[must_use]
    pub fn timeout_stop(self, wait: Duration) -> Scope {
        self.property(Property::new("TimeoutStopUSec", micros(wait)))
    }

    /// How its processes are ended: `control-group`, `mixed`, `process` or `none` (`KillMode=`).
    #[must_use]
    pub fn kill_mode(self, mode: impl Into<String>) -> Scope {
        self.property(Property::new("KillMode", mode.into()))
    }

    common_setters!();

    /// Refuses what could never be created, with [`Error::InvalidInput`]: a bad name, no process, an impossible
    /// PID, a property of a wrong type. Does not block, sends nothing, and does not look whether the processes
    /// live. Every call that creates a scope does this first.
    ///
    /// ```
    /// assert!(unitwait::Scope::new("a/b.scope").pid(1).check().is_err());
    /// ```
    pub fn check(&self) -> Result<()> {
        name::check_kind(&self.name, "scope")?;
        if let Some(slice) = &self.slice {
            name::check_kind(slice, "slice")?;
        }
        if self.pids.is_empty() {
            return Err(Error::invalid("scope", &self.name, "a scope needs at least one process"));
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
        check_properties(&self.properties)
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

fn check_pid(pid: i64) -> Result<()> {
    let reason = match pid {
        1.. if i32::try_from(pid).is_ok() => return Ok(()),
        1.. => "no process has a number that large",
        0 => "0 does not name a process; give a process's own number",
        _ => "a negative number names a process group, not a process",
    };
    Err(Error::invalid("PID", pid.to_string(), reason))
}

/// Far more than any unit needs, and far less than a bus takes for a reason to end the connection.
const MOST_BYTES: usize = 1 << 20;

pub(super) fn check_properties(properties: &[Property]) -> Result<()> {
    let bytes: usize = properties.iter().map(|property| property.value().size()).sum();
    if bytes > MOST_BYTES {
        let reason = format!("together they have {bytes} bytes, and {MOST_BYTES} is the most");
        return Err(Error::invalid("properties", format!("{} of them", properties.len()), reason));
    }
    for property in properties {
        property.check()?;
        if matches!(property.name(), "PIDs" | "Slice") {
            let reason = "it is set by the request itself: use `pid` and `slice`";
            return Err(Error::invalid("property", property.name(), reason));
        }
    }
    Ok(())
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A set of small numbers as systemd takes it: bit n of the bytes, lowest byte first.
pub(super) fn mask(numbers: impl IntoIterator<Item = u16>) -> Value {
    let mut bytes = Vec::new();
    for number in numbers {
        let at = usize::from(number / 8);
        if bytes.len() <= at {
            bytes.resize(at + 1, 0u8);
        }
        bytes[at] |= 1 << (number % 8);
    }
    Value::bytes(bytes)
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
        assert_eq!(good().memory_max(1).memory_max(2).properties, [Property::new("MemoryMax", 2u64)]);
    }

    #[test]
    fn a_mask_has_bit_n_for_number_n() {
        assert_eq!(mask([0, 9]), Value::bytes([1, 2]));
    }
}
