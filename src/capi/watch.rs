//! Watching units, for C.

use std::ptr;

use super::error::{answer, quiet, unitwait_code, unitwait_error};
use super::handle::{Handle, find, give, known};
use super::list::{List, unitwait_list};
use super::manager::unitwait_manager;
use super::pass::{Many, Out, Text, deadline, texts};
use crate::manager::Watch;

/// The changes of units, in a bounded queue. Owned by the caller; freeing it ends the watch.
pub struct unitwait_watch {
    _private: [u8; 0],
}

impl Handle for unitwait_watch {
    type Object = Watch;
    const WHAT: &'static str = "watch";
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
        watch.put(give(opened.manager.watch(&patterns, deadline(timeout_ms)?)?));
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
    List::nothing(&[&event]);
    answer(error, || {
        let watch = find(watch)?;
        event.needed("event")?;
        List::of_event(&watch.receive(deadline(timeout_ms)?)?).hand_over(&event);
        Ok(())
    })
}

/// How many events there was no room for since the watch began: it keeps 1,024 that were not read. 0 where it is no
/// watch's handle. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_watch_dropped(watch: *const unitwait_watch) -> u64 {
    quiet(0, || Some(known(watch)?.dropped()))
}
