//! An unprivileged user's flood of forged messages: what anybody on a machine may send to anybody on its bus.
//!
//! It guesses as a real attacker would: unique names are counted up from `:1.0`, so its own bounds all others;
//! job numbers and serials are counted up too.

use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use dbus::Message;
use dbus::channel::Channel;
use dbus::strings::ErrorName;

use crate::support::elsewhere::NOBODY;

const ADDRESS: &str = "unix:path=/run/dbus/system_bus_socket";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const NAME: &str = "org.freedesktop.systemd1";
const BUS: &str = "org.freedesktop.DBus";

/// The forger as a process of nobody's, ended with this value.
pub struct Forger(Child);

impl Forger {
    /// Runs a copy of this program that nobody can read, with `arguments` by which its main finds [`forge`].
    pub fn start(arguments: &[&str], jobs: Range<u32>) -> Forger {
        let copy = format!("/run/unitwait-forger-{}", std::process::id());
        fs::copy("/proc/self/exe", &copy).expect("/run takes a copy of this program");
        let child = Command::new("setpriv")
            .args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into(), copy])
            .args(arguments)
            .env("UNITWAIT_FORGE", format!("{}-{}", jobs.start, jobs.end))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Forger(child.expect("setpriv starts"))
    }

    /// Whether it still forges; a forger that has ended proves nothing.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Forger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The jobs to lie about, where this process was started to forge.
pub fn told_to_forge() -> Option<Range<u32>> {
    let told = std::env::var("UNITWAIT_FORGE").ok()?;
    let (start, end) = told.split_once('-')?;
    Some(start.parse().ok()?..end.parse().ok()?)
}

/// Forges until it is killed.
pub fn forge(jobs: Range<u32>) -> ! {
    assert_eq!(nix::unistd::getuid().as_raw(), NOBODY, "the forgeries are those of an unprivileged user");
    loop {
        if let Ok(bus) = connect() {
            let own = own_number(&bus);
            let victims: Vec<String> =
                (own.saturating_sub(8)..own + 4).filter(|n| *n != own).map(|n| format!(":1.{n}")).collect();
            while lie(&bus, &victims, jobs.clone()).is_ok() {}
        }
        // The bus may be away for a moment.
        thread::sleep(Duration::from_millis(20));
    }
}

fn connect() -> Result<Channel, dbus::Error> {
    let mut bus = Channel::open_private(ADDRESS)?;
    bus.register()?;
    Ok(bus)
}

fn own_number(bus: &Channel) -> u32 {
    let name = bus.unique_name().unwrap_or_default();
    name.rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// One round of every lie there is.
fn lie(bus: &Channel, victims: &[String], jobs: Range<u32>) -> Result<(), ()> {
    let jobs: Vec<u32> = jobs.collect();
    for some in jobs.chunks(30) {
        for job in some {
            for result in ["done", "failed"] {
                tell_all(bus, &job_removed(*job, result), victims)?;
            }
        }
        for owner in [bus.unique_name().unwrap_or_default(), ""] {
            tell_all(bus, &owner_changed(owner), victims)?;
        }
        flush(bus)?;
    }
    for serial in 1..40 {
        for reply in replies(serial, jobs[0]) {
            tell_all(bus, &reply, victims)?;
        }
    }
    flush(bus)?;
    disconnected(victims);
    Ok(())
}

/// Broadcast, and addressed to each.
fn tell_all(bus: &Channel, lie: &Message, victims: &[String]) -> Result<(), ()> {
    if lie.msg_type() == dbus::MessageType::Signal {
        bus.send(lie.duplicate().map_err(|_| ())?)?;
    }
    for victim in victims {
        let mut addressed = lie.duplicate().map_err(|_| ())?;
        addressed.set_destination(Some(victim.as_str().into()));
        bus.send(addressed)?;
    }
    Ok(())
}

/// Written out before more is made, and what the bus answers thrown away.
fn flush(bus: &Channel) -> Result<(), ()> {
    bus.flush();
    bus.read_write(Some(Duration::ZERO))?;
    while bus.pop_message().is_some() {}
    if bus.is_connected() { Ok(()) } else { Err(()) }
}

fn signal(path: &str, interface: &str, member: &str) -> Message {
    Message::new_signal(path, interface, member).expect("the names are valid")
}

fn job_removed(job: u32, result: &str) -> Message {
    let path = dbus::Path::from(format!("{MANAGER_PATH}/job/{job}"));
    let mut message = signal(MANAGER_PATH, MANAGER, "JobRemoved").append3(job, path, "forged.scope");
    // The bus writes the true sender over it.
    message.set_sender(Some(NAME.into()));
    message.append1(result)
}

/// That this forger is the manager now, or nobody.
fn owner_changed(owner: &str) -> Message {
    let mut message = signal("/org/freedesktop/DBus", BUS, "NameOwnerChanged").append3(NAME, ":1.0", owner);
    message.set_sender(Some(BUS.into()));
    message
}

/// A job's path, a text, and the bus's own error, as answers to a call that the victim may have under way.
fn replies(serial: u32, job: u32) -> [Message; 3] {
    let mut call =
        Message::new_method_call(NAME, MANAGER_PATH, MANAGER, "StartTransientUnit").expect("valid");
    call.set_serial(serial);
    let path = dbus::Path::from(format!("{MANAGER_PATH}/job/{job}"));
    let error = ErrorName::from("org.freedesktop.DBus.Error.NoReply");
    [
        call.method_return().append1(path),
        call.method_return().append1("forged"),
        call.error(&error, c"forged"),
    ]
}

/// libdbus's own word for a lost connection; the bus throws out whoever sends it, so each has its own connection.
fn disconnected(victims: &[String]) {
    let Ok(bus) = connect() else { return };
    for path in ["/forged", "/org/freedesktop/DBus/Local"] {
        let Ok(mut message) = Message::new_signal(path, "org.freedesktop.DBus.Local", "Disconnected") else {
            continue;
        };
        message.set_destination(victims.last().map(|name| name.as_str().into()));
        let _ = bus.send(message);
    }
    bus.flush();
}
