//! What a caller does with a scope: each verb, and what the kernel must then show.

use std::thread;
use std::time::{Duration, Instant};

use unitwait::{ActiveScope, Ended, Ending, Error, KillWhom, Result, Stage, UnitJob, Update};

use crate::caller::{Caller, HOLD};
use crate::process::{Process, is_frozen, is_hybrid, most_tasks};
use crate::tally::Counted;

/// So long after its run's end a wait is to have ended, whatever happened meanwhile.
const SOON: Duration = Duration::from_secs(15);

impl Caller {
    pub fn live(&mut self) {
        let process = Process::start(self.rng.u32(..4) == 0);
        let Some(active) = self.create(&process) else { return };
        // A handle that knows of no run answers without asking.
        if self.rng.u32(..4) == 0 && active.invocation_id().is_some() {
            let deadline = self.deadline();
            let signal = |by| active.kill(KillWhom::All, 0x12, by);
            let _ = self.call("kill", Counted::Yes, deadline, signal);
        }
        if self.rng.u32(..4) > 0 {
            let stopped = self.ask("stop", &UnitJob::stop(active.unit()));
            if stopped.is_ok() {
                self.see_ended("stopped", active.unit(), &[&process]);
            }
        }
    }

    fn create(&mut self, process: &Process) -> Option<ActiveScope> {
        let scope = self.scope(process);
        let active = self.ask("create", &scope).ok()?;
        self.see_created(&active, process);
        Some(active)
    }

    /// A create over the handle whose verbs are not counted one by one.
    fn create_uncounted(&mut self, process: &Process) -> Option<ActiveScope> {
        let scope = self.scope(process).delegate(true);
        let deadline = self.deadline();
        let create = |by| self.way.compound.create_scope(&scope, by);
        let active = self.call("create", Counted::No, deadline, create).ok()?;
        self.see_created(&active, process);
        active.invocation_id().is_some().then_some(active)
    }

    pub fn read(&mut self) {
        let deadline = self.deadline();
        let read = |by| self.way.counted.property("soak.slice", "ActiveState", by);
        let _ = self.call("read", Counted::Yes, deadline, read);
    }

    /// Callers that drop their tickets, or give up early.
    pub fn leave(&mut self) {
        let process = Process::start(false);
        let scope = self.scope(&process);
        let (deadline, early) = (self.deadline(), self.rng.bool());
        let Ok(ticket) = self.submit(&scope, deadline) else { return };
        if early {
            let wait = Duration::from_millis(self.rng.u64(..20));
            if let Ok(active) = self.wait("leave", ticket, wait) {
                self.see_created(&active, &process);
            }
        }
    }

    /// A stop that takes long, cancelled by its own caller or let be.
    pub fn cancel(&mut self) {
        let process = Process::start(true);
        let scope = self.scope(&process).timeout_stop(Duration::from_millis(700));
        let Ok(active) = self.ask("create", &scope) else { return };
        self.see_created(&active, &process);
        let Ok(ticket) = self.submit(&UnitJob::stop(active.unit()), Duration::from_secs(5)) else { return };
        let wait = Duration::from_millis(self.rng.u64(5..600));
        match self.wait("slow stop", ticket, wait) {
            Ok(_) => self.see_ended("stopped", active.unit(), &[&process]),
            Err(error) => {
                let Some(job) = error.job() else { return };
                let deadline = self.deadline();
                let cancel = |by| self.way.counted.cancel_job(job, by);
                let _ = self.call("cancel", Counted::Yes, deadline, cancel);
            }
        }
    }

    /// A create whose job waits for another unit's, which never ends.
    pub fn queue(&mut self) {
        let process = Process::start(false);
        let scope = self.scope(&process).after([HOLD]).verify(self.rng.bool());
        let deadline = Duration::from_millis(self.rng.u64(20..800));
        let Ok(ticket) = self.submit(&scope, Duration::from_secs(5)) else { return };
        match self.wait("queue", ticket, deadline) {
            Ok(active) => self.see_created(&active, &process),
            // It is no success, and this is what the verb is for.
            Err(error) if error.stage() == Some(Stage::Job) => self.tally.saw("queued"),
            Err(_) => {}
        }
    }

    /// Waits for the end of a run that ends, and of one that does not.
    pub fn wait_for_the_end(&mut self) {
        let mut process = Process::start(false);
        let Some(active) = self.create(&process) else { return };
        if active.invocation_id().is_none() {
            return;
        }
        let deadline = Duration::from_millis([300, 3_000, 20_000][self.rng.usize(..3)]);
        let (after, way) = (Duration::from_millis(self.rng.u64(..200)), self.rng.u32(..3));
        let tally = &self.tally;
        let (waited, ended_at) = thread::scope(|threads| {
            let waiting = threads.spawn(|| {
                let waited = tally.call("wait", Counted::Yes, deadline, |by| active.wait(by));
                (waited, Instant::now())
            });
            thread::sleep(after);
            let mut ended_at = None;
            match way {
                0 => {
                    let stop = |by| active.stop(by);
                    let stopped = tally.call("stop", Counted::Yes, Duration::from_secs(10), stop);
                    ended_at = stopped.is_ok().then(Instant::now);
                }
                1 => {
                    process.end();
                    ended_at = Some(Instant::now());
                }
                _ if deadline > Duration::from_secs(1) => {
                    process.end();
                    ended_at = Some(Instant::now());
                }
                _ => {}
            }
            (waiting.join().expect("a wait does not panic"), ended_at)
        });
        self.see_waited(&active, &process, waited, ended_at, way);
    }

    fn see_waited(
        &mut self,
        active: &ActiveScope,
        process: &Process,
        (waited, at): (Result<Ended>, Instant),
        ended_at: Option<Instant>,
        way: u32,
    ) {
        let unit = active.unit();
        match waited {
            Ok(_) if process.lives_in(unit) => {
                self.tally.falsehood(format!("{unit} is told to have ended, and its process lives in it"));
            }
            Ok(ended) => {
                // An end that was not seen on its way reads as one by itself, and one that was not seen at all as
                // unknown.
                let can_be = match way {
                    0 => matches!(ended.ending, Ending::Stopped | Ending::Exited | Ending::Unknown),
                    _ => matches!(ended.ending, Ending::Exited | Ending::Unknown),
                };
                if !can_be {
                    self.tally.falsehood(format!("{unit}: way {way}, and the end is told as {ended:?}"));
                }
                self.see_ended("ended", unit, &[process]);
            }
            Err(error) if error.is_timeout() && ended_at.is_some_and(|ended| ended + SOON < at) => {
                self.tally
                    .falsehood(format!("{unit} has ended, and its wait had not, {SOON:?} later: {error}"));
            }
            Err(_) => {}
        }
    }

    /// Another handle to the same run, by the other way to the same systemd.
    pub fn adopt(&mut self) {
        let process = Process::start(self.rng.bool());
        let Some(active) = self.create(&process) else { return };
        let deadline = self.deadline();
        let adopt = |by| self.other.counted.adopt_scope(active.unit(), by);
        let adopted = match self.call("adopt", Counted::Yes, deadline, adopt) {
            Ok(adopted) => adopted,
            Err(error) => {
                if matches!(error, Error::NoSuchUnit { .. }) {
                    self.tally.falsehood(format!("{error}, and its process lives"));
                }
                return;
            }
        };
        let same_run = active.invocation_id().is_none_or(|run| adopted.invocation_id() == Some(run));
        if !same_run || adopted.control_group() != active.control_group() {
            self.tally.falsehood(format!("adopted {adopted:?}, which was created as {active:?}"));
        }
        let deadline = self.deadline();
        if self.call("stop", Counted::Yes, deadline, |by| adopted.stop(by)).is_ok() {
            self.see_ended("stopped", active.unit(), &[&process]);
        }
    }

    pub fn kill_all(&mut self) {
        let process = Process::start(true);
        let Some(active) = self.create_uncounted(&process) else { return };
        let deadline = self.deadline();
        match self.call("kill_all", Counted::No, deadline, |by| active.kill_all(by)) {
            Ok(()) if process.lives() => {
                self.tally.falsehood(format!("{}: all is killed, and its process lives", active.unit()));
            }
            Err(error @ Error::NoSuchUnit { .. }) if process.lives() => {
                self.tally.falsehood(format!("{error}, and its process lives"));
            }
            _ => {}
        }
    }

    pub fn freeze(&mut self) {
        let process = Process::start(false);
        let Some(active) = self.create_uncounted(&process) else { return };
        let deadline = self.deadline();
        let frozen = self.call("freeze", Counted::No, deadline, |by| active.freeze(by));
        match &frozen {
            Ok(()) if is_frozen(active.control_group()) != Some(true) => {
                self.tally.falsehood(format!("{} is told to be frozen, and is not", active.unit()));
            }
            Err(Error::Unsupported { .. }) if is_hybrid() => self.tally.saw("freeze refused"),
            Err(error @ (Error::Unsupported { .. } | Error::NoSuchUnit { .. })) => {
                self.tally.falsehood(format!("{error}: {error:?}"));
            }
            _ => {}
        }
        let thawed = self.call("thaw", Counted::No, Duration::from_secs(10), |by| active.thaw(by));
        // A freezing whose deadline passed may come after it.
        if frozen.is_ok() && thawed.is_ok() && is_frozen(active.control_group()) != Some(false) {
            self.tally.falsehood(format!("{} is told to be thawed, and is not", active.unit()));
        }
        let deadline = self.deadline();
        if self.call("stop", Counted::No, deadline, |by| active.stop(by)).is_ok() {
            self.see_ended("stopped", active.unit(), &[&process]);
        }
    }

    pub fn set(&mut self) {
        let process = Process::start(false);
        let Some(active) = self.create_uncounted(&process) else { return };
        let tasks = self.rng.u64(20..2_000);
        let (update, deadline) = (Update::new().tasks_max(tasks), self.deadline());
        let Ok(updated) = self.call("set", Counted::No, deadline, |by| active.set(&update, by)) else {
            return;
        };
        let held = most_tasks(active.control_group());
        if updated.limit_gaps.is_empty() != (held == Some(tasks)) {
            let what =
                format!("{}: set to {tasks} tasks; the kernel: {held:?}; told: {updated:?}", active.unit());
            self.tally.falsehood(what);
        }
        if self.rng.u32(..4) > 0 {
            return;
        }
        let Some(held) = self.witness.ask(active.unit(), "TasksMax") else { return };
        if held["TasksMax"] != tasks.to_string() {
            self.tally.falsehood(format!("{}: set to {tasks} tasks, and to systemd {held:?}", active.unit()));
        }
    }

    pub fn attach(&mut self) {
        let (first, second) = (Process::start(false), Process::start(false));
        let Some(active) = self.create_uncounted(&first) else { return };
        let deadline = self.deadline();
        let attached = self.call("attach", Counted::No, deadline, |by| active.attach([second.id()], by));
        if attached.is_err() {
            return;
        }
        if let Some(elsewhere) = second.is_elsewhere(active.unit()) {
            self.tally.falsehood(format!("attached to {}, and it is in {elsewhere}", active.unit()));
        }
        let deadline = self.deadline();
        if self.call("stop", Counted::No, deadline, |by| active.stop(by)).is_ok() {
            self.see_ended("stopped", active.unit(), &[&first, &second]);
        }
    }
}
