//! What is said, and where: results on stdout, all else on stderr, for people or, with `--json`, for programs.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value as Json, json};
use unitwait::{ActiveScope, LimitGap, Outcome, StageTimes, Value};

use crate::args::Global;
use crate::failure::Failure;

#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    pub const JSON: Output = Output { json: true };

    pub fn new(global: &Global) -> Output {
        Output { json: global.json }
    }

    /// The command's result, on stdout. A reader that has left wants no more, and what was asked for is done.
    pub fn result(self, json: impl FnOnce() -> Json, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let mut text = if self.json { json().to_string() } else { text() };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::System { doing: "write to stdout".into(), source: error })
            }
            _ => Ok(()),
        }
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
            tell(&format!("unitwait: warning: {unit}: a limit is not in force: {gap}"));
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

/// One line on stderr. Where nobody reads it any more, that is no reason to die.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// How long each stage took; the log shows it with `-v`.
pub fn log_stages(unit: &str, times: StageTimes) {
    log::debug!(
        "{unit}: queued {}, accepted {}, done {}, verified {}",
        milliseconds(times.queued),
        milliseconds(times.accepted),
        milliseconds(times.done),
        milliseconds(times.verified)
    );
}

pub fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

pub fn scope_json(active: &ActiveScope) -> Json {
    json!({
        "unit": active.unit(),
        "outcome": outcome(active.outcome()),
        "control_group": active.control_group(),
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
