//! What a handle was asked for, for later comparison; all clones of a handle share it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::cgroup::Process;
use crate::unit::{Property, merge};

#[derive(Debug)]
pub(super) struct Record {
    pub placed: Vec<Process>,
    /// The number of the control group's directory, where it is known to be the run's.
    pub group: Option<u64>,
    limits: Mutex<Vec<Property>>,
    /// Changes in the order in which systemd accepted them. The dbus thread alone sees that order, and must not
    /// wait for a lock that a caller has: so it sends, and callers take it in.
    changes: (Sender<Vec<Property>>, Receiver<Vec<Property>>),
}

impl Record {
    pub(super) fn new(placed: Vec<Process>, limits: Vec<Property>, group: Option<u64>) -> Record {
        Record { placed, group, limits: Mutex::new(limits), changes: unbounded() }
    }

    /// systemd has accepted a change. Does not block.
    pub(super) fn note(&self, change: Vec<Property>) {
        let _ = self.changes.0.send(change);
    }

    /// What the unit is to have now.
    pub(super) fn limits(&self) -> Vec<Property> {
        self.take_in().clone()
    }

    /// Takes in what was noted, so that it does not pile up.
    pub(super) fn take_in(&self) -> MutexGuard<'_, Vec<Property>> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        for change in self.changes.1.try_iter() {
            merge(&mut limits, &change);
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_change_that_systemd_accepted_last_counts_whoever_looks_first() {
        let tasks = |tasks: u64| Property::new("TasksMax", tasks);
        let record = Arc::new(Record::new(Vec::new(), vec![tasks(10)], None));
        let clone = Arc::clone(&record);
        record.note(vec![tasks(20)]);
        record.note(vec![tasks(30), Property::new("MemoryMax", 1u64)]);
        assert_eq!(clone.limits(), [tasks(30), Property::new("MemoryMax", 1u64)]);
        assert_eq!(record.limits(), clone.limits());
    }
}
