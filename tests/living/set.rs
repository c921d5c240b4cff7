//! Properties set on a living unit: in the kernel's own files by the time that the call returns, or told.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use unitwait::{
    ActiveScope, CgroupMode, Error, GapReason, LimitGap, Manager, Operation, Property, Scope, Slice, Update,
    Updated, Value,
};

use crate::support::{LONG, Sleeper, eventually, hybrid, manager, name, state};

pub const MIB: u64 = 1 << 20;

pub fn scope(manager: &Manager, sleeper: &Sleeper) -> ActiveScope {
    let scope = Scope::new(name("set")).pid(sleeper.pid()).slice("set.slice");
    manager.create_scope(&scope, LONG).unwrap()
}

/// A slice's name that no other test has.
fn slice_name() -> String {
    name("set").replace('-', "_").replace(".scope", ".slice")
}

/// What the kernel holds; `None` where the unit has no such file.
pub fn held(active: &ActiveScope, controller: &str, files: &[&str]) -> Option<String> {
    let directory = active.controller_path(controller)?;
    files.iter().find_map(|file| fs::read_to_string(directory.join(file)).ok()).map(|text| text.trim().into())
}

pub fn properties(gaps: &[LimitGap]) -> BTreeSet<&str> {
    gaps.iter().map(|gap| gap.property.as_str()).collect()
}

/// Where there is a file it has the value and nothing is told; where there is none that is told.
fn in_force_or_told(updated: &Updated, property: &str, held: Option<&str>, wanted: &str) {
    let told = properties(&updated.limit_gaps);
    match held {
        Some(held) => assert!(held == wanted && !told.contains(property), "{property}: {held}, {told:?}"),
        None => {
            assert!(!hybrid(), "v1 has every controller here");
            let gap = updated.limit_gaps.iter().find(|gap| gap.property == property).expect("it is told");
            assert!(matches!(gap.reason, GapReason::NoController(_) | GapReason::NotEnabled), "{gap:?}");
        }
    }
}

pub fn systemd_says(manager: &Manager, unit: &str, property: &str) -> Value {
    manager.property(unit, property, LONG).unwrap()
}

fn daemon_reload() {
    assert!(Command::new("systemctl").arg("daemon-reload").status().unwrap().success());
}

#[test]
fn a_limit_is_raised_lowered_and_taken_away_in_the_kernels_own_file_or_told_to_be_missing() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let active = scope(&manager, &sleeper);
    let no_limit = if hybrid() { "9223372036854771712" } else { "max" };
    for (bytes, wanted) in
        [(64 * MIB, "67108864"), (128 * MIB, "134217728"), (32 * MIB, "33554432"), (u64::MAX, no_limit)]
    {
        let update = Update::new().memory_max(bytes);
        let updated = active.set(&update, LONG).unwrap();
        let file = held(&active, "memory", &["memory.max", "memory.limit_in_bytes"]);
        if bytes == u64::MAX {
            assert_eq!(updated, Updated::default(), "to have no limit wants no controller");
            assert!(file.is_none_or(|held| held == wanted));
        } else {
            in_force_or_told(&updated, "MemoryMax", file.as_deref(), wanted);
        }
        assert_eq!(systemd_says(&manager, active.unit(), "MemoryMax"), Value::U64(bytes));
    }
    for (tasks, wanted) in [(20, "20"), (30, "30"), (10, "10")] {
        let updated = manager.set(active.unit(), &Update::new().tasks_max(tasks), LONG).unwrap();
        in_force_or_told(&updated, "TasksMax", held(&active, "pids", &["pids.max"]).as_deref(), wanted);
    }
    let updated = manager.set(active.unit(), &Update::new().tasks_max(u64::MAX), LONG).unwrap();
    assert_eq!(updated, Updated::default());
    assert!(held(&active, "pids", &["pids.max"]).is_none_or(|held| held == "max"));
    active.stop(LONG).unwrap();
}

#[test]
fn five_hundred_changes_in_a_row_are_each_there_when_the_call_returns() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let active = scope(&manager, &sleeper);
    for number in 1..=500u64 {
        let bytes = 64 * MIB + number * MIB;
        let update = Update::new().memory_max(bytes).tasks_max(number);
        let updated = if number % 2 == 0 {
            active.set(&update, LONG)
        } else {
            manager.set(active.unit(), &update, LONG)
        };
        let updated = updated.unwrap();
        let memory = held(&active, "memory", &["memory.max", "memory.limit_in_bytes"]);
        in_force_or_told(&updated, "MemoryMax", memory.as_deref(), &bytes.to_string());
        let tasks = held(&active, "pids", &["pids.max"]);
        in_force_or_told(&updated, "TasksMax", tasks.as_deref(), &number.to_string());
    }
    active.stop(LONG).unwrap();
}

#[test]
fn a_quota_and_its_period_are_set_together_and_alone() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let active = scope(&manager, &sleeper);
    let read = |unified: usize, legacy: &str| match held(&active, "cpu", &["cpu.max"]) {
        Some(both) => both.split(' ').nth(unified).map(String::from),
        None => held(&active, "cpu", &[legacy]),
    };
    let period = || read(1, "cpu.cfs_period_us");
    let quota = || read(0, "cpu.cfs_quota_us");
    let (half, ten) = (Duration::from_millis(500), Duration::from_millis(10));
    let updated = active.set(&Update::new().cpu_quota(half), LONG).unwrap();
    in_force_or_told(&updated, "CPUQuotaPerSecUSec", quota().as_deref(), "50000");
    // The period is one of the quota that is there already.
    let updated = active.set(&Update::new().cpu_quota_period(ten), LONG).unwrap();
    in_force_or_told(&updated, "CPUQuotaPeriodUSec", period().as_deref(), "10000");
    assert!(quota().is_none_or(|quota| quota == "5000"));
    let updated = active.set(&Update::new().cpu_quota(half * 3).cpu_quota_period(half), LONG).unwrap();
    in_force_or_told(&updated, "CPUQuotaPerSecUSec", quota().as_deref(), "750000");
    let updated = active.set(&Update::new().cpu_quota(Duration::MAX), LONG).unwrap();
    assert_eq!(updated, Updated::default());
    assert!(quota().is_none_or(|quota| ["max", "-1"].contains(&quota.as_str())));
    active.stop(LONG).unwrap();
}

#[test]
fn a_weight_and_the_idle_policy_are_what_the_kernel_has() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let active = scope(&manager, &sleeper);
    let weight = || held(&active, "cpu", &["cpu.weight", "cpu.shares"]);
    let wanted = |unified, legacy| if hybrid() { legacy } else { unified };
    let updated = active.set(&Update::new().cpu_weight(200), LONG).unwrap();
    in_force_or_told(&updated, "CPUWeight", weight().as_deref(), wanted("200", "2048"));
    let updated = active.set(&Update::new().cpu_idle(), LONG).unwrap();
    assert_eq!(systemd_says(&manager, active.unit(), "CPUWeight"), Value::U64(0));
    // On v1 systemd has no idle policy, and gives it the least share that there is.
    let (file, wanted) = if hybrid() { ("cpu.shares", "2") } else { ("cpu.idle", "1") };
    in_force_or_told(&updated, "CPUWeight", held(&active, "cpu", &[file]).as_deref(), wanted);
    active.stop(LONG).unwrap();
}

/// What is sure not to hold: cgroup v1 knows no such limit, and where v2 has the controller, it is disabled for all
/// that is in this slice.
fn without_memory(manager: &Manager, slice: &str) {
    let without = Property::new("DisableControllers", Value::strings(["memory"]));
    manager.create_slice(&Slice::new(slice).property(without), LONG).unwrap();
}

#[test]
fn a_limit_that_cannot_hold_is_told_and_where_it_is_required_is_an_error_and_the_change_stands() {
    let manager = manager();
    let (sleeper, slice) = (Sleeper::new(), slice_name());
    without_memory(&manager, &slice);
    let scope = Scope::new(name("set-required")).pid(sleeper.pid()).slice(&slice);
    let active = manager.create_scope(&scope, LONG).unwrap();
    let update = Update::new().memory_high(64 * MIB);
    let updated = active.set(&update, LONG).unwrap();
    assert_eq!(properties(&updated.limit_gaps), BTreeSet::from(["MemoryHigh"]));
    let error = active.set(&Update::new().memory_high(32 * MIB).require_limits(true), LONG).unwrap_err();
    let text = error.to_string();
    match error {
        Error::Limit { asked, gaps, released: false } => {
            assert_eq!((asked.operation, asked.unit.as_deref()), (Operation::Set, Some(active.unit())));
            assert_eq!(properties(&gaps), BTreeSet::from(["MemoryHigh"]));
        }
        other => panic!("{other:?}"),
    }
    assert!(text.contains("the change stands") && !text.contains("released"), "{text}");
    assert!(sleeper.lives() && state(&manager, active.unit()) == "active");
    assert_eq!(systemd_says(&manager, active.unit(), "MemoryHigh"), Value::U64(32 * MIB));
    let unseen = Update::new().memory_high(64 * MIB).verify(false);
    assert_eq!(active.set(&unseen, LONG).unwrap(), Updated::default());
    active.stop(LONG).unwrap();
    manager.stop_unit(&slice, LONG).unwrap();
}

#[test]
fn an_unknown_property_names_itself_and_nothing_is_changed_and_an_optional_one_is_left_out() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let active = scope(&manager, &sleeper);
    let unknown = || Property::new("NotYetInvented", 7u64);
    let tasks = |tasks| Update::new().tasks_max(tasks);
    active.set(&tasks(40), LONG).unwrap();
    for error in [
        active.set(&tasks(50).property(unknown()), LONG).unwrap_err(),
        manager.set(active.unit(), &tasks(50).property(unknown()), LONG).unwrap_err(),
        active.set(&tasks(50).property(unknown()).property(late("Later")), LONG).unwrap_err(),
    ] {
        match error {
            Error::UnknownProperty { property, asked, .. } => {
                assert_eq!((property.as_str(), asked.operation), ("NotYetInvented", Operation::Set));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(systemd_says(&manager, active.unit(), "TasksMax"), Value::U64(40));
    let many = (0..5).fold(tasks(50), |update, number| update.property(late(&format!("Later{number}"))));
    // One that it knows and does not let be set on a living unit is left out as well.
    let delegate = Property::new("Delegate", true).optional();
    let updated = active.set(&many.property(delegate).require_limits(hybrid()), LONG).unwrap();
    assert_eq!(updated.left_out, ["Later0", "Later1", "Later2", "Later3", "Later4", "Delegate"]);
    in_force_or_told(&updated, "TasksMax", held(&active, "pids", &["pids.max"]).as_deref(), "50");
    let nothing = active.set(&Update::new().property(late("Later")), LONG).unwrap();
    assert_eq!(nothing.left_out, ["Later"]);
    active.stop(LONG).unwrap();
}

fn late(name: &str) -> Property {
    Property::new(name, 7u64).optional()
}

#[test]
fn a_creation_leaves_optional_properties_out_however_many_and_says_which() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let unit = name("set-create");
    // It looks like a limit, and what was left out is no limit that could be missing.
    let of_a_newer = Property::new("MemoryNotYetInvented", 7u64).optional();
    let scope = (0..5).fold(Scope::new(&unit).pid(sleeper.pid()).tasks_max(20), |scope, number| {
        scope.property(late(&format!("Later{number}")))
    });
    let needed = scope.clone().property(Property::new("NotYetInvented", 7u64));
    match manager.create_scope(&needed, LONG).unwrap_err() {
        Error::UnknownProperty { property, .. } => assert_eq!(property, "NotYetInvented"),
        other => panic!("{other:?}"),
    }
    let active = manager.create_scope(&scope.property(of_a_newer), LONG).unwrap();
    let left = ["Later0", "Later1", "Later2", "Later3", "Later4", "MemoryNotYetInvented"];
    assert_eq!(active.left_out(), left);
    let told = properties(active.limit_gaps());
    assert!(told.iter().all(|property| *property == "TasksMax"), "{told:?}");
    assert_eq!(systemd_says(&manager, &unit, "TasksMax"), Value::U64(20));
    let missing = active.audit(LONG).unwrap().findings;
    assert!(missing.iter().all(|finding| !finding.to_string().contains("NotYet")), "{missing:?}");
    let slice = Slice::new(slice_name()).tasks_max(50).property(late("Later"));
    let slice = manager.create_slice(&slice, LONG).unwrap();
    assert_eq!(slice.left_out(), ["Later"]);
    assert_eq!(systemd_says(&manager, slice.unit(), "TasksMax"), Value::U64(50));
    slice.stop(LONG).unwrap();
    active.stop(LONG).unwrap();
}

#[test]
fn the_swap_limits_of_a_newer_systemd_are_set_where_it_has_them() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let active = scope(&manager, &sleeper);
    let version: u32 =
        manager.version().split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
    let zswap = Property::new("MemoryZSwapMax", 8 * MIB);
    let optional = Update::new().property(zswap.optional());
    let updated = active.set(&optional, LONG).unwrap();
    let plain = active.set(&Update::new().memory_zswap_max(8 * MIB), LONG);
    if version >= 253 {
        assert_eq!(updated.left_out, [""; 0]);
        assert_eq!(plain.unwrap().left_out, [""; 0]);
    } else {
        assert_eq!((updated.left_out, updated.limit_gaps), (vec!["MemoryZSwapMax".into()], vec![]));
        assert!(
            matches!(plain, Err(Error::UnknownProperty { property, .. }) if property == "MemoryZSwapMax")
        );
    }
    active.stop(LONG).unwrap();
}

fn drop_in(root: &str, unit: &str, property: &str) -> PathBuf {
    Path::new(root).join(format!("{unit}.d/50-{property}.conf"))
}

const FOR_GOOD: &str = "/etc/systemd/system.control";
const UNTIL_REBOOT: &str = "/run/systemd/system.control";
const WITH_THE_UNIT: &str = "/run/systemd/transient";

#[test]
fn a_change_is_for_good_only_where_that_is_said_and_a_transient_unit_takes_it_with_it() {
    let manager = manager();
    let (sleeper, slice) = (Sleeper::new(), slice_name());
    // A slice that comes up because something is in it is no transient unit.
    let scope = Scope::new(name("set-lasting")).pid(sleeper.pid()).slice(&slice);
    let active = manager.create_scope(&scope, LONG).unwrap();
    manager.set(&slice, &Update::new().tasks_max(70), LONG).unwrap();
    manager.set(&slice, &Update::new().memory_max(70 * MIB).persistent(true), LONG).unwrap();
    let written = |root: &str, property: &str| drop_in(root, &slice, property).exists();
    assert!(written(UNTIL_REBOOT, "TasksMax") && !written(FOR_GOOD, "TasksMax"));
    assert!(written(FOR_GOOD, "MemoryMax") && !written(UNTIL_REBOOT, "MemoryMax"));
    let kept = fs::read_to_string(drop_in(FOR_GOOD, &slice, "MemoryMax")).unwrap();
    assert!(kept.contains("MemoryMax=73400320"), "{kept}");
    for (persistent, tasks) in [(true, 80), (false, 90)] {
        active.set(&Update::new().tasks_max(tasks).persistent(persistent), LONG).unwrap();
        let kept = fs::read_to_string(drop_in(WITH_THE_UNIT, active.unit(), "TasksMax")).unwrap();
        assert!(kept.contains(&format!("TasksMax={tasks}")), "{kept}");
        for root in [FOR_GOOD, UNTIL_REBOOT] {
            assert!(!drop_in(root, active.unit(), "TasksMax").exists(), "{root}");
        }
    }
    daemon_reload();
    assert_eq!(systemd_says(&manager, &slice, "TasksMax"), Value::U64(70));
    assert_eq!(systemd_says(&manager, active.unit(), "TasksMax"), Value::U64(90));
    active.stop(LONG).unwrap();
    eventually("the change went with the unit", || {
        !drop_in(WITH_THE_UNIT, active.unit(), "TasksMax").exists()
    });
    manager.stop_unit(&slice, LONG).unwrap();
}

#[test]
fn a_slices_limit_holds_for_what_is_in_it_and_one_that_is_not_up_gets_it_when_it_comes() {
    let manager = manager();
    let (sleeper, unit) = (Sleeper::new(), slice_name());
    let slice = manager.create_slice(&Slice::new(&unit), LONG).unwrap();
    let updated = slice.set(&Update::new().tasks_max(60).cpu_weight(50), LONG).unwrap();
    let file = |controller: &str, file: &str| {
        fs::read_to_string(slice.controller_path(controller)?.join(file))
            .ok()
            .map(|text| text.trim().to_string())
    };
    in_force_or_told(&updated, "TasksMax", file("pids", "pids.max").as_deref(), "60");
    in_force_or_told(&updated, "CPUWeight", file("cpu", "cpu.shares").as_deref(), "512");
    slice.stop(LONG).unwrap();
    assert!(matches!(slice.set(&Update::new().tasks_max(7), LONG), Err(Error::NoSuchUnit { .. })));

    let unit = slice_name();
    let updated = manager.set(&unit, &Update::new().tasks_max(61).memory_max(u64::MAX), LONG).unwrap();
    assert_eq!(updated.limit_gaps.len(), 1, "{updated:?}");
    assert_eq!(updated.limit_gaps[0].reason, GapReason::NotRunning);
    let scope = Scope::new(name("set-later")).pid(sleeper.pid()).slice(&unit);
    let active = manager.create_scope(&scope, LONG).unwrap();
    let again = manager.set(&unit, &Update::new().tasks_max(61), LONG).unwrap();
    let directory = manager.layout().controller_path("pids", &format!("/{unit}"));
    let tasks = directory.and_then(|at| fs::read_to_string(at.join("pids.max")).ok());
    in_force_or_told(&again, "TasksMax", tasks.as_deref().map(str::trim), "61");
    active.stop(LONG).unwrap();
    manager.stop_unit(&unit, LONG).unwrap();
}

#[test]
fn a_handle_whose_run_is_over_changes_nothing_of_the_run_that_has_its_name() {
    let manager = manager();
    let (first, second, unit) = (Sleeper::new(), Sleeper::new(), name("set-run"));
    let update = Update::new().tasks_max(7);
    let old = manager.create_scope(&Scope::new(&unit).pid(first.pid()), LONG).unwrap();
    old.stop(LONG).unwrap();
    assert!(matches!(old.set(&update, LONG), Err(Error::NoSuchUnit { .. })));
    assert!(matches!(manager.set(&unit, &update, LONG), Err(Error::NoSuchUnit { .. })));
    let new = manager.create_scope(&Scope::new(&unit).pid(second.pid()).tasks_max(30), LONG).unwrap();
    match old.set(&update, LONG).unwrap_err() {
        Error::Superseded { asked, invocation } => {
            assert_eq!((asked.operation, Some(invocation)), (Operation::Set, old.invocation_id()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(systemd_says(&manager, &unit, "TasksMax"), Value::U64(30));
    assert!(held(&new, "pids", &["pids.max"]).is_none_or(|held| held == "30"));
    new.stop(LONG).unwrap();
}

#[test]
fn what_was_set_through_a_handle_survives_the_reload_and_the_audit_of_every_clone_is_silent() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let scope = Scope::new(name("set-audit")).pid(sleeper.pid()).memory_max(64 * MIB).tasks_max(50);
    let active = manager.create_scope(&scope, LONG).unwrap();
    let clone = active.clone();
    let update = Update::new().memory_max(96 * MIB).tasks_max(60).cpu_quota(Duration::from_millis(250));
    active.set(&update, LONG).unwrap();
    daemon_reload();
    for handle in [&active, &clone] {
        let findings = handle.audit(LONG).unwrap().findings;
        let changed = findings.iter().any(|finding| finding.to_string().contains("property was changed"));
        assert!(!changed, "{findings:?}");
        if hybrid() {
            assert_eq!(findings, []);
        }
    }
    if hybrid() {
        assert_eq!(held(&active, "memory", &["memory.limit_in_bytes"]).as_deref(), Some("100663296"));
        assert_eq!(held(&active, "pids", &["pids.max"]).as_deref(), Some("60"));
        // What somebody else sets is told all the same.
        manager.set(active.unit(), &Update::new().tasks_max(61), LONG).unwrap();
        let findings = clone.audit(LONG).unwrap().findings;
        assert!(
            matches!(&findings[..], [unitwait::AuditFinding::Changed(gap)] if gap.asked == "60"),
            "{findings:?}"
        );
    } else {
        assert_eq!(manager.layout().mode(), CgroupMode::Unified);
    }
    active.stop(LONG).unwrap();
}

#[test]
fn of_changes_made_at_once_through_clones_the_audit_knows_the_one_that_systemd_made_last() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let asked = Scope::new(name("set-clones")).pid(sleeper.pid()).memory_max(MIB * 50).tasks_max(50);
    let active = manager.create_scope(&asked, LONG).unwrap();
    for round in 0..25u64 {
        thread::scope(|threads| {
            for thread in 1..=4 {
                let clone = active.clone();
                let update =
                    Update::new().tasks_max(100 + round * 4 + thread).memory_max((64 + thread) * MIB);
                threads.spawn(move || clone.set(&update, LONG).unwrap());
            }
        });
        let findings = active.audit(LONG).unwrap().findings;
        let changed = findings.iter().any(|finding| finding.to_string().contains("property was changed"));
        assert!(!changed, "round {round}: {findings:?}");
    }
    active.stop(LONG).unwrap();
}
