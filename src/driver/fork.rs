//! Forks of the host program: how a child is told from its parent, and what it must find in order.
//!
//! A child has none of the parent's threads and all of its memory. What belongs to the dbus thread it must leave alone,
//! and what that thread holds inside libdbus at the moment of the fork would be held for ever in the child, whose own
//! manager could then never be opened. So a fork waits for the moment in which the thread is outside of libdbus.

use std::cell::Cell;
use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys;

/// How many forks lie between the first process that used this library and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);
/// How many forks are under way.
static FORKING: AtomicU32 = AtomicU32::new(0);
/// How many threads are inside libdbus, or hold a lock that a child will need.
static INSIDE: AtomicU32 = AtomicU32::new(0);

/// For how long a fork waits at the most. A thread is inside for microseconds, and never waits there.
const PATIENCE: Duration = Duration::from_millis(100);

/// Which process this is. Its number alone does not tell: in PID namespaces, parent and child may both be 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Here {
    pid: u32,
    generation: u64,
}

fn watch_forks() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| sys::at_fork(before, in_parent, in_child));
}

impl Here {
    pub(super) fn now() -> Here {
        watch_forks();
        Here { pid: process::id(), generation: GENERATION.load(Ordering::SeqCst) }
    }
}

/// While it lives, no fork happens.
pub(crate) struct Inside(());

thread_local! {
    /// How often this thread is inside of itself: only the outermost is counted, for one within it that waited for a fork
    /// would wait for itself.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

impl Inside {
    pub(crate) fn enter() -> Inside {
        watch_forks();
        if DEPTH.replace(DEPTH.get() + 1) > 0 {
            return Inside(());
        }
        loop {
            INSIDE.fetch_add(1, Ordering::SeqCst);
            // Who counts itself first and looks then is seen by a fork, or sees it.
            if FORKING.load(Ordering::SeqCst) == 0 {
                return Inside(());
            }
            INSIDE.fetch_sub(1, Ordering::SeqCst);
            thread::yield_now();
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        if DEPTH.get() == 0 {
            INSIDE.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

extern "C" fn before() {
    FORKING.fetch_add(1, Ordering::SeqCst);
    let until = Instant::now() + PATIENCE;
    while INSIDE.load(Ordering::SeqCst) > 0 && Instant::now() < until {
        thread::yield_now();
    }
}

extern "C" fn in_parent() {
    FORKING.fetch_sub(1, Ordering::SeqCst);
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::SeqCst);
    // Nobody else is here: neither the threads that were inside nor other forks.
    FORKING.store(0, Ordering::SeqCst);
    INSIDE.store(0, Ordering::SeqCst);
}
