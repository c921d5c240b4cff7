//! What was asked, and how far it came.

use std::fmt;
use std::sync::Arc;

/// What was asked of the manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Connect, and see that a manager answers.
    Open,
    /// Create a scope (or join or replace it, where the request says so).
    CreateScope,
    /// Create a slice.
    CreateSlice,
    /// Stop a unit.
    Stop,
    /// Start a unit.
    Start,
    /// Restart a unit.
    Restart,
    /// Send a signal to a unit's processes.
    Kill,
    /// Set properties of a unit.
    Set,
    /// Forget a unit's failed state.
    ResetFailed,
    /// Read properties.
    Get,
    /// List units.
    List,
    /// Cancel a job.
    CancelJob,
    /// Find the unit of a process.
    FindUnit,
    /// Take over a unit that is there.
    Adopt,
    /// Wait for the end of a run.
    Wait,
    /// Watch units.
    Watch,
    /// Read the driver's counters.
    Stats,
    /// List the processes of a unit.
    Processes,
    /// Attach processes to a unit.
    Attach,
    /// Freeze a unit's processes.
    Freeze,
    /// Thaw a unit's processes.
    Thaw,
    /// Kill all processes of a unit, until none is left.
    KillAll,
    /// Wait until a unit has no process.
    WaitEmpty,
    /// Start a command in a scope of its own.
    Spawn,
    /// Wait for a command that was started in a scope.
    WaitForChild,
}

impl Operation {
    /// Whether nothing can have changed, however far it came.
    pub(super) const fn only_reads(self) -> bool {
        use Operation::{Adopt, FindUnit, Get, List, Open, Processes, Stats};
        matches!(self, Adopt | FindUnit | Get | List | Open | Processes | Stats)
    }

    /// The operation in words that follow "could not".
    ///
    /// ```
    /// assert_eq!(unitwait::Operation::CreateScope.as_str(), "create scope");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Operation::Open => "open the manager",
            Operation::CreateScope => "create scope",
            Operation::CreateSlice => "create slice",
            Operation::Stop => "stop",
            Operation::Start => "start",
            Operation::Restart => "restart",
            Operation::Kill => "kill",
            Operation::Set => "set properties of",
            Operation::ResetFailed => "reset the failed state of",
            Operation::Get => "read properties of",
            Operation::List => "list units",
            Operation::CancelJob => "cancel job",
            Operation::FindUnit => "find the unit of process",
            Operation::Adopt => "take over",
            Operation::Wait => "see the end of",
            Operation::Watch => "watch units",
            Operation::Stats => "read the driver's counters",
            Operation::Processes => "list the processes of",
            Operation::Attach => "attach processes to",
            Operation::Freeze => "freeze",
            Operation::Thaw => "thaw",
            Operation::KillAll => "kill all processes of",
            Operation::WaitEmpty => "see the last process end of",
            Operation::Spawn => "spawn in",
            Operation::WaitForChild => "wait for the child in",
        }
    }
}

/// What was asked, and of which unit (or job, by its number).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asked {
    /// What was asked.
    pub operation: Operation,
    /// The unit's name; `None` where no unit was meant.
    pub unit: Option<Arc<str>>,
}

impl Asked {
    pub(crate) fn new(operation: Operation, unit: Option<&str>) -> Asked {
        Asked { operation, unit: unit.map(Into::into) }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation.as_str())?;
        self.unit.as_ref().map_or(Ok(()), |unit| write!(f, " {unit}"))
    }
}

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The child was not made, or not ready to be placed; nothing was sent, and nothing of the command has run.
    Fork,
    /// Waiting for a connection; nothing was sent.
    Connect,
    /// Waiting in line for a place in the window of calls in flight; nothing was sent.
    Queued,
    /// The call was sent, and systemd has not answered it: it may or may not have been carried out.
    Call,
    /// systemd accepted the call and is at work on the job.
    Job,
    /// The job is done, or the call carried out; what the kernel holds was still being looked at.
    Verify,
    /// The unit, or the process, is being waited for, and is still there.
    Wait,
    /// Some of its steps may have been carried out (an old unit stopped, a new one created), and the next waited in
    /// line.
    HalfWay,
}

impl Stage {
    /// The stage as one word.
    ///
    /// ```
    /// assert_eq!(unitwait::Stage::Job.as_str(), "job");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Fork => "fork",
            Stage::Connect => "connect",
            Stage::Queued => "queued",
            Stage::Call => "call",
            Stage::Job => "job",
            Stage::Verify => "verify",
            Stage::Wait => "wait",
            Stage::HalfWay => "half-way",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
