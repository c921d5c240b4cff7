//! `freeze` and `thaw`: done when the kernel says so.

use serde_json::json;

use crate::failure::Failure;
use crate::session::Session;
use crate::units::{each, scopes};

pub fn freeze(session: &Session, names: &[String]) -> Result<(), Failure> {
    each(
        session,
        &scopes(names),
        "freezing",
        |manager, unit| Ok(manager.freeze_unit(unit, session.deadline())?),
        |unit, ()| (format!("{unit} frozen"), json!({"unit": unit, "frozen": true})),
    )
}

pub fn thaw(session: &Session, names: &[String]) -> Result<(), Failure> {
    each(
        session,
        &scopes(names),
        "thawing",
        |manager, unit| Ok(manager.thaw_unit(unit, session.deadline())?),
        |unit, ()| (format!("{unit} thawed"), json!({"unit": unit, "frozen": false})),
    )
}
