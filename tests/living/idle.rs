//! A manager of which nothing is asked is left alone by what others ask of systemd.

use std::thread;
use std::time::{Duration, Instant};

use unitwait::{Manager, Scope, Stats};

use crate::support::{LONG, Sleeper, manager, name};

/// For how long strangers' jobs may reach an idle manager: the thirty seconds that its rest takes to come, and some.
const REST: Duration = Duration::from_secs(60);

fn live_and_die(manager: &Manager) {
    let sleeper = Sleeper::new();
    let scope = Scope::new(name("idle")).pid(sleeper.pid());
    manager.create_scope(&scope, LONG).expect("it is created").stop(LONG).expect("it stops");
}

fn received(managers: &[Manager; 2]) -> [u64; 2] {
    managers.each_ref().map(|manager| stats(manager).messages_received)
}

fn stats(manager: &Manager) -> Stats {
    manager.stats().expect("its thread answers")
}

/// What came in on each while a stranger had so many jobs.
fn heard(managers: &[Manager; 2], stranger: &Manager) -> [u64; 2] {
    let before = received(managers);
    (0..10).for_each(|_| live_and_die(stranger));
    let after = received(managers);
    [after[0] - before[0], after[1] - before[1]]
}

#[test]
fn strangers_jobs_reach_an_idle_manager_no_more_and_its_own_are_heard_of_again() {
    let stranger = Manager::system().expect("the bus answers");
    let managers = [manager(), Manager::private().expect("the private socket answers")];
    managers.iter().for_each(live_and_die);
    let before = heard(&managers, &stranger);
    assert!(before.iter().all(|heard| *heard >= 10), "both hear of everybody's jobs at first: {before:?}");
    let begun = Instant::now();
    while heard(&managers, &stranger) != [0, 0] {
        assert!(begun.elapsed() < REST, "they still hear of them");
        thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(heard(&managers, &stranger), [0, 0]);
    let connections = managers.each_ref().map(|manager| stats(manager).connections);
    managers.iter().for_each(live_and_die);
    let again = managers.each_ref().map(|manager| stats(manager).connections);
    assert_eq!(again, [connections[0], connections[1] + 1], "the bus keeps its own, the manager does not");
}
