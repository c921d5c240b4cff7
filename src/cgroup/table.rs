//! Every limit that systemd can be asked for, and the kernel's files that show whether it holds.
//!
//! Source: `systemd.resource-control(5)` of systemd 247 to 262, `bus_cgroup_set_property()` for the names on
//! D-Bus, and `cgroup_context_apply()` for the files.

use super::compare::{self, INFINITY};

/// Limits that are written to the same files in the same way.
#[derive(Debug)]
pub(super) struct Row {
    pub properties: &'static [&'static str],
    /// What the limit is where nothing is asked for; to ask for this is to ask for nothing.
    pub rest: u64,
    pub unified: Side,
    pub legacy: Side,
}

/// A controller of cgroup v2 or v1, and what it shows: nothing, where it has no such limit. Of several places
/// the kernel has some, and systemd writes to all.
#[derive(Debug)]
pub(super) struct Side {
    pub controller: &'static str,
    pub places: &'static [Place],
}

/// Files that are read as one, and how what is in them compares with what was asked for.
#[derive(Debug)]
pub(super) struct Place {
    pub files: &'static [&'static str],
    pub form: Form,
}

/// What a property's value is.
#[derive(Debug)]
pub(super) enum Form {
    Number(fn(u64, &str) -> bool),
    /// A number for each device, which the kernel shows behind this key.
    Devices(&'static str, fn(u64, u64) -> bool),
    Set,
    Flag,
}

const fn row(properties: &'static [&'static str], rest: u64, unified: Side, legacy: Side) -> Row {
    Row { properties, rest, unified, legacy }
}

const fn side(controller: &'static str, places: &'static [Place]) -> Side {
    Side { controller, places }
}

const fn number(files: &'static [&'static str], holds: fn(u64, &str) -> bool) -> Place {
    Place { files, form: Form::Number(holds) }
}

const fn devices(files: &'static [&'static str], key: &'static str, holds: fn(u64, u64) -> bool) -> Place {
    Place { files, form: Form::Devices(key, holds) }
}

const fn set(files: &'static [&'static str]) -> Place {
    Place { files, form: Form::Set }
}

const V1_MEMORY_NONE: Side = side("memory", &[]);
const V1_CPUSET_NONE: Side = side("cpuset", &[]);
const V1_BLKIO_NONE: Side = side("blkio", &[]);
const V1_QUOTA: &[&str] = &["cpu.cfs_quota_us", "cpu.cfs_period_us"];
const V1_READ_BPS: &[&str] = &["blkio.throttle.read_bps_device"];
const V1_WRITE_BPS: &[&str] = &["blkio.throttle.write_bps_device"];

/// For `cpu.weight` with the idle policy there is a file of its own.
const CPU_WEIGHT: &[Place] =
    &[number(&["cpu.weight"], compare::cpu_weight), number(&["cpu.idle"], compare::cpu_idle)];

pub(super) static LIMITS: [Row; 31] = [
    row(
        &["MemoryMax", "StartupMemoryMax", "MemoryLimit"],
        INFINITY,
        side("memory", &[number(&["memory.max"], compare::bytes)]),
        side("memory", &[number(&["memory.limit_in_bytes"], compare::bytes)]),
    ),
    row(
        &["MemoryMaxScale", "StartupMemoryMaxScale", "MemoryLimitScale"],
        INFINITY,
        side("memory", &[number(&["memory.max"], compare::memory_share)]),
        side("memory", &[number(&["memory.limit_in_bytes"], compare::memory_share)]),
    ),
    memory_2(&["MemoryHigh", "StartupMemoryHigh"], INFINITY, &[number(&["memory.high"], compare::bytes)]),
    memory_2(
        &["MemoryHighScale", "StartupMemoryHighScale"],
        INFINITY,
        &[number(&["memory.high"], compare::memory_share)],
    ),
    memory_2(&["MemoryLow", "StartupMemoryLow"], 0, &[number(&["memory.low"], compare::bytes)]),
    memory_2(
        &["MemoryLowScale", "StartupMemoryLowScale"],
        0,
        &[number(&["memory.low"], compare::memory_share)],
    ),
    memory_2(&["MemoryMin"], 0, &[number(&["memory.min"], compare::bytes)]),
    memory_2(&["MemoryMinScale"], 0, &[number(&["memory.min"], compare::memory_share)]),
    memory_2(
        &["MemorySwapMax", "StartupMemorySwapMax"],
        INFINITY,
        &[number(&["memory.swap.max"], compare::bytes)],
    ),
    memory_2(
        &["MemorySwapMaxScale", "StartupMemorySwapMaxScale"],
        INFINITY,
        &[number(&["memory.swap.max"], compare::memory_share)],
    ),
    memory_2(
        &["MemoryZSwapMax", "StartupMemoryZSwapMax"],
        INFINITY,
        &[number(&["memory.zswap.max"], compare::bytes)],
    ),
    memory_2(
        &["MemoryZSwapMaxScale", "StartupMemoryZSwapMaxScale"],
        INFINITY,
        &[number(&["memory.zswap.max"], compare::memory_share)],
    ),
    memory_2(
        &["MemoryZSwapWriteback"],
        INFINITY,
        &[Place { files: &["memory.zswap.writeback"], form: Form::Flag }],
    ),
    // What units below get that have none of their own; the unit's own files do not show it.
    memory_2(
        &[
            "DefaultMemoryLow",
            "DefaultMemoryLowScale",
            "DefaultStartupMemoryLow",
            "DefaultStartupMemoryLowScale",
            "DefaultMemoryMin",
            "DefaultMemoryMinScale",
        ],
        0,
        &[],
    ),
    row(
        &["TasksMax"],
        INFINITY,
        side("pids", &[number(&["pids.max"], compare::tasks)]),
        side("pids", &[number(&["pids.max"], compare::tasks)]),
    ),
    row(
        &["TasksMaxScale"],
        INFINITY,
        side("pids", &[number(&["pids.max"], compare::tasks_share)]),
        side("pids", &[number(&["pids.max"], compare::tasks_share)]),
    ),
    row(
        &["CPUQuotaPerSecUSec"],
        INFINITY,
        side("cpu", &[number(&["cpu.max"], compare::quota)]),
        side("cpu", &[number(V1_QUOTA, compare::quota)]),
    ),
    row(
        &["CPUQuotaPeriodUSec"],
        INFINITY,
        side("cpu", &[number(&["cpu.max"], compare::quota_period)]),
        side("cpu", &[number(V1_QUOTA, compare::quota_period)]),
    ),
    row(
        &["CPUWeight", "StartupCPUWeight"],
        INFINITY,
        side("cpu", CPU_WEIGHT),
        side("cpu", &[number(&["cpu.shares"], compare::cpu_weight_as_shares)]),
    ),
    row(
        &["CPUShares", "StartupCPUShares"],
        INFINITY,
        side("cpu", &[number(&["cpu.weight"], compare::cpu_shares_as_weight)]),
        side("cpu", &[number(&["cpu.shares"], compare::cpu_shares)]),
    ),
    row(
        &["AllowedCPUs", "StartupAllowedCPUs"],
        INFINITY,
        side("cpuset", &[set(&["cpuset.cpus"])]),
        V1_CPUSET_NONE,
    ),
    row(
        &["AllowedMemoryNodes", "StartupAllowedMemoryNodes"],
        INFINITY,
        side("cpuset", &[set(&["cpuset.mems"])]),
        V1_CPUSET_NONE,
    ),
    row(
        &["IOWeight", "StartupIOWeight"],
        INFINITY,
        side(
            "io",
            &[number(&["io.weight"], compare::io_weight), number(&["io.bfq.weight"], compare::io_bfq_weight)],
        ),
        side(
            "blkio",
            &[
                number(&["blkio.weight"], compare::io_weight_as_blkio),
                number(&["blkio.bfq.weight"], compare::io_weight_as_blkio_bfq),
            ],
        ),
    ),
    row(
        &["BlockIOWeight", "StartupBlockIOWeight"],
        INFINITY,
        side(
            "io",
            &[
                number(&["io.weight"], compare::blkio_weight_as_io),
                number(&["io.bfq.weight"], compare::blkio_weight_as_io_bfq),
            ],
        ),
        side(
            "blkio",
            &[
                number(&["blkio.weight"], compare::blkio_weight),
                number(&["blkio.bfq.weight"], compare::blkio_bfq_weight),
            ],
        ),
    ),
    row(
        &["IODeviceWeight"],
        INFINITY,
        side(
            "io",
            &[
                devices(&["io.weight"], "", compare::device_exact),
                devices(&["io.bfq.weight"], "", compare::device_bfq_weight),
            ],
        ),
        side(
            "blkio",
            &[
                devices(&["blkio.weight_device"], "", compare::device_weight_as_blkio),
                devices(&["blkio.bfq.weight_device"], "", compare::device_weight_as_blkio_bfq),
            ],
        ),
    ),
    row(
        &["BlockIODeviceWeight"],
        INFINITY,
        side(
            "io",
            &[
                devices(&["io.weight"], "", compare::device_blkio_weight_as_io),
                devices(&["io.bfq.weight"], "", compare::device_blkio_weight_as_io_bfq),
            ],
        ),
        side(
            "blkio",
            &[
                devices(&["blkio.weight_device"], "", compare::device_exact),
                devices(&["blkio.bfq.weight_device"], "", compare::device_bfq_weight),
            ],
        ),
    ),
    row(
        &["IOReadBandwidthMax", "BlockIOReadBandwidth"],
        INFINITY,
        side("io", &[devices(&["io.max"], "rbps=", compare::device_exact)]),
        side("blkio", &[devices(V1_READ_BPS, "", compare::device_exact)]),
    ),
    row(
        &["IOWriteBandwidthMax", "BlockIOWriteBandwidth"],
        INFINITY,
        side("io", &[devices(&["io.max"], "wbps=", compare::device_exact)]),
        side("blkio", &[devices(V1_WRITE_BPS, "", compare::device_exact)]),
    ),
    row(
        &["IOReadIOPSMax"],
        INFINITY,
        side("io", &[devices(&["io.max"], "riops=", compare::device_operations)]),
        V1_BLKIO_NONE,
    ),
    row(
        &["IOWriteIOPSMax"],
        INFINITY,
        side("io", &[devices(&["io.max"], "wiops=", compare::device_operations)]),
        V1_BLKIO_NONE,
    ),
    row(
        &["IODeviceLatencyTargetUSec"],
        INFINITY,
        side("io", &[devices(&["io.latency"], "target=", compare::device_exact)]),
        V1_BLKIO_NONE,
    ),
];

/// A memory limit that systemd sets on cgroup v2 alone.
const fn memory_2(properties: &'static [&'static str], rest: u64, places: &'static [Place]) -> Row {
    row(properties, rest, side("memory", places), V1_MEMORY_NONE)
}

/// A limit whose file is not known. Device rules: BPF on v2, where systemd goes on without them if the kernel
/// takes no program, and on v1 a list from which what was asked for cannot be told.
static NOT_SHOWN: Row = row(&["DeviceAllow", "DevicePolicy"], INFINITY, side("", &[]), side("", &[]));

/// How the names of resource limits begin: one that is in no row is a limit of a systemd newer than this table.
const LIMIT_STEMS: [&str; 9] =
    ["Memory", "CPU", "IO", "BlockIO", "Tasks", "Allowed", "Startup", "DefaultMemory", "DefaultStartup"];

/// The row of a property; `None` where it is no limit.
pub(super) fn row_of(property: &str) -> Option<&'static Row> {
    let has = |row: &&Row| row.properties.contains(&property);
    let is_setting = property.ends_with("Accounting") || property.contains("Pressure");
    let may_be_limit = || !is_setting && LIMIT_STEMS.iter().any(|stem| property.starts_with(stem));
    let listed = LIMITS.iter().chain([&NOT_SHOWN]).find(has);
    listed.or_else(|| may_be_limit().then_some(&NOT_SHOWN))
}
