//! Over how many child slices a slice is spread where that is left to the library.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::ActiveScope;
use crate::cgroup::{CgroupLayout, siblings};
use crate::unit::spread;

/// For so long a number holds once it was worked out: to look costs some of what it is to save.
const HOLDS: Duration = Duration::from_millis(100);

/// For so many slices it is kept; a program with more works it out more often.
const MOST: usize = 256;

/// What was worked out last for each slice.
#[derive(Debug, Default)]
pub(super) struct Spreads(Mutex<Vec<(String, Instant, u32)>>);

impl Spreads {
    /// Over how many a slice is spread now, whose control group this is.
    pub(super) fn over(&self, layout: &CgroupLayout, slice: &str, group: &str) -> u32 {
        // Who finds another thread here looks by itself: nobody waits, in the child of a fork neither.
        let is_known = |(known, at, _): &&(String, Instant, u32)| known == slice && at.elapsed() < HOLDS;
        let known = self.0.try_lock().ok().and_then(|known| Some(known.iter().find(is_known)?.2));
        if let Some(over) = known {
            return over;
        }
        let (children, groups) = (spread::prefix(slice), spread::group_prefix(slice));
        let over = spread::suited_to(siblings::count(layout, group, &children, &groups));
        if let Ok(mut known) = self.0.try_lock() {
            if known.len() >= MOST {
                known.clear();
            }
            known.retain(|(other, ..)| other != slice);
            known.push((slice.into(), Instant::now(), over));
        }
        over
    }
}

impl ActiveScope {
    /// Over how many child slices its slice was spread when it was created; `None` where it was not
    /// ([`Scope::spread`](crate::Scope::spread)). Does not block.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use unitwait::{Manager, Scope, Spread};
    /// # let manager = Manager::system()?;
    /// let scope = Scope::new("job.scope").own_process().slice("jobs.slice").spread(Spread::Auto);
    /// let active = manager.create_scope(&scope, Duration::from_secs(5))?;
    /// println!("{} of {:?}", active.control_group(), active.spread());
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn spread(&self) -> Option<u32> {
        self.0.spread
    }
}
