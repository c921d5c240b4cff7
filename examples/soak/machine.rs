//! What the machine and this process are like meanwhile: how late a thread wakes, and what it has in use.

use std::fmt;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A thread that does nothing but sleep, so that what it oversleeps is the machine's own doing.
pub struct Metronome {
    begun: Instant,
    /// The worst of each second since.
    seconds: Arc<Mutex<Vec<Duration>>>,
}

impl Metronome {
    pub fn start() -> Metronome {
        const TICK: Duration = Duration::from_millis(5);
        let metronome = Metronome { begun: Instant::now(), seconds: Arc::default() };
        let (begun, seconds) = (metronome.begun, Arc::clone(&metronome.seconds));
        thread::spawn(move || {
            loop {
                let due = Instant::now() + TICK;
                thread::sleep(TICK);
                let over = due.elapsed();
                // It was late in all the seconds in which it did not wake.
                let (first, last) = (second(begun, due), second(begun, due + over));
                let mut seconds = lock(&seconds);
                if seconds.len() <= last {
                    seconds.resize(last + 1, Duration::ZERO);
                }
                seconds[first..=last].iter_mut().for_each(|worst| *worst = over.max(*worst));
            }
        });
        metronome
    }

    /// The worst in these seconds and in those beside them.
    pub fn worst_between(&self, from: Instant, to: Instant) -> Duration {
        let (first, last) = (second(self.begun, from), second(self.begun, to));
        let seconds = lock(&self.seconds);
        let window = seconds.iter().skip(first.saturating_sub(1)).take(last + 2 - first.saturating_sub(1));
        window.max().copied().unwrap_or_default()
    }

    /// The worst of all.
    pub fn worst(&self) -> Duration {
        lock(&self.seconds).iter().max().copied().unwrap_or_default()
    }
}

fn second(begun: Instant, at: Instant) -> usize {
    usize::try_from(at.saturating_duration_since(begun).as_secs()).unwrap_or(usize::MAX)
}

fn lock(seconds: &Mutex<Vec<Duration>>) -> MutexGuard<'_, Vec<Duration>> {
    seconds.lock().unwrap_or_else(PoisonError::into_inner)
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
