//! Many scopes by one call: an outcome for each, in order, by one deadline.

use std::time::{Duration, Instant};

use unitwait::{Error, Scope};

use crate::support::{LONG, Sleeper, group_of, manager, name};

#[test]
fn each_of_three_hundred_scopes_has_its_own_outcome_in_order() {
    let manager = manager();
    let sleepers: Vec<Sleeper> = (0..300).map(|_| Sleeper::new()).collect();
    let mut scopes: Vec<Scope> = sleepers
        .iter()
        .map(|sleeper| Scope::new(name("batch")).pid(sleeper.pid()).slice("batch.slice"))
        .collect();
    // One that cannot be, and one whose name is taken, spoil nothing for the others.
    scopes.insert(100, Scope::new("no name").pid(sleepers[0].pid()));
    scopes.insert(200, scopes[0].clone());
    let outcomes = manager.create_scopes(&scopes, LONG);
    assert_eq!(outcomes.len(), 302);
    let mut created = sleepers.iter();
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match (number, outcome) {
            (100, outcome) => assert!(outcome.expect_err("it is no name").is_invalid_input()),
            (200, outcome) => assert!(matches!(outcome, Err(Error::UnitExists { .. })), "{outcome:?}"),
            (_, outcome) => {
                let active = outcome.expect("it is created");
                let sleeper = created.next().expect("one for each");
                assert_eq!(group_of(sleeper.pid()), active.control_group());
            }
        }
    }
    manager.stop_unit("batch.slice", LONG).expect("it stops, and all in it");
}

#[test]
fn one_deadline_is_for_all_of_them() {
    let manager = manager();
    let sleepers: Vec<Sleeper> = (0..200).map(|_| Sleeper::new()).collect();
    let scopes: Vec<Scope> = sleepers
        .iter()
        .map(|sleeper| Scope::new(name("hasty")).pid(sleeper.pid()).slice("hasty.slice"))
        .collect();
    let begun = Instant::now();
    let outcomes = manager.create_scopes(&scopes, Duration::from_millis(5));
    assert!(begun.elapsed() < LONG / 3, "{:?}", begun.elapsed());
    let late = outcomes.iter().filter(|outcome| matches!(outcome, Err(error) if error.is_timeout())).count();
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!((late + done, late > 0), (200, true), "{late} late, {done} done");
    let _ = manager.stop_unit("hasty.slice", LONG);
}
