//! What each kind of property becomes on D-Bus: its name there, and its typed value.
//!
//! Every function takes the property's name and its value as text, and says as an error only what is wrong with
//! the value; the example beside it in the table says what would have been right.

use unitwait::{Property, Value};

use super::syntax::{self, Parsed};

const FULL: u64 = 10_000; // parts of ten thousand, the finest share that can be written
const CPU_SHARES: (u64, u64) = (2, 262_144);
const WEIGHT: (u64, u64) = (1, 10_000);
const BLOCK_IO_WEIGHT: (u64, u64) = (10, 1_000);

/// The name on D-Bus, where times are microseconds and a quota is one for a second.
pub fn bus_name(name: &str) -> String {
    match name.strip_suffix("Sec") {
        _ if name == "CPUQuota" => "CPUQuotaPerSecUSec".into(),
        Some(stem) => format!("{stem}USec"),
        None => name.into(),
    }
}

fn property(name: &str, value: impl Into<Value>) -> Property {
    Property::new(bus_name(name), value)
}

pub fn text(name: &str, value: &str) -> Parsed<Property> {
    Ok(property(name, value))
}

pub fn boolean(name: &str, value: &str) -> Parsed<Property> {
    Ok(property(name, syntax::boolean(value)?))
}

pub fn words(name: &str, value: &str) -> Parsed<Property> {
    Ok(property(name, Value::strings(syntax::words(value)?)))
}

pub fn span(name: &str, value: &str) -> Parsed<Property> {
    Ok(property(name, syntax::span(value)?))
}

/// A time that, left empty, is systemd's own again.
pub fn span_or_none(name: &str, value: &str) -> Parsed<Property> {
    span(name, if value.is_empty() { "infinity" } else { value })
}

pub fn count(name: &str, value: &str) -> Parsed<Property> {
    let count = syntax::integer(value)?;
    Ok(property(name, u32::try_from(count).map_err(|_| format!("{value} is more than {}", u32::MAX))?))
}

pub fn exit_status(name: &str, value: &str) -> Parsed<Property> {
    let status = match value {
        "" => -1,
        _ => syntax::within(value, (0, 255))? as i32,
    };
    Ok(property(name, status))
}

pub fn signal(name: &str, value: &str) -> Parsed<Property> {
    Ok(property(name, syntax::signal(value)?))
}

/// Truth, or the controllers that are meant; those have a property of their own.
pub fn delegate(name: &str, value: &str) -> Parsed<Property> {
    match syntax::boolean(value) {
        Ok(truth) => Ok(property(name, truth)),
        Err(_) => words("DelegateControllers", value),
    }
}

pub fn memory(name: &str, value: &str) -> Parsed<Property> {
    limit(name, value, u64::MAX, |value| syntax::size(value, 1024))
}

pub fn memory_protection(name: &str, value: &str) -> Parsed<Property> {
    limit(name, value, 0, |value| syntax::size(value, 1024))
}

pub fn tasks(name: &str, value: &str) -> Parsed<Property> {
    limit(name, value, u64::MAX, syntax::integer)
}

/// A limit in numbers, or as a share of all there is: that one systemd works out, in a property of its own.
fn limit(name: &str, value: &str, unset: u64, read: impl Fn(&str) -> Parsed<u64>) -> Parsed<Property> {
    match value {
        "" => Ok(property(name, unset)),
        "infinity" => Ok(property(name, Value::INFINITY)),
        _ if syntax::is_share(value) => share(&format!("{name}Scale"), value),
        _ => read(value).map(|limit| property(name, limit)),
    }
}

/// A share of one, as systemd carries it: 100 % are `u32::MAX`.
pub fn share(name: &str, value: &str) -> Parsed<Property> {
    let parts = syntax::share(value)?;
    if parts > FULL {
        return Err(format!("{value} is more than 100%"));
    }
    let scale = (parts * u64::from(u32::MAX) + FULL / 2) / FULL;
    Ok(property(name, scale as u32))
}

pub fn quota(name: &str, value: &str) -> Parsed<Property> {
    if matches!(value, "" | "infinity") {
        return Ok(property(name, Value::INFINITY));
    }
    match syntax::share(value)? {
        0 => Err("a quota of nothing would let nothing run".into()),
        parts => Ok(property(name, parts * 1_000_000 / FULL)),
    }
}

pub fn cpu_weight(name: &str, value: &str) -> Parsed<Property> {
    if value == "idle" { Ok(property(name, 0u64)) } else { weight(name, value, WEIGHT) }
}

pub fn io_weight(name: &str, value: &str) -> Parsed<Property> {
    weight(name, value, WEIGHT)
}

pub fn cpu_shares(name: &str, value: &str) -> Parsed<Property> {
    weight(name, value, CPU_SHARES)
}

pub fn block_io_weight(name: &str, value: &str) -> Parsed<Property> {
    weight(name, value, BLOCK_IO_WEIGHT)
}

fn weight(name: &str, value: &str, range: (u64, u64)) -> Parsed<Property> {
    // On D-Bus the largest number stands for "not set", not for infinity.
    let weight = if value.is_empty() { u64::MAX } else { syntax::within(value, range)? };
    Ok(property(name, weight))
}

pub fn index_set(name: &str, value: &str) -> Parsed<Property> {
    Ok(property(name, Value::bytes(syntax::index_set(value)?)))
}

pub fn device_rate(name: &str, value: &str) -> Parsed<Property> {
    per_device(name, value, |rate| if rate == "infinity" { Ok(u64::MAX) } else { syntax::size(rate, 1000) })
}

pub fn device_weight(name: &str, value: &str) -> Parsed<Property> {
    let range = if name.starts_with("Block") { BLOCK_IO_WEIGHT } else { WEIGHT };
    per_device(name, value, |weight| syntax::within(weight, range))
}

pub fn device_latency(name: &str, value: &str) -> Parsed<Property> {
    per_device(name, value, syntax::span)
}

fn per_device(name: &str, value: &str, read: impl Fn(&str) -> Parsed<u64>) -> Parsed<Property> {
    if value.is_empty() {
        return Ok(property(name, list("(st)", [])));
    }
    let (path, amount) = value.split_once(' ').ok_or("it needs a path, a space and a value")?;
    if !path.starts_with('/') {
        return Err(format!("`{path}` is not an absolute path"));
    }
    let amount = read(amount.trim_start())?;
    Ok(property(name, list("(st)", [vec![path.into(), amount.into()]])))
}

/// A device, or a group of them (`char-pts`), and what may be done with it.
pub fn device_allow(name: &str, value: &str) -> Parsed<Property> {
    if value.is_empty() {
        return Ok(property(name, list("(ss)", [])));
    }
    let (device, access) = value.split_once(' ').unwrap_or((value, ""));
    let access = access.trim();
    if !access.chars().all(|c| "rwm".contains(c)) {
        return Err(format!("`{access}` is not made of r, w and m"));
    }
    Ok(property(name, list("(ss)", [vec![device.into(), access.into()]])))
}

pub fn addresses(name: &str, value: &str) -> Parsed<Property> {
    let mut entries = Vec::new();
    for word in value.split_whitespace() {
        for prefix in syntax::prefixes(word)? {
            let bytes = Value::bytes(prefix.address);
            entries.push(vec![prefix.family.into(), bytes, prefix.length.into()]);
        }
    }
    Ok(property(name, list("(iayu)", entries)))
}

pub fn filter_path(name: &str, value: &str) -> Parsed<Property> {
    let path = Some(value).filter(|path| !path.is_empty());
    Ok(property(name, Value::strings(path)))
}

pub fn bpf_program(name: &str, value: &str) -> Parsed<Property> {
    if value.is_empty() {
        return Ok(property(name, list("(ss)", [])));
    }
    let (attach, path) = value.split_once(':').ok_or("it needs an attach type, a colon and a path")?;
    Ok(property(name, list("(ss)", [vec![attach.into(), path.into()]])))
}

pub fn socket_bind(name: &str, value: &str) -> Parsed<Property> {
    if value.is_empty() {
        return Ok(property(name, list("(iiqq)", [])));
    }
    let bind = syntax::socket_bind(value)?;
    let fields = vec![bind.family.into(), bind.protocol.into(), bind.ports.into(), bind.first_port.into()];
    Ok(property(name, list("(iiqq)", [fields])))
}

/// `Condition…=` and `Assert…=`, whose names systemd keeps as data: a trigger is marked by `|`, a negation by `!`.
pub fn condition(name: &str, value: &str) -> Property {
    let group = if name.starts_with("Condition") { "Conditions" } else { "Asserts" };
    if value.is_empty() {
        return property(group, list("(sbbs)", []));
    }
    let (trigger, rest) = flag(value, '|');
    let (negated, parameter) = flag(rest, '!');
    property(group, list("(sbbs)", [vec![name.into(), trigger.into(), negated.into(), parameter.into()]]))
}

fn flag(text: &str, mark: char) -> (bool, &str) {
    text.strip_prefix(mark).map_or((false, text), |rest| (true, rest))
}

fn list(element: &str, entries: impl IntoIterator<Item = Vec<Value>>) -> Value {
    Value::Array(element.into(), entries.into_iter().map(Value::Struct).collect())
}
