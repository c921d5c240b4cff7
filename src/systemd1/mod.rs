//! The names and messages of `org.freedesktop.systemd1`: what can be asked, and what comes back.
//!
//! Nothing here does I/O or keeps state. Source: `org.freedesktop.systemd1(5)`.

mod call;
mod codec;
mod incoming;

pub(crate) use call::{Call, Members, Verb};
pub(crate) use incoming::{BusError, Incoming, JobRemoved, Reply, UnitChange, UnitNews};

use crate::unit::name;

/// The name that the manager owns on a bus.
pub(crate) const NAME: &str = "org.freedesktop.systemd1";
/// The bus's own name, object and interface.
pub(crate) const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
/// The manager's object.
pub(crate) const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
/// Where the units' own objects are.
const UNITS: &str = "/org/freedesktop/systemd1/unit/";
pub(crate) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
pub(crate) const UNIT: &str = "org.freedesktop.systemd1.Unit";
pub(crate) const JOB: &str = "org.freedesktop.systemd1.Job";
const PEER: &str = "org.freedesktop.DBus.Peer";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The property that names a new unit's processes by their pidfds.
pub(crate) const PIDFDS: &str = "PIDFDs";

/// What the manager answers where a process to place is not there.
pub(crate) const NO_SUCH_PROCESS: &str = "org.freedesktop.systemd1.NoSuchProcess";

/// The bus's own refusals that the driver must tell from all others.
pub(crate) const LIMITS_EXCEEDED: &str = "org.freedesktop.DBus.Error.LimitsExceeded";
pub(crate) const ACCESS_DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";
pub(crate) const NAME_HAS_NO_OWNER: &str = "org.freedesktop.DBus.Error.NameHasNoOwner";
pub(crate) const SERVICE_UNKNOWN: &str = "org.freedesktop.DBus.Error.ServiceUnknown";
pub(crate) const NO_REPLY: &str = "org.freedesktop.DBus.Error.NoReply";
pub(crate) const FREEZE_CANCELLED: &str = "org.freedesktop.systemd1.FreezeCancelled";
pub(crate) const NOT_SUPPORTED: &str = "org.freedesktop.DBus.Error.NotSupported";

/// What tells of the ends of jobs, everybody's. A sender in it spares the bus work; it proves nothing, for a message
/// addressed to this connection passes every rule by.
pub(crate) const JOB_RULE: &str = "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
     interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// What a connection to a bus listens to.
pub(crate) const MATCH_RULES: [&str; 2] = [
    JOB_RULE,
    "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',\
     interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.freedesktop.systemd1'",
];

/// What a connection listens to as long as somebody follows units by their names. The state is in the properties
/// that all units have, so the interfaces of their types may be silent.
pub(crate) const UNIT_RULES: [&str; 3] = [
    "type='signal',sender='org.freedesktop.systemd1',path_namespace='/org/freedesktop/systemd1/unit',\
     interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',arg0='org.freedesktop.systemd1.Unit'",
    "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
     interface='org.freedesktop.systemd1.Manager',member='UnitNew'",
    "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
     interface='org.freedesktop.systemd1.Manager',member='UnitRemoved'",
];

/// What a connection listens to while somebody waits for the unit whose object is at this path.
pub(crate) fn unit_rule(path: &str) -> String {
    format!(
        "type='signal',sender='{NAME}',path='{path}',interface='{PROPERTIES}',member='PropertiesChanged',\
         arg0='{UNIT}'"
    )
}

/// The interface that holds the properties of a unit's type (`…Scope` for `x.scope`).
pub(crate) fn type_interface(unit: &str) -> String {
    let suffix = name::after_last(unit, b'.').unwrap_or(unit);
    let mut interface = format!("{NAME}.{suffix}");
    if let Some(first) = interface.get_mut(NAME.len() + 1..NAME.len() + 2) {
        first.make_ascii_uppercase();
    }
    interface
}

/// A unit's object path: each byte that a path cannot hold becomes `_` and two hex digits, and so does a
/// leading digit (`sd_bus_path_encode(3)`).
pub(crate) fn unit_path(unit: &str) -> String {
    use std::fmt::Write;
    let mut path = String::from(UNITS);
    for (at, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "_{byte:02x}");
        }
    }
    path
}

/// The unit whose object is at a path: the reverse of [`unit_path`]. `None` for what is none.
pub(crate) fn unit_at(path: &str) -> Option<String> {
    let mut bytes = path.strip_prefix(UNITS)?.bytes();
    let mut name = Vec::new();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'_' {
            let digits = [bytes.next()?, bytes.next()?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
        } else {
            byte
        };
        name.push(byte);
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_interfaces_are_those_that_systemd_has() {
        assert_eq!(unit_path("3a-b.scope"), "/org/freedesktop/systemd1/unit/_33a_2db_2escope");
        for unit in ["3a-b.scope", "_x.scope", "a@b\\x2d.slice"] {
            assert_eq!(unit_at(&unit_path(unit)).as_deref(), Some(unit));
        }
        assert_eq!(unit_at("/org/freedesktop/systemd1/unit/a_2"), None);
        assert_eq!(type_interface("a.b.slice"), "org.freedesktop.systemd1.Slice");
    }
}
