//! What became of a job whose end was not heard: asked of systemd again, after the connection or the manager
//! was another for a while.
//!
//! A job asked for over an earlier connection goes on, but its JobRemoved is sent to a new connection only if
//! that has subscribed; and one that ended in between is told to nobody.

use super::Asking;
use crate::driver::plan::{entry, get_state, property, says_run_is_over};
use crate::job::{JobId, JobResult};
use crate::systemd1::{self, BusError, Call, Verb};
use crate::unit::Value;

/// Asks whether a job is still there, and whose it is.
pub(super) fn job_state(job: JobId) -> Call {
    Call::GetAll { path: job.object_path(), interface: systemd1::JOB.into() }
}

/// Whether the job that was read is what a call about this unit has made: a manager that began anew counts its jobs
/// anew. Source: `org.freedesktop.systemd1(5)`, "Job Objects".
pub(super) fn is_job_of(asking: &Asking, unit: &str, read: &[Value]) -> bool {
    let kind = entry(read, "JobType").and_then(Value::as_str).unwrap_or_default();
    let of_unit = entry(read, "Unit").and_then(|unit| unit.items().first()?.as_str());
    // A restart is a start once the unit is down.
    let kinds: &[&str] = match (asking, asking.verb()) {
        (Asking::Creation, _) => &["start"],
        (_, Some(Verb::Start)) => &["start", "verify-active"],
        (_, Some(Verb::Stop)) => &["stop"],
        (_, Some(Verb::Restart)) => &["restart", "start", "try-restart"],
        (_, None) => &[],
    };
    of_unit == Some(unit) && kinds.contains(&kind)
}

/// Asks for the state of the unit that a call was about, which has this name.
pub(super) fn unit_state(asking: &Asking, unit: &str) -> Option<Call> {
    let Asking::Call(call) = asking else { return Some(get_state(unit)) };
    match &**call {
        Call::UnitJob { unit, .. } => Some(get_state(unit)),
        Call::RunJob { path, .. } => {
            let (interface, name) = (systemd1::UNIT.into(), "ActiveState".into());
            Some(Call::Get { path: path.clone(), interface, name })
        }
        _ => None,
    }
}

/// How the job of a call must have ended for the unit to be in the state that was read; `None` where the state
/// leaves it open. (A restarted unit is active before and after.)
pub(super) fn conclusion(asking: &Asking, state: &Result<Vec<Value>, BusError>) -> Option<JobResult> {
    let state = match state {
        Ok(values) => property(values.clone())?.as_str()?.to_string(),
        Err(error) if says_run_is_over(error) => "inactive".into(),
        Err(_) => return None,
    };
    let wanted: &[&str] = match (asking, asking.verb()) {
        (Asking::Creation, _) | (_, Some(Verb::Start)) => &["active"],
        (_, Some(Verb::Stop)) => &["inactive", "failed"],
        (_, Some(Verb::Restart) | None) => &[],
    };
    wanted.contains(&state.as_str()).then_some(JobResult::Done)
}
