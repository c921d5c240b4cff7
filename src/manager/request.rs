//! What can be submitted: each request becomes a plan for the driver, and says what its answer is.

use std::sync::Arc;

use super::active::{Active, ActiveScope, ActiveSlice};
use super::record::Record;
use super::ticket::Finish;
use super::{FinishedJob, Inner, Manager};
use crate::cgroup::{Inspection, Place, Process, Sights, Unplaceable, asked_limits, unit_path};
use crate::driver::{Create, Created, Plan, Success};
use crate::error::{Asked, Error, Operation, Result};
use crate::job::{JobMode, StageTimes};
use crate::systemd1::{Call, Verb};
use crate::unit::{Property, Scope, Slice, Spread, Value, name, spread};

/// A request that [`Manager::submit`] takes: [`Scope`], [`Slice`] and [`UnitJob`].
///
/// Its `Out` is what a request that went well answers with: [`ActiveScope`], [`ActiveSlice`], [`FinishedJob`].
pub trait Request: sealed::Sealed {}

pub(super) mod sealed {
    use super::{Finish, Inner, Plan, Result};
    use std::sync::Arc;

    pub trait Sealed {
        type Out: Send + 'static;
        #[doc(hidden)]
        #[allow(private_interfaces, reason = "only this crate can name the trait")]
        fn plan(&self, manager: &Arc<Inner>) -> Result<(Plan, Finish<Self::Out>)>;
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
    fn plan(&self, _: &Arc<Inner>) -> Result<(Plan, Finish<FinishedJob>)> {
        self.check()?;
        let asked = Asked::new(operation(self.verb), Some(&self.unit));
        let call = Call::UnitJob { verb: self.verb, unit: self.unit.clone(), mode: self.mode };
        Ok((Plan::Single { asked: asked.clone(), call }, finish_job(asked)))
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
    fn plan(&self, manager: &Arc<Inner>) -> Result<(Plan, Finish<ActiveScope>)> {
        self.check()?;
        let asked = Asked::new(Operation::CreateScope, Some(&self.name));
        let sights = Sights::open(self.pids.iter().filter_map(|pid| (*pid).try_into().ok()));
        let processes = look_up(&self.pids, &asked)?;
        let Placing { slice, spread, place } = placing(manager, self);
        let slice = slice.map(|slice| Property::new("Slice", slice));
        let mut properties: Vec<Property> = slice.into_iter().collect();
        properties.extend(self.properties.iter().cloned());
        let placed = processes.clone();
        let inspection = inspection(manager, &self.name, place, processes, &properties, self.verify);
        let inspection = Inspection { sights, ..inspection };
        let unknown = manager.pidfds_unknown.clone();
        let mut create = Create::new(asked.clone(), self.name.clone(), properties, inspection, unknown);
        create.on_exists = self.on_exists;
        create.verify = self.verify;
        create.require_limits = self.require_limits;
        let finish = finish_create(manager, self.name.clone(), asked, placed, self.properties.clone());
        let finish = move |success, times| {
            finish(success, times).map(|active| ActiveScope(Active { spread, ..active }))
        };
        Ok((Plan::Create(Box::new(create)), Box::new(finish)))
    }
}

impl sealed::Sealed for Slice {
    type Out = ActiveSlice;

    #[allow(private_interfaces, reason = "only this crate can name the trait")]
    fn plan(&self, manager: &Arc<Inner>) -> Result<(Plan, Finish<ActiveSlice>)> {
        self.check()?;
        let asked = Asked::new(Operation::CreateSlice, Some(&self.name));
        let place = Place::Exact(unit_path(&manager.root, None, &self.name));
        let inspection = inspection(manager, &self.name, place, Vec::new(), &self.properties, self.verify);
        let (properties, unknown) = (self.properties.clone(), manager.pidfds_unknown.clone());
        let mut create = Create::new(asked.clone(), self.name.clone(), properties, inspection, unknown);
        create.on_exists = self.on_exists;
        create.verify = self.verify;
        create.require_limits = self.require_limits;
        let finish = finish_create(manager, self.name.clone(), asked, Vec::new(), self.properties.clone());
        Ok((Plan::Create(Box::new(create)), Box::new(move |s, t| finish(s, t).map(ActiveSlice))))
    }
}

/// Where a scope goes.
struct Placing {
    slice: Option<String>,
    spread: Option<u32>,
    place: Place,
}

fn placing(manager: &Inner, scope: &Scope) -> Placing {
    let unit = scope.name.clone();
    let Some(slice) = &scope.slice else {
        let place = Place::Below { root: manager.root.clone(), unit };
        return Placing { slice: None, spread: None, place };
    };
    let Some(spread) = scope.spread else {
        let place = Place::Exact(unit_path(&manager.root, Some(slice), &unit));
        return Placing { slice: Some(slice.clone()), spread: None, place };
    };
    let group = unit_path(&manager.root, None, slice);
    let over = match spread {
        Spread::Over(over) => over,
        Spread::Auto => manager.spreads.over(&manager.layout, slice, &group),
    };
    // One that is there already, and is joined, may have been spread over another number.
    let place = Place::Below { root: group, unit: unit.clone() };
    Placing { slice: Some(spread::place(slice, over, &unit)), spread: Some(over), place }
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

fn inspection(
    manager: &Arc<Inner>,
    unit: &str,
    place: Place,
    processes: Vec<Process>,
    properties: &[Property],
    verify: bool,
) -> Inspection {
    Inspection {
        place,
        processes,
        sights: Sights::default(),
        limits: if verify { asked_limits(properties) } else { Vec::new() },
        invocation_link: manager.links.as_ref().map(|dir| dir.join(format!("invocation:{unit}"))),
        layout: Arc::clone(&manager.layout),
        everywhere: false,
    }
}

fn finish_create(
    manager: &Arc<Inner>,
    unit: String,
    asked: Asked,
    placed: Vec<Process>,
    mut limits: Vec<Property>,
) -> impl FnOnce(Success, StageTimes) -> Result<Active> + Send + use<> {
    let manager = Manager(Arc::clone(manager));
    move |success, times| match success {
        Success::Created(created) => {
            let Created { outcome, job, findings, invocation, left_out } = *created;
            let control_group = findings.control_group.unwrap_or_default();
            limits.retain(|property| !left_out.iter().any(|left| left == property.name()));
            let record = Record::new(placed, limits, findings.group);
            let (gaps, record) = (findings.gaps, Arc::new(record));
            Ok(Active {
                manager,
                unit,
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
        _ => Err(unexpected(asked)),
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
