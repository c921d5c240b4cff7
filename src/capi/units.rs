//! What C asks of a manager about units by their names.

use std::ffi::c_int;
use std::ptr;

use super::active::{Active, answer_job, unitwait_active, unitwait_finished};
use super::error::{Failure, answer, unitwait_code, unitwait_error};
use super::handle::find;
use super::list::{List, unitwait_list};
use super::manager::unitwait_manager;
use super::pass::{Many, Numbered, Out, Text, check_length, deadline, one_of, texts};
use super::request::{Asks, asks, scope, unitwait_request, update};
use super::value::{answer_value, unitwait_value};
use crate::deadline::Deadline;
use crate::error::Result;
use crate::job::JobId;
use crate::manager::{FinishedJob, Manager};
use crate::unit::{KillWhom, Scope};

/// Creates a scope or slice, waits for its job, and sees that the kernel has the processes in it. Where the handle is
/// not wanted, its place may be NULL.
///
/// Blocks until then, or for the timeout. After UNITWAIT_TIMEOUT a job that is still queued is cancelled, and a scope
/// that comes up late is left standing: a retry is safe, and answers UNITWAIT_UNIT_EXISTS where the first try came
/// through.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_create(
    manager: *const unitwait_manager,
    request: *const unitwait_request,
    timeout_ms: i64,
    active: Out<*mut unitwait_active>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    active.put(ptr::null_mut());
    answer(error, || {
        let (opened, deadline) = (find(manager)?, deadline(timeout_ms)?);
        let created = match asks(request)? {
            Asks::Scope(scope) => Active::Scope(opened.manager.create_scope(&scope, deadline)?),
            Asks::Slice(slice) => Active::Slice(opened.manager.create_slice(&slice, deadline)?),
            other => return Err(other.wrong("scopes and slices")),
        };
        created.hand_over(&active);
        Ok(())
    })
}

/// Creates scopes, all of them under way at once, and waits for them: one outcome for each. Into each place of `actives`
/// and of `errors`, arrays of as many as there are requests, comes a handle or NULL; either array may be NULL.
/// UNITWAIT_OK where all came up, else the code of the first that did not. `error` is for what refuses the call as a
/// whole: no manager, no timeout, too many requests.
///
/// Blocks until the last outcome is there, or for the timeout, which is one for all. Requests that are no scopes are
/// refused by themselves.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_create_scopes(
    manager: *const unitwait_manager,
    requests: Many<*mut unitwait_request>,
    length: usize,
    timeout_ms: i64,
    actives: Out<*mut unitwait_active>,
    errors: Out<*mut unitwait_error>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    let mut first = unitwait_code::UNITWAIT_OK;
    let whole = answer(error, || {
        check_length(length, "requests")?;
        for at in 0..length {
            actives.at(at).put(ptr::null_mut());
            errors.at(at).put(ptr::null_mut());
        }
        let (opened, deadline) = (find(manager)?, deadline(timeout_ms)?);
        let asked = requests.get(length, "requests")?.iter().map(|request| scope(*request));
        let asked: Vec<std::result::Result<Scope, Failure>> = asked.collect();
        let sound = asked.iter().filter_map(|scope| scope.as_ref().ok());
        let mut created = opened.manager.create_scopes(sound, deadline).into_iter();
        for (at, scope) in asked.into_iter().enumerate() {
            let outcome = scope
                .and_then(|_| created.next().unwrap_or(Err(crate::driver::closed())).map_err(Failure::from));
            let code = answer(errors.at(at), || {
                Active::Scope(outcome?).hand_over(&actives.at(at));
                Ok(())
            });
            if first == unitwait_code::UNITWAIT_OK {
                first = code;
            }
        }
        Ok(())
    });
    if whole == unitwait_code::UNITWAIT_OK { first } else { whole }
}

/// A handle to a scope or slice that is there: another process's, or one's own after a restart. Blocks until systemd has
/// answered, or for the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_adopt(
    manager: *const unitwait_manager,
    unit: Text,
    timeout_ms: i64,
    active: Out<*mut unitwait_active>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    active.put(ptr::null_mut());
    answer(error, || {
        let (opened, unit, deadline) = (find(manager)?, unit.get("unit name")?, deadline(timeout_ms)?);
        active.needed("active")?;
        let adopted = if unit.ends_with(".slice") {
            Active::Slice(opened.manager.adopt_slice(unit, deadline)?)
        } else {
            Active::Scope(opened.manager.adopt_scope(unit, deadline)?)
        };
        adopted.hand_over(&active);
        Ok(())
    })
}

/// Starts a unit by its name and waits for the job; what it was goes to `finished`, which may be NULL. Blocks until
/// then, or for the timeout, after which the job goes on.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_start_unit(
    manager: *const unitwait_manager,
    unit: Text,
    timeout_ms: i64,
    finished: Out<unitwait_finished>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    run_job(manager, unit, timeout_ms, finished, error, Manager::start_unit)
}

/// Stops a unit by its name and waits until its processes are gone. Otherwise as unitwait_start_unit().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_stop_unit(
    manager: *const unitwait_manager,
    unit: Text,
    timeout_ms: i64,
    finished: Out<unitwait_finished>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    run_job(manager, unit, timeout_ms, finished, error, Manager::stop_unit)
}

/// Restarts a unit by its name and waits for the job. Otherwise as unitwait_start_unit().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_restart_unit(
    manager: *const unitwait_manager,
    unit: Text,
    timeout_ms: i64,
    finished: Out<unitwait_finished>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    run_job(manager, unit, timeout_ms, finished, error, Manager::restart_unit)
}

fn run_job(
    manager: *const unitwait_manager,
    unit: Text,
    timeout_ms: i64,
    to: Out<unitwait_finished>,
    error: Out<*mut unitwait_error>,
    job: fn(&Manager, &str, Deadline) -> Result<FinishedJob>,
) -> unitwait_code {
    answer_job(to, error, || Ok(job(&find(manager)?.manager, unit.get("unit name")?, deadline(timeout_ms)?)?))
}

/// Which processes of a unit a signal is for.
#[derive(Clone, Copy)]
#[repr(C)]
pub enum unitwait_whom {
    /// All of them.
    UNITWAIT_KILL_ALL = 0,
    /// The main process (services).
    UNITWAIT_KILL_MAIN = 1,
    /// The control process (services).
    UNITWAIT_KILL_CONTROL = 2,
}

pub(super) fn whom_of(number: c_int) -> std::result::Result<KillWhom, Failure> {
    use unitwait_whom::*;
    const WHOM: [Numbered<KillWhom>; 3] = [
        (UNITWAIT_KILL_ALL as c_int, KillWhom::All),
        (UNITWAIT_KILL_MAIN as c_int, KillWhom::Main),
        (UNITWAIT_KILL_CONTROL as c_int, KillWhom::Control),
    ];
    one_of(number, &WHOM, "whom")
}

/// Sends a signal to a unit's processes, of enum unitwait_whom; they may still run when it returns. Blocks until systemd
/// has sent it, or for the timeout. A retry sends it again.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_kill_unit(
    manager: *const unitwait_manager,
    unit: Text,
    whom: c_int,
    signal: c_int,
    timeout_ms: i64,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    on_unit(manager, unit, timeout_ms, error, |manager, unit, by| {
        Ok(manager.kill_unit(unit, whom_of(whom)?, signal, by)?)
    })
}

/// Forgets that a unit failed, so that its name is free. Blocks until systemd has answered, or for the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_reset_failed(
    manager: *const unitwait_manager,
    unit: Text,
    timeout_ms: i64,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    on_unit(manager, unit, timeout_ms, error, |manager, unit, by| Ok(manager.reset_failed(unit, by)?))
}

/// Freezes a unit's processes, and waits until the kernel says so. Blocks until then, or for the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_freeze_unit(
    manager: *const unitwait_manager,
    unit: Text,
    timeout_ms: i64,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    on_unit(manager, unit, timeout_ms, error, |manager, unit, by| Ok(manager.freeze_unit(unit, by)?))
}

/// Thaws a unit's processes. As unitwait_freeze_unit().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_thaw_unit(
    manager: *const unitwait_manager,
    unit: Text,
    timeout_ms: i64,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    on_unit(manager, unit, timeout_ms, error, |manager, unit, by| Ok(manager.thaw_unit(unit, by)?))
}

fn on_unit(
    manager: *const unitwait_manager,
    unit: Text,
    timeout_ms: i64,
    error: Out<*mut unitwait_error>,
    verb: impl FnOnce(&Manager, &str, Deadline) -> std::result::Result<(), Failure>,
) -> unitwait_code {
    answer(error, || {
        let opened = find(manager)?;
        verb(&opened.manager, unit.get("unit name")?, deadline(timeout_ms)?)
    })
}

/// Changes a living unit by an update (a slice that is not there, as systemd has it, gets what is set when it comes up).
/// The limits that the kernel does not hold go to `gaps`, as unitwait_active_limit_gaps() lists them, and the optional
/// properties that systemd does not know to `left_out`; each may be NULL. Blocks until the kernel was looked at, or for
/// the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_set_unit(
    manager: *const unitwait_manager,
    unit: Text,
    request: *const unitwait_request,
    timeout_ms: i64,
    gaps: Out<*mut unitwait_list>,
    left_out: Out<*mut unitwait_list>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    List::answer_change(gaps, left_out, error, || {
        let (opened, update) = (find(manager)?, update(request)?);
        Ok(opened.manager.set(unit.get("unit name")?, &update, deadline(timeout_ms)?)?)
    })
}

/// Reads one property of a unit (org.freedesktop.systemd1(5)). A unit that is not loaded answers too, as inactive. Blocks
/// until systemd has answered, or for the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_property(
    manager: *const unitwait_manager,
    unit: Text,
    property: Text,
    timeout_ms: i64,
    value: Out<*mut unitwait_value>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    answer_value(value, error, || {
        let (opened, property) = (find(manager)?, property.get("property")?);
        Ok(opened.manager.property(unit.get("unit name")?, property, deadline(timeout_ms)?)?)
    })
}

/// Reads all properties of a unit: a row for each, with UNITWAIT_FIELD_PROPERTY and UNITWAIT_FIELD_VALUE. Otherwise as
/// unitwait_property().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_properties(
    manager: *const unitwait_manager,
    unit: Text,
    timeout_ms: i64,
    properties: Out<*mut unitwait_list>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    List::answer(properties, error, || {
        let (opened, unit) = (find(manager)?, unit.get("unit name")?);
        Ok(List::of_properties(opened.manager.properties(unit, deadline(timeout_ms)?)?))
    })
}

/// Cancels a job by its number; UNITWAIT_NO_SUCH_JOB where it is over. Blocks until systemd has answered, or for the
/// timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_cancel_job(
    manager: *const unitwait_manager,
    job: u32,
    timeout_ms: i64,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    answer(error, || Ok(find(manager)?.manager.cancel_job(JobId::new(job), deadline(timeout_ms)?)?))
}

/// Lists the loaded units that are in one of the states ("active", "running", …) and whose names match one of the shell
/// patterns; no states and no patterns mean all. A row for each, with UNITWAIT_FIELD_UNIT, _DESCRIPTION, _LOAD_STATE,
/// _ACTIVE_STATE, _SUB_STATE and _OBJECT_PATH. Blocks until systemd has answered, or for the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_list_units(
    manager: *const unitwait_manager,
    states: Many<Text>,
    states_length: usize,
    patterns: Many<Text>,
    patterns_length: usize,
    timeout_ms: i64,
    units: Out<*mut unitwait_list>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    List::answer(units, error, || {
        let opened = find(manager)?;
        let states = texts(states, states_length, "states")?;
        let patterns = texts(patterns, patterns_length, "patterns")?;
        Ok(List::of_units(&opened.manager.list_units_in(&states, &patterns, deadline(timeout_ms)?)?))
    })
}

/// Lists the loaded units in a slice and in the slices below it, those that it was spread over among them, as
/// unitwait_list_units() does. Blocks until systemd has answered, or for the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_list_slice(
    manager: *const unitwait_manager,
    slice: Text,
    timeout_ms: i64,
    units: Out<*mut unitwait_list>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    List::answer(units, error, || {
        let (opened, slice) = (find(manager)?, slice.get("slice")?);
        Ok(List::of_units(&opened.manager.units_in_slice(slice, deadline(timeout_ms)?)?))
    })
}

/// The unit that a process is in, as a list of one row with UNITWAIT_FIELD_UNIT. Blocks until systemd has answered, or
/// for the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_unit_of_process(
    manager: *const unitwait_manager,
    pid: u32,
    timeout_ms: i64,
    unit: Out<*mut unitwait_list>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    List::answer(unit, error, || {
        Ok(List::of_unit_name(&find(manager)?.manager.unit_of_process(pid, deadline(timeout_ms)?)?))
    })
}

/// Compares what a unit's properties ask for with what the kernel holds: a row for each finding, with
/// UNITWAIT_FIELD_MESSAGE, UNITWAIT_FIELD_KIND, and the fields of the process or limit that it is about; no rows where
/// all is as it should be. Blocks until systemd has answered, or for the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_audit_unit(
    manager: *const unitwait_manager,
    unit: Text,
    timeout_ms: i64,
    findings: Out<*mut unitwait_list>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    List::answer(findings, error, || {
        let (opened, unit) = (find(manager)?, unit.get("unit name")?);
        Ok(List::of_findings(&opened.manager.audit(unit, deadline(timeout_ms)?)?.findings))
    })
}
