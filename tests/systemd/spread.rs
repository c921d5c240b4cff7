//! Slices that are spread over child slices: who goes where, and what holds for all of them.

use std::collections::BTreeSet;

use unitwait::{Manager, OnExists, Scope, Slice, Spread};

use crate::support::{LONG, Sleeper, group_of, hybrid, manager, name};

/// The directory in which a process's group is, of a group such as `/jobs.slice/jobs-spread3.slice/x.scope`.
fn holder(group: &str) -> &str {
    group.rsplit_once('/').expect("a scope is in something").0
}

/// Where a scope goes, by two managers in turn.
fn spread_twice(manager: &Manager, over: u32) -> String {
    let unit = name("spread");
    // Another manager, as another process has one, and the same name.
    let other = Manager::private().unwrap();
    let [first, second] = [manager, &other].map(|manager| {
        let sleeper = Sleeper::new();
        let scope = Scope::new(&unit).pid(sleeper.pid()).slice("spread1.slice").spread(over);
        let active = manager.create_scope(&scope, LONG).unwrap();
        assert_eq!((active.spread(), active.control_group()), (Some(over), group_of(sleeper.pid()).as_str()));
        active.stop(LONG).unwrap();
        holder(active.control_group()).to_string()
    });
    assert_eq!(first, second);
    first
}

#[test]
fn every_process_computes_the_same_child_slice_and_the_parents_limit_holds_for_all() {
    let manager = manager();
    let slice = Slice::new("spread1.slice").tasks_max(50).on_exists(OnExists::Accept);
    let parent = manager.create_slice(&slice, LONG).unwrap();
    for (over, children) in
        [(4, "/spread1.slice/spread1-spread"), (512, "/spread1.slice/spread1-spreadgroup")]
    {
        let holders: BTreeSet<String> = (0..12).map(|_| spread_twice(&manager, over)).collect();
        assert!(
            holders.len() > 1 && holders.iter().all(|holder| holder.starts_with(children)),
            "{holders:?}"
        );
    }
    if hybrid() {
        let held = parent.controller_path("pids").expect("hybrid mode has it").join("pids.max");
        assert_eq!(std::fs::read_to_string(held).unwrap(), "50\n");
    }
    parent.stop(LONG).unwrap();
}

#[test]
fn what_is_there_decides_over_how_many_an_auto_spread_slice_is_spread() {
    let sleepers: Vec<Sleeper> = (0..40).map(|_| Sleeper::new()).collect();
    let scopes =
        sleepers.iter().map(|sleeper| Scope::new(name("auto")).pid(sleeper.pid()).slice("auto.slice"));
    // Some are children of the slice, and some grandchildren.
    let over = [5, 512].into_iter().cycle();
    let scopes: Vec<Scope> = scopes.zip(over).map(|(scope, over)| scope.spread(over)).collect();
    let first = Sleeper::new();
    let scope = Scope::new(name("auto")).pid(first.pid()).slice("auto.slice").spread(Spread::Auto);
    let of_none = manager().create_scope(&scope, LONG).unwrap();
    assert_eq!(of_none.spread(), Some(1));
    for outcome in manager().create_scopes(&scopes, LONG) {
        outcome.unwrap();
    }
    // 41 scopes: six and a bit, and the next power of two. A manager that has not looked yet looks at once.
    let another = Sleeper::new();
    let scope = Scope::new(name("auto")).pid(another.pid()).slice("auto.slice").spread(Spread::Auto);
    let manager = manager();
    let of_many = manager.create_scope(&scope, LONG).unwrap();
    assert_eq!(of_many.spread(), Some(8));
    let within = manager.units_in_slice("auto.slice", LONG).unwrap();
    assert_eq!(within.iter().filter(|unit| unit.name.ends_with(".scope")).count(), 42);
    manager.stop_unit("auto.slice", LONG).unwrap();
    assert!(sleepers.iter().all(|sleeper| !sleeper.lives()));
    assert_eq!(manager.units_in_slice("auto.slice", LONG).unwrap(), []);
}

#[test]
fn a_scope_that_was_spread_over_another_number_is_joined_where_it_is() {
    let manager = manager();
    let (first, second) = (Sleeper::new(), Sleeper::new());
    let scope = Scope::new(name("moved")).slice("moved.slice").delegate(true).on_exists(OnExists::Join);
    let active = manager.create_scope(&scope.clone().pid(first.pid()).spread(1), LONG).unwrap();
    let joined = manager.create_scope(&scope.pid(second.pid()).spread(10_000), LONG).unwrap();
    assert_eq!(joined.control_group(), active.control_group());
    assert_eq!(group_of(second.pid()), active.control_group());
    active.stop(LONG).unwrap();
}
