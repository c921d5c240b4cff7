//! What a child is while it is held, and the one who waits for it: deadlines, signals, and a parent that dies.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, pthread_sigmask, signal};
use nix::unistd::{Pid, pipe2};
use std::os::fd::AsFd;
use unitwait::{Error, JobResult, Manager, Scope, Slice, Stage};

use crate::spawn::{Mark, children, gone, output, sh};
use crate::support::elsewhere::{Elsewhere, alone, given, test_name};
use crate::support::{AT_ONCE, Hold, LONG, by_deadline, eventually, hybrid, manager, name};

const SHORT: Duration = Duration::from_millis(300);

/// Whether a process has ended, collected or not.
fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    matches!(stat.rsplit(") ").next().and_then(|rest| rest.chars().next()), None | Some('Z' | 'X'))
}

#[test]
fn a_scope_that_is_not_up_by_the_deadline_takes_its_child_with_it() {
    alone(|| {
        let manager = manager();
        let hold = Hold::new();
        let (mark, unit) = (Mark::new(), name("late"));
        let scope = Scope::new(&unit).after([&hold.0]);
        let answer = by_deadline(SHORT, |by| manager.spawn_in_scope(mark.command(), &scope, by));
        assert_eq!(answer.unwrap_err().stage(), Some(Stage::Job));
        assert_eq!(children(), []);
        drop(hold);
        eventually("the late creation is settled", || manager.stats().unwrap().settling == 0);
        eventually("no unit is left", || manager.list_units(&[&unit], LONG).unwrap().is_empty());
        assert!(!mark.is_set());
    });
}

#[test]
#[allow(unsafe_code, reason = "a user's own closure between fork and exec")]
fn a_child_that_never_comes_as_far_as_to_be_placed_is_ended_at_the_deadline() {
    alone(|| {
        let manager = manager();
        let (mark, unit) = (Mark::new(), name("absent"));
        let mut command = mark.command();
        // SAFETY: sleeping is what it does, and all it does.
        unsafe {
            command.pre_exec(|| {
                loop {
                    libc::pause();
                }
            })
        };
        let answer = by_deadline(SHORT, |by| manager.spawn_in_scope(command, &Scope::new(&unit), by));
        assert_eq!(answer.unwrap_err().stage(), Some(Stage::Fork));
        assert_eq!(children(), []);
        gone(&manager, &unit);
        assert!(!mark.is_set());
    });
}

#[test]
#[allow(unsafe_code, reason = "what a child does before exec, and a handler, have no safe form")]
fn a_child_that_cannot_go_on_is_ended_at_the_deadline() {
    alone(|| {
        let manager = manager();
        // Stopped while it is held, or in its own closure before.
        for stop_before in [false, true] {
            let (mark, unit) = (Mark::new(), name("stopped"));
            let mut command = mark.command();
            let hold = (!stop_before).then(Hold::new);
            // SAFETY: to raise a signal is all it does.
            unsafe {
                command.pre_exec(move || {
                    if stop_before {
                        libc::raise(libc::SIGSTOP);
                    }
                    Ok(())
                })
            };
            let scope = hold.iter().fold(Scope::new(&unit), |scope, hold| scope.after([&hold.0]));
            let answer = thread::scope(|threads| {
                let spawn = threads
                    .spawn(|| by_deadline(2 * SHORT, |by| manager.spawn_in_scope(command, &scope, by)));
                if !stop_before {
                    eventually("the child is held", || {
                        !manager.list_units(&[&unit], LONG).unwrap().is_empty()
                    });
                    for child in children() {
                        kill(Pid::from_raw(child.try_into().unwrap()), Signal::SIGSTOP).unwrap();
                    }
                }
                spawn.join().unwrap()
            });
            assert!(answer.is_err_and(|error| error.is_timeout()));
            assert_eq!(children(), []);
            assert!(!mark.is_set());
        }
        // Every deadline, those that come before the fork included.
        for micros in [1, 50, 500, 2_000] {
            let mut command = Command::new("true");
            // SAFETY: sleeping is what it does, and all it does.
            unsafe {
                command.pre_exec(|| {
                    loop {
                        libc::pause();
                    }
                })
            };
            let by = Duration::from_micros(micros);
            let answer =
                by_deadline(by, |by| manager.spawn_in_scope(command, &Scope::new(name("never")), by));
            assert!(answer.is_err_and(|error| error.is_timeout()));
            assert_eq!(children(), []);
        }
    });
}

#[test]
fn a_child_for_a_frozen_slice_is_ended_at_the_deadline() {
    if hybrid() {
        // systemd freezes in cgroup v2 alone, and says so: `freeze.rs` sees that.
        return;
    }
    alone(|| {
        let manager = manager();
        let slice = name("cold").replace(".scope", ".slice").replace('-', "_");
        let active = manager.create_slice(&Slice::new(&slice), LONG).unwrap();
        active.freeze(LONG).unwrap();
        let mark = Mark::new();
        let scope = Scope::new(name("frozen")).slice(&slice);
        let answer = by_deadline(2 * SHORT, |by| manager.spawn_in_scope(mark.command(), &scope, by));
        // Newer systemds refuse the job at once.
        let frozen = |error: &Error| matches!(error, Error::JobFailed { result: JobResult::Frozen, .. });
        assert!(answer.is_err_and(|error| error.is_timeout() || frozen(&error)));
        assert_eq!(children(), []);
        assert!(!mark.is_set());
        active.thaw(LONG).unwrap();
        active.stop(LONG).unwrap();
    });
}

#[test]
#[allow(unsafe_code, reason = "what a child does before exec, and a handler, have no safe form")]
fn where_sigchld_is_ignored_nothing_is_forked() {
    alone(|| {
        // SAFETY: no handler of this program's runs.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
        let (manager, unit) = (manager(), name("ignored"));
        let answer = manager.spawn_in_scope(Command::new("/nonexistent"), &Scope::new(&unit), LONG);
        assert!(matches!(answer, Err(Error::System { .. })), "{answer:?}");
        gone(&manager, &unit);
    });
}

#[test]
fn a_child_that_is_killed_while_it_is_held_is_collected_and_told_of() {
    alone(|| {
        let manager = manager();
        let hold = Hold::new();
        let (mark, unit) = (Mark::new(), name("killed"));
        let scope = Scope::new(&unit).after([&hold.0]);
        let answer = thread::scope(|threads| {
            let spawn = threads.spawn(|| manager.spawn_in_scope(mark.command(), &scope, LONG));
            eventually("the child is held", || !manager.list_units(&[&unit], LONG).unwrap().is_empty());
            let [held] = children()[..] else { panic!("one child") };
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(held.try_into().unwrap()), Signal::SIGKILL)
                .unwrap();
            drop(hold);
            spawn.join().unwrap()
        });
        let by_systemd = matches!(&answer, Err(Error::JobFailed { .. }));
        assert!(by_systemd || matches!(&answer, Err(Error::NoSuchProcess { .. })), "{answer:?}");
        assert_eq!(children(), []);
        let _ = manager.reset_failed(&unit, LONG);
        eventually("no unit is left", || manager.list_units(&[&unit], LONG).unwrap().is_empty());
        assert!(!mark.is_set());
    });
}

/// The parent that is to be killed: opens, spawns, says when its child is held, and waits.
fn be_the_parent(hold: &str) {
    let mark = std::env::var("MARK").expect("given");
    let mut command = Command::new("touch");
    command.arg(mark);
    let manager = manager();
    let unit = std::env::var("UNIT").expect("given");
    let scope = Scope::new(&unit).after([hold]);
    thread::scope(|threads| {
        threads.spawn(|| manager.spawn_in_scope(command, &scope, LONG));
        eventually("the child is held", || !manager.list_units(&[&unit], LONG).unwrap().is_empty());
        println!("\nheld {}", children()[0]);
        thread::sleep(LONG);
    });
}

#[test]
fn a_held_child_ends_with_its_parent_and_never_runs() {
    let test = test_name(a_held_child_ends_with_its_parent_and_never_runs);
    if let Some(hold) = given("HOLD") {
        return be_the_parent(&hold);
    }
    let manager = manager();
    let (hold, mark, unit) = (Hold::new(), Mark::new(), name("orphan"));
    let parent = Elsewhere::same().give("HOLD", &hold.0).give("MARK", mark.path()).give("UNIT", &unit);
    let mut parent = parent.command(&test);
    parent.stdout(Stdio::piped());
    let mut parent = parent.spawn().unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let held = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("held ").map(String::from));
    let held: u32 = held.expect("it spawned").parse().unwrap();
    assert!(!has_ended(held));
    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("the held child has ended", || has_ended(held));
    drop(hold);
    eventually("the job is over", || {
        manager.property(&unit, "Job", LONG).is_ok_and(|job| job.items()[0].as_u64() == Some(0))
    });
    assert!(!mark.is_set());
    let _ = manager.reset_failed(&unit, LONG);
    let _ = manager.stop_unit(&unit, LONG);
}

#[test]
fn a_held_child_keeps_no_pipe_open_whose_other_end_it_has_too() {
    alone(|| {
        let manager = manager();
        let hold = Hold::new();
        let scope = Scope::new(name("pipes")).after([&hold.0]);
        // As the standard library makes them for another thread's spawn.
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
        thread::scope(|threads| {
            threads.spawn(|| manager.spawn_in_scope(Command::new("true"), &scope, Duration::from_secs(5)));
            eventually("the child is held", || {
                !manager.list_units(&["pipes-*.scope"], LONG).unwrap().is_empty()
            });
            drop(writer);
            let mut ends = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut ends, 0u8), Ok(1), "the held child has the writing end");
            for _ in 0..50 {
                by_deadline(SHORT, |_| Command::new("true").status().unwrap());
            }
            drop(hold);
        });
    });
}

#[test]
fn fifty_threads_spawn_at_once_and_plain_spawns_beside_them_are_not_held_up() {
    let manager = manager();
    thread::scope(|threads| {
        for _ in 0..50 {
            threads.spawn(|| {
                for _ in 0..4 {
                    let mut command = sh("echo $$; exec cat /proc/self/cgroup");
                    command.stdout(Stdio::piped());
                    let scope = Scope::new(name("crowd")).slice("crowd.slice");
                    let mut child = manager.spawn_in_scope(command, &scope, LONG).expect("spawned");
                    let told = output(&mut child);
                    let (pid, groups) = told.split_once('\n').expect("two lines and more");
                    assert_eq!(pid, child.id().to_string());
                    assert!(groups.contains(&format!("/crowd.slice/{}\n", child.scope().unit())), "{groups}");
                    assert!(child.wait(LONG).unwrap().success());
                }
            });
        }
        for _ in 0..100 {
            by_deadline(AT_ONCE, |_| Command::new("true").status().unwrap());
        }
    });
}

/// The signals that are blocked, as a status file of /proc has them.
fn blocked_in(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).expect("it is told");
    u64::from_str_radix(mask.trim(), 16).expect("a number")
}

#[test]
fn a_callers_signal_mask_is_the_commands_as_the_standard_library_has_it() {
    let manager = manager();
    let blocked = [Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGCHLD];
    let mask = blocked.iter().copied().collect::<SigSet>();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&mask), None).unwrap();
    let command = || {
        let mut command = Command::new("cat");
        command.arg("/proc/self/status").stdout(Stdio::piped());
        command
    };
    let plain = String::from_utf8(command().output().unwrap().stdout).unwrap();
    let mut child = manager.spawn_in_scope(command(), &Scope::new(name("mask")), LONG).unwrap();
    let in_scope = output(&mut child);
    assert_eq!(blocked_in(&plain), blocked_in(&in_scope));
    assert_eq!(blocked_in(&plain), blocked.iter().map(|&signal| 1 << (signal as i32 - 1)).sum());
    child.wait(LONG).unwrap();
}

/// A shell that says when it is ready, and what ended it.
fn trapping() -> Command {
    let mut command = sh("trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    command.stdout(Stdio::piped());
    command
}

#[test]
#[allow(unsafe_code, reason = "a user's own closure between fork and exec")]
fn a_death_signal_of_the_users_own_survives_the_hold_and_means_the_callers_thread() {
    let manager = manager();
    for wished_for in [true, false] {
        let (to, child) = channel();
        let mut command = trapping();
        if wished_for {
            // SAFETY: one system call.
            unsafe { command.pre_exec(|| set_pdeathsig(Signal::SIGTERM).map_err(Into::into)) };
        }
        let unit = name("death");
        let caller = thread::spawn({
            let (manager, unit) = (manager.clone(), unit.clone());
            move || {
                let mut child = manager.spawn_in_scope(command, &Scope::new(&unit), LONG).unwrap();
                let mut ready = [0; 6];
                child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
                to.send(child).unwrap();
            }
        });
        let mut child = child.recv().unwrap();
        caller.join().unwrap();
        if wished_for {
            assert_eq!(child.wait(LONG).unwrap().code(), Some(3));
            assert_eq!(output(&mut child), "asked\n");
        } else {
            let error = by_deadline(SHORT, |by| child.wait(by)).unwrap_err();
            assert_eq!((error.stage(), error.unit()), (Some(Stage::Wait), Some(&*unit)), "{error}");
            child.kill(9).unwrap();
            child.wait(LONG).unwrap();
        }
    }
}

#[test]
#[allow(unsafe_code, reason = "there is no safe way to ignore a signal")]
fn required_limits_that_cannot_hold_release_all_though_the_caller_is_deaf_to_sigterm() {
    use unitwait::{Property, Slice, Value};
    alone(|| {
        // SAFETY: no handler of this program's is set.
        unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }.unwrap();
        let manager = manager();
        let slice = format!("deaf{}.slice", std::process::id());
        let without =
            Slice::new(&slice).property(Property::new("DisableControllers", Value::strings(["memory"])));
        let without = manager.create_slice(&without, LONG).unwrap();
        let (mark, unit) = (Mark::new(), name("deaf"));
        let scope = Scope::new(&unit).slice(&slice).memory_high(64 << 20);
        let answer = by_deadline(AT_ONCE, |_| {
            manager.spawn_in_scope(mark.command(), &scope.clone().require_limits(true), LONG)
        });
        assert!(
            matches!(&answer, Err(Error::Limit { released: true, gaps, .. }) if gaps.len() == 1),
            "{answer:?}"
        );
        assert_eq!(children(), []);
        gone(&manager, &unit);
        assert!(!mark.is_set());
        let told = manager.spawn_in_scope(mark.command(), &scope, LONG).unwrap();
        assert_eq!(told.scope().limit_gaps()[0].property, "MemoryHigh");
        assert!(told.wait(LONG).unwrap().success() && mark.is_set());
        without.stop(LONG).unwrap();
    });
}

#[test]
fn one_thread_kills_what_another_waits_for() {
    let manager = Manager::private().unwrap();
    let mut child = manager.spawn_in_scope(trapping(), &Scope::new(name("kill")), LONG).unwrap();
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    thread::scope(|threads| {
        let waiting: Vec<_> = (0..4).map(|_| threads.spawn(|| child.wait(LONG))).collect();
        assert_eq!(by_deadline(SHORT, |by| child.wait(by)).unwrap_err().stage(), Some(Stage::Wait));
        by_deadline(Duration::ZERO, |_| child.kill(15)).unwrap();
        for waiting in waiting {
            assert_eq!(waiting.join().unwrap().unwrap().code(), Some(3));
        }
    });
    assert!(child.kill(0).unwrap_err().is_invalid_input());
    let (mut child, _, pidfd) = child.into_parts();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert!(child.stdout.is_some() && pidfd.is_some());
}
