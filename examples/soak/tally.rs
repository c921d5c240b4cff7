//! What came of the requests, counted by all workers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use unitwait::Error;

#[derive(Debug, Default)]
pub struct Tally {
    /// Requests that were handed over.
    pub asked: AtomicU64,
    outcomes: Mutex<BTreeMap<String, u64>>,
    falsehoods: Mutex<Vec<String>>,
    worst: Mutex<(Duration, String)>,
}

impl Tally {
    pub fn count<T>(&self, result: &Result<T, Error>) {
        let kind = match result {
            Ok(_) => "ok".to_string(),
            Err(error) => {
                let text = format!("{error:?}");
                text.split([' ', '{', '(']).next().unwrap_or_default().to_string()
            }
        };
        // Nobody here moves processes, changes limits or speaks for systemd.
        if let Err(Error::Misplaced { .. } | Error::Protocol { .. } | Error::Closed { .. }) = result {
            self.falsehood(format!("{:?}", result.as_ref().err()));
        }
        *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += 1;
    }

    /// Something was said that is not so.
    pub fn falsehood(&self, what: String) {
        self.falsehoods.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    pub fn falsehoods(&self) -> Vec<String> {
        self.falsehoods.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How far past its deadline a call returned, and which.
    pub fn took<T>(&self, what: &str, deadline: Duration, took: Duration, result: &Result<T, Error>) {
        let over = took.saturating_sub(deadline);
        let mut worst = self.worst.lock().unwrap_or_else(PoisonError::into_inner);
        if over > worst.0 {
            let answer = result.as_ref().map_or_else(ToString::to_string, |_| "ok".into());
            *worst = (over, format!("{what} with {deadline:?}: {answer}"));
        }
    }

    pub fn worst(&self) -> (Duration, String) {
        self.worst.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests", self.asked.load(Ordering::Relaxed))?;
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.iter().try_for_each(|(kind, count)| write!(f, ", {count} {kind}"))?;
        write!(f, ", {} false", self.falsehoods().len())
    }
}
