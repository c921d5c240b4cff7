//! The manager is replaced under its callers, and the bus dies under them: no result is lost, and none is false.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use unitwait::{Deadline, Error, Manager, Scope, Stage, UnitJob};

use crate::sandbox::{
    LONG, Sleeper, both_ways, eventually, footprint, group_of, kill_the_bus, name, over_the_bus, run,
    settled, start_the_bus,
};

/// How calls ended while the manager or the bus was taken away.
#[derive(Default)]
struct Tally {
    over: AtomicBool,
    done: AtomicU32,
    lost: AtomicU32,
}

impl Tally {
    fn going_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// The one failure that may be: the call had gone out, and its answer died with the other end.
    fn lose(&self, error: &Error) {
        let permitted = matches!(error, Error::Disconnected { stage: Stage::Call, .. });
        assert!(permitted, "{error:?}");
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn numbers(&self) -> (u32, u32) {
        (self.done.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }
}

/// Creates and stops, each success held against the kernel.
fn create_and_stop(manager: &Manager, tally: &Tally) {
    while tally.going_on() {
        let (process, unit) = (Sleeper::new(), name("away"));
        match manager.create_scope(&Scope::new(&unit).pid(process.pid()), LONG) {
            Ok(active) => {
                assert_eq!(group_of(process.pid()), active.control_group(), "created, and elsewhere");
                tally.count();
            }
            Err(error) => tally.lose(&error),
        }
        // Of a create whose answer was lost nobody knows; a stop may be asked for twice.
        loop {
            match manager.stop_unit(&unit, LONG) {
                Ok(_) => {
                    assert!(
                        !process.lives() || !group_of(process.pid()).ends_with(&unit),
                        "stopped, and it runs"
                    );
                    tally.count();
                    break;
                }
                Err(Error::NoSuchUnit { .. }) => break,
                Err(error) => tally.lose(&error),
            }
        }
    }
}

/// Stops whose job outlives the manager that took it on.
fn stop_slowly(manager: &Manager, tally: &Tally) {
    while tally.going_on() {
        let process = Sleeper::stubborn();
        let scope = Scope::new(name("outlives")).pid(process.pid()).timeout_stop(Duration::from_secs(1));
        let unit = create_again(manager, &scope, tally);
        while let Err(error) = manager.stop_unit(&unit, LONG) {
            if matches!(error, Error::NoSuchUnit { .. }) {
                break;
            }
            tally.lose(&error);
        }
        assert!(!process.lives(), "{unit} is stopped, and its process lives");
        tally.count();
    }
}

/// A read is asked again by the driver itself, and so is never lost.
fn read(manager: &Manager, tally: &Tally) {
    while tally.going_on() {
        let state = manager.property("dbus.socket", "LoadState", LONG).expect("a read is answered");
        assert_eq!(state.as_str(), Some("loaded"));
        tally.count();
    }
}

/// Sets a flag when it goes, a panic included, so that no thread waits for one that has failed.
struct OverAtEnd<'a>(&'a Tally);

impl Drop for OverAtEnd<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_result_is_lost_or_false_while_the_manager_is_replaced_and_reloaded() {
    for (way, builder) in both_ways() {
        let (manager, tally) = (builder.open(LONG).unwrap(), Tally::default());
        let mut replaced = 0;
        thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    let _over = OverAtEnd(&tally);
                    create_and_stop(&manager, &tally);
                });
            }
            threads.spawn(|| {
                let _over = OverAtEnd(&tally);
                stop_slowly(&manager, &tally);
            });
            let _over = OverAtEnd(&tally);
            let until = Instant::now() + Duration::from_secs(5);
            while Instant::now() < until && tally.going_on() {
                // Some work in between, or nothing but lost answers would be shown.
                for verb in ["daemon-reload", "daemon-reexec"] {
                    run("systemctl", &[verb]);
                    let enough = tally.numbers().0 + 8;
                    eventually("work", || (tally.numbers().0 >= enough || !tally.going_on()).then_some(()));
                }
                replaced += 1;
            }
        });
        let stats = settled(&manager);
        let (done, lost) = tally.numbers();
        println!("{way}: {replaced} reloads and reexecs; {done} calls done, {lost} answers lost; {stats:?}");
        assert!(replaced >= 3 && done >= 8, "nothing was shown: {replaced}, {done}");
        assert_eq!(stats.timed_out, 0);
    }
}

/// One round: the bus dies while a job is under way, while calls are in flight and while others wait in line.
fn lose_the_bus_once(manager: &Manager, tally: &Tally) {
    let stubborn = Sleeper::stubborn();
    let scope = Scope::new(name("underway")).pid(stubborn.pid()).timeout_stop(Duration::from_secs(1));
    let active = create_again(manager, &scope, tally);
    let stop = manager.submit(&UnitJob::stop(&active), LONG).unwrap();
    eventually("the job", || {
        let state = manager.property(&active, "ActiveState", LONG).ok()?;
        (state.as_str() == Some("deactivating")).then_some(())
    });
    let begun = Instant::now();
    kill_the_bus();
    let queued = manager.submit(&UnitJob::stop("none.scope"), LONG).unwrap();
    start_the_bus();
    let answer = stop.wait(Deadline::Default);
    assert!(!stubborn.lives(), "{answer:?}, and the process lives");
    answer.expect("the true result");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    match queued.wait(Deadline::Default) {
        Err(Error::NoSuchUnit { .. }) => tally.count(),
        Err(error) => tally.lose(&error),
        Ok(_) => panic!("a stop of nothing"),
    }
}

/// Creates the scope, once more where the answer was lost.
fn create_again(manager: &Manager, scope: &Scope, tally: &Tally) -> String {
    loop {
        match manager.create_scope(scope, LONG) {
            Ok(active) => return active.unit().to_string(),
            Err(Error::UnitExists { asked, .. }) => return asked.unit.expect("a scope").as_ref().into(),
            Err(error) => tally.lose(&error),
        }
    }
}

#[test]
fn a_dead_bus_loses_no_job_and_leaves_nothing_behind() {
    const DEATHS: u64 = 20;
    let (manager, tally) = (over_the_bus(), Tally::default());
    let before = footprint();
    thread::scope(|threads| {
        for work in [create_and_stop, create_and_stop, read] {
            let (manager, tally) = (&manager, &tally);
            threads.spawn(move || {
                let _over = OverAtEnd(tally);
                work(manager, tally);
            });
        }
        let _over = OverAtEnd(&tally);
        for _ in 0..DEATHS {
            lose_the_bus_once(&manager, &tally);
            assert!(tally.going_on(), "another thread failed");
        }
    });
    let stats = settled(&manager);
    let (done, lost) = tally.numbers();
    println!("{DEATHS} deaths of the bus: {done} calls done, {lost} answers lost; {stats:?}");
    assert!(stats.connections > DEATHS && done > 100, "{stats:?}");
    assert_eq!(stats.timed_out, 0);
    eventually("the same threads and descriptors", || (footprint() == before).then_some(()));
}

/// systemd adds a match rule for each job's client, and dbus-daemon throws it off the bus at 512.
#[test]
fn two_programs_with_slow_stops_leave_systemd_on_the_bus() {
    let managers = [over_the_bus(), over_the_bus()];
    let owner = owner_of_the_name();
    let slow: Vec<(Sleeper, Sleeper)> =
        (0..150).map(|_| (Sleeper::stubborn(), Sleeper::stubborn())).collect();
    let pairs = managers.iter().zip([
        slow.iter().map(|pair| &pair.0).collect::<Vec<_>>(),
        slow.iter().map(|pair| &pair.1).collect::<Vec<_>>(),
    ]);
    thread::scope(|threads| {
        for (manager, processes) in pairs {
            threads.spawn(move || stop_slowly_and_create(manager, &processes));
        }
    });
    assert_eq!(owner_of_the_name(), owner, "systemd was thrown off the bus");
}

fn stop_slowly_and_create(manager: &Manager, processes: &[&Sleeper]) {
    let units: Vec<String> = processes.iter().map(|_| name("slow")).collect();
    for (process, unit) in processes.iter().zip(&units) {
        let scope = Scope::new(unit).pid(process.pid()).timeout_stop(Duration::from_secs(3));
        manager.create_scope(&scope, LONG).expect("created");
    }
    let stops: Vec<_> =
        units.iter().map(|unit| manager.submit(&UnitJob::stop(unit), LONG).expect("submitted")).collect();
    let begun = Instant::now();
    for _ in 0..50 {
        let process = Sleeper::new();
        let active = manager.create_scope(&Scope::new(name("beside")).pid(process.pid()), LONG).unwrap();
        assert_eq!(group_of(process.pid()), active.control_group());
    }
    println!("fifty creates beside {} slow stops took {:.1?}", stops.len(), begun.elapsed());
    for (stop, process) in stops.into_iter().zip(processes) {
        stop.wait(Deadline::Default).expect("systemd kills it in the end");
        assert!(!process.lives());
    }
}

fn owner_of_the_name() -> String {
    use dbus::blocking::Connection;
    let bus = Connection::new_system().expect("the bus is there");
    let proxy = bus.with_proxy("org.freedesktop.DBus", "/org/freedesktop/DBus", LONG);
    let (owner,): (String,) = proxy
        .method_call("org.freedesktop.DBus", "GetNameOwner", ("org.freedesktop.systemd1",))
        .expect("systemd is on it");
    owner
}
