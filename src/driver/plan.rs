//! The steps of one request, as a pure machine: each answer in, the next call (or the outcome) out.
//!
//! A plan does no I/O and knows no clock; the router carries its calls and the loop its looks at the kernel.

use std::collections::BTreeMap;
use std::fmt;

use super::set::Changed;
use super::wait::{RunEnd, Wait};
use crate::cgroup::{Findings, Inspection};
use crate::error::{Asked, Error};
use crate::job::{InvocationId, JobId, JobResult};
use crate::systemd1::{self, BusError, Call, UnitChange};
use crate::unit::Value;

/// What a plan is told.
#[derive(Debug)]
pub(crate) enum Event {
    /// The call was answered; one that makes a job is told by `Job` instead, once that is over.
    Answer(Vec<Value>),
    /// The call was refused.
    Refused(BusError),
    /// The call's job is over.
    Job(JobId, JobResult),
    /// The kernel was looked at.
    Inspected(Findings),
    /// A unit that is followed has changed.
    Changed(UnitChange),
}

/// What a plan wants next.
#[derive(Debug)]
pub(crate) enum Step {
    Call(Call),
    /// Make the call that [`Plan::creation`] gives when there is room for it: what waits in line is to be small.
    Create,
    Inspect(Box<Inspection>),
    /// Be told of the unit's changes.
    Follow,
    Finish(Result<Success, Error>),
}

/// What a request that went well has to tell.
#[derive(Debug)]
pub(crate) enum Success {
    Answer(Vec<Value>),
    Job(JobId),
    Created(Box<Created>),
    Ended(RunEnd),
    Changed(Box<Changed>),
}

/// How a unit came to be what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It was created.
    Created,
    /// It was there, and the processes are in it now.
    Joined,
    /// What was there was stopped, and it was created anew.
    Replaced,
    /// It was there, and was taken as it is.
    Accepted,
    /// It was there, and a handle to it was asked for.
    Adopted,
}

#[derive(Debug)]
pub(crate) struct Created {
    pub outcome: Outcome,
    pub job: Option<JobId>,
    pub findings: Findings,
    pub invocation: Option<InvocationId>,
    /// The optional properties that this systemd does not know.
    pub left_out: Vec<String>,
}

/// A request's steps.
pub(crate) trait Plan: fmt::Debug + Send {
    fn asked(&self) -> &Asked;

    /// The first step.
    fn start(&mut self) -> Step;

    /// The next step, after what the last one brought.
    fn advance(&mut self, event: Event) -> Step;

    /// The call of [`Step::Create`], as it is to be now; `None` where nothing is to be created.
    fn creation(&mut self) -> Option<Call> {
        None
    }

    /// Whether the call of [`Step::Create`] that was made last named its processes by pidfd.
    fn carries_descriptors(&self) -> bool {
        false
    }

    /// Whether the call of a creation that is under way is sure to be refused, and to be made again.
    fn is_to_fall_back(&self) -> bool {
        false
    }

    /// The wait for a run, where that is what this is.
    fn as_wait(&mut self) -> Option<&mut Wait> {
        None
    }

    /// The step after a job that ended when nobody waited any more; `None` where nothing is to be cleared away.
    fn settle(&mut self, _job: JobId, _result: &JobResult) -> Option<Step> {
        None
    }

    /// Whether it has created what was asked for, and is only looking at it now.
    fn is_past_its_job(&self) -> bool {
        false
    }

    /// Its caller has its answer. What it creates is taken as it is, for nobody waits to be told of limits any more, and
    /// nothing is kept for the sake of speed.
    fn be_late(&mut self) {}

    /// Whether the job of a request that nobody waits for any more is to be cancelled: only that of a unit
    /// which this very request was to create. A stop's or start's job may be somebody else's too.
    fn owns_its_job(&self) -> bool {
        false
    }
}

/// One call, one answer or job.
#[derive(Debug)]
pub(crate) struct Single {
    pub asked: Asked,
    pub call: Call,
}

impl Plan for Single {
    fn asked(&self) -> &Asked {
        &self.asked
    }

    fn start(&mut self) -> Step {
        Step::Call(self.call.clone())
    }

    fn advance(&mut self, event: Event) -> Step {
        Step::Finish(single(&self.asked, &self.call, event))
    }
}

/// One call to one run of a unit, by the run's own object path.
#[derive(Debug)]
pub(crate) struct Run {
    asked: Asked,
    call: Call,
    invocation: InvocationId,
    refused: bool,
}

impl Run {
    pub(crate) fn new(asked: Asked, call: Call, invocation: InvocationId) -> Run {
        Run { asked, call, invocation, refused: false }
    }
}

impl Plan for Run {
    fn asked(&self) -> &Asked {
        &self.asked
    }

    fn start(&mut self) -> Step {
        Step::Call(self.call.clone())
    }

    fn advance(&mut self, event: Event) -> Step {
        if self.refused {
            return Step::Finish(Err(run_is_over(self.asked.clone(), self.invocation, &event)));
        }
        match (event, self.asked.unit.as_deref()) {
            (Event::Refused(error), Some(unit)) if says_run_is_over(&error) => {
                self.refused = true;
                Step::Call(get_state(unit))
            }
            (event, _) => Step::Finish(single(&self.asked, &self.call, event)),
        }
    }
}

/// A property to read, by whichever plan of the two, from the interface of all units or that of the unit's type.
#[derive(Debug)]
pub(crate) struct Either {
    first: Box<dyn Plan>,
    second: Option<Box<dyn Plan>>,
}

impl Either {
    pub(crate) fn new(first: Box<dyn Plan>, second: Box<dyn Plan>) -> Either {
        Either { first, second: Some(second) }
    }
}

impl Plan for Either {
    fn asked(&self) -> &Asked {
        self.first.asked()
    }

    fn start(&mut self) -> Step {
        self.first.start()
    }

    fn advance(&mut self, event: Event) -> Step {
        match self.first.advance(event) {
            Step::Finish(Err(Error::UnknownProperty { .. })) if self.second.is_some() => {
                if let Some(second) = self.second.take() {
                    self.first = second;
                }
                self.first.start()
            }
            step => step,
        }
    }
}

/// Reads the state of the unit that has a name now; a name that no unit has reads as `inactive`.
pub(super) fn get_state(unit: &str) -> Call {
    Call::Get {
        path: systemd1::unit_path(unit),
        interface: systemd1::UNIT.into(),
        name: "ActiveState".into(),
    }
}

/// The value of a property that was read.
pub(super) fn property(mut answer: Vec<Value>) -> Option<Value> {
    match answer.pop()? {
        Value::Variant(value) => Some(*value),
        _ => None,
    }
}

/// The same of one that is a text.
pub(super) fn text_property(answer: Vec<Value>) -> Option<String> {
    property(answer).and_then(|value| value.as_str().map(String::from))
}

fn single(asked: &Asked, call: &Call, event: Event) -> Result<Success, Error> {
    match event {
        Event::Answer(values) => Ok(Success::Answer(values)),
        Event::Job(job, JobResult::Done) => Ok(Success::Job(job)),
        Event::Job(job, result) => Err(Error::JobFailed { asked: asked.clone(), job, result }),
        Event::Refused(error) => Err(refusal(asked.clone(), call, error)),
        Event::Inspected(_) | Event::Changed(_) => Err(out_of_step(asked)),
    }
}

pub(super) fn out_of_step(asked: &Asked) -> Error {
    Error::Protocol { asked: asked.clone(), reason: "an answer came that nothing had asked for".into() }
}

/// Whether a call to a run's own object was refused because the run is over.
pub(super) fn says_run_is_over(error: &BusError) -> bool {
    matches!(
        error.name.as_str(),
        "org.freedesktop.systemd1.NoUnitForInvocationID" | "org.freedesktop.systemd1.NoSuchUnit"
    )
}

pub(super) fn run_is_over(asked: Asked, invocation: InvocationId, event: &Event) -> Error {
    let alive = match event {
        Event::Answer(values) => matches!(
            values.first(),
            Some(Value::Variant(state)) if !matches!(state.as_str(), Some("inactive" | "failed"))
        ),
        _ => false,
    };
    if alive { Error::Superseded { asked, invocation } } else { Error::NoSuchUnit { asked } }
}

/// The typed error for a refusal. Errors are told apart by their names, never by their texts; a text is only
/// searched for which of the request's own properties or processes it speaks of.
pub(super) fn refusal(asked: Asked, call: &Call, error: BusError) -> Error {
    let BusError { name, message } = error;
    let known =
        name.strip_prefix("org.freedesktop.systemd1.").or(name.strip_prefix("org.freedesktop.DBus.Error."));
    match known.unwrap_or(&name) {
        "UnitExists" => Error::UnitExists { asked, state: None },
        // Of a unit that is to be created it speaks of another, which that one requires.
        "NoSuchUnit" if matches!(call, Call::StartTransient { .. }) => Error::Dbus { asked, name, message },
        // A unit that is on its way down, or was never up, has no run to speak of either.
        "NoSuchUnit" | "UnknownObject" | "UnitInactive" => Error::NoSuchUnit { asked },
        "NotSupported" | "FrozenByParent" => Error::Unsupported { asked, reason: message },
        "NoSuchProcess" | "UnixProcessIdUnknown" | "System.Error.ESRCH" => {
            Error::NoSuchProcess { asked, pid: named_pid(call, &message) }
        }
        "FileNotFound" => match call {
            Call::RunAttach { subgroup, .. } => {
                Error::NoSuchControlGroup { asked, control_group: subgroup.clone() }
            }
            _ => Error::Dbus { asked, name, message },
        },
        "NoSuchJob" => match call {
            Call::CancelJob(job) => Error::NoSuchJob { job: *job },
            _ => Error::Dbus { asked, name, message },
        },
        "AccessDenied" | "AuthFailed" | "InteractiveAuthorizationRequired" => {
            Error::AccessDenied { asked, name, message }
        }
        "PropertyReadOnly" | "UnknownProperty" => {
            Error::UnknownProperty { asked, property: named_property(call, &message), message }
        }
        "NoReply" | "Disconnected" => {
            Error::Disconnected { asked, stage: crate::error::Stage::Call, job: None }
        }
        "ServiceUnknown" | "NameHasNoOwner" => Error::Connect {
            address: systemd1::NAME.into(),
            reason: format!("no systemd is on the bus: {message}"),
        },
        _ => Error::Dbus { asked, name, message },
    }
}

fn named_property(call: &Call, message: &str) -> String {
    let mut words = message.split(|c: char| !c.is_ascii_alphanumeric());
    let named = match call {
        Call::StartTransient { properties, .. }
        | Call::Set { properties, .. }
        | Call::RunSet { properties, .. } => {
            words.find(|word| properties.iter().any(|property| property.name() == *word))
        }
        Call::Get { name, .. } => Some(name.as_str()),
        _ => None,
    };
    named.unwrap_or_default().into()
}

fn named_pid(call: &Call, message: &str) -> Option<u32> {
    let pids: Vec<u32> = match call {
        Call::StartTransient { members, .. } => members.processes.iter().map(|process| process.pid).collect(),
        Call::Attach { pids, .. } | Call::RunAttach { pids, .. } => pids.clone(),
        _ => return None,
    };
    let mut numbers = message.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
    numbers.find(|number| pids.contains(number)).or(if pids.len() == 1 {
        pids.first().copied()
    } else {
        None
    })
}

/// One of the properties in the answer to `GetAll`.
pub(super) fn entry<'a>(answer: &'a [Value], name: &str) -> Option<&'a Value> {
    answer.first()?.items().iter().find_map(|entry| match entry {
        Value::Entry(pair) => match (&pair.0, &pair.1) {
            (Value::Str(known), Value::Variant(value)) if known == name => Some(&**value),
            _ => None,
        },
        _ => None,
    })
}

/// The properties in the answer to `GetAll`.
pub(crate) fn dictionary(answer: &[Value]) -> Option<BTreeMap<String, Value>> {
    let Value::Array(element, entries) = answer.first()? else { return None };
    // An empty one has no entry to tell it from a list of anything else.
    if element != "{sv}" {
        return None;
    }
    entries
        .iter()
        .map(|entry| match entry {
            Value::Entry(pair) => match (&pair.0, &pair.1) {
                (Value::Str(name), Value::Variant(value)) => Some((name.clone(), (**value).clone())),
                _ => None,
            },
            _ => None,
        })
        .collect()
}
