//! What a manager's driver has done so far, in numbers.

use std::time::Duration;

use super::plan::Success;
use crate::error::Error;

/// Counters of one manager, as they were at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that wait in line.
    pub queued: usize,
    /// Calls that were sent and are not answered.
    pub in_flight: usize,
    /// How many calls may be in flight now; it shrinks where a bus turns out to allow fewer.
    pub window: usize,
    /// Requests whose callers have no answer yet.
    pub requests: usize,
    /// Requests whose callers have left, and whose jobs are still followed.
    pub settling: usize,
    /// Requests that went well.
    pub succeeded: u64,
    /// Requests that missed their deadline, those included whose deadline had passed when they were made.
    pub timed_out: u64,
    /// Requests that failed otherwise.
    pub failed: u64,
    /// Jobs that ended after their caller's deadline.
    pub late: u64,
    /// Messages that claimed to be the manager's or the bus's and were not.
    pub foreign: u64,
    /// Connections made, the first included.
    pub connections: u64,
    /// Messages sent, those included that make and keep the connection.
    pub messages_sent: u64,
    /// Messages received, those included that were of no use.
    pub messages_received: u64,
    /// What the sent messages had in bytes.
    pub bytes_sent: u64,
    /// What the received messages had in bytes.
    pub bytes_received: u64,
    /// The longest that a request took.
    pub longest: Duration,
}

impl Stats {
    pub(crate) fn count(&mut self, result: &Result<Success, Error>, took: Duration) {
        match result {
            Ok(_) => self.succeeded += 1,
            Err(error) if error.is_timeout() => self.timed_out += 1,
            Err(_) => self.failed += 1,
        }
        self.longest = self.longest.max(took);
    }
}
