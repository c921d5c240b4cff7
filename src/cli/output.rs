//! What is said, and where: results on stdout, all else on stderr, for people or, with `--json`, for programs.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde_json::{Value as Json, json};
use unitwait::{ActiveScope, GapReason, LimitGap, Outcome, StageTimes, Value};

use crate::args::Global;
use crate::failure::Failure;
use crate::picture;

#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    verbose: bool,
}

impl Output {
    pub const JSON: Output = Output { json: true, verbose: false };

    pub fn new(global: &Global) -> Output {
        Output { json: global.json, verbose: global.verbose }
    }

    /// Whether a program is to read what is said.
    pub fn is_for_programs(self) -> bool {
        self.json
    }

    /// The command's result, on stdout. A reader that has left wants no more, and what was asked for is done.
    pub fn result(self, json: impl FnOnce() -> Json, text: impl FnOnce() -> String) -> Result<(), Failure> {
        self.entry(json, text).map(drop)
    }

    /// One entry of a result that comes in many, each on a line of its own. False where its reader has left.
    pub fn entry(self, json: impl FnOnce() -> Json, text: impl FnOnce() -> String) -> Result<bool, Failure> {
        print(if self.json { json().to_string() } else { text() })
    }

    /// A part of the result, for people, who need not wait for all of it.
    pub fn line(self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { print(text.into()).map(drop) }
    }

    /// The result of a command whose stdout is not its own: on stderr, and only for programs.
    pub fn aside(self, json: impl FnOnce() -> Json) {
        if self.json {
            tell(&json().to_string());
        }
    }

    /// Limits that do not hold. With `--json` they are in the object.
    pub fn limit_gaps(self, unit: &str, gaps: &[LimitGap]) {
        for gap in gaps.iter().filter(|_| !self.json) {
            let what = match gap.reason {
                GapReason::NotShown | GapReason::Unreadable(_) => "a limit cannot be verified",
                _ => "a limit is not in force",
            };
            tell(&format!("unitwait: warning: {unit}: {what}: {gap}"));
        }
    }

    /// What is worth knowing and no failure.
    pub fn warning(self, kind: &str, message: &str) {
        if self.json {
            tell(&json!({ "warning": { "kind": kind, "message": message } }).to_string());
        } else {
            tell(&format!("unitwait: warning: {message}"));
        }
    }

    /// Where the time went, with `-v`. With `--json` it is in the object.
    pub fn picture(self, unit: &str, times: StageTimes) {
        if self.verbose && !self.json {
            tell(&picture::draw(unit, times, stderr_is_terminal()));
        }
    }

    pub fn failure(self, failure: &Failure) {
        if self.json {
            failure.json().inspect(|json| tell(&json.to_string()));
        } else {
            failure.lines().iter().for_each(|line| tell(&format!("unitwait: {line}")));
        }
    }
}

/// To stdout, flushed; false where its reader has left.
fn print(mut text: String) -> Result<bool, Failure> {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::System { doing: "write to stdout".into(), source: error }),
    }
}

/// One line on stderr. Where nobody reads it any more, that is no reason to die.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether stderr is a terminal on which a line can be drawn over, and letters be bold.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_some_and(|kind| !kind.is_empty() && kind != "dumb")
}

pub fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

pub fn scope_json(active: &ActiveScope) -> Json {
    json!({
        "unit": active.unit(),
        "outcome": outcome(active.outcome()),
        "control_group": active.control_group(),
        "spread": active.spread(),
        "path": active.path().map(|path| path.display().to_string()),
        "invocation_id": active.invocation_id().map(|id| id.to_string()),
        "job": active.job().map(unitwait::JobId::get),
        "stages": stages_json(active.stages()),
        "limit_gaps": active.limit_gaps().iter().map(gap_json).collect::<Vec<_>>(),
    })
}

pub fn stages_json(times: StageTimes) -> Json {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    json!({
        "queued_us": micros(times.queued), "accepted_us": micros(times.accepted),
        "done_us": micros(times.done), "verified_us": micros(times.verified),
    })
}

pub fn gap_json(gap: &LimitGap) -> Json {
    json!({
        "property": gap.property, "asked": gap.asked, "found": gap.found,
        "file": gap.file.as_ref().map(|file| file.display().to_string()), "message": gap.to_string(),
    })
}

pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Joined => "joined",
        Outcome::Replaced => "replaced",
        Outcome::Accepted => "accepted",
        _ => "created",
    }
}

/// A property's value: numbers stay numbers, and "no limit" is systemd's own word for it.
pub fn value_json(value: &Value) -> Json {
    match value {
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Array(element, items) if element != "y" => items.iter().map(value_json).collect(),
        Value::U64(u64::MAX) => value.to_string().into(),
        other => other.as_u64().map_or_else(|| other.to_string().into(), Json::from),
    }
}
