//! The user manager as an ordinary user has it, and the system manager as it refuses that user.
//!
//! Run by `scripts/test` in the sandbox with `--user`. Each test runs a second time as that user, in a process of its
//! own: what root sees before and after is not the user's word.

mod support;

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

use support::elsewhere::{Elsewhere, given, test_name};
use support::{AT_ONCE, LONG, Sleeper, group_of, hybrid, manager, name, state};
use unitwait::{Error, KillWhom, Manager, Operation, Outcome, Scope};

fn uid() -> u32 {
    std::env::var("UNITWAIT_SANDBOX_UID").expect("it is the sandbox's with --user").parse().expect("a number")
}

#[test]
fn an_ordinary_users_manager_places_and_stops_as_the_systems_does() {
    if given("").is_none() {
        let test = test_name(an_ordinary_users_manager_places_and_stops_as_the_systems_does);
        return Elsewhere::as_user().run(&test);
    }
    let manager = Manager::user().expect("the user's own manager answers");
    for slice in [None, Some("users-own.slice")] {
        let sleeper = Sleeper::new();
        let scope = Scope::new(name("own")).pid(sleeper.pid());
        let scope = slice.into_iter().fold(scope, Scope::slice);
        let active = manager.create_scope(&scope, LONG).unwrap();
        assert_eq!(active.outcome(), Outcome::Created);
        let group = group_of(sleeper.pid());
        assert_eq!(active.control_group(), group);
        let below = format!("/user.slice/user-{0}.slice/user@{0}.service/", uid());
        assert!(group.starts_with(&below) && group.ends_with(active.unit()), "{group}");
        let told = manager.property(active.unit(), "InvocationID", LONG).unwrap().to_string();
        assert_eq!(active.invocation_id().unwrap().to_string(), told);
        active.stop(LONG).unwrap();
        assert!(!sleeper.lives());
        assert_eq!(state(&manager, active.unit()), "inactive");
    }
}

#[test]
fn an_ordinary_user_attaches_freezes_and_kills_what_is_its_own() {
    if given("").is_none() {
        let test = test_name(an_ordinary_user_attaches_freezes_and_kills_what_is_its_own);
        return Elsewhere::as_user().run(&test);
    }
    let manager = Manager::user().expect("the user's own manager answers");
    let (first, second, third) = (Sleeper::new(), Sleeper::new(), Sleeper::stubborn());
    let active =
        manager.create_scope(&Scope::new(name("mine")).pid(first.pid()).delegate(true), LONG).unwrap();
    active.attach([second.pid(), third.pid()], LONG).unwrap();
    let mut pids = [first.pid(), second.pid(), third.pid()];
    pids.sort_unstable();
    assert_eq!(active.processes().unwrap(), pids);
    match (active.freeze(LONG), hybrid()) {
        (Ok(()), false) => active.thaw(LONG).unwrap(),
        (Err(Error::Unsupported { .. }), true) => {}
        other => panic!("{other:?}"),
    }
    active.kill_all(LONG).unwrap();
    active.wait_empty(LONG).unwrap();
    assert!([first, second, third].iter().all(|sleeper| !sleeper.lives()));
}

#[test]
fn an_ordinary_users_command_runs_in_its_own_managers_scope_and_never_where_it_is_denied() {
    if given("").is_none() {
        let test =
            test_name(an_ordinary_users_command_runs_in_its_own_managers_scope_and_never_where_it_is_denied);
        return Elsewhere::as_user().run(&test);
    }
    let unit = name("users-command");
    let command = || {
        let mut command = Command::new("cat");
        command.arg("/proc/self/cgroup").stdout(Stdio::piped());
        command
    };
    let manager = Manager::user().expect("the user's own manager answers");
    let mut child = manager.spawn_in_scope(command(), &Scope::new(&unit), LONG).unwrap();
    let mut groups = String::new();
    child.stdout.take().unwrap().read_to_string(&mut groups).unwrap();
    assert!(groups.contains(&format!("/user@{}.service/", uid())) && groups.contains(&unit), "{groups}");
    assert!(child.wait(LONG).unwrap().success());
    let system = Manager::system().expect("to ask is allowed");
    denied(Operation::CreateScope, &unit, || system.spawn_in_scope(command(), &Scope::new(&unit), LONG));
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let children = threads.map(|at| std::fs::read_to_string(at.path().join("children")).unwrap_or_default());
    assert_eq!(children.collect::<String>(), "");
}

/// What the system manager answers to a user without rights: that, at once, and nothing else.
fn denied<T: std::fmt::Debug>(operation: Operation, unit: &str, ask: impl FnOnce() -> Result<T, Error>) {
    let begun = Instant::now();
    let error = ask().unwrap_err();
    assert!(begun.elapsed() < AT_ONCE, "{:?} for {error:?}", begun.elapsed());
    let Error::AccessDenied { asked, name, .. } = &error else { panic!("{error:?}") };
    assert_eq!((asked.operation, asked.unit.as_deref()), (operation, Some(unit)));
    assert_eq!(error.dbus_name(), Some(name.as_str()));
    let refusals = ["AccessDenied", "InteractiveAuthorizationRequired"];
    assert!(refusals.iter().any(|known| *name == format!("org.freedesktop.DBus.Error.{known}")), "{name}");
}

#[test]
fn the_system_manager_denies_an_ordinary_user_every_change_and_nothing_changes() {
    let Some(running) = given("RUNNING") else {
        let manager = manager();
        // The user's own process, so that it is only the manager who stands in the way.
        let sleeper = Sleeper::of_user(uid());
        let active = manager.create_scope(&Scope::new(name("roots")).pid(sleeper.pid()), LONG).unwrap();
        Elsewhere::as_user()
            .give("RUNNING", active.unit())
            .run(&test_name(the_system_manager_denies_an_ordinary_user_every_change_and_nothing_changes));
        assert!(sleeper.lives());
        assert_eq!(group_of(sleeper.pid()), active.control_group());
        assert_eq!(active.property("ActiveState", LONG).unwrap().as_str(), Some("active"));
        assert!(manager.list_units(&["denied-*"], LONG).unwrap().is_empty());
        return active.stop(LONG).map(drop).unwrap();
    };
    let manager = Manager::system().expect("to ask is allowed");
    assert_eq!(state(&manager, &running), "active");
    let sleeper = Sleeper::new();
    let unit = name("denied");
    let scope = Scope::new(&unit).pid(sleeper.pid());
    denied(Operation::CreateScope, &unit, || manager.create_scope(&scope, LONG));
    denied(Operation::Stop, &running, || manager.stop_unit(&running, LONG));
    denied(Operation::Restart, &running, || manager.restart_unit(&running, LONG));
    denied(Operation::Kill, &running, || manager.kill_unit(&running, KillWhom::All, 9, LONG));
    denied(Operation::ResetFailed, &running, || manager.reset_failed(&running, LONG));
    denied(Operation::Freeze, &running, || manager.freeze_unit(&running, LONG));
    denied(Operation::Thaw, &running, || manager.thaw_unit(&running, LONG));
    assert!(sleeper.lives());
    // The manager's own socket is root's: there it ends before anything can be asked.
    let error = Manager::private().unwrap_err();
    assert!(matches!(error, Error::AccessDenied { .. }), "{error:?}");
}
