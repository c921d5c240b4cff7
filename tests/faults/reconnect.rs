//! The bus dies and comes back, the manager's name changes hands, the bus has too little room: every caller has an
//! answer, a definite one where it can be known.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use unitwait::{Deadline, Error, Stage, UnitJob};

use crate::alone::{Holdings, alone};
use crate::bus::Bus;
use crate::manager::{Call, Script, job_removed, path_of};
use crate::world::{LONG, Place, Raise, World, by, open, scope};

const UNKNOWN_OBJECT: &str = "org.freedesktop.DBus.Error.UnknownObject";

impl World {
    pub fn bring_the_bus_back(&mut self) {
        self.bring_the_bus_back_with(|_| ());
    }

    fn bring_the_bus_back_with(&mut self, prepare: impl FnOnce(&Script)) {
        self.bus().restart();
        self.script_anew(prepare);
    }

    /// Ends the connection and lets the driver make a new one, with or without a bus.
    fn break_the_connection(&mut self) {
        match &self.place {
            Place::Bus(_) => self.bring_the_bus_back(),
            Place::Socket(_) => self.script.hang_up(),
        }
    }

    /// The look at a job that a new connection brings, on a bus after it has subscribed.
    fn next_look(&self) -> Call {
        if let Place::Bus(_) = self.place {
            self.script.next("Subscribe");
        }
        self.script.next("GetAll")
    }

    fn assert_unsubscribed(&self) {
        if let Place::Bus(_) = self.place {
            self.script.next("Unsubscribe");
        }
        self.round_trip();
        assert!(self.script.is_idle());
    }
}

#[test]
fn a_call_whose_answer_can_not_come_any_more_is_told_so_at_once() {
    World::both(|mut world| {
        let tickets = [(); 3].map(|()| world.manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap());
        for _ in &tickets {
            world.script.next("StopUnit");
        }
        match &mut world.place {
            Place::Bus(bus) => bus.kill(),
            Place::Socket(_) => world.script.hang_up(),
        }
        for ticket in tickets {
            match by(Duration::ZERO, || ticket.wait(Deadline::Default)) {
                Err(Error::Disconnected { stage: Stage::Call, job: None, .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn a_manager_that_leaves_the_bus_in_the_midst_of_a_call_is_told_at_once() {
    let world = World::on_bus();
    let ticket = world.manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap();
    world.script.next("StopUnit");
    world.script.hang_up();
    match by(Duration::ZERO, || ticket.wait(Deadline::Default)) {
        Err(Error::Disconnected { stage: Stage::Call, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_and_requests_in_line_outlive_the_connection() {
    let mut world = World::on_bus();
    let manager = open(world.builder().window(1));
    world.script.answer_reads(false);
    let reader = {
        let manager = manager.clone();
        thread::spawn(move || manager.property("a.scope", "ActiveState", LONG))
    };
    world.script.next("Get");
    let queued = manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap();
    world.bring_the_bus_back_with(|script| script.set_state("a.scope", "deactivating"));
    let call = world.script.next("StopUnit");
    assert_eq!(reader.join().unwrap().unwrap().as_str(), Some("deactivating"));
    call.carry_out();
    queued.wait(Deadline::Default).unwrap();
    assert_eq!(manager.stats().unwrap().connections, 2);
}

#[test]
fn a_job_that_is_still_there_after_the_connection_broke_is_waited_for() {
    World::both(|mut world| {
        let create = world.manager.submit(&scope("a.scope"), LONG).unwrap();
        world.script.next("StartTransientUnit").job(7);
        world.round_trip();
        world.break_the_connection();
        let look = world.next_look();
        assert_eq!(look.path, "/org/freedesktop/systemd1/job/7");
        look.is_job_of("a.scope", "start");
        world.round_trip();
        assert!(create.try_wait().is_none());
        world.script.job_removed(7, "a.scope", "done");
        assert_eq!(create.wait(Deadline::Default).unwrap().job().unwrap().get(), 7);
        world.assert_unsubscribed();
        assert_eq!(world.stats().connections, 2);
    });
}

#[test]
fn of_a_job_that_ended_unheard_the_units_state_decides() {
    type Case = (bool, &'static str, bool);
    const CASES: [Case; 6] = [
        (true, "active", true),
        (true, "failed", false),
        (true, "inactive", false),
        (false, "inactive", true),
        (false, "failed", true),
        (false, "active", false),
    ];
    World::both(|mut world| {
        for (creates, state, good) in CASES {
            let (ticket, stop) = if creates {
                (Some(world.manager.submit(&scope("a.scope"), LONG).unwrap()), None)
            } else {
                (None, Some(world.manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap()))
            };
            world.script.next(if creates { "StartTransientUnit" } else { "StopUnit" }).job(7);
            world.round_trip();
            world.break_the_connection();
            world.script.set_state("a.scope", state);
            world.next_look().error(UNKNOWN_OBJECT, "no such job");
            let result = match (ticket, stop) {
                (Some(ticket), _) => ticket.wait(Deadline::Default).map(drop),
                (_, Some(ticket)) => ticket.wait(Deadline::Default).map(drop),
                (None, None) => unreachable!("one of them was asked for"),
            };
            match result {
                Ok(()) => assert!(good, "create {creates}, {state}"),
                Err(Error::Disconnected { stage: Stage::Job, job: Some(job), .. }) => {
                    assert!(!good && job.get() == 7, "create {creates}, {state}");
                }
                Err(other) => panic!("create {creates}, {state}: {other}"),
            }
            world.assert_unsubscribed();
        }
    });
}

#[test]
fn a_late_creates_job_that_outlived_the_connection_is_still_cancelled() {
    World::both(|mut world| {
        let create = world.manager.submit(&scope("a.scope"), LONG).unwrap();
        world.script.next("StartTransientUnit").job(7);
        world.round_trip();
        match &mut world.place {
            Place::Bus(bus) => bus.kill(),
            Place::Socket(_) => {}
        }
        create.wait(Duration::ZERO).unwrap_err();
        if let Place::Socket(_) = world.place {
            world.script.next("CancelJob");
        }
        world.break_the_connection();
        world.next_look().is_job_of("a.scope", "start");
        assert_eq!(world.script.next("CancelJob").number(), 7);
        world.script.job_removed(7, "a.scope", "canceled");
        world.assert_unsubscribed();
        assert_eq!(world.settle().late, 1);
    });
}

#[test]
fn while_the_bus_is_away_every_call_ends_by_its_deadline_and_then_all_is_well_again() {
    let mut world = World::on_bus();
    let job = world.manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap();
    world.script.next("StopUnit").job(7);
    world.round_trip();
    world.bus().kill();
    for deadline in [50, 200, 400].map(Duration::from_millis) {
        let error = by(deadline, || world.manager.property("a.scope", "ActiveState", deadline)).unwrap_err();
        assert!(matches!(error, Error::Timeout { .. } | Error::Connect { .. }), "{error}");
    }
    assert!(job.wait(Duration::ZERO).unwrap_err().is_timeout());
    world.bring_the_bus_back();
    by(LONG / 3, || world.round_trip());
}

#[test]
fn a_bus_that_stays_away_is_told_and_not_waited_for_without_end() {
    let mut world = World::on_bus();
    let job = world.manager.submit(&UnitJob::stop("a.scope"), LONG * 10).unwrap();
    world.script.next("StopUnit").job(7);
    world.round_trip();
    world.bus().kill();
    // Borne for a while, for a restarted bus is back soon; far less than these deadlines all the same.
    let error = by(Duration::from_secs(8), || job.wait(Deadline::Default)).unwrap_err();
    assert!(matches!(error, Error::Disconnected { stage: Stage::Job, .. }), "{error}");
    let error = by(Duration::ZERO, || world.manager.stop_unit("a.scope", LONG)).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
}

#[test]
fn fifty_lost_connections_leave_no_descriptor_and_no_thread() {
    alone(|| {
        let mut world = World::on_bus();
        let cycle = |world: &mut World| {
            let job = world.manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap();
            world.script.next("StopUnit").job(7);
            world.round_trip();
            world.bring_the_bus_back();
            world.next_look().error(UNKNOWN_OBJECT, "no such job");
            job.wait(Deadline::Default).unwrap_err();
            world.assert_unsubscribed();
            world.settle();
        };
        (0..3).for_each(|_| cycle(&mut world));
        let before = Holdings::now();
        (0..50).for_each(|_| cycle(&mut world));
        before.assert_no_more(4 << 20);
        assert_eq!(world.stats().connections, 54);
    });
}

#[test]
fn after_the_name_changed_hands_only_the_new_owner_is_believed() {
    for stands_in_line in [false, true] {
        let world = World::on_bus();
        let Place::Bus(bus) = &world.place else { return };
        let (old, new) = (&world.script, Script::nameless(bus));
        let pending = world.manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap();
        let first = old.next("StopUnit");
        first.job(7);
        let unanswered = world.manager.submit(&UnitJob::stop("b.scope"), LONG).unwrap();
        let second = old.next("StopUnit");
        world.round_trip();
        if stands_in_line {
            new.take_name();
            old.release_name();
        } else {
            old.release_name();
            new.take_name();
        }
        let look = new.next("GetAll");
        assert_eq!(look.path, "/org/freedesktop/systemd1/job/7");
        look.is_job_of("a.scope", "stop");
        // Its answer to what it was asked is still its own to give; the end of a job is not.
        second.job(8);
        let mut lie = job_removed(7, "a.scope", "done");
        lie.set_destination(Some(first.caller().into()));
        old.send(lie);
        old.job_removed(7, "a.scope", "done");
        old.flush();
        world.round_trip();
        assert!(pending.try_wait().is_none() && unanswered.try_wait().is_none());
        assert_eq!(world.stats().foreign, 1);
        new.job_removed(7, "a.scope", "done");
        new.job_removed(8, "b.scope", "done");
        assert_eq!(pending.wait(Deadline::Default).unwrap().id.get(), 7);
        assert_eq!(unanswered.wait(Deadline::Default).unwrap().id.get(), 8);
        assert_eq!(world.stats().connections, 1);
    }
}

#[test]
fn a_bus_that_allows_fewer_answers_than_the_window_refuses_nobody() {
    let world = World::on(Bus::with_limits(&[("max_replies_per_connection", 8)]));
    let _serving = world.script.serve(|call| call.carry_out());
    for _ in 0..3 {
        let creates: Vec<_> =
            (0..100).map(|_| world.manager.submit(&scope("a.scope"), LONG).unwrap()).collect();
        let stops: Vec<_> =
            (0..100).map(|_| world.manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap()).collect();
        for create in creates {
            create.wait(Deadline::Default).unwrap();
        }
        for stop in stops {
            stop.wait(Deadline::Default).unwrap();
        }
    }
    let stats = world.settle();
    assert_eq!((stats.failed, stats.timed_out), (0, 0));
}

#[test]
fn a_bus_with_little_room_keeps_no_job_from_being_looked_at_again() {
    let mut world = World::on(Bus::with_limits(&[("max_replies_per_connection", 4)]));
    let stops: Vec<_> = (0..12)
        .map(|job| {
            let ticket = world.manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap();
            world.script.next("StopUnit").job(job);
            world.round_trip();
            ticket
        })
        .collect();
    world.bring_the_bus_back_with(|script| script.set_state("a.scope", "inactive"));
    world.script.next("Subscribe");
    let serving = world.script.serve(|call| match call.member.as_str() {
        "GetAll" => call.error(UNKNOWN_OBJECT, "no such job"),
        other => assert_eq!(other, "Unsubscribe"),
    });
    for stop in stops {
        by(Duration::ZERO, || stop.wait(Deadline::Default)).unwrap();
    }
    world.round_trip();
    drop(serving);
}

/// What a manager that outlives its bus has truly done, and what is left of it.
#[derive(Default)]
struct Ledger {
    done: HashSet<String>,
    jobs: HashMap<u32, String>,
}

/// Does a part of what it is asked, forgets a part, and tells the truth about both when it is asked again.
fn keep(ledger: &Mutex<Ledger>, call: &Call, job: u32) {
    let mut ledger = ledger.lock().unwrap();
    match call.member.as_str() {
        "StartTransientUnit" => {
            let unit = call.unit();
            call.job(job);
            match job % 16 {
                0..4 => drop(ledger.jobs.insert(job, unit)),
                4..8 => call.ends(job, "failed"),
                8 => drop(ledger.done.insert(unit)),
                _ => {
                    call.ends(job, "done");
                    ledger.done.insert(unit);
                }
            }
        }
        "GetAll" => {
            let job =
                call.path.rsplit_once("/job/").and_then(|(_, job)| ledger.jobs.get(&job.parse().unwrap()));
            match job {
                Some(unit) => call.is_job_of(unit, "start"),
                None => call.error(UNKNOWN_OBJECT, "no such job"),
            }
        }
        "Get" => {
            let active = ledger.done.iter().any(|unit| call.path.ends_with(&path_of(unit)));
            call.text(if active { "active" } else { "inactive" });
        }
        "CancelJob" => {
            if let Some(unit) = ledger.jobs.remove(&call.number()) {
                call.job_removed(call.number(), &unit, "canceled");
            }
        }
        _ => {}
    }
}

#[test]
fn while_the_bus_comes_and_goes_every_caller_has_one_answer_and_every_success_is_true() {
    let mut world = World::on_bus();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let jobs = Arc::new(AtomicU32::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let deadline = Duration::from_millis(250);
    let stopping = Raise(&stop);
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let (manager, ledger, stop) = (world.manager.clone(), Arc::clone(&ledger), Arc::clone(&stop));
            thread::spawn(move || {
                let mut succeeded = 0;
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let unit = format!("c{caller}-{number}.scope");
                    if by(deadline, || manager.create_scope(&scope(&unit), deadline)).is_ok() {
                        assert!(ledger.lock().unwrap().done.contains(&unit), "{unit} was never done");
                        succeeded += 1;
                    }
                }
                succeeded
            })
        })
        .collect();
    world.script.answer_reads(false);
    for _ in 0..10 {
        let (ledger, jobs) = (Arc::clone(&ledger), Arc::clone(&jobs));
        let (served, some) = bounded(1024);
        let serving = world.script.serve(move |call| {
            keep(&ledger, &call, jobs.fetch_add(1, Ordering::SeqCst));
            let _ = served.try_send(());
        });
        (0..100).for_each(|_| some.recv_timeout(LONG).expect("callers go on calling"));
        world.bus().crash();
        drop(serving);
        world.bring_the_bus_back_with(|script| script.answer_reads(false));
    }
    drop(stopping);
    let succeeded: u32 = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
    assert!(succeeded > 50, "{succeeded}");
    assert!(world.stats().connections > 10);
}

/// A manager that was replaced, and not only reexecuted, counts its jobs anew.
#[test]
fn a_job_of_the_same_number_in_a_manager_that_began_anew_is_not_taken_for_ones_own() {
    World::both(|mut world| {
        let start = world.manager.submit(&UnitJob::start("a.service"), LONG).unwrap();
        world.script.next("StartUnit").job(7);
        let late = world.manager.submit(&scope("b.scope"), LONG).unwrap();
        world.script.next("StartTransientUnit").job(8);
        world.round_trip();
        world.break_the_connection();
        late.wait(Duration::ZERO).unwrap_err();
        world.script.set_state("a.service", "inactive");
        world.script.set_state("b.scope", "inactive");
        // The numbers are other units' now, whose jobs end well.
        let cancelled = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&cancelled);
        let serving = world.script.serve(move |call| match call.member.as_str() {
            "GetAll" => {
                let number = call.path.rsplit_once("/job/").and_then(|(_, number)| number.parse().ok());
                call.is_job_of("other.service", "start");
                call.job_removed(number.expect("a job is looked at"), "other.service", "done");
            }
            "CancelJob" => seen.store(true, Ordering::SeqCst),
            _ => {}
        });
        let error = start.wait(Deadline::Default).expect_err("it is not active");
        assert!(matches!(error, Error::Disconnected { .. }), "{error:?}");
        world.settle();
        assert!(!cancelled.load(Ordering::SeqCst), "somebody else's job");
        drop(serving);
    });
}
