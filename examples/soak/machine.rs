//! What the machine and this process are like meanwhile: how late a thread wakes, how long its threads waited for a
//! processor, and what it has in use.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A thread that does nothing but sleep, so that what it oversleeps is the machine's own doing. A scheduler lets such a
/// thread run sooner than one that works, so it keeps account as well of how long the dbus threads were ready to run
/// and did not.
pub struct Metronome {
    begun: Instant,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    /// The worst oversleeping of each second.
    seconds: Vec<Duration>,
    /// How long each dbus thread had waited for a processor by then, latest last.
    waits: VecDeque<(Instant, Vec<Duration>)>,
}

const TICK: Duration = Duration::from_millis(5);

/// So often the dbus threads' waits are read, and so many of the readings are kept: half a minute of them.
const READING: Duration = Duration::from_millis(50);
const READINGS: usize = 600;

impl Metronome {
    /// Begins; the threads that managers have by now are those it keeps account of.
    pub fn start() -> Metronome {
        let metronome = Metronome { begun: Instant::now(), kept: Arc::default() };
        let (begun, kept) = (metronome.begun, Arc::clone(&metronome.kept));
        let threads = dbus_threads();
        thread::spawn(move || {
            loop {
                let due = Instant::now() + TICK;
                thread::sleep(TICK);
                let over = due.elapsed();
                let mut kept = lock(&kept);
                kept.overslept(second(begun, due), second(begun, due + over), over);
                if kept.waits.back().is_none_or(|(at, _)| at.elapsed() >= READING) {
                    kept.read(&threads);
                }
            }
        });
        metronome
    }

    /// What the machine's scheduling explains of a call that was due and returned then, and whose own thread had waited
    /// so long for a processor: the worst oversleeping in those seconds and those beside them, or how long a dbus
    /// thread and then the caller were ready to run and did not.
    pub fn explains(&self, due: Instant, returned: Instant, own: Duration) -> Duration {
        let (first, last) = (second(self.begun, due).saturating_sub(1), second(self.begun, returned) + 1);
        let kept = lock(&self.kept);
        let overslept = kept.seconds.iter().skip(first).take(last + 1 - first).max().copied();
        overslept.unwrap_or_default().max(own + kept.waited(due, returned))
    }

    /// The worst of all.
    pub fn worst(&self) -> Duration {
        lock(&self.kept).seconds.iter().max().copied().unwrap_or_default()
    }
}

impl Kept {
    /// It was late in all the seconds in which it did not wake.
    fn overslept(&mut self, first: usize, last: usize, over: Duration) {
        if self.seconds.len() <= last {
            self.seconds.resize(last + 1, Duration::ZERO);
        }
        self.seconds[first..=last].iter_mut().for_each(|worst| *worst = over.max(*worst));
    }

    fn read(&mut self, threads: &[String]) {
        if self.waits.len() == READINGS {
            self.waits.pop_front();
        }
        self.waits.push_back((Instant::now(), threads.iter().map(|thread| waited(thread)).collect()));
    }

    /// How long the dbus thread that waited longest did so between these moments.
    fn waited(&self, from: Instant, to: Instant) -> Duration {
        let before = self.waits.iter().rev().find(|(at, _)| *at <= from);
        let after = self.waits.iter().find(|(at, _)| *at >= to).or(self.waits.back());
        let (Some((_, before)), Some((_, after))) = (before, after) else { return Duration::ZERO };
        before
            .iter()
            .zip(after)
            .map(|(before, after)| after.saturating_sub(*before))
            .max()
            .unwrap_or_default()
    }
}

/// How long this thread, `thread-self`, or one of this process's has been ready to run and did not: the second number
/// of its `schedstat`, in nanoseconds (the kernel's Documentation/scheduler/sched-stats.rst).
pub fn waited(thread: &str) -> Duration {
    let text = fs::read_to_string(format!("/proc/{thread}/schedstat")).unwrap_or_default();
    text.split_whitespace()
        .nth(1)
        .and_then(|wait| wait.parse().ok())
        .map_or(Duration::ZERO, Duration::from_nanos)
}

fn dbus_threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let named = |task: &fs::DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim_end() == "unitwait-dbus")
    };
    tasks.filter(named).map(|task| format!("self/task/{}", task.file_name().to_string_lossy())).collect()
}

fn second(begun: Instant, at: Instant) -> usize {
    usize::try_from(at.saturating_duration_since(begun).as_secs()).unwrap_or(usize::MAX)
}

/// A caller that panicked is told of where it is joined.
pub fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
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
