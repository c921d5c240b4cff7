//! What comes from the other end, parsed once and without belief: who sent a message is kept beside what it
//! says, for the router to judge.

use dbus::{Message, MessageType};

use super::{BUS, MANAGER, MANAGER_PATH, NAME, PIDFDS, PROPERTIES, UNITS, codec};
use crate::job::{JobId, JobResult};
use crate::unit::Value;

/// An error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BusError {
    pub name: String,
    pub message: String,
}

impl BusError {
    /// What a manager that knows no pidfds says to a creation with some, on behalf of one that cannot be asked.
    pub(crate) fn no_pidfds(reason: String) -> BusError {
        let message = format!("{PIDFDS} cannot be sent: {reason}");
        BusError { name: "org.freedesktop.DBus.Error.UnknownProperty".into(), message }
    }

    /// An answer of another form than systemd's documentation gives.
    pub(crate) fn garbled(message: &str) -> BusError {
        BusError { name: "org.freedesktop.DBus.Error.InvalidSignature".into(), message: message.into() }
    }
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    pub serial: u32,
    pub sender: Option<String>,
    pub result: Result<Vec<Value>, BusError>,
}

/// The signal that says that a job is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobRemoved {
    pub sender: Option<String>,
    pub job: JobId,
    pub unit: String,
    pub result: JobResult,
}

/// What is told of a unit's state: those of its properties that were in the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnitChange {
    pub active_state: Option<String>,
    pub sub_state: Option<String>,
    pub result: Option<String>,
}

impl UnitChange {
    /// Reads the one dictionary of properties in an answer; `None` where there is none.
    pub(crate) fn read(values: &[Value]) -> Option<UnitChange> {
        let Value::Array(element, entries) = values.first()? else { return None };
        if element != "{sv}" {
            return None;
        }
        let mut change = UnitChange::default();
        for entry in entries {
            let Value::Entry(pair) = entry else { return None };
            let field = match pair.0.as_str()? {
                "ActiveState" => &mut change.active_state,
                "SubState" => &mut change.sub_state,
                "Result" => &mut change.result,
                _ => continue,
            };
            let Value::Variant(value) = &pair.1 else { return None };
            *field = value.as_str().map(String::from);
        }
        Some(change)
    }

    /// Whether the run is over.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.active_state.as_deref(), Some("inactive" | "failed"))
    }

    /// Whether it is being stopped, by whomever.
    pub(crate) fn is_stopping(&self) -> bool {
        self.active_state.as_deref() == Some("deactivating")
    }
}

/// What became of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnitNews {
    /// systemd knows it from now on.
    Loaded(String),
    /// systemd has forgotten it.
    Unloaded(String),
    /// Its object is here, and some of its properties are others now.
    Changed(String, UnitChange),
}

/// A message that means something to the driver.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Incoming {
    Reply(Reply),
    JobRemoved(JobRemoved),
    /// The manager's name has a new owner, or none.
    Owner {
        sender: Option<String>,
        owner: Option<String>,
    },
    Unit {
        sender: Option<String>,
        news: UnitNews,
    },
}

impl Incoming {
    /// Reads a message; `None` for one that is not for the driver, or is not of the form that it should have.
    pub(crate) fn parse(message: &Message) -> Option<Incoming> {
        let sender = message.sender().map(|name| name.to_string());
        match message.msg_type() {
            MessageType::Signal => Incoming::parse_signal(message, sender),
            MessageType::MethodReturn => {
                let body = codec::read_all(&mut message.iter_init());
                let garbled = || BusError::garbled("the answer holds a file descriptor where none belongs");
                let result = body.ok_or_else(garbled);
                Some(Incoming::Reply(Reply { serial: message.get_reply_serial()?, sender, result }))
            }
            MessageType::Error => {
                let error = error_of(message);
                Some(Incoming::Reply(Reply {
                    serial: message.get_reply_serial()?,
                    sender,
                    result: Err(error),
                }))
            }
            MessageType::MethodCall => None,
        }
    }

    /// Whether it is a signal that tells of units, and not of jobs.
    pub(crate) fn is_of_units(message: &Message) -> bool {
        let is_one = |member: &str| matches!(member, "UnitNew" | "UnitRemoved" | "PropertiesChanged");
        message.msg_type() == MessageType::Signal && message.member().is_some_and(|member| is_one(&member))
    }

    fn parse_signal(message: &Message, sender: Option<String>) -> Option<Incoming> {
        let (path, interface, member) = (message.path()?, message.interface()?, message.member()?);
        match (&*path, &*interface, &*member) {
            // Fields that a newer systemd adds at the end are passed over.
            (MANAGER_PATH, MANAGER, "JobRemoved") => {
                let (id, _, unit, result) = message.get4::<u32, dbus::Path<'_>, &str, &str>();
                Some(Incoming::JobRemoved(JobRemoved {
                    sender,
                    job: JobId::new(id?),
                    unit: unit?.into(),
                    result: JobResult::from_word(result?),
                }))
            }
            (MANAGER_PATH, MANAGER, member @ ("UnitNew" | "UnitRemoved")) => {
                let unit = message.get1::<&str>()?.to_string();
                let news =
                    if member == "UnitNew" { UnitNews::Loaded(unit) } else { UnitNews::Unloaded(unit) };
                Some(Incoming::Unit { sender, news })
            }
            (path, PROPERTIES, "PropertiesChanged") if path.starts_with(UNITS) => {
                let mut arguments = message.iter_init();
                arguments.next();
                let change = UnitChange::read(&codec::read_all(&mut arguments)?)?;
                Some(Incoming::Unit { sender, news: UnitNews::Changed(path.into(), change) })
            }
            (_, BUS, "NameOwnerChanged") => {
                let (name, _, new) = message.get3::<&str, &str, &str>();
                let owner = Some(new?).filter(|owner| !owner.is_empty()).map(Into::into);
                (name? == NAME).then_some(Incoming::Owner { sender, owner })
            }
            _ => None,
        }
    }
}

fn error_of(message: &Message) -> BusError {
    let text = message.get1::<&str>().unwrap_or_default().to_string();
    // The crate gives an error's name only through `as_result`, which wants a message of its own.
    let name = message.duplicate().ok().and_then(|mut copy| {
        let error = copy.as_result().err()?;
        error.name().map(Into::into)
    });
    BusError { name: name.unwrap_or_else(|| "org.freedesktop.DBus.Error.Failed".into()), message: text }
}
