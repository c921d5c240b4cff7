//! The typed setters: systemd takes what they let through, and what is set of devices adds up.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use unitwait::{DevicePolicy, GapReason, Property, Scope, Update, Updated, Value};

use crate::set::{MIB, held, properties, scope, systemd_says};
use crate::support::{LONG, Sleeper, hybrid, manager, name};

#[test]
fn systemd_takes_every_setter_at_both_ends_of_its_range() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let active = scope(&manager, &sleeper);
    let zswap = |bytes: u64| Property::new("MemoryZSwapMax", bytes).optional();
    let (milli, second) = (Duration::from_millis(1), Duration::from_secs(1));
    let micro = Duration::from_micros(1);
    let (disk, most) = ("/dev/none-such", u64::MAX);
    for update in [
        Update::new().memory_high(1).memory_low(0).memory_min(0).memory_swap_max(0).property(zswap(0)),
        Update::new().memory_high(most).memory_low(most).memory_min(most).memory_swap_max(most),
        Update::new().memory_max(MIB).memory_max(most).property(zswap(most)).tasks_max(1),
        Update::new().cpu_weight(1).io_weight(1).cpu_quota(micro).cpu_quota_period(milli),
        Update::new().cpu_weight(10_000).io_weight(10_000).cpu_quota_period(second).tasks_max(most),
        Update::new()
            .cpu_weight(most)
            .io_weight(most)
            .cpu_quota_period(Duration::MAX)
            .cpu_quota(Duration::MAX),
        Update::new().cpu_idle().allowed_cpus([8191]).allowed_memory_nodes([8191]),
        Update::new().allowed_cpus([]).allowed_memory_nodes([]),
        Update::new().io_device_weight(disk, 1).io_device_weight("/", 10_000),
        Update::new().io_read_bandwidth_max(disk, 1).io_write_bandwidth_max(disk, 1),
        Update::new().io_read_iops_max(disk, 1).io_write_iops_max(disk, 1),
        Update::new().io_read_iops_max(disk, most).io_write_bandwidth_max(disk, most),
        Update::new().io_device_latency_target(disk, micro).io_device_latency_target("/", Duration::MAX),
        Update::new().device_policy(DevicePolicy::Auto).device_allow("block-*", "m"),
        Update::new().device_policy(DevicePolicy::Closed).device_allow("/dev/null", ""),
    ] {
        active.set(&update.verify(false), LONG).unwrap();
    }
    active.stop(LONG).unwrap();
}

/// The nodes of two block devices that the machine has, and their numbers.
fn two_disks() -> [(String, String); 2] {
    let known = fs::read_dir("/sys/block").unwrap().flatten();
    let disks = known.filter_map(|disk| {
        let node = format!("/dev/{}", disk.file_name().to_str()?);
        let number = fs::read_to_string(disk.path().join("dev")).ok()?.trim().to_string();
        Path::new(&node).exists().then_some((node, number))
    });
    let mut disks: Vec<_> = disks.collect();
    disks.sort();
    assert!(disks.len() >= 2, "this test needs two block devices: {disks:?}");
    [disks[0].clone(), disks[1].clone()]
}

#[test]
fn what_is_set_of_one_device_leaves_another_alone_until_the_list_is_emptied() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let active = scope(&manager, &sleeper);
    let [(one, one_number), (other, other_number)] = two_disks();
    let file = || held(&active, "blkio", &["blkio.throttle.read_bps_device"]);
    let set = |update: Update, wanted: &[(&str, u64)]| {
        let updated = active.set(&update, LONG).unwrap();
        let known = systemd_says(&manager, active.unit(), "IOReadBandwidthMax");
        let known: BTreeSet<(String, u64)> = known
            .items()
            .iter()
            .map(|entry| (entry.items()[0].as_str().unwrap().into(), entry.items()[1].as_u64().unwrap()))
            .collect();
        assert_eq!(known, wanted.iter().map(|(path, rate)| (path.to_string(), *rate)).collect());
        if hybrid() {
            assert_eq!(updated, Updated::default());
            let number = |path| if path == one { &one_number } else { &other_number };
            let lines: BTreeSet<String> = file().unwrap().lines().map(String::from).collect();
            assert_eq!(
                lines,
                wanted.iter().map(|(path, rate)| format!("{} {rate}", number(*path))).collect()
            );
        } else if !wanted.is_empty() {
            assert_eq!(properties(&updated.limit_gaps), BTreeSet::from(["IOReadBandwidthMax"]));
        }
    };
    let read = |device: &str, rate| Update::new().io_read_bandwidth_max(device, rate);
    set(read(&one, MIB), &[(&one, MIB)]);
    set(read(&other, 2 * MIB), &[(&one, MIB), (&other, 2 * MIB)]);
    set(read(&one, 3 * MIB), &[(&one, 3 * MIB), (&other, 2 * MIB)]);
    set(read(&one, u64::MAX), &[(&other, 2 * MIB)]);
    set(read(&one, MIB).clear("IOReadBandwidthMax"), &[(&one, MIB)]);
    set(read(&one, MIB).io_read_bandwidth_max(&other, MIB), &[(&one, MIB), (&other, MIB)]);
    set(Update::new().clear("IOReadBandwidthMax"), &[]);
    if hybrid() {
        // systemd says yes to a device that is not there, and the kernel has nothing of it.
        let updated = active.set(&read("/dev/none-such", MIB), LONG).unwrap();
        assert_eq!(updated.limit_gaps[0].reason, GapReason::Differs, "{updated:?}");
    }
    active.stop(LONG).unwrap();
}

#[test]
fn the_devices_that_are_allowed_are_a_list_that_can_be_replaced_in_one_step() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let scope = Scope::new(name("set-devices")).pid(sleeper.pid()).device_allow("/dev/null", "rw");
    let active = manager.create_scope(&scope.device_allow("char-pts", "r"), LONG).unwrap();
    let allowed = || -> BTreeSet<String> {
        systemd_says(&manager, active.unit(), "DeviceAllow").items().iter().map(Value::to_string).collect()
    };
    let list = |entries: &[&str]| -> BTreeSet<String> { entries.iter().map(ToString::to_string).collect() };
    assert_eq!(allowed(), list(&["/dev/null rw", "char-pts r"]));
    active.set(&Update::new().device_allow("/dev/zero", "r"), LONG).unwrap();
    assert_eq!(allowed(), list(&["/dev/null rw", "char-pts r", "/dev/zero r"]));
    let only =
        Update::new().clear("DeviceAllow").device_allow("/dev/full", "").device_policy(DevicePolicy::Strict);
    let updated = active.set(&only, LONG).unwrap();
    assert_eq!(allowed(), list(&["/dev/full rwm"]));
    assert_eq!(systemd_says(&manager, active.unit(), "DevicePolicy").as_str(), Some("strict"));
    // No file of the kernel shows whether these hold, and that is told.
    assert_eq!(properties(&updated.limit_gaps), BTreeSet::from(["DeviceAllow", "DevicePolicy"]));
    if hybrid() {
        let rules = held(&active, "devices", &["devices.list"]).unwrap();
        assert_eq!(rules, "c 1:7 rwm");
    }
    active.stop(LONG).unwrap();
}
