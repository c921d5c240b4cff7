//! Each error that a real systemd can be brought to give: at once, and with its own variant.

use std::fs;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use unitwait::{
    Deadline, Error, JobId, KillWhom, Manager, OnExists, Operation, Outcome, Property, Scope, Stage, Value,
};

use crate::support::{AT_ONCE, LONG, Raise, Sleeper, clear_away, group_of, in_sandbox, manager, name, state};

/// The error of a request that systemd refuses: told at once, though the deadline is far.
fn refused<T: std::fmt::Debug>(ask: impl FnOnce() -> Result<T, Error>) -> Error {
    let begun = Instant::now();
    let error = ask().unwrap_err();
    assert!(begun.elapsed() < AT_ONCE, "{:?} for {error:?}", begun.elapsed());
    error
}

#[test]
fn each_refusal_has_its_own_variant_at_once() {
    let manager = manager();
    let sleeper = Sleeper::new();
    for error in [
        refused(|| manager.stop_unit("none.scope", LONG)),
        refused(|| manager.start_unit("none.service", LONG)),
        refused(|| manager.restart_unit("none.service", LONG)),
        refused(|| manager.kill_unit("none.scope", KillWhom::All, 15, LONG)),
        refused(|| manager.reset_failed("none.scope", LONG)),
    ] {
        assert!(matches!(error, Error::NoSuchUnit { .. }), "{error:?}");
        assert!(error.unit().is_some_and(|unit| unit.starts_with("none.")), "{error:?}");
    }
    let job = JobId::new(u32::MAX);
    let error = refused(|| manager.cancel_job(job, LONG));
    assert!(matches!(error, Error::NoSuchJob { job: named } if named == job), "{error:?}");
    let unit = name("unknown");
    let unknown = Scope::new(&unit).pid(sleeper.pid()).property(Property::new("NotInvented", 1u64));
    match refused(|| manager.create_scope(&unknown, LONG)) {
        Error::UnknownProperty { property, .. } => assert_eq!(property, "NotInvented"),
        other => panic!("{other:?}"),
    }
    assert!(manager.list_units(&[&unit], LONG).unwrap().is_empty());
    match refused(|| manager.property("dbus.service", "NotInvented", LONG)) {
        Error::UnknownProperty { property, .. } => assert_eq!(property, "NotInvented"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_handle_whose_run_is_over_says_so_and_leaves_no_unit() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let active = manager.create_scope(&Scope::new(name("over")).pid(sleeper.pid()), LONG).unwrap();
    active.stop(LONG).unwrap();
    for error in [
        refused(|| active.stop(LONG)),
        refused(|| active.kill(KillWhom::All, 15, LONG)),
        refused(|| active.property("ActiveState", LONG)),
    ] {
        assert!(matches!(error, Error::NoSuchUnit { .. }), "{error:?}");
    }
}

/// Another program that moves a process as fast as it can wins sooner or later, between the end of the job and the
/// look at the kernel; a create that came first is a success, and is made again.
#[test]
fn a_process_that_is_elsewhere_when_the_job_is_done_is_told_with_both_groups() {
    let manager = manager();
    let elsewhere = group_of(std::process::id());
    let procs = manager.layout().path(&elsewhere).join("cgroup.procs");
    let moved = AtomicU32::new(0);
    let over = AtomicBool::new(false);
    let told = thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // A process that has just ended cannot be moved; the next one can.
                let _ = fs::write(&procs, moved.load(Ordering::Relaxed).to_string());
            }
        });
        let _end = Raise(&over);
        (0..1000).find_map(|_| {
            let sleeper = Sleeper::new();
            moved.store(sleeper.pid(), Ordering::Relaxed);
            let unit = name("moved");
            let answer =
                manager.create_scope(&Scope::new(&unit).pid(sleeper.pid()).slice("moved.slice"), LONG);
            clear_away(&manager, &unit);
            match answer {
                Ok(_) => None,
                Err(Error::Misplaced { processes, .. }) => Some((sleeper.pid(), unit, processes)),
                Err(other) => panic!("{other:?}"),
            }
        })
    });
    let (pid, unit, processes) = told.expect("a thousand times the process was in place");
    let [process] = &processes[..] else { panic!("{processes:?}") };
    assert_eq!((process.pid, &process.found), (pid, &elsewhere));
    assert_eq!(process.expected, format!("/moved.slice/{unit}"));
}

#[test]
fn a_name_that_is_taken_is_answered_at_once_and_as_the_policy_says() {
    let manager = manager();
    let (first, second) = (Sleeper::new(), Sleeper::new());
    let unit = name("taken");
    let old = manager.create_scope(&Scope::new(&unit).pid(first.pid()), LONG).unwrap();
    let again = Scope::new(&unit).pid(second.pid());
    match manager.create_scope(&again, LONG) {
        Err(Error::UnitExists { state, .. }) => assert_eq!(state.as_deref(), Some("active")),
        other => panic!("{other:?}"),
    }
    let join = again.clone().on_exists(OnExists::Join);
    assert!(matches!(manager.create_scope(&join, LONG), Err(Error::NotDelegated { .. })));
    let inside = Scope::new(&unit).pid(first.pid());
    let joined = manager.create_scope(&inside.clone().on_exists(OnExists::Join), LONG).unwrap();
    assert_eq!((joined.outcome(), joined.invocation_id()), (Outcome::Joined, old.invocation_id()));
    assert!(matches!(
        manager.create_scope(&inside.on_exists(OnExists::Replace), LONG),
        Err(Error::WouldKill { pid, .. }) if pid == first.pid()
    ));
    let new = manager.create_scope(&again.on_exists(OnExists::Replace), LONG).unwrap();
    assert_eq!(new.outcome(), Outcome::Replaced);
    assert_ne!(new.invocation_id(), old.invocation_id());
    // The old handle means the old run, and must not touch the new one.
    assert!(matches!(old.stop(LONG), Err(Error::Superseded { .. })));
    assert!(second.lives());
    new.stop(LONG).unwrap();
}

#[test]
fn a_deadline_that_has_passed_sends_nothing() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let unit = name("past");
    let scope = Scope::new(&unit).pid(sleeper.pid());
    let before = manager.stats().expect("the driver lives").timed_out;
    for past in [Deadline::from(Duration::ZERO), Deadline::from(Instant::now())] {
        let error = manager.create_scope(&scope, past).unwrap_err();
        assert!(error.is_timeout() && error.stage() <= Some(Stage::Queued), "{error:?}");
    }
    assert_eq!(state(&manager, &unit), "inactive");
    assert_eq!(manager.stats().expect("the driver lives").timed_out, before + 2, "and is counted");
}

#[test]
fn where_nobody_listens_it_is_told_at_once() {
    in_sandbox();
    // Nothing there, and a socket of another kind.
    for address in ["unix:path=/nonexistent", "unix:path=/run/systemd/journal/socket"] {
        match refused(|| Manager::at(address)) {
            Error::Connect { address: tried, .. } => assert_eq!(tried, address),
            other => panic!("{other:?}"),
        }
    }
    assert!(refused(|| Manager::at("nonsense")).is_invalid_input());
}

#[test]
fn a_listener_that_says_nothing_is_a_timeout_that_says_how_far_it_came() {
    in_sandbox();
    let at = std::env::temp_dir().join(format!("unitwait-silent-{}", std::process::id()));
    let listener = UnixListener::bind(&at).unwrap();
    let error = refused(|| {
        let address = format!("unix:path={}", at.display());
        Manager::builder().at(address).open(Duration::from_millis(300))
    });
    fs::remove_file(&at).unwrap();
    drop(listener);
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(
        (error.stage(), error.asked().map(|asked| asked.operation)),
        (Some(Stage::Connect), Some(Operation::Open))
    );
}

#[test]
fn a_refusal_for_another_reason_keeps_systemds_own_words() {
    let manager = manager();
    let sleeper = Sleeper::new();
    // A unit that the new one requires is not the one that was asked for.
    let scope = Scope::new(name("requires")).pid(sleeper.pid()).requires(["nope.service"]);
    let error = refused(|| manager.create_scope(&scope, LONG));
    assert!(matches!(&error, Error::Dbus { message, .. } if message.contains("nope.service")), "{error:?}");

    let delegated = Scope::new(name("delegated")).pid(sleeper.pid()).delegate(true);
    let active = manager.create_scope(&delegated, LONG).unwrap();
    let join = Scope::new(active.unit()).pid(1).on_exists(OnExists::Join);
    let error = refused(|| manager.create_scope(&join, LONG));
    assert!(matches!(&error, Error::Dbus { message, .. } if message.contains("Process 1")), "{error:?}");
    active.stop(LONG).unwrap();
}

#[test]
fn a_condition_that_is_not_met_is_told_as_such_and_not_as_interference() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let unit = name("condition");
    let condition = |path: &str| {
        let parts = vec!["ConditionPathExists".into(), false.into(), false.into(), path.into()];
        Property::new("Conditions", Value::Array("(sbbs)".into(), vec![Value::Struct(parts)]))
    };
    let scope = |path| Scope::new(&unit).pid(sleeper.pid()).property(condition(path));
    let error = refused(|| manager.create_scope(&scope("/nonexistent"), LONG));
    assert!(matches!(error, Error::ConditionUnmet { .. }), "{error:?}");
    manager.create_scope(&scope("/"), LONG).expect("this one is met").stop(LONG).unwrap();
}

#[test]
fn every_property_can_be_read_by_itself() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let active = manager.create_scope(&Scope::new(name("read")).pid(sleeper.pid()), LONG).unwrap();
    let all = active.properties(LONG).unwrap();
    assert!(all.len() > 100, "{}", all.len());
    for property in all.keys() {
        active.property(property, LONG).unwrap_or_else(|error| panic!("{error}"));
        manager.property(active.unit(), property, LONG).unwrap_or_else(|error| panic!("{error}"));
    }
    active.stop(LONG).unwrap();
}
