//! The order of creations where this manager turns out to know no pidfds: those that were asked for with them are refused
//! and asked for again, each where it stood before.

use std::time::{Duration, Instant};

use super::{Lane, Purpose, ReplyTo, Router};

/// For how long a refusal that is to come is waited for. They come one right after the other; a manager that has
/// swallowed one holds nobody up for more.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);

impl<R: ReplyTo> Router<R> {
    /// Whether creations that have not begun must let others go first, which are about to be asked for again.
    pub(super) fn lets_others_go_first(&mut self, now: Instant) -> bool {
        let is_to_be_refused = |purpose: Purpose| match purpose {
            Purpose::Request(id, Lane::Creation) => self
                .requests
                .get(&id)
                .is_some_and(|entry| entry.reply.is_some() && entry.plan.is_to_fall_back()),
            _ => false,
        };
        let refused = self.in_flight.values().filter(|call| is_to_be_refused(call.purpose));
        self.held_until = refused.map(|call| call.sent + REFUSED_WITHIN).filter(|until| *until > now).max();
        self.held_until.is_some()
    }
}

#[cfg(test)]
mod tests;
