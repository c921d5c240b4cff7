//! Lists for C: rows of named fields, so that a later library can tell more of a row without breaking any program.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int};
use std::ptr;

use super::error::{Failure, answer, lend, quiet, unitwait_code, unitwait_error};
use super::handle::{Handle, give, known};
use super::pass::{Out, c_text};
use super::value::{Held, unitwait_value};
use crate::cgroup::{AuditFinding, GapReason, LimitGap, MisplacedProcess};
use crate::driver::UnitEvent;
use crate::manager::{UnitStatus, Updated};
use crate::unit::Value;

/// Rows that a call answered with: units, limits, processes, properties, findings, an event. Owned by the caller.
pub struct unitwait_list {
    _private: [u8; 0],
}

impl Handle for unitwait_list {
    type Object = List;
    const WHAT: &'static str = "list";
}

/// What a row may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub enum unitwait_field {
    /// A text: the row in one line, for people.
    UNITWAIT_FIELD_MESSAGE = 0,
    /// A text: a unit's name.
    UNITWAIT_FIELD_UNIT = 1,
    /// A text: a unit's description.
    UNITWAIT_FIELD_DESCRIPTION = 2,
    /// A text: "loaded", "not-found", …
    UNITWAIT_FIELD_LOAD_STATE = 3,
    /// A text: "active", "inactive", "failed", …
    UNITWAIT_FIELD_ACTIVE_STATE = 4,
    /// A text: the state in the words of the unit's type.
    UNITWAIT_FIELD_SUB_STATE = 5,
    /// A text: a unit's object path on D-Bus.
    UNITWAIT_FIELD_OBJECT_PATH = 6,
    /// A text: a property's name on D-Bus.
    UNITWAIT_FIELD_PROPERTY = 7,
    /// A text: a property's value; unitwait_list_value() has it with its type.
    UNITWAIT_FIELD_VALUE = 8,
    /// A text: what was asked for of a limit.
    UNITWAIT_FIELD_ASKED = 9,
    /// A text: what the kernel has of a limit, or the control group that a process is in.
    UNITWAIT_FIELD_FOUND = 10,
    /// A text: the kernel's file of a limit.
    UNITWAIT_FIELD_FILE = 11,
    /// A text and a number: why a limit does not hold, as one of enum unitwait_gap.
    UNITWAIT_FIELD_REASON = 12,
    /// A text and a number: a process's number.
    UNITWAIT_FIELD_PID = 13,
    /// A text: the hierarchy of control groups in which a process is elsewhere.
    UNITWAIT_FIELD_HIERARCHY = 14,
    /// A text: the control group in which a process should be.
    UNITWAIT_FIELD_EXPECTED = 15,
    /// A text and a number: what a row is, as one of enum unitwait_finding or enum unitwait_event.
    UNITWAIT_FIELD_KIND = 16,
    /// A text: a controller ("memory").
    UNITWAIT_FIELD_CONTROLLER = 17,
}

use unitwait_field::*;

/// Why a limit does not hold, or is not known to.
#[derive(Clone, Copy)]
#[repr(C)]
pub enum unitwait_gap {
    /// The kernel has the controller in no hierarchy that systemd sets limits in.
    UNITWAIT_GAP_NO_CONTROLLER = 0,
    /// On cgroup v1, where the controller is, there is no such limit.
    UNITWAIT_GAP_NOT_IN_LEGACY = 1,
    /// The controller is not enabled for the unit's control group.
    UNITWAIT_GAP_NOT_ENABLED = 2,
    /// This kernel's controller has no such file.
    UNITWAIT_GAP_NO_FILE = 3,
    /// No file of the kernel shows whether it holds.
    UNITWAIT_GAP_NOT_SHOWN = 4,
    /// The unit does not run, and gets the limit when it starts.
    UNITWAIT_GAP_NOT_RUNNING = 5,
    /// The kernel holds something else.
    UNITWAIT_GAP_DIFFERS = 6,
    /// The file could not be read.
    UNITWAIT_GAP_UNREADABLE = 7,
}

/// What an audit found.
#[derive(Clone, Copy)]
#[repr(C)]
pub enum unitwait_finding {
    /// The unit, or the run that a handle means, is over.
    UNITWAIT_FINDING_GONE = 0,
    /// The run is over, and another has its name.
    UNITWAIT_FINDING_REPLACED = 1,
    /// A process is not in the unit's control group.
    UNITWAIT_FINDING_MISPLACED = 2,
    /// A limit was written past systemd, whose next daemon-reload may undo it.
    UNITWAIT_FINDING_OVERWRITTEN = 3,
    /// The unit's property was changed since.
    UNITWAIT_FINDING_CHANGED = 4,
    /// The kernel does not hold a limit.
    UNITWAIT_FINDING_NOT_HELD = 5,
}

/// What happened to a unit that is watched.
#[derive(Clone, Copy)]
#[repr(C)]
pub enum unitwait_event {
    /// systemd knows the unit from now on.
    UNITWAIT_EVENT_LOADED = 0,
    /// The unit is in another state.
    UNITWAIT_EVENT_CHANGED = 1,
    /// systemd has forgotten the unit.
    UNITWAIT_EVENT_UNLOADED = 2,
    /// Events may have been missed: look at the units again.
    UNITWAIT_EVENT_INTERRUPTED = 3,
}

/// One field: its text, and its number where it has one.
type Cell = (CString, Option<u64>);

#[derive(Clone, Debug, Default)]
struct Row {
    cells: BTreeMap<unitwait_field, Cell>,
    value: Option<Value>,
}

impl Row {
    fn text(mut self, field: unitwait_field, text: &str) -> Row {
        self.cells.insert(field, (c_text(text), None));
        self
    }

    fn number(mut self, field: unitwait_field, text: &str, number: u64) -> Row {
        self.cells.insert(field, (c_text(text), Some(number)));
        self
    }

    fn of_gap(gap: &LimitGap) -> Row {
        use unitwait_gap::*;
        let (reason, word) = match gap.reason {
            GapReason::NoController(_) => (UNITWAIT_GAP_NO_CONTROLLER, "no-controller"),
            GapReason::NotInLegacy(_) => (UNITWAIT_GAP_NOT_IN_LEGACY, "not-in-legacy"),
            GapReason::NotEnabled => (UNITWAIT_GAP_NOT_ENABLED, "not-enabled"),
            GapReason::NoFile => (UNITWAIT_GAP_NO_FILE, "no-file"),
            GapReason::NotShown => (UNITWAIT_GAP_NOT_SHOWN, "not-shown"),
            GapReason::NotRunning => (UNITWAIT_GAP_NOT_RUNNING, "not-running"),
            GapReason::Differs => (UNITWAIT_GAP_DIFFERS, "differs"),
            GapReason::Unreadable(_) => (UNITWAIT_GAP_UNREADABLE, "unreadable"),
        };
        let row = Row::default()
            .text(UNITWAIT_FIELD_MESSAGE, &gap.to_string())
            .text(UNITWAIT_FIELD_PROPERTY, &gap.property)
            .text(UNITWAIT_FIELD_ASKED, &gap.asked)
            .number(UNITWAIT_FIELD_REASON, word, reason as u64);
        let row = gap.found.iter().fold(row, |row, found| row.text(UNITWAIT_FIELD_FOUND, found));
        gap.file.iter().fold(row, |row, file| row.text(UNITWAIT_FIELD_FILE, &file.to_string_lossy()))
    }

    fn of_misplaced(process: &MisplacedProcess) -> Row {
        Row::default()
            .text(UNITWAIT_FIELD_MESSAGE, &process.to_string())
            .number(UNITWAIT_FIELD_PID, &process.pid.to_string(), process.pid.into())
            .text(UNITWAIT_FIELD_HIERARCHY, &process.hierarchy)
            .text(UNITWAIT_FIELD_EXPECTED, &process.expected)
            .text(UNITWAIT_FIELD_FOUND, &process.found)
    }

    fn of_finding(finding: &AuditFinding) -> Row {
        use unitwait_finding::*;
        let (row, kind, word) = match finding {
            AuditFinding::Gone => (Row::default(), UNITWAIT_FINDING_GONE, "gone"),
            AuditFinding::Replaced => (Row::default(), UNITWAIT_FINDING_REPLACED, "replaced"),
            AuditFinding::Misplaced(process) => {
                (Row::of_misplaced(process), UNITWAIT_FINDING_MISPLACED, "misplaced")
            }
            AuditFinding::Overwritten(gap) => (Row::of_gap(gap), UNITWAIT_FINDING_OVERWRITTEN, "overwritten"),
            AuditFinding::Changed(gap) => (Row::of_gap(gap), UNITWAIT_FINDING_CHANGED, "changed"),
            AuditFinding::NotHeld(gap) => (Row::of_gap(gap), UNITWAIT_FINDING_NOT_HELD, "not-held"),
        };
        row.text(UNITWAIT_FIELD_MESSAGE, &finding.to_string()).number(UNITWAIT_FIELD_KIND, word, kind as u64)
    }

    fn of_unit(unit: &UnitStatus) -> Row {
        Row::default()
            .text(UNITWAIT_FIELD_UNIT, &unit.name)
            .text(UNITWAIT_FIELD_DESCRIPTION, &unit.description)
            .text(UNITWAIT_FIELD_LOAD_STATE, &unit.load_state)
            .text(UNITWAIT_FIELD_ACTIVE_STATE, &unit.active_state)
            .text(UNITWAIT_FIELD_SUB_STATE, &unit.sub_state)
            .text(UNITWAIT_FIELD_OBJECT_PATH, &unit.object_path)
    }
}

/// What is behind a list's handle.
#[derive(Clone, Debug)]
pub(super) struct List(Vec<Row>);

impl List {
    pub fn of_gaps(gaps: &[LimitGap]) -> List {
        List(gaps.iter().map(Row::of_gap).collect())
    }

    pub fn of_misplaced(processes: &[MisplacedProcess]) -> List {
        List(processes.iter().map(Row::of_misplaced).collect())
    }

    pub fn of_findings(findings: &[AuditFinding]) -> List {
        List(findings.iter().map(Row::of_finding).collect())
    }

    pub fn of_units(units: &[UnitStatus]) -> List {
        List(units.iter().map(Row::of_unit).collect())
    }

    pub fn of_pids(pids: &[u32]) -> List {
        let row = |pid: &u32| Row::default().number(UNITWAIT_FIELD_PID, &pid.to_string(), (*pid).into());
        List(pids.iter().map(row).collect())
    }

    /// Properties by their names alone.
    pub fn of_names(names: &[String]) -> List {
        List(names.iter().map(|name| Row::default().text(UNITWAIT_FIELD_PROPERTY, name)).collect())
    }

    pub fn of_controllers(names: &[String]) -> List {
        List(names.iter().map(|name| Row::default().text(UNITWAIT_FIELD_CONTROLLER, name)).collect())
    }

    pub fn of_unit_name(unit: &str) -> List {
        List(vec![Row::default().text(UNITWAIT_FIELD_UNIT, unit)])
    }

    pub fn of_properties(properties: BTreeMap<String, Value>) -> List {
        let row = |(name, value): (String, Value)| {
            let row = Row::default().text(UNITWAIT_FIELD_PROPERTY, &name);
            Row { value: Some(value.clone()), ..row.text(UNITWAIT_FIELD_VALUE, &value.to_string()) }
        };
        List(properties.into_iter().map(row).collect())
    }

    pub fn of_event(event: &UnitEvent) -> List {
        use unitwait_event::*;
        let row =
            |kind: unitwait_event, word: &str| Row::default().number(UNITWAIT_FIELD_KIND, word, kind as u64);
        List(vec![match event {
            UnitEvent::Loaded { unit } => {
                row(UNITWAIT_EVENT_LOADED, "loaded").text(UNITWAIT_FIELD_UNIT, unit)
            }
            UnitEvent::Changed { unit, active_state, sub_state } => row(UNITWAIT_EVENT_CHANGED, "changed")
                .text(UNITWAIT_FIELD_UNIT, unit)
                .text(UNITWAIT_FIELD_ACTIVE_STATE, active_state)
                .text(UNITWAIT_FIELD_SUB_STATE, sub_state),
            UnitEvent::Unloaded { unit } => {
                row(UNITWAIT_EVENT_UNLOADED, "unloaded").text(UNITWAIT_FIELD_UNIT, unit)
            }
            UnitEvent::Interrupted => row(UNITWAIT_EVENT_INTERRUPTED, "interrupted"),
        }])
    }

    /// Answers a call with what is read, for which there must be a place; until then it has none.
    pub fn answer(
        to: Out<*mut unitwait_list>,
        error: Out<*mut unitwait_error>,
        read: impl FnOnce() -> Result<List, Failure>,
    ) -> unitwait_code {
        to.put(ptr::null_mut());
        answer(error, || {
            to.needed("list")?;
            read()?.hand_over(&to);
            Ok(())
        })
    }

    /// Answers a call that changes a unit, with what did not take.
    pub fn answer_change(
        gaps: Out<*mut unitwait_list>,
        left_out: Out<*mut unitwait_list>,
        error: Out<*mut unitwait_error>,
        change: impl FnOnce() -> Result<Updated, Failure>,
    ) -> unitwait_code {
        gaps.put(ptr::null_mut());
        left_out.put(ptr::null_mut());
        answer(error, || {
            let updated = change()?;
            List::of_gaps(&updated.limit_gaps).hand_over(&gaps);
            List::of_names(&updated.left_out).hand_over(&left_out);
            Ok(())
        })
    }

    fn hand_over(self, to: &Out<*mut unitwait_list>) {
        if to.is_wanted() {
            to.put(give(self));
        }
    }

    fn cell(&self, row: usize, field: c_int) -> Option<&Cell> {
        self.0.get(row)?.cells.iter().find(|(known, _)| **known as c_int == field).map(|(_, cell)| cell)
    }
}

/// How many rows there are; 0 where it is no list's handle. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_list_length(list: *const unitwait_list) -> usize {
    quiet(0, || Some(known(list)?.0.len()))
}

/// The text of a row's field (enum unitwait_field), NULL where the row has none or there is no such row. Rows count
/// from 0. The list's own; does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_list_text(list: *const unitwait_list, row: usize, field: c_int) -> *const c_char {
    quiet(ptr::null(), || Some(lend(known(list)?.cell(row, field).map(|(text, _)| text.as_c_str()))))
}

/// The number of a row's field. False, and 0 in its place, where the row has none. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_list_number(
    list: *const unitwait_list,
    row: usize,
    field: c_int,
    number: Out<u64>,
) -> bool {
    let found = quiet(None, || Some(known(list)?.cell(row, field)?.1));
    number.put(found.unwrap_or_default());
    found.is_some()
}

/// The value of a row that is a property, with its type; NULL where the row is none. The caller's to free; does not
/// block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_list_value(list: *const unitwait_list, row: usize) -> *mut unitwait_value {
    quiet(ptr::null_mut(), || Some(give(Held::new(known(list)?.0.get(row)?.value.clone()?))))
}
