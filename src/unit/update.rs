//! What is to be changed on a unit that is there.

use std::time::Duration;

use super::list;
use super::resource::{self, DevicePolicy, resource_setters};
use super::scope::{check_policy, check_size};
use super::{Property, Value};
#[allow(unused_imports, reason = "the documentation links to it")]
use crate::error::Error;
use crate::error::Result;

/// What is to be changed on a living unit: the properties it gets, and how long they are to last.
///
/// A plain value: nothing is checked or sent before it is set. Each value is what the unit is to have then, not a
/// step from what it has, so that to set it twice is to set it once. "No limit" is a value too: `u64::MAX`
/// ([`Value::INFINITY`]), for times `Duration::MAX`. Source of all properties: `systemd.resource-control(5)`.
///
/// ```
/// use unitwait::Update;
///
/// let squeeze = Update::new().memory_max(32 << 20).tasks_max(u64::MAX).require_limits(true);
/// squeeze.check()?;
/// # Ok::<(), unitwait::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub(crate) properties: Vec<Property>,
    pub(crate) persistent: bool,
    pub(crate) verify: bool,
    pub(crate) require_limits: bool,
}

impl Default for Update {
    fn default() -> Update {
        Update::new()
    }
}

impl Update {
    /// An update that changes nothing yet.
    ///
    /// ```
    /// assert!(unitwait::Update::new().check().is_ok());
    /// ```
    pub fn new() -> Update {
        Update { properties: Vec::new(), persistent: false, verify: true, require_limits: false }
    }

    resource_setters!("Update::new()");

    fn properties_mut(&mut self) -> &mut Vec<Property> {
        &mut self.properties
    }

    /// Takes everything out of a list of the unit's (`DeviceAllow`, `IOReadBandwidthMax`, …), before what this
    /// update puts into it, in one step: without it what is set of one device leaves the others as they are. A
    /// property that is no list is refused by [`check`](Update::check).
    ///
    /// ```
    /// let only_null = unitwait::Update::new().clear("DeviceAllow").device_allow("/dev/null", "rw");
    /// assert!(only_null.check().is_ok());
    /// assert!(unitwait::Update::new().clear("TasksMax").check().is_err());
    /// ```
    #[must_use]
    pub fn clear(mut self, list: &str) -> Update {
        let no_list =
            || Property::new(list, Value::from(false)).refused("it is no list that could be emptied");
        let empty = list::empty_list(list).unwrap_or_else(no_list);
        self.properties.retain(|set| set.name() != list || !set.value().items().is_empty());
        let first =
            self.properties.iter().position(|set| set.name() == list).unwrap_or(self.properties.len());
        self.properties.insert(first, empty);
        self
    }

    /// Whether the change outlives a reboot. Off where nothing is said. Either outlives a `daemon-reload`.
    ///
    /// It makes a difference for units with a file of their own and for slices that came up by themselves: the
    /// system manager keeps it for those in `/etc/systemd/system.control`, or else in
    /// `/run/systemd/system.control`. A transient unit, as all are that this crate creates, keeps its changes to
    /// itself and takes them with it when it ends, whatever is said here (seen on 252 and 257).
    ///
    /// ```
    /// let for_good = unitwait::Update::new().tasks_max(500).persistent(true);
    /// ```
    #[must_use]
    pub fn persistent(mut self, on: bool) -> Update {
        self.persistent = on;
        self
    }

    /// Whether, after systemd has accepted it, the kernel is asked for the limits. On where nothing is said.
    ///
    /// ```
    /// let unseen = unitwait::Update::new().tasks_max(500).verify(false);
    /// ```
    #[must_use]
    pub fn verify(mut self, on: bool) -> Update {
        self.verify = on;
        self
    }

    /// Whether a limit that the kernel does not hold is an error ([`Error::Limit`]; the change stands, and nothing
    /// is stopped) rather than told in the result. Off where nothing is said.
    ///
    /// ```
    /// let all_or_error = unitwait::Update::new().tasks_max(500).require_limits(true);
    /// ```
    #[must_use]
    pub fn require_limits(mut self, on: bool) -> Update {
        self.require_limits = on;
        self
    }

    /// Refuses what could never be set, with [`Error::InvalidInput`]: a property of a wrong type, a value out of its
    /// range, limits that are required and not verified. Does not block, sends nothing, and does not ask whether this
    /// systemd knows the properties. Every call that sets an update does this first.
    ///
    /// ```
    /// use std::time::Duration;
    /// use unitwait::Update;
    ///
    /// assert!(Update::new().cpu_weight(0).check().is_err());
    /// assert!(Update::new().verify(false).require_limits(true).check().is_err());
    /// assert!(Update::new().cpu_quota_period(Duration::from_secs(2)).check().is_err());
    /// ```
    pub fn check(&self) -> Result<()> {
        check_policy(self.verify, self.require_limits)?;
        check_size(&self.properties)?;
        self.properties.iter().try_for_each(Property::check)
    }
}
