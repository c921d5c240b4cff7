//! A watch tells each change once and in order, and drops rather than waits.

use std::time::Duration;

use unitwait::{Manager, Scope, UnitEvent, Watch};

use crate::support::{LONG, Sleeper, manager, name};

fn live_and_die(manager: &Manager, unit: &str) {
    let sleeper = Sleeper::new();
    let active = manager.create_scope(&Scope::new(unit).pid(sleeper.pid()), LONG).expect("it is created");
    active.stop(LONG).expect("it stops");
}

/// All that is told of one unit until it is forgotten.
fn story(watch: &mut Watch, of: &str) -> Vec<String> {
    let mut story = Vec::new();
    loop {
        let event = watch.next_by(LONG).expect("more is to come");
        let (unit, what) = match &event {
            UnitEvent::Loaded { unit } => (unit, "loaded".to_string()),
            UnitEvent::Unloaded { unit } => (unit, "unloaded".to_string()),
            UnitEvent::Changed { unit, active_state, sub_state } => {
                (unit, format!("{active_state}/{sub_state}"))
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(unit, of);
        let is_end = what == "unloaded";
        story.push(what);
        if is_end {
            return story;
        }
    }
}

#[test]
fn a_units_life_is_told_from_its_first_state_to_its_last() {
    for manager in [manager(), Manager::private().expect("the private socket answers")] {
        let unit = name("told");
        let mut watch = manager.watch(&[&unit], LONG).expect("systemd tells");
        live_and_die(&manager, &name("not-told"));
        live_and_die(&manager, &unit);
        let story = story(&mut watch, &unit);
        assert_eq!(story.first().map(String::as_str), Some("loaded"), "{story:?}");
        let order = ["active/running", "inactive/dead", "unloaded"];
        let places: Vec<_> = order.iter().map(|what| story.iter().rposition(|told| told == what)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{story:?}");
        assert_eq!(watch.dropped(), 0);
    }
}

#[test]
fn a_reader_that_falls_behind_loses_events_and_holds_up_nobody() {
    let manager = manager();
    let watch = manager.watch(&["behind-*.scope"], LONG).expect("systemd tells");
    let mut units = 0;
    while watch.dropped() == 0 {
        live_and_die(&manager, &name("behind"));
        units += 1;
        assert!(units < 2_000, "its queue has an end");
    }
    assert_eq!(watch.receiver().len(), 1024);
}

#[test]
fn a_deadline_passes_where_nothing_happens() {
    let mut watch = manager().watch(&["nothing-*.scope"], LONG).expect("systemd tells");
    let error = watch.next_by(Duration::from_millis(50)).expect_err("nothing happens");
    assert!(error.is_timeout(), "{error}");
    assert!(manager().watch(&["a[", "b"], LONG).expect_err("it is no pattern").is_invalid_input());
}
