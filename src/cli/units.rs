//! What the verbs share that are for units which are there: their names, handles to their runs, the same done to each,
//! and one report of it all.

use std::io;
use std::thread;

use serde_json::{Value as Json, json};
use unitwait::{ActiveScope, ActiveSlice, Deadline, Ended, Error, InvocationId, Manager};

use crate::failure::Failure;
use crate::live::{Live, no_thread};
use crate::name::with_suffix;
use crate::session::Session;

pub fn scopes(names: &[String]) -> Vec<String> {
    names.iter().map(|name| with_suffix(name, ".scope")).collect()
}

/// What was done goes out even where something else failed.
pub fn report(
    session: &Session,
    text: String,
    units: Vec<Json>,
    failures: Vec<Failure>,
) -> Result<(), Failure> {
    if !units.is_empty() || failures.is_empty() {
        session.output.result(|| json!({ "units": units }), || text)?;
    }
    Failure::all(failures)
}

/// Does the same to each unit, to all at once, and tells it: `done` gives the line and the object of one.
pub fn each<T: Send>(
    session: &Session,
    units: &[String],
    doing: &str,
    work: impl Fn(&Manager, &str) -> Result<T, Failure> + Sync,
    done: impl Fn(&str, T) -> (String, Json),
) -> Result<(), Failure> {
    let (mut live, manager) = Live::open(session, units)?;
    let results = live.work(doing, || side_by_side(units, |unit| work(&manager, unit)))?;
    drop(live);
    let (mut text, mut objects, mut failures) = (String::new(), Vec::new(), Vec::new());
    for (unit, result) in units.iter().zip(results) {
        match result {
            Ok(what) => {
                let (line, object) = done(unit, what);
                text.push_str(&line);
                text.push('\n');
                objects.push(object);
            }
            Err(failure) => failures.push(failure),
        }
    }
    report(session, text, objects, failures)
}

fn side_by_side<T: Send>(
    units: &[String],
    work: impl Fn(&str) -> Result<T, Failure> + Sync,
) -> Vec<Result<T, Failure>> {
    if let [unit] = units {
        return vec![work(unit)];
    }
    let work = &work;
    thread::scope(|threads| {
        let started: Vec<_> = units
            .iter()
            .map(|unit| thread::Builder::new().spawn_scoped(threads, move || work(unit)))
            .collect();
        let ended =
            started.into_iter().map(|started| started.map_err(no_thread)?.join().map_err(panicked)?);
        ended.collect()
    })
}

fn panicked<T>(_: T) -> Failure {
    no_thread(io::Error::other("it panicked"))
}

/// A handle to a run that was there before this program.
pub enum Living {
    Scope(ActiveScope),
    Slice(ActiveSlice),
}

impl Living {
    /// The run that has the name now. What is no scope or slice is refused by the library.
    pub fn adopt(manager: &Manager, unit: &str, deadline: Deadline) -> Result<Living, Failure> {
        if unit.ends_with(".slice") {
            let slice = manager.adopt_slice(unit, deadline);
            return slice.map(Living::Slice).map_err(|error| not_active(unit, error));
        }
        adopt_scope(manager, unit, deadline).map(Living::Scope)
    }

    pub fn invocation_id(&self) -> Option<InvocationId> {
        match self {
            Living::Scope(scope) => scope.invocation_id(),
            Living::Slice(slice) => slice.invocation_id(),
        }
    }

    pub fn wait(&self, deadline: Deadline) -> Result<Ended, Error> {
        match self {
            Living::Scope(scope) => scope.wait(deadline),
            Living::Slice(slice) => slice.wait(deadline),
        }
    }

    pub fn kill_all(&self, deadline: Deadline) -> Result<(), Error> {
        match self {
            Living::Scope(scope) => scope.kill_all(deadline),
            Living::Slice(slice) => slice.kill_all(deadline),
        }
    }
}

/// A scope's run that has the name now.
pub fn adopt_scope(manager: &Manager, unit: &str, deadline: Deadline) -> Result<ActiveScope, Failure> {
    manager.adopt_scope(unit, deadline).map_err(|error| not_active(unit, error))
}

fn not_active(unit: &str, error: Error) -> Failure {
    match error {
        Error::NoSuchUnit { .. } => Failure::NotActive { unit: unit.into() },
        other => other.into(),
    }
}
