//! One caller: it asks at random, with deadlines that hold and deadlines that do not, and sees for itself whether
//! what it is told is so. What it does with a scope is in `lives`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use unitwait::{ActiveScope, Deadline, Manager, OnExists, Request, Result, Scope, Ticket};

use crate::process::Process;
use crate::tally::{Counted, Tally};
use crate::witness::Witness;

const DEADLINES_MS: [u64; 6] = [1, 5, 40, 300, 3_000, 10_000];

/// A unit that starts and is never up: what is ordered after it waits.
pub const HOLD: &str = "soak-hold.service";

/// One way to systemd, by two handles. Each request over the first is counted, and has its one outcome in the
/// driver's counters; a verb over the other may make several.
#[derive(Clone)]
pub struct Way {
    pub counted: Manager,
    pub compound: Manager,
}

pub struct Caller {
    pub way: Way,
    /// The other way to the same systemd.
    pub other: Way,
    pub tally: Arc<Tally>,
    pub witness: Arc<Witness>,
    pub rng: fastrand::Rng,
}

impl Caller {
    pub fn run(&mut self, until: Instant) {
        while Instant::now() < until {
            match self.rng.u32(..24) {
                0 => self.read(),
                1 => self.leave(),
                2..=4 => self.cancel(),
                5 => self.queue(),
                6 | 7 => self.wait_for_the_end(),
                8 => self.adopt(),
                9 => self.kill_all(),
                10 => self.freeze(),
                11 => self.set(),
                12 => self.attach(),
                _ => self.live(),
            }
        }
    }

    pub fn deadline(&mut self) -> Duration {
        Duration::from_millis(DEADLINES_MS[self.rng.usize(..DEADLINES_MS.len())])
    }

    /// Hands a request over, waits for it, and counts what came of it and when.
    pub fn ask<R: Request>(&mut self, what: &'static str, request: &R) -> Result<R::Out> {
        let deadline = self.deadline();
        let call = self.tally.begin(what, deadline);
        let result = self.submit(request, deadline).and_then(|ticket| ticket.wait(Deadline::Default));
        call.end(&result);
        result
    }

    pub fn submit<R: Request>(&self, request: &R, deadline: Duration) -> Result<Ticket<R::Out>> {
        let submitted = self.way.counted.submit(request, deadline);
        // A deadline that passes on the way to the driver is an outcome of the driver's; a process that has ended
        // is no request of its.
        if submitted.as_ref().map_or_else(|error| error.is_timeout(), |_| true) {
            self.tally.asked.fetch_add(1, Ordering::Relaxed);
        }
        submitted
    }

    /// A wait for a ticket that is shorter than its request's own deadline.
    pub fn wait<T: Send + 'static>(
        &self,
        what: &'static str,
        ticket: Ticket<T>,
        wait: Duration,
    ) -> Result<T> {
        let call = self.tally.begin(what, wait);
        let result = ticket.wait(wait);
        call.end(&result);
        result
    }

    /// A call that blocks.
    pub fn call<T>(
        &self,
        what: &'static str,
        counted: Counted,
        deadline: Duration,
        call: impl FnOnce(Duration) -> Result<T>,
    ) -> Result<T> {
        self.tally.call(what, counted, deadline, call)
    }

    /// A scope with a name that no other has.
    pub fn scope(&mut self, process: &Process) -> Scope {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let scope = Scope::new(format!("soak-{}.scope", NEXT.fetch_add(1, Ordering::Relaxed)))
            .pid(process.id())
            .slice("soak.slice")
            .timeout_stop(Duration::from_millis(200));
        match self.rng.u32(..4) {
            0 => scope.on_exists(OnExists::Replace),
            1 => scope.default_dependencies(false),
            _ => scope,
        }
    }

    /// A create was told to have succeeded.
    pub fn see_created(&mut self, active: &ActiveScope, process: &Process) {
        if let Some(elsewhere) = process.is_elsewhere(active.unit()) {
            self.tally.falsehood(format!("{} was created, and its process is in {elsewhere}", active.unit()));
        }
        if self.rng.u32(..SAMPLE) > 0 {
            return;
        }
        let Some(held) = self.witness.ask(active.unit(), "ActiveState,InvocationID,ControlGroup") else {
            return;
        };
        let run = active.invocation_id().map(|id| id.to_string());
        let is_so = held["ActiveState"] == "active"
            && run.is_none_or(|run| held["InvocationID"] == run)
            && held["ControlGroup"] == active.control_group();
        if !is_so {
            self.tally.falsehood(format!("created: {active:?}, and to systemd it is {held:?}"));
        }
    }

    /// A stop, or another end, was told to be over.
    pub fn see_ended(&mut self, what: &str, unit: &str, processes: &[&Process]) {
        for process in processes.iter().filter(|process| process.lives()) {
            let group = process.group();
            self.tally.falsehood(format!("{unit}: {what}, and its process lives in {group:?}"));
        }
        if self.rng.u32(..SAMPLE) > 0 {
            return;
        }
        let Some(held) = self.witness.ask(unit, "ActiveState") else { return };
        if !matches!(held["ActiveState"].as_str(), "inactive" | "failed") {
            self.tally.falsehood(format!("{unit}: {what}, and to systemd it is {held:?}"));
        }
    }
}

/// Of so many successes one is held against systemd's own word.
const SAMPLE: u32 = 12;
