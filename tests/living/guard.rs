//! A guard stops its own run, within its bound, and no other.

use std::time::{Duration, Instant};

use unitwait::{OnExists, Scope};

use crate::support::{LONG, Sleeper, clear_away, manager, name, state};

#[test]
fn a_scope_does_not_outlive_its_guard_unless_it_is_released() {
    let manager = manager();
    let (guarded, released) = (Sleeper::new(), Sleeper::new());
    let create = |sleeper: &Sleeper| {
        manager.create_scope(&Scope::new(name("guard")).pid(sleeper.pid()), LONG).expect("it is created")
    };
    drop(create(&guarded).guard(LONG));
    assert!(!guarded.lives());
    let active = create(&released).guard(LONG).release();
    assert!(released.lives());
    assert_eq!(state(&manager, active.unit()), "active");
    active.stop(LONG).expect("it stops");
}

#[test]
fn a_guard_never_stops_another_run_and_never_blocks_past_its_bound() {
    let manager = manager();
    let (first, second) = (Sleeper::new(), Sleeper::stubborn());
    let unit = name("guarded");
    let old = manager.create_scope(&Scope::new(&unit).pid(first.pid()), LONG).expect("it is created");
    let guard = old.guard(LONG);
    let replace = Scope::new(&unit).pid(second.pid()).on_exists(OnExists::Replace);
    let new = manager.create_scope(&replace, LONG).expect("it takes the other's place");
    drop(guard);
    assert!(second.lives());
    // Its process ignores SIGTERM, so that the stop takes far longer than the bound.
    let begun = Instant::now();
    drop(new.guard(Duration::from_millis(50)));
    assert!(begun.elapsed() < LONG / 3, "{:?}", begun.elapsed());
    assert!(second.lives());
    clear_away(&manager, &unit);
}
