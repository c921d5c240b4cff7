//! Errors on their way to C: a number to branch on, and an object with the rest.

use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use super::handle::{self, Handle, give, known};
use super::list::{List, unitwait_list};
use super::pass::{Out, c_text};
use crate::error::{Error, Stage};

/// What went wrong, with all that is known of it. Owned by the caller.
pub struct unitwait_error {
    _private: [u8; 0],
}

impl Handle for unitwait_error {
    type Object = Failure;
    const WHAT: &'static str = "error";
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum unitwait_code {
    /// It went well.
    UNITWAIT_OK = 0,
    /// The request itself is wrong; nothing was sent and nothing has changed. Handles that were freed are told so too.
    UNITWAIT_INVALID_INPUT = 1,
    /// No connection to the manager could be made.
    UNITWAIT_CONNECT = 2,
    /// systemd or the bus refused for want of rights.
    UNITWAIT_ACCESS_DENIED = 3,
    /// A unit of that name is there already.
    UNITWAIT_UNIT_EXISTS = 4,
    /// No unit of that name is loaded, or the run that a handle means is over.
    UNITWAIT_NO_SUCH_UNIT = 5,
    /// The handle's run is over, and another has its name; that one was not touched.
    UNITWAIT_SUPERSEDED = 6,
    /// A process that was to be placed is not there (any more).
    UNITWAIT_NO_SUCH_PROCESS = 7,
    /// systemd does not know a property, or does not let it be set on this kind of unit.
    UNITWAIT_UNKNOWN_PROPERTY = 8,
    /// No such job is queued or running.
    UNITWAIT_NO_SUCH_JOB = 9,
    /// The job ended, and not with `done`.
    UNITWAIT_JOB_FAILED = 10,
    /// The deadline came first. The error's stage says how far the request was.
    UNITWAIT_TIMEOUT = 11,
    /// The connection ended while the request was under way.
    UNITWAIT_DISCONNECTED = 12,
    /// The job is done, and the kernel has processes elsewhere: unitwait_error_details() says where.
    UNITWAIT_MISPLACED = 13,
    /// A condition of the unit was not met, so systemd did not start it.
    UNITWAIT_CONDITION_UNMET = 14,
    /// Limits were required, and the kernel does not hold them: unitwait_error_details() says which.
    UNITWAIT_LIMIT = 15,
    /// Processes can join a running unit only where it is delegated, and it is not.
    UNITWAIT_NOT_DELEGATED = 16,
    /// The unit has no control group of that name below its own.
    UNITWAIT_NO_SUCH_CONTROL_GROUP = 17,
    /// It cannot be done to this unit, or on this machine's layout of control groups.
    UNITWAIT_UNSUPPORTED = 18,
    /// To replace the unit would kill a process that is to be placed in it.
    UNITWAIT_WOULD_KILL = 19,
    /// The command could not be executed; nothing of it has run.
    UNITWAIT_EXEC = 20,
    /// The handle's manager was opened by another process, before a fork.
    UNITWAIT_FORKED = 21,
    /// The manager's thread is gone, or the ticket's answer was taken.
    UNITWAIT_CLOSED = 22,
    /// The operating system refused something: unitwait_error_errno() says what.
    UNITWAIT_SYSTEM = 23,
    /// Any other D-Bus error: unitwait_error_dbus_name() says which.
    UNITWAIT_DBUS = 24,
    /// systemd answered with a message of another form than it documents.
    UNITWAIT_PROTOCOL = 25,
    /// The program was built with a header of another ABI than the library's.
    UNITWAIT_ABI_MISMATCH = 26,
    /// A fault of this library's own, stopped at its boundary.
    UNITWAIT_INTERNAL = 27,
    /// The end has not come yet: a ticket's answer, a child's exit. It is no fault, and there is no error object.
    UNITWAIT_PENDING = 28,
}

use unitwait_code::*;

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum unitwait_stage {
    /// It matters to no such error.
    UNITWAIT_STAGE_NONE = 0,
    /// The command's child was not yet at the door.
    UNITWAIT_STAGE_FORK = 1,
    /// There was no connection yet, or the driver had not looked at it.
    UNITWAIT_STAGE_CONNECT = 2,
    /// It waited in line for its turn; nothing was sent.
    UNITWAIT_STAGE_QUEUED = 3,
    /// It was sent, and systemd had not answered.
    UNITWAIT_STAGE_CALL = 4,
    /// systemd accepted it, and its job was not over.
    UNITWAIT_STAGE_JOB = 5,
    /// The job was done, and the kernel was being looked at.
    UNITWAIT_STAGE_VERIFY = 6,
    /// The end of something was being waited for.
    UNITWAIT_STAGE_WAIT = 7,
    /// Some of its steps may have been carried out, and the next waited in line.
    UNITWAIT_STAGE_HALF_WAY = 8,
}

pub(super) fn stage(of: Stage) -> unitwait_stage {
    use unitwait_stage::*;
    match of {
        Stage::Fork => UNITWAIT_STAGE_FORK,
        Stage::Connect => UNITWAIT_STAGE_CONNECT,
        Stage::Queued => UNITWAIT_STAGE_QUEUED,
        Stage::Call => UNITWAIT_STAGE_CALL,
        Stage::Job => UNITWAIT_STAGE_JOB,
        Stage::Verify => UNITWAIT_STAGE_VERIFY,
        Stage::Wait => UNITWAIT_STAGE_WAIT,
        Stage::HalfWay => UNITWAIT_STAGE_HALF_WAY,
    }
}

/// What is behind an error's handle.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub code: unitwait_code,
    message: CString,
    dbus_name: Option<CString>,
    unit: Option<CString>,
    operation: Option<CString>,
    stage: unitwait_stage,
    job: u32,
    job_result: Option<CString>,
    errno: c_int,
    details: Option<List>,
}

impl Failure {
    pub fn new(code: unitwait_code, message: &str) -> Failure {
        Failure {
            code,
            message: c_text(message),
            dbus_name: None,
            unit: None,
            operation: None,
            stage: unitwait_stage::UNITWAIT_STAGE_NONE,
            job: 0,
            job_result: None,
            errno: 0,
            details: None,
        }
    }

    /// What was asked for has not come yet.
    pub fn pending() -> Failure {
        Failure::new(UNITWAIT_PENDING, "")
    }

    /// Something that was given is wrong.
    pub fn invalid(what: &'static str, given: &str, reason: &str) -> Failure {
        Error::invalid(what, given, reason).into()
    }

    fn panicked(panic: &(dyn Any + Send)) -> Failure {
        let said = panic.downcast_ref::<&str>().copied();
        let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        log::error!("a panic was stopped at the boundary to C: {}", said.unwrap_or("it says nothing"));
        Failure::new(UNITWAIT_INTERNAL, "unitwait has a fault (please report it): its log says which")
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let text = |text: Option<&str>| text.map(c_text);
        Failure {
            code: code(&error),
            message: c_text(error.to_string()),
            dbus_name: text(error.dbus_name()),
            unit: text(error.unit()),
            operation: text(error.asked().map(|asked| asked.operation.as_str())),
            stage: error.stage().map_or(unitwait_stage::UNITWAIT_STAGE_NONE, stage),
            job: error.job().map_or(0, crate::job::JobId::get),
            job_result: match &error {
                Error::JobFailed { result, .. } => Some(c_text(result.as_str())),
                _ => None,
            },
            errno: match &error {
                Error::System { source, .. } | Error::Exec { source, .. } => {
                    source.raw_os_error().unwrap_or_default()
                }
                _ => 0,
            },
            details: match &error {
                Error::Limit { gaps, .. } => Some(List::of_gaps(gaps)),
                Error::Misplaced { processes, .. } => Some(List::of_misplaced(processes)),
                _ => None,
            },
        }
    }
}

fn code(error: &Error) -> unitwait_code {
    match error {
        Error::InvalidInput { .. } => UNITWAIT_INVALID_INPUT,
        Error::Connect { .. } => UNITWAIT_CONNECT,
        Error::AccessDenied { .. } => UNITWAIT_ACCESS_DENIED,
        Error::UnitExists { .. } => UNITWAIT_UNIT_EXISTS,
        Error::NoSuchUnit { .. } => UNITWAIT_NO_SUCH_UNIT,
        Error::Superseded { .. } => UNITWAIT_SUPERSEDED,
        Error::NoSuchProcess { .. } => UNITWAIT_NO_SUCH_PROCESS,
        Error::UnknownProperty { .. } => UNITWAIT_UNKNOWN_PROPERTY,
        Error::NoSuchJob { .. } => UNITWAIT_NO_SUCH_JOB,
        Error::JobFailed { .. } => UNITWAIT_JOB_FAILED,
        Error::Timeout { .. } => UNITWAIT_TIMEOUT,
        Error::Disconnected { .. } => UNITWAIT_DISCONNECTED,
        Error::Misplaced { .. } => UNITWAIT_MISPLACED,
        Error::ConditionUnmet { .. } => UNITWAIT_CONDITION_UNMET,
        Error::Limit { .. } => UNITWAIT_LIMIT,
        Error::NotDelegated { .. } => UNITWAIT_NOT_DELEGATED,
        Error::NoSuchControlGroup { .. } => UNITWAIT_NO_SUCH_CONTROL_GROUP,
        Error::Unsupported { .. } => UNITWAIT_UNSUPPORTED,
        Error::WouldKill { .. } => UNITWAIT_WOULD_KILL,
        Error::Exec { .. } => UNITWAIT_EXEC,
        Error::Forked => UNITWAIT_FORKED,
        Error::Closed { .. } => UNITWAIT_CLOSED,
        Error::System { .. } => UNITWAIT_SYSTEM,
        Error::Dbus { .. } => UNITWAIT_DBUS,
        Error::Protocol { .. } => UNITWAIT_PROTOCOL,
    }
}

/// Runs the body of a call: no panic passes, and what went wrong goes to the caller's place for it.
pub(super) fn answer(
    error: Out<*mut unitwait_error>,
    body: impl FnOnce() -> Result<(), Failure>,
) -> unitwait_code {
    let ended = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(Failure::panicked(&*panic)));
    let Err(failure) = ended else {
        error.put(ptr::null_mut());
        return UNITWAIT_OK;
    };
    let code = failure.code;
    error.put(if error.is_wanted() && code != UNITWAIT_PENDING { give(failure) } else { ptr::null_mut() });
    code
}

/// Runs the body of a function that has nothing to say where it fails.
pub(super) fn quiet<T>(otherwise: T, body: impl FnOnce() -> Option<T>) -> T {
    catch_unwind(AssertUnwindSafe(body)).ok().flatten().unwrap_or(otherwise)
}

/// A text of an object's, which lives as long as the object; `None` is NULL.
pub(super) fn lend(text: Option<&CStr>) -> *const c_char {
    text.map_or(ptr::null(), CStr::as_ptr)
}

fn text_of(error: *const unitwait_error, text: fn(&Failure) -> Option<&CString>) -> *const c_char {
    quiet(ptr::null(), || Some(lend(text(&*known(error)?).map(CString::as_c_str))))
}

/// What kind of error it is; UNITWAIT_INVALID_INPUT where it is no error's handle. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_error_code(error: *const unitwait_error) -> unitwait_code {
    quiet(UNITWAIT_INVALID_INPUT, || Some(known(error)?.code))
}

/// One line for people: what was asked, how far it came, why it failed and what can be done. Never NULL: where it is no
/// error's handle it says so. The error's own; does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_error_message(error: *const unitwait_error) -> *const c_char {
    let message = text_of(error, |failure| Some(&failure.message));
    if message.is_null() { c"no error".as_ptr() } else { message }
}

/// The name of a code of enum unitwait_code ("timeout", "unit-exists", …), for logs; never NULL, and as long-lived as the
/// program. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_code_name(code: c_int) -> *const c_char {
    const NAMES: [(unitwait_code, &CStr); 29] = [
        (UNITWAIT_OK, c"ok"),
        (UNITWAIT_INVALID_INPUT, c"invalid-input"),
        (UNITWAIT_CONNECT, c"connect"),
        (UNITWAIT_ACCESS_DENIED, c"access-denied"),
        (UNITWAIT_UNIT_EXISTS, c"unit-exists"),
        (UNITWAIT_NO_SUCH_UNIT, c"no-such-unit"),
        (UNITWAIT_SUPERSEDED, c"superseded"),
        (UNITWAIT_NO_SUCH_PROCESS, c"no-such-process"),
        (UNITWAIT_UNKNOWN_PROPERTY, c"unknown-property"),
        (UNITWAIT_NO_SUCH_JOB, c"no-such-job"),
        (UNITWAIT_JOB_FAILED, c"job-failed"),
        (UNITWAIT_TIMEOUT, c"timeout"),
        (UNITWAIT_DISCONNECTED, c"disconnected"),
        (UNITWAIT_MISPLACED, c"misplaced"),
        (UNITWAIT_CONDITION_UNMET, c"condition-unmet"),
        (UNITWAIT_LIMIT, c"limit"),
        (UNITWAIT_NOT_DELEGATED, c"not-delegated"),
        (UNITWAIT_NO_SUCH_CONTROL_GROUP, c"no-such-control-group"),
        (UNITWAIT_UNSUPPORTED, c"unsupported"),
        (UNITWAIT_WOULD_KILL, c"would-kill"),
        (UNITWAIT_EXEC, c"exec"),
        (UNITWAIT_FORKED, c"forked"),
        (UNITWAIT_CLOSED, c"closed"),
        (UNITWAIT_SYSTEM, c"system"),
        (UNITWAIT_DBUS, c"dbus"),
        (UNITWAIT_PROTOCOL, c"protocol"),
        (UNITWAIT_ABI_MISMATCH, c"abi-mismatch"),
        (UNITWAIT_INTERNAL, c"internal"),
        (UNITWAIT_PENDING, c"pending"),
    ];
    let known = NAMES.iter().find(|(known, _)| *known as c_int == code);
    known.map_or(c"unknown", |(_, name)| name).as_ptr()
}

/// The name of the D-Bus error behind it, NULL where there is none. The error's own; does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_error_dbus_name(error: *const unitwait_error) -> *const c_char {
    text_of(error, |failure| failure.dbus_name.as_ref())
}

/// The unit that was meant, NULL where there is none. The error's own; does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_error_unit(error: *const unitwait_error) -> *const c_char {
    text_of(error, |failure| failure.unit.as_ref())
}

/// What was asked, in words ("create scope"), NULL where it is not known. The error's own; does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_error_operation(error: *const unitwait_error) -> *const c_char {
    text_of(error, |failure| failure.operation.as_ref())
}

/// How far the request came, for UNITWAIT_TIMEOUT and UNITWAIT_DISCONNECTED. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_error_stage(error: *const unitwait_error) -> unitwait_stage {
    quiet(unitwait_stage::UNITWAIT_STAGE_NONE, || Some(known(error)?.stage))
}

/// The job that systemd made for the request, 0 where there is none. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_error_job(error: *const unitwait_error) -> u32 {
    quiet(0, || Some(known(error)?.job))
}

/// How the job ended, in systemd's word ("failed", "timeout", "canceled", …), for UNITWAIT_JOB_FAILED; NULL for other
/// errors. The error's own; does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_error_job_result(error: *const unitwait_error) -> *const c_char {
    text_of(error, |failure| failure.job_result.as_ref())
}

/// The operating system's number for it (as errno has them), 0 where there is none. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_error_errno(error: *const unitwait_error) -> c_int {
    quiet(0, || Some(known(error)?.errno))
}

/// The limits that do not hold (UNITWAIT_LIMIT) or the processes that are elsewhere (UNITWAIT_MISPLACED), as
/// unitwait_active_limit_gaps() and unitwait_audit_unit() list them; NULL for other errors. The caller's to free; does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_error_details(error: *const unitwait_error) -> *mut unitwait_list {
    quiet(ptr::null_mut(), || Some(give(known(error)?.details.clone()?)))
}

/// Gives any handle of this library back. NULL is nothing to do. What is under way over a handle goes on: a ticket's
/// request, a child's process and a unit stay as they are. Blocks for little more than a second at the most, where the last handle
/// of a manager goes and its thread with it. Every thread may call it, in a child of a fork as well.
///
/// UNITWAIT_INVALID_INPUT where it was freed already or is none of this library's: nothing is touched then.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_free(handle: *mut std::ffi::c_void) -> unitwait_code {
    let freed = catch_unwind(|| handle::free(handle));
    freed.map_or(UNITWAIT_INTERNAL, |freed| freed.map_or_else(|failure| failure.code, |()| UNITWAIT_OK))
}

/// How many handles are not freed yet, for a program's own tests. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_open_handles() -> usize {
    handle::count()
}
