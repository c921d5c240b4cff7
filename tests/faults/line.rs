//! Thousands of requests that wait in line.

use std::process::id;

use unitwait::{ActiveScope, Scope, Ticket};

use crate::alone::{Holdings, alone};
use crate::world::{LONG, World, open};

const WINDOW: usize = 8;
const MANY: usize = 10_000;

/// What a request may take that waits: all of it, its ticket and what was asked for included.
const MOST: usize = 1024;

#[test]
fn a_request_that_waits_in_line_takes_less_than_a_kibibyte_and_goes_out_when_its_turn_comes() {
    alone(|| {
        let mut world = World::direct();
        world.manager = open(world.builder().window(WINDOW));
        let name = |number: usize| format!("line-{}-{number}.scope", id());
        let submit = |number: usize| -> Ticket<ActiveScope> {
            let slice = format!("line-t{}.slice", number % 100);
            let scope = Scope::new(name(number)).own_process().slice(slice).default_dependencies(false);
            world.manager.submit(&scope.verify(false), LONG).expect("handed over")
        };
        let mut tickets = Vec::with_capacity(2 * MANY);
        // What is taken once, and an allocator's own way to begin, are not the line's.
        tickets.extend((0..MANY / 10).map(&submit));
        world.stats();
        let before = Holdings::now();
        tickets.extend((MANY / 10..MANY / 10 + MANY).map(&submit));
        assert_eq!(world.stats().queued, tickets.len() - WINDOW);
        let each = (Holdings::now().resident - before.resident) / MANY;
        assert!(each <= MOST, "{each} bytes each");
        for (number, ticket) in tickets.into_iter().enumerate().take(100) {
            let call = world.script.next("StartTransientUnit");
            assert_eq!(call.unit(), name(number));
            assert_eq!(call.properties(), ["PIDs", "Slice", "DefaultDependencies"]);
            call.carry_out();
            ticket.wait(LONG).expect("it is carried out");
        }
    });
}
