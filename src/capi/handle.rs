//! The handles that C programs hold: keys of a table, never addresses, so that one that was freed, or was never given
//! out, or is of another type, is told as such and touches nothing.

use std::any::Any;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::Failure;
use crate::driver::Inside;

/// A type of handle, and what is behind it.
pub(super) trait Handle {
    type Object: Any + Send + Sync;
    /// What a message calls it.
    const WHAT: &'static str;
}

type Table = BTreeMap<usize, Arc<dyn Any + Send + Sync>>;

static TABLE: Shared<Table> = Shared::new(BTreeMap::new());

/// Something that threads share, and that a fork finds in order. Nothing that blocks is done with it.
pub(super) struct Shared<T>(Mutex<T>);

impl<T> Shared<T> {
    pub const fn new(value: T) -> Shared<T> {
        Shared(Mutex::new(value))
    }

    pub fn with<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        // A child would find it locked for ever, had another thread it at the moment of the fork.
        let _no_fork = Inside::enter();
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Puts an object into the table; the key is the caller's.
pub(super) fn give<H: Handle>(object: H::Object) -> *mut H {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let object: Arc<dyn Any + Send + Sync> = Arc::new(object);
    TABLE.with(|table| {
        loop {
            // Where addresses have 64 bits, none of a process's has the highest set, and none is taken for a key.
            let key = NEXT.fetch_add(1, Ordering::Relaxed) | !(usize::MAX >> 1);
            if let Entry::Vacant(place) = table.entry(key) {
                place.insert(object);
                return ptr::without_provenance_mut(key);
            }
        }
    })
}

/// What is behind a handle. It stays while it is in use, whoever frees the handle meanwhile.
pub(super) fn find<H: Handle>(handle: *const H) -> Result<Arc<H::Object>, Failure> {
    if handle.is_null() {
        return Err(Failure::invalid(H::WHAT, "NULL", "a handle is needed"));
    }
    let found = TABLE.with(|table| table.get(&handle.addr()).cloned());
    let object = found.and_then(|object| object.downcast().ok());
    object.ok_or_else(|| {
        Failure::invalid(H::WHAT, &format!("{handle:p}"), "it was freed, or is no handle of this type")
    })
}

/// What is behind a handle where there is one, for those that ask an object for what it has.
pub(super) fn known<H: Handle>(handle: *const H) -> Option<Arc<H::Object>> {
    find(handle).ok()
}

/// Takes a handle out of the table.
pub(super) fn free(handle: *mut c_void) -> Result<(), Failure> {
    if handle.is_null() {
        return Ok(());
    }
    // It is let go of out here, for that may block.
    let freed = TABLE.with(|table| table.remove(&handle.addr()));
    freed.map(drop).ok_or_else(|| {
        Failure::invalid(
            "handle",
            &format!("{handle:p}"),
            "it was freed already, or is none of this library's",
        )
    })
}

/// How many there are.
pub(super) fn count() -> usize {
    TABLE.with(|table| table.len())
}
