//! `stop`: all units at once, until their processes are gone.

use std::fmt::Write;

use serde_json::json;
use unitwait::UnitJob;

use crate::failure::Failure;
use crate::live::Live;
use crate::output::stages_json;
use crate::session::Session;
use crate::units::{report, scopes};

/// Asks for all at once, so that the slowest alone says how long it takes.
pub fn stop(session: &Session, names: &[String]) -> Result<(), Failure> {
    let units = scopes(names);
    let (mut live, manager) = Live::open(session, &units)?;
    let submit = |unit: &String| manager.submit(&UnitJob::stop(unit.as_str()), session.deadline());
    let tickets: Vec<_> = units.iter().map(submit).collect();
    let (mut lines, mut stopped, mut failures) = (String::new(), Vec::new(), Vec::new());
    let mut times = Vec::new();
    for (at, ticket) in tickets.into_iter().enumerate() {
        let unit = &units[at];
        live.name(&units[at..]);
        let answer = ticket.and_then(|ticket| match live.answer(ticket) {
            Ok(answer) => answer,
            // The job goes on, for it may be others' too.
            Err((signal, _)) => live.obey(signal),
        });
        match answer {
            Ok(job) => {
                times.push((unit, job.times));
                let _ = writeln!(lines, "{unit} stopped");
                stopped.push(json!({"unit": unit, "job": job.id.get(), "stages": stages_json(job.times)}));
            }
            Err(error) => failures.push(error.into()),
        }
    }
    drop(live);
    let result = report(session, lines, stopped, failures);
    times.iter().for_each(|(unit, times)| session.output.picture(unit, *times));
    result
}
