//! Every way a command can fail, as its exit status, as a line for people, and as an object for programs.

use std::fmt;
use std::io;

use serde_json::{Value as Json, json};
use unitwait::{Error, Operation, Stage};

use crate::property::PropertyError;

/// Exit statuses, as `sysexits.h` names them; 126 and 127 as shells have them.
pub mod status {
    pub const NOT_WELL: u8 = 1;
    pub const USAGE: u8 = 64;
    pub const BAD_DATA: u8 = 65;
    pub const UNAVAILABLE: u8 = 69;
    pub const INTERNAL: u8 = 70;
    pub const REFUSED: u8 = 71;
    pub const EXISTS: u8 = 73;
    pub const DEADLINE: u8 = 75;
    pub const ACCESS_DENIED: u8 = 77;
    pub const NOT_EXECUTABLE: u8 = 126;
    pub const NOT_FOUND: u8 = 127;
}

#[derive(Debug)]
pub enum Failure {
    /// The command line as a whole cannot be.
    Usage(String),
    /// A property, user or group that cannot be; nothing was sent.
    Data {
        what: &'static str,
        given: String,
        reason: String,
        hint: String,
    },
    Library(Error),
    /// systemd knows no unit of that name.
    NotLoaded {
        unit: String,
    },
    /// It is over, or was never started.
    NotActive {
        unit: String,
    },
    /// Limits were required of `run`, and the kernel does not hold them.
    Limits {
        unit: String,
        gaps: String,
    },
    /// `audit` has found something, and said it.
    Differs,
    /// `wait` has seen a unit end otherwise than well, and said how.
    EndedBadly,
    /// `doctor` found nothing to work with, and has said all there is to say.
    NoManager,
    /// The command of `run` could not be executed.
    Command {
        command: String,
        reason: String,
        found: bool,
    },
    /// The operating system refused something.
    System {
        doing: String,
        source: io::Error,
    },
    /// Of several units some failed.
    Several(Vec<Failure>),
}

impl Failure {
    /// One failure, or several as one; none is a success.
    pub fn all(mut failures: Vec<Failure>) -> Result<(), Failure> {
        match failures.len() {
            0 => Ok(()),
            1 => Err(failures.remove(0)),
            _ => Err(Failure::Several(failures)),
        }
    }

    pub fn exit_status(&self) -> u8 {
        match self {
            Failure::Usage(_) => status::USAGE,
            Failure::Data { .. } => status::BAD_DATA,
            Failure::Library(error) => status_of(error),
            Failure::NotLoaded { .. } | Failure::NotActive { .. } | Failure::Limits { .. } => status::REFUSED,
            Failure::Differs | Failure::EndedBadly => status::NOT_WELL,
            Failure::NoManager => status::UNAVAILABLE,
            Failure::Command { found: true, .. } => status::NOT_EXECUTABLE,
            Failure::Command { found: false, .. } => status::NOT_FOUND,
            Failure::System { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                status::ACCESS_DENIED
            }
            Failure::System { .. } => status::INTERNAL,
            Failure::Several(failures) => failures.first().map_or(status::INTERNAL, Failure::exit_status),
        }
    }

    /// A word for programs, which does not change.
    fn kind(&self) -> &'static str {
        match self {
            Failure::Usage(_) => "usage",
            Failure::Data { .. } => "invalid_input",
            Failure::Library(error) => kind_of(error),
            Failure::NotLoaded { .. } | Failure::NotActive { .. } => "no_such_unit",
            Failure::Limits { .. } => "limit",
            Failure::Differs => "differs",
            Failure::EndedBadly => "ended_badly",
            Failure::NoManager => "no_manager",
            Failure::Command { found: true, .. } => "command_not_executable",
            Failure::Command { found: false, .. } => "command_not_found",
            Failure::System { .. } => "system",
            Failure::Several(failures) => failures.first().map_or("internal", Failure::kind),
        }
    }

    fn unit(&self) -> Option<&str> {
        match self {
            Failure::Library(error) => error.unit(),
            Failure::NotLoaded { unit } | Failure::NotActive { unit } | Failure::Limits { unit, .. } => {
                Some(unit)
            }
            _ => None,
        }
    }

    /// What a person can do about it.
    fn hint(&self) -> &str {
        match self {
            Failure::Usage(_) => "see `unitwait --help`",
            Failure::Data { hint, .. } => hint,
            Failure::Library(error) => error.hint(),
            Failure::NotLoaded { .. } => {
                "it ended, was never started, or is misspelt; `unitwait list` shows all"
            }
            Failure::NotActive { .. } => {
                "it is over already, was never started, or is misspelt; `unitwait list` shows all"
            }
            Failure::Limits { .. } => {
                "boot with the controller enabled, delegate it, or do without the limit"
            }
            Failure::Command { found: true, .. } => "see its mode, its type and its interpreter",
            Failure::Command { found: false, .. } => "see its spelling and PATH",
            Failure::System { .. } => "see the rights and limits of this process",
            Failure::Differs | Failure::EndedBadly | Failure::NoManager | Failure::Several(_) => "",
        }
    }

    /// What happened, without the hint.
    pub fn message(&self) -> String {
        match self {
            Failure::Usage(reason) => reason.clone(),
            Failure::Data { what, given, reason, .. } => format!("bad {what} {given:?}: {reason}"),
            Failure::Library(error) => {
                let told = error.to_string();
                told.strip_suffix(&format!(" ({})", error.hint())).map_or(told.clone(), str::to_string)
            }
            Failure::NotLoaded { unit } => format!("{unit} is not loaded"),
            Failure::NotActive { unit } => format!("{unit} is not active"),
            Failure::Limits { unit, gaps } => {
                format!("did not run anything in {unit}, for the limits required do not hold: {gaps}")
            }
            Failure::Command { command, reason, .. } => format!("could not run {command:?}: {reason}"),
            Failure::System { doing, source } => format!("could not {doing}: {source}"),
            Failure::Differs | Failure::EndedBadly | Failure::NoManager | Failure::Several(_) => {
                String::new()
            }
        }
    }

    /// For people: a line for each failure.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Failure::Differs | Failure::EndedBadly | Failure::NoManager => Vec::new(),
            Failure::Several(failures) => failures.iter().map(Failure::to_string).collect(),
            one => vec![one.to_string()],
        }
    }

    /// For programs: one object. Of several failures `error` is the first, whose exit status it is.
    pub fn json(&self) -> Option<Json> {
        match self {
            Failure::Differs | Failure::EndedBadly | Failure::NoManager => None,
            Failure::Several(failures) => {
                let all: Vec<Json> = failures.iter().map(Failure::error_json).collect();
                Some(json!({ "error": all.first(), "errors": all }))
            }
            one => Some(json!({ "error": one.error_json() })),
        }
    }

    fn error_json(&self) -> Json {
        let library = match self {
            Failure::Library(error) => Some(error),
            _ => None,
        };
        json!({
            "kind": self.kind(),
            "message": self.message(),
            "unit": self.unit(),
            "stage": library.and_then(Error::stage).map(Stage::as_str),
            "job": library.and_then(Error::job).map(unitwait::JobId::get),
            "dbus_name": library.and_then(Error::dbus_name),
            "hint": self.hint(),
            "status": self.exit_status(),
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message(), self.hint())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Library(error)
    }
}

impl From<PropertyError> for Failure {
    fn from(PropertyError { given, reason, hint }: PropertyError) -> Failure {
        Failure::Data { what: "property", given, reason, hint }
    }
}

fn status_of(error: &Error) -> u8 {
    match error {
        Error::InvalidInput { .. }
        | Error::NoSuchProcess { .. }
        | Error::UnknownProperty { .. }
        | Error::NoSuchControlGroup { .. } => status::BAD_DATA,
        // A property's value that only systemd could judge.
        Error::Dbus { name, .. } if name == "org.freedesktop.DBus.Error.InvalidArgs" => status::BAD_DATA,
        Error::Connect { .. } | Error::Disconnected { .. } => status::UNAVAILABLE,
        Error::Forked | Error::Closed { .. } | Error::System { .. } | Error::Protocol { .. } => {
            status::INTERNAL
        }
        // Of a unit that is to be there, it is no answer that it is.
        Error::NotDelegated { asked } if asked.operation == Operation::Attach => status::REFUSED,
        Error::UnitExists { .. } | Error::NotDelegated { .. } | Error::WouldKill { .. } => status::EXISTS,
        Error::Timeout { .. } => status::DEADLINE,
        Error::AccessDenied { .. } => status::ACCESS_DENIED,
        Error::Exec { source, .. } if source.kind() == std::io::ErrorKind::NotFound => status::NOT_FOUND,
        Error::Exec { .. } => status::NOT_EXECUTABLE,
        _ => status::REFUSED,
    }
}

fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::InvalidInput { .. } => "invalid_input",
        Error::Connect { .. } => "connect",
        Error::AccessDenied { .. } => "access_denied",
        Error::UnitExists { .. } => "unit_exists",
        Error::NoSuchUnit { .. } => "no_such_unit",
        Error::Superseded { .. } => "superseded",
        Error::NoSuchProcess { .. } => "no_such_process",
        Error::UnknownProperty { .. } => "unknown_property",
        Error::NoSuchJob { .. } => "no_such_job",
        Error::JobFailed { .. } => "job_failed",
        Error::Timeout { .. } => "timeout",
        Error::Disconnected { .. } => "disconnected",
        Error::Misplaced { .. } => "misplaced",
        Error::ConditionUnmet { .. } => "condition_unmet",
        Error::Limit { .. } => "limit",
        Error::NotDelegated { .. } => "not_delegated",
        Error::NoSuchControlGroup { .. } => "no_such_control_group",
        Error::Unsupported { .. } => "unsupported",
        Error::WouldKill { .. } => "would_kill",
        Error::Exec { .. } => "exec",
        Error::Forked => "forked",
        Error::Closed { .. } => "closed",
        Error::System { .. } => "system",
        Error::Dbus { .. } => "dbus",
        Error::Protocol { .. } => "protocol",
        _ => "other",
    }
}
