//! A manager that answers wrongly, twice, in the wrong order, or not at all.

use std::time::Duration;

use dbus::channel::Channel;
use unitwait::{Deadline, Error, JobResult, UnitJob};

use crate::bus::Bus;
use crate::manager::{MANAGER_PATH, NAME, job_path, signal};
use crate::world::{LONG, Place, World, by, open, scope};

#[test]
fn a_job_that_is_over_before_the_call_is_answered_counts() {
    World::both(|world| {
        let ticket = world.manager.submit(&scope("quick.scope"), LONG).unwrap();
        let call = world.script.next("StartTransientUnit");
        world.script.job_removed(7, "quick.scope", "done");
        call.job(7);
        assert_eq!(by(Duration::ZERO, || ticket.wait(Deadline::Default)).unwrap().job().unwrap().get(), 7);
    });
}

#[test]
fn what_is_said_twice_counts_once_and_disturbs_nobody_after() {
    World::both(|world| {
        let ticket = world.manager.submit(&scope("twice.scope"), LONG).unwrap();
        let call = world.script.next("StartTransientUnit");
        call.job(7);
        call.job(7);
        for _ in 0..2 {
            world.script.job_removed(7, "twice.scope", "done");
        }
        ticket.wait(Deadline::Default).unwrap();
        // The second signal and the second answer are no part of the next request.
        let next = world.manager.submit(&scope("twice.scope"), LONG).unwrap();
        let call_of_next = world.script.next("StartTransientUnit");
        call.job(7);
        world.round_trip();
        assert!(next.try_wait().is_none());
        call_of_next.job(8);
        world.round_trip();
        assert!(next.try_wait().is_none());
        world.script.job_removed(8, "twice.scope", "done");
        assert_eq!(next.wait(Deadline::Default).unwrap().job().unwrap().get(), 8);
        assert_eq!(world.settle().late, 0);
    });
}

#[test]
fn a_job_removed_of_another_unit_or_of_no_known_form_is_not_taken_for_the_end() {
    World::both(|world| {
        let ticket = world.manager.submit(&scope("mine.scope"), LONG).unwrap();
        world.script.next("StartTransientUnit").job(7);
        // A manager that was restarted counts anew: it is asked, and has (in this tale) our job still.
        world.script.job_removed(7, "other.scope", "done");
        world.script.next("GetAll").is_job_of("mine.scope", "start");
        let garbled = [
            signal("JobRemoved"),
            signal("JobRemoved").append1("7"),
            signal("JobRemoved").append3(7u64, job_path(7), "mine.scope").append1("done"),
            signal("JobRemoved").append3(7u32, job_path(7), "mine.scope"),
            signal("JobRemoved").append3(7u32, job_path(7), "mine.scope").append1(0u32),
            signal("JobNew").append3(7u32, job_path(7), "mine.scope").append1("done"),
        ];
        for message in garbled {
            world.script.send(message);
        }
        world.round_trip();
        assert!(ticket.try_wait().is_none());
        // One with more than is known is a newer systemd's.
        let newer = signal("JobRemoved").append3(7u32, job_path(7), "mine.scope").append2("done", 1u32);
        world.script.send(newer);
        ticket.wait(Deadline::Default).unwrap();
    });
}

#[test]
fn the_end_of_another_units_job_of_the_same_number_makes_the_units_own_state_decide() {
    World::both(|world| {
        for (state, good) in [("active", true), ("inactive", false)] {
            world.script.set_state("mine.scope", state);
            for is_early in [true, false] {
                let ticket = world.manager.submit(&scope("mine.scope"), LONG).unwrap();
                let call = world.script.next("StartTransientUnit");
                if is_early {
                    world.script.job_removed(7, "other.scope", "done");
                    call.job(7);
                    world.round_trip();
                    assert!(ticket.try_wait().is_none());
                } else {
                    call.job(7);
                }
                world.script.job_removed(7, "other.scope", "done");
                let look = world.script.next("GetAll");
                look.error("org.freedesktop.DBus.Error.UnknownObject", "no such job");
                let result = ticket.wait(Deadline::Default);
                assert_eq!(result.is_ok(), good, "{state}: {result:?}");
            }
        }
    });
}

#[test]
fn an_unknown_result_is_a_failure_that_says_the_word() {
    World::both(|world| {
        let ticket = world.manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap();
        world.script.next("StopUnit").job(7);
        world.script.job_removed(7, "a.scope", "evaporated");
        let error = ticket.wait(Deadline::Default).unwrap_err();
        match &error {
            Error::JobFailed { result: JobResult::Other(word), .. } => assert_eq!(word, "evaporated"),
            other => panic!("{other:?}"),
        }
        assert!(error.to_string().contains("evaporated"), "{error}");
    });
}

#[test]
fn a_job_removed_that_never_comes_is_a_timeout_that_names_the_job() {
    World::both(|world| {
        let deadline = Duration::from_millis(200);
        let ticket = world.manager.submit(&UnitJob::stop("a.scope"), deadline).unwrap();
        world.script.next("StopUnit").job(7);
        let error = by(deadline, || ticket.wait(Deadline::Default)).unwrap_err();
        assert_eq!(error.job().map(|job| job.get()), Some(7), "{error}");
    });
}

#[test]
fn an_error_is_the_answer_even_where_a_signal_spoke_of_success_before() {
    World::both(|world| {
        let ticket = world.manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap();
        let call = world.script.next("StopUnit");
        world.script.job_removed(7, "a.scope", "done");
        call.error("org.freedesktop.systemd1.NoSuchUnit", "it is not there");
        let error = by(Duration::ZERO, || ticket.wait(Deadline::Default)).unwrap_err();
        assert!(matches!(error, Error::NoSuchUnit { .. }), "{error}");
        // And it is not kept for whoever gets that job's number next.
        let next = world.manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap();
        world.script.next("StopUnit").job(7);
        world.round_trip();
        assert!(next.try_wait().is_none());
        world.script.job_removed(7, "a.scope", "done");
        next.wait(Deadline::Default).unwrap();
    });
}

#[test]
fn an_answer_of_a_wrong_type_is_an_error_at_once_for_every_kind_of_call() {
    World::both(|world| {
        let create = world.manager.submit(&scope("a.scope"), LONG).unwrap();
        world.script.next("StartTransientUnit").answer(|reply| reply.append1(7u32));
        by(Duration::ZERO, || create.wait(Deadline::Default)).unwrap_err();

        for garbled in ["/", "/org/freedesktop/systemd1/unit/a", "/org/freedesktop/systemd1/job/x"] {
            let stop = world.manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap();
            world.script.next("StopUnit").answer(|reply| reply.append1(dbus::Path::from(garbled)));
            by(Duration::ZERO, || stop.wait(Deadline::Default)).unwrap_err();
        }

        let stop = world.manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap();
        world.script.next("StopUnit").answer(|reply| reply);
        by(Duration::ZERO, || stop.wait(Deadline::Default)).unwrap_err();

        world.script.answer_reads(false);
        let _garbling = world.script.serve(|call| call.answer(|reply| reply.append1("no variant")));
        by(Duration::ZERO, || world.manager.property("a.scope", "ActiveState", LONG)).unwrap_err();
        by(Duration::ZERO, || world.manager.properties("a.scope", LONG)).unwrap_err();
        by(Duration::ZERO, || world.manager.list_units(&[], LONG)).unwrap_err();
    });
}

/// Over libdbus, which alone can pass a descriptor: a manager that answers everything with one.
#[test]
fn an_answer_that_carries_a_descriptor_is_an_error_and_the_descriptor_is_closed() {
    crate::alone::alone(|| {
        let bus = Bus::start();
        let mut channel = Channel::open_private(&bus.address()).unwrap();
        channel.register().unwrap();
        let owner = crate::manager::bus_method("RequestName").append2(NAME, 0u32);
        channel.send_with_reply_and_block(owner, LONG).unwrap();
        let manager_thread = std::thread::spawn(move || {
            let mut jobs = 0u32;
            while let Ok(message) = channel.blocking_pop_message(LONG) {
                let Some(call) = message.filter(|message| message.member().is_some()) else { continue };
                match call.member().as_deref() {
                    Some("Get") if call.path().as_deref() == Some(MANAGER_PATH) => {
                        let _ = channel.send(call.method_return().append1(dbus::arg::Variant("/")));
                    }
                    Some("Exit") => return,
                    Some("Get" | "StopUnit") => {
                        jobs += 1;
                        let null = std::fs::File::open("/dev/null").unwrap();
                        let _ = channel.send(call.method_return().append2(job_path(jobs), null));
                    }
                    _ => {}
                }
            }
        });
        let place = Place::Bus(bus);
        let manager = open(place.builder());
        let ask = || {
            by(Duration::ZERO, || manager.stop_unit("a.scope", LONG)).unwrap_err();
            by(Duration::ZERO, || manager.property("a.scope", "ActiveState", LONG)).unwrap_err();
        };
        (0..20).for_each(|_| ask());
        let before = crate::alone::Holdings::now();
        (0..200).for_each(|_| ask());
        before.assert_no_more(4 << 20);
        let Place::Bus(bus) = &place else { return };
        let goodbye = crate::manager::Script::nameless(bus);
        goodbye.send(dbus::Message::new_method_call(NAME, MANAGER_PATH, NAME, "Exit").unwrap());
        manager_thread.join().unwrap();
    });
}

#[test]
fn an_end_that_drowned_in_a_flood_before_the_answer_is_found_out_all_the_same() {
    World::both(|world| {
        let ticket = world.manager.submit(&scope("drowned.scope"), LONG).unwrap();
        let call = world.script.next("StartTransientUnit");
        world.script.job_removed(7, "drowned.scope", "done");
        for job in 0..10_000 {
            world.script.job_removed(10_000 + job, "stranger.scope", "failed");
        }
        call.job(7);
        world.script.next("GetAll").error("org.freedesktop.DBus.Error.UnknownObject", "no such job");
        ticket.wait(Deadline::Default).unwrap();
    });
}

#[test]
fn a_hundred_thousand_ends_of_strangers_jobs_make_no_caller_late() {
    const FLOOD: u32 = 100_000;
    World::both(|world| {
        // The flood itself may take a loaded machine a while; what it must not do is to delay what comes after.
        let ticket = world.manager.submit(&scope("drowned.scope"), LONG * 10).unwrap();
        let call = world.script.next("StartTransientUnit");
        for job in 0..FLOOD / 2 {
            world.script.job_removed(10_000 + job, "stranger.scope", "failed");
        }
        // In the midst of it: its own, before and after the answer.
        call.job(7);
        for job in 0..FLOOD / 2 {
            world.script.job_removed(10_000 + FLOOD + job, "stranger.scope", "failed");
        }
        world.script.job_removed(7, "drowned.scope", "done");
        assert_eq!(ticket.wait(Deadline::Default).unwrap().job().unwrap().get(), 7);
        let serving = world.script.serve(|call| call.carry_out());
        by(Duration::ZERO, || world.manager.stop_unit("drowned.scope", LONG)).unwrap();
        drop(serving);
        assert_eq!(world.settle().foreign, 0);
    });
}
