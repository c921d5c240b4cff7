//! `set`: properties of a unit that is there.

use serde_json::json;
use unitwait::{Property, Update};

use crate::args::Set;
use crate::failure::Failure;
use crate::live::Live;
use crate::name::with_suffix;
use crate::output::gap_json;
use crate::property::Assignments;
use crate::session::Session;

pub fn set(session: &Session, asked: &Set) -> Result<(), Failure> {
    let unit = with_suffix(&asked.unit, ".scope");
    let assignments = Assignments::read(&asked.property)?;
    let names: Vec<&str> = assignments.properties.iter().map(Property::name).collect();
    let update = update(&assignments).persistent(asked.persistent).require_limits(asked.require_limits);
    update.check()?;
    let (mut live, manager) = Live::open(session, std::slice::from_ref(&unit))?;
    let updated = live.work("setting", || manager.set(&unit, &update, session.deadline()))??;
    drop(live);
    session.output.limit_gaps(&unit, &updated.limit_gaps);
    session.output.result(
        || {
            json!({
                "unit": unit, "properties": names, "persistent": asked.persistent,
                "limit_gaps": updated.limit_gaps.iter().map(gap_json).collect::<Vec<_>>(),
            })
        },
        || format!("{unit} set: {}", names.join(", ")),
    )
}

/// On a unit that is there, entries are added to what its lists have; so one that was emptied first has to be, there.
fn update(assignments: &Assignments) -> Update {
    let update = assignments.properties.iter().cloned().fold(Update::new(), Update::property);
    assignments.emptied().fold(update, Update::clear)
}
