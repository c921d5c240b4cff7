//! A real systemd that is silent, loses its bus, or is replaced while requests are under way.
//!
//! Run by `scripts/test`, in a sandbox of its own: each test disturbs all that use the manager, so they take turns.

mod support;

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{AT_ONCE, LONG, Silence, Sleeper, eventually, group_of, in_sandbox, manager, name, run, state};
use unitwait::{ActiveScope, Deadline, Ending, Error, Manager, Scope, Stage};

fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    in_sandbox();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // The last one may have had the manager replaced, which comes back to the bus in its own time.
    eventually("systemd is on the bus", || Manager::system().is_ok());
    turn
}

fn systemctl(verb: &str) {
    assert!(run("systemctl", &[verb]), "{verb}");
}

#[test]
fn a_silent_manager_holds_nobody_past_the_deadline_and_what_was_late_is_settled() {
    let _alone = alone();
    manager();
    let one_call = Manager::builder().window(1).open(LONG).unwrap();
    let (sent, queued) = (Sleeper::new(), Sleeper::new());
    let names = [name("silent-sent"), name("silent-queued")];
    let silence = Silence::fall();
    let begun = Instant::now();
    let deadline = begun + Duration::from_millis(500);
    let submit = |unit: &str, sleeper: &Sleeper| {
        one_call.submit(&Scope::new(unit).pid(sleeper.pid()), deadline).expect("submitted")
    };
    let tickets = [submit(&names[0], &sent), submit(&names[1], &queued)];
    let errors = tickets.map(|ticket| ticket.wait(Deadline::Default).unwrap_err());
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    assert!(errors.iter().all(Error::is_timeout), "{errors:?}");
    assert_eq!(errors.each_ref().map(Error::stage), [Some(Stage::Call), Some(Stage::Queued)]);
    drop(silence);
    eventually("what was late is settled", || {
        let stats = one_call.stats().unwrap();
        (stats.requests, stats.queued, stats.in_flight, stats.settling) == (0, 0, 0, 0)
    });
    // The one that was sent is either cancelled or stands with its process; the other was never asked for.
    let stands = state(&one_call, &names[0]) == "active";
    assert_eq!(group_of(sent.pid()).ends_with(&names[0]), stands);
    assert!(one_call.list_units(&[&names[1]], LONG).unwrap().is_empty());
    assert!(sent.lives() && queued.lives());
}

/// The processes of the system bus, by its control group.
fn bus_processes(manager: &Manager) -> Vec<Pid> {
    let group = manager.property("dbus.service", "ControlGroup", LONG).unwrap();
    let procs = manager.layout().path(group.as_str().unwrap()).join("cgroup.procs");
    let listed = fs::read_to_string(procs).unwrap();
    listed.lines().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

#[test]
fn a_bus_that_dies_in_the_midst_of_a_call_is_told_at_once_and_the_handle_works_again() {
    let _alone = alone();
    let manager = manager();
    let bus = bus_processes(&manager);
    assert!(!bus.is_empty());
    let sleeper = Sleeper::new();
    let unit = name("bus-died");
    let silence = Silence::fall();
    let ticket = manager.submit(&Scope::new(&unit).pid(sleeper.pid()), LONG).unwrap();
    eventually("the call is sent", || manager.stats().unwrap().in_flight == 1);
    let begun = Instant::now();
    for process in bus {
        let _ = kill(process, Signal::SIGKILL);
    }
    let error = ticket.wait(Deadline::Default).unwrap_err();
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    assert!(matches!(error, Error::Disconnected { stage: Stage::Call, .. }), "{error:?}");
    drop(silence);
    // Until the new bus is up and systemd is on it, each try is answered, with why there is no manager to ask.
    let mut refusals = 0;
    eventually("the same handle reaches the manager over the new bus", || {
        match manager.property("dbus.service", "ActiveState", Duration::from_secs(5)) {
            Ok(_) => true,
            Err(Error::Connect { .. } | Error::Disconnected { .. } | Error::Timeout { .. }) => {
                refusals += 1;
                false
            }
            Err(other) => panic!("after {refusals} refusals: {other:?}"),
        }
    });
    let scope = Scope::new(name("bus-back")).pid(sleeper.pid());
    manager.create_scope(&scope, LONG).expect("all is well again").stop(LONG).unwrap();
    assert!(!sleeper.lives());
}

#[test]
fn no_job_is_lost_while_the_manager_reloads_or_is_replaced() {
    let _alone = alone();
    for verb in ["daemon-reload", "daemon-reexec"] {
        let manager = manager();
        let stubborn = Sleeper::stubborn();
        let scope = Scope::new(name(verb)).pid(stubborn.pid()).timeout_stop(Duration::from_secs(2));
        let active = manager.create_scope(&scope, LONG).unwrap();
        std::thread::scope(|threads| {
            let stop = threads.spawn(|| active.stop(LONG));
            eventually("the stop is a job", || {
                active.property("ActiveState", LONG).unwrap().as_str() == Some("deactivating")
            });
            systemctl(verb);
            let stopped = stop.join().unwrap();
            assert!(stopped.is_ok(), "{verb}: {stopped:?}");
        });
        assert!(!stubborn.lives(), "{verb}");
    }
}

/// Whether systemd has not seen that the scope is empty, so that nobody could be told: 247 and 262 were found to have
/// it running for ever after a `daemon-reexec`. The machine's own version does not.
fn missed_by_systemd(manager: &Manager, active: &ActiveScope) -> bool {
    let is_known_to = |version: &str| ["247", "262"].iter().any(|known| version.starts_with(known));
    let is_empty = active.processes().is_ok_and(|processes| processes.is_empty());
    is_known_to(manager.version()) && state(manager, active.unit()) == "active" && is_empty
}

/// The run ends while the manager is another for a moment, or just after: its end is told all the same.
#[test]
fn no_end_of_a_run_is_missed_while_the_manager_reloads_or_is_replaced() {
    let _alone = alone();
    for round in 0..6 {
        let verb = ["daemon-reload", "daemon-reexec"][round % 2];
        for open in [Manager::system, Manager::private] {
            // The last round's manager may be on its way out still, and takes its connections with it.
            let mut opened = None;
            eventually("the manager answers", || {
                opened = open().ok();
                opened.is_some()
            });
            let manager = opened.unwrap();
            let sleeper = Sleeper::new();
            let active = manager.create_scope(&Scope::new(name(verb)).pid(sleeper.pid()), LONG).unwrap();
            std::thread::scope(|threads| {
                let waiter = threads.spawn(|| active.wait(LONG));
                let disturbing = threads.spawn(|| systemctl(verb));
                if round < 3 {
                    disturbing.join().unwrap();
                }
                drop(sleeper);
                let ended = waiter.join().unwrap();
                let is_late = ended.as_ref().is_err_and(Error::is_timeout);
                if is_late && missed_by_systemd(&manager, &active) {
                    eprintln!("{verb}: systemd itself has {} running, with no process in it", active.unit());
                    return active.stop(LONG).map(drop).unwrap();
                }
                // It may have been over and forgotten before it could be asked for.
                let is_told =
                    matches!(&ended, Ok(end) if matches!(end.ending, Ending::Exited | Ending::Unknown));
                assert!(is_told, "{verb}: {ended:?}");
            });
        }
    }
}
