//! Until when a call may take: every blocking call of this crate has a deadline, and none means "forever".

use std::time::{Duration, Instant};

/// The moment at which a call returns at the latest, with its result or with
/// [`Error::Timeout`](crate::Error::Timeout).
///
/// Calls take `impl Into<Deadline>`: a [`Duration`] from now, an [`Instant`], or [`Deadline::Default`]. A
/// deadline of zero or in the past is answered at once with a timeout, and nothing is sent.
///
/// ```
/// use std::time::{Duration, Instant};
/// use unitwait::Deadline;
///
/// let _ = Deadline::from(Duration::from_millis(250));
/// let _ = Deadline::from(Instant::now());
/// let _ = Deadline::Default;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deadline {
    /// The manager's default timeout, counted from the call.
    Default,
    /// At this moment.
    At(Instant),
}

/// What "no end in sight" is cut down to, so that the arithmetic of clocks cannot overflow.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

impl Deadline {
    pub(crate) fn instant(self, now: Instant, default: Duration) -> Instant {
        match self {
            Deadline::Default => after(now, default),
            Deadline::At(at) => at,
        }
    }
}

/// `now` and a while later; a while too long for the clock is cut to thirty years.
fn after(now: Instant, wait: Duration) -> Instant {
    now + wait.min(FAR)
}

impl From<Duration> for Deadline {
    fn from(wait: Duration) -> Deadline {
        Deadline::At(after(Instant::now(), wait))
    }
}

impl From<Instant> for Deadline {
    fn from(at: Instant) -> Deadline {
        Deadline::At(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_durations_do_not_overflow_the_clock() {
        let now = Instant::now();
        assert!(matches!(Deadline::from(Duration::MAX), Deadline::At(at) if at > now));
        assert!(Deadline::Default.instant(now, Duration::MAX) > now);
    }
}
