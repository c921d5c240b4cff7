//! What came of the requests, counted by all callers: each call's one outcome, what was said that is not so, and how
//! far past their deadlines calls returned.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use unitwait::{Error, Operation};

use crate::machine::{Metronome, lock, waited};

/// What a call may be late by, beside what the machine was late by itself in the same moments.
pub const MARGIN: Duration = Duration::from_millis(250);

pub struct Tally {
    pub metronome: Metronome,
    /// Requests that were handed over to managers on which each is counted.
    pub asked: AtomicU64,
    next: AtomicU64,
    under_way: Mutex<BTreeMap<u64, (String, Instant)>>,
    outcomes: Mutex<BTreeMap<String, u64>>,
    seen: Mutex<BTreeMap<&'static str, u64>>,
    falsehoods: Mutex<Vec<String>>,
    worst: Mutex<Option<Overrun>>,
    overruns: Mutex<Vec<Overrun>>,
}

/// Whether a call is one request, over a manager on which each is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    Yes,
    No,
}

/// A call that returned after its deadline.
#[derive(Clone)]
pub struct Overrun {
    what: String,
    by: Duration,
    /// What the machine explains of it.
    machines: Duration,
}

impl fmt::Display for Overrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overrun { what, by, machines } = self;
        write!(f, "{by:.1?} past its deadline (the machine explains {machines:.1?}): {what}")
    }
}

/// A call that is under way.
pub struct Call<'a> {
    tally: &'a Tally,
    number: u64,
    what: &'static str,
    begun: Instant,
    deadline: Duration,
    /// How long its thread had waited for a processor by then.
    waited: Duration,
}

impl Tally {
    pub fn new(metronome: Metronome) -> Tally {
        Tally {
            metronome,
            asked: AtomicU64::default(),
            next: AtomicU64::default(),
            under_way: Mutex::default(),
            outcomes: Mutex::default(),
            seen: Mutex::default(),
            falsehoods: Mutex::default(),
            worst: Mutex::default(),
            overruns: Mutex::default(),
        }
    }

    pub fn begin(&self, what: &'static str, deadline: Duration) -> Call<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.under_way).insert(number, (what.into(), Instant::now() + deadline));
        let waited = waited("thread-self");
        // Only now, for to wait for the lock is none of the call's.
        Call { tally: self, number, what, begun: Instant::now(), deadline, waited }
    }

    /// A call that blocks.
    pub fn call<T>(
        &self,
        what: &'static str,
        counted: Counted,
        deadline: Duration,
        call: impl FnOnce(Duration) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if counted == Counted::Yes {
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
        let begun = self.begin(what, deadline);
        let result = call(deadline);
        begun.end(&result);
        result
    }

    /// Something that is to be seen in every run was.
    pub fn saw(&self, what: &'static str) {
        *lock(&self.seen).entry(what).or_default() += 1;
    }

    fn count<T>(&self, what: &'static str, result: &Result<T, Error>) {
        let kind = match result {
            Ok(_) => {
                self.saw(what);
                "ok".to_string()
            }
            Err(error) => {
                if cannot_be(error) {
                    self.falsehood(format!("{what}: {error}: {error:?}"));
                }
                let text = format!("{error:?}");
                text.split([' ', '{', '(']).next().unwrap_or_default().to_string()
            }
        };
        *lock(&self.outcomes).entry(kind).or_default() += 1;
    }

    /// Something was said that is not so.
    pub fn falsehood(&self, what: String) {
        lock(&self.falsehoods).push(what);
    }

    pub fn falsehoods(&self) -> Vec<String> {
        lock(&self.falsehoods).clone()
    }

    /// How often each verb went well, and what else was to be seen.
    pub fn seen(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.seen).clone()
    }

    /// Calls that have not returned though they were due before `when`.
    pub fn overdue(&self, when: Instant) -> Vec<String> {
        let calls = lock(&self.under_way);
        calls.values().filter(|(_, due)| *due < when).map(|(what, _)| what.clone()).collect()
    }

    fn late(&self, overrun: Overrun) {
        if overrun.by > MARGIN {
            lock(&self.overruns).push(overrun.clone());
        }
        let mut worst = lock(&self.worst);
        if worst.as_ref().is_none_or(|worst| worst.by < overrun.by) {
            *worst = Some(overrun);
        }
    }

    /// The worst overrun of all.
    pub fn worst(&self) -> String {
        lock(&self.worst).as_ref().map_or("none".into(), ToString::to_string)
    }

    /// How far the worst was past its deadline.
    pub fn worst_by(&self) -> Duration {
        lock(&self.worst).as_ref().map_or(Duration::ZERO, |worst| worst.by)
    }

    /// The overruns that the machine's own scheduling, in the same moments, does not explain.
    pub fn unexplained(&self) -> Vec<String> {
        let overruns = lock(&self.overruns);
        overruns.iter().filter(|late| late.by > MARGIN + late.machines).map(ToString::to_string).collect()
    }

    pub fn long_overruns(&self) -> usize {
        lock(&self.overruns).len()
    }
}

impl Call<'_> {
    /// It returned.
    pub fn end<T>(self, result: &Result<T, Error>) {
        let Call { tally, number, what, begun, deadline, waited: before } = self;
        let returned = Instant::now();
        let own = waited("thread-self").saturating_sub(before);
        lock(&tally.under_way).remove(&number);
        let due = begun + deadline;
        let by = returned.saturating_duration_since(due);
        if !by.is_zero() {
            let answer = result.as_ref().map_or_else(ToString::to_string, |_| "ok".into());
            let what = format!("{what} with {deadline:?}: {answer}");
            tally.late(Overrun { what, by, machines: tally.metronome.explains(due, returned, own) });
        }
        tally.count(what, result);
    }
}

/// Nobody here moves processes, changes limits, speaks for systemd, or uses a name twice.
fn cannot_be(error: &Error) -> bool {
    match error {
        Error::Misplaced { .. }
        | Error::Protocol { .. }
        | Error::Closed { .. }
        | Error::Superseded { .. }
        | Error::UnitExists { .. } => true,
        // Its process lives, and only a stop's job is cancelled.
        Error::JobFailed { asked, .. } | Error::NoSuchProcess { asked, .. } => {
            asked.operation == Operation::CreateScope
        }
        _ => false,
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls", self.next.load(Ordering::Relaxed))?;
        lock(&self.outcomes).iter().try_for_each(|(kind, count)| write!(f, ", {count} {kind}"))?;
        write!(f, ", {} false", self.falsehoods().len())
    }
}
