//! By what a new unit's processes are named: by pidfd where kernel, connection and systemd can, by number elsewhere.
//!
//! A number may be given to another process while a request waits; a pidfd means one process for ever. Pidfds are
//! opened when the call is sent, and closed once it is: what waits in line holds none.

use std::borrow::Cow;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dbus::Message;

use crate::cgroup::Process;
use crate::systemd1::{self, BusError, Call, Members};
use crate::unit::name;

/// dbus-daemon's own limit on the descriptors in one message (`max_message_unix_fds`, `dbus-daemon(1)`).
const MOST: usize = 16;

/// A fraction of what a create takes.
const FRESH: Duration = Duration::from_micros(500);

/// Whether this manager was seen to know no pidfds: asked once, and remembered for all its requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct PidfdsUnknown(Arc<AtomicBool>);

/// How one creation names its processes.
#[derive(Debug)]
pub(super) struct Naming {
    unknown: PidfdsUnknown,
    by_pidfd: bool,
}

impl Naming {
    pub(super) fn new(unknown: PidfdsUnknown, processes: &[Process]) -> Naming {
        let is_possible = !are_own(processes) && processes.len() <= MOST;
        let by_pidfd = is_possible && !unknown.0.load(Ordering::Relaxed);
        Naming { unknown, by_pidfd }
    }

    pub(super) fn by_pidfd(&self) -> bool {
        self.by_pidfd
    }

    /// Whether it was named by pidfd before it was known that this manager refuses that.
    pub(super) fn is_to_fall_back(&self) -> bool {
        self.by_pidfd && self.unknown.0.load(Ordering::Relaxed)
    }

    /// Whether a refusal was for the pidfds, so that the same creation is to be asked for once more, by number.
    pub(super) fn falls_back(&mut self, refusal: &BusError) -> bool {
        let unknown = says_unknown(refusal);
        // What a bus says where too many descriptors, of whomever, are on their way to the manager.
        if !self.by_pidfd || !(unknown || refusal.name == systemd1::LIMITS_EXCEEDED) {
            return false;
        }
        if unknown {
            log::debug!("this systemd places processes by number alone: {}", refusal.message);
            self.unknown.0.store(true, Ordering::Relaxed);
        }
        self.by_pidfd = false;
        true
    }
}

/// Told by the error's name; the text only says which of the request's properties is meant.
fn says_unknown(refusal: &BusError) -> bool {
    let name = name::after_last(&refusal.name, b'.').unwrap_or_default();
    let mut words = refusal.message.split(|c: char| !c.is_ascii_alphanumeric());
    matches!(name, "PropertyReadOnly" | "UnknownProperty") && words.any(|word| word == systemd1::PIDFDS)
}

/// The pidfds of a call's processes; none where it does not name them so, or a descriptor is not to be had. A process
/// that has ended since it was looked up is an error in either case: its number may be another's by now.
pub(super) fn pidfds(call: &Call) -> Result<Vec<File>, BusError> {
    let Call::StartTransient { members, .. } = call else { return Ok(Vec::new()) };
    let mut pidfds = Vec::new();
    for process in &members.processes {
        if members.by_pidfd {
            pidfds.extend(process.pidfd().map_err(|_| has_ended(*process))?.map(File::from));
        } else if !is_fresh(members) && !process.has_its_number() {
            return Err(has_ended(*process));
        }
    }
    let complete = pidfds.len() == members.processes.len();
    Ok(if complete { pidfds } else { Vec::new() })
}

/// Whether numbers were looked at so short a time ago that to look again would tell no more: the message is under way
/// for as long, when nobody can look. Whose they were in the end is seen once the job is done.
fn is_fresh(members: &Members) -> bool {
    members.seen.elapsed() < FRESH || are_own(&members.processes)
}

/// Whether they are the process that asks, whose number is its own for as long as it asks.
fn are_own(processes: &[Process]) -> bool {
    processes.iter().all(|process| process.pid == std::process::id())
}

fn has_ended(process: Process) -> BusError {
    let message = format!("process {} has ended", process.pid);
    BusError { name: systemd1::NO_SUCH_PROCESS.into(), message }
}

/// The call's message with these pidfds; `None` where there are none, or no room for copies.
pub(super) fn message(call: &Call, serial: u32, pidfds: &[File]) -> Option<Message> {
    // The message takes copies, and the crate `dbus` panics where it cannot have them. So as many descriptors as it
    // will need are seen to be free; where another thread is quicker than that, the processes are named by number.
    let copies = pidfds.iter().map(File::try_clone).collect::<Result<Vec<_>, _>>().ok()?;
    drop(copies);
    let build = || call.to_message(serial, pidfds);
    if pidfds.is_empty() { None } else { catch_unwind(AssertUnwindSafe(build)).ok() }
}

/// The call with its processes named by numbers that are theirs where the manager is as well. In another PID namespace
/// a number would be a stranger's; only the sender itself has a name there, 0, for the kernel tells the manager who
/// that is.
pub(super) fn by_number(
    call: &Call,
    counts_otherwise: impl FnOnce() -> bool,
) -> Result<Cow<'_, Call>, BusError> {
    if !names_processes(call) || !counts_otherwise() {
        return Ok(Cow::Borrowed(call));
    }
    let mut call = call.clone();
    let numbers: Vec<&mut u32> = match &mut call {
        Call::StartTransient { members, .. } => {
            members.processes.iter_mut().map(|process| &mut process.pid).collect()
        }
        Call::Attach { pids, .. } | Call::RunAttach { pids, .. } => pids.iter_mut().collect(),
        Call::UnitByPid(pid) => vec![pid],
        _ => Vec::new(),
    };
    for number in numbers {
        if *number != std::process::id() {
            let message =
                format!("the manager is in another PID namespace, where process {number} is somebody else");
            return Err(BusError { name: systemd1::NOT_SUPPORTED.into(), message });
        }
        *number = 0;
    }
    Ok(Cow::Owned(call))
}

fn names_processes(call: &Call) -> bool {
    match call {
        Call::StartTransient { members, .. } => !members.processes.is_empty(),
        Call::Attach { .. } | Call::RunAttach { .. } | Call::UnitByPid(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, message: &str) -> BusError {
        BusError { name: format!("org.freedesktop.DBus.Error.{name}"), message: message.into() }
    }

    /// How so many processes that are not this one are named.
    fn of(unknown: &PidfdsUnknown, processes: usize) -> Naming {
        let other = Process { pid: std::process::id() + 1, started: 0 };
        Naming::new(unknown.clone(), &vec![other; processes])
    }

    #[test]
    fn the_process_that_asks_is_named_by_its_number() {
        let own = Process { pid: std::process::id(), started: 0 };
        assert!(!Naming::new(PidfdsUnknown::default(), &[own]).by_pidfd());
    }

    #[test]
    fn a_manager_that_does_not_know_pidfds_is_asked_with_them_once_and_each_request_falls_back_once() {
        let unknown = PidfdsUnknown::default();
        let old = refusal("PropertyReadOnly", "Cannot set property PIDFDs, or unknown property.");
        assert!(says_unknown(&BusError::no_pidfds("the bus says so".into())));
        let (mut first, mut second) = (of(&unknown, 1), of(&unknown, 16));
        for naming in [&mut first, &mut second] {
            assert!(naming.by_pidfd());
            assert!(naming.falls_back(&old) && !naming.by_pidfd());
            assert!(!naming.falls_back(&old), "it is asked for by number now");
        }
        assert!(!of(&unknown, 1).by_pidfd());
    }

    #[test]
    fn a_refusal_for_another_reason_is_no_reason_to_ask_again() {
        let unknown = PidfdsUnknown::default();
        for other in [
            refusal("PropertyReadOnly", "Cannot set property Nonsense, or unknown property."),
            refusal("InvalidArgs", "PIDFDs"),
            refusal("NotSupported", "a property of another kind"),
            refusal("AccessDenied", "Access denied"),
        ] {
            assert!(!of(&unknown, 1).falls_back(&other), "{other:?}");
        }
        assert!(of(&unknown, 1).by_pidfd());
    }

    #[test]
    fn where_numbers_are_strangers_only_the_sender_is_named() {
        let own = std::process::id();
        let attach = |pids: &[u32]| Call::Attach { unit: "a.scope".into(), pids: pids.into() };
        assert_eq!(*by_number(&attach(&[own]), || true).unwrap(), attach(&[0]));
        assert_eq!(*by_number(&attach(&[own, 7]), || false).unwrap(), attach(&[own, 7]));
        assert_eq!(by_number(&attach(&[own, 7]), || true).unwrap_err().name, systemd1::NOT_SUPPORTED);
        assert_eq!(by_number(&Call::UnitByPid(7), || true).unwrap_err().name, systemd1::NOT_SUPPORTED);
        by_number(&Call::Ping, || panic!("nothing is named")).unwrap();
    }

    #[test]
    fn what_a_bus_cannot_carry_now_is_asked_for_by_number_and_the_next_by_pidfd_again() {
        let unknown = PidfdsUnknown::default();
        assert!(of(&unknown, 1).falls_back(&refusal("LimitsExceeded", "")));
        assert!(of(&unknown, 1).by_pidfd());
        assert!(!of(&unknown, MOST + 1).by_pidfd(), "no bus passes that many");
        assert!(!of(&unknown, 0).by_pidfd(), "a slice has no processes");
    }
}
