//! Who is in a unit, and the wait until nobody is, by the kernel's word alone.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use unitwait::{Error, Operation, Scope, Slice, Stage};

use super::runs::{assert_one_hierarchy, dead, legacy, living, put, superseded};
use crate::support::{AT_ONCE, LONG, Sleeper, eventually, hybrid, manager, name, state};

/// Returns long before the deadline.
fn at_once<T>(call: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let answer = call();
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    answer
}

#[test]
fn the_wait_ends_with_the_last_process_and_not_before() {
    let manager = manager();
    let (active, first) = living(&manager, "empty");
    let second = Sleeper::new();
    active.attach([second.pid()], LONG).unwrap();
    drop(first);
    let early = active.wait_empty(Duration::from_millis(200)).unwrap_err();
    assert_eq!((early.is_timeout(), early.stage()), (true, Some(Stage::Verify)));
    assert_eq!(early.asked().map(|asked| asked.operation), Some(Operation::WaitEmpty));
    assert_eq!(active.processes().unwrap(), [second.pid()]);
    at_once(|| {
        thread::scope(|threads| {
            let waiting: Vec<_> = (0..8).map(|_| threads.spawn(|| active.wait_empty(LONG))).collect();
            let ended = threads.spawn(|| {
                let pid = second.pid();
                drop(second);
                pid
            });
            ended.join().unwrap();
            waiting.into_iter().for_each(|wait| wait.join().unwrap().unwrap());
        });
    });
    assert_eq!(active.processes().unwrap(), [0; 0]);
    at_once(|| active.wait_empty(LONG)).unwrap();
}

#[test]
fn a_process_that_ended_uncollected_counts_no_more_and_an_orphan_does() {
    let manager = manager();
    let mut command = Command::new("sh");
    let mut child =
        command.args(["-c", "sleep 1 & exec sleep 600"]).stdin(Stdio::null()).spawn().expect("sh starts");
    let active = manager.create_scope(&Scope::new(name("orphan")).pid(child.id()), LONG).unwrap();
    child.kill().unwrap();
    // Not waited for: it is a zombie from here on.
    active.wait_empty(LONG).unwrap();
    assert_eq!(active.processes().unwrap(), [0; 0]);
    child.wait().unwrap();
}

/// The kernel puts off what follows its last word within 10 ms, and says nothing of a group removed before that.
#[test]
fn a_group_that_ends_too_soon_for_the_kernel_to_tell_is_not_waited_for() {
    let manager = manager();
    for round in 0..40 {
        let sleeper = Sleeper::new();
        let active = manager.create_scope(&Scope::new(name("brief")).pid(sleeper.pid()), LONG).unwrap();
        at_once(|| {
            thread::scope(|threads| {
                let waiting = threads.spawn(|| active.wait_empty(LONG));
                thread::sleep(Duration::from_micros(200 * (round % 20)));
                drop(sleeper);
                // Finds nothing to stop, and removes the group at once.
                let _ = active.stop(LONG);
                waiting.join().unwrap().unwrap();
            });
        });
    }
}

#[test]
fn a_slice_is_waited_for_with_all_its_units_by_hundreds_at_once() {
    let manager = manager();
    let slice = format!("emptied{}.slice", std::process::id());
    let active = manager.create_slice(&Slice::new(&slice), LONG).unwrap();
    at_once(|| active.wait_empty(LONG)).unwrap();
    let sleepers = [Sleeper::new(), Sleeper::new()];
    for sleeper in &sleepers {
        manager.create_scope(&Scope::new(name("inmate")).pid(sleeper.pid()).slice(&slice), LONG).unwrap();
    }
    let mut pids = sleepers.each_ref().map(Sleeper::pid);
    pids.sort_unstable();
    assert_eq!(active.processes().unwrap(), pids);
    thread::scope(|threads| {
        // More than a user has inotify instances.
        let waiting: Vec<_> = (0..200).map(|_| threads.spawn(|| active.wait_empty(LONG))).collect();
        drop(sleepers);
        waiting.into_iter().for_each(|wait| wait.join().unwrap().unwrap());
    });
    active.stop(LONG).unwrap();
}

#[test]
fn a_run_that_is_over_has_no_process_and_a_later_run_of_its_name_has_its_own() {
    let manager = manager();
    let over = dead(&manager, "over");
    assert_eq!(over.processes().unwrap(), [0; 0]);
    at_once(|| over.wait_empty(LONG)).unwrap();
    let (before, later, sleeper) = superseded(&manager, "after");
    assert_eq!(before.processes().unwrap(), [0; 0]);
    at_once(|| before.wait_empty(LONG)).unwrap();
    assert_eq!(later.processes().unwrap(), [sleeper.pid()]);
    let busy = later.wait_empty(Duration::from_millis(100));
    assert!(matches!(busy, Err(Error::Timeout { .. })), "{busy:?}");
    later.stop(LONG).unwrap();
}

#[test]
fn what_only_v1_has_in_the_unit_is_waited_for_though_the_kernel_does_not_tell() {
    if !hybrid() {
        return assert_one_hierarchy();
    }
    let manager = manager();
    let (active, first) = living(&manager, "untold");
    let stray = Sleeper::new();
    put(stray.pid(), legacy(active.control_group()));
    let stray_pid = stray.pid();
    thread::scope(|threads| {
        let busy = threads.spawn(|| active.wait_empty(AT_ONCE));
        let waiting = threads.spawn(|| active.wait_empty(LONG));
        // They have to find the run's group before systemd, which does not see the stray, takes the run for over.
        eventually("two waits hold the group in each hierarchy", || held(active.control_group()) >= 4);
        drop(first);
        eventually("systemd takes it for over", || state(&manager, active.unit()) == "inactive");
        assert!(!busy.is_finished() && !waiting.is_finished(), "a stray is still there");
        let busy = busy.join().unwrap();
        assert!(matches!(busy, Err(Error::Timeout { .. })), "{busy:?}");
        drop(stray);
        at_once(|| waiting.join().unwrap().unwrap());
    });
    eventually("it is collected", || !std::path::Path::new(&format!("/proc/{stray_pid}")).exists());
}

/// How many directories of the group this process has open.
fn held(group: &str) -> usize {
    let files = fs::read_dir("/proc/self/fd").unwrap().flatten();
    files
        .filter_map(|file| fs::read_link(file.path()).ok())
        .filter(|path| path.ends_with(&group[1..]))
        .count()
}
