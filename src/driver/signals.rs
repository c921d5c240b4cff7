//! Threads of the driver take no signals: those are the host program's.

use std::io;
use std::thread::{self, JoinHandle};

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// Runs `spawn` with all signals blocked, so that the thread it makes begins with them blocked, and puts the
/// caller's own mask back.
pub(crate) fn without<T>(spawn: impl FnOnce() -> T) -> T {
    let mut before = SigSet::empty();
    let blocked = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before));
    let made = spawn();
    if blocked.is_ok() {
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
    }
    made
}

/// Starts a thread of that kind.
pub(super) fn spawn(name: &str, run: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    without(|| thread::Builder::new().name(name.into()).spawn(run))
}
