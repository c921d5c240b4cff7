//! A change to a living unit, and a manager that is slow, mute or short of words.

use std::collections::HashMap;
use std::time::Duration;

use dbus::arg::Variant;
use unitwait::{Error, GapReason, Operation, Property, Stage, Update};

use crate::manager::Call;
use crate::world::{LONG, World, by};

const SHORT: Duration = Duration::from_millis(100);

fn update() -> Update {
    Update::new().tasks_max(20)
}

/// Answers a read of all properties.
fn has_group(call: &Call, group: &str) {
    call.answer(|reply| reply.append1(HashMap::from([("ControlGroup", Variant(group))])));
}

#[test]
fn a_deadline_says_whether_the_change_was_made() {
    World::both(|world| {
        let set = || by(SHORT, || world.manager.set("a.scope", &update(), SHORT)).unwrap_err();
        let told = set();
        assert_eq!(told.stage(), Some(Stage::Call), "{told}");
        world.script.next("SetUnitProperties").answer(|reply| reply);

        let serving = world.script.serve(|call| {
            if call.member == "SetUnitProperties" {
                call.answer(|reply| reply);
            }
        });
        let told = set();
        drop(serving);
        assert_eq!(told.stage(), Some(Stage::Verify), "{told}");
        assert_eq!(told.asked().map(|asked| asked.operation), Some(Operation::Set));
        assert!(told.to_string().ends_with("(set it again: to set twice is to set once)"), "{told}");
    });
}

#[test]
fn where_the_manager_does_not_say_which_property_it_lacks_all_that_are_optional_are_left_out() {
    World::both(|world| {
        let optional = |name: &str| Property::new(name, 1u64).optional();
        let update = update().property(optional("One")).property(optional("Another")).verify(false);
        let set = || world.manager.set("a.scope", &update, LONG);
        let refuse = |times: usize| {
            for _ in 0..times {
                let call = world.script.next("SetUnitProperties");
                call.error("org.freedesktop.DBus.Error.PropertyReadOnly", "some of these I do not know");
            }
        };
        std::thread::scope(|threads| {
            let left = threads.spawn(set);
            refuse(1);
            world.script.next("SetUnitProperties").answer(|reply| reply);
            assert_eq!(left.join().unwrap().unwrap().left_out, ["One", "Another"]);
            let lost = threads.spawn(set);
            refuse(2);
            match lost.join().unwrap() {
                Err(Error::UnknownProperty { property, .. }) => assert_eq!(property, ""),
                other => panic!("{other:?}"),
            }
        });
        assert!(world.script.is_idle());
    });
}

#[test]
fn a_group_that_vanishes_under_the_look_is_looked_for_again_and_not_for_ever() {
    World::both(|world| {
        std::thread::scope(|threads| {
            let set = || world.manager.set("a.scope", &update(), LONG);
            let gone = threads.spawn(set);
            world.script.next("SetUnitProperties").answer(|reply| reply);
            has_group(&world.script.next("GetAll"), "/no-such-group");
            has_group(&world.script.next("GetAll"), "");
            assert_eq!(gone.join().unwrap().unwrap().limit_gaps[0].reason, GapReason::NotRunning);
            let never = threads.spawn(set);
            world.script.next("SetUnitProperties").answer(|reply| reply);
            (0..3).for_each(|_| has_group(&world.script.next("GetAll"), "/no-such-group"));
            assert_eq!(never.join().unwrap().unwrap().limit_gaps.len(), 1);
        });
        assert!(world.script.is_idle());
    });
}
