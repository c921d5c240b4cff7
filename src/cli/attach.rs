//! `attach`: running processes into a scope that is there, or into a control group below it.

use serde_json::json;
use unitwait::Manager;

use crate::args::Attach;
use crate::failure::Failure;
use crate::live::Live;
use crate::name::with_suffix;
use crate::session::Session;
use crate::units::adopt_scope;

pub fn attach(session: &Session, asked: &Attach) -> Result<(), Failure> {
    let unit = with_suffix(&asked.unit, ".scope");
    let pids = asked.pid.iter().copied().map(pid).collect::<Result<Vec<u32>, Failure>>()?;
    let (mut live, manager) = Live::open(session, std::slice::from_ref(&unit))?;
    let group =
        live.work("attaching", || place(session, &manager, &unit, asked.subgroup.as_deref(), &pids))??;
    drop(live);
    session.output.result(
        || json!({"unit": unit, "pids": pids, "control_group": group}),
        || {
            let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
            format!("{unit} has {} in {group}", pids.join(" "))
        },
    )
}

/// The control group that they are in then.
fn place(
    session: &Session,
    manager: &Manager,
    unit: &str,
    below: Option<&str>,
    pids: &[u32],
) -> Result<String, Failure> {
    let scope = adopt_scope(manager, unit, session.deadline())?;
    let (group, pids) = (scope.control_group(), pids.iter().copied());
    match below {
        Some(below) => {
            scope.attach_to(below, pids, session.deadline())?;
            Ok(format!("{group}/{below}"))
        }
        None => {
            scope.attach(pids, session.deadline())?;
            Ok(group.into())
        }
    }
}

/// As `create` takes it, so that what is no PID is told as such and not as a slip of the keyboard.
fn pid(given: i64) -> Result<u32, Failure> {
    u32::try_from(given).map_err(|_| Failure::Data {
        what: "PID",
        given: given.to_string(),
        reason: "out of range".into(),
        hint: "PIDs go from 1 to 4194304".into(),
    })
}
