//! Limits as asked for and as the kernel holds them. systemd says `done` to a limit that no controller enforces.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use super::layout::CgroupLayout;
use crate::unit::{Property, Value};

/// A limit that was asked for and that the kernel does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitGap {
    /// The property by its name on D-Bus.
    pub property: String,
    /// What was asked for, as the property has it.
    pub asked: String,
    /// What the kernel has, where it has anything.
    pub found: Option<String>,
    /// The kernel's file, where the layout has one.
    pub file: Option<PathBuf>,
    /// Why it does not hold.
    pub reason: GapReason,
}

/// Why a limit does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// The kernel has this controller in no hierarchy that is mounted here.
    NoController(String),
    /// cgroup v1 has no such limit.
    NotInLegacy(String),
    /// The unit's control group has no such file: the controller is not enabled for it.
    NotEnabled,
    /// The kernel holds something else.
    Differs,
    /// The file could not be read, in the operating system's words.
    Unreadable(String),
}

impl fmt::Display for LimitGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: asked {}, ", self.property, self.asked)?;
        match (&self.reason, &self.found) {
            (GapReason::NoController(name), _) => write!(f, "no {name} controller is here"),
            (GapReason::NotInLegacy(name), _) => write!(f, "cgroup v1's {name} controller has no such limit"),
            (GapReason::NotEnabled, _) => f.write_str("the controller is not enabled for the unit"),
            (GapReason::Unreadable(why), _) => write!(f, "the kernel's file cannot be read: {why}"),
            (GapReason::Differs, Some(found)) => write!(f, "the kernel has {found}"),
            (GapReason::Differs, None) => f.write_str("the kernel has another"),
        }
    }
}

/// How a file's text is compared with what was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// Bytes; the kernel rounds down to its page size.
    Bytes,
    Count,
    /// v2: `quota period`. v1: the quota, with the period in the file beside it.
    Quota,
    /// v2 weight; v1 shares, 1024 for a weight of 100.
    CpuWeight,
    /// `default N` or `N`.
    IoWeight,
    Set,
    /// A share of something whose whole is the kernel's to know: some finite limit must be there.
    Finite,
}

/// One limit: the property, the v2 and v1 controllers, and their files.
#[derive(Debug, PartialEq)]
struct Known {
    property: &'static str,
    form: Form,
    unified: (&'static str, &'static [&'static str]),
    legacy: (&'static str, &'static [&'static str]),
}

const fn known(
    property: &'static str,
    form: Form,
    unified: (&'static str, &'static [&'static str]),
    legacy: (&'static str, &'static [&'static str]),
) -> Known {
    Known { property, form, unified, legacy }
}

/// Source: `systemd.resource-control(5)`, and `cgroup_context_apply()` in systemd for what v1 gets.
static KNOWN: [Known; 18] = [
    known("MemoryMax", Form::Bytes, ("memory", &["memory.max"]), ("memory", &["memory.limit_in_bytes"])),
    known("MemoryLimit", Form::Bytes, ("memory", &["memory.max"]), ("memory", &["memory.limit_in_bytes"])),
    known("MemoryHigh", Form::Bytes, ("memory", &["memory.high"]), ("memory", &[])),
    known("MemoryLow", Form::Bytes, ("memory", &["memory.low"]), ("memory", &[])),
    known("MemoryMin", Form::Bytes, ("memory", &["memory.min"]), ("memory", &[])),
    known("MemorySwapMax", Form::Bytes, ("memory", &["memory.swap.max"]), ("memory", &[])),
    known("MemoryZSwapMax", Form::Bytes, ("memory", &["memory.zswap.max"]), ("memory", &[])),
    known(
        "MemoryMaxScale",
        Form::Finite,
        ("memory", &["memory.max"]),
        ("memory", &["memory.limit_in_bytes"]),
    ),
    known("MemoryHighScale", Form::Finite, ("memory", &["memory.high"]), ("memory", &[])),
    known("MemorySwapMaxScale", Form::Finite, ("memory", &["memory.swap.max"]), ("memory", &[])),
    known("TasksMax", Form::Count, ("pids", &["pids.max"]), ("pids", &["pids.max"])),
    known("TasksMaxScale", Form::Finite, ("pids", &["pids.max"]), ("pids", &["pids.max"])),
    known("CPUQuotaPerSecUSec", Form::Quota, ("cpu", &["cpu.max"]), ("cpu", &["cpu.cfs_quota_us"])),
    known("CPUWeight", Form::CpuWeight, ("cpu", &["cpu.weight"]), ("cpu", &["cpu.shares"])),
    known("IOWeight", Form::IoWeight, ("io", &["io.weight", "io.bfq.weight"]), ("blkio", BLKIO_WEIGHTS)),
    known("BlockIOWeight", Form::IoWeight, ("io", &["io.weight", "io.bfq.weight"]), ("blkio", BLKIO_WEIGHTS)),
    known("AllowedCPUs", Form::Set, ("cpuset", &["cpuset.cpus"]), ("cpuset", &[])),
    known("AllowedMemoryNodes", Form::Set, ("cpuset", &["cpuset.mems"]), ("cpuset", &[])),
];

const BLKIO_WEIGHTS: &[&str] = &["blkio.weight", "blkio.bfq.weight"];

/// A limit that a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AskedLimit {
    known: &'static Known,
    value: Value,
}

impl AskedLimit {
    pub(super) fn legacy_controller(&self) -> &'static str {
        self.known.legacy.0
    }
}

/// The limits among a request's properties, typed setters' and others' alike.
pub(crate) fn asked_limits(properties: &[Property]) -> Vec<AskedLimit> {
    let limits = properties.iter().filter_map(|property| {
        let known = KNOWN.iter().find(|known| known.property == property.name())?;
        Some(AskedLimit { known, value: property.value().clone() })
    });
    limits.collect()
}

/// Each limit that a unit's group does not hold.
pub(super) fn gaps(layout: &CgroupLayout, group: &str, limits: &[AskedLimit]) -> Vec<LimitGap> {
    limits.iter().filter_map(|limit| gap(layout, group, limit)).collect()
}

fn gap(layout: &CgroupLayout, group: &str, limit: &AskedLimit) -> Option<LimitGap> {
    let Known { property, form, unified, legacy } = limit.known;
    let report = |file: Option<PathBuf>, found: Option<String>, reason: GapReason| {
        let (property, asked) = (property.to_string(), limit.value.to_string());
        Some(LimitGap { property, asked, found, file, reason })
    };
    let (directory, files, is_legacy) = match layout.legacy_mount(legacy.0) {
        Some(_) if legacy.1.is_empty() => {
            return unless_unlimited(limit, report(None, None, GapReason::NotInLegacy(legacy.0.into())));
        }
        Some(mount) => (mount.join(group.trim_start_matches('/')), legacy.1, true),
        None => match layout.controller_path(unified.0, group) {
            Some(directory) => (directory, unified.1, false),
            None => {
                return unless_unlimited(
                    limit,
                    report(None, None, GapReason::NoController(unified.0.into())),
                );
            }
        },
    };
    match read_first(&directory, files) {
        Ok((file, text)) => {
            let period = if is_legacy { read(&directory.join("cpu.cfs_period_us")) } else { None };
            if holds(*form, &limit.value, &text, period.as_deref(), is_legacy) {
                return None;
            }
            report(Some(file), Some(text), GapReason::Differs)
        }
        Err((file, error)) if error.kind() == io::ErrorKind::NotFound => {
            unless_unlimited(limit, report(Some(file), None, GapReason::NotEnabled))
        }
        Err((file, error)) => report(Some(file), None, GapReason::Unreadable(error.to_string())),
    }
}

/// To ask for no limit, and to have no file that could hold one, is to have what was asked for.
fn unless_unlimited(limit: &AskedLimit, gap: Option<LimitGap>) -> Option<LimitGap> {
    gap.filter(|_| limit.value != Value::INFINITY)
}

fn read(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok().map(|text| text.trim().to_string())
}

fn read_first(directory: &Path, files: &[&str]) -> Result<(PathBuf, String), (PathBuf, io::Error)> {
    let mut failure = (directory.to_path_buf(), io::Error::from(io::ErrorKind::NotFound));
    for file in files {
        let path = directory.join(file);
        match fs::read_to_string(&path) {
            Ok(text) => return Ok((path, text.trim().to_string())),
            Err(error) => failure = (path, error),
        }
    }
    Err(failure)
}

/// cgroup v1 writes "no limit" as the largest number of whole pages.
const LEGACY_UNLIMITED: u64 = 0x7fff_ffff_0000_0000;

fn holds(form: Form, asked: &Value, text: &str, period: Option<&str>, legacy: bool) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    let unlimited = text == "max" || text == "-1" || number(text).is_some_and(|n| n >= LEGACY_UNLIMITED);
    let asked_number = asked.as_u64();
    match form {
        Form::Finite => !unlimited,
        Form::Set => parse_set(text).is_some_and(|set| set == mask_set(asked)),
        Form::Bytes | Form::Count if asked_number == Some(u64::MAX) => unlimited,
        Form::Bytes => asked_number.is_some_and(|asked| number(text) == Some(asked - asked % page_size())),
        Form::Count => asked_number == number(text),
        Form::Quota => quota_holds(asked_number, text, period),
        Form::CpuWeight if legacy => asked_number.map(|weight| (weight * 1024 / 100).max(2)) == number(text),
        Form::CpuWeight => asked_number == number(text),
        Form::IoWeight => io_weight_holds(asked_number, text.trim_start_matches("default ")),
    }
}

fn page_size() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| size.try_into().ok()).unwrap_or(4096)
}

/// The quota is a ratio, which systemd rounds to a whole number of microseconds in a period of its own choice.
fn quota_holds(asked: Option<u64>, text: &str, period: Option<&str>) -> bool {
    const SECOND: u128 = 1_000_000;
    let (quota, own_period) = text.split_once(' ').unwrap_or((text, period.unwrap_or_default()));
    match (asked, quota.parse::<u128>(), own_period.parse::<u128>()) {
        (Some(u64::MAX), Err(_), _) => true,
        (Some(asked), Ok(quota), Ok(period)) => {
            (quota * SECOND).abs_diff(u128::from(asked) * period) <= SECOND
        }
        _ => false,
    }
}

/// BFQ and v1 have a range of 10 to 1,000 where systemd's is 1 to 10,000 (`cgroup_weight_io_to_blkio()` and
/// `BFQ_WEIGHT()` in systemd).
fn io_weight_holds(asked: Option<u64>, text: &str) -> bool {
    let Some(weight) = asked else { return false };
    let blkio = (weight * 500 / 100).clamp(10, 1000);
    let bfq = if weight <= 100 {
        100 - (100 - weight) * 99 / 99
    } else {
        100 + (weight - 100) * (1000 - 100) / (10_000 - 100)
    };
    text.parse::<u64>().is_ok_and(|found| [weight, blkio, bfq].contains(&found))
}

fn mask_set(mask: &Value) -> BTreeSet<u64> {
    let bytes = mask.items().iter().zip(0u64..);
    let bits = bytes
        .flat_map(|(byte, at)| (0..8).map(move |bit| (byte.as_u64().unwrap_or(0) >> bit & 1, at * 8 + bit)));
    bits.filter(|(set, _)| *set == 1).map(|(_, number)| number).collect()
}

fn parse_set(text: &str) -> Option<BTreeSet<u64>> {
    let mut set = BTreeSet::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        set.extend(first.parse::<u64>().ok()?..=last.parse().ok()?);
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_knows_what_was_asked_from_anything_else() {
        let n = |n: u64| Value::from(n);
        let cases = [
            (Form::Bytes, n(67_108_865), "67108864", false, true),
            (Form::Bytes, n(67_108_864), "67112960", false, false),
            (Form::Bytes, Value::INFINITY, "max", false, true),
            (Form::Bytes, Value::INFINITY, "9223372036854771712", true, true),
            (Form::Bytes, n(67_108_864), "max", false, false),
            (Form::Count, n(20), "20", false, true),
            (Form::Count, Value::INFINITY, "max", false, true),
            (Form::Count, n(20), "max", false, false),
            (Form::Quota, n(500_000), "50000 100000", false, true),
            (Form::Quota, n(500_000), "max 100000", false, false),
            (Form::Quota, n(333_333), "33333 100000", false, true),
            (Form::Quota, n(5_000), "1000 200000", false, true),
            (Form::Quota, Value::INFINITY, "max 100000", false, true),
            (Form::CpuWeight, n(200), "2048", true, true),
            (Form::CpuWeight, n(200), "200", false, true),
            (Form::IoWeight, n(200), "default 200", false, true),
            (Form::IoWeight, n(100), "500", true, true),
            (Form::IoWeight, n(100), "501", true, false),
            (Form::Set, Value::bytes([0b1011]), "0-1,3", false, true),
            (Form::Set, Value::bytes([0b1011]), "0-3", false, false),
            (Form::Finite, Value::from(1u32), "4096", false, true),
            (Form::Finite, Value::from(1u32), "max", false, false),
        ];
        for (form, asked, text, legacy, expected) in cases {
            assert_eq!(holds(form, &asked, text, None, legacy), expected, "{form:?} {asked:?} {text}");
        }
        assert!(holds(Form::Quota, &n(500_000), "50000", Some("100000"), true));
    }
}
