//! Every method that the driver calls, as data, and how it becomes a message.

use std::borrow::Cow;
use std::fs::File;
use std::time::Instant;

use dbus::Message;
use dbus::arg::{Append, IterAppend};

use super::{BUS, BUS_PATH, MANAGER, MANAGER_PATH, NAME, PEER, PIDFDS, PROPERTIES, UNIT, codec};
use crate::cgroup::Process;
use crate::job::{JobId, JobMode};
use crate::unit::{KillWhom, Property};

/// A change to a unit that makes a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
}

impl Verb {
    const fn on_manager(self) -> &'static str {
        match self {
            Verb::Start => "StartUnit",
            Verb::Stop => "StopUnit",
            Verb::Restart => "RestartUnit",
        }
    }

    const fn on_unit(self) -> &'static str {
        match self {
            Verb::Start => "Start",
            Verb::Stop => "Stop",
            Verb::Restart => "Restart",
        }
    }
}

/// The processes that a new unit begins with, named by pidfd where that is wished for and can be, else by number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Members {
    pub processes: Vec<Process>,
    pub by_pidfd: bool,
    /// When they were looked up.
    pub seen: Instant,
}

/// One method call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    Hello,
    AddMatch(Cow<'static, str>),
    RemoveMatch(Cow<'static, str>),
    GetNameOwner,
    Ping,
    Subscribe,
    Unsubscribe,
    StartTransient {
        unit: String,
        properties: Vec<Property>,
        members: Members,
    },
    UnitJob {
        verb: Verb,
        unit: String,
        mode: JobMode,
    },
    RunJob {
        verb: Verb,
        path: String,
        mode: JobMode,
    },
    Kill {
        unit: String,
        whom: KillWhom,
        signal: i32,
    },
    RunKill {
        path: String,
        whom: KillWhom,
        signal: i32,
    },
    RunRef {
        path: String,
    },
    /// By the unit's own object, which outlives the run that was referred to.
    Unref {
        path: String,
    },
    Set {
        unit: String,
        runtime: bool,
        properties: Vec<Property>,
    },
    RunSet {
        path: String,
        runtime: bool,
        properties: Vec<Property>,
    },
    ResetFailed {
        unit: String,
    },
    CancelJob(JobId),
    Attach {
        unit: String,
        pids: Vec<u32>,
    },
    RunAttach {
        path: String,
        interface: String,
        subgroup: String,
        pids: Vec<u32>,
    },
    UnitFreezer {
        path: String,
        freeze: bool,
    },
    ListUnits {
        states: Vec<String>,
        patterns: Vec<String>,
    },
    UnitByPid(u32),
    Get {
        path: String,
        interface: String,
        name: String,
    },
    GetAll {
        path: String,
        interface: String,
    },
}

impl Call {
    /// Reads one of the manager's own properties.
    pub(crate) fn of_manager(property: &str) -> Call {
        Call::Get { path: MANAGER_PATH.into(), interface: MANAGER.into(), name: property.into() }
    }

    /// The message, addressed to the manager (or to the bus itself, for the bus's own methods); a manager that is the
    /// peer itself does not look at that.
    ///
    /// Every text in a call was checked when the request was made: the crate `dbus` panics over others. `pidfds` are
    /// those of the call's processes, in their order; with none of them, the processes are named by number.
    pub(crate) fn to_message(&self, serial: u32, pidfds: &[File]) -> Message {
        let mut message = match self {
            Call::Hello => bus_method("Hello"),
            Call::AddMatch(rule) => bus_method("AddMatch").append1(&**rule),
            Call::RemoveMatch(rule) => bus_method("RemoveMatch").append1(&**rule),
            Call::GetNameOwner => bus_method("GetNameOwner").append1(NAME),
            Call::Ping => method(MANAGER_PATH, PEER, "Ping"),
            Call::Subscribe => manager_method("Subscribe"),
            Call::Unsubscribe => manager_method("Unsubscribe"),
            Call::StartTransient { unit, properties, members } => {
                start_transient(unit, properties, &members.processes, pidfds)
            }
            Call::UnitJob { verb, unit, mode } => {
                manager_method(verb.on_manager()).append2(unit.as_str(), mode.as_str())
            }
            Call::RunJob { verb, path, mode } => method(path, UNIT, verb.on_unit()).append1(mode.as_str()),
            Call::Kill { unit, whom, signal } => {
                manager_method("KillUnit").append3(unit.as_str(), whom.as_str(), *signal)
            }
            Call::RunKill { path, whom, signal } => {
                method(path, UNIT, "Kill").append2(whom.as_str(), *signal)
            }
            Call::RunRef { path } => method(path, UNIT, "Ref"),
            Call::Unref { path } => method(path, UNIT, "Unref"),
            Call::Set { unit, runtime, properties } => with_properties(
                manager_method("SetUnitProperties").append2(unit.as_str(), *runtime),
                properties,
                |_| (),
            ),
            Call::RunSet { path, runtime, properties } => {
                with_properties(method(path, UNIT, "SetProperties").append1(*runtime), properties, |_| ())
            }
            Call::ResetFailed { unit } => manager_method("ResetFailedUnit").append1(unit.as_str()),
            Call::CancelJob(job) => manager_method("CancelJob").append1(job.get()),
            Call::Attach { unit, pids } => {
                manager_method("AttachProcessesToUnit").append3(unit.as_str(), "", pids.as_slice())
            }
            Call::RunAttach { path, interface, subgroup, pids } => {
                method(path, interface, "AttachProcesses").append2(subgroup.as_str(), pids.as_slice())
            }
            Call::UnitFreezer { path, freeze } => method(path, UNIT, if *freeze { "Freeze" } else { "Thaw" }),
            Call::ListUnits { states, patterns } => {
                manager_method("ListUnitsByPatterns").append2(states.as_slice(), patterns.as_slice())
            }
            Call::UnitByPid(pid) => manager_method("GetUnitByPID").append1(*pid),
            Call::Get { path, interface, name } => {
                method(path, PROPERTIES, "Get").append2(interface.as_str(), name.as_str())
            }
            Call::GetAll { path, interface } => {
                method(path, PROPERTIES, "GetAll").append1(interface.as_str())
            }
        };
        message.set_serial(serial);
        message.set_auto_start(false);
        message
    }

    /// Whether systemd answers with the path of a job to wait for.
    pub(crate) fn makes_job(&self) -> bool {
        matches!(self, Call::StartTransient { .. } | Call::UnitJob { .. } | Call::RunJob { .. })
    }

    /// Whether it may be asked twice: it changes nothing, or nothing but what goes with the connection.
    pub(crate) fn may_be_repeated(&self) -> bool {
        matches!(
            self,
            Call::Get { .. }
                | Call::GetAll { .. }
                | Call::ListUnits { .. }
                | Call::UnitByPid(_)
                | Call::RunRef { .. }
        )
    }
}

fn bus_method(name: &str) -> Message {
    Message::method_call(&BUS.into(), &BUS_PATH.into(), &BUS.into(), &name.into())
}

fn manager_method(name: &str) -> Message {
    method(MANAGER_PATH, MANAGER, name)
}

fn method(path: &str, interface: &str, name: &str) -> Message {
    Message::method_call(&NAME.into(), &path.into(), &interface.into(), &name.into())
}

fn start_transient(unit: &str, properties: &[Property], processes: &[Process], pidfds: &[File]) -> Message {
    let message = manager_method("StartTransientUnit").append2(unit, "fail");
    let mut message = with_properties(message, properties, |list| {
        if !processes.is_empty() {
            list.append_struct(|pair| append_processes(pair, processes, pidfds));
        }
    });
    // Auxiliary units: the field is there for future use, and must be empty.
    IterAppend::new(&mut message).append_array(&"(sa(sv))".into(), |_| ());
    message
}

/// Appends properties, after what `first` puts before them.
fn with_properties(
    mut message: Message,
    properties: &[Property],
    first: impl FnOnce(&mut IterAppend),
) -> Message {
    IterAppend::new(&mut message).append_array(&"(sv)".into(), |list| {
        first(list);
        for property in properties {
            list.append_struct(|pair| {
                property.name().append_by_ref(pair);
                codec::append_variant(pair, property.value());
            });
        }
    });
    message
}

/// The processes to place, as the property that carries them: `PIDs`, or `PIDFDs`, which 252 does not know
/// and 257 does.
fn append_processes(pair: &mut IterAppend, processes: &[Process], pidfds: &[File]) {
    if pidfds.is_empty() {
        "PIDs".append_by_ref(pair);
        return pair.append_variant(&"au".into(), |value| {
            value.append_array(&"u".into(), |list| processes.iter().for_each(|one| list.append(one.pid)));
        });
    }
    PIDFDS.append_by_ref(pair);
    pair.append_variant(&"ah".into(), |value| {
        value.append_array(&"h".into(), |list| pidfds.iter().for_each(|pidfd| pidfd.append_by_ref(list)));
    });
}

trait AppendStr {
    fn append_by_ref(&self, to: &mut IterAppend);
}

impl AppendStr for str {
    fn append_by_ref(&self, to: &mut IterAppend) {
        Append::append(self, to);
    }
}
