//! Watching units, for C.

use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::Arc;

use super::error::{answer, quiet, unitwait_code, unitwait_error};
use super::handle::{Handle, find, give, known};
use super::list::{List, unitwait_list};
use super::manager::unitwait_manager;
use super::pass::{Many, Out, Text, deadline, texts};
use crate::driver::Wake;
use crate::manager::Watch;

/// The changes of units, in a bounded queue. Owned by the caller; freeing it ends the watch.
pub struct unitwait_watch {
    _private: [u8; 0],
}

impl Handle for unitwait_watch {
    type Object = Watched;
    const WHAT: &'static str = "watch";
}

/// What is behind a watch's handle.
pub(super) struct Watched {
    watch: Watch,
    bell: Arc<Wake>,
}

impl Watched {
    /// Ends the ringing, unless more events are there.
    fn quieten(&self) {
        self.bell.clear();
        // One that came before the bell was cleared would go unheard.
        if !self.watch.receiver().is_empty() {
            self.bell.ring();
        }
    }
}

/// Watches the units whose names match one of the shell patterns; all where there are none. What happens from then on is
/// told: list the units after this, and nothing falls between. Blocks until systemd has agreed to tell, or for the
/// timeout. While any watch is there, systemd tells of every unit's changes, which costs it time on a busy host.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_watch_units(
    manager: *const unitwait_manager,
    patterns: Many<Text>,
    length: usize,
    timeout_ms: i64,
    watch: Out<*mut unitwait_watch>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    watch.put(ptr::null_mut());
    answer(error, || {
        let (opened, patterns) = (find(manager)?, texts(patterns, length, "patterns")?);
        watch.needed("watch")?;
        let bell = Arc::new(Wake::new()?);
        let by = deadline(timeout_ms)?;
        let watched = opened.manager.watch_with(&patterns, by, Arc::downgrade(&bell))?;
        watch.put(give(Watched { watch: watched, bell }));
        Ok(())
    })
}

/// The next event, as a list of one row: UNITWAIT_FIELD_KIND (enum unitwait_event), and UNITWAIT_FIELD_UNIT,
/// _ACTIVE_STATE and _SUB_STATE where there are any. Each event goes to one of the threads that ask. Blocks until it
/// comes, or for the timeout: UNITWAIT_TIMEOUT.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_watch_next(
    watch: *const unitwait_watch,
    timeout_ms: i64,
    event: Out<*mut unitwait_list>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    List::answer(event, error, || {
        let watched = find(watch)?;
        let next = watched.watch.receive(deadline(timeout_ms)?);
        watched.quieten();
        Ok(List::of_event(&next?))
    })
}

/// A descriptor that poll(2) finds readable while events are there, for an event loop; -1 where it is no watch's handle.
/// The watch's own: it is not to be read or closed, and ends when the watch is freed. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_watch_descriptor(watch: *const unitwait_watch) -> c_int {
    quiet(-1, || Some(known(watch)?.bell.as_fd().as_raw_fd()))
}

/// How many events there was no room for since the watch began: it keeps 1,024 that were not read. 0 where it is no
/// watch's handle. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_watch_dropped(watch: *const unitwait_watch) -> u64 {
    quiet(0, || Some(known(watch)?.watch.dropped()))
}
