//! Anybody on a bus may send anything to anybody, claim to be systemd or the bus, and guess job numbers, serials
//! and unique names. Here every guess is right, and nothing is believed.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dbus::Message;
use dbus::arg::Variant;
use unitwait::{Deadline, UnitJob};

use crate::manager::{BUS, NAME, Script, job_path, job_removed};
use crate::transport::{Listener, from, from_bus};
use crate::wire::Wire;
use crate::world::{LONG, Place, Raise, World, by, scope};

fn addressed(mut message: Message, to: &str) -> Message {
    message.set_destination(Some(to.into()));
    message
}

fn owner_changed(new: &str) -> Message {
    let path = "/org/freedesktop/DBus".into();
    Message::signal(&path, &BUS.into(), &"NameOwnerChanged".into()).append3(NAME, "", new)
}

/// The call that a forged answer answers.
fn call_of(victim: &str, serial: u32) -> Message {
    let mut call = Message::new_method_call(NAME, "/", NAME, "Anything").unwrap();
    call.set_serial(serial);
    call.set_sender(Some(victim.into()));
    call
}

fn error_for(call: &Message) -> Message {
    call.error(&"org.freedesktop.systemd1.UnitExists".into(), c"forged")
}

fn forger(world: &World) -> Script {
    match &world.place {
        Place::Bus(bus) => Script::nameless(bus),
        Place::Socket(_) => panic!("without a bus there is nobody else to forge"),
    }
}

#[test]
fn no_forged_signal_is_believed_broadcast_or_addressed() {
    let world = World::on_bus();
    let forger = forger(&world);
    let ticket = world.manager.submit(&scope("target.scope"), LONG).unwrap();
    let call = world.script.next("StartTransientUnit");
    let victim = call.caller();
    let lie = |job| {
        forger.send(job_removed(job, "target.scope", "done"));
        forger.send(addressed(job_removed(job, "target.scope", "done"), &victim));
        forger.flush();
        world.round_trip();
    };
    lie(7);
    call.job(7);
    world.round_trip();
    assert!(ticket.try_wait().is_none(), "a forged end came before the answer");
    lie(7);
    assert!(ticket.try_wait().is_none(), "a forged end came after the answer");
    // The rule keeps the broadcasts away; what is addressed passes every rule by.
    assert_eq!(world.stats().foreign, 2);

    for owner in [forger.unique_name(), "", ":1.999"] {
        forger.send(owner_changed(owner));
        forger.send(addressed(owner_changed(owner), &victim));
        lie(7);
    }
    assert!(ticket.try_wait().is_none(), "the forger is not the manager because it says so");
    assert_eq!(world.stats().foreign, 2 + 3 * 2);

    world.script.job_removed(7, "target.scope", "done");
    ticket.wait(Deadline::Default).unwrap();
}

#[test]
fn no_forged_answer_is_believed_though_its_serial_is_right() {
    let world = World::on_bus();
    let forger = forger(&world);
    let ticket = world.manager.submit(&UnitJob::stop("target.scope"), LONG).unwrap();
    world.script.answer_reads(false);
    let call = world.script.next("StopUnit");
    let read = {
        let manager = world.manager.clone();
        thread::spawn(move || manager.property("target.scope", "ActiveState", LONG))
    };
    let get = world.script.next("Get");
    world.script.answer_reads(true);
    let victim = call.caller();
    let before = world.stats().foreign;
    for serial in [call.serial(), get.serial()] {
        let fake = call_of(&victim, serial);
        forger.send(fake.method_return().append1(job_path(9)));
        forger.send(fake.method_return().append1(dbus::arg::Variant("inactive")));
        forger.send(error_for(&fake));
    }
    // Serials that nothing was sent under are not even counted: they are nobody's answer.
    for serial in 1_000_000..1_000_100 {
        forger.send(call_of(&victim, serial).method_return());
    }
    forger.flush();
    world.round_trip();
    assert!(ticket.try_wait().is_none());
    assert_eq!(world.stats().foreign - before, 6);
    get.text("active");
    assert_eq!(read.join().unwrap().unwrap().as_str(), Some("active"));
    call.job(7);
    world.script.job_removed(7, "target.scope", "done");
    assert_eq!(ticket.wait(Deadline::Default).unwrap().id.get(), 7);
}

#[test]
fn no_forged_answer_to_the_greeting_makes_a_stranger_the_manager() {
    let world = World::on_bus();
    let forger = forger(&world);
    let known = forger.others();
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        let _stop = Raise(&stop);
        // Unique names are counted up, so that of the next connection is no secret.
        threads.spawn(|| {
            let next = known.iter().filter_map(|name| name.strip_prefix(":1.")?.parse::<u32>().ok()).max();
            let next = next.unwrap_or_default() + 2;
            while !stop.load(Ordering::Relaxed) {
                for victim in (next..next + 8).map(|number| format!(":1.{number}")) {
                    for serial in 1..6 {
                        let lie = call_of(&victim, serial).method_return().append1(forger.unique_name());
                        forger.send(lie);
                    }
                }
                forger.flush();
            }
        });
        for _ in 0..20 {
            let manager = by(LONG / 3, || world.builder().open(LONG)).unwrap();
            assert_eq!(manager.version(), "252 (scripted)");
        }
    });
}

/// A bus on which a stranger is always quicker than whoever is asked. The senders are true, as a bus writes them.
fn with_a_quick_stranger(stream: UnixStream, _: u32) {
    let Ok(wire) = Wire::server(stream) else { return };
    while let Ok(call) = wire.receive() {
        let answer = || call.method_return();
        let (lie, truth) = match call.member().as_deref() {
            Some("Hello") => (error_for(&call), from_bus(answer().append1(":1.5"))),
            Some("GetNameOwner") => (answer().append1(":1.66"), from_bus(answer().append1(":1.0"))),
            Some("Get") => {
                (answer().append1(Variant("forged")), from(answer().append1(Variant("true")), ":1.0"))
            }
            _ => continue,
        };
        if wire.send(from(lie, ":1.66")).is_err() || wire.send(truth).is_err() {
            return;
        }
    }
}

#[test]
fn no_answer_of_a_stranger_is_believed_though_it_comes_first() {
    let manager = Listener::new(with_a_quick_stranger).open(LONG).unwrap();
    assert_eq!(manager.version(), "true");
    assert_eq!(manager.property("a.scope", "SubState", LONG).unwrap().as_str(), Some("true"));
    // To Hello, to GetNameOwner, to the two reads of opening, and to this one.
    assert_eq!(manager.stats().unwrap().foreign, 5);
}

#[test]
fn a_flood_of_forgeries_of_every_kind_makes_no_caller_late_and_fools_none() {
    let world = World::on_bus();
    let held = world.manager.submit(&UnitJob::stop("target.scope"), LONG).unwrap();
    let call = world.script.next("StopUnit");
    call.job(7);
    let victim = call.caller();
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        let _stop = Raise(&stop);
        for kind in 0..2 {
            let (world, victim, stop) = (&world, &victim, &stop);
            threads.spawn(move || {
                let forger = forger(world);
                let mut round = 0u32;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    if kind == 0 {
                        for job in (0..20).chain(1000..1100) {
                            forger.send(addressed(job_removed(job, "target.scope", "done"), victim));
                        }
                        forger.send(addressed(owner_changed(forger.unique_name()), victim));
                    } else {
                        for serial in 0..60 {
                            let fake = call_of(victim, round % 50 * 20 + serial + 1);
                            forger.send(fake.method_return().append1(job_path(serial)));
                            forger.send(error_for(&fake));
                        }
                    }
                    // What the bus has not taken yet is not to pile up in it.
                    forger.flush();
                }
            });
        }
        let serving = world.script.serve(|call| call.carry_out());
        for _ in 0..100 {
            by(Duration::from_secs(5), || world.manager.create_scope(&scope("x.scope"), LONG)).unwrap();
            by(Duration::from_secs(5), || world.manager.stop_unit("x.scope", LONG)).unwrap();
        }
        let deadline = Duration::from_millis(300);
        drop(serving);
        by(deadline, || world.manager.stop_unit("silent.scope", deadline)).unwrap_err();
    });
    assert!(held.try_wait().is_none(), "its job was never over");
    assert!(world.stats().foreign > 1000);
    world.script.job_removed(7, "target.scope", "done");
    assert_eq!(held.wait(Deadline::Default).unwrap().id.get(), 7);
}

const LOCAL: &str = "org.freedesktop.DBus.Local";
const LOCAL_PATH: &str = "/org/freedesktop/DBus/Local";

/// What libdbus makes for itself where a connection ends, under a name of which nobody should hear from outside.
fn disconnected(path: &str, interface: &str) -> Message {
    Message::signal(&path.into(), &interface.into(), &"Disconnected".into())
}

#[test]
fn who_claims_that_the_connection_has_ended_is_thrown_off_the_bus_and_nobody_hears_of_it() {
    let world = World::on_bus();
    let ticket = world.manager.submit(&UnitJob::stop("target.scope"), LONG).unwrap();
    let call = world.script.next("StopUnit");
    let forger = forger(&world);
    forger.send(addressed(disconnected(LOCAL_PATH, LOCAL), &call.caller()));
    let is_there = || world.script.others().iter().any(|name| name == forger.unique_name());
    let until = Instant::now() + LONG;
    while is_there() {
        assert!(Instant::now() < until, "this bus lets it pass, or swallows it");
    }
    call.job(7);
    world.round_trip();
    assert!(ticket.try_wait().is_none());
    world.script.job_removed(7, "target.scope", "done");
    ticket.wait(Deadline::Default).unwrap();
    assert_eq!(world.stats().connections, 1);
}

/// A bus that lets a stranger's end of the connection through, before the answer to the first read of `SubState`.
fn with_a_forged_end(stream: UnixStream, number: u32, end: &dyn Fn() -> Message) {
    let Ok(wire) = Wire::server(stream) else { return };
    while let Ok(call) = wire.receive() {
        let answer = || call.method_return();
        let property = call.get2::<&str, &str>().1;
        let messages = match (call.member().as_deref(), property) {
            (Some("Hello"), _) => vec![from_bus(answer().append1(":1.5"))],
            (Some("GetNameOwner"), _) => vec![from_bus(answer().append1(":1.0"))],
            (Some("StopUnit"), _) => vec![from(answer().append1(job_path(7)), ":1.0")],
            (Some("Get"), Some("SubState")) if number == 0 => {
                vec![from(end(), ":1.66"), from(answer().append1(Variant("true")), ":1.0")]
            }
            (Some("Get"), Some("Result")) => vec![
                from(job_removed(7, "target.scope", "done"), ":1.0"),
                from(answer().append1(Variant("true")), ":1.0"),
            ],
            (Some("Get"), _) => vec![from(answer().append1(Variant("true")), ":1.0")],
            _ => continue,
        };
        if messages.into_iter().any(|message| wire.send(message).is_err()) {
            return;
        }
    }
}

fn connections_after_a_forged_end(path: &'static str, interface: &'static str) -> u64 {
    let end = move || disconnected(path, interface);
    let bus = Listener::new(move |stream, number| with_a_forged_end(stream, number, &end));
    let manager = bus.open(LONG).unwrap();
    let ticket = manager.submit(&UnitJob::stop("target.scope"), LONG).unwrap();
    let read = |name| manager.property("target.scope", name, LONG).unwrap();
    assert_eq!(read("SubState").as_str(), Some("true"));
    assert!(ticket.try_wait().is_none(), "its job is not over");
    read("Result");
    assert_eq!(ticket.wait(Deadline::Default).unwrap().id.get(), 7);
    manager.stats().unwrap().connections
}

#[test]
fn a_strangers_end_of_the_connection_that_arrives_ends_none() {
    for path in ["/org/freedesktop/DBus", "/forged"] {
        for interface in ["org.freedesktop.DBus", "org.freedesktop.DBus.Peer", "forged.Local"] {
            assert_eq!(connections_after_a_forged_end(path, interface), 1, "{path} {interface}");
        }
    }
}

/// libdbus takes its own reserved names, from outside, for garbage, and hangs up. A bus lets none through, and one that
/// did could as well hang up itself.
#[test]
fn the_reserved_name_of_the_end_costs_a_connection_and_no_answer_where_a_bus_lets_it_through() {
    for (path, interface) in [(LOCAL_PATH, LOCAL), ("/forged", LOCAL), (LOCAL_PATH, "forged.Local")] {
        assert_eq!(connections_after_a_forged_end(path, interface), 2, "{path} {interface}");
    }
}
