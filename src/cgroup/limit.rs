//! Limits as asked for and as the kernel holds them. systemd says `done` to a limit that no controller
//! enforces.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::slice;

use nix::sys::stat::{major, minor};

use super::gap::{GapReason, LimitGap};
use super::layout::{CgroupLayout, CgroupMode};
use super::table::{Form, Place, Row, Side, row_of};
use super::{compare, file};
use crate::unit::{Property, Value, merge};

/// A limit that a request asks for.
#[derive(Clone, Debug)]
pub(crate) struct AskedLimit {
    property: String,
    value: Value,
    row: &'static Row,
    /// What stands in the same file in the other phase of systemd's life, startup or the rest.
    other_phase: Vec<(&'static Row, Value)>,
    /// How it is looked for in the kernel: a program that asks for no limit has nothing of that.
    look: fn(&AskedLimit, &CgroupLayout, &str) -> Option<LimitGap>,
}

impl AskedLimit {
    /// The v1 controller that enforces it, where one does.
    pub(super) fn legacy_controller(&self) -> Option<&'static str> {
        let Side { controller, places } = &self.row.legacy;
        (!places.is_empty()).then_some(*controller)
    }

    fn gap(&self, Lack { file, found, reason }: Lack) -> LimitGap {
        LimitGap { property: self.property.clone(), asked: self.value.to_string(), found, file, reason }
    }

    pub(super) fn asks_for_nothing(&self) -> bool {
        match &self.value {
            // The one switch that is in a row is on where nothing is said.
            Value::Bool(on) => *on && !self.row.unified.places.is_empty(),
            Value::Str(policy) => policy == "auto",
            Value::Array(_, items) => items.is_empty(),
            number => number.as_u64() == Some(self.row.rest),
        }
    }
}

/// Whether a property is a limit, alone or with others.
pub(crate) fn is_limit(property: &Property) -> bool {
    row_of(property.name()).is_some()
}

/// The limits among a request's properties, typed setters' and others' alike.
pub(crate) fn asked_limits(properties: &[Property]) -> Vec<AskedLimit> {
    let has_quota =
        properties.iter().any(|one| one.name() == "CPUQuotaPerSecUSec" && *one.value() != Value::INFINITY);
    let limits = properties.iter().filter_map(|property| {
        let name = property.name();
        // A period is one of a quota's: alone it limits nothing, and systemd keeps it to itself.
        let row = row_of(name).filter(|_| name != "CPUQuotaPeriodUSec" || has_quota)?;
        let other_phase = other_phase(name, row, properties);
        Some(AskedLimit {
            property: name.into(),
            value: property.value().clone(),
            row,
            other_phase,
            look: gap,
        })
    });
    limits.collect()
}

/// The limits that a unit is to have after a change of its properties. What it has beside them says how to read two
/// kinds: a period is one of the quota that is there already, and a startup limit shares its file with the other.
pub(crate) fn changed_limits(changes: &[Property], held: &BTreeMap<String, Value>) -> Vec<AskedLimit> {
    let mut properties = Vec::new();
    merge(&mut properties, changes);
    let is_changed = |name: &str| changes.iter().any(|change| change.name() == name);
    let other_phase = |name: &str| match name.strip_prefix("Startup") {
        Some(name) => name.to_string(),
        None => format!("Startup{name}"),
    };
    let beside = changes.iter().map(|change| other_phase(change.name())).chain(["CPUQuotaPerSecUSec".into()]);
    let beside = beside.filter(|name| !is_changed(name));
    let beside = beside.filter_map(|name| Some(Property::new(name.as_str(), held.get(&name)?.clone())));
    // A startup limit that is not set is never in the file.
    let is_set =
        |one: &Property| !asked_limits(slice::from_ref(one)).iter().all(AskedLimit::asks_for_nothing);
    properties.extend(beside.filter(|one| !one.name().starts_with("Startup") || is_set(one)));
    let limits = asked_limits(&properties).into_iter();
    limits.filter(|limit| is_changed(&limit.property)).collect()
}

/// What a limit's file has in the phase that the limit is not for: for a startup limit what is asked for any
/// other time, or the kernel's own default; for the other kind the startup limit that is asked for, if there
/// is one.
fn other_phase(name: &str, row: &'static Row, properties: &[Property]) -> Vec<(&'static Row, Value)> {
    let stem = |name: &str| {
        let name = name.strip_prefix("Startup").unwrap_or(name);
        name.strip_suffix("Scale").unwrap_or(name).to_string()
    };
    let is_startup = |name: &str| name.starts_with("Startup");
    let others = properties
        .iter()
        .filter(|other| is_startup(other.name()) != is_startup(name) && stem(other.name()) == stem(name));
    let mut others: Vec<(&Row, Value)> =
        others.filter_map(|other| Some((row_of(other.name())?, other.value().clone()))).collect();
    if is_startup(name) && others.is_empty() {
        let rest = if matches!(row.unified.places, [Place { form: Form::Set, .. }]) {
            Value::bytes([])
        } else {
            Value::from(row.rest)
        };
        // A share has no number for "none"; the row of whole numbers of the same files has.
        others.extend(row_of(&stem(name)).map(|row| (row, rest)));
    }
    others
}

/// Each limit that a unit's group does not hold.
pub(crate) fn gaps(layout: &CgroupLayout, group: &str, limits: &[AskedLimit]) -> Vec<LimitGap> {
    limits.iter().filter_map(|limit| (limit.look)(limit, layout, group)).collect()
}

/// Each limit that a unit which does not run, and so has no group, does not have yet.
pub(crate) fn gaps_of_none(limits: &[AskedLimit]) -> Vec<LimitGap> {
    let limits = limits.iter().filter(|limit| !limit.asks_for_nothing());
    limits.map(|limit| limit.gap(Lack::of(GapReason::NotRunning))).collect()
}

fn gap(limit: &AskedLimit, layout: &CgroupLayout, group: &str) -> Option<LimitGap> {
    let lack = look(layout, group, limit.row, &limit.value).err()?;
    let is_nothing = match &lack.reason {
        // Another value is another value, `none` included; but the kernel shows one phase at a time.
        GapReason::Differs => {
            limit.other_phase.iter().any(|(row, value)| look(layout, group, row, value).is_ok())
        }
        // To ask for no limit, and to have no file that could hold one, is to have what was asked for.
        _ => limit.asks_for_nothing(),
    };
    (!is_nothing).then(|| limit.gap(lack))
}

/// What was seen in place of a limit.
struct Lack {
    file: Option<PathBuf>,
    found: Option<String>,
    reason: GapReason,
}

impl Lack {
    fn of(reason: GapReason) -> Lack {
        Lack { file: None, found: None, reason }
    }
}

/// Looks for a value in the files of the one hierarchy in which systemd sets limits. A controller that the
/// kernel has in the other, as the v1 ones of a host that is unified for systemd alone, does not serve.
fn look(layout: &CgroupLayout, group: &str, row: &Row, value: &Value) -> Result<(), Lack> {
    let is_unified = layout.mode() == CgroupMode::Unified;
    let Side { controller, places } = if is_unified { &row.unified } else { &row.legacy };
    let no_controller = || Lack::of(GapReason::NoController((*controller).into()));
    if places.is_empty() {
        let is_shown = !is_unified && !row.unified.places.is_empty();
        let not_in_legacy = GapReason::NotInLegacy((*controller).into());
        return Err(Lack::of(if is_shown { not_in_legacy } else { GapReason::NotShown }));
    }
    let directory = if is_unified { Some(layout.path(group)) } else { layout.legacy_path(controller, group) };
    let directory = directory.ok_or_else(no_controller)?;
    let mut seen: Option<Lack> = None;
    for Place { files, form } in *places {
        let (found, reason) = match read_as_one(&directory, files) {
            Ok(text) if form.holds(value, &text) => return Ok(()),
            Ok(text) => (Some(text), GapReason::Differs),
            Err(error) if file::is_gone(&error) => continue,
            Err(error) => (None, GapReason::Unreadable(error.to_string())),
        };
        let file = files.first().map(|file| directory.join(file));
        seen.get_or_insert(Lack { file, found, reason });
    }
    Err(seen.unwrap_or_else(|| {
        if is_unified && !layout.has_unified(controller) {
            return no_controller();
        }
        let file = places.first().and_then(|place| place.files.first()).map(|file| directory.join(file));
        let reason = if is_enabled(controller, &directory, is_unified) {
            GapReason::NoFile
        } else {
            GapReason::NotEnabled
        };
        Lack { file, found: None, reason }
    }))
}

/// Whether a group has a controller. In a v1 hierarchy it has by being there.
fn is_enabled(controller: &str, directory: &Path, is_unified: bool) -> bool {
    if !is_unified {
        return directory.exists();
    }
    let enabled = file::read(&directory.join("cgroup.controllers")).unwrap_or_default();
    enabled.split_whitespace().any(|name| name == controller)
}

fn read_as_one(directory: &Path, files: &[&str]) -> io::Result<String> {
    let texts = files.iter().map(|name| Ok(file::read(&directory.join(name))?.trim().to_string()));
    Ok(texts.collect::<io::Result<Vec<String>>>()?.join(" "))
}

impl Form {
    fn holds(&self, asked: &Value, text: &str) -> bool {
        match self {
            Form::Number(holds) => asked.as_u64().is_some_and(|asked| holds(asked, text)),
            Form::Devices(key, holds) => compare::devices(asked, text, key, *holds, disk),
            Form::Set => compare::same_set(asked, text),
            Form::Flag => asked.as_bool().is_some_and(|on| text.trim() == if on { "1" } else { "0" }),
        }
    }
}

/// The number of the disk that systemd means by a path: a partition's is its disk's. `None` for a path that
/// is no block device (systemd then takes the disk below the file system) and for one that is mapped onto
/// others.
fn disk(path: &str) -> Option<String> {
    let device = fs::metadata(path).ok().filter(|device| device.file_type().is_block_device())?;
    let number = format!("{}:{}", major(device.rdev()), minor(device.rdev()));
    let known = Path::new("/sys/dev/block").join(&number);
    if known.join("partition").exists() {
        // Through the link: the directory above a partition's is its disk's.
        return file::read(&known.join("../dev")).ok().map(|number| number.trim().to_string());
    }
    let below = fs::read_dir(known.join("slaves")).ok()?.count();
    (below == 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::super::table::LIMITS;
    use super::*;

    /// A unified hierarchy in files of its own, with these controllers, and a group `x` with these files.
    fn unified(name: &str, controllers: &str, files: &[(&str, &str)]) -> (CgroupLayout, PathBuf) {
        let at = std::env::temp_dir().join(format!("unitwait-limit-{name}-{}", std::process::id()));
        fs::create_dir_all(at.join("x")).unwrap();
        fs::write(at.join("cgroup.controllers"), controllers).unwrap();
        for (file, text) in files {
            fs::write(at.join("x").join(file), text).unwrap();
        }
        let mounts = format!("30 20 0:26 / {} rw - cgroup2 cgroup2 rw\n", at.display());
        (CgroupLayout::parse(&mounts).unwrap(), at)
    }

    fn reasons(layout: &CgroupLayout, properties: &[Property]) -> Vec<(String, GapReason)> {
        let gaps = gaps(layout, "/x", &asked_limits(properties)).into_iter();
        gaps.map(|gap| (gap.property, gap.reason)).collect()
    }

    fn value_of(row: &Row) -> Value {
        match row.unified.places {
            [Place { form: Form::Set, .. }, ..] => Value::bytes([1]),
            [Place { form: Form::Flag, .. }, ..] => Value::from(false),
            [Place { form: Form::Devices(..), .. }, ..] => {
                Value::Array("(st)".into(), vec![Value::Struct(vec!["/dev/none".into(), 7u64.into()])])
            }
            _ => Value::from(7u64),
        }
    }

    #[test]
    fn no_limit_passes_in_silence_where_no_controller_holds_it() {
        let (bare, at) = unified("bare", "hugetlb\n", &[]);
        let named = "31 20 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        let legacy = CgroupLayout::parse(named).unwrap();
        let quota = Property::new("CPUQuotaPerSecUSec", 7u64);
        for row in &LIMITS {
            for &name in row.properties {
                let asked = [Property::new(name, value_of(row)), quota.clone()];
                for layout in [&bare, &legacy] {
                    let gaps = reasons(layout, &asked);
                    assert!(gaps.iter().any(|(gap, _)| gap == name), "{name}: {gaps:?}");
                }
                assert!(std::ptr::eq(row_of(name).unwrap(), row), "{name} is in two rows");
            }
        }
        for (name, value) in [
            ("DevicePolicy", Value::from("strict")),
            ("MemoryNotYetInvented", Value::from(true)),
            ("StartupTasksMax", Value::from(7u64)),
        ] {
            let asked = [Property::new(name, value)];
            assert_eq!(reasons(&bare, &asked), [(name.to_string(), GapReason::NotShown)]);
        }
        for name in ["MemoryAccounting", "MemoryPressureWatch", "IPAddressDeny", "Description", "OOMPolicy"] {
            assert!(asked_limits(&[Property::new(name, "x")]).is_empty(), "{name} is no limit");
        }
        let nothing = [
            Property::new("MemoryMax", Value::INFINITY),
            Property::new("MemoryLow", 0u64),
            Property::new("DevicePolicy", "auto"),
            Property::new("CPUQuotaPeriodUSec", 7u64),
        ];
        assert_eq!(reasons(&bare, &nothing), []);
        fs::remove_dir_all(at).unwrap();
    }

    #[test]
    fn each_way_of_not_holding_has_its_reason() {
        let files = [
            ("cgroup.controllers", "memory cpu pids\n"),
            ("memory.max", "67108864\n"),
            ("pids.max", "max\n"),
            ("cpu.weight", "100\n"),
            ("cpu.max", "50000 100000\n"),
        ];
        let (layout, at) = unified("ways", "cpuset cpu io memory pids\n", &files);
        let asked = [
            Property::new("MemoryMax", 64u64 << 20),
            Property::new("MemorySwapMax", 0u64),
            Property::new("TasksMax", 5_000_000u64),
            Property::new("TasksMaxScale", 1u32),
            Property::new("AllowedCPUs", Value::bytes([1])),
            Property::new("BlockIODeviceWeight", value_of(row_of("IODeviceWeight").unwrap())),
            Property::new("CPUQuotaPerSecUSec", 500_000u64),
        ];
        let mut expected = vec![
            ("MemorySwapMax", GapReason::NoFile),
            ("TasksMaxScale", GapReason::Differs),
            ("AllowedCPUs", GapReason::NotEnabled),
            ("BlockIODeviceWeight", GapReason::NotEnabled),
        ];
        let told = |expected: &[(&str, GapReason)]| -> Vec<(String, GapReason)> {
            expected.iter().map(|(name, reason)| (name.to_string(), reason.clone())).collect()
        };
        assert_eq!(reasons(&layout, &asked), told(&expected));
        fs::write(at.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        expected[2].1 = GapReason::NoController("cpuset".into());
        expected[3].1 = GapReason::NoController("io".into());
        assert_eq!(reasons(&layout, &asked), told(&expected));
        fs::remove_dir_all(at).unwrap();
    }

    #[test]
    fn a_startup_limit_and_the_one_for_any_other_time_share_a_file() {
        let (layout, at) = unified("phase", "cpu\n", &[("cpu.weight", "300\n")]);
        let startup = Property::new("StartupCPUWeight", 20u64);
        let later = Property::new("CPUWeight", 300u64);
        assert_eq!(reasons(&layout, &[startup.clone(), later.clone()]), []);
        assert_eq!(reasons(&layout, std::slice::from_ref(&startup)).len(), 1);
        fs::write(at.join("x/cpu.weight"), "100\n").unwrap();
        assert_eq!(reasons(&layout, std::slice::from_ref(&startup)), []);
        assert_eq!(reasons(&layout, &[startup.clone(), later.clone()]).len(), 2);
        fs::write(at.join("x/cpu.weight"), "20\n").unwrap();
        assert_eq!(reasons(&layout, &[startup, later]), []);
        fs::remove_dir_all(at).unwrap();
    }

    #[test]
    fn a_change_is_read_with_what_the_unit_has_beside_it() {
        let files = [("cpu.weight", "100\n"), ("cpu.max", "50000 100000\n")];
        let (layout, at) = unified("changed", "cpu\n", &files);
        let gaps_of = |changes: &[Property], held: &[Property]| {
            let held = held.iter().map(|one| (one.name().to_string(), one.value().clone())).collect();
            let limits = changed_limits(changes, &held);
            let gaps = gaps(&layout, "/x", &limits).into_iter();
            gaps.map(|gap| gap.property).collect::<Vec<_>>()
        };
        let number = |name: &str, number: u64| Property::new(name, number);
        let (period, quota) = (number("CPUQuotaPeriodUSec", 10_000), number("CPUQuotaPerSecUSec", 500_000));
        assert_eq!(gaps_of(slice::from_ref(&period), slice::from_ref(&quota)), ["CPUQuotaPeriodUSec"]);
        assert_eq!(gaps_of(&[period], &[Property::new("CPUQuotaPerSecUSec", Value::INFINITY)]), [""; 0]);
        let weight = [number("CPUWeight", 200)];
        assert_eq!(gaps_of(&weight, &[number("StartupCPUWeight", 100)]), [""; 0]);
        assert_eq!(gaps_of(&weight, &[number("StartupCPUWeight", u64::MAX)]), ["CPUWeight"]);
        assert_eq!(gaps_of(&[number("StartupCPUWeight", 200)], &[number("CPUWeight", 100)]), [""; 0]);
        assert_eq!(
            gaps_of(&[number("StartupCPUWeight", 200)], &[number("CPUWeight", 50)]),
            ["StartupCPUWeight"]
        );
        fs::remove_dir_all(at).unwrap();
    }

    #[test]
    fn a_unit_that_does_not_run_has_none_of_its_limits_yet() {
        let asked = [Property::new("TasksMax", 7u64), Property::new("MemoryMax", Value::INFINITY)];
        let gaps = gaps_of_none(&asked_limits(&asked));
        assert_eq!(gaps.len(), 1);
        assert_eq!(
            gaps[0].to_string(),
            "TasksMax: asked 7, the unit does not run, and gets it when it starts"
        );
    }
}
