//! What units are like: `status` and `list`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use serde_json::{Map, Value as Json, json};
use unitwait::{Deadline, Manager, UnitStatus, Value};

use crate::args::List;
use crate::failure::Failure;
use crate::name::{patterns, with_suffix};
use crate::output::value_json;
use crate::session::Session;
use crate::units::{report, scopes};

/// The limits worth a line in `status`, where they are set.
const LIMITS: [&str; 14] = [
    "MemoryMax",
    "MemoryHigh",
    "MemoryLow",
    "MemorySwapMax",
    "TasksMax",
    "CPUQuotaPerSecUSec",
    "CPUWeight",
    "IOWeight",
    "AllowedCPUs",
    "AllowedMemoryNodes",
    "Delegate",
    "RuntimeMaxUSec",
    "MemoryCurrent",
    "TasksCurrent",
];

pub fn status(session: &Session, names: &[String]) -> Result<(), Failure> {
    let manager = session.open()?;
    let (mut blocks, mut shown, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for unit in scopes(names) {
        match look(&manager, &unit, session.deadline()) {
            Ok(status) => {
                blocks.push(block(&status));
                shown.push(Json::Object(status));
            }
            Err(failure) => failures.push(failure),
        }
    }
    report(session, blocks.join("\n"), shown, failures)
}

pub fn list(session: &Session, asked: &List) -> Result<(), Failure> {
    let manager = session.open()?;
    let patterns = patterns(&asked.patterns);
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let mut units = manager.list_units(&patterns, session.deadline())?;
    units.retain(|unit| is_in(&asked.state, unit));
    if let Some(slice) = &asked.slice {
        let within = manager.units_in_slice(&with_suffix(slice, ".slice"), session.deadline())?;
        let within: BTreeSet<String> = within.into_iter().map(|unit| unit.name).collect();
        units.retain(|unit| within.contains(&unit.name));
    }
    units.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let width = units.iter().map(|unit| unit.name.len()).max().unwrap_or(0);
    let mut lines = String::new();
    for unit in &units {
        let state = format!("{}/{}", unit.active_state, unit.sub_state);
        let _ = writeln!(lines, "{:width$}  {state:18}  {}", unit.name, unit.description);
    }
    let json = units.iter().map(|unit| {
        json!({
            "unit": unit.name, "description": unit.description, "load_state": unit.load_state,
            "active_state": unit.active_state, "sub_state": unit.sub_state, "object_path": unit.object_path,
        })
    });
    report(session, lines, json.collect(), Vec::new())
}

/// As `systemctl --state=` has it: any of the unit's states, in any of those asked for.
fn is_in(states: &[String], unit: &UnitStatus) -> bool {
    let own = [&unit.load_state, &unit.active_state, &unit.sub_state];
    states.is_empty() || states.iter().any(|state| own.contains(&state))
}

fn look(manager: &Manager, unit: &str, deadline: Deadline) -> Result<Map<String, Json>, Failure> {
    let all = manager.properties(unit, deadline)?;
    let text = |name: &str| all.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("LoadState") == "not-found" {
        return Err(Failure::NotLoaded { unit: unit.into() });
    }
    let group = text("ControlGroup");
    let mut status = Map::new();
    let mut put = |key: &str, value: Json| status.insert(key.into(), value);
    put("unit", unit.into());
    put("description", text("Description").into());
    put("load_state", text("LoadState").into());
    put("active_state", text("ActiveState").into());
    put("sub_state", text("SubState").into());
    put("result", text("Result").into());
    put("control_group", group.into());
    let invocation = all.get("InvocationID").map(Value::to_string).filter(|id| !id.is_empty());
    put("invocation_id", invocation.into());
    put("pids", pids(manager, group).into());
    if unit.ends_with(".slice") {
        let within = manager.units_in_slice(unit, deadline)?;
        put("units", within.iter().filter(|unit| !unit.name.ends_with(".slice")).count().into());
    }
    put("limits", limits(&all).into());
    Ok(status)
}

/// The processes in the unit's own control group, those in groups below it left out; `None` where it has none.
fn pids(manager: &Manager, group: &str) -> Option<Vec<u32>> {
    // The empty path would be the root's.
    let path = Some(group).filter(|group| !group.is_empty()).map(|group| manager.layout().path(group))?;
    let text = fs::read_to_string(path.join("cgroup.procs")).ok()?;
    Some(text.lines().filter_map(|line| line.parse().ok()).collect())
}

fn limits(all: &BTreeMap<String, Value>) -> Map<String, Json> {
    let set = |name: &str, value: &Value| match value {
        Value::U64(0) => name != "MemoryLow",
        Value::U64(u64::MAX) | Value::Bool(false) => false,
        Value::Array(_, items) => !items.is_empty(),
        _ => true,
    };
    let there = LIMITS.iter().filter_map(|name| Some((*name, all.get(*name)?)));
    there
        .filter(|(name, value)| set(name, value))
        .map(|(name, value)| (name.to_string(), value_json(value)))
        .collect()
}

/// One unit for people.
fn block(status: &Map<String, Json>) -> String {
    let text = |key: &str| status.get(key).and_then(Json::as_str).unwrap_or("none");
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:14} {value}");
    };
    line("state", &format!("{} ({}), {}", text("active_state"), text("sub_state"), text("load_state")));
    line("result", text("result"));
    line("control group", text("control_group"));
    line("invocation", text("invocation_id"));
    let pids: Vec<String> = items(status.get("pids")).iter().map(Json::to_string).collect();
    if let Some(units) = status.get("units") {
        line("units", &format!("{units}, in it and in the slices below it"));
    }
    line("processes", if pids.is_empty() { "none".into() } else { pids.join(" ") }.as_str());
    for (name, value) in status.get("limits").and_then(Json::as_object).into_iter().flatten() {
        line(name, &value.as_str().map_or_else(|| value.to_string(), str::to_string));
    }
    format!("{}: {}\n{out}", text("unit"), text("description"))
}

fn items(value: Option<&Json>) -> &[Json] {
    value.and_then(Json::as_array).map_or(&[], Vec::as_slice)
}
