//! What a caller gets for a unit that is there: a handle that means one run, and never another of the same name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::Manager;
use super::audit::Audit;
use super::record::Record;
use super::request::{finish_job, finish_property, operation};
use super::wait::Ended;
use super::{FinishedJob, Updated, check_signal, finish_nothing, finish_properties};
use crate::cgroup::LimitGap;
use crate::deadline::Deadline;
use crate::driver::{Outcome, Plan, Run};
use crate::error::{Asked, Error, Operation, Result};
use crate::job::{InvocationId, JobId, JobMode, StageTimes};
use crate::systemd1::{Call, Verb};
use crate::unit::{KillWhom, Update, Value};

#[derive(Clone, Debug)]
pub(super) struct Active {
    pub manager: Manager,
    pub unit: String,
    pub control_group: String,
    pub outcome: Outcome,
    pub job: Option<JobId>,
    pub invocation: Option<InvocationId>,
    pub gaps: Vec<LimitGap>,
    pub left_out: Vec<String>,
    pub times: StageTimes,
    pub record: Arc<Record>,
    /// Over how many child slices its slice is spread, where it is.
    pub spread: Option<u32>,
}

impl Active {
    pub(super) fn run_plan(
        &self,
        operation: Operation,
        call: impl FnOnce(String) -> Call,
    ) -> Result<(Box<dyn Plan>, Asked)> {
        let asked = Asked::new(operation, Some(&self.unit));
        let Some(invocation) = self.invocation else { return Err(Error::NoSuchUnit { asked }) };
        let call = call(invocation.object_path());
        Ok((Box::new(Run::new(asked.clone(), call, invocation)), asked))
    }

    /// The empty path would be the root's, with all that is in it.
    pub(super) fn known_group(&self) -> Option<&str> {
        Some(self.control_group.as_str()).filter(|group| !group.is_empty())
    }

    fn stop(&self, deadline: Deadline) -> Result<FinishedJob> {
        let mode = JobMode::Replace;
        let (plan, asked) =
            self.run_plan(operation(Verb::Stop), |path| Call::RunJob { verb: Verb::Stop, path, mode })?;
        self.manager.ask(plan, deadline, finish_job(asked))
    }

    fn kill(&self, whom: KillWhom, signal: i32, deadline: Deadline) -> Result<()> {
        check_signal(signal)?;
        let (plan, asked) = self.run_plan(Operation::Kill, |path| Call::RunKill { path, whom, signal })?;
        self.manager.ask(plan, deadline, finish_nothing(asked))
    }

    fn property(&self, name: &str, deadline: Deadline) -> Result<Value> {
        super::check_property_name(name)?;
        let from = |interface| {
            let call = |path| Call::Get { path, interface, name: name.into() };
            self.run_plan(Operation::Get, call).map(|(plan, _)| plan)
        };
        let plan = super::property_plan(&self.unit, from)?;
        let asked = plan.asked().clone();
        self.manager.ask(plan, deadline, finish_property(asked))
    }

    pub(super) fn properties(&self, deadline: Deadline) -> Result<BTreeMap<String, Value>> {
        let (plan, asked) =
            self.run_plan(Operation::Get, |path| Call::GetAll { path, interface: String::new() })?;
        self.manager.ask(plan, deadline, finish_properties(asked))
    }
}

/// The beginning of an example in which there is a unit; only the unit's own line shows.
macro_rules! unit_of {
    ($constructor:literal) => {
        concat!(
            "# use {std::time::Duration, unitwait::*};\n# let manager = Manager::system()?;\n",
            $constructor
        )
    };
}

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident, $constructor:literal) => {
        $(#[$doc])*
        ///
        /// `Clone`, `Send` and `Sync`; dropping it leaves the unit as it is.
        ///
        /// ```no_run
        /// use std::time::Duration;
        /// use unitwait::{Manager, Scope, Slice};
        ///
        /// let manager = Manager::system()?;
        #[doc = $constructor]
        /// println!("{} in {}", unit.unit(), unit.control_group());
        /// unit.stop(Duration::from_secs(5))?;
        /// # Ok::<(), unitwait::Error>(())
        /// ```
        #[derive(Clone, Debug)]
        pub struct $name(pub(super) Active);

        impl $name {
            /// The unit's name.
            ///
            /// ```no_run
            #[doc = unit_of!($constructor)]
            /// println!("{} is active", unit.unit());
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn unit(&self) -> &str {
                &self.0.unit
            }

            /// Its control group, relative to the root of the hierarchy, as systemd and `/proc` write it. Empty
            /// where its processes had all ended before it could be seen and no slice was asked for.
            ///
            /// ```no_run
            #[doc = unit_of!($constructor)]
            /// println!("/proc/PID/cgroup says {}", unit.control_group());
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn control_group(&self) -> &str {
                &self.0.control_group
            }

            /// Its control group's directory in the hierarchy by which systemd tracks processes; `None` where the
            /// control group is not known.
            ///
            /// ```no_run
            #[doc = unit_of!($constructor)]
            /// if let Some(dir) = unit.path() {
            ///     println!("{:?}", std::fs::read_to_string(dir.join("cgroup.events")));
            /// }
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn path(&self) -> Option<PathBuf> {
                self.0.known_group().map(|group| self.0.manager.0.site.layout.path(group))
            }

            /// Its directory in the hierarchy of a controller (`memory`); `None` where the kernel has none.
            ///
            /// ```no_run
            #[doc = unit_of!($constructor)]
            /// if let Some(dir) = unit.controller_path("pids") {
            ///     println!("{:?}", std::fs::read_to_string(dir.join("pids.current")));
            /// }
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn controller_path(&self, controller: &str) -> Option<PathBuf> {
                let group = self.0.known_group()?;
                self.0.manager.0.site.layout.controller_path(controller, group)
            }

            /// How it came to be what was asked for.
            ///
            /// ```no_run
            #[doc = unit_of!($constructor)]
            /// assert_eq!(unit.outcome(), unitwait::Outcome::Created);
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn outcome(&self) -> Outcome {
                self.0.outcome
            }

            /// The job that created or started it; `None` where it was there and active already.
            ///
            /// ```no_run
            #[doc = unit_of!($constructor)]
            /// println!("{:?}", unit.job());
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn job(&self) -> Option<JobId> {
                self.0.job
            }

            /// The run that this handle means, by its number, as `systemd.exec(5)` describes (`$INVOCATION_ID`) and
            /// `journalctl` finds; `None` where it was over before it could be seen.
            ///
            /// ```no_run
            #[doc = unit_of!($constructor)]
            /// if let Some(run) = unit.invocation_id() {
            ///     println!("journalctl _SYSTEMD_INVOCATION_ID={run}");
            /// }
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn invocation_id(&self) -> Option<InvocationId> {
                self.0.invocation
            }

            /// How long each stage took.
            ///
            /// ```no_run
            #[doc = unit_of!($constructor)]
            /// println!("{:?} until the job was done", unit.stages().done);
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn stages(&self) -> StageTimes {
                self.0.times
            }

            /// The limits that it was created with and that the kernel does not hold. Empty where all are in force,
            /// or verification was switched off.
            ///
            /// ```no_run
            #[doc = unit_of!($constructor)]
            /// for gap in unit.limit_gaps() {
            ///     eprintln!("{gap}");
            /// }
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn limit_gaps(&self) -> &[LimitGap] {
                &self.0.gaps
            }

            /// The optional properties that it was to be created with and that this systemd does not know, by name.
            ///
            /// ```no_run
            #[doc = unit_of!($constructor)]
            /// assert!(unit.left_out().is_empty());
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn left_out(&self) -> &[String] {
                &self.0.left_out
            }

            /// Stops this run, and waits until it is down. Blocks until then or until the deadline.
            ///
            /// A retry is safe: no later run is stopped in its place, and it answers [`Error::NoSuchUnit`] where the first
            /// try came through. After [`Error::Timeout`] the job goes on, for others may wait for it too; with
            /// [`Stage::Call`](crate::Stage::Call) it may not have been begun. Errors: [`Error::Superseded`] where the name
            /// has since been taken by another run, which is left alone; [`Error::NoSuchUnit`] where the run is over;
            /// otherwise as [`Manager::stop_unit`].
            ///
            /// ```no_run
            #[doc = unit_of!($constructor)]
            /// println!("job {}", unit.stop(Duration::from_secs(5))?.id);
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn stop(&self, deadline: impl Into<Deadline>) -> Result<FinishedJob> {
                self.0.stop(deadline.into())
            }

            /// Sends a signal to this run's processes; they may still run when it returns. Blocks until systemd has sent
            /// it or until the deadline. Not idempotent: a retry sends it again, to this run and no later one. After
            /// [`Error::Timeout`] with [`Stage::Call`](crate::Stage::Call) it may have been sent. Errors as
            /// [`Self::stop`], and [`Error::InvalidInput`] for a number that is no signal (1 to 64). Source:
            /// `org.freedesktop.systemd1(5)`, `KillUnit()`.
            ///
            /// ```no_run
            #[doc = unit_of!($constructor)]
            /// const SIGHUP: i32 = 1;
            /// unit.kill(KillWhom::All, SIGHUP, Duration::from_secs(1))?;
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn kill(&self, whom: KillWhom, signal: i32, deadline: impl Into<Deadline>) -> Result<()> {
                self.0.kill(whom, signal, deadline.into())
            }

            /// Sets properties of this run, and sees that the kernel holds those that are limits; from then on
            /// [`Self::audit`], of this handle and its clones, compares with them. Blocks until then or until the
            /// deadline. Idempotent; a retry, and a deadline, are as with [`Manager::set`], and so are the errors;
            /// further [`Error::Superseded`] where the name has since been taken by another run, which is left
            /// alone, and [`Error::NoSuchUnit`] where the run is over.
            ///
            /// ```no_run
            /// use std::time::Duration;
            /// use unitwait::{Manager, Scope, Slice, Update};
            ///
            /// let manager = Manager::system()?;
            #[doc = $constructor]
            /// let updated = unit.set(&Update::new().memory_max(128 << 20), Duration::from_secs(5))?;
            /// assert!(updated.left_out.is_empty());
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn set(&self, update: &Update, deadline: impl Into<Deadline>) -> Result<Updated> {
                self.0.set(update, deadline.into())
            }

            /// Reads one property of this run, of the interface of its type or of all units. Changes nothing. Blocks until
            /// the answer or until the deadline. Errors as [`Self::stop`], and [`Error::UnknownProperty`].
            ///
            /// ```no_run
            #[doc = unit_of!($constructor)]
            /// println!("{}", unit.property("MemoryCurrent", Duration::from_secs(1))?);
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn property(&self, name: &str, deadline: impl Into<Deadline>) -> Result<Value> {
                self.0.property(name, deadline.into())
            }

            /// Waits for the end of this run, and says how it came about.
            ///
            /// Blocks until then or until the deadline; nothing is polled. Changes nothing, but systemd keeps the
            /// unit's name for as long as this waits, and for the moment in which the result is read. A run that is
            /// over already is no error: its result is told where systemd still knows it. Any number of threads may
            /// wait for one run. Errors: [`Error::Timeout`] with [`Stage::Wait`](crate::Stage::Wait) while it is
            /// still there, otherwise as [`Self::stop`]. A retry is safe. Source: `org.freedesktop.systemd1(5)`,
            /// `Ref()` and `PropertiesChanged`.
            ///
            /// ```no_run
            /// use std::time::Duration;
            /// use unitwait::{Ending, Manager, Scope};
            ///
            /// let manager = Manager::system()?;
            /// let child = std::process::Command::new("sleep").arg("1").spawn().expect("sleep starts");
            /// let active = manager.create_scope(&Scope::new("nap.scope").pid(child.id()), Duration::from_secs(5))?;
            /// assert_eq!(active.wait(Duration::from_secs(10))?.ending, Ending::Exited);
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn wait(&self, deadline: impl Into<Deadline>) -> Result<Ended> {
                self.0.wait(deadline.into())
            }

            /// Compares, now, what this run was asked for with what systemd says and the kernel holds: its
            /// processes' control groups in every hierarchy, and each limit's file. A run that is over is a finding
            /// ([`AuditFinding::Gone`](crate::AuditFinding::Gone), [`Replaced`](crate::AuditFinding::Replaced)),
            /// and no error. Reads files of the kernel in the calling thread, and changes nothing. Blocks until the
            /// unit's properties are there or until the deadline. Errors as [`Self::properties`] otherwise.
            ///
            /// ```no_run
            /// use std::time::Duration;
            /// use unitwait::{AuditFinding, Manager, Scope};
            ///
            /// let manager = Manager::system()?;
            /// let scope = Scope::new("job.scope").own_process().memory_max(64 << 20);
            /// let active = manager.create_scope(&scope, Duration::from_secs(5))?;
            /// for finding in active.audit(Duration::from_secs(5))?.findings {
            ///     println!("{finding}");
            /// }
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn audit(&self, deadline: impl Into<Deadline>) -> Result<Audit> {
                self.0.audit(deadline.into())
            }

            /// Reads all properties of this run, by name. Changes nothing. Blocks until the answer or until the deadline.
            /// Errors as [`Self::stop`].
            ///
            /// ```no_run
            #[doc = unit_of!($constructor)]
            /// let all = unit.properties(Duration::from_secs(1))?;
            /// println!("{} properties, in slice {}", all.len(), all["Slice"]);
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn properties(&self, deadline: impl Into<Deadline>) -> Result<BTreeMap<String, Value>> {
                self.0.properties(deadline.into())
            }

            /// The PIDs of this run's processes, in its control group and in those below it, in order. A run that is
            /// over has none. A process may start or end while they are listed.
            ///
            /// Source: `cgroup.procs` of each group (`cgroups(7)`); in hybrid mode those of cgroup v2 and of v1's
            /// `name=systemd` together. Processes that this process's PID namespace does not show are left out. Reads
            /// files of the kernel in the calling thread, and does not block; only where systemd keeps no link to the
            /// run and the group's number is not known, it is asked whether the run is still there, by the manager's
            /// default timeout. Errors: [`Error::System`] where a file cannot be read;
            /// [`Error::NoSuchUnit`] where the handle means no run and a group of that name
            /// is there; [`Error::Forked`]; where systemd is asked, otherwise as
            /// [`Self::property`].
            ///
            /// ```no_run
            /// use std::time::Duration;
            /// use unitwait::{Manager, Scope};
            ///
            /// let manager = Manager::system()?;
            /// let active = manager.create_scope(&Scope::new("job.scope").own_process(), Duration::from_secs(5))?;
            /// assert!(active.processes()?.contains(&std::process::id()));
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn processes(&self) -> Result<Vec<u32>> {
                self.0.processes()
            }

            /// Waits until this run has no process any more, in its control group or below it, or is over. A process
            /// that has ended and was not yet collected counts no more. An empty slice goes on as a unit; a scope
            /// soon ends. Changes nothing.
            ///
            /// Blocks until then or until the deadline, in poll(2) on `cgroup.events` (`cgroup-v2.rst`), and asks
            /// nobody: it also works while systemd or the bus is stuck. The exception is [`Self::processes`]'s. Without
            /// cgroup v2 the kernel tells of no group's end, so there it looks ten times a second; so it does in hybrid
            /// mode once only v1 has processes in the group, which systemd does not see. Errors: [`Error::Timeout`]
            /// where processes are left at the deadline; otherwise as [`Self::processes`].
            ///
            /// ```no_run
            /// use std::time::Duration;
            /// use unitwait::{Manager, Scope};
            ///
            /// let manager = Manager::system()?;
            /// let child = std::process::Command::new("sleep").arg("1").spawn().expect("sleep starts");
            /// let scope = Scope::new("job.scope").pid(child.id());
            /// let active = manager.create_scope(&scope, Duration::from_secs(5))?;
            /// active.wait_empty(Duration::from_secs(10))?;
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn wait_empty(&self, deadline: impl Into<Deadline>) -> Result<()> {
                self.0.wait_empty(deadline.into())
            }

            /// Kills all of this run's processes with SIGKILL, in its control group and in those below it, and returns
            /// when none is left; the caller's own process, too, where it is one of them. A frozen unit's are killed as
            /// any other's. Processes that go on forking cannot get away: the kernel kills the whole group at one stroke
            /// (`cgroup.kill`, Linux 5.14), forks under way included; where it cannot, or the caller may not write there,
            /// systemd sends the signal, again and again until none is left. In hybrid mode those are killed as well that
            /// only v1's `name=systemd` has in the group, which systemd does not see.
            ///
            /// Blocks until the kernel says that nothing is left or until the deadline. It needs systemd only where that
            /// keeps no link to the run (slices) or the kernel cannot do it. A retry is safe, and kills what is left.
            /// After [`Error::Timeout`] with [`Stage::Verify`](crate::Stage::Verify) all have been sent the signal, and
            /// some are left, as in an uninterruptible wait; before that stage, nothing is sure to have been sent. Errors:
            /// [`Error::Superseded`] where the name has since been taken by another run, which is left alone;
            /// [`Error::NoSuchUnit`] where the run was over already; otherwise as [`Self::kill`], and [`Error::System`]
            /// where a file cannot be read.
            ///
            /// ```no_run
            /// use std::time::Duration;
            /// use unitwait::{Manager, Scope};
            ///
            /// let manager = Manager::system()?;
            /// let child = std::process::Command::new("make").arg("-j").spawn().expect("make starts");
            /// let scope = Scope::new("build.scope").pid(child.id());
            /// let active = manager.create_scope(&scope, Duration::from_secs(5))?;
            /// active.kill_all(Duration::from_secs(5))?;
            /// assert!(active.processes()?.is_empty());
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn kill_all(&self, deadline: impl Into<Deadline>) -> Result<()> {
                self.0.kill_all(deadline.into())
            }

            /// Freezes all of this run's processes, and returns when the kernel says that they are frozen: none of them
            /// runs until [`Self::thaw`], not even to take a signal other than SIGKILL. The caller's own process, too,
            /// where it is one of them: it then returns when another has thawed it. Freezing a frozen unit changes
            /// nothing. A newer systemd does not stop a frozen unit (257; 252 does); [`Self::kill_all`] ends it as it is.
            ///
            /// Blocks until systemd has answered, which it does when all are frozen, and the kernel says so, too
            /// (`cgroup.events`), or until the deadline. After [`Error::Timeout`] with [`Stage::Call`](crate::Stage::Call)
            /// it may yet be frozen; a retry is safe, and so is [`Self::thaw`]. Errors as
            /// [`Self::stop`], and [`Error::Unsupported`] where systemd or the layout cannot: systemd freezes by cgroup
            /// v2 alone, and so not in hybrid or legacy mode, and on 252 no slice in which one of the units cannot be
            /// frozen. [`Error::Dbus`] where the unit has a job, or another's thawing is under way.
            ///
            /// Source: `org.freedesktop.systemd1(5)`, `FreezeUnit()`.
            ///
            /// ```no_run
            /// use std::time::Duration;
            /// use unitwait::{Manager, Scope};
            ///
            /// let manager = Manager::system()?;
            /// let child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep starts");
            /// let active = manager.create_scope(&Scope::new("nap.scope").pid(child.id()), Duration::from_secs(5))?;
            /// active.freeze(Duration::from_secs(5))?;
            /// active.thaw(Duration::from_secs(5))?;
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn freeze(&self, deadline: impl Into<Deadline>) -> Result<()> {
                self.0.set_frozen(true, deadline.into())
            }

            /// Thaws this run's processes, and returns when the kernel says that they run. Thawing a unit that runs
            /// changes nothing. Otherwise as [`Self::freeze`]; [`Error::Unsupported`] also where a slice above it is
            /// frozen.
            ///
            /// ```no_run
            /// use std::time::Duration;
            /// use unitwait::{Manager, Slice};
            ///
            /// let manager = Manager::system()?;
            /// let active = manager.create_slice(&Slice::new("jobs.slice"), Duration::from_secs(5))?;
            /// active.freeze(Duration::from_secs(5))?;
            /// active.thaw(Duration::from_secs(5))?;
            /// # Ok::<(), unitwait::Error>(())
            /// ```
            pub fn thaw(&self, deadline: impl Into<Deadline>) -> Result<()> {
                self.0.set_frozen(false, deadline.into())
            }
        }
    };
}

handle!(
    /// A scope that is active, and in which the kernel has the processes.
    ActiveScope,
    r#"let unit = manager.create_scope(&Scope::new("job.scope").own_process(), Duration::from_secs(5))?;"#
);
handle!(
    /// A slice that is active.
    ActiveSlice,
    r#"let unit = manager.create_slice(&Slice::new("jobs.slice"), Duration::from_secs(5))?;"#
);
