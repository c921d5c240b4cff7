//! A scope that does not outlive its owner.

use std::ops::Deref;
use std::time::Duration;

use super::ActiveScope;
use crate::error::Error;

/// A bound below this is taken as this: it is what it takes to ask.
const LEAST: Duration = Duration::from_millis(10);

/// Stops its scope when it is dropped; made by [`ActiveScope::guard`].
///
/// The drop asks systemd to stop this one run, never a later one of its name, and blocks until it is down or for as long
/// as the guard allows, whatever the bus does. What came of it is logged. In the child of a `fork` it does nothing.
///
/// ```no_run
/// use std::time::Duration;
/// use unitwait::{Manager, Scope};
///
/// let manager = Manager::system()?;
/// let child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep starts");
/// let active = manager.create_scope(&Scope::new("job.scope").pid(child.id()), Duration::from_secs(5))?;
/// let guard = active.guard(Duration::from_secs(5));
/// println!("{} runs until the end of this block", guard.unit());
/// # Ok::<(), unitwait::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the scope is stopped where the guard is dropped"]
pub struct ScopeGuard {
    scope: ActiveScope,
    armed: bool,
    bound: Duration,
}

impl ActiveScope {
    /// Has the scope stopped when the guard is dropped, which blocks for at most `bound`. Does not block now.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # let manager = unitwait::Manager::system()?;
    /// let guard = manager.adopt_scope("job.scope", Duration::from_secs(1))?.guard(Duration::from_secs(5));
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn guard(self, bound: Duration) -> ScopeGuard {
        ScopeGuard { scope: self, armed: true, bound }
    }
}

impl ScopeGuard {
    /// Lets the scope live on, and gives it back. Does not block.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # let manager = unitwait::Manager::system()?;
    /// # let guard = manager.adopt_scope("job.scope", Duration::from_secs(1))?.guard(Duration::from_secs(5));
    /// let active = guard.release();
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn release(mut self) -> ActiveScope {
        self.armed = false;
        self.scope.clone()
    }
}

impl Deref for ScopeGuard {
    type Target = ActiveScope;

    fn deref(&self) -> &ActiveScope {
        &self.scope
    }
}

impl Drop for ScopeGuard {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        match self.scope.stop(self.bound.max(LEAST)) {
            Ok(_) | Err(Error::NoSuchUnit { .. } | Error::Superseded { .. } | Error::Forked) => {}
            Err(error) => log::warn!("a guard could not stop its scope: {error}"),
        }
    }
}
