//! Many at once, and nothing left of them after.

use std::fs;
use std::thread;
use std::time::Duration;

use unitwait::{Deadline, Error, Manager, Scope, UnitJob};

use crate::support::elsewhere::{Elsewhere, given, test_name};
use crate::support::{LONG, Sleeper, eventually, group_of, manager, name};

#[test]
fn two_hundred_threads_share_one_manager() {
    let manager = manager();
    thread::scope(|scope| {
        for _ in 0..200 {
            let manager = manager.clone();
            scope.spawn(move || {
                let sleeper = Sleeper::new();
                let unit = Scope::new(name("threads")).pid(sleeper.pid()).slice("threads.slice");
                let active = manager.create_scope(&unit, Duration::from_secs(120)).expect("created");
                assert_eq!(active.control_group(), group_of(sleeper.pid()));
                active.stop(Duration::from_secs(120)).expect("stopped");
            });
        }
    });
    let stats = manager.stats().unwrap();
    assert_eq!((stats.requests, stats.queued, stats.in_flight, stats.settling), (0, 0, 0, 0), "{stats:?}");
}

#[test]
fn a_thousand_tickets_stay_below_the_buss_limit() {
    let manager = manager();
    let sleepers: Vec<Sleeper> = (0..1000).map(|_| Sleeper::new()).collect();
    let submit = |sleeper: &Sleeper| {
        let scope = Scope::new(name("ticket")).pid(sleeper.pid()).slice("tickets.slice");
        manager.submit(&scope, Duration::from_secs(120)).expect("submitted")
    };
    let tickets: Vec<_> = sleepers.iter().map(submit).collect();
    let scopes: Vec<_> = tickets.into_iter().map(|ticket| ticket.wait(Deadline::Default).unwrap()).collect();
    let stops: Vec<_> =
        scopes.iter().map(|scope| manager.submit(&UnitJob::stop(scope.unit()), LONG).unwrap()).collect();
    for stop in stops {
        crossbeam_channel::select! {
            recv(stop.receiver()) -> answer => { answer.unwrap().unwrap(); }
        }
    }
}

/// What this process holds: descriptors and threads.
fn holdings() -> (usize, usize) {
    let count = |at: &str| fs::read_dir(at).expect("/proc is there").count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

/// One request of each kind there is: carried out, refused, late, and left by its caller. What was late may have
/// come up, and be left standing with the process that is given back.
fn one_of_each(manager: &Manager) -> Sleeper {
    let sleeper = Sleeper::new();
    let scope = Scope::new(name("left")).pid(sleeper.pid()).slice("left.slice");
    let active = manager.create_scope(&scope, LONG).expect("created");
    let again = manager.create_scope(&scope, LONG);
    assert!(matches!(again, Err(Error::UnitExists { .. })), "{again:?}");
    let lives_on = Sleeper::new();
    let late = Scope::new(name("left")).pid(lives_on.pid()).slice("left.slice");
    let late = manager.submit(&late, LONG).expect("submitted").wait(Duration::ZERO);
    assert!(matches!(late, Ok(_) | Err(Error::Timeout { .. })), "{late:?}");
    drop(manager.submit(&UnitJob::stop(active.unit()), LONG).expect("submitted"));
    let stopped = active.stop(LONG);
    assert!(matches!(stopped, Ok(_) | Err(Error::NoSuchUnit { .. })), "{stopped:?}");
    lives_on
}

#[test]
fn after_a_thousand_requests_and_fifty_managers_nothing_is_left() {
    if given("").is_none() {
        // Other tests' threads and descriptors come and go: here there are none.
        return Elsewhere::same()
            .run(&test_name(after_a_thousand_requests_and_fifty_managers_nothing_is_left));
    }
    let before_any = holdings();
    let manager = manager();
    let first = one_of_each(&manager);
    let before = holdings();
    let processes: Vec<Sleeper> = (0..200).map(|_| one_of_each(&manager)).collect();
    let stats = || manager.stats().unwrap();
    let mut last = stats();
    eventually("what late callers left is settled", || {
        last = stats();
        (last.requests, last.queued, last.in_flight, last.settling) == (0, 0, 0, 0)
    });
    assert!(last.succeeded + last.failed + last.timed_out >= 1000 && last.timed_out > 0, "{last:?}");
    assert_eq!(holdings(), before);
    drop((first, processes));
    eventually("no scope is left", || manager.list_units(&["left-*.scope"], LONG).unwrap().is_empty());
    for _ in 0..25 {
        for other in [Manager::system().unwrap(), Manager::private().unwrap()] {
            assert!(holdings().1 > before.1, "each has a thread of its own");
            other.list_units(&["dbus.service"], LONG).unwrap();
        }
    }
    // A thread that was waited for is still listed for a moment.
    eventually("the managers' threads have ended", || holdings() == before);
    drop(manager);
    eventually("the first manager's thread has ended", || holdings() == before_any);
}
