//! Limits: in the kernel's own files, or told to be missing.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use unitwait::{CgroupMode, Error, Property, Scope, Slice, Value};

use crate::support::{LONG, Sleeper, manager, name, state};

#[test]
fn limits_are_in_the_kernels_files_or_told_to_be_missing() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let scope = Scope::new(name("limits"))
        .pid(sleeper.pid())
        .slice("limits.slice")
        .memory_max(64 << 20)
        .tasks_max(20)
        .cpu_quota(Duration::from_millis(500))
        .cpu_weight(200);
    let active = manager.create_scope(&scope, LONG).unwrap();
    let gaps: BTreeSet<&str> = active.limit_gaps().iter().map(|gap| gap.property.as_str()).collect();
    for (controller, property, file, text) in [
        ("memory", "MemoryMax", ["memory.max", "memory.limit_in_bytes"], "67108864"),
        ("pids", "TasksMax", ["pids.max", "pids.max"], "20"),
    ] {
        let directory = active.controller_path(controller);
        let held = directory.is_some_and(|at| {
            file.iter().any(|file| fs::read_to_string(at.join(file)).is_ok_and(|held| held.trim() == text))
        });
        assert_ne!(held, gaps.contains(property), "{property}: held {held}, gaps {gaps:?}");
    }
    if manager.layout().mode() == CgroupMode::Hybrid {
        assert!(gaps.is_empty(), "every one of these has a v1 controller: {:?}", active.limit_gaps());
    }
    active.stop(LONG).unwrap();
}

#[test]
fn a_required_limit_that_cannot_hold_is_an_error_and_leaves_no_unit() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let (unit, slice) = (name("required"), format!("required{}.slice", std::process::id()));
    // Wherever this runs, the kernel cannot hold it: cgroup v1 knows no such limit, and where v2 has the controller,
    // it is disabled for all that is in this slice.
    let without =
        Slice::new(&slice).property(Property::new("DisableControllers", Value::strings(["memory"])));
    let without = manager.create_slice(&without, LONG).unwrap();
    let limited =
        |sleeper: &Sleeper| Scope::new(&unit).pid(sleeper.pid()).slice(&slice).memory_high(64 << 20);
    match manager.create_scope(&limited(&sleeper).require_limits(true), LONG) {
        Err(Error::Limit { gaps, released: true, .. }) => {
            assert_eq!(gaps.iter().map(|gap| gap.property.as_str()).collect::<Vec<_>>(), ["MemoryHigh"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(state(&manager, &unit), "inactive");
    assert!(!sleeper.lives(), "to release a scope is to stop it");
    // Not required, the same is a success that tells of it.
    let sleeper = Sleeper::new();
    let told = manager.create_scope(&limited(&sleeper), LONG).unwrap();
    assert_eq!(told.limit_gaps()[0].property, "MemoryHigh");
    told.stop(LONG).unwrap();
    without.stop(LONG).unwrap();
}
