//! The end of a run is told when it comes, with how it came about, and costs nobody else anything.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use unitwait::{ActiveScope, Ending, KillWhom, Manager, Scope, Slice, Stage};

use crate::support::{AT_ONCE, LONG, Sleeper, eventually, hybrid, manager, name, state};

fn create(manager: &Manager, scope: Scope, sleeper: &Sleeper) -> ActiveScope {
    manager.create_scope(&scope.pid(sleeper.pid()), LONG).expect("the scope is created")
}

fn both_ways(test: impl Fn(&Manager)) {
    test(&manager());
    test(&Manager::private().expect("the private socket answers"));
}

/// Waits in another thread while something is done here, which ends the run.
fn ending_of(active: &ActiveScope, manager: &Manager, end: impl FnOnce()) -> Ending {
    thread::scope(|threads| {
        let waiter = threads.spawn(|| active.wait(LONG));
        are_waiting(active, manager, 1);
        end();
        waiter.join().expect("no panic").expect("the end is told").ending
    })
}

/// Returns once so many waits have what they ask for first. All is answered in the order of asking, so each round
/// trip sees one step of theirs answered too: the match rule, the reference or subscription, and the first look.
fn are_waiting(active: &ActiveScope, manager: &Manager, waits: usize) {
    eventually("the waits are under way", || manager.stats().is_ok_and(|stats| stats.requests == waits));
    for _ in 0..3 {
        manager.property(active.unit(), "ActiveState", LONG).expect("it is there");
    }
}

#[test]
fn a_run_whose_processes_end_has_ended_by_itself() {
    both_ways(|manager| {
        let sleeper = Sleeper::new();
        let active = create(manager, Scope::new(name("exit")), &sleeper);
        assert_eq!(ending_of(&active, manager, || drop(sleeper)), Ending::Exited);
        assert_eq!(
            active.wait(AT_ONCE).expect("it is over").ending,
            Ending::Unknown,
            "systemd has forgotten it"
        );
    });
}

#[test]
fn a_run_that_is_stopped_was_stopped_by_request_whoever_asked() {
    both_ways(|manager| {
        let sleeper = Sleeper::new();
        let active = create(manager, Scope::new(name("stop")), &sleeper);
        let ending = ending_of(&active, manager, || {
            let other = Manager::system().expect("the bus answers");
            other.stop_unit(active.unit(), LONG).expect("it stops");
        });
        assert_eq!(ending, Ending::Stopped);
    });
}

#[test]
fn a_slice_that_is_over_was_stopped_for_nothing_else_ends_one() {
    both_ways(|manager| {
        let shelf = name("shelf").replace(".scope", ".slice").replace('-', "_");
        let slice = manager.create_slice(&Slice::new(shelf), LONG).expect("the slice is created");
        manager.stop_unit(slice.unit(), LONG).expect("it stops");
        assert_eq!(slice.wait(AT_ONCE).expect("it is over").ending, Ending::Stopped);
    });
}

#[test]
fn a_run_that_takes_too_long_to_stop_is_told_as_out_of_time_with_systemds_own_word() {
    both_ways(|manager| {
        let sleeper = Sleeper::stubborn();
        let scope = Scope::new(name("slow")).timeout_stop(Duration::from_millis(200));
        let active = create(manager, scope, &sleeper);
        let ending = ending_of(&active, manager, || drop(manager.stop_unit(active.unit(), LONG)));
        assert_eq!(ending, Ending::TimedOut);
        let again = active.wait(AT_ONCE).expect("a failed unit is still known");
        assert_eq!((again.ending, again.result.as_deref()), (Ending::TimedOut, Some("timeout")));
        manager.reset_failed(active.unit(), LONG).expect("it has failed");
    });
}

#[test]
fn a_deadline_says_that_it_is_still_there_and_the_name_is_free_when_it_is_not() {
    both_ways(|manager| {
        let sleeper = Sleeper::new();
        let active = create(manager, Scope::new(name("patience")), &sleeper);
        let error = active.wait(Duration::from_millis(100)).expect_err("it is still there");
        assert_eq!((error.is_timeout(), error.stage()), (true, Some(Stage::Wait)), "{error}");
        active.kill(KillWhom::All, 9, LONG).expect("it is there");
        // A reference that stayed behind would keep the dead unit, and its name, for as long as the connection lasts.
        eventually("the name is free", || {
            manager.create_scope(&Scope::new(active.unit()).own_process().verify(false), LONG).is_ok()
                || state(manager, active.unit()) == "active"
        });
    });
}

#[test]
fn a_hundred_waiters_of_one_run_are_all_told_and_leave_no_reference() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let active = create(&manager, Scope::new(name("crowd")), &sleeper);
    thread::scope(|threads| {
        let waiters: Vec<_> = (0..100).map(|_| threads.spawn(|| active.wait(LONG))).collect();
        are_waiting(&active, &manager, 100);
        drop(sleeper);
        for waiter in waiters {
            let ended = waiter.join().expect("no panic").expect("the end is told");
            assert_eq!(ended.ending, Ending::Exited);
        }
    });
    eventually("systemd has forgotten it", || {
        let known = manager.list_units(&[active.unit()], LONG).expect("the list comes");
        known.is_empty()
    });
}

/// A process that takes all the memory it can get, once it is told to.
fn glutton() -> Child {
    let script = "read go; exec tail /dev/zero";
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("sh starts")
}

#[test]
fn a_run_that_the_kernel_killed_for_want_of_memory_is_told_as_such() {
    let manager = manager();
    let mut child = glutton();
    let scope = Scope::new(name("oom")).pid(child.id()).memory_max(16 << 20);
    let active = manager.create_scope(&scope, LONG).expect("the scope is created");
    if !active.limit_gaps().is_empty() {
        assert!(!hybrid(), "cgroup v1 has its memory controller here: {:?}", active.limit_gaps());
        println!("NO MEMORY CONTROLLER in this layout: nobody can be killed for want of memory");
        let kill = || {
            child.kill().expect("it lives");
            drop(child.wait());
        };
        return assert_eq!(ending_of(&active, &manager, kill), Ending::Exited);
    }
    let ending = ending_of(&active, &manager, || {
        drop(child.stdin.take().map(|mut to| to.write_all(b"go\n")));
        drop(child.wait());
    });
    assert_eq!(ending, Ending::OomKilled);
}

#[test]
fn of_a_command_that_was_started_here_the_status_is_told_too() {
    let manager = manager();
    for (script, ending, code) in
        [("exit 3", Ending::Exited, Some(3)), ("sleep 0.2 & kill -KILL $$", Ending::Killed(9), None)]
    {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        let child = manager.spawn_in_scope(command, &Scope::new(name("status")), LONG).expect("it starts");
        let ended = child.wait_all(LONG).expect("the end is told");
        assert_eq!((ended.ending, ended.status.and_then(|status| status.code())), (ending, code), "{script}");
    }
}
