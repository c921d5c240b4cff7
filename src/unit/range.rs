//! What the values of resource-control properties may be.

use super::Value;
use crate::error::Escaped;

const NONE: u64 = u64::MAX;
const WEIGHTS: (u64, u64) = (1, 10_000);
/// The longest set of CPUs or nodes that systemd takes, in bytes (`cpu_set_add()`: 8192 numbers).
const LONGEST_MASK: usize = 8192 / 8;

/// Why systemd would refuse a value of the right type, or take it and never have it hold.
///
/// Source: `bus_cgroup_set_property()` in systemd for what it refuses. It takes a CPU period out of its range and
/// cuts it, and a bandwidth of 0, which is no limit on cgroup v1 (both seen on 252), and which v2 refuses
/// (`tg_set_limit()` in the kernel).
pub(super) fn fault(name: &str, value: &Value) -> Option<String> {
    let number = || value.as_u64().unwrap_or(NONE);
    match name {
        "MemoryMax" | "MemoryHigh" | "MemoryLimit" | "StartupMemoryMax" | "StartupMemoryHigh"
        | "TasksMax" | "CPUQuotaPerSecUSec" => outside(number(), (1, NONE)),
        "CPUWeight" | "StartupCPUWeight" if number() == 0 => None, // the idle policy
        "CPUWeight" | "StartupCPUWeight" | "IOWeight" | "StartupIOWeight" => outside(number(), WEIGHTS),
        "CPUShares" | "StartupCPUShares" => outside(number(), (2, 262_144)),
        "BlockIOWeight" | "StartupBlockIOWeight" => outside(number(), (10, 1000)),
        "CPUQuotaPeriodUSec" => outside(number(), (1_000, 1_000_000)),
        "AllowedCPUs" | "StartupAllowedCPUs" | "AllowedMemoryNodes" | "StartupAllowedMemoryNodes" => {
            let last = value.items().iter().rposition(|byte| byte.as_u64() != Some(0));
            (last >= Some(LONGEST_MASK)).then(|| "8191 is the largest number in it that systemd takes".into())
        }
        "IODeviceWeight" => {
            entries(value, |weight| (weight == NONE).then(no_weight).or(outside(weight, WEIGHTS)))
        }
        "IOReadBandwidthMax"
        | "IOWriteBandwidthMax"
        | "IOReadIOPSMax"
        | "IOWriteIOPSMax"
        | "IODeviceLatencyTargetUSec" => entries(value, |limit| outside(limit, (1, NONE))),
        "DeviceAllow" => value.items().iter().find_map(allow_fault),
        "DevicePolicy" if !matches!(value.as_str(), Some("auto" | "closed" | "strict")) => {
            Some(format!("`{value}` is none of auto, closed and strict"))
        }
        _ => None,
    }
}

/// To set none is always allowed.
fn outside(number: u64, (least, most): (u64, u64)) -> Option<String> {
    let is_inside = number == NONE || (least..=most).contains(&number);
    let range = if most == NONE {
        format!("{least} is the least")
    } else {
        format!("{least} to {most} is its range")
    };
    (!is_inside).then(|| format!("{range}, and {number} was given"))
}

fn no_weight() -> String {
    "a device's weight cannot be taken back alone; empty the whole list".into()
}

fn entries(list: &Value, number_fault: impl Fn(u64) -> Option<String>) -> Option<String> {
    list.items().iter().find_map(|entry| match entry.items() {
        [path, number] => {
            let path = path.as_str().unwrap_or_default();
            path_fault(path).or_else(|| Some(format!("{path}: {}", number_fault(number.as_u64()?)?)))
        }
        _ => None,
    })
}

fn allow_fault(entry: &Value) -> Option<String> {
    let [device, access] = entry.items() else { return None };
    let (device, access) = (device.as_str().unwrap_or_default(), access.as_str().unwrap_or_default());
    if !access.chars().all(|letter| "rwm".contains(letter)) {
        return Some(format!("`{access}` is not made of r, w and m"));
    }
    let is_group = ["char-", "block-"].iter().any(|kind| device.starts_with(kind));
    if is_group {
        return written_fault(device);
    }
    let is_node = device.starts_with("/dev/") || device.starts_with("/run/systemd/inaccessible/");
    let not_a_node = || format!("`{device}` is neither a device below /dev nor a group such as `char-pts`");
    path_fault(device).or_else(|| (!is_node).then(not_a_node))
}

fn path_fault(path: &str) -> Option<String> {
    let is_plain = |below: &str| !below.split('/').any(|part| ["", ".", ".."].contains(&part));
    let below = path.strip_prefix('/').map(|below| below.strip_suffix('/').unwrap_or(below));
    if path != "/" && !below.is_some_and(is_plain) {
        return Some(format!("`{path}` is not an absolute path without empty parts, `.` and `..`"));
    }
    written_fault(path)
}

/// systemd writes a device's name into a unit file as it is, and at the next `daemon-reload` reads another one, or
/// another line (seen on 252).
fn written_fault(name: &str) -> Option<String> {
    let is_lost = |c: char| c.is_whitespace() || c.is_control() || "%\\\"'".contains(c);
    let bad = name.chars().find(|c| is_lost(*c))?;
    Some(format!(
        "systemd would lose \"{}\" at its next daemon-reload, for '{}' stands in it; give its node",
        Escaped(name),
        Escaped(bad.encode_utf8(&mut [0; 4]))
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::unit::{Property, Update};

    fn refused(update: Update) -> bool {
        update.check().is_err_and(|error| error.is_invalid_input())
    }

    fn device(name: &str, device: &str, value: impl Into<Value>) -> Update {
        let entry = Value::Struct(vec![device.into(), value.into()]);
        let list = Value::Array(entry.signature(), vec![entry]);
        Update::new().property(Property::new(name, list))
    }

    #[test]
    fn each_range_is_kept_at_both_of_its_ends() {
        let update = Update::new;
        let (milli, second) = (Duration::from_millis(1), Duration::from_secs(1));
        let micro = Duration::from_micros(1);
        for good in [
            update()
                .memory_max(1)
                .memory_high(1)
                .memory_low(0)
                .memory_min(0)
                .memory_swap_max(0)
                .memory_zswap_max(0),
            update().memory_max(u64::MAX).memory_high(u64::MAX).memory_low(u64::MAX).tasks_max(u64::MAX),
            update().tasks_max(1).cpu_weight(1).io_weight(1).cpu_quota(micro).cpu_quota_period(milli),
            update().cpu_weight(10_000).io_weight(10_000).cpu_quota(Duration::MAX).cpu_quota_period(second),
            update().cpu_weight(u64::MAX).io_weight(u64::MAX).cpu_quota_period(Duration::MAX),
            update().cpu_idle().allowed_cpus([]).allowed_memory_nodes([8191]),
            update().io_device_weight("/dev/a", 1).io_device_weight("/dev/b", 10_000),
            update().io_read_bandwidth_max("/dev/a", 1).io_write_iops_max("/", u64::MAX),
            update().io_device_latency_target("/var/lib/", Duration::MAX),
            update()
                .device_allow("char-pts", "")
                .device_allow("/dev/a:b-c.d", "rwm")
                .device_allow("block-*", "r"),
        ] {
            assert!(good.check().is_ok(), "{good:?}");
        }
        for bad in [
            update().memory_max(0),
            update().memory_high(0),
            update().tasks_max(0),
            update().cpu_weight(0),
            update().cpu_weight(10_001),
            update().io_weight(0),
            update().io_weight(10_001),
            update().cpu_quota(Duration::from_nanos(999)),
            update().cpu_quota_period(milli - micro),
            update().cpu_quota_period(second + micro),
            update().allowed_cpus([8192]),
            update().allowed_memory_nodes([8192]),
            update().io_device_weight("/dev/a", 0),
            update().io_device_weight("/dev/a", u64::MAX),
            update().io_read_bandwidth_max("/dev/a", 0),
            update().io_write_bandwidth_max("/dev/a", 0),
            update().io_read_iops_max("/dev/a", 0),
            update().io_write_iops_max("/dev/a", 0),
            update().io_device_latency_target("/dev/a", Duration::ZERO),
            update().device_allow("/dev/a", "x"),
            update().device_allow("a", "r"),
            update().device_allow("/home/a", "r"),
            update().property(Property::new("DevicePolicy", "none")),
            update().clear("MemoryMax"),
        ] {
            assert!(refused(bad.clone()), "{bad:?}");
        }
        assert!(!refused(update().cpu_weight(0).cpu_idle()), "what was set last counts");
    }

    #[test]
    fn a_device_that_systemd_would_read_back_as_another_is_refused() {
        for path in [
            "",
            "dev/a",
            "/dev/../a",
            "/dev//a",
            "/dev/./a",
            "/dev/a b",
            "/dev/a\\x20b",
            "/dev/%n",
            "/dev/a\nTasksMax=1",
        ] {
            assert!(refused(device("IOReadBandwidthMax", path, 1u64)), "{path:?}");
            assert!(refused(device("DeviceAllow", path, "r")), "{path:?}");
        }
        assert!(refused(device("DeviceAllow", "char-a\nTasksMax=1", "r")));
    }
}
