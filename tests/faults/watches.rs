//! Watches and waits: they subscribe no longer than they last, outlive the connection, and believe nobody but the
//! manager.

use std::collections::HashMap;

use dbus::Message;
use dbus::arg::{RefArg, Variant};
use unitwait::{Ending, UnitEvent, Watch};

use crate::manager::{Script, path_of, signal};
use crate::world::{LONG, Place, World};

fn changed(unit: &str, active: &str, sub: &str) -> Message {
    let path = format!("/org/freedesktop/systemd1/unit/{}", path_of(unit));
    let (interface, member) = ("org.freedesktop.DBus.Properties", "PropertiesChanged");
    let changes = HashMap::from([("ActiveState", Variant(active)), ("SubState", Variant(sub))]);
    let message = Message::signal(&path.into(), &interface.into(), &member.into());
    message.append3("org.freedesktop.systemd1.Unit", changes, Vec::<String>::new())
}

/// What a watch tells of a unit, in short.
fn told(watch: &mut Watch) -> String {
    match watch.next_by(LONG).expect("more is to come") {
        UnitEvent::Changed { unit, active_state, sub_state } => format!("{unit} {active_state}/{sub_state}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn only_a_watch_subscribes_and_the_last_one_to_go_unsubscribes() {
    let world = World::on_bus();
    world.round_trip();
    assert!(world.script.is_idle(), "nobody watches");
    let first = world.manager.watch(&[], LONG).expect("the manager answers");
    world.script.next("Subscribe");
    let second = world.manager.watch(&["x.scope"], LONG).expect("the manager answers");
    drop(first);
    world.round_trip();
    assert!(world.script.is_idle(), "the second watches, and is subscribed for already");
    drop(second);
    world.script.next("Unsubscribe");
    world.round_trip();
    assert!(world.script.is_idle());
}

#[test]
fn a_watch_tells_each_state_once_and_goes_on_after_the_connection_was_lost() {
    let mut world = World::on_bus();
    let mut watch = world.manager.watch(&["a*.scope"], LONG).expect("the manager answers");
    world.script.next("Subscribe");
    for unit in ["a.scope", "b.scope", "a.scope"] {
        world.script.send(changed(unit, "active", "running"));
    }
    world.script.send(changed("a.scope", "failed", "failed"));
    assert_eq!(told(&mut watch), "a.scope active/running");
    assert_eq!(told(&mut watch), "a.scope failed/failed");
    // Nothing else is asked of the manager: the watch alone has it connect again.
    world.bring_the_bus_back();
    world.script.next("Subscribe");
    assert_eq!(told(&mut watch), "Interrupted");
    world.script.send(changed("a.scope", "failed", "failed"));
    assert_eq!(told(&mut watch), "a.scope failed/failed");
}

fn watch(world: &World, pattern: &str) -> unitwait::Watch {
    world.manager.watch(&[pattern], LONG).expect("the manager answers")
}

/// What was told to one watch is no news to another only as long as somebody heard of all that came between.
#[test]
fn a_later_watch_is_told_of_a_change_that_comes_after_one_that_nobody_wanted_to_hear_of() {
    let world = World::on_bus();
    let (mut first, _other) = (watch(&world, "a*.scope"), watch(&world, "b*.scope"));
    world.script.next("Subscribe");
    world.script.send(changed("a.scope", "active", "running"));
    assert_eq!(told(&mut first), "a.scope active/running");
    drop(first);
    world.round_trip();
    world.script.send(changed("a.scope", "failed", "failed"));
    world.round_trip();
    let mut later = watch(&world, "a*.scope");
    world.script.send(changed("a.scope", "active", "running"));
    assert_eq!(told(&mut later), "a.scope active/running");
}

#[test]
fn no_strangers_word_of_a_unit_is_believed() {
    let world = World::on_bus();
    let Place::Bus(bus) = &world.place else { return };
    let stranger = Script::nameless(bus);
    let watch = world.manager.watch(&[], LONG).expect("the manager answers");
    world.script.next("Subscribe");
    for to in world.script.others() {
        let mut forged = changed("a.scope", "failed", "failed");
        forged.set_destination(Some(to.into()));
        stranger.send(forged);
    }
    stranger.send(signal("UnitRemoved").append2("a.scope", dbus::Path::from("/a")));
    stranger.flush();
    world.round_trip();
    assert!(watch.receiver().is_empty());
    assert!(world.stats().foreign >= 1);
}

#[test]
fn a_wait_begins_anew_on_a_new_connection_and_gives_its_reference_back() {
    let mut world = World::on_bus();
    let manager = world.manager.clone();
    let adopter = std::thread::spawn(move || manager.adopt_scope("a.scope", LONG));
    let state: Box<dyn RefArg> = Box::new("active".to_string());
    let id: Box<dyn RefArg> = Box::new(vec![7u8; 16]);
    let run = HashMap::from([("ActiveState", Variant(state)), ("InvocationID", Variant(id))]);
    world.script.next("GetAll").answer(|reply| reply.append1(run));
    let active = adopter.join().expect("no panic").expect("it is taken over");
    let waiter = std::thread::spawn(move || active.wait(LONG));
    let running = |script: &Script| {
        script.next("Ref").answer(|reply| reply);
        let state = HashMap::from([("ActiveState", Variant("active")), ("SubState", Variant("running"))]);
        script.next("GetAll").answer(|reply| reply.append1(state));
    };
    running(&world.script);
    world.round_trip();
    world.bring_the_bus_back();
    running(&world.script);
    world.script.send(changed("a.scope", "deactivating", "stop-sigterm"));
    world.script.send(changed("a.scope", "inactive", "dead"));
    let over = HashMap::from([("ActiveState", Variant("inactive")), ("Result", Variant("success"))]);
    world.script.next("GetAll").answer(|reply| reply.append1(over));
    assert_eq!(waiter.join().expect("no panic").expect("the end is told").ending, Ending::Stopped);
    world.script.next("Unref");
    world.settle();
}
