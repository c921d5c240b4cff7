//! `kill`: a signal to a unit's processes, or the end of all of them.

use serde_json::json;
use unitwait::KillWhom;

use crate::args::Kill;
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{Living, each, scopes};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

pub fn kill(session: &Session, asked: &Kill) -> Result<(), Failure> {
    let units = scopes(&asked.units.units);
    let whom: KillWhom = asked.kill_whom.into();
    if asked.until_gone {
        return until_gone(session, asked, &units);
    }
    let signal = asked.signal.unwrap_or(SIGTERM);
    each(
        session,
        &units,
        "sending the signal",
        |manager, unit| Ok(manager.kill_unit(unit, whom, signal, session.deadline())?),
        |unit, ()| (format!("{unit} sent signal {signal}"), json!({"unit": unit, "signal": signal})),
    )
}

fn until_gone(session: &Session, asked: &Kill, units: &[String]) -> Result<(), Failure> {
    if asked.signal.is_some_and(|signal| signal != SIGKILL) {
        return Err(Failure::Usage("--until-gone sends SIGKILL, and no other signal".into()));
    }
    if KillWhom::from(asked.kill_whom) != KillWhom::All {
        return Err(Failure::Usage("--until-gone is for all of a unit's processes".into()));
    }
    each(
        session,
        units,
        "killing, until none is left",
        |manager, unit| {
            let living = Living::adopt(manager, unit, session.deadline())?;
            Ok(living.kill_all(session.deadline())?)
        },
        |unit, ()| {
            let line = format!("{unit} killed, and no process of it is left");
            (line, json!({"unit": unit, "signal": SIGKILL, "gone": true}))
        },
    )
}
