//! Processes are attached to a living scope and its sub-groups, and the kernel has them there.

use std::fs;

use unitwait::{Error, Operation, Scope};

use super::runs::{directories, legacy, living, refused_by_runs_that_are_over, superseded, unified};
use crate::support::{LONG, Sleeper, asked, group_of, hybrid, manager, name};

#[test]
fn a_process_is_attached_to_a_living_scope_and_stays_when_that_is_asked_again() {
    let manager = manager();
    let (active, first) = living(&manager, "attach");
    let (second, third) = (Sleeper::new(), Sleeper::new());
    active.attach([second.pid(), third.pid(), second.pid()], LONG).unwrap();
    active.attach([second.pid(), first.pid()], LONG).unwrap();
    let mut pids = [first.pid(), second.pid(), third.pid()];
    pids.sort_unstable();
    assert_eq!(active.processes().unwrap(), pids);
    assert!(pids.iter().all(|pid| group_of(*pid) == active.control_group()));
    active.stop(LONG).unwrap();
    assert!(!second.lives() && !third.lives(), "they are the unit's now");
}

#[test]
fn a_process_is_attached_to_a_group_below_and_back() {
    let manager = manager();
    let (active, _first) = living(&manager, "below");
    let second = Sleeper::new();
    for directory in directories(active.control_group()) {
        fs::create_dir_all(directory.join("pods/a")).unwrap();
    }
    for (below, group) in [("pods/a", "/pods/a"), ("pods", "/pods"), ("pods/a", "/pods/a")] {
        active.attach_to(below, [second.pid()], LONG).unwrap();
        assert_eq!(group_of(second.pid()), format!("{}{group}", active.control_group()));
    }
    active.attach([second.pid()], LONG).unwrap();
    assert_eq!(group_of(second.pid()), active.control_group());
    active.stop(LONG).unwrap();
}

#[test]
fn a_group_that_is_not_there_is_named_and_nothing_is_moved() {
    let manager = manager();
    let (active, _first) = living(&manager, "missing");
    let second = Sleeper::new();
    let before = group_of(second.pid());
    let missing = || match active.attach_to("none/such", [second.pid()], LONG) {
        Err(Error::NoSuchControlGroup { asked, control_group }) => {
            assert_eq!((asked.operation, asked.unit.as_deref()), (Operation::Attach, Some(active.unit())));
            assert_eq!(control_group, format!("{}/none/such", active.control_group()));
        }
        other => panic!("{other:?}"),
    };
    missing();
    if hybrid() {
        // systemd itself attaches in the one and passes over the other.
        fs::create_dir_all(unified(active.control_group()).join("none/such")).unwrap();
        missing();
        fs::remove_dir(unified(active.control_group()).join("none/such")).unwrap();
        fs::create_dir_all(legacy(active.control_group()).join("none/such")).unwrap();
        missing();
    }
    assert_eq!(group_of(second.pid()), before);
    active.stop(LONG).unwrap();
}

#[test]
fn a_scope_without_delegation_takes_no_process_and_says_so() {
    let manager = manager();
    let (first, second) = (Sleeper::new(), Sleeper::new());
    let active = manager.create_scope(&Scope::new(name("closed")).pid(first.pid()), LONG).unwrap();
    let before = group_of(second.pid());
    let refused = active.attach([second.pid()], LONG);
    assert!(matches!(refused, Err(Error::NotDelegated { .. })), "{refused:?}");
    assert_eq!(group_of(second.pid()), before);
    active.stop(LONG).unwrap();
}

#[test]
fn what_cannot_be_attached_is_refused_unsent() {
    let manager = manager();
    let (active, first) = living(&manager, "unsent");
    let before = asked(&manager);
    for bad in [vec![], vec![0], vec![first.pid(), u32::MAX]] {
        let refused = active.attach(bad.clone(), LONG);
        assert!(refused.as_ref().is_err_and(Error::is_invalid_input), "{bad:?}: {refused:?}");
    }
    for bad in ["", "/", "/a", "..", "a/../..", ".", "a//b", "a\0b"] {
        let refused = active.attach_to(bad, [first.pid()], LONG);
        assert!(refused.as_ref().is_err_and(Error::is_invalid_input), "{bad:?}: {refused:?}");
    }
    let gone = {
        let sleeper = Sleeper::new();
        sleeper.pid()
    };
    match active.attach([first.pid(), gone], LONG) {
        Err(Error::NoSuchProcess { pid, .. }) => assert_eq!(pid, Some(gone)),
        other => panic!("{other:?}"),
    }
    let late = active.attach([first.pid()], std::time::Duration::ZERO);
    assert!(late.is_err_and(|error| error.is_timeout()));
    assert_eq!(asked(&manager), before, "something was sent");
    active.stop(LONG).unwrap();
}

#[test]
fn a_run_that_is_over_takes_no_process_and_a_later_one_of_its_name_gets_none() {
    let stray = Sleeper::new();
    let before = group_of(stray.pid());
    refused_by_runs_that_are_over(|active| active.attach([stray.pid()], LONG));
    assert_eq!(group_of(stray.pid()), before);
    let manager = manager();
    let (over, later, _sleeper) = superseded(&manager, "later-below");
    for directory in directories(later.control_group()) {
        fs::create_dir(directory.join("sub")).unwrap();
    }
    let refused = over.attach_to("sub", [stray.pid()], LONG);
    assert!(matches!(refused, Err(Error::Superseded { .. })), "{refused:?}");
    assert_eq!(group_of(stray.pid()), before);
    later.stop(LONG).unwrap();
}
