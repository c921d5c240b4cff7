//! Every call returns by its own deadline, says how far it came, and leaves nothing unsettled.

use std::thread;
use std::time::{Duration, Instant};

use unitwait::{Deadline, Manager, Slice, Stage, UnitJob};

use crate::transport::Silence;
use crate::world::{LONG, MARGIN, World, by, logged, record_log, scope};

const SHORT: Duration = Duration::from_millis(100);

/// Deadlines in no order: a fixed permutation, spread over a second.
fn mixed_deadlines() -> impl Iterator<Item = Duration> {
    (0u64..64).map(|number| Duration::from_millis(50 + number * 37 % 64 * 16))
}

fn each_returns_by_its_own_deadline(manager: &Manager) {
    thread::scope(|threads| {
        for (number, deadline) in mixed_deadlines().enumerate() {
            threads.spawn(move || {
                let begun = Instant::now();
                let error = match number % 4 {
                    0 => manager.create_scope(&scope("x.scope"), deadline).unwrap_err(),
                    1 => manager.stop_unit("x.scope", deadline).unwrap_err(),
                    2 => manager.property("x.scope", "ActiveState", deadline).unwrap_err(),
                    _ => manager.list_units(&["*"], deadline).unwrap_err(),
                };
                let took = begun.elapsed();
                assert!(error.is_timeout(), "{error}");
                assert!(deadline <= took && took <= deadline + MARGIN, "{took:?} for {deadline:?}");
            });
        }
    });
}

#[test]
fn with_a_silent_manager_each_caller_returns_by_its_own_deadline_and_handles_go_on_working() {
    World::both(|world| {
        world.script.answer_reads(false);
        world.script.answer_opens(false);
        thread::scope(|threads| {
            threads.spawn(|| each_returns_by_its_own_deadline(&world.manager));
            threads.spawn(|| {
                for _ in 0..20 {
                    by(Duration::ZERO, || drop(world.manager.clone()));
                }
                let error = by(SHORT, || world.builder().open(SHORT)).unwrap_err();
                assert_eq!(error.stage(), Some(Stage::Call), "{error}");
                let other = by(Duration::ZERO, World::direct);
                by(Duration::ZERO, || drop(other));
            });
        });
        // It answers again, the old calls first: late, and to nobody.
        let mut late = 0;
        while let Some(call) = world.script.take() {
            match call.member.as_str() {
                "Get" => call.text("late"),
                "StopUnit" | "StartTransientUnit" => call.carry_out(),
                _ => call.error("org.freedesktop.DBus.Error.Failed", "late"),
            }
            late += 1;
        }
        assert!(late > 0);
        world.script.answer_reads(true);
        let _serving = world.script.serve(|call| call.carry_out());
        by(LONG / 3, || {
            let create = |_| world.manager.submit(&scope("after.scope"), LONG).unwrap();
            for ticket in (0..200).map(create).collect::<Vec<_>>() {
                ticket.wait(Deadline::Default).unwrap();
            }
        });
        let stats = world.settle();
        assert_eq!((stats.connections, stats.timed_out), (1, 64));
    });
}

#[test]
fn a_deadline_says_how_far_the_request_came_and_of_which_job() {
    let silence = Silence::new();
    let error = by(SHORT, || Manager::builder().at(silence.address()).open(SHORT)).unwrap_err();
    assert_eq!((error.stage(), error.job()), (Some(Stage::Connect), None), "{error}");

    for world in [World::on_bus(), World::direct()] {
        let manager = world.builder().window(1).open(LONG).unwrap();
        let called = manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap();
        let queued = manager.submit(&UnitJob::stop("b.scope"), LONG).unwrap();
        let call = world.script.next("StopUnit");
        let error = by(SHORT, || queued.wait(SHORT)).unwrap_err();
        assert_eq!((error.stage(), error.job()), (Some(Stage::Queued), None), "{error}");
        let error = by(SHORT, || called.wait(SHORT)).unwrap_err();
        assert_eq!((error.stage(), error.job()), (Some(Stage::Call), None), "{error}");
        call.job(6);
        let in_job = manager.submit(&UnitJob::stop("c.scope"), LONG).unwrap();
        world.script.next("StopUnit").job(7);
        manager.property("a.scope", "SubState", LONG).unwrap();
        let error = by(SHORT, || in_job.wait(SHORT)).unwrap_err();
        assert_eq!((error.stage(), error.job().map(|job| job.get())), (Some(Stage::Job), Some(7)), "{error}");
        let error = manager.stop_unit("d.scope", Duration::ZERO).unwrap_err();
        assert_eq!(error.stage(), Some(Stage::Queued), "nothing is sent for a deadline that has passed");
        manager.property("a.scope", "SubState", LONG).unwrap();
        assert!(world.script.is_idle(), "none of these has a job of its own to cancel");
    }
}

#[test]
fn a_late_creates_queued_job_is_cancelled_whenever_it_becomes_known() {
    World::both(|world| {
        for known_before in [true, false] {
            let slice = Slice::new("late.slice");
            let ticket = world.manager.submit(&slice, LONG).unwrap();
            let call = world.script.next("StartTransientUnit");
            if known_before {
                call.job(7);
                world.round_trip();
                ticket.wait(SHORT).unwrap_err();
            } else {
                ticket.wait(SHORT).unwrap_err();
                call.job(7);
            }
            assert_eq!(world.script.next("CancelJob").number(), 7);
            assert_eq!(world.stats().settling, 1);
            world.script.job_removed(7, "late.slice", "canceled");
            world.settle();
        }
    });
}

#[test]
fn the_job_of_a_late_stop_or_start_is_never_cancelled() {
    World::both(|world| {
        for (job, known_before) in [(7, true), (8, false)] {
            for (request, member) in
                [(UnitJob::stop("a.scope"), "StopUnit"), (UnitJob::start("a.scope"), "StartUnit")]
            {
                let ticket = world.manager.submit(&request, LONG).unwrap();
                let call = world.script.next(member);
                if known_before {
                    call.job(job);
                    world.round_trip();
                }
                ticket.wait(SHORT).unwrap_err();
                if !known_before {
                    call.job(job);
                }
                world.round_trip();
                assert!(world.script.is_idle(), "{member}: it may be somebody else's job too");
                world.script.job_removed(job, "a.scope", "done");
                world.settle();
            }
        }
    });
}

#[test]
fn a_create_that_succeeds_late_stands_and_is_counted_and_logged() {
    record_log();
    World::both(|world| {
        let unit = match world.place {
            crate::world::Place::Bus(_) => "stands-on-a-bus.scope",
            crate::world::Place::Socket(_) => "stands-directly.scope",
        };
        let ticket = world.manager.submit(&scope(unit), LONG).unwrap();
        world.script.next("StartTransientUnit").job(41);
        world.round_trip();
        ticket.wait(SHORT).unwrap_err();
        // The manager was quicker than the cancellation, and refuses that.
        world.script.next("CancelJob");
        world.script.job_removed(41, unit, "done");
        let stats = world.settle();
        assert_eq!(stats.late, 1);
        assert!(world.script.is_idle(), "nobody's processes are killed for a deadline");
        let lines = logged(unit);
        assert!(lines.iter().any(|line| line.contains("41") && line.contains("done")), "{lines:?}");
    });
}
