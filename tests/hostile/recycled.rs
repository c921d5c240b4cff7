//! A process's number that is given to another one while PID 1 is stopped.

use std::fs;

use unitwait::{Deadline, Error, Manager, Scope};

use crate::sandbox::{LONG, Silence, Sleeper, both_ways, eventually, group_of, name};
use crate::support::elsewhere::{Elsewhere, given, test_name};

/// Lets a manager place a process, after which it knows by what it may name one.
pub fn warm(manager: &Manager) {
    let process = Sleeper::new();
    manager.create_scope(&Scope::new(name("warm")).pid(process.pid()), LONG).unwrap().stop(LONG).unwrap();
}

const WINDOW: usize = 2;

/// Systems since 255 take pidfds.
fn takes_pidfds(manager: &Manager) -> bool {
    let number = manager.version().split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok());
    number.is_some_and(|number: u32| number >= 255)
}

/// When a process started, in clock ticks (`proc(5)`): nobody's number comes round within one, but here.
fn started(process: &Sleeper) -> String {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid())).expect("not reaped yet");
    let (_, after_name) = stat.rsplit_once(") ").expect("a name");
    after_name.split(' ').nth(19).expect("field 22").to_string()
}

/// A process of this very number, which nobody has any more, and of another time.
fn of_number(pid: u32, before: &str) -> Sleeper {
    eventually("the number comes round", || {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("root may set it");
        let process = Sleeper::new();
        (process.pid() == pid && started(&process) != before).then_some(process)
    })
}

#[test]
fn a_number_that_is_given_away_while_systemd_is_silent_places_no_stranger_by_pidfd() {
    let test = test_name(a_number_that_is_given_away_while_systemd_is_silent_places_no_stranger_by_pidfd);
    if given("").is_none() {
        return Elsewhere::after("mount -o remount,bind,rw /proc/sys", &[]).run(&test);
    }
    for (way, builder) in both_ways() {
        // What is sent already, and what waits in line with a number to be sent.
        for waits in [false, true] {
            let manager = builder.clone().window(WINDOW).open(LONG).unwrap();
            warm(&manager);
            let (victim, unit) = (Sleeper::new(), name("number"));
            let pid = victim.pid();
            let silence = Silence::fall();
            let before = if waits { WINDOW } else { 0 };
            let others: Vec<Sleeper> = (0..before).map(|_| Sleeper::new()).collect();
            let sent = manager.stats().unwrap().messages_sent;
            let submit = |unit: &str, pid| manager.submit(&Scope::new(unit).pid(pid), LONG).unwrap();
            let before: Vec<_> = others.iter().map(|other| submit(&name("first"), other.pid())).collect();
            let ticket = submit(&unit, pid);
            let expected = if waits { (1, WINDOW) } else { (0, 1) };
            let reached = || {
                let stats = manager.stats().unwrap();
                // Between taking a call into the window and sending it, the process is looked at once more.
                let is_out = stats.messages_sent - sent >= stats.in_flight as u64;
                (is_out && (stats.queued, stats.in_flight) == expected).then_some(())
            };
            eventually("it is on its way", reached);
            let born = started(&victim);
            drop(victim);
            let stranger = of_number(pid, &born);
            drop(silence);
            for ticket in before {
                ticket.wait(Deadline::Default).expect("these live").stop(LONG).unwrap();
            }
            let answer = ticket.wait(Deadline::Default);
            let placed = group_of(stranger.pid()).ends_with(&unit);
            let by_number = !takes_pidfds(&manager) && !waits;
            assert_eq!(placed, by_number, "{way}, waits: {waits}: {answer:?}");
            let told = matches!(&answer, Err(Error::NoSuchProcess { pid: Some(named), .. }) if *named == pid);
            assert!(told || by_number, "{way}, waits: {waits}: {answer:?}");
            assert!(stranger.lives());
            if by_number {
                println!("{way}: systemd {} placed the stranger, as it must by number", manager.version());
                let _ = manager.stop_unit(&unit, LONG);
            }
        }
    }
}
