//! Reads `-p NAME=VALUE` as `systemd-run -p` does, so that what stands in a unit file can be typed as it is.
//!
//! Names are those of unit files (`CPUQuota`, `TimeoutStopSec`), for what a scope and a slice have; the names and
//! types that D-Bus has for them (`CPUQuotaPerSecUSec`, a `t`) are found here. Sizes take K, M, G, T, P, E (of
//! 1024; rates of 1000), shares `%`, `‰` and `‱`, times the spans of systemd.time(7).
//!
//! A property that is not in the table, one of a newer systemd say, is given by its D-Bus name and type:
//! `NAME:TYPE=VALUE`, with the type one of `b y n q i u x t d s o as`. Nothing about such a value is guessed:
//! times are in microseconds, sizes in bytes, and `infinity` is taken for a `t`.
//!
//! Sources: systemd.resource-control(5), systemd.scope(5), systemd.unit(5), systemd.kill(5), systemd.time(7), and
//! systemd's `src/shared/bus-unit-util.c` for what each becomes on D-Bus.

mod assignments;
mod kind;
mod syntax;
#[cfg(test)]
mod tests;
mod typed;

use std::error::Error;
use std::fmt;

pub use assignments::Assignments;
use unitwait::Property;

/// Why an assignment of the command line is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyError {
    /// The whole argument, as it was given.
    pub given: String,
    /// What is wrong with it.
    pub reason: String,
    /// What would have been right.
    pub hint: String,
}

impl fmt::Display for PropertyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "property `{}`: {}; {}", self.given, self.reason, self.hint)
    }
}

impl Error for PropertyError {}

/// The properties that one `NAME=VALUE`, or `NAME:TYPE=VALUE`, of the command line asks for.
///
/// What only systemd can know is left to it: whether a unit or a device exists, which words a policy has, whether
/// its version has the property at all.
fn parse(text: &str) -> Result<Vec<Property>, PropertyError> {
    let refuse = |(reason, hint)| PropertyError { given: text.into(), reason, hint };
    let Some((left, value)) = text.split_once('=') else {
        return Err(refuse((
            "there is no `=` in it".into(),
            "say NAME=VALUE, as in `MemoryMax=512M`".into(),
        )));
    };
    let (name, signature) = match left.split_once(':') {
        Some((name, signature)) => (name, Some(signature)),
        None => (left, None),
    };
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        let reason = format!("`{name}` is no name of a property, which is made of ASCII letters and digits");
        return Err(refuse((reason, "say NAME=VALUE, as in `MemoryMax=512M`".into())));
    }
    match signature {
        Some(signature) => typed::read(name, signature, value),
        None => by_table(name, value),
    }
    .map(|property| vec![property])
    .map_err(refuse)
}

/// A reason and a hint.
type Refusal = (String, String);

fn by_table(name: &str, value: &str) -> Result<Property, Refusal> {
    if let Some(row) = TABLE.iter().find(|row| row.names.contains(&name)) {
        return (row.read)(name, value)
            .map_err(|reason| (reason, format!("for example `{name}={}`", row.example)));
    }
    if is_condition(name) {
        return Ok(kind::condition(name, value));
    }
    if name == "NFTSet" {
        let hint = "once the unit is there, set it by `systemctl set-property UNIT NFTSet=...`";
        return Err(("it is not read here, for its value has a grammar of its own".into(), hint.into()));
    }
    Err(unknown(name))
}

fn is_condition(name: &str) -> bool {
    ["Condition", "Assert"].iter().any(|kind| name.strip_prefix(kind).is_some_and(|what| !what.is_empty()))
}

fn unknown(name: &str) -> Refusal {
    let known = || TABLE.iter().flat_map(|row| row.names).copied();
    if let Some(meant) = known().find(|known| known.eq_ignore_ascii_case(name)) {
        return (format!("there is no property `{name}`"), format!("did you mean `{meant}`?"));
    }
    if let Some(meant) = known().find(|known| kind::bus_name(known) == name) {
        return (format!("`{name}` is what D-Bus calls it"), format!("say `{meant}=`, as in a unit file"));
    }
    (
        format!("`{name}` is no property of a scope or slice that is known here"),
        format!("if systemd knows it, say its D-Bus type (b y n q i u x t d s o as) too: `{name}:s=VALUE`"),
    )
}

/// The properties that are read in one way.
struct Row {
    read: fn(&str, &str) -> Result<Property, String>,
    example: &'static str,
    names: &'static [&'static str],
}

const fn row(
    read: fn(&str, &str) -> Result<Property, String>,
    example: &'static str,
    names: &'static [&'static str],
) -> Row {
    Row { read, example, names }
}

#[rustfmt::skip] // or every name would have a line of its own
static TABLE: &[Row] = &[
    row(kind::text, "text", &[
        "Description", "SourcePath", "CollectMode", "Slice", "SuccessAction", "FailureAction", "RebootArgument",
        "JobTimeoutAction", "JobTimeoutRebootArgument", "StartLimitAction", "OnSuccessJobMode", "OnFailureJobMode",
        "KillMode", "OOMPolicy", "User", "Group", "DevicePolicy", "DelegateSubgroup", "ManagedOOMSwap",
        "ManagedOOMMemoryPressure", "ManagedOOMPreference", "MemoryPressureWatch", "BindNetworkInterface",
    ]),
    row(kind::boolean, "yes", &[
        "DefaultDependencies", "IgnoreOnIsolate", "StopWhenUnneeded", "RefuseManualStart", "RefuseManualStop",
        "AllowIsolate", "SurviveFinalKillSignal", "AddRef", "SendSIGHUP", "SendSIGKILL", "CPUAccounting",
        "MemoryAccounting", "TasksAccounting", "IOAccounting", "BlockIOAccounting", "IPAccounting",
        "MemoryZSwapWriteback", "CoredumpReceive",
    ]),
    row(kind::words, "one two", &[
        "After", "Before", "Requires", "Requisite", "Wants", "BindsTo", "PartOf", "Upholds", "Conflicts",
        "OnSuccess", "OnFailure", "PropagatesReloadTo", "ReloadPropagatedFrom", "PropagatesStopTo",
        "StopPropagatedFrom", "JoinsNamespaceOf", "RequiresMountsFor", "WantsMountsFor", "Documentation", "Markers",
        "DisableControllers",
    ]),
    row(kind::span, "1min 30s", &[
        "TimeoutStopSec", "RuntimeMaxSec", "RuntimeRandomizedExtraSec", "JobTimeoutSec", "JobRunningTimeoutSec",
        "StartLimitIntervalSec", "MemoryPressureThresholdSec",
    ]),
    row(kind::span_or_none, "100ms", &["CPUQuotaPeriodSec", "ManagedOOMMemoryPressureDurationSec"]),
    row(kind::count, "5", &["StartLimitBurst"]),
    row(kind::exit_status, "1", &["SuccessActionExitStatus", "FailureActionExitStatus"]),
    row(kind::signal, "SIGTERM", &["KillSignal", "RestartKillSignal", "FinalKillSignal", "WatchdogSignal"]),
    row(kind::delegate, "cpu memory pids", &["Delegate"]),
    row(kind::memory, "512M", &[
        "MemoryHigh", "MemoryMax", "MemorySwapMax", "MemoryZSwapMax", "MemoryLimit", "StartupMemoryHigh",
        "StartupMemoryMax", "StartupMemorySwapMax", "StartupMemoryZSwapMax",
    ]),
    row(kind::memory_protection, "512M", &[
        "MemoryMin", "MemoryLow", "DefaultMemoryMin", "DefaultMemoryLow", "StartupMemoryLow",
        "DefaultStartupMemoryLow",
    ]),
    row(kind::tasks, "100", &["TasksMax"]),
    row(kind::quota, "50%", &["CPUQuota"]),
    row(kind::share, "60%", &["ManagedOOMMemoryPressureLimit"]),
    row(kind::cpu_weight, "100", &["CPUWeight", "StartupCPUWeight"]),
    row(kind::io_weight, "100", &["IOWeight", "StartupIOWeight"]),
    row(kind::cpu_shares, "1024", &["CPUShares", "StartupCPUShares"]),
    row(kind::block_io_weight, "500", &["BlockIOWeight", "StartupBlockIOWeight"]),
    row(kind::index_set, "0-3,7", &[
        "AllowedCPUs", "StartupAllowedCPUs", "AllowedMemoryNodes", "StartupAllowedMemoryNodes",
    ]),
    row(kind::device_rate, "/dev/sda 10M", &[
        "IOReadBandwidthMax", "IOWriteBandwidthMax", "IOReadIOPSMax", "IOWriteIOPSMax", "BlockIOReadBandwidth",
        "BlockIOWriteBandwidth",
    ]),
    row(kind::device_weight, "/dev/sda 200", &["IODeviceWeight", "BlockIODeviceWeight"]),
    row(kind::device_latency, "/dev/sda 25ms", &["IODeviceLatencyTargetSec"]),
    row(kind::device_allow, "/dev/null rw", &["DeviceAllow"]),
    row(kind::addresses, "10.0.0.0/8 localhost", &["IPAddressAllow", "IPAddressDeny"]),
    row(kind::filter_path, "/sys/fs/bpf/filter", &["IPIngressFilterPath", "IPEgressFilterPath"]),
    row(kind::bpf_program, "egress:/sys/fs/bpf/program", &["BPFProgram"]),
    row(kind::socket_bind, "ipv4:tcp:8000-8080", &["SocketBindAllow", "SocketBindDeny"]),
];
