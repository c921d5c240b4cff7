//! A watcher that never reads: whatever is told to it lies there, and nobody waits for it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use unitwait::Manager;

use crate::tally::{Counted, Tally};

/// Watches now by one manager, now by another, and now not at all: while it does, systemd tells of every unit.
pub fn run(managers: &[Manager], tally: &Arc<Tally>, seed: u64, until: Instant) {
    let mut rng = fastrand::Rng::with_seed(seed);
    while Instant::now() < until {
        let manager = &managers[rng.usize(..managers.len())];
        let deadline = Duration::from_millis([40, 300, 3_000][rng.usize(..3)]);
        let watch = tally.call("watch", Counted::Yes, deadline, |by| manager.watch(&["soak-*.scope"], by));
        if let Ok(watch) = watch {
            pause(&mut rng, until);
            if !watch.receiver().is_empty() {
                tally.saw("events unread");
            }
            if watch.dropped() > 0 {
                tally.saw("watch full");
            }
        }
        pause(&mut rng, until);
    }
}

fn pause(rng: &mut fastrand::Rng, until: Instant) {
    let pause = Duration::from_millis(rng.u64(500..6_000));
    thread::sleep(pause.min(until.saturating_duration_since(Instant::now())));
}
