//! Scopes and slices as they should be: where they say they are, and gone when the stop returns.

use std::fs;
use std::time::{Duration, Instant};

use unitwait::{Deadline, Error, KillWhom, Manager, OnExists, Outcome, Scope, Slice, Value};

use crate::support::{LONG, Sleeper, clear_away, group_of, manager, name};

#[test]
fn a_thousand_scopes_hold_their_process_when_the_call_returns() {
    let manager = manager();
    let mut misplaced = 0;
    for _ in 0..1000 {
        let sleeper = Sleeper::new();
        let scope = Scope::new(name("thousand")).pid(sleeper.pid()).slice("thousand.slice").verify(false);
        let active = manager.create_scope(&scope, LONG).expect("created");
        if group_of(sleeper.pid()) != format!("/thousand.slice/{}", active.unit()) {
            misplaced += 1;
        }
        active.kill(KillWhom::All, 9, LONG).expect("killed");
    }
    assert_eq!(misplaced, 0);
}

#[test]
fn a_scope_says_where_it_is_and_which_run_it_is() {
    for manager in [
        manager(),
        Manager::private().unwrap(),
        Manager::at("unix:path=/run/dbus/system_bus_socket").unwrap(),
    ] {
        let sleeper = Sleeper::new();
        let unit = name("where");
        let active = manager.create_scope(&Scope::new(&unit).pid(sleeper.pid()), LONG).unwrap();
        assert_eq!(active.control_group(), group_of(sleeper.pid()));
        let path = active.path().expect("the process is there");
        assert!(path.join("cgroup.procs").exists(), "{}", path.display());
        assert_eq!(active.outcome(), Outcome::Created);
        assert!(active.job().is_some() && active.stages().done + active.stages().accepted > Duration::ZERO);
        let told = manager.property(&unit, "InvocationID", LONG).unwrap().to_string();
        assert_eq!(active.invocation_id().unwrap().to_string(), told);
        assert_eq!(active.property("ActiveState", LONG).unwrap().as_str(), Some("active"));
        assert_eq!(active.properties(LONG).unwrap()["ControlGroup"].as_str(), Some(active.control_group()));
        active.stop(LONG).unwrap();
    }
}

#[test]
fn stop_waits_until_the_processes_are_gone() {
    let manager = manager();
    for _ in 0..20 {
        let sleeper = Sleeper::new();
        let active = manager.create_scope(&Scope::new(name("stop")).pid(sleeper.pid()), LONG).unwrap();
        active.stop(LONG).unwrap();
        assert!(!sleeper.lives());
        let again = active.stop(LONG);
        assert!(matches!(again, Err(Error::NoSuchUnit { .. })), "{again:?}");
    }
}

#[test]
fn a_process_joins_a_delegated_scope() {
    let manager = manager();
    let (first, second) = (Sleeper::new(), Sleeper::new());
    let unit = name("join");
    let active = manager.create_scope(&Scope::new(&unit).pid(first.pid()).delegate(true), LONG).unwrap();
    let join = Scope::new(&unit).pid(second.pid()).on_exists(OnExists::Join);
    let joined = manager.create_scope(&join, LONG).unwrap();
    assert_eq!(joined.outcome(), Outcome::Joined);
    assert_eq!(group_of(second.pid()), active.control_group());
    active.stop(LONG).unwrap();
}

#[test]
fn a_slice_is_created_and_accepted() {
    let manager = manager();
    let slice = Slice::new(format!("accept{}.slice", std::process::id())).tasks_max(50);
    let created = manager.create_slice(&slice, LONG).unwrap();
    assert_eq!(created.outcome(), Outcome::Created);
    assert!(created.path().expect("a slice's name is its place").exists());
    assert!(matches!(manager.create_slice(&slice, LONG), Err(Error::UnitExists { .. })));
    let accepted = manager.create_slice(&slice.on_exists(OnExists::Accept), LONG).unwrap();
    assert_eq!((accepted.outcome(), accepted.invocation_id()), (Outcome::Accepted, created.invocation_id()));
    created.stop(LONG).unwrap();
}

#[test]
fn the_options_of_a_manager_are_in_force() {
    let begun = Instant::now();
    let wait = Duration::from_millis(200);
    let manager = Manager::builder().default_timeout(wait).thread_name("its-own-name").open(LONG).unwrap();
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    let names: Vec<String> =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok()).collect();
    assert!(names.iter().any(|name| name.trim() == "its-own-name"), "{names:?}");
    let stubborn = Sleeper::stubborn();
    let active = manager.create_scope(&Scope::new(name("default")).pid(stubborn.pid()), LONG).unwrap();
    let error = active.stop(Deadline::Default).unwrap_err();
    assert!(error.is_timeout() && begun.elapsed() < LONG, "{error}");
    clear_away(&manager, active.unit());
}

#[test]
fn a_scope_is_delegated_with_the_controllers_that_are_named() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let scope = Scope::new(name("controllers")).pid(sleeper.pid()).delegate_controllers(["cpu", "pids"]);
    let active = manager.create_scope(&scope, LONG).unwrap();
    let controllers = active.property("DelegateControllers", LONG).unwrap();
    let mut named: Vec<&str> = controllers.items().iter().filter_map(Value::as_str).collect();
    named.sort_unstable();
    assert_eq!(named, ["cpu", "pids"]);
    assert_eq!(active.property("Delegate", LONG).unwrap().as_bool(), Some(true));
    active.stop(LONG).unwrap();
}
