//! PID 1 is stopped, as it is when a machine is out of memory: every caller comes back by its own deadline, and
//! all is well when it goes on.

use std::thread;
use std::time::{Duration, Instant};

use unitwait::{Error, JobId, KillWhom, Manager, OnExists, Outcome, Scope};

use crate::sandbox::{
    LONG, MARGIN, Silence, Sleeper, both_ways, by_deadline, eventually, group_of, name, settled,
};

type Call<'a> = dyn Fn(Duration) -> Result<(), Error> + Sync + 'a;

const SHORT: Duration = Duration::from_millis(400);

/// A create that will miss its deadline, and what is tried again after it.
struct Late {
    process: Sleeper,
    scope: Scope,
    unit: String,
    joins: bool,
}

impl Late {
    fn new(joins: bool) -> Late {
        let (process, unit) = (Sleeper::new(), name("late"));
        let scope = Scope::new(&unit).pid(process.pid()).delegate(true);
        Late { process, scope, unit, joins }
    }

    fn miss(&self, manager: &Manager, deadline: Duration) {
        let error = by_deadline(deadline, |deadline| manager.create_scope(&self.scope, deadline));
        assert!(error.as_ref().is_err_and(Error::is_timeout), "{error:?}");
    }

    /// What the design's fifth invariant leaves: the scope stands with its process, or the name is free. Whether it
    /// stands.
    fn retry(&self, manager: &Manager) -> bool {
        assert!(self.process.lives(), "a deadline killed a process");
        let stands = group_of(self.process.pid()).ends_with(&self.unit);
        let policy = if self.joins { OnExists::Join } else { OnExists::Fail };
        let scope = self.scope.clone().on_exists(policy);
        let again = by_deadline(SERVED, |deadline| manager.create_scope(&scope, deadline));
        match (stands, self.joins, again) {
            (true, true, Ok(active)) => assert_eq!(active.outcome(), Outcome::Joined),
            (true, false, Err(Error::UnitExists { .. })) => {}
            (false, _, Ok(active)) => assert_eq!(active.outcome(), Outcome::Created),
            (_, _, other) => panic!("stands: {stands}, joins: {}, and yet {other:?}", self.joins),
        }
        assert!(group_of(self.process.pid()).ends_with(&self.unit));
        manager.stop_unit(&self.unit, LONG).expect("stopped");
        stands
    }
}

/// What a systemd that answers needs no more than, however busy the machine.
const SERVED: Duration = Duration::from_secs(5);

fn serve_fifty(manager: &Manager) {
    let processes: Vec<Sleeper> = (0..50).map(|_| Sleeper::new()).collect();
    for process in &processes {
        let scope = Scope::new(name("speed")).pid(process.pid());
        let active = by_deadline(SERVED, |deadline| manager.create_scope(&scope, deadline)).unwrap();
        by_deadline(SERVED, |deadline| active.stop(deadline)).unwrap();
    }
}

#[test]
fn callers_of_a_stopped_systemd_return_by_their_own_deadlines_and_it_serves_on_as_before() {
    for (way, builder) in both_ways() {
        let manager = builder.open(LONG).unwrap();
        let late: Vec<Late> = (0..24).map(|n| Late::new(n % 2 == 0)).collect();
        let silence = Silence::fall();
        thread::scope(|threads| {
            for (n, late) in late.iter().enumerate() {
                // Neither rising nor falling.
                let deadline = Duration::from_millis(100 + 61 * (n as u64 * 7 % 24));
                let manager = &manager;
                threads.spawn(move || late.miss(manager, deadline));
            }
            threads.spawn(open_clone_and_drop);
        });
        drop(silence);
        let stats = settled(&manager);
        assert_eq!((stats.timed_out, stats.connections), (24, 1), "{stats:?}");
        let standing = late.iter().filter(|late| late.retry(&manager)).count();
        println!("{way}: {standing} of 24 stand late");
        serve_fifty(&manager);
        assert_eq!(manager.stats().unwrap().connections, 1, "it was connected anew");
    }
}

/// Whether systemd or the driver's cancellation is quicker is open each time; both ends of the race must come.
#[test]
fn what_stands_late_is_joined_at_once_where_that_is_asked_and_told_to_exist_where_not() {
    for (way, builder) in both_ways() {
        let manager = builder.open(LONG).unwrap();
        for joins in [true, false] {
            let tries = eventually("one that stands late", {
                let mut tries = 0;
                let manager = &manager;
                move || {
                    tries += 1;
                    let late = Late::new(joins);
                    let silence = Silence::fall();
                    late.miss(manager, Duration::from_millis(100));
                    drop(silence);
                    settled(manager);
                    late.retry(manager).then_some(tries)
                }
            });
            println!("{way}, joins {joins}: one stood at try {tries}");
        }
    }
}

fn open_clone_and_drop() {
    for (_, builder) in both_ways() {
        let opened = by_deadline(SHORT, |deadline| builder.open(deadline));
        assert!(opened.as_ref().is_err_and(Error::is_timeout), "{opened:?}");
    }
}

#[test]
fn managers_are_cloned_and_dropped_while_systemd_is_stopped() {
    for (_, builder) in both_ways() {
        let manager = builder.open(LONG).unwrap();
        let process = Sleeper::new();
        let silence = Silence::fall();
        let ticket = manager.submit(&Scope::new(name("gone")).pid(process.pid()), LONG).unwrap();
        let begun = Instant::now();
        let clones: Vec<Manager> = (0..100).map(|_| manager.clone()).collect();
        drop((clones, ticket, manager));
        assert!(begun.elapsed() < MARGIN, "{:?}", begun.elapsed());
        drop(silence);
    }
}

#[test]
fn every_other_call_to_a_stopped_systemd_returns_by_its_deadline_too() {
    for (way, builder) in both_ways() {
        let manager = builder.open(LONG).unwrap();
        let (process, unit) = (Sleeper::new(), name("calls"));
        let active = manager.create_scope(&Scope::new(&unit).pid(process.pid()), LONG).unwrap();
        let silence = Silence::fall();
        let calls: [(&str, &Call<'_>); 12] = [
            ("property", &|by| manager.property(&unit, "ActiveState", by).map(drop)),
            ("properties", &|by| manager.properties(&unit, by).map(drop)),
            ("list_units", &|by| manager.list_units(&[], by).map(drop)),
            ("kill_unit", &|by| manager.kill_unit(&unit, KillWhom::All, 18, by)),
            ("reset_failed", &|by| manager.reset_failed(&unit, by)),
            ("cancel_job", &|by| manager.cancel_job(JobId::new(u32::MAX), by)),
            ("start_unit", &|by| manager.start_unit(&unit, by).map(drop)),
            ("restart_unit", &|by| manager.restart_unit("none.service", by).map(drop)),
            ("active.property", &|by| active.property("ActiveState", by).map(drop)),
            ("active.properties", &|by| active.properties(by).map(drop)),
            ("active.kill", &|by| active.kill(KillWhom::All, 18, by)),
            ("stop_unit", &|by| manager.stop_unit("none.scope", by).map(drop)),
        ];
        thread::scope(|threads| {
            for (what, call) in calls {
                threads.spawn(move || {
                    let answer = by_deadline(SHORT, call);
                    assert!(answer.as_ref().is_err_and(Error::is_timeout), "{way}, {what}: {answer:?}");
                });
            }
        });
        drop(silence);
        settled(&manager);
        active.stop(LONG).expect("stopped");
    }
}
