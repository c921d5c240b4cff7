//! What is measured: each call's own time, and around many calls the clock and the processors.

use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use unitwait::Manager;

use super::host::Peers;
use crate::failure::Failure;

/// Times of one kind of call, in order of length.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    pub fn new(mut times: Vec<Duration>) -> Samples {
        times.sort_unstable();
        Samples(times)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The time that this share of all did not exceed: 0.5 is the median, 1 the maximum.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).or(self.0.last()).copied().unwrap_or_default()
    }
}

/// What was used between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub wall: Duration,
    /// Processor time: of this process, of the manager's, of the bus's.
    pub own: Duration,
    pub manager: Option<Duration>,
    pub bus: Option<Duration>,
    pub sent: u64,
    pub received: u64,
    /// Of the messages, both ways.
    pub bytes: u64,
}

impl Usage {
    pub fn add(&mut self, more: &Usage) {
        let sum = |one: Option<Duration>, other: Option<Duration>| {
            other.map(|other| one.unwrap_or_default() + other)
        };
        self.wall += more.wall;
        self.own += more.own;
        self.manager = sum(self.manager, more.manager);
        self.bus = sum(self.bus, more.bus);
        self.sent += more.sent;
        self.received += more.received;
        self.bytes += more.bytes;
    }
}

/// Reads the clocks.
pub struct Meter<'a> {
    pub manager: &'a Manager,
    pub peers: Peers,
}

impl Meter<'_> {
    /// What `work` uses.
    pub fn around<T>(&self, work: impl FnOnce() -> T) -> Result<(Usage, T), Failure> {
        let earlier = self.manager.stats()?;
        let before = self.read();
        let result = work();
        let after = self.read();
        let stats = self.manager.stats()?;
        let usage = Usage {
            wall: after.wall - before.wall,
            own: after.own.saturating_sub(before.own),
            manager: between(before.manager, after.manager),
            bus: between(before.bus, after.bus),
            sent: stats.messages_sent - earlier.messages_sent,
            received: stats.messages_received - earlier.messages_received,
            bytes: stats.bytes_sent + stats.bytes_received - earlier.bytes_sent - earlier.bytes_received,
        };
        Ok((usage, result))
    }

    fn read(&self) -> Reading {
        Reading {
            wall: Instant::now(),
            own: processor(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default(),
            manager: self.peers.manager.and_then(processor_of),
            bus: self.peers.bus.and_then(processor_of),
        }
    }
}

struct Reading {
    wall: Instant,
    own: Duration,
    manager: Option<Duration>,
    bus: Option<Duration>,
}

fn between(before: Option<Duration>, after: Option<Duration>) -> Option<Duration> {
    Some(after?.saturating_sub(before?))
}

/// To the nanosecond, all threads included, where `/proc/PID/stat` has ticks.
fn processor_of(pid: u32) -> Option<Duration> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?);
    processor(clock_getcpuclockid(pid).ok()?)
}

fn processor(clock: ClockId) -> Option<Duration> {
    clock.now().ok().map(|time: TimeSpec| time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let samples = Samples::new((1..=100).rev().map(Duration::from_millis).collect());
        let millis = |share| samples.quantile(share).as_millis();
        assert_eq!((millis(0.5), millis(0.9), millis(0.99), millis(1.0)), (50, 90, 99, 100));
        assert_eq!(Samples::default().quantile(0.5), Duration::ZERO);
        assert_eq!(Samples::new(vec![Duration::from_secs(1)]).quantile(0.01), Duration::from_secs(1));
    }

    #[test]
    fn the_processor_time_of_a_process_is_read_by_its_number() {
        assert!(processor_of(std::process::id()).is_some_and(|time| time > Duration::ZERO));
        assert_eq!(processor_of(u32::MAX), None);
    }
}
