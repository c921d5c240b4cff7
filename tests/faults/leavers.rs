//! Callers who time out, drop their tickets, panic, end, or never look: they cost nobody anything.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use unitwait::{Deadline, Ticket, UnitJob};

use crate::alone::{Holdings, alone};
use crate::world::{LONG, Raise, World, by, open, scope};

fn give_up<T: std::fmt::Debug>(ticket: Ticket<T>) {
    let error = ticket.wait(Duration::ZERO).unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

#[test]
fn the_result_of_a_caller_who_left_is_nobody_elses_and_the_next_is_served_at_once() {
    World::both(|world| {
        let late = world.manager.submit(&scope("same.scope"), LONG).unwrap();
        world.script.next("StartTransientUnit").job(7);
        world.round_trip();
        give_up(late);
        assert_eq!(world.script.next("CancelJob").number(), 7);
        let next = world.manager.submit(&scope("same.scope"), LONG).unwrap();
        let call = world.script.next("StartTransientUnit");
        world.script.job_removed(7, "same.scope", "done");
        call.job(8);
        world.round_trip();
        assert!(next.try_wait().is_none(), "job 7 was the other's");
        world.script.job_removed(8, "same.scope", "done");
        assert_eq!(by(Duration::ZERO, || next.wait(Deadline::Default)).unwrap().job().unwrap().get(), 8);
        assert_eq!(world.settle().late, 1);
    });
}

const CALLERS: usize = 40;
const WINDOW: usize = 32;

/// A round of callers who leave at each stage: in line, before the answer, before the end of the job.
fn leave_in_every_way(world: &World) {
    let submit = |_| world.manager.submit(&scope("left.scope"), LONG).unwrap();
    let mut tickets: Vec<_> = (0..CALLERS).map(submit).collect();
    tickets.drain(WINDOW..).for_each(give_up);
    let mut jobs = Vec::new();
    let mut early = Vec::new();
    for (number, ticket) in tickets.into_iter().enumerate() {
        let call = world.script.next("StartTransientUnit");
        let job = world.script.new_job();
        if number % 2 == 0 {
            give_up(ticket);
            call.job(job);
        } else {
            call.job(job);
            early.push(ticket);
        }
        jobs.push(job);
    }
    world.round_trip();
    early.into_iter().for_each(give_up);
    for _ in 0..WINDOW {
        world.script.next("CancelJob");
    }
    for (number, job) in jobs.into_iter().enumerate() {
        world.script.job_removed(job, "left.scope", if number % 3 == 0 { "done" } else { "canceled" });
    }
}

#[test]
fn ten_thousand_callers_who_left_leave_no_memory_no_thread_and_no_entry() {
    alone(|| {
        let mut world = World::on_bus();
        world.manager = open(world.builder().window(WINDOW));
        let rounds = |callers: usize| {
            for _ in 0..callers / CALLERS {
                leave_in_every_way(&world);
            }
            world.settle()
        };
        rounds(2_000);
        let before = Holdings::now();
        let stats = rounds(8_000);
        before.assert_no_more(4 << 20);
        assert_eq!((stats.late, stats.timed_out), (8_000, 10_000));
        let next = world.manager.submit(&scope("next.scope"), LONG).unwrap();
        world.script.next("StartTransientUnit").carry_out();
        by(Duration::ZERO, || next.wait(Deadline::Default)).unwrap();
    });
}

#[test]
fn callers_who_drop_their_ticket_panic_or_end_are_forgotten_and_the_rest_are_served() {
    World::both(|world| {
        let submit = || world.manager.submit(&scope("gone.scope"), LONG).unwrap();
        for _ in 0..100 {
            drop(submit());
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let _ticket = submit();
                std::panic::resume_unwind(Box::new("a caller's own trouble"));
            }));
            assert!(panicked.is_err());
            thread::scope(|threads| drop(threads.spawn(|| std::mem::forget(submit()))));
            for _ in 0..3 {
                world.script.next("StartTransientUnit").carry_out();
            }
        }
        let stats = world.settle();
        assert_eq!((stats.late, stats.timed_out, stats.failed), (0, 0, 0));
        let next = submit();
        world.script.next("StartTransientUnit").carry_out();
        by(Duration::ZERO, || next.wait(Deadline::Default)).unwrap();
    });
}

/// Callers who ask without a pause, and leave, keep the dbus thread busy: no deadline of others may wait for them.
#[test]
fn a_flood_of_requests_holds_up_no_answer() {
    let world = World::on_bus();
    let over = AtomicBool::new(false);
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    drop(world.manager.submit(&UnitJob::stop("none.scope"), Duration::from_millis(500)));
                }
            });
        }
        let _stop = Raise(&over);
        for _ in 0..5 {
            let wait = Duration::from_millis(300);
            let ticket = by(wait, || world.manager.submit(&scope("a.scope"), wait));
            let answer = by(wait, || ticket.map(|ticket| ticket.receiver().recv_timeout(LONG)));
            let error = answer.map_or_else(Some, |answer| answer.expect("one answer comes").err());
            assert!(error.is_some_and(|error| error.is_timeout()));
        }
    });
}

#[test]
fn what_was_handed_over_is_sent_though_the_last_handle_is_dropped_at_once() {
    World::both(|world| {
        for number in 0..20 {
            let manager = open(world.builder());
            let unit = format!("last-{number}.scope");
            drop(manager.submit(&UnitJob::stop(&unit), LONG).expect("it is handed over"));
            drop(manager);
            assert_eq!(world.script.next("StopUnit").unit(), unit);
        }
    });
}

#[test]
fn a_caller_who_never_reads_its_answer_holds_up_none_of_a_hundred_others() {
    World::both(|world| {
        let stuck = world.manager.submit(&scope("stuck.scope"), LONG).unwrap();
        let _serving = world.script.serve(|call| call.carry_out());
        let receiver = stuck.receiver().clone();
        thread::scope(|threads| {
            for _ in 0..100 {
                threads.spawn(|| {
                    for _ in 0..5 {
                        by(LONG / 3, || world.manager.create_scope(&scope("quick.scope"), LONG)).unwrap();
                    }
                });
            }
        });
        assert_eq!(receiver.len(), 1, "its answer still lies there");
    });
}
