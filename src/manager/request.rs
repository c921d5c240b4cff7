//! What can be submitted: each request becomes a plan for the driver, and says what its answer is.

use std::sync::Arc;
use std::time::Instant;

use super::active::{Active, ActiveScope, ActiveSlice};
use super::record::Record;
use super::ticket::Finish;
use super::{FinishedJob, Inner, Manager};
use crate::cgroup::{Process, Sights, Unplaceable, unit_path};
use crate::driver::{Create, Created, NewUnit, Plan, Single, Success};
use crate::error::{Asked, Error, Operation, Result};
use crate::job::{JobMode, StageTimes};
use crate::systemd1::{Call, Verb};
use crate::unit::{Scope, Slice, Spread, Value, name, spread};

/// A request that [`Manager::submit`] takes: [`Scope`], [`Slice`] and [`UnitJob`].
///
/// Its `Out` is what a request that went well answers with: [`ActiveScope`], [`ActiveSlice`], [`FinishedJob`].
pub trait Request: sealed::Sealed {}

/// What is to be done, and what to make of how it went.
type Planned<T> = (Box<dyn Plan>, Finish<T>);

pub(super) mod sealed {
    use super::{Inner, Planned, Result};
    use std::sync::Arc;
    use std::time::Instant;

    pub trait Sealed {
        type Out: Send + 'static;
        #[doc(hidden)]
        #[allow(private_interfaces, reason = "only this crate can name the trait")]
        fn plan(&self, manager: &Arc<Inner>, deadline: Instant) -> Result<Planned<Self::Out>>;
    }
}

/// A job to ask for by a unit's name: start, stop or restart it.
///
/// ```
/// use unitwait::{JobMode, UnitJob};
///
/// let stop = UnitJob::stop("job.scope").mode(JobMode::Fail);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitJob {
    verb: Verb,
    unit: String,
    mode: JobMode,
}

impl UnitJob {
    fn new(verb: Verb, unit: impl Into<String>) -> UnitJob {
        UnitJob { verb, unit: unit.into(), mode: JobMode::default() }
    }

    /// Start the unit.
    ///
    /// ```
    /// let start = unitwait::UnitJob::start("cups.service");
    /// ```
    pub fn start(unit: impl Into<String>) -> UnitJob {
        UnitJob::new(Verb::Start, unit)
    }

    /// Stop the unit.
    ///
    /// ```
    /// let stop = unitwait::UnitJob::stop("job.scope");
    /// ```
    pub fn stop(unit: impl Into<String>) -> UnitJob {
        UnitJob::new(Verb::Stop, unit)
    }

    /// Stop the unit if it runs, then start it.
    ///
    /// ```
    /// let restart = unitwait::UnitJob::restart("cups.service");
    /// ```
    pub fn restart(unit: impl Into<String>) -> UnitJob {
        UnitJob::new(Verb::Restart, unit)
    }

    /// What to do about jobs that the unit has already (`org.freedesktop.systemd1(5)`, `StartUnit()`);
    /// [`JobMode::Replace`] where nothing is said.
    ///
    /// ```
    /// use unitwait::{JobMode, UnitJob};
    ///
    /// assert_eq!(UnitJob::stop("job.scope"), UnitJob::stop("job.scope").mode(JobMode::Replace));
    /// ```
    #[must_use]
    pub fn mode(mut self, mode: JobMode) -> UnitJob {
        self.mode = mode;
        self
    }
}

pub(super) fn operation(verb: Verb) -> Operation {
    match verb {
        Verb::Start => Operation::Start,
        Verb::Stop => Operation::Stop,
        Verb::Restart => Operation::Restart,
    }
}

impl<T: sealed::Sealed> Request for T {}

impl UnitJob {
    pub(crate) fn check(&self) -> Result<()> {
        name::check(&self.unit)
    }
}

impl sealed::Sealed for UnitJob {
    type Out = FinishedJob;

    #[allow(private_interfaces, reason = "only this crate can name the trait")]
    fn plan(&self, _: &Arc<Inner>, _: Instant) -> Result<Planned<FinishedJob>> {
        self.check()?;
        let asked = Asked::new(operation(self.verb), Some(&self.unit));
        let call = Call::UnitJob { verb: self.verb, unit: self.unit.clone(), mode: self.mode };
        Ok((Box::new(Single { asked: asked.clone(), call }), finish_job(asked)))
    }
}

pub(super) fn finish_job(asked: Asked) -> Finish<FinishedJob> {
    Box::new(move |success, times| match success {
        Success::Job(id) => Ok(FinishedJob { id, times }),
        _ => Err(unexpected(asked)),
    })
}

pub(super) fn unexpected(asked: Asked) -> Error {
    Error::Protocol { asked, reason: "the answer is of another kind than was asked for".into() }
}

impl sealed::Sealed for Scope {
    type Out = ActiveScope;

    #[allow(private_interfaces, reason = "only this crate can name the trait")]
    fn plan(&self, manager: &Arc<Inner>, deadline: Instant) -> Result<Planned<ActiveScope>> {
        self.check()?;
        let asked = Asked::new(Operation::CreateScope, Some(&self.name));
        let Placing { slice, spread, over } = placing(manager, self, &asked, deadline)?;
        let (sights, processes) = see(&self.pids, &asked)?;
        let seen = Instant::now();
        let (slice, spread) = (slice.map(Into::into), spread.map(Into::into));
        let properties = Arc::clone(&self.properties);
        let (on_exists, verify, require_limits) = (self.on_exists, self.verify, self.require_limits);
        let unit = Arc::new(NewUnit {
            asked,
            slice,
            spread,
            processes: processes.into(),
            seen,
            properties,
            on_exists,
            verify,
            require_limits,
        });
        let create = Create::new(Arc::clone(&unit), sights, Arc::clone(&manager.site));
        let finish = finish_create(manager, unit);
        let finish = move |success, times| {
            finish(success, times).map(|active| ActiveScope(Active { spread: over, ..active }))
        };
        Ok((Box::new(create), Box::new(finish)))
    }
}

impl sealed::Sealed for Slice {
    type Out = ActiveSlice;

    #[allow(private_interfaces, reason = "only this crate can name the trait")]
    fn plan(&self, manager: &Arc<Inner>, _: Instant) -> Result<Planned<ActiveSlice>> {
        self.check()?;
        let asked = Asked::new(Operation::CreateSlice, Some(&self.name));
        let properties = Arc::clone(&self.properties);
        let (on_exists, verify, require_limits) = (self.on_exists, self.verify, self.require_limits);
        let unit = Arc::new(NewUnit {
            asked,
            slice: None,
            spread: None,
            processes: Box::default(),
            seen: Instant::now(),
            properties,
            on_exists,
            verify,
            require_limits,
        });
        let create = Create::new(Arc::clone(&unit), Sights::default(), Arc::clone(&manager.site));
        let finish = finish_create(manager, unit);
        Ok((Box::new(create), Box::new(move |success, times| finish(success, times).map(ActiveSlice))))
    }
}

/// Where a scope goes.
struct Placing {
    slice: Option<String>,
    /// The slice that is spread, and over how many.
    spread: Option<String>,
    over: Option<u32>,
}

fn placing(manager: &Inner, scope: &Scope, asked: &Asked, deadline: Instant) -> Result<Placing> {
    let (Some(slice), Some(spread)) = (&scope.slice, scope.spread) else {
        return Ok(Placing { slice: scope.slice.clone(), spread: None, over: None });
    };
    let over = match spread {
        Spread::Over(over) => over,
        Spread::Auto => {
            let root = manager.root(asked, deadline)?;
            manager.spreads.over(&manager.site.layout, slice, &unit_path(root, None, slice))
        }
    };
    let child = spread::place(slice, over, &scope.name);
    Ok(Placing { slice: Some(child), spread: Some(slice.clone()), over: Some(over) })
}

/// The processes, kept in sight where that may be: it is only for speed, and takes no descriptor from what must be.
fn see(pids: &[i64], asked: &Asked) -> Result<(Sights, Vec<Process>)> {
    let sights = Sights::open(pids.iter().filter_map(|pid| (*pid).try_into().ok()));
    match look_up(pids, asked) {
        Err(Error::System { .. }) => {
            drop(sights);
            Ok((Sights::default(), look_up(pids, asked)?))
        }
        looked_up => Ok((sights, looked_up?)),
    }
}

/// Each process as it is now: a dead one and a kernel thread are refused before anything is sent.
pub(super) fn look_up(pids: &[i64], asked: &Asked) -> Result<Vec<Process>> {
    let mut processes: Vec<Process> = Vec::with_capacity(pids.len());
    for &number in pids {
        let pid =
            u32::try_from(number).map_err(|_| Error::invalid("PID", number.to_string(), "out of range"))?;
        if processes.iter().any(|known| known.pid == pid) {
            continue;
        }
        let refusal = match Process::look_up(pid) {
            Ok(process) => {
                processes.push(process);
                continue;
            }
            Err(refusal) => refusal,
        };
        return Err(match refusal {
            Unplaceable::Gone | Unplaceable::Zombie => {
                Error::NoSuchProcess { asked: asked.clone(), pid: Some(pid) }
            }
            Unplaceable::KernelThread => {
                Error::invalid("PID", pid.to_string(), "it is a kernel thread, which no unit can hold")
            }
            Unplaceable::Unreadable(source) => Error::System { doing: "read /proc of a process", source },
        });
    }
    Ok(processes)
}

fn finish_create(
    manager: &Arc<Inner>,
    unit: Arc<NewUnit>,
) -> impl FnOnce(Success, StageTimes) -> Result<Active> + Send + use<> {
    let manager = Manager(Arc::clone(manager));
    move |success, times| match success {
        Success::Created(created) => {
            let Created { outcome, job, findings, invocation, left_out } = *created;
            let control_group = findings.control_group.unwrap_or_default();
            let limits = unit.properties_without(&left_out);
            let record = Record::new(unit.processes.to_vec(), limits, findings.group);
            let (gaps, record) = (findings.gaps, Arc::new(record));
            Ok(Active {
                manager,
                unit: unit.name().into(),
                control_group,
                outcome,
                job,
                invocation,
                gaps,
                left_out,
                times,
                record,
                spread: None,
            })
        }
        _ => Err(unexpected(unit.asked.clone())),
    }
}

/// The value of the property that was asked for.
pub(super) fn finish_property(asked: Asked) -> Finish<Value> {
    Box::new(move |success, _| match success {
        Success::Answer(mut values) => match values.pop() {
            Some(Value::Variant(value)) => Ok(*value),
            _ => Err(unexpected(asked)),
        },
        _ => Err(unexpected(asked)),
    })
}
