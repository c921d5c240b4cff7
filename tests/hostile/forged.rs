//! What an unprivileged user forges is not believed, and holds nobody up; on whichever bus the sandbox runs.

use std::thread;
use std::time::{Duration, Instant};

use unitwait::{Error, Manager, Scope, Stage};

use crate::forger::Forger;
use crate::sandbox::{Hold, LONG, Sleeper, by_deadline, eventually, group_of, name, over_the_bus, settled};

/// Few enough for the flood to come round several times in a second.
const GUESSES: u32 = 120;

/// Guesses from the number of the last job on, and is only trusted with a test once its lies arrive.
fn flood(manager: &Manager) -> Forger {
    let last = last_job(manager);
    let arguments = ["--exact", "the_tests_are_root_and_the_forger_is_not"];
    let forger = Forger::start(&arguments, last..last + GUESSES);
    let before = manager.stats().unwrap().foreign;
    eventually("the forgeries", || (manager.stats().unwrap().foreign > before + 500).then_some(()));
    forger
}

fn last_job(manager: &Manager) -> u32 {
    let process = Sleeper::new();
    let active = manager.create_scope(&Scope::new(name("probe")).pid(process.pid()), LONG).unwrap();
    active.stop(LONG).unwrap().id.get()
}

fn proven(manager: &Manager, mut forger: Forger) {
    let before = manager.stats().unwrap().foreign;
    eventually("forgeries to the end", || (manager.stats().unwrap().foreign > before).then_some(()));
    assert!(forger.is_alive());
    drop(forger);
    let stats = settled(manager);
    println!("{} forgeries were seen through, none believed", stats.foreign);
    assert_eq!(stats.connections, 1, "a forged Disconnected ended the connection");
}

#[test]
fn a_forged_end_is_not_believed_while_the_process_lives() {
    const UNTIL_KILLED: Duration = Duration::from_secs(2);
    let manager = over_the_bus();
    let forger = flood(&manager);
    for _ in 0..3 {
        let process = Sleeper::stubborn();
        let scope = Scope::new(name("stubborn")).pid(process.pid()).timeout_stop(UNTIL_KILLED);
        let active = manager.create_scope(&scope, LONG).expect("created");
        let begun = Instant::now();
        let stopped = active.stop(LONG);
        assert!(!process.lives(), "{stopped:?} after {:?}, and the process lives", begun.elapsed());
        stopped.expect("systemd kills it in the end");
        assert!(begun.elapsed() >= UNTIL_KILLED, "told before systemd's own patience: {:?}", begun.elapsed());
    }
    proven(&manager, forger);
}

#[test]
fn forgeries_fail_no_creation_and_end_none_early() {
    let manager = over_the_bus();
    let forger = flood(&manager);
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..25 {
                    let process = Sleeper::new();
                    let scope = Scope::new(name("flooded")).pid(process.pid()).verify(false);
                    let active = manager.create_scope(&scope, LONG).expect("created");
                    assert!(
                        group_of(process.pid()).ends_with(active.unit()),
                        "told early: {}",
                        group_of(process.pid())
                    );
                    active.stop(LONG).expect("stopped");
                    assert!(!process.lives());
                }
            });
        }
    });
    proven(&manager, forger);
}

#[test]
fn a_flood_of_forgeries_delays_no_caller_past_its_deadline() {
    let manager = over_the_bus();
    let hold = Hold::new();
    let forger = flood(&manager);
    thread::scope(|threads| {
        for tenths in [3u32, 17, 6, 11, 24, 9] {
            let (manager, hold) = (&manager, &hold);
            threads.spawn(move || {
                let process = Sleeper::new();
                let unit = name("held");
                let scope = Scope::new(&unit).pid(process.pid()).after([hold.0.as_str()]);
                let deadline = Duration::from_millis(100) * tenths;
                let error = by_deadline(deadline, |deadline| manager.create_scope(&scope, deadline));
                let error = error.expect_err("its job is held back");
                assert!(error.is_timeout() && error.stage() == Some(Stage::Job), "{error:?}");
                // The job is cancelled, so that the name is free, and the process is left alone.
                eventually("a free name", || {
                    match manager.create_scope(&Scope::new(&unit).pid(process.pid()), LONG) {
                        Ok(active) => Some(active),
                        Err(Error::UnitExists { .. }) => None,
                        Err(other) => panic!("{other:?}"),
                    }
                });
                assert!(process.lives() && group_of(process.pid()).ends_with(&unit));
            });
        }
    });
    proven(&manager, forger);
}
