//! One caller: it asks at random, with deadlines that hold and deadlines that do not, and sees for itself whether
//! what it is told is so.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use unitwait::{ActiveScope, Deadline, KillWhom, Manager, OnExists, Request, Result, Scope, Ticket, UnitJob};

use crate::tally::Tally;

const DEADLINES_MS: [u64; 6] = [1, 5, 40, 300, 3_000, 10_000];

pub struct Worker {
    manager: Manager,
    tally: Arc<Tally>,
    rng: fastrand::Rng,
}

impl Worker {
    pub fn new(manager: Manager, tally: Arc<Tally>, seed: u64) -> Worker {
        Worker { manager, tally, rng: fastrand::Rng::with_seed(seed) }
    }

    pub fn run(&mut self, until: Instant) {
        while Instant::now() < until {
            match self.rng.u32(..12) {
                0 => self.read(),
                1 => self.leave(),
                2 => self.cancel(),
                _ => self.life(),
            }
        }
    }

    fn deadline(&mut self) -> Duration {
        Duration::from_millis(DEADLINES_MS[self.rng.usize(..DEADLINES_MS.len())])
    }

    /// Asks and waits, and counts what came of it and when.
    fn ask<R: Request>(&mut self, request: &R) -> Result<R::Out> {
        let deadline = self.deadline();
        let begun = Instant::now();
        let result = self.submit(request, deadline).and_then(|ticket| ticket.wait(Deadline::Default));
        self.tally.took("a ticket", deadline, begun.elapsed(), &result);
        self.tally.count(&result);
        result
    }

    fn submit<R: Request>(&self, request: &R, deadline: Duration) -> Result<Ticket<R::Out>> {
        let submitted = self.manager.submit(request, deadline);
        // A deadline that passes on the way to the driver is an outcome of the driver's; a process that has ended
        // is no request of its.
        if submitted.as_ref().map_or_else(|error| error.is_timeout(), |_| true) {
            self.tally.asked.fetch_add(1, Ordering::Relaxed);
        }
        submitted
    }

    fn scope(&mut self, process: &Process) -> Scope {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let scope = Scope::new(format!("soak-{}.scope", NEXT.fetch_add(1, Ordering::Relaxed)))
            .pid(process.0.id())
            .slice("soak.slice")
            .timeout_stop(Duration::from_millis(200));
        match self.rng.u32(..4) {
            0 => scope.on_exists(OnExists::Replace),
            1 => scope.default_dependencies(false),
            _ => scope,
        }
    }

    fn life(&mut self) {
        let process = Process::start(self.rng.u32(..8) == 0);
        let scope = self.scope(&process);
        let Ok(active) = self.ask(&scope) else { return };
        if let Some(elsewhere) = process.is_elsewhere(active.unit()) {
            self.tally.falsehood(format!("{} was created, and its process is in {elsewhere}", active.unit()));
        }
        // A handle that knows of no run answers without asking.
        if self.rng.u32(..4) == 0 && active.invocation_id().is_some() {
            let _ = self.kill(&active);
        }
        if self.rng.u32(..4) > 0 {
            let stop = UnitJob::stop(active.unit());
            let stopped = self.ask(&stop);
            if stopped.is_ok() && process.lives() {
                let state = self.manager.property(active.unit(), "ActiveState", Duration::from_secs(10));
                let group = process.is_elsewhere("nowhere");
                let what = format!(
                    "{}: stopped, and its process lives in {group:?}; it is {state:?}; {stopped:?}",
                    active.unit()
                );
                self.tally.falsehood(what);
            }
        }
    }

    fn kill(&mut self, active: &ActiveScope) -> Result<()> {
        let deadline = self.deadline();
        let begun = Instant::now();
        let result = active.kill(KillWhom::All, 0x12, deadline);
        self.blocking(deadline, begun, &result);
        result
    }

    fn read(&mut self) {
        let deadline = self.deadline();
        let begun = Instant::now();
        let result = self.manager.property("soak.slice", "ActiveState", deadline);
        self.blocking(deadline, begun, &result);
    }

    /// A call that has no ticket to count.
    fn blocking<T>(&self, deadline: Duration, begun: Instant, result: &Result<T>) {
        self.tally.asked.fetch_add(1, Ordering::Relaxed);
        self.tally.took("a call", deadline, begun.elapsed(), result);
        self.tally.count(result);
    }

    /// Callers that drop their tickets, or give up early.
    fn leave(&mut self) {
        let process = Process::start(false);
        let scope = self.scope(&process);
        let (deadline, early) = (self.deadline(), self.rng.bool());
        let Ok(ticket) = self.submit(&scope, deadline) else { return };
        if early {
            let wait = Duration::from_millis(self.rng.u64(..20));
            let begun = Instant::now();
            let result = ticket.wait(wait);
            self.tally.took("a shorter wait", wait, begun.elapsed(), &result);
            self.tally.count(&result);
        }
    }

    /// A stop that takes long, cancelled by its own caller or let be.
    fn cancel(&mut self) {
        let process = Process::start(true);
        let scope = self.scope(&process).timeout_stop(Duration::from_millis(700));
        let Ok(active) = self.ask(&scope) else { return };
        let Ok(ticket) = self.submit(&UnitJob::stop(active.unit()), Duration::from_secs(5)) else { return };
        let result = ticket.wait(Duration::from_millis(self.rng.u64(5..100)));
        self.tally.count(&result);
        if let Some(job) = result.err().and_then(|error| error.job()) {
            let (deadline, begun) = (self.deadline(), Instant::now());
            let result = self.manager.cancel_job(job, deadline);
            self.blocking(deadline, begun, &result);
        }
    }
}

/// A process to place, ended with its caller's interest.
struct Process(Child);

impl Process {
    fn start(stubborn: bool) -> Process {
        let script = if stubborn { "trap '' TERM; while :; do sleep 60; done" } else { "exec sleep 600" };
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Process(command.spawn().expect("sh starts"))
    }

    /// A process on its way out has left its control group already, though it is no zombie yet.
    fn lives(&self) -> bool {
        const PF_EXITING: u64 = 0x4;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let exits = fields
            .get(6)
            .and_then(|flags| flags.parse::<u64>().ok())
            .is_none_or(|flags| flags & PF_EXITING != 0);
        !exits && !matches!(fields.first(), None | Some(&("Z" | "X")))
    }

    /// The group it is in, where that is not the unit's; read apart from the library.
    fn is_elsewhere(&self, unit: &str) -> Option<String> {
        let hierarchy = match std::env::var("UNITWAIT_SANDBOX_CGROUP").as_deref() {
            Ok("hybrid") => "name=systemd:",
            _ => "0::",
        };
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", self.0.id())).ok()?;
        let group = groups.lines().find_map(|line| Some(line.split_once(hierarchy)?.1.to_string()))?;
        (!group.ends_with(unit) && self.lives()).then_some(group)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
