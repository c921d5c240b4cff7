//! What systemd writes into the kernel's files for a value that was asked for, and whether it is there.
//!
//! What counts as the same: rounding to what the kernel can count (whole pages, whole microseconds), scales
//! that differ (a weight's on v1, v2 and BFQ), and a limit so high that to have none is the same. What does
//! not: a limit that is looser than what was asked for, even where systemd or the kernel has no tighter one,
//! such as its least CPU quota of 1 ms in a period of 1 s for anything below.
//!
//! Source: `cgroup_context_apply()` and the conversions in `cgroup-util.h`, both in systemd; for what the
//! kernel makes of it, the kernel's `cgroup-v1` and `cgroup-v2` documents.

use std::collections::BTreeSet;

use nix::unistd::{SysconfVar, sysconf};

use crate::unit::Value;

/// "No limit" on D-Bus, and for a weight "none of its own".
pub(super) const INFINITY: u64 = u64::MAX;

/// No limit on memory is the largest number of whole pages below 2^63: so v1 writes it, and what is asked for
/// beyond it is none on v2. Pages may be as large as 64 KiB, hence the room.
const LEGACY_UNLIMITED: u64 = 0x7fff_ffff_0000_0000;

/// The kernel numbers no more processes than these (`PID_MAX_LIMIT`), and refuses a larger `pids.max`: `max`
/// stays.
const MOST_TASKS: u64 = if cfg!(target_pointer_width = "32") { 32 * 1024 } else { 4 * 1024 * 1024 };

/// The longest and shortest period of a CPU quota, and the least quota, in microseconds.
const LONGEST_PERIOD: u64 = 1_000_000;
const SHORTEST_PERIOD: u64 = 1_000;
const LEAST_QUOTA: u64 = 1_000;

const DEFAULT_WEIGHT: u64 = 100;
const DEFAULT_SHARES: u64 = 1024;
const DEFAULT_BLKIO_WEIGHT: u64 = 500;

/// What a file says of a limit: the number, `max` or `-1` for none.
fn limit(text: &str) -> Option<u64> {
    match text.trim() {
        "max" | "-1" => Some(INFINITY),
        digits => digits.parse().ok().map(|n| if n >= LEGACY_UNLIMITED { INFINITY } else { n }),
    }
}

pub(super) fn bytes(asked: u64, text: &str) -> bool {
    let whole_pages = asked - asked % page_size();
    limit(text) == Some(if whole_pages >= LEGACY_UNLIMITED { INFINITY } else { whole_pages })
}

fn page_size() -> u64 {
    system(SysconfVar::PAGE_SIZE).unwrap_or(4096)
}

fn system(value: SysconfVar) -> Option<u64> {
    sysconf(value).ok().flatten()?.try_into().ok()
}

/// A share of the memory, `u32::MAX` being all of it. systemd takes it of what its own group may use, which
/// is not known here: the most that it can be is a share of the machine's.
pub(super) fn memory_share(asked: u64, text: &str) -> bool {
    let pages = system(SysconfVar::_PHYS_PAGES).unwrap_or(INFINITY / page_size());
    limit(text).is_some_and(|found| is_share(asked, found / page_size(), pages))
}

/// A share of the tasks that the system may have; the most that these can be is the kernel's own limit.
pub(super) fn tasks_share(asked: u64, text: &str) -> bool {
    limit(text).is_some_and(|found| is_share(asked, found, MOST_TASKS))
}

fn is_share(asked: u64, found: u64, whole: u64) -> bool {
    let most = u128::from(whole) * u128::from(asked) / u128::from(u32::MAX);
    u128::from(found) <= most && (found > 0 || most == 0)
}

pub(super) fn tasks(asked: u64, text: &str) -> bool {
    let found = limit(text);
    found == Some(asked) || (asked > MOST_TASKS && found == Some(INFINITY))
}

/// `quota period`, on v1 from two files. The quota is a ratio, which systemd rounds to a whole microsecond in a
/// period of its own choice.
pub(super) fn quota(asked: u64, text: &str) -> bool {
    const SECOND: u128 = 1_000_000;
    let mut fields = text.split_ascii_whitespace();
    let quota = fields.next().and_then(limit);
    let period = fields.next().and_then(|period| period.parse::<u128>().ok());
    match (quota, period) {
        (Some(INFINITY), _) => asked == INFINITY,
        (Some(quota), Some(period)) if asked != INFINITY => {
            (u128::from(quota) * SECOND).abs_diff(u128::from(asked) * period) <= SECOND
        }
        _ => false,
    }
}

/// The period, in which systemd keeps the quota from falling below its least. It means nothing without a quota.
pub(super) fn quota_period(asked: u64, text: &str) -> bool {
    let mut fields = text.split_ascii_whitespace();
    let quota = fields.next().and_then(limit);
    let period = fields.next().and_then(|period| period.parse::<u64>().ok());
    let wanted = asked.clamp(SHORTEST_PERIOD, LONGEST_PERIOD);
    let is_longer = |period: u64| period > wanted && quota.is_some_and(|quota| quota <= LEAST_QUOTA);
    period.is_some_and(|period| period == wanted || quota == Some(INFINITY) || is_longer(period))
}

pub(super) fn cpu_weight(asked: u64, text: &str) -> bool {
    // A weight of 0 is the idle policy, which has a file of its own.
    asked != 0 && limit(text) == Some(weight(asked))
}

pub(super) fn cpu_idle(asked: u64, text: &str) -> bool {
    asked == 0 && text.trim() == "1"
}

pub(super) fn cpu_weight_as_shares(asked: u64, text: &str) -> bool {
    limit(text) == Some(scale(weight(asked), DEFAULT_WEIGHT, DEFAULT_SHARES).clamp(2, 262_144))
}

pub(super) fn cpu_shares(asked: u64, text: &str) -> bool {
    limit(text) == Some(or(asked, DEFAULT_SHARES))
}

pub(super) fn cpu_shares_as_weight(asked: u64, text: &str) -> bool {
    limit(text) == Some(scale(or(asked, DEFAULT_SHARES), DEFAULT_SHARES, DEFAULT_WEIGHT).clamp(1, 10_000))
}

pub(super) fn io_weight(asked: u64, text: &str) -> bool {
    default_line(text) == Some(weight(asked))
}

pub(super) fn io_bfq_weight(asked: u64, text: &str) -> bool {
    is_bfq(default_line(text), weight(asked))
}

pub(super) fn io_weight_as_blkio(asked: u64, text: &str) -> bool {
    default_line(text) == Some(blkio(asked))
}

pub(super) fn io_weight_as_blkio_bfq(asked: u64, text: &str) -> bool {
    is_bfq(default_line(text), blkio(asked))
}

pub(super) fn blkio_weight(asked: u64, text: &str) -> bool {
    default_line(text) == Some(or(asked, DEFAULT_BLKIO_WEIGHT))
}

pub(super) fn blkio_bfq_weight(asked: u64, text: &str) -> bool {
    is_bfq(default_line(text), or(asked, DEFAULT_BLKIO_WEIGHT))
}

pub(super) fn blkio_weight_as_io(asked: u64, text: &str) -> bool {
    default_line(text) == Some(blkio_to_io(asked))
}

pub(super) fn blkio_weight_as_io_bfq(asked: u64, text: &str) -> bool {
    is_bfq(default_line(text), blkio_to_io(asked))
}

fn or(asked: u64, default: u64) -> u64 {
    if asked == INFINITY { default } else { asked }
}

fn weight(asked: u64) -> u64 {
    or(asked, DEFAULT_WEIGHT)
}

fn blkio(asked: u64) -> u64 {
    scale(weight(asked), DEFAULT_WEIGHT, DEFAULT_BLKIO_WEIGHT).clamp(10, 1000)
}

fn blkio_to_io(asked: u64) -> u64 {
    scale(or(asked, DEFAULT_BLKIO_WEIGHT), DEFAULT_BLKIO_WEIGHT, DEFAULT_WEIGHT).clamp(1, 10_000)
}

fn scale(value: u64, from: u64, to: u64) -> u64 {
    value.saturating_mul(to) / from
}

/// BFQ's range is 1 to 1,000 with 100 in its middle. systemd maps 1 to 10,000 onto it (`BFQ_WEIGHT()`), v1's
/// weight as if it were v2's; before 248 it wrote the weight as it was.
fn is_bfq(found: Option<u64>, weight: u64) -> bool {
    let above = weight.saturating_sub(DEFAULT_WEIGHT).saturating_mul(1000 - 100) / (10_000 - 100);
    let mapped = weight.min(DEFAULT_WEIGHT) + above;
    found.is_some_and(|found| found == weight || found == mapped)
}

/// `default N` or `N`, before the lines of single devices.
fn default_line(text: &str) -> Option<u64> {
    let line = text.lines().next()?.trim();
    line.strip_prefix("default ").unwrap_or(line).parse().ok()
}

/// A line for each device: `8:0 rbps=1048576 wbps=max` or `8:0 1048576`; what is not there has no limit.
/// `number_of` tells a path's device; where it cannot, any device's line is taken for the one meant.
pub(super) fn devices(
    asked: &Value,
    text: &str,
    key: &str,
    holds: fn(u64, u64) -> bool,
    number_of: impl Fn(&str) -> Option<String>,
) -> bool {
    let found = |number: Option<String>| {
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let lines = lines.filter(move |(device, _)| number.as_deref().is_none_or(|number| number == *device));
        let fields = lines.flat_map(|(_, fields)| fields.split_ascii_whitespace());
        fields.filter_map(|field| field.strip_prefix(key)).filter_map(limit).collect::<Vec<u64>>()
    };
    if asked.items().is_empty() {
        // The line that is for all devices, as that of a weight is, has no number before it.
        let mut lines =
            text.lines().filter(|line| line.split(' ').next().is_some_and(|word| word.contains(':')));
        return lines.all(|line| {
            let fields = line.split_ascii_whitespace().skip(1).filter_map(|field| field.strip_prefix(key));
            fields.filter_map(limit).all(|found| holds(INFINITY, found))
        });
    }
    asked.items().iter().all(|item| match item.items() {
        [path, wanted] => {
            let (path, wanted) = (path.as_str().unwrap_or_default(), wanted.as_u64().unwrap_or_default());
            holds(wanted, INFINITY) || found(number_of(path)).iter().any(|found| holds(wanted, *found))
        }
        _ => false,
    })
}

pub(super) fn device_exact(asked: u64, found: u64) -> bool {
    asked == found
}

/// The kernel counts operations in 32 bits, the largest of which stands for no limit.
pub(super) fn device_operations(asked: u64, found: u64) -> bool {
    let most = u64::from(u32::MAX);
    found.min(most) == asked.min(most)
}

pub(super) fn device_bfq_weight(asked: u64, found: u64) -> bool {
    is_bfq(Some(found), asked)
}

pub(super) fn device_weight_as_blkio(asked: u64, found: u64) -> bool {
    found == blkio(asked)
}

pub(super) fn device_weight_as_blkio_bfq(asked: u64, found: u64) -> bool {
    is_bfq(Some(found), blkio(asked))
}

pub(super) fn device_blkio_weight_as_io(asked: u64, found: u64) -> bool {
    found == blkio_to_io(asked)
}

pub(super) fn device_blkio_weight_as_io_bfq(asked: u64, found: u64) -> bool {
    is_bfq(Some(found), blkio_to_io(asked))
}

/// A set as D-Bus has it (bit n of the bytes, lowest byte first) and as the kernel writes it.
pub(super) fn same_set(asked: &Value, text: &str) -> bool {
    set(text).is_some_and(|found| found == mask(asked))
}

fn mask(mask: &Value) -> BTreeSet<u64> {
    let bytes = mask.items().iter().zip(0u64..);
    let bits = bytes
        .flat_map(|(byte, at)| (0..8).map(move |bit| (byte.as_u64().unwrap_or(0) >> bit & 1, at * 8 + bit)));
    bits.filter(|(set, _)| *set == 1).map(|(_, number)| number).collect()
}

/// `0-3,7`, as the kernel writes a set of CPUs or memory nodes.
fn set(text: &str) -> Option<BTreeSet<u64>> {
    let mut set = BTreeSet::new();
    for range in text.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        set.extend(first.parse::<u64>().ok()?..=last.parse().ok()?);
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Compare = fn(u64, &str) -> bool;

    #[test]
    fn each_value_is_known_from_any_other() {
        let holds: [(Compare, u64, &str); 35] = [
            (bytes, 67_108_865, "67108864\n"),
            (bytes, INFINITY, "max"),
            (bytes, INFINITY, "9223372036854771712"),
            (bytes, i64::MAX as u64, "max"),
            (tasks, 20, "20"),
            (tasks, INFINITY, "max"),
            (tasks, MOST_TASKS, "4194304"),
            (tasks, MOST_TASKS + 1, "max"),
            (quota, 500_000, "50000 100000"),
            (quota, 500_000, "50000 100000\n"),
            (quota, 333_333, "33333 100000"),
            (quota, 5_000, "1000 200000"),
            (quota, 3_000, "1000 333333"),
            (quota, INFINITY, "max 100000"),
            (quota, INFINITY, "-1\n100000"),
            (cpu_weight, 200, "200"),
            (cpu_weight, INFINITY, "100"),
            (cpu_idle, 0, "1\n"),
            (cpu_weight_as_shares, 200, "2048"),
            (cpu_weight_as_shares, 0, "2"),
            (cpu_weight_as_shares, INFINITY, "1024"),
            (cpu_shares_as_weight, 2048, "200"),
            (io_weight, 200, "default 200\n8:0 300\n"),
            (io_bfq_weight, 200, "default 109"),
            (io_weight_as_blkio, 100, "500"),
            (io_weight_as_blkio, INFINITY, "500"),
            (io_weight_as_blkio_bfq, 200, "181"),
            (blkio_weight_as_io, 500, "default 100"),
            (tasks, 5_000_000, "max"),
            (tasks_share, 644_245_094, "4915"),
            (memory_share, u64::from(u32::MAX), "1048576"),
            (quota_period, 10_000, "50000 10000"),
            (quota_period, 1, "1000 1000"),
            (quota_period, 10_000, "1000 200000"),
            (quota_period, 10_000, "max 100000"),
        ];
        for (compare, asked, text) in holds {
            assert!(compare(asked, text), "{asked} is not seen in {text:?}");
        }
        let differs: [(Compare, u64, &str); 20] = [
            (bytes, 67_108_864, "67112960"),
            (bytes, 67_108_864, "max"),
            (bytes, INFINITY, "67108864"),
            (bytes, 67_108_864, ""),
            (tasks, 20, "max"),
            (tasks, INFINITY, "20"),
            (quota, 500_000, "max 100000"),
            (quota, 500_000, "50002 100000"),
            // systemd's least quota is 1 ms: ten times what was asked for is no rounding.
            (quota, 100, "1000 1000000"),
            (quota, INFINITY, "50000 100000"),
            (cpu_weight, 0, "0"),
            (cpu_weight_as_shares, 200, "200"),
            (io_weight, 100, "default 500"),
            (io_weight_as_blkio, 100, "501"),
            (io_bfq_weight, 200, "default 200 x"),
            (tasks, MOST_TASKS, "max"),
            (tasks_share, 644_245_094, "max"),
            (memory_share, 644_245_094, "9223372036854771712"),
            (memory_share, 644_245_094, "0"),
            (quota_period, 10_000, "50000 100000"),
        ];
        for (compare, asked, text) in differs {
            assert!(!compare(asked, text), "{asked} is seen in {text:?}");
        }
    }

    fn device(path: &str, value: u64) -> Value {
        Value::Array("(st)".into(), vec![Value::Struct(vec![path.into(), value.into()])])
    }

    #[test]
    fn a_device_has_its_value_under_its_key_in_its_line() {
        let number_of = |path: &str| (path != "/file").then(|| path.trim_start_matches("/dev/").to_string());
        let text = "254:0 rbps=1048576 wbps=max riops=max wiops=7\n8:0 rbps=2 wbps=2 riops=max wiops=max\n";
        let holds = |path, asked, key, how| devices(&device(path, asked), text, key, how, number_of);
        assert!(holds("/dev/254:0", 1_048_576, "rbps=", device_exact));
        assert!(!holds("/dev/8:0", 1_048_576, "rbps=", device_exact));
        assert!(holds("/file", 1_048_576, "rbps=", device_exact));
        assert!(!holds("/file", 1_048_576, "wbps=", device_exact));
        assert!(!holds("/dev/1:1", 5, "rbps=", device_exact));
        assert!(holds("/dev/1:1", INFINITY, "rbps=", device_exact));
        assert!(holds("/dev/254:0", u64::from(u32::MAX) + 1, "riops=", device_operations));
        assert!(!holds("/dev/8:0", 7, "wiops=", device_operations));
        let none = Value::Array("(st)".into(), Vec::new());
        let empty = |text, key, how| devices(&none, text, key, how, number_of);
        assert!(!empty(text, "rbps=", device_exact));
        assert!(empty(text, "riops=", device_operations));
        assert!(empty("", "rbps=", device_exact));
        assert!(empty("default 100\n", "", device_exact));
        assert!(!empty("default 100\n8:0 200\n", "", device_exact));
        let weight = |asked, text, how| devices(&device("/dev/8:0", asked), text, "", how, number_of);
        assert!(weight(200, "default 100\n8:0 200\n", device_exact));
        assert!(!weight(100, "default 100\n8:0 200\n", device_exact));
        assert!(weight(200, "8:0 109\n", device_bfq_weight));
        assert!(weight(100, "8:0 500\n", device_weight_as_blkio));
    }

    #[test]
    fn sets_are_read_as_the_kernel_writes_them() {
        assert_eq!(set("0-2,7\n"), Some(BTreeSet::from([0, 1, 2, 7])));
        assert_eq!(set("\n"), Some(BTreeSet::new()));
        assert_eq!(set("x"), None);
        assert!(same_set(&Value::bytes([0b1011]), "0-1,3\n"));
        assert!(!same_set(&Value::bytes([0b1011]), "0-3\n"));
    }
}
