//! The second process: PID 1 stopped and continued, the bus killed, systemd reexecuted and reloaded, and beside all that
//! signals forged by nobody. Each that has happened is a line on standard output.

use std::env;
use std::error::Error;
use std::io::{Read, Write, stdin, stdout};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::forger::Forger;

type Done = Result<(), Box<dyn Error>>;

#[derive(Clone, Copy)]
enum Event {
    Stop,
    Bus,
    Reexec,
    Reload,
}

/// Goes on until its standard input ends, and then puts all in order again.
pub fn run(seed: u64) -> Done {
    let over = end_of_input();
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut forger = Forger::start(seed)?;
    // Dealt like cards, so that no seed leaves one out.
    let mut deck = Vec::new();
    while pause(&over, rng.u64(100..1_500)) {
        forger.check()?;
        if deck.is_empty() {
            deck = vec![Event::Stop, Event::Stop, Event::Bus, Event::Reexec, Event::Reload];
            rng.shuffle(&mut deck);
        }
        let event = deck.pop().ok_or("an empty deck")?;
        let (kind, happened) = match event {
            Event::Stop => {
                control("stop")?;
                pause(&over, rng.u64(..1_500));
                control("cont")?;
                ("stop", true)
            }
            Event::Bus => ("bus", restart_bus()),
            Event::Reexec => ("reexec", systemctl(&["daemon-reexec"])),
            Event::Reload => ("reload", systemctl(&["daemon-reload"])),
        };
        writeln!(stdout(), "{kind}{}", if happened { "" } else { " failed" })?;
    }
    drop(forger);
    heal()
}

fn end_of_input() -> Receiver<()> {
    let (tell, over) = channel();
    thread::spawn(move || {
        let _ = stdin().read_to_end(&mut Vec::new());
        drop(tell);
    });
    over
}

/// False where there is to be no more.
fn pause(over: &Receiver<()>, milliseconds: u64) -> bool {
    over.recv_timeout(Duration::from_millis(milliseconds)) == Err(RecvTimeoutError::Timeout)
}

/// Whatever the last event was.
fn heal() -> Done {
    control("cont")?;
    systemctl(&["reset-failed", "dbus.service"]);
    let is_up = systemctl(&["start", "dbus.service"]);
    if is_up { Ok(()) } else { Err("the bus does not come up again".into()) }
}

fn control(verb: &str) -> Done {
    let ctl = env::var_os("UNITWAIT_SANDBOX_CTL").ok_or("there is no sandbox")?;
    let status = Command::new(ctl).arg(verb).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("PID 1 could not be made to {verb}: {status}").into()) }
}

/// It dies as by a crash; whether it did, and is up again.
fn restart_bus() -> bool {
    let killed = systemctl(&["kill", "--signal=KILL", "dbus.service"]);
    // Or five deaths in ten seconds would be the unit's own start limit.
    systemctl(&["reset-failed", "dbus.service", "dbus.socket"]);
    systemctl(&["start", "dbus.socket", "dbus.service"]) && killed
}

/// As root it asks over systemd's own socket, bus or no bus.
fn systemctl(arguments: &[&str]) -> bool {
    let mut command = Command::new("timeout");
    command.args(["10", "systemctl"]).args(arguments);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
