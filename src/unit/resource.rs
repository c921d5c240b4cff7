//! The properties of `systemd.resource-control(5)`: their setters, which scopes, slices and updates share, and
//! the enumerations that they take.

use std::time::Duration;

use super::Value;

/// Which devices a unit's processes may use, before its list of allowed ones is looked at.
///
/// Source: `systemd.resource-control(5)`, `DevicePolicy=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DevicePolicy {
    /// All of them; where some are allowed by name, those and the pseudo devices.
    #[default]
    Auto,
    /// The pseudo devices (`/dev/null`, `/dev/zero`, `/dev/full`, `/dev/random`, `/dev/urandom`), and those
    /// allowed.
    Closed,
    /// Those allowed, and no other.
    Strict,
}

impl DevicePolicy {
    /// systemd's own word for it.
    ///
    /// ```
    /// assert_eq!(unitwait::DevicePolicy::Strict.as_str(), "strict");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            DevicePolicy::Auto => "auto",
            DevicePolicy::Closed => "closed",
            DevicePolicy::Strict => "strict",
        }
    }
}

/// The setters of resource-control properties, for a type with a list of properties. `$builder` makes one of the
/// type in an example.
macro_rules! resource_setters {
    ($builder:literal) => {
        /// The most memory it may use, in bytes, from 1; beyond it processes are killed (`MemoryMax=`). `u64::MAX`
        /// is no limit.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".memory_max(64 << 20);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn memory_max(self, bytes: u64) -> Self {
            self.property(Property::known("MemoryMax", bytes))
        }

        /// Memory, in bytes, from 1, beyond which it is slowed and reclaimed from (`MemoryHigh=`; cgroup v2 only).
        /// `u64::MAX` is no limit.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".memory_high(48 << 20);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn memory_high(self, bytes: u64) -> Self {
            self.property(Property::known("MemoryHigh", bytes))
        }

        /// Memory, in bytes, that is not reclaimed while others have some to spare (`MemoryLow=`; cgroup v2 only).
        /// 0 is none of it, `u64::MAX` all.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".memory_low(16 << 20);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn memory_low(self, bytes: u64) -> Self {
            self.property(Property::known("MemoryLow", bytes))
        }

        /// Memory, in bytes, that is never reclaimed (`MemoryMin=`; cgroup v2 only). 0 is none of it, `u64::MAX`
        /// all.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".memory_min(8 << 20);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn memory_min(self, bytes: u64) -> Self {
            self.property(Property::known("MemoryMin", bytes))
        }

        /// The most swap it may use, in bytes; 0 is none (`MemorySwapMax=`; cgroup v2 only). `u64::MAX` is no
        /// limit.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".memory_swap_max(0);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn memory_swap_max(self, bytes: u64) -> Self {
            self.property(Property::known("MemorySwapMax", bytes))
        }

        /// The most compressed swap it may use, in bytes; 0 is none (`MemoryZSwapMax=`; systemd 253, cgroup v2
        /// only). `u64::MAX` is no limit.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".memory_zswap_max(8 << 20);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn memory_zswap_max(self, bytes: u64) -> Self {
            self.property(Property::known("MemoryZSwapMax", bytes))
        }

        /// The most processes and threads it may have, from 1 (`TasksMax=`). `u64::MAX` is no limit.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".tasks_max(20);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn tasks_max(self, tasks: u64) -> Self {
            self.property(Property::known("TasksMax", tasks))
        }

        /// Its share of the CPU against its siblings', 1 to 10,000 (`CPUWeight=`). `u64::MAX` is none of its own,
        /// which counts as 100.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".cpu_weight(200);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn cpu_weight(self, weight: u64) -> Self {
            // What D-Bus calls 0 is the idle policy, and a weight that came out as nothing is not meant to be that.
            let property = Property::known("CPUWeight", weight);
            self.property(match weight {
                0 => property.refused("a weight is 1 to 10000; for idle, `cpu_idle`"),
                _ => property,
            })
        }

        /// It runs only while nobody else wants the CPU (`CPUWeight=idle`; systemd 252), and on cgroup v1
        /// has the least share. In place of a weight.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".cpu_idle();")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn cpu_idle(self) -> Self {
            self.property(Property::known("CPUWeight", 0u64))
        }

        /// CPU time for each second of the clock, from a microsecond: half a second is half of one CPU, two seconds
        /// are two CPUs (`CPUQuota=50%`, `CPUQuota=200%`). Microseconds on the wire. `Duration::MAX` is no limit.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".cpu_quota(std::time::Duration::from_millis(500));")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn cpu_quota(self, per_second: Duration) -> Self {
            self.property(Property::known("CPUQuotaPerSecUSec", resource::micros(per_second)))
        }

        /// The time over which the CPU quota is counted, 1 ms to 1 s (`CPUQuotaPeriodSec=`): a short one stops and
        /// starts it often, a long one for long. Microseconds on the wire. `Duration::MAX` is systemd's own, 100
        /// ms.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".cpu_quota_period(std::time::Duration::from_millis(10));")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn cpu_quota_period(self, period: Duration) -> Self {
            self.property(Property::known("CPUQuotaPeriodUSec", resource::micros(period)))
        }

        /// The CPUs it may run on, by number, 0 to 8191 (`AllowedCPUs=`; cgroup v2 only). None of them is no limit.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".allowed_cpus(0..2);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn allowed_cpus(self, cpus: impl IntoIterator<Item = u16>) -> Self {
            self.property(Property::known("AllowedCPUs", resource::mask(cpus)))
        }

        /// The memory nodes it may use, by number, 0 to 8191 (`AllowedMemoryNodes=`; cgroup v2 only). None of them
        /// is no limit.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".allowed_memory_nodes([0]);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn allowed_memory_nodes(self, nodes: impl IntoIterator<Item = u16>) -> Self {
            self.property(Property::known("AllowedMemoryNodes", resource::mask(nodes)))
        }

        /// Its share of I/O against its siblings', 1 to 10,000 (`IOWeight=`). `u64::MAX` is none of its own, which
        /// counts as 100.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".io_weight(50);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn io_weight(self, weight: u64) -> Self {
            self.property(Property::known("IOWeight", weight))
        }

        /// Its share of one device's I/O, 1 to 10,000 (`IODeviceWeight=`). This and the setters of single devices
        /// below take the path of a device, or of any file on it, and add to what was said of other devices.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".io_device_weight(\"/dev/sda\", 500);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn io_device_weight(self, device: impl Into<String>, weight: u64) -> Self {
            self.device("IODeviceWeight", device, weight)
        }

        /// What it may read from one device, in bytes a second, from 1 (`IOReadBandwidthMax=`). `u64::MAX` is no
        /// limit.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".io_read_bandwidth_max(\"/dev/sda\", 10_000_000);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn io_read_bandwidth_max(self, device: impl Into<String>, bytes_per_second: u64) -> Self {
            self.device("IOReadBandwidthMax", device, bytes_per_second)
        }

        /// What it may write to one device, in bytes a second, from 1 (`IOWriteBandwidthMax=`). `u64::MAX` is no
        /// limit.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".io_write_bandwidth_max(\"/dev/sda\", 5_000_000);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn io_write_bandwidth_max(self, device: impl Into<String>, bytes_per_second: u64) -> Self {
            self.device("IOWriteBandwidthMax", device, bytes_per_second)
        }

        /// How often it may read from one device, in operations a second, from 1 (`IOReadIOPSMax=`; cgroup v2
        /// only). `u64::MAX` is no limit.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".io_read_iops_max(\"/dev/sda\", 1000);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn io_read_iops_max(self, device: impl Into<String>, per_second: u64) -> Self {
            self.device("IOReadIOPSMax", device, per_second)
        }

        /// How often it may write to one device, in operations a second, from 1 (`IOWriteIOPSMax=`; cgroup v2
        /// only). `u64::MAX` is no limit.
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".io_write_iops_max(\"/dev/sda\", 500);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn io_write_iops_max(self, device: impl Into<String>, per_second: u64) -> Self {
            self.device("IOWriteIOPSMax", device, per_second)
        }

        /// How long an operation on one device should take it on average, from a microsecond: where it takes
        /// longer, siblings with a longer target are slowed (`IODeviceLatencyTargetSec=`; cgroup v2 only).
        /// Microseconds on the wire. `Duration::MAX` is no target.
        ///
        /// ```
        /// let target = std::time::Duration::from_millis(25);
        #[doc = concat!("let unit = unitwait::", $builder, ".io_device_latency_target(\"/dev/sda\", target);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn io_device_latency_target(self, device: impl Into<String>, target: Duration) -> Self {
            self.device("IODeviceLatencyTargetUSec", device, resource::micros(target))
        }

        /// Which devices it may use beside those allowed (`DevicePolicy=`).
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".device_policy(unitwait::DevicePolicy::Closed);")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn device_policy(self, policy: DevicePolicy) -> Self {
            self.property(Property::known("DevicePolicy", policy.as_str()))
        }

        /// Allows it one more device, or group of devices (`char-pts`, `block-*`), to read, write or make: letters
        /// of `rwm`, all where there are none (`DeviceAllow=`).
        ///
        /// ```
        #[doc = concat!("let unit = unitwait::", $builder, ".device_allow(\"/dev/kvm\", \"rw\");")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn device_allow(self, device: impl Into<String>, access: impl Into<String>) -> Self {
            self.device("DeviceAllow", device, access.into())
        }

        /// Any other property, by its name on D-Bus and its typed value. One that was set before is replaced.
        ///
        /// ```
        /// use unitwait::{Property, Value};
        ///
        #[doc = concat!("let unit = unitwait::", $builder, ".property(Property::new(\"OOMPolicy\", \"kill\"));")]
        /// assert!(unit.check().is_ok());
        /// ```
        #[must_use]
        pub fn property(mut self, property: Property) -> Self {
            list::put(self.properties_mut(), property);
            self
        }

        fn device(mut self, list: &str, device: impl Into<String>, what: impl Into<Value>) -> Self {
            list::add_entry(self.properties_mut(), list, device.into(), what.into());
            self
        }
    };
}
pub(super) use resource_setters;

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
