//! The processes at the other end, and what this one takes of the machine.

use std::fs;
use std::time::Duration;

use dbus::Message;
use dbus::channel::Channel;

use crate::session::Target;

/// A question to the bus that is not the benchmark's own.
const PATIENCE: Duration = Duration::from_secs(2);

/// By their numbers, where those can be known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peers {
    pub manager: Option<u32>,
    pub bus: Option<u32>,
}

impl Peers {
    pub fn find(target: &Target, address: &str) -> Peers {
        match target {
            Target::Private => Peers { manager: Some(1), bus: None },
            _ => ask(address).unwrap_or_default(),
        }
    }
}

/// Over a connection of its own, so that the driver's counters know nothing of it.
fn ask(address: &str) -> Option<Peers> {
    let mut channel = Channel::open_private(address).ok()?;
    channel.register().ok()?;
    let pid = |name: &str| {
        let (bus, path) = ("org.freedesktop.DBus", "/org/freedesktop/DBus");
        let call = Message::new_method_call(bus, path, bus, "GetConnectionUnixProcessID").ok()?.append1(name);
        channel.send_with_reply_and_block(call, PATIENCE).ok()?.get1::<u32>()
    };
    Some(Peers { manager: pid("org.freedesktop.systemd1"), bus: pid("org.freedesktop.DBus") })
}

/// What this process takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Footprint {
    pub rss_bytes: u64,
    pub threads: u64,
}

impl Footprint {
    pub fn now() -> Footprint {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default()
        };
        Footprint { rss_bytes: number("VmRSS:") * 1024, threads: number("Threads:") }
    }

    /// The greater of each.
    pub fn peak(self, other: Footprint) -> Footprint {
        let (rss_bytes, threads) = (self.rss_bytes.max(other.rss_bytes), self.threads.max(other.threads));
        Footprint { rss_bytes, threads }
    }
}
