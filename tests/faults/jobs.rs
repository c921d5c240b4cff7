//! Nobody goes ahead before the job is done, nobody waits where there is no job, and what is `done` must be so.

use std::thread;
use std::time::Duration;

use unitwait::{Deadline, Error, JobResult, Scope, Slice, UnitJob};

use crate::world::{LONG, Sleeper, World, by, scope};

#[test]
fn a_caller_never_goes_ahead_before_its_job_is_done() {
    World::both(|world| {
        let ticket = world.manager.submit(&scope("held.scope"), LONG).unwrap();
        let call = world.script.next("StartTransientUnit");
        world.round_trip();
        assert!(ticket.try_wait().is_none(), "not even the call is answered");
        call.job(7);
        world.round_trip();
        assert!(ticket.try_wait().is_none(), "its job is not over");
        // Of another job, though of the same unit: a stop that was queued before, say.
        world.script.job_removed(6, "held.scope", "done");
        world.round_trip();
        assert!(ticket.try_wait().is_none(), "another job is over, not its own");
        world.script.job_removed(7, "held.scope", "done");
        assert_eq!(ticket.wait(Deadline::Default).unwrap().job().unwrap().get(), 7);
    });
}

#[test]
fn where_the_unit_exists_and_no_job_is_pending_the_answer_is_immediate_from_any_thread() {
    World::both(|world| {
        let _refusing = world.script.serve(|call| match call.member.as_str() {
            "StartTransientUnit" => call.error("org.freedesktop.systemd1.UnitExists", "it is there"),
            other => panic!("{other}: nothing else is to be asked"),
        });
        thread::scope(|threads| {
            for _ in 0..50 {
                threads.spawn(|| {
                    for _ in 0..10 {
                        let scope =
                            by(Duration::ZERO, || world.manager.create_scope(&scope("a.scope"), LONG));
                        let slice =
                            by(Duration::ZERO, || world.manager.create_slice(&Slice::new("a.slice"), LONG));
                        for error in [scope.unwrap_err(), slice.unwrap_err()] {
                            let state = match &error {
                                Error::UnitExists { state, .. } => state.as_deref(),
                                other => panic!("{other}"),
                            };
                            assert_eq!(state, Some("active"));
                        }
                    }
                });
            }
        });
        let stats = world.settle();
        assert_eq!(stats.failed, 1000);
    });
}

#[test]
fn a_job_that_does_not_end_well_is_never_a_success() {
    World::both(|world| {
        let words =
            ["canceled", "timeout", "failed", "dependency", "skipped", "collected", "of a newer systemd"];
        for (job, word) in (1..).zip(words) {
            let ticket = world.manager.submit(&scope("bad.scope"), LONG).unwrap();
            world.script.next("StartTransientUnit").job(job);
            world.script.job_removed(job, "bad.scope", word);
            match ticket.wait(Deadline::Default) {
                Err(Error::JobFailed { result, job: of, .. }) => {
                    assert_eq!((result, of.get()), (JobResult::from_word(word), job));
                }
                other => panic!("{word}: {other:?}"),
            }
        }
    });
}

#[test]
fn done_is_not_believed_where_the_kernel_has_the_process_elsewhere() {
    World::both(|world| {
        let sleeper = Sleeper::new();
        let scope = Scope::new("elsewhere.scope").pid(sleeper.pid());
        let ticket = world.manager.submit(&scope, LONG).unwrap();
        world.script.next("StartTransientUnit").carry_out();
        match ticket.wait(Deadline::Default) {
            Err(Error::Misplaced { processes, .. }) => assert_eq!(processes[0].pid, sleeper.pid()),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn two_callers_who_stop_one_unit_share_its_job_and_who_leaves_takes_nothing_along() {
    World::both(|world| {
        let stop = UnitJob::stop("shared.scope");
        let [patient, hasty, second] = [(); 3].map(|()| world.manager.submit(&stop, LONG).unwrap());
        for _ in 0..3 {
            world.script.next("StopUnit").job(7);
        }
        world.round_trip();
        let error = hasty.wait(Duration::ZERO).unwrap_err();
        assert_eq!((error.is_timeout(), error.job().map(|job| job.get())), (true, Some(7)));
        world.round_trip();
        assert!(world.script.is_idle(), "a stop's job is not cancelled");
        assert!(patient.try_wait().is_none() && second.try_wait().is_none());
        world.script.job_removed(7, "shared.scope", "done");
        for ticket in [patient, second] {
            assert_eq!(ticket.wait(Deadline::Default).unwrap().id.get(), 7);
        }
        assert_eq!(world.settle().late, 1);
    });
}

#[test]
fn each_message_and_its_bytes_are_counted_once_and_by_the_time_they_are_asked_for() {
    World::both(|world| {
        world.round_trip();
        let before = world.stats();
        world.round_trip();
        let after = world.stats();
        assert_eq!(after.messages_sent - before.messages_sent, 1);
        assert_eq!(after.messages_received - before.messages_received, 1);
        // An answer has a header with a signature and a serial at the least, and a word.
        let bytes = after.bytes_received - before.bytes_received;
        assert!((40..400).contains(&bytes), "{bytes}");
        assert!(after.bytes_sent - before.bytes_sent > bytes, "a call names more than its answer");
    });
}
