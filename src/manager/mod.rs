//! The manager handle that callers hold: plain blocking calls, each with a deadline.

mod active;
mod adopt;
mod attach;
mod audit;
mod batch;
mod builder;
mod child;
mod empty;
mod freeze;
mod guard;
mod kill;
mod list;
mod record;
mod request;
mod run;
mod set;
mod spawn;
mod spreads;
mod ticket;
mod wait;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

pub use active::{ActiveScope, ActiveSlice};
pub use audit::Audit;
pub use builder::Builder;
pub use child::ScopedChild;
pub use guard::ScopeGuard;
pub use list::UnitStatus;
pub use request::{Request, UnitJob};
use request::{finish_property, unexpected};
pub use set::Updated;
use ticket::Finish;
pub use ticket::Ticket;
pub use wait::{Ended, Ending};
pub use watch::Watch;

use crate::cgroup::CgroupLayout;
use crate::deadline::Deadline;
use crate::driver::{Driver, Either, Endpoint, Plan, Single, Site, Stats, Success, Wake, dictionary};
use crate::error::{Asked, Error, Operation, Result};
use crate::job::{JobId, StageTimes};
use crate::systemd1::{self, Call};
use crate::unit::{KillWhom, Scope, Slice, Value, name};

/// A connection to a systemd, system or user, with a dbus thread of its own.
///
/// Cheap to clone, `Send` and `Sync`: all clones share one thread and one connection, any number of threads may
/// call at once, and no caller waits for another. The thread ends with the last clone. After a `fork`, the child
/// must open its own; this one's calls answer [`Error::Forked`] there.
///
/// ```no_run
/// use std::time::Duration;
/// use unitwait::{Manager, Scope};
///
/// let manager = Manager::system()?;
/// let scope = Scope::new("job.scope").own_process().memory_max(64 << 20);
/// let active = manager.create_scope(&scope, Duration::from_secs(5))?;
/// println!("{}", active.control_group());
/// # Ok::<(), unitwait::Error>(())
/// ```
#[derive(Clone)]
pub struct Manager(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    driver: Arc<Driver>,
    endpoint: Endpoint,
    default_timeout: Duration,
    /// Once it has told that.
    version: Arc<OnceLock<String>>,
    site: Arc<Site>,
    spreads: spreads::Spreads,
}

/// A job that ended with `done`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FinishedJob {
    /// The job.
    pub id: JobId,
    /// How long each stage took.
    pub times: StageTimes,
}

impl Manager {
    /// The system manager over the system bus, with every option at its default. Blocks for at most 30 seconds.
    /// Errors as [`Builder::open`].
    ///
    /// ```no_run
    /// let manager = unitwait::Manager::system()?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn system() -> Result<Manager> {
        Manager::builder().system().open(Deadline::Default)
    }

    /// The calling user's own manager over the user's bus. Blocks and fails as [`Manager::system`].
    ///
    /// ```no_run
    /// let manager = unitwait::Manager::user()?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn user() -> Result<Manager> {
        Manager::builder().user().open(Deadline::Default)
    }

    /// The system manager over its own socket, with no bus between; root only. Blocks and fails as
    /// [`Manager::system`].
    ///
    /// Over it systemd tells everybody of everything, so the connection is given up half a minute after the last
    /// request, and made again with the next: a process that gives up its rights meanwhile is refused then.
    ///
    /// ```no_run
    /// let manager = unitwait::Manager::private()?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn private() -> Result<Manager> {
        Manager::builder().private().open(Deadline::Default)
    }

    /// The manager at a D-Bus address. Blocks and fails as [`Manager::system`].
    ///
    /// ```no_run
    /// let manager = unitwait::Manager::at("unix:path=/run/dbus/system_bus_socket")?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn at(address: impl Into<String>) -> Result<Manager> {
        Manager::builder().at(address).open(Deadline::Default)
    }

    /// Options for opening.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// let manager = unitwait::Manager::builder().user().open(Duration::from_secs(1))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// systemd's version, as it called itself when the manager was opened (`252.38-1~deb12u1`). Does not block.
    ///
    /// Of a manager that was opened [lazily](Builder::lazy) it is empty until systemd has answered; it is asked for once, and
    /// stays empty where nobody answered that by the deadline of [`open`](Builder::open).
    ///
    /// ```no_run
    /// let manager = unitwait::Manager::system()?;
    /// println!("systemd {}", manager.version());
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn version(&self) -> &str {
        self.0.version.get().map_or("", String::as_str)
    }

    /// The D-Bus address in use. Does not block.
    ///
    /// ```no_run
    /// let manager = unitwait::Manager::system()?;
    /// assert!(manager.address().starts_with("unix:"));
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn address(&self) -> &str {
        &self.0.endpoint.address
    }

    /// The control group hierarchies of this machine, as they were when the manager was opened. Does not block.
    ///
    /// ```no_run
    /// let manager = unitwait::Manager::system()?;
    /// println!("{} mode", manager.layout().mode());
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn layout(&self) -> &CgroupLayout {
        &self.0.site.layout
    }

    /// Hands a request over and returns at once with its ticket.
    ///
    /// The deadline is the request's own. Blocks only while the way to the dbus thread is full, and, for a scope with
    /// [`Spread::Auto`](crate::Spread::Auto), until a manager that was opened [lazily](Builder::lazy) has heard from systemd;
    /// never past the deadline. Errors: [`Error::InvalidInput`], [`Error::NoSuchProcess`], [`Error::Timeout`] where the
    /// deadline has passed, [`Error::Forked`], [`Error::Closed`]; all others come through the ticket.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use unitwait::{Deadline, Manager, UnitJob};
    ///
    /// let manager = Manager::system()?;
    /// let tickets: Vec<_> = ["a.scope", "b.scope"]
    ///     .map(|unit| manager.submit(&UnitJob::stop(unit), Duration::from_secs(5)))
    ///     .into_iter()
    ///     .collect::<Result<_, _>>()?;
    /// for ticket in tickets {
    ///     ticket.wait(Deadline::Default)?;
    /// }
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn submit<R: Request>(&self, request: &R, deadline: impl Into<Deadline>) -> Result<Ticket<R::Out>> {
        self.hand_over(request, deadline.into(), Weak::new())
    }

    /// As [`submit`](Manager::submit); rings the bell once there is an answer.
    #[cfg(feature = "capi")]
    pub(crate) fn submit_with<R: Request>(
        &self,
        request: &R,
        deadline: Deadline,
        bell: &Arc<Wake>,
    ) -> Result<Ticket<R::Out>> {
        self.hand_over(request, deadline, Arc::downgrade(bell))
    }

    /// Creates a scope, waits for its job, and sees that the kernel has the processes in it.
    ///
    /// Blocks until then or until the deadline. Errors: those of [`Manager::submit`]; [`Error::UnitExists`] at
    /// once where the name is taken (see [`OnExists`](crate::OnExists)); [`Error::AccessDenied`],
    /// [`Error::UnknownProperty`] unless the property is [optional](crate::Property::optional),
    /// [`Error::NoSuchProcess`], [`Error::JobFailed`], [`Error::Misplaced`],
    /// [`Error::Limit`] where limits are required, [`Error::NotDelegated`] and [`Error::WouldKill`] where the
    /// policy asks for it, [`Error::Connect`], [`Error::Disconnected`], [`Error::Dbus`]. After
    /// [`Error::Timeout`], a job that is still queued is cancelled, and a scope that comes up late is left
    /// standing. A retry is safe: it answers `UnitExists` where the first try came through.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use unitwait::{Manager, Scope};
    ///
    /// let manager = Manager::system()?;
    /// let scope = Scope::new("job.scope").own_process().tasks_max(20);
    /// let active = manager.create_scope(&scope, Duration::from_secs(5))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn create_scope(&self, scope: &Scope, deadline: impl Into<Deadline>) -> Result<ActiveScope> {
        self.submit(scope, deadline)?.wait(Deadline::Default)
    }

    /// Creates a slice and waits for its job. Blocks and fails as [`Manager::create_scope`]; a retry, and a deadline,
    /// are as there. With [`OnExists::Accept`](crate::OnExists::Accept) it is idempotent.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use unitwait::{Manager, OnExists, Slice};
    ///
    /// let slice = Slice::new("jobs.slice").tasks_max(500).on_exists(OnExists::Accept);
    /// Manager::system()?.create_slice(&slice, Duration::from_secs(5))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn create_slice(&self, slice: &Slice, deadline: impl Into<Deadline>) -> Result<ActiveSlice> {
        self.submit(slice, deadline)?.wait(Deadline::Default)
    }

    /// Starts a unit by its name and waits for the job. Blocks until then or until the deadline; after a
    /// deadline the job goes on, for others may wait for it too. A retry is safe. Errors:
    /// [`Error::InvalidInput`], [`Error::NoSuchUnit`], [`Error::AccessDenied`], [`Error::JobFailed`],
    /// [`Error::Timeout`], [`Error::Connect`], [`Error::Disconnected`], [`Error::Dbus`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// unitwait::Manager::system()?.start_unit("cups.service", Duration::from_secs(10))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn start_unit(&self, unit: &str, deadline: impl Into<Deadline>) -> Result<FinishedJob> {
        self.submit(&UnitJob::start(unit), deadline)?.wait(Deadline::Default)
    }

    /// Stops a unit by its name and waits until its processes are gone. Otherwise as [`Manager::start_unit`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// unitwait::Manager::system()?.stop_unit("job.scope", Duration::from_secs(10))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn stop_unit(&self, unit: &str, deadline: impl Into<Deadline>) -> Result<FinishedJob> {
        self.submit(&UnitJob::stop(unit), deadline)?.wait(Deadline::Default)
    }

    /// Restarts a unit by its name and waits for the job. A retry restarts it again. Otherwise as
    /// [`Manager::start_unit`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// unitwait::Manager::system()?.restart_unit("cups.service", Duration::from_secs(10))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn restart_unit(&self, unit: &str, deadline: impl Into<Deadline>) -> Result<FinishedJob> {
        self.submit(&UnitJob::restart(unit), deadline)?.wait(Deadline::Default)
    }

    /// Sends a signal to a unit's processes; they may still run when it returns. Blocks until systemd has sent
    /// it or until the deadline; after [`Error::Timeout`] with [`Stage::Call`](crate::Stage::Call) it may have been
    /// sent. Not idempotent: a retry sends it again. Errors: [`Error::InvalidInput`], also for a number that is no
    /// signal; otherwise as [`Manager::start_unit`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// use unitwait::{KillWhom, Manager};
    ///
    /// const SIGTERM: i32 = 15;
    /// Manager::system()?.kill_unit("job.scope", KillWhom::All, SIGTERM, Duration::from_secs(1))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn kill_unit(
        &self,
        unit: &str,
        whom: KillWhom,
        signal: i32,
        deadline: impl Into<Deadline>,
    ) -> Result<()> {
        check_signal(signal)?;
        let call = Call::Kill { unit: unit.into(), whom, signal };
        self.ask_unit(Operation::Kill, unit, call, deadline.into(), finish_nothing)
    }

    /// Forgets that a unit failed, so that its name is free. Blocks and fails as [`Manager::kill_unit`].
    /// Idempotent: a retry is safe, also after a deadline, at which it may have been done.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// unitwait::Manager::system()?.reset_failed("job.scope", Duration::from_secs(1))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn reset_failed(&self, unit: &str, deadline: impl Into<Deadline>) -> Result<()> {
        let call = Call::ResetFailed { unit: unit.into() };
        self.ask_unit(Operation::ResetFailed, unit, call, deadline.into(), finish_nothing)
    }

    /// Reads one property of a unit, of the interface of its type or of all units. A unit that is not loaded
    /// answers too, as `inactive`. Blocks until the answer or until the deadline. Errors: as
    /// [`Manager::kill_unit`], and [`Error::UnknownProperty`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// let state = unitwait::Manager::system()?.property("job.scope", "ActiveState", Duration::from_secs(1))?;
    /// assert_eq!(state.as_str(), Some("active"));
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn property(&self, unit: &str, property: &str, deadline: impl Into<Deadline>) -> Result<Value> {
        check_property_name(property)?;
        name::check(unit)?;
        let asked = Asked::new(Operation::Get, Some(unit));
        let from = |interface: String| {
            let call = Call::Get { path: systemd1::unit_path(unit), interface, name: property.into() };
            Box::new(Single { asked: asked.clone(), call }) as Box<dyn Plan>
        };
        let plan = property_plan(unit, |interface| Ok(from(interface)))?;
        self.ask(plan, deadline.into(), finish_property(asked))
    }

    /// Reads all properties of a unit, by name. Blocks and fails as [`Manager::property`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// let all = unitwait::Manager::system()?.properties("job.scope", Duration::from_secs(1))?;
    /// println!("{}", all["ControlGroup"]);
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn properties(&self, unit: &str, deadline: impl Into<Deadline>) -> Result<BTreeMap<String, Value>> {
        let call = Call::GetAll { path: systemd1::unit_path(unit), interface: String::new() };
        self.ask_unit(Operation::Get, unit, call, deadline.into(), finish_properties)
    }

    /// Cancels a job by its number. Blocks until systemd has answered or until the deadline. Errors:
    /// [`Error::NoSuchJob`] where it is over; otherwise as [`Manager::kill_unit`]. After a deadline it may have been
    /// cancelled. A retry cancels nothing more, and answers `NoSuchJob` then, unless systemd began anew meanwhile and
    /// the number is another job's.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// use unitwait::{JobId, Manager};
    ///
    /// Manager::system()?.cancel_job(JobId::new(42), Duration::from_secs(1))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn cancel_job(&self, job: JobId, deadline: impl Into<Deadline>) -> Result<()> {
        let asked = Asked::new(Operation::CancelJob, Some(&job.to_string()));
        let plan = Box::new(Single { asked: asked.clone(), call: Call::CancelJob(job) });
        self.ask(plan, deadline.into(), finish_nothing(asked))
    }

    /// The driver's counters. Blocks for at most two seconds, then [`Error::Timeout`]; [`Error::Closed`] where the
    /// thread has ended, [`Error::Forked`] in the child of a `fork`.
    ///
    /// ```no_run
    /// let stats = unitwait::Manager::system()?.stats()?;
    /// assert_eq!(stats.in_flight, 0);
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn stats(&self) -> Result<Stats> {
        self.0.driver.stats(Duration::from_secs(1))
    }

    fn ask_unit<T: Send + 'static>(
        &self,
        operation: Operation,
        unit: &str,
        call: Call,
        deadline: Deadline,
        finish: impl FnOnce(Asked) -> Finish<T>,
    ) -> Result<T> {
        name::check(unit)?;
        let asked = Asked::new(operation, Some(unit));
        self.ask(Box::new(Single { asked: asked.clone(), call }), deadline, finish(asked))
    }

    /// Asks something that changes nothing: once it is answered, systemd has had all that was asked before.
    fn round_trip(&self, operation: Operation, deadline: Deadline) -> Result<()> {
        let asked = Asked::new(operation, None);
        let call = Call::of_manager("Version");
        self.ask(Box::new(Single { asked: asked.clone(), call }), deadline, finish_nothing(asked))
    }

    fn ask<T: Send + 'static>(
        &self,
        plan: Box<dyn Plan>,
        deadline: Deadline,
        finish: Finish<T>,
    ) -> Result<T> {
        self.ticket(plan, deadline, finish)?.wait(Deadline::Default)
    }

    fn ticket<T: Send + 'static>(
        &self,
        plan: Box<dyn Plan>,
        at: Deadline,
        finish: Finish<T>,
    ) -> Result<Ticket<T>> {
        let deadline = at.instant(Instant::now(), self.0.default_timeout);
        Ticket::submit(&self.0.driver, plan, deadline, finish)
    }

    /// As [`submit`](Manager::submit), with a bell for who waits by one.
    fn hand_over<R: Request>(&self, request: &R, at: Deadline, bell: Weak<Wake>) -> Result<Ticket<R::Out>> {
        let deadline = at.instant(Instant::now(), self.0.default_timeout);
        let (plan, finish) = request.plan(&self.0, deadline)?;
        Ticket::submit_with(&self.0.driver, plan, deadline, finish, bell)
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("address", &self.0.endpoint.address)
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

/// Reads a property from the interface that all units have, or else from that of the unit's type: `Get()` takes no
/// empty one for "any", as `GetAll()` does.
fn property_plan(unit: &str, mut from: impl FnMut(String) -> Result<Box<dyn Plan>>) -> Result<Box<dyn Plan>> {
    let (first, second) = (from(systemd1::UNIT.into())?, from(systemd1::type_interface(unit))?);
    Ok(Box::new(Either::new(first, second)))
}

fn check_signal(signal: i32) -> Result<()> {
    const LAST_REALTIME: i32 = 64;
    if (1..=LAST_REALTIME).contains(&signal) {
        return Ok(());
    }
    Err(Error::invalid("signal", signal.to_string(), "signals are 1 to 64"))
}

fn check_property_name(property: &str) -> Result<()> {
    if !property.is_empty() && property.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(Error::invalid("property", property, "a property's name is made of ASCII letters and digits"))
}

fn finish_nothing(asked: Asked) -> Finish<()> {
    Box::new(move |success, _| match success {
        Success::Answer(_) => Ok(()),
        _ => Err(unexpected(asked)),
    })
}

fn finish_properties(asked: Asked) -> Finish<BTreeMap<String, Value>> {
    Box::new(move |success, _| match success {
        Success::Answer(values) => dictionary(&values).ok_or_else(|| unexpected(asked)),
        _ => Err(unexpected(asked)),
    })
}
