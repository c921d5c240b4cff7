//! The second process: PID 1 stopped and continued, the bus killed, systemd reexecuted and reloaded, and signals
//! forged by nobody.

use std::env;
use std::error::Error;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dbus::Message;
use dbus::channel::{BusType, Channel};

const NOBODY: &str = "65534";
const MANAGER: (&str, &str) = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");

type Done = Result<(), Box<dyn Error>>;

/// Goes on until it is killed.
pub fn run(seed: u64) -> Done {
    let mut rng = fastrand::Rng::with_seed(seed);
    loop {
        thread::sleep(Duration::from_millis(rng.u64(100..1_500)));
        match rng.u32(..6) {
            0 | 1 => {
                control("stop")?;
                thread::sleep(Duration::from_millis(rng.u64(..1_500)));
                control("cont")?;
            }
            2 => restart_bus(),
            3 => systemctl(&["daemon-reexec"]),
            4 => systemctl(&["daemon-reload"]),
            _ => forge_as_nobody(rng.u64(..u64::MAX))?,
        }
    }
}

/// Puts all in order again, whatever the last event was.
pub fn heal() -> Done {
    control("cont")?;
    systemctl(&["reset-failed", "dbus.service"]);
    systemctl(&["start", "dbus.service"]);
    Ok(())
}

fn control(verb: &str) -> Done {
    let ctl = env::var_os("UNITWAIT_SANDBOX_CTL").ok_or("there is no sandbox")?;
    Command::new(ctl).arg(verb).status()?;
    Ok(())
}

fn restart_bus() {
    quietly(Command::new("pkill").args(["-KILL", "-x", "dbus-daemon"]));
    systemctl(&["reset-failed", "dbus.service"]);
    systemctl(&["restart", "dbus.service"]);
}

/// As root it asks over systemd's own socket, bus or no bus.
fn systemctl(arguments: &[&str]) {
    quietly(Command::new("timeout").args(["10", "systemctl"]).args(arguments));
}

fn quietly(command: &mut Command) {
    let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

fn forge_as_nobody(seed: u64) -> Done {
    let own = env::current_exe()?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(own);
    quietly(command.args(["forge", &seed.to_string()]));
    Ok(())
}

/// Guesses job numbers and unique names, for a third of a second, or until there is no bus.
pub fn forge(seed: u64) -> Done {
    let mut rng = fastrand::Rng::with_seed(seed);
    let channel = Channel::get_private(BusType::System)?;
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until && channel.is_connected() {
        let job = rng.u32(..20_000);
        let path = dbus::Path::from(format!("/org/freedesktop/systemd1/job/{job}"));
        let mut message = Message::new_signal(MANAGER.0, MANAGER.1, "JobRemoved")?
            .append3(job, path, format!("soak-{}.scope", rng.u32(..100_000)))
            .append1("done");
        if rng.bool() {
            message.set_destination(Some(format!(":1.{}", rng.u32(..200)).into()));
        }
        channel.send(message).map_err(|()| "the bus is gone")?;
        channel.flush();
    }
    Ok(())
}
