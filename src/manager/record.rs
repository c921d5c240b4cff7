//! What a handle was asked for, for later comparison; all clones of a handle share it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

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
    changes: OnceLock<Box<dyn Changes>>,
}

/// A channel for changes, made with the first: a program that changes nothing has nothing of its code.
trait Changes: fmt::Debug + Send + Sync {
    fn note(&self, change: Vec<Property>);
    fn take_into(&self, limits: &mut Vec<Property>);
}

impl Changes for (Sender<Vec<Property>>, Receiver<Vec<Property>>) {
    fn note(&self, change: Vec<Property>) {
        let _ = self.0.send(change);
    }

    fn take_into(&self, limits: &mut Vec<Property>) {
        for change in self.1.try_iter() {
            merge(limits, &change);
        }
    }
}

impl Record {
    pub(super) fn new(placed: Vec<Process>, limits: Vec<Property>, group: Option<u64>) -> Record {
        Record { placed, group, limits: Mutex::new(limits), changes: OnceLock::new() }
    }

    /// systemd has accepted a change. Does not block.
    pub(super) fn note(&self, change: Vec<Property>) {
        self.changes.get_or_init(|| Box::new(unbounded())).note(change);
    }

    /// What the unit is to have now.
    pub(super) fn limits(&self) -> Vec<Property> {
        self.take_in().clone()
    }

    /// Takes in what was noted, so that it does not pile up.
    pub(super) fn take_in(&self) -> MutexGuard<'_, Vec<Property>> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(changes) = self.changes.get() {
            changes.take_into(&mut limits);
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
