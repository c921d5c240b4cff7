//! By what a manager is told of a new unit's processes: by pidfd where it and all between can, else by number, and
//! no process that has ended leaves its number to another one in a unit.

use std::fs;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use unitwait::{Deadline, Error, Scope};

use crate::alone::{Holdings, alone};
use crate::bus::{Bus, Directory};
use crate::manager::{Call, Script};
use crate::world::{LONG, Place, Sleeper, World, by, open, scope};

/// The processes that a call's descriptors mean (`pidfd_open(2)`, "fdinfo").
fn meant(call: &Call) -> Vec<u32> {
    let pid = |descriptor: &std::os::fd::OwnedFd| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd())).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("Pid:")).expect("it is a pidfd");
        line.trim().parse().unwrap()
    };
    call.descriptors.iter().map(pid).collect()
}

fn by_number(call: &Call) -> bool {
    let has = |name: &str| call.properties().iter().any(|known| known == name);
    assert_ne!(has("PIDs"), has("PIDFDs"), "{:?}", call.properties());
    assert_eq!(has("PIDs"), call.descriptors.is_empty());
    has("PIDs")
}

#[test]
fn each_process_is_named_by_a_pidfd_of_its_own() {
    World::both(|world| {
        let sleepers: Vec<Sleeper> = (0..16).map(|_| Sleeper::new()).collect();
        let pids: Vec<u32> = sleepers.iter().map(Sleeper::pid).collect();
        let all = Scope::new("all.scope").pids(pids.iter().copied()).verify(false);
        let ticket = world.manager.submit(&all, LONG).unwrap();
        let call = world.script.next("StartTransientUnit");
        assert!(!by_number(&call));
        assert_eq!(meant(&call), pids);
        call.carry_out();
        ticket.wait(Deadline::Default).unwrap();
        // One more than a bus lets through in a message.
        let ticket = world.manager.submit(&all.own_process(), LONG).unwrap();
        let call = world.script.next("StartTransientUnit");
        assert!(by_number(&call));
        call.carry_out();
        ticket.wait(Deadline::Default).unwrap();
        assert_eq!(world.script.refused(), 0);
    });
}

#[test]
fn a_manager_that_knows_no_pidfds_is_asked_with_them_once_and_nobody_is_late_for_it() {
    World::both(|world| {
        world.script.take_pidfds(false);
        for number in 0..3 {
            let deadline = Duration::from_millis(500);
            let ticket = world.manager.submit(&scope("old.scope"), deadline).unwrap();
            let call = world.script.next("StartTransientUnit");
            assert!(by_number(&call));
            if number == 1 {
                let error = by(deadline, || ticket.wait(Deadline::Default)).unwrap_err();
                assert!(error.is_timeout(), "{error}");
                call.carry_out();
                world.script.next("CancelJob");
                world.settle();
            } else {
                call.carry_out();
                by(deadline, || ticket.wait(Deadline::Default)).unwrap();
            }
        }
        assert_eq!(world.script.refused(), 1);
        // Each handle asks for itself: another may have been opened to a newer manager.
        world.script.take_pidfds(true);
        let ticket = open(world.builder()).submit(&scope("new.scope"), LONG).unwrap();
        let call = world.script.next("StartTransientUnit");
        assert!(!by_number(&call));
        call.carry_out();
        ticket.wait(Deadline::Default).unwrap();
    });
}

#[test]
fn a_refusal_of_another_property_is_final_and_names_it() {
    World::both(|world| {
        let odd = scope("odd.scope").property(unitwait::Property::new("NotYetInvented", true));
        let ticket = world.manager.submit(&odd, LONG).unwrap();
        let name = "org.freedesktop.DBus.Error.PropertyReadOnly";
        let call = world.script.next("StartTransientUnit");
        call.error(name, "Cannot set property NotYetInvented, or unknown property.");
        let error = ticket.wait(Deadline::Default).unwrap_err();
        assert!(
            matches!(&error, Error::UnknownProperty { property, .. } if property == "NotYetInvented"),
            "{error}"
        );
        world.round_trip();
        assert!(world.script.is_idle(), "it was asked again");
    });
}

#[test]
fn where_no_descriptor_can_pass_processes_are_named_by_number() {
    // The manager's own socket, which does not agree to descriptors.
    let directory = Directory::new();
    let script = Script::listening(&directory.join("private"), false);
    let place = Place::Socket(directory);
    let direct = World { manager: open(place.builder()), script, place };
    // A bus that takes them, with a manager that does not.
    let bus = Bus::with_limits(&[("max_replies_per_connection", 4)]);
    let script = Script::without_descriptors(&bus);
    let place = Place::Bus(bus);
    let on_bus = World { manager: open(place.builder()), script, place };
    for world in [direct, on_bus] {
        // A refusal costs a place for an answer, which dbus-daemon never gives back: more than one is too many.
        for _ in 0..20 {
            let ticket = world.manager.submit(&scope("number.scope"), LONG).unwrap();
            let call = world.script.next("StartTransientUnit");
            assert!(by_number(&call));
            call.carry_out();
            ticket.wait(Deadline::Default).unwrap();
        }
    }
}

#[test]
fn of_hundreds_of_requests_that_wait_few_hold_descriptors_and_none_that_is_over() {
    alone(|| {
        let mut world = World::on_bus();
        world.manager = open(world.builder().window(8));
        let submit = |_| world.manager.submit(&scope("many.scope"), LONG).unwrap();
        let first = submit(0);
        world.script.next("StartTransientUnit").carry_out();
        first.wait(Deadline::Default).unwrap();
        let before = Holdings::now();
        let tickets: Vec<_> = (0..500).map(submit).collect();
        let sent: Vec<Call> = (0..8).map(|_| world.script.next("StartTransientUnit")).collect();
        // The test has those that came, and as many processes are kept in sight.
        let held = Holdings::now().descriptors - before.descriptors;
        assert!((sent.len()..=sent.len() + 32).contains(&held), "{held}");
        sent.iter().for_each(Call::carry_out);
        drop(sent);
        let serving = world.script.serve(|call| call.carry_out());
        for ticket in tickets {
            ticket.wait(Deadline::Default).unwrap();
        }
        drop(serving);
        before.assert_no_more(4 << 20);
    });
}

#[test]
fn without_a_free_descriptor_processes_are_named_by_number_and_the_manager_lives() {
    alone(|| {
        let mut world = World::on_bus();
        world.manager = open(world.builder().window(1));
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        // Several, so that the copies in the message are more than what was free for a look at the last of them.
        let sleepers: Vec<Sleeper> = (0..6).map(|_| Sleeper::new()).collect();
        let several = Scope::new("second.scope").pids(sleepers.iter().map(Sleeper::pid)).verify(false);
        // From none that is free to one after the other, past all that a creation needs.
        let by_number: Vec<bool> = (3..Holdings::now().descriptors as u64 + 20)
            .map(|limit| {
                // The second waits in line, and is sent while the limit is there.
                let first = world.manager.submit(&scope("first.scope"), LONG).unwrap();
                let second = world.manager.submit(&several, LONG).unwrap();
                let mut call = world.script.next("StartTransientUnit");
                call.descriptors.clear();
                setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
                call.carry_out();
                first.wait(Deadline::Default).unwrap();
                let call = world.script.next("StartTransientUnit");
                setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
                call.carry_out();
                second.wait(Deadline::Default).unwrap();
                call.properties().contains(&"PIDs".into())
            })
            .collect();
        assert!(by_number.is_sorted_by(|more, fewer| more >= fewer), "{by_number:?}");
        assert!(by_number.contains(&true) && by_number.contains(&false), "{by_number:?}");
    });
}

#[test]
fn a_process_that_ends_while_its_request_waits_in_line_is_told_of_and_never_asked_for() {
    World::both(|world| {
        for pidfds in [true, false] {
            world.script.take_pidfds(pidfds);
            let manager = open(world.builder().window(2));
            let sleeper = Sleeper::new();
            let pid = sleeper.pid();
            let submit = |scope: Scope| manager.submit(&scope, LONG).unwrap();
            let before = [submit(scope("first.scope")), submit(scope("first.scope"))];
            let calls = [(); 2].map(|()| world.script.next("StartTransientUnit"));
            let ticket = submit(Scope::new("gone.scope").pid(pid).verify(false));
            drop(sleeper);
            // What waits for less is as good as under way, and systemd's own refusal is the answer.
            let submitted = Instant::now();
            while submitted.elapsed() < Duration::from_millis(5) {
                world.round_trip();
            }
            calls.iter().for_each(Call::carry_out);
            for first in before {
                first.wait(Deadline::Default).unwrap();
            }
            let error = by(Duration::ZERO, || ticket.wait(Deadline::Default)).unwrap_err();
            assert!(matches!(error, Error::NoSuchProcess { pid: Some(gone), .. } if gone == pid), "{error}");
            world.round_trip();
            assert!(world.script.is_idle(), "it was asked for");
            assert_eq!(manager.stats().unwrap().in_flight, 0);
        }
    });
}

#[test]
fn the_last_free_descriptor_is_for_what_a_creation_needs_and_not_for_its_speed() {
    alone(|| {
        let world = World::on_bus();
        let _serving = world.script.serve(|call| call.carry_out());
        let create =
            || world.manager.create_scope(&Scope::new("own.scope").own_process().verify(false), LONG);
        create().unwrap();
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, Holdings::now().descriptors as u64 + 40, hard).unwrap();
        let mut taken: Vec<fs::File> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
        taken.pop();
        let created = create();
        drop(taken);
        created.unwrap();
    });
}

#[test]
fn a_creation_that_is_late_keeps_no_descriptor_for_its_speed() {
    alone(|| {
        let world = World::on_bus();
        let in_sight = || {
            let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
            let links = open.filter_map(|file| fs::read_link(file.path()).ok());
            links.filter(|link| link.to_string_lossy().ends_with("/cgroup")).count()
        };
        let deadline = Duration::from_millis(300);
        let own = |number: usize| Scope::new(format!("own{number}.scope")).own_process().verify(false);
        let submit = |number| world.manager.submit(&own(number), deadline).unwrap();
        let tickets: Vec<_> = (0..8).map(submit).collect();
        assert_eq!(in_sight(), tickets.len());
        for ticket in tickets {
            by(deadline, || ticket.wait(Deadline::Default)).unwrap_err();
        }
        // The thread answers this after it has seen to the deadlines, which the callers keep by themselves too.
        assert_eq!(world.manager.stats().unwrap().settling, 8);
        assert_eq!(in_sight(), 0);
    });
}
