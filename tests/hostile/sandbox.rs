//! What the hostile tests share beyond the support: the ways to systemd, and its bus, to take away and give back.

use std::fs;
use std::time::{Duration, Instant};

use unitwait::{Builder, Manager, Stats};

use crate::support::in_sandbox;
pub use crate::support::{Hold, MARGIN, Silence, Sleeper, by_deadline, group_of, name, run};

pub const LONG: Duration = Duration::from_secs(60);

/// The manager over the bus, and over its own socket.
pub fn both_ways() -> [(&'static str, Builder); 2] {
    in_sandbox();
    [("bus", Manager::builder().system()), ("private socket", Manager::builder().private())]
}

pub fn over_the_bus() -> Manager {
    in_sandbox();
    Manager::builder().system().open(LONG).expect("the sandbox's systemd answers")
}

/// The bus dies as by a crash, and is started again; systemctl goes past it, over the manager's own socket.
pub fn kill_the_bus() {
    assert!(run("systemctl", &["kill", "--signal=KILL", "dbus.service"]));
}

pub fn start_the_bus() {
    // Or five deaths in ten seconds would be the unit's own start limit.
    run("systemctl", &["reset-failed", "dbus.service", "dbus.socket"]);
    assert!(run("systemctl", &["start", "dbus.socket", "dbus.service"]), "the bus starts");
}

/// Waits until something that must come is there.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LONG;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < until, "never came: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Nothing is left in any table; what was late has been settled.
pub fn settled(manager: &Manager) -> Stats {
    eventually("settled", || {
        let stats = manager.stats().expect("the thread answers");
        let left = (stats.requests, stats.queued, stats.in_flight, stats.settling);
        (left == (0, 0, 0, 0)).then_some(stats)
    })
}

/// This process's threads and descriptors.
pub fn footprint() -> (usize, usize) {
    let count = |directory| fs::read_dir(directory).expect("/proc is there").count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}
