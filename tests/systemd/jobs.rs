//! Jobs that do not end well, and jobs that go on after their caller has left.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use unitwait::{Deadline, Error, JobId, JobResult, Manager, Property, Scope, Stage, UnitJob, Value};

use crate::support::{AT_ONCE, LONG, Sleeper, clear_away, eventually, manager, name, state};

/// A unit file that the manager finds without a reload, for it comes into the first directory of its path.
struct UnitFile {
    unit: String,
    at: PathBuf,
}

impl UnitFile {
    fn new(kind: &str, text: &str) -> UnitFile {
        let show = ["show", "--property=UnitPath", "--value"];
        let shown = Command::new("systemctl").args(show).output().expect("systemctl starts").stdout;
        let directories = String::from_utf8(shown).expect("text");
        let unit = name("file").replace("scope", kind);
        let first = directories.split_whitespace().next().expect("units are looked for somewhere");
        let at = PathBuf::from(first).join(&unit);
        fs::write(&at, format!("[Unit]\nDefaultDependencies=no\n{text}"))
            .expect("the sandbox's own directory");
        UnitFile { unit, at }
    }
}

impl Drop for UnitFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.at);
    }
}

const FAILS: &str = "[Service]\nType=oneshot\nExecStart=/bin/false\n";
const ENDS_WELL: &str = "[Service]\nType=oneshot\nExecStart=/bin/true\n";
const GOES_ON: &str = "[Service]\nType=oneshot\nExecStart=/bin/sleep 600\n";

fn result<T: std::fmt::Debug>(answer: Result<T, Error>, unit: &str) -> JobResult {
    match answer {
        Err(Error::JobFailed { asked, result, .. }) if asked.unit.as_deref() == Some(unit) => result,
        other => panic!("{unit}: {other:?}"),
    }
}

/// The job that a unit has at this moment: `Job` is `(uo)`, its number and object.
fn job_of(manager: &Manager, unit: &str) -> JobId {
    match manager.property(unit, "Job", LONG).unwrap() {
        Value::Struct(fields) => JobId::new(fields[0].as_u64().unwrap().try_into().unwrap()),
        other => panic!("{unit}: {other:?}"),
    }
}

/// Left out, for no start, stop or restart ends so here: `invalid` and `skipped` are ends of a reload and of a
/// check by `Requisite=`, `collected` wants a unit forgotten while its job waits, and `frozen` and `concurrency`
/// are of systemd 254 and 258.
#[test]
fn a_job_that_does_not_end_well_says_how() {
    let manager = manager();
    let fails = UnitFile::new("service", FAILS);
    let needs = format!("Requires={0}\nAfter={0}\n{ENDS_WELL}", fails.unit);
    for (kind, text, expected) in [
        ("service", FAILS, JobResult::Failed),
        ("service", &needs, JobResult::Dependency),
        ("service", &format!("AssertPathExists=/nonexistent\n{ENDS_WELL}"), JobResult::Assert),
        ("service", &format!("JobRunningTimeoutSec=100ms\n{GOES_ON}"), JobResult::Timeout),
        ("swap", "[Swap]\nWhat=/nonexistent\n", JobResult::Unsupported),
    ] {
        // A swap's name is its device's.
        let file = match kind {
            "swap" => {
                let file = UnitFile::new("service", text);
                let at = file.at.with_file_name("nonexistent.swap");
                fs::rename(&file.at, &at).unwrap();
                UnitFile { unit: "nonexistent.swap".into(), at }
            }
            _ => UnitFile::new(kind, text),
        };
        let begun = Instant::now();
        assert_eq!(result(manager.start_unit(&file.unit, LONG), &file.unit), expected);
        assert!(begun.elapsed() < AT_ONCE, "{expected}: {:?}", begun.elapsed());
        clear_away(&manager, &file.unit);
    }
    let unmet = UnitFile::new("service", &format!("ConditionPathExists=/nonexistent\n{ENDS_WELL}"));
    manager.start_unit(&unmet.unit, LONG).expect("a condition that does not hold is no failure");
}

#[test]
fn a_job_that_is_cancelled_or_replaced_is_told_as_canceled_at_once() {
    let manager = manager();
    let file = UnitFile::new("service", GOES_ON);
    let starting = manager.submit(&UnitJob::start(&file.unit), LONG).unwrap();
    let job = job_of(&manager, &file.unit);
    manager.cancel_job(job, LONG).unwrap();
    match starting.wait(Deadline::Default) {
        Err(Error::JobFailed { job: ended, result: JobResult::Canceled, .. }) => assert_eq!(ended, job),
        other => panic!("{other:?}"),
    }
    clear_away(&manager, &file.unit);
    let starting = manager.submit(&UnitJob::start(&file.unit), LONG).unwrap();
    manager.stop_unit(&file.unit, LONG).unwrap();
    assert_eq!(result(starting.wait(Deadline::Default), &file.unit), JobResult::Canceled);
}

#[test]
fn a_scope_that_failed_cannot_start_again_and_its_name_is_free_for_a_new_one_at_once() {
    let manager = manager();
    let (stubborn, next) = (Sleeper::stubborn(), Sleeper::new());
    let unit = name("leftover");
    let scope = Scope::new(&unit).timeout_stop(Duration::from_millis(100)).collect_mode("inactive");
    let old = manager.create_scope(&scope.clone().pid(stubborn.pid()), LONG).unwrap();
    // It must be killed, and so it has failed, and stays until somebody resets it.
    let stopped = old.stop(LONG);
    assert!(
        matches!(stopped, Ok(_) | Err(Error::JobFailed { result: JobResult::Failed, .. })),
        "{stopped:?}"
    );
    assert!(!stubborn.lives());
    assert_eq!(state(&manager, &unit), "failed");
    assert_eq!(result(manager.start_unit(&unit, LONG), &unit), JobResult::Once);
    let begun = Instant::now();
    let new = manager.create_scope(&scope.pid(next.pid()), LONG).expect("the leftover is reset");
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    assert_ne!(new.invocation_id(), old.invocation_id());
    new.stop(LONG).unwrap();
}

#[test]
fn a_scope_whose_job_fails_takes_no_process_and_leaves_its_name_free() {
    let manager = manager();
    let fails = UnitFile::new("service", FAILS);
    let sleeper = Sleeper::new();
    let unit = name("needs");
    let scope = Scope::new(&unit).pid(sleeper.pid());
    let needs = scope.clone().requires([&fails.unit]).after([&fails.unit]);
    assert_eq!(result(manager.create_scope(&needs, LONG), &unit), JobResult::Dependency);
    assert_eq!(state(&manager, &unit), "inactive");
    assert!(sleeper.lives());
    eventually("it is forgotten", || manager.list_units(&[&unit], LONG).unwrap().is_empty());
    manager.create_scope(&scope, LONG).expect("the name is free").stop(LONG).unwrap();
}

#[test]
fn the_units_own_timeout_of_a_stop_is_told_as_the_jobs_and_not_as_the_callers() {
    let manager = manager();
    let stubborn = Sleeper::stubborn();
    let scope = Scope::new(name("slow-stop"))
        .pid(stubborn.pid())
        .timeout_stop(Duration::from_secs(600))
        .property(Property::new("JobRunningTimeoutUSec", 100_000u64));
    let active = manager.create_scope(&scope, LONG).unwrap();
    assert_eq!(result(active.stop(LONG), active.unit()), JobResult::Timeout);
    assert!(stubborn.lives(), "it has not been waited for");
    clear_away(&manager, active.unit());
}

#[test]
fn a_stop_that_misses_its_deadline_says_so_and_lets_the_job_go_on() {
    let manager = manager();
    let stubborn = Sleeper::stubborn();
    let scope = Scope::new(name("stubborn")).pid(stubborn.pid()).timeout_stop(Duration::from_secs(4));
    let active = manager.create_scope(&scope, LONG).unwrap();
    let begun = Instant::now();
    // Long enough for a busy manager to accept it, and too short for the unit.
    let error = active.stop(Duration::from_secs(1)).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(error.stage(), Some(Stage::Job));
    assert!(error.is_timeout() && error.job().is_some(), "{error:?}");
    // A second caller joins the same job, and gets its result.
    let job = active.stop(LONG).expect("systemd kills it in the end");
    assert_eq!(Some(job.id), error.job());
    assert!(!stubborn.lives());
}
