//! Over how many child slices a slice is spread where that is left to the library.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::cgroup::{CgroupLayout, siblings};
use crate::unit::spread;

/// For so long a number holds once it was worked out: to look costs some of what it is to save.
const HOLDS: Duration = Duration::from_millis(100);

/// For so many slices it is kept; a program with more works it out more often.
const MOST: usize = 256;

/// What was worked out last for each slice.
#[derive(Debug, Default)]
pub(super) struct Spreads(Mutex<HashMap<String, (Instant, u32)>>);

impl Spreads {
    /// Over how many a slice is spread now, whose control group this is.
    pub(super) fn over(&self, layout: &CgroupLayout, slice: &str, group: &str) -> u32 {
        // Who finds another thread here looks by itself: nobody waits, in the child of a fork neither.
        let known = self.0.try_lock().ok().and_then(|known| known.get(slice).copied());
        if let Some((_, over)) = known.filter(|(at, _)| at.elapsed() < HOLDS) {
            return over;
        }
        let over = spread::near_root(siblings::count(layout, group, &spread::prefix(slice)));
        if let Ok(mut known) = self.0.try_lock() {
            if known.len() >= MOST {
                known.clear();
            }
            known.insert(slice.into(), (Instant::now(), over));
        }
        over
    }
}
