//! A unit that somebody else made, or one's own after a restart, is taken over as the run that it is; and found.

use unitwait::{Error, KillWhom, Manager, Outcome, Slice, Update};

use crate::runs::{living, superseded};
use crate::support::{LONG, manager, name};

#[test]
fn a_running_scope_is_taken_over_and_everything_works_on_it() {
    let (active, sleeper) = living(&manager(), "adopt");
    // Another handle to systemd knows nothing of what was asked for through the first.
    let other = Manager::private().expect("the private socket answers");
    let adopted = other.adopt_scope(active.unit(), LONG).expect("it is taken over");
    assert_eq!(adopted.outcome(), Outcome::Adopted);
    assert_eq!(adopted.invocation_id(), active.invocation_id());
    assert_eq!(adopted.control_group(), active.control_group());
    assert_eq!(adopted.processes().expect("they are told"), [sleeper.pid()]);
    adopted.set(&Update::new().tasks_max(30), LONG).expect("it is set");
    adopted.kill(KillWhom::All, 0x12, LONG).expect("it is sent");
    adopted.audit(LONG).expect("it is looked at");
    adopted.stop(LONG).expect("it stops");
    assert!(!sleeper.lives());
    assert!(matches!(other.adopt_scope(active.unit(), LONG), Err(Error::NoSuchUnit { .. })));
}

#[test]
fn a_handle_by_adoption_means_one_run_too() {
    let manager = manager();
    let (_, later, sleeper) = superseded(&manager, "adopted");
    let adopted = manager.adopt_scope(later.unit(), LONG).expect("it is taken over");
    later.stop(LONG).expect("it stops");
    assert!(!sleeper.lives());
    assert!(matches!(adopted.stop(LONG), Err(Error::NoSuchUnit { .. })));
}

#[test]
fn a_slice_is_taken_over_and_a_name_of_another_kind_is_not() {
    let manager = manager();
    let slice = name("adopt").replace(".scope", ".slice").replace('-', "_");
    manager.create_slice(&Slice::new(&slice).tasks_max(100), LONG).expect("it is created");
    let adopted = manager.adopt_slice(&slice, LONG).expect("it is taken over");
    assert_eq!(adopted.unit(), slice);
    adopted.stop(LONG).expect("it stops");
    assert!(manager.adopt_scope(&slice, LONG).expect_err("it is a slice").is_invalid_input());
    assert!(matches!(manager.adopt_scope("never-was.scope", LONG), Err(Error::NoSuchUnit { .. })));
}

#[test]
fn a_unit_is_found_by_its_process_and_by_its_state() {
    let manager = manager();
    let (active, sleeper) = living(&manager, "found");
    assert_eq!(manager.unit_of_process(sleeper.pid(), LONG).expect("it is in one"), active.unit());
    let pattern = [active.unit()];
    let in_state =
        |state: &str| manager.list_units_in(&[state], &pattern, LONG).expect("the list comes").len();
    assert_eq!((in_state("active"), in_state("running"), in_state("failed")), (1, 1, 0));
    assert!(manager.list_units_in(&["no word"], &[], LONG).expect_err("it is no word").is_invalid_input());
    assert!(manager.unit_of_process(0, LONG).expect_err("it is no process").is_invalid_input());
    active.stop(LONG).expect("it stops");
    assert!(manager.unit_of_process(u32::MAX / 4, LONG).is_err());
}
