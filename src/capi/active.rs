//! The handle of one run of a unit, for C.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int};
use std::ptr;

use super::ended::{answer_end, unitwait_ended};
use super::error::{Failure, answer, lend, quiet, unitwait_code, unitwait_error};
use super::handle::{Handle, Shared, find, give, known};
use super::list::{List, unitwait_list};
use super::pass::{Many, Out, Text, c_path, c_text, deadline, microseconds};
use super::request::{unitwait_request, update};
use super::units::whom_of;
use super::value::{answer_value, unitwait_value};
use crate::deadline::Deadline;
use crate::driver::Outcome;
use crate::error::Result;
use crate::job::StageTimes;
use crate::manager::{ActiveScope, ActiveSlice, FinishedJob};

/// One run of a scope or slice: its name, and its invocation ID. Owned by the caller; freeing it leaves the unit alone.
///
/// What is asked through it refuses with UNITWAIT_SUPERSEDED once another run has the name.
pub struct unitwait_active {
    _private: [u8; 0],
}

impl Handle for unitwait_active {
    type Object = Standing;
    const WHAT: &'static str = "active unit";
}

#[derive(Clone)]
pub(super) enum Active {
    Scope(ActiveScope),
    Slice(ActiveSlice),
}

/// Does the same with either.
macro_rules! each {
    ($active:expr, $of:ident => $it:expr) => {
        match &$active {
            Active::Scope($of) => $it,
            Active::Slice($of) => $it,
        }
    };
}

/// What is behind an active unit's handle, with the texts that it lends.
pub(super) struct Standing {
    active: Active,
    unit: CString,
    control_group: CString,
    path: Option<CString>,
    invocation: Option<CString>,
    controllers: Shared<BTreeMap<String, CString>>,
}

impl Active {
    pub fn handle(self) -> *mut unitwait_active {
        give(Standing::new(self))
    }

    pub fn hand_over(self, to: &Out<*mut unitwait_active>) {
        if to.is_wanted() {
            to.put(self.handle());
        }
    }
}

impl Standing {
    fn new(active: Active) -> Standing {
        Standing {
            unit: c_text(each!(active, of => of.unit())),
            control_group: c_text(each!(active, of => of.control_group())),
            path: each!(active, of => of.path()).map(c_path),
            invocation: each!(active, of => of.invocation_id()).map(|id| c_text(id.to_string())),
            active,
            controllers: Shared::new(BTreeMap::new()),
        }
    }

    fn scope(&self) -> std::result::Result<&ActiveScope, Failure> {
        match &self.active {
            Active::Scope(scope) => Ok(scope),
            Active::Slice(slice) => Err(Failure::invalid("active unit", slice.unit(), "this is for scopes")),
        }
    }
}

/// How long each stage of a request took, in microseconds.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct unitwait_times {
    /// From asking until it was sent.
    pub queued_us: u64,
    /// From then until systemd had accepted it.
    pub accepted_us: u64,
    /// From then until its job was done.
    pub done_us: u64,
    /// From then until the kernel was looked at.
    pub verified_us: u64,
}

/// A job that ended with `done`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct unitwait_finished {
    /// The job.
    pub job: u32,
    /// How long each stage took.
    pub times: unitwait_times,
}

fn times(of: StageTimes) -> unitwait_times {
    unitwait_times {
        queued_us: microseconds(of.queued),
        accepted_us: microseconds(of.accepted),
        done_us: microseconds(of.done),
        verified_us: microseconds(of.verified),
    }
}

pub(super) fn finished(job: &FinishedJob) -> unitwait_finished {
    unitwait_finished { job: job.id.get(), times: times(job.times) }
}

/// Answers a call that waits for a job.
pub(super) fn answer_job(
    to: Out<unitwait_finished>,
    error: Out<*mut unitwait_error>,
    wait: impl FnOnce() -> std::result::Result<FinishedJob, Failure>,
) -> unitwait_code {
    to.put(unitwait_finished::default());
    answer(error, || {
        to.put(finished(&wait()?));
        Ok(())
    })
}

/// How it came to be that a unit is there.
#[derive(Clone, Copy)]
#[repr(C)]
pub enum unitwait_outcome {
    /// It was created.
    UNITWAIT_CREATED = 0,
    /// It was there, and the processes are in it now.
    UNITWAIT_JOINED = 1,
    /// What was there was stopped, and it was created anew.
    UNITWAIT_REPLACED = 2,
    /// It was there, and was taken as it is.
    UNITWAIT_ACCEPTED = 3,
    /// It was there, and a handle to it was asked for.
    UNITWAIT_ADOPTED = 4,
}

/// The unit's name, NULL where it is no active unit's handle. The handle's own; does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_unit(active: *const unitwait_active) -> *const c_char {
    quiet(ptr::null(), || Some(known(active)?.unit.as_ptr()))
}

/// The unit's control group ("/jobs.slice/job.scope"), empty where it was gone before it could be read. As
/// unitwait_active_unit().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_control_group(active: *const unitwait_active) -> *const c_char {
    quiet(ptr::null(), || Some(known(active)?.control_group.as_ptr()))
}

/// The directory of the control group in systemd's own hierarchy, NULL where it is not known. As unitwait_active_unit().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_path(active: *const unitwait_active) -> *const c_char {
    quiet(ptr::null(), || Some(lend(known(active)?.path.as_deref())))
}

/// The directory of the control group in the hierarchy of a controller ("memory"), NULL where there is none. As
/// unitwait_active_unit().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_controller_path(
    active: *const unitwait_active,
    controller: Text,
) -> *const c_char {
    quiet(ptr::null(), || {
        let (standing, controller) = (known(active)?, controller.get("controller").ok()?);
        let path = c_path(each!(standing.active, of => of.controller_path(controller))?);
        // What was lent stays where it is.
        Some(standing.controllers.with(|known| known.entry(controller.into()).or_insert(path).as_ptr()))
    })
}

/// The run's invocation ID, 32 hexadecimal digits; NULL where the run was over before it could be read. As
/// unitwait_active_unit().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_invocation_id(active: *const unitwait_active) -> *const c_char {
    quiet(ptr::null(), || Some(lend(known(active)?.invocation.as_deref())))
}

/// Over how many child slices its slice was spread when it was created, 0 where it was not. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_spread(active: *const unitwait_active) -> u32 {
    quiet(0, || known(active)?.scope().ok()?.spread())
}

/// How it came to be there; UNITWAIT_CREATED where it is no active unit's handle. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_outcome(active: *const unitwait_active) -> unitwait_outcome {
    use unitwait_outcome::*;
    quiet(UNITWAIT_CREATED, || {
        Some(match each!(known(active)?.active, of => of.outcome()) {
            Outcome::Created => UNITWAIT_CREATED,
            Outcome::Joined => UNITWAIT_JOINED,
            Outcome::Replaced => UNITWAIT_REPLACED,
            Outcome::Accepted => UNITWAIT_ACCEPTED,
            Outcome::Adopted => UNITWAIT_ADOPTED,
        })
    })
}

/// The job that created it and how long its stages took; all 0 where there was none. False where it is no active unit's
/// handle. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_job(active: *const unitwait_active, job: Out<unitwait_finished>) -> bool {
    let found = quiet(None, || {
        let standing = known(active)?;
        let number = each!(standing.active, of => of.job()).map_or(0, crate::job::JobId::get);
        Some(Some(unitwait_finished { job: number, times: times(each!(standing.active, of => of.stages())) }))
    });
    job.put(found.unwrap_or_default());
    found.is_some()
}

/// The limits that were asked for when it was created and that the kernel does not hold: a row for each, with
/// UNITWAIT_FIELD_MESSAGE, _PROPERTY, _ASKED, _REASON and, where there are any, _FOUND and _FILE. NULL where it is no
/// active unit's handle. The caller's to free; does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_limit_gaps(active: *const unitwait_active) -> *mut unitwait_list {
    quiet(ptr::null_mut(), || Some(give(List::of_gaps(each!(known(active)?.active, of => of.limit_gaps())))))
}

/// The optional properties that systemd does not know and that were left out: a row for each, with
/// UNITWAIT_FIELD_PROPERTY. As unitwait_active_limit_gaps().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_left_out(active: *const unitwait_active) -> *mut unitwait_list {
    quiet(ptr::null_mut(), || Some(give(List::of_names(each!(known(active)?.active, of => of.left_out())))))
}

/// Stops this run, and waits until its processes are gone; what the job was goes to `job`, which may be NULL. Blocks
/// until then, or for the timeout, after which the stop goes on.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_stop(
    active: *const unitwait_active,
    timeout_ms: i64,
    job: Out<unitwait_finished>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    answer_job(job, error, || {
        let (standing, by) = (find(active)?, deadline(timeout_ms)?);
        Ok(each!(standing.active, of => of.stop(by))?)
    })
}

/// Sends a signal to the run's processes, of enum unitwait_whom. Blocks until systemd has sent it, or for the timeout. A
/// retry sends it again.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_kill(
    active: *const unitwait_active,
    whom: c_int,
    signal: c_int,
    timeout_ms: i64,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    on_run(active, timeout_ms, error, |active, by| {
        let whom = whom_of(whom)?;
        Ok(each!(*active, of => of.kill(whom, signal, by))?)
    })
}

/// Kills all processes of the run, those of its sub-groups too, until none is left. Blocks until then, or for the
/// timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_kill_all(
    active: *const unitwait_active,
    timeout_ms: i64,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    on_run(active, timeout_ms, error, |active, by| Ok(each!(*active, of => of.kill_all(by))?))
}

/// Waits until the run's control group has no process. Blocks until then, or for the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_wait_empty(
    active: *const unitwait_active,
    timeout_ms: i64,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    on_run(active, timeout_ms, error, |active, by| Ok(each!(*active, of => of.wait_empty(by))?))
}

/// Freezes the run's processes, and waits until the kernel says so. Blocks until then, or for the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_freeze(
    active: *const unitwait_active,
    timeout_ms: i64,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    on_run(active, timeout_ms, error, |active, by| Ok(each!(*active, of => of.freeze(by))?))
}

/// Thaws the run's processes. As unitwait_active_freeze().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_thaw(
    active: *const unitwait_active,
    timeout_ms: i64,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    on_run(active, timeout_ms, error, |active, by| Ok(each!(*active, of => of.thaw(by))?))
}

fn on_run(
    active: *const unitwait_active,
    timeout_ms: i64,
    error: Out<*mut unitwait_error>,
    verb: impl FnOnce(&Active, Deadline) -> std::result::Result<(), Failure>,
) -> unitwait_code {
    answer(error, || verb(&find(active)?.active, deadline(timeout_ms)?))
}

/// Changes the run by an update, as unitwait_set_unit().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_set(
    active: *const unitwait_active,
    request: *const unitwait_request,
    timeout_ms: i64,
    gaps: Out<*mut unitwait_list>,
    left_out: Out<*mut unitwait_list>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    List::answer_change(gaps, left_out, error, || {
        let (standing, update, by) = (find(active)?, update(request)?, deadline(timeout_ms)?);
        Ok(each!(standing.active, of => of.set(&update, by))?)
    })
}

/// Reads one property of the run, as unitwait_property().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_property(
    active: *const unitwait_active,
    property: Text,
    timeout_ms: i64,
    value: Out<*mut unitwait_value>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    answer_value(value, error, || {
        let (standing, name, by) = (find(active)?, property.get("property")?, deadline(timeout_ms)?);
        Ok(each!(standing.active, of => of.property(name, by))?)
    })
}

/// Reads all properties of the run, as unitwait_properties().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_properties(
    active: *const unitwait_active,
    timeout_ms: i64,
    properties: Out<*mut unitwait_list>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    listed(active, timeout_ms, properties, error, |active, by| {
        Ok(List::of_properties(each!(*active, of => of.properties(by))?))
    })
}

/// Compares what was asked for through this handle with what the kernel holds, as unitwait_audit_unit().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_audit(
    active: *const unitwait_active,
    timeout_ms: i64,
    findings: Out<*mut unitwait_list>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    listed(active, timeout_ms, findings, error, |active, by| {
        Ok(List::of_findings(&each!(*active, of => of.audit(by))?.findings))
    })
}

fn listed(
    active: *const unitwait_active,
    timeout_ms: i64,
    to: Out<*mut unitwait_list>,
    error: Out<*mut unitwait_error>,
    read: impl FnOnce(&Active, Deadline) -> Result<List>,
) -> unitwait_code {
    List::answer(to, error, || Ok(read(&find(active)?.active, deadline(timeout_ms)?)?))
}

/// The processes of the run, those of its sub-groups too, as the kernel has them: a row for each, with
/// UNITWAIT_FIELD_PID. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_processes(
    active: *const unitwait_active,
    processes: Out<*mut unitwait_list>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    listed(active, -1, processes, error, |active, _| {
        Ok(List::of_pids(&each!(*active, of => of.processes())?))
    })
}

/// Waits for the end of the run; how it ended goes to `end`, which may be NULL. Blocks until then, or for the timeout.
///
/// systemd learns no exit status of a scope's processes, and forgets most of the rest with the run: a wait that is there
/// when the end comes can tell a stop from an end by itself, one that comes later is told UNITWAIT_ENDED_UNKNOWN. Signals
/// and statuses are told of children that were spawned here, by unitwait_child_wait_all().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_wait(
    active: *const unitwait_active,
    timeout_ms: i64,
    end: Out<unitwait_ended>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    answer_end(end, error, || {
        let (standing, by) = (find(active)?, deadline(timeout_ms)?);
        Ok(each!(standing.active, of => of.wait(by))?)
    })
}

/// Scopes: has processes join the run, which must be delegated; into the sub-group of its control group that is named,
/// or into its own where that is NULL. Blocks until they are in it, or for the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_active_attach(
    active: *const unitwait_active,
    subgroup: Text,
    pids: Many<u32>,
    length: usize,
    timeout_ms: i64,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    answer(error, || {
        let (standing, by) = (find(active)?, deadline(timeout_ms)?);
        let (scope, pids) = (standing.scope()?, pids.get(length, "PIDs")?.iter().copied());
        match subgroup.optional("sub-group")? {
            Some(subgroup) => scope.attach_to(subgroup, pids, by)?,
            None => scope.attach(pids, by)?,
        }
        Ok(())
    })
}
