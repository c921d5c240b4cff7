//! What the machine and this process are like meanwhile: how late a thread wakes, and what it has in use.

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A thread that does nothing but sleep, so that what it oversleeps is the machine's own doing.
pub struct Metronome {
    worst_us: Arc<AtomicU64>,
}

impl Metronome {
    pub fn start() -> Metronome {
        const TICK: Duration = Duration::from_millis(5);
        let worst_us = Arc::new(AtomicU64::new(0));
        let worst = Arc::clone(&worst_us);
        thread::spawn(move || {
            loop {
                let begun = Instant::now();
                thread::sleep(TICK);
                let over = begun.elapsed().saturating_sub(TICK).as_micros();
                worst.fetch_max(u64::try_from(over).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Metronome { worst_us }
    }

    pub fn worst(&self) -> Duration {
        Duration::from_micros(self.worst_us.load(Ordering::Relaxed))
    }
}

/// What this process has in use.
#[derive(Clone, Debug)]
pub struct Footprint {
    kib: u64,
    threads: usize,
    descriptors: usize,
}

impl Footprint {
    pub fn now() -> Footprint {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let rss = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        let entries = |path: &str| fs::read_dir(path).map_or(0, Iterator::count);
        Footprint {
            kib: rss.unwrap_or_default(),
            threads: entries("/proc/self/task"),
            descriptors: entries("/proc/self/fd"),
        }
    }

    /// What there is more of than there should be. Memory is compared with the warm state, and an eighth and 4 MiB
    /// more is the allocator's.
    pub fn growth(&self, before: &Footprint, warm: &Footprint) -> Option<String> {
        let memory = warm.kib + warm.kib / 8 + 4096;
        let grown =
            self.threads > before.threads || self.descriptors > before.descriptors || self.kib > memory;
        grown.then(|| format!("it grew: before {before}; warm {warm}; at the end {self}"))
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Footprint { kib, threads, descriptors } = self;
        write!(f, "{kib} KiB, {threads} threads, {descriptors} descriptors")
    }
}
