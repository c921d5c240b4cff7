//! `wait`: until the runs of units are over, and how each ended.

use std::thread;

use crossbeam_channel::{Receiver, unbounded};
use serde_json::{Value as Json, json};
use unitwait::{Deadline, Ended, Ending, InvocationId, Manager};

use crate::failure::Failure;
use crate::live::{Live, no_thread};
use crate::session::Session;
use crate::units::{Living, report, scopes};

/// A run that is over.
struct End {
    unit: String,
    invocation: Option<InvocationId>,
    ended: Ended,
}

/// Waits for all at once, by one deadline. Each end is told when it comes; in an object all are, in the order given.
pub fn wait(session: &Session, names: &[String]) -> Result<(), Failure> {
    let units = scopes(names);
    let (mut live, manager) = Live::open(session, &units)?;
    let from = see_ends(&manager, &units, session.deadline())?;
    let mut left = units.clone();
    let mut ends: Vec<Option<Result<End, Failure>>> = units.iter().map(|_| None).collect();
    while let Some((at, end)) = live.next(&from, "wait, still there") {
        left.retain(|unit| *unit != units[at]);
        live.name(&left);
        if let Ok(end) = &end {
            live.clear();
            session.output.line(&line(end))?;
        }
        ends[at] = Some(end);
    }
    drop(live);
    let (mut objects, mut failures, mut went_well) = (Vec::new(), Vec::new(), true);
    for end in ends.into_iter().flatten() {
        match end {
            Ok(end) => {
                went_well &= matches!(end.ended.ending, Ending::Exited | Ending::Stopped);
                objects.push(object(&end));
            }
            Err(failure) => failures.push(failure),
        }
    }
    report(session, String::new(), objects, failures)?;
    if went_well { Ok(()) } else { Err(Failure::EndedBadly) }
}

/// Each end as it comes, with its unit's place. The threads are not waited for: a failure here ends them all.
fn see_ends(manager: &Manager, units: &[String], deadline: Deadline) -> Result<Receiver<Told>, Failure> {
    let (to, from) = unbounded();
    for (at, unit) in units.iter().enumerate() {
        let (to, manager, unit) = (to.clone(), manager.clone(), unit.clone());
        let see = move || drop(to.send((at, see_end(&manager, unit, deadline))));
        thread::Builder::new().spawn(see).map_err(no_thread)?;
    }
    Ok(from)
}

type Told = (usize, Result<End, Failure>);

fn see_end(manager: &Manager, unit: String, deadline: Deadline) -> Result<End, Failure> {
    let living = Living::adopt(manager, &unit, deadline)?;
    let ended = living.wait(deadline)?;
    if ended.ending == Ending::Unknown {
        // It was over by then, as it may be a moment earlier.
        return Err(Failure::NotActive { unit });
    }
    Ok(End { unit, invocation: living.invocation_id(), ended })
}

fn line(End { unit, ended, .. }: &End) -> String {
    match (ended.ending, &ended.result) {
        (Ending::Failed, Some(result)) => format!("{unit}: failed: {result}"),
        (ending, _) => format!("{unit}: {ending}"),
    }
}

fn object(End { unit, invocation, ended }: &End) -> Json {
    json!({
        "unit": unit,
        "ending": word(ended.ending),
        "result": ended.result,
        "invocation_id": invocation.map(|id| id.to_string()),
    })
}

fn word(ending: Ending) -> &'static str {
    match ending {
        Ending::Exited => "exited",
        Ending::Stopped => "stopped",
        Ending::OomKilled => "oom_killed",
        Ending::TimedOut => "timed_out",
        Ending::Killed(_) => "killed",
        _ => "failed",
    }
}
