//! Commands that are to run in a scope while PID 1 is stopped.

use std::fs;
use std::process::Command;
use std::thread;

use unitwait::{Error, Scope, Stage};

use crate::recycled::warm;
use crate::sandbox::{LONG, Silence, both_ways, by_deadline, eventually, name, settled};

const SHORT: std::time::Duration = std::time::Duration::from_millis(400);

fn children() -> Vec<u32> {
    let threads = fs::read_dir("/proc/self/task").expect("/proc is there").flatten();
    let of_thread = |at: fs::DirEntry| fs::read_to_string(at.path().join("children")).unwrap_or_default();
    let listed: String = threads.map(of_thread).collect();
    listed.split_ascii_whitespace().map(|pid| pid.parse().expect("a number")).collect()
}

#[test]
fn a_spawn_returns_by_its_deadline_and_its_child_is_collected_and_never_ran() {
    for (way, builder) in both_ways() {
        for is_warm in [false, true] {
            let manager = builder.clone().open(LONG).unwrap();
            if is_warm {
                warm(&manager);
            }
            let unit = name("silent");
            let mark = std::env::temp_dir().join(format!("unitwait-mark-{unit}"));
            let silence = Silence::fall();
            thread::scope(|threads| {
                for _ in 0..8 {
                    threads.spawn(|| {
                        let mut command = Command::new("touch");
                        command.arg(&mark);
                        let scope = Scope::new(&unit);
                        let answer = by_deadline(SHORT, |by| manager.spawn_in_scope(command, &scope, by));
                        let error = answer.unwrap_err();
                        assert_eq!(error.stage(), Some(Stage::Call), "{way}: {error}");
                    });
                }
                // Held children beside it are none of a plain spawn's concern.
                for _ in 0..20 {
                    by_deadline(SHORT, |_| Command::new("true").status().unwrap());
                }
            });
            assert_eq!(children(), [], "{way}");
            drop(silence);
            settled(&manager);
            let left = || manager.list_units(&[&unit], LONG).unwrap().is_empty().then_some(());
            eventually("no unit is left", left);
            assert!(!mark.exists(), "{way}");
            // And it serves on.
            let child = manager.spawn_in_scope(Command::new("true"), &Scope::new(&unit), LONG).unwrap();
            assert!(child.wait(LONG).unwrap().success());
        }
    }
}

#[test]
fn an_exec_that_fails_when_systemd_falls_silent_is_told_by_the_deadline_all_the_same() {
    // The scope is up, and then nobody answers to the stop: a command whose exec fails only then.
    for (way, builder) in both_ways() {
        let manager = builder.open(LONG).unwrap();
        warm(&manager);
        for _ in 0..10 {
            let unit = name("unrunnable");
            let answer = thread::scope(|threads| {
                let spawn = threads.spawn(|| {
                    let scope = Scope::new(&unit);
                    by_deadline(SHORT, |by| manager.spawn_in_scope(Command::new("/no/such"), &scope, by))
                });
                drop(Silence::fall());
                spawn.join().unwrap()
            });
            let failed = matches!(&answer, Err(Error::Exec { placed: true, .. } | Error::Timeout { .. }));
            assert!(failed, "{way}: {answer:?}");
            assert_eq!(children(), []);
            let left = || manager.list_units(&[&unit], LONG).unwrap().is_empty().then_some(());
            eventually("no unit is left", left);
        }
    }
}
