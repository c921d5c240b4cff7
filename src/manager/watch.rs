//! Watching units: their changes as they happen, in a bounded queue that says what it had no room for.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::Manager;
use crate::deadline::Deadline;
use crate::driver::{self, UnitEvent, Wake, WatchId, Watcher};
use crate::error::{Asked, Error, Operation, Result, Stage};
use crate::pattern::Pattern;

/// How many events a watch keeps for a reader that is slower than systemd.
const ROOM: usize = 1024;

/// The changes of units, as an iterator and a crossbeam receiver; made by [`Manager::watch`].
///
/// A reader that falls behind loses the newest events, and none waits for it: [`dropped`](Watch::dropped) counts
/// them. `Send`, so that one thread may ask and another read. Dropping it ends the watch.
///
/// The iterator blocks until the next event, and ends only with the manager's thread; [`next_by`](Watch::next_by)
/// has a deadline.
///
/// ```no_run
/// use std::time::Duration;
/// use unitwait::{Manager, UnitEvent};
///
/// let manager = Manager::system()?;
/// for event in manager.watch(&["job-*.scope"], Duration::from_secs(5))? {
///     if let UnitEvent::Changed { unit, active_state, .. } = event {
///         println!("{unit} is {active_state}");
///     }
/// }
/// # Ok::<(), unitwait::Error>(())
/// ```
pub struct Watch {
    manager: Manager,
    id: WatchId,
    events: Receiver<UnitEvent>,
    dropped: Arc<AtomicU64>,
}

struct Queue {
    patterns: Vec<Pattern>,
    to: Sender<UnitEvent>,
    dropped: Arc<AtomicU64>,
    /// Rung for each event that there was room for.
    bell: Weak<Wake>,
}

impl Watcher for Queue {
    fn wants(&self, unit: &str) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.matches(unit))
    }

    fn tell(&self, event: UnitEvent) -> bool {
        match self.to.try_send(event) {
            Ok(()) => {
                self.bell.upgrade().iter().for_each(|bell| bell.ring());
                true
            }
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

impl Manager {
    /// Watches the units whose names match one of the shell patterns; all where there are none.
    ///
    /// What happens after this has returned is told; the units as they are now are [`list_units`](Manager::list_units)'
    /// to tell, so list after this, and nothing falls between. Blocks until systemd has agreed to tell, or until the
    /// deadline. While any watch is there, systemd tells every subscriber of every unit's changes, which costs PID 1
    /// time on a busy host; the last watch to go ends that. Errors: [`Error::InvalidInput`] for a pattern that is
    /// none, otherwise as [`Manager::property`]. Source: `org.freedesktop.systemd1(5)`, `Subscribe()` and
    /// `PropertiesChanged`; `glob(7)`.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// let manager = unitwait::Manager::system()?;
    /// let mut watch = manager.watch(&["job-*.scope"], Duration::from_secs(5))?;
    /// let event = watch.next_by(Duration::from_secs(60))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn watch(&self, patterns: &[&str], deadline: impl Into<Deadline>) -> Result<Watch> {
        self.watch_with(patterns, deadline.into(), Weak::new())
    }

    /// Has the bell rung for each event.
    pub(crate) fn watch_with(
        &self,
        patterns: &[&str],
        deadline: Deadline,
        bell: Weak<Wake>,
    ) -> Result<Watch> {
        let deadline = deadline.instant(Instant::now(), self.0.default_timeout);
        let patterns = patterns.iter().map(|pattern| Pattern::new(pattern)).collect::<Result<_>>()?;
        let (to, events) = bounded(ROOM);
        let dropped = Arc::new(AtomicU64::new(0));
        let queue = Queue { patterns, to, dropped: Arc::clone(&dropped), bell };
        let id = self.0.driver.watch(Box::new(queue), deadline)?;
        let watch = Watch { manager: self.clone(), id, events, dropped };
        // The thread keeps the order: once this is answered, systemd has heard of the watch.
        self.round_trip(Operation::Watch, deadline.into())?;
        Ok(watch)
    }
}

impl Watch {
    /// The next event. Blocks until it comes, or until the deadline: [`Error::Timeout`]; [`Error::Closed`] where the
    /// manager's thread has ended, [`Error::Forked`] in the child of a `fork`.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # let mut watch = unitwait::Manager::system()?.watch(&[], Duration::from_secs(5))?;
    /// println!("{:?}", watch.next_by(Duration::from_secs(1))?);
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn next_by(&mut self, deadline: impl Into<Deadline>) -> Result<UnitEvent> {
        self.receive(deadline.into())
    }

    pub(crate) fn receive(&self, deadline: Deadline) -> Result<UnitEvent> {
        self.manager.0.driver.check_process()?;
        let begun = Instant::now();
        let until = deadline.instant(begun, self.manager.0.default_timeout);
        self.events.recv_deadline(until).map_err(|error| match error {
            RecvTimeoutError::Disconnected => driver::closed(),
            RecvTimeoutError::Timeout => {
                let (asked, waited) = (Asked::new(Operation::Watch, None), begun.elapsed());
                Error::Timeout { asked, stage: Stage::Wait, job: None, waited }
            }
        })
    }

    /// The channel that the events come through, for `crossbeam_channel::select!`.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # let watch = unitwait::Manager::system()?.watch(&[], Duration::from_secs(5))?;
    /// if let Ok(event) = watch.receiver().try_recv() {
    ///     println!("{event:?}");
    /// }
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn receiver(&self) -> &Receiver<UnitEvent> {
        &self.events
    }

    /// How many events there was no room for since the watch began. It keeps 1,024 that were not read.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// let watch = unitwait::Manager::system()?.watch(&["*.scope"], Duration::from_secs(5))?;
    /// assert_eq!(watch.dropped(), 0);
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Iterator for Watch {
    type Item = UnitEvent;

    fn next(&mut self) -> Option<UnitEvent> {
        self.manager.0.driver.check_process().ok()?;
        self.events.recv().ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.manager.0.driver.unwatch(self.id);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("id", &self.id)
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}
