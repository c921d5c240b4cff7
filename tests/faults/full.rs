//! The bus hangs, and the socket to it is full: what is written next would block. Nobody waits for it past a deadline,
//! and once it is read again all goes on where it was.

use std::fs;
use std::thread;
use std::time::Duration;

use unitwait::{Deadline, Manager, Request, Slice, Stage, Ticket, UnitJob};

use crate::alone::{Holdings, alone};
use crate::world::{LONG, MARGIN, World, by, open, scope};

const WINDOW: usize = 96;
const SHORT: Duration = Duration::from_millis(500);

/// How many bytes a socket takes before a write blocks (`socket(7)`).
fn room() -> usize {
    let room = fs::read_to_string("/proc/sys/net/core/wmem_default").expect("the kernel tells");
    room.trim().parse().expect("a number")
}

/// So large that a few fill the socket.
fn large() -> String {
    "x".repeat(room() / 8)
}

/// Asks for as much that is large as fits into the window, and for as much again, which waits in line.
fn fill<R: Request>(
    manager: &Manager,
    deadline: Duration,
    large: impl Fn(usize) -> R,
) -> Vec<Ticket<R::Out>> {
    (0..2 * WINDOW)
        .map(|number| by(deadline, || manager.submit(&large(number), deadline)).expect("handed over"))
        .collect()
}

#[test]
fn callers_of_a_bus_that_takes_nothing_return_by_their_deadlines_and_it_serves_on() {
    let mut world = World::on_bus();
    let manager = open(world.builder().window(WINDOW));
    world.bus().stop();
    let tickets = fill(&manager, SHORT, |number| scope(&format!("full-{number}.scope")).description(large()));
    let called = thread::scope(|threads| {
        let waits = tickets.into_iter().map(|ticket| {
            threads.spawn(|| {
                let error = by(SHORT, || ticket.wait(Deadline::Default)).unwrap_err();
                assert!(error.is_timeout(), "{error:?}");
                error.stage()
            })
        });
        let waits: Vec<_> = waits.collect();
        // The thread is not held up by what it cannot write.
        for _ in 0..10 {
            let soon = SHORT / 5;
            let error = by(soon, || manager.property("a.scope", "SubState", soon)).unwrap_err();
            assert!(error.is_timeout(), "{error}");
            by(Duration::ZERO, || manager.stats()).unwrap();
        }
        let stages: Vec<_> = waits.into_iter().map(|wait| wait.join().unwrap()).collect();
        let is = |stage| stages.iter().filter(|at| **at == Some(stage)).count();
        assert_eq!(is(Stage::Call) + is(Stage::Queued), stages.len(), "{stages:?}");
        is(Stage::Call)
    });
    assert!(called * large().len() > 2 * room(), "{called} calls do not fill the socket");
    world.bus().go_on();
    // What went out goes on, late, and what did not never will.
    for _ in 0..called {
        world.script.next("StartTransientUnit").error("org.freedesktop.DBus.Error.Failed", "too late");
    }
    by(MARGIN, || manager.property("a.scope", "SubState", LONG)).unwrap();
    assert!(world.script.is_idle());
    let serving = world.script.serve(|call| call.carry_out());
    for number in 0..200 {
        let unit = format!("after-{number}.scope");
        by(Duration::ZERO, || manager.create_scope(&scope(&unit), LONG)).unwrap();
    }
    drop(serving);
    let stats = manager.stats().unwrap();
    assert_eq!((stats.connections, stats.settling, stats.in_flight), (1, 0, 0), "{stats:?}");
}

#[test]
fn a_handle_to_a_bus_that_takes_nothing_is_dropped_within_a_bound() {
    alone(|| {
        let mut world = World::on_bus();
        let before = Holdings::now();
        for missed in [true, false] {
            let manager = open(world.builder().window(WINDOW));
            world.bus().stop();
            // Of slices, with which go no pidfds: the scripted manager, which takes them, is in this process too.
            let slice = |number| Slice::new(format!("full{number}.slice")).description(large());
            let mut tickets = fill(&manager, SHORT, slice);
            if missed {
                // What they asked for still lies there, to be written.
                for ticket in tickets.drain(..) {
                    by(SHORT, || ticket.wait(Deadline::Default)).unwrap_err();
                }
            }
            let waiting = manager.submit(&UnitJob::stop("a.scope"), SHORT).unwrap();
            by(Duration::ZERO, || drop(tickets));
            by(Duration::ZERO, || drop(waiting));
            by(Duration::ZERO, || drop(manager));
            // Creates that were handed over keep the thread until they are answered: at their deadline.
            before.assert_no_more(32 << 20);
            world.bus().go_on();
        }
    });
}
