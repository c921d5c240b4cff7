//! Many scopes by one call.

use std::time::Instant;

use super::{ActiveScope, Manager};
use crate::deadline::Deadline;
use crate::error::Result;
use crate::unit::Scope;

impl Manager {
    /// Creates scopes, all of them under way at once, and waits for them: one outcome for each, in the order of the
    /// scopes, and one deadline for all.
    ///
    /// Each scope fails or comes up by itself, as by [`Manager::create_scope`]: of those that the deadline overtakes,
    /// those whose jobs are still queued are cancelled, and those that were not begun yet are not. Blocks until the last
    /// outcome is there or until the deadline. A retry is safe: those that are there answer
    /// [`Error::UnitExists`](crate::Error::UnitExists).
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use unitwait::{Manager, Scope};
    ///
    /// let manager = Manager::system()?;
    /// let scopes: Vec<Scope> = [101u32, 102, 103]
    ///     .map(|pid| Scope::new(format!("job-{pid}.scope")).pid(pid).slice("jobs.slice"))
    ///     .into();
    /// for (scope, outcome) in scopes.iter().zip(manager.create_scopes(&scopes, Duration::from_secs(10))) {
    ///     match outcome {
    ///         Ok(active) => println!("{} holds", active.unit()),
    ///         Err(error) => eprintln!("{scope:?}: {error}"),
    ///     }
    /// }
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn create_scopes<'a>(
        &self,
        scopes: impl IntoIterator<Item = &'a Scope>,
        deadline: impl Into<Deadline>,
    ) -> Vec<Result<ActiveScope>> {
        let deadline = deadline.into().instant(Instant::now(), self.0.default_timeout);
        let tickets: Vec<_> = scopes.into_iter().map(|scope| self.submit(scope, deadline)).collect();
        tickets.into_iter().map(|ticket| ticket.and_then(|ticket| ticket.wait(Deadline::Default))).collect()
    }
}
