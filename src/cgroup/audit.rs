//! The look at a unit that has been there for a while: does the kernel still hold what systemd was asked for.
//!
//! systemd writes a limit when it is set, and again at every `daemon-reload`. In between any program with the right
//! to write may put something else into the kernel's file, or move a process away, and systemd neither sees nor says
//! it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::gap::{GapReason, LimitGap};
use super::inspect::{Inspection, MisplacedProcess, Place, inspect};
use super::layout::CgroupLayout;
use super::limit::{AskedLimit, asked_limits, gaps};
use super::process::Process;
use super::sight::Sights;
use super::subtree::Subtree;
use crate::unit::{Property, Value};

/// Something that is not as it was asked for.
///
/// ```
/// use unitwait::AuditFinding;
///
/// fn was_overwritten(finding: &AuditFinding) -> bool {
///     matches!(finding, AuditFinding::Overwritten(_))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditFinding {
    /// The unit, or the run that a handle means, is over.
    Gone,
    /// The run that a handle means is over, and another run has its name; that one was not looked at.
    Replaced,
    /// A process is not in the unit's control group: one that the handle placed there, or that is in the unit's
    /// group of one hierarchy and not in that of another.
    Misplaced(MisplacedProcess),
    /// The kernel has another limit than systemd's property says: it was written past systemd, whose next
    /// `daemon-reload` sets it back; systemd 257 does not where cgroup v1 has the limit (seen there, and that 252 does).
    Overwritten(LimitGap),
    /// The unit's property was changed since: the kernel holds what systemd says, which is not what was asked for.
    Changed(LimitGap),
    /// The kernel does not hold the limit, for want of a controller or a file.
    NotHeld(LimitGap),
}

impl fmt::Display for AuditFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuditFinding::Gone => f.write_str("it is over"),
            AuditFinding::Replaced => f.write_str("its run is over, and another has its name"),
            AuditFinding::Misplaced(process) => process.fmt(f),
            AuditFinding::Overwritten(gap) => {
                write!(f, "{gap}; it was written past systemd, whose next daemon-reload may undo it")
            }
            AuditFinding::Changed(gap) => write!(f, "{gap}; the unit's property was changed"),
            AuditFinding::NotHeld(gap) => gap.fmt(f),
        }
    }
}

/// What is known of a unit before its control group is looked at.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    pub layout: Arc<CgroupLayout>,
    pub control_group: &'a str,
    /// The processes that were placed in it.
    pub placed: &'a [Process],
    /// What was asked for when it was created, and since.
    pub asked: &'a [Property],
    /// The properties that systemd says it has.
    pub held: &'a BTreeMap<String, Value>,
}

/// The limits whose files are compared with the unit's own properties, each with its older name: of two names for
/// one file only the one that is in use can be right. Left out are those of the startup phase, which is over, and
/// those that no file shows.
const LIMITS: [(&str, Option<&str>); 17] = [
    ("MemoryMax", Some("MemoryLimit")),
    ("MemoryHigh", None),
    ("MemoryLow", None),
    ("MemoryMin", None),
    ("MemorySwapMax", None),
    ("MemoryZSwapMax", None),
    ("TasksMax", None),
    ("CPUQuotaPerSecUSec", None),
    ("CPUWeight", Some("CPUShares")),
    ("IOWeight", Some("BlockIOWeight")),
    ("IODeviceWeight", None),
    ("IOReadBandwidthMax", Some("BlockIOReadBandwidth")),
    ("IOWriteBandwidthMax", Some("BlockIOWriteBandwidth")),
    ("IOReadIOPSMax", None),
    ("IOWriteIOPSMax", None),
    ("AllowedCPUs", None),
    ("AllowedMemoryNodes", None),
];

/// Looks, in the calling thread: files of procfs and cgroupfs, which do not block.
pub(crate) fn audit(subject: &Subject<'_>) -> Vec<AuditFinding> {
    let limits = held_limits(subject.held);
    let mut processes = subject.placed.to_vec();
    add_inhabitants(subject, &mut processes);
    let look = Inspection {
        place: Place::Exact(subject.control_group.into()),
        processes,
        limits: limits.clone(),
        sights: Sights::default(),
        invocation_link: None,
        layout: Arc::clone(&subject.layout),
        everywhere: true,
    };
    let mut findings: Vec<_> = inspect(&look).misplaced.into_iter().map(AuditFinding::Misplaced).collect();
    findings.extend(limit_findings(subject, &limits));
    findings
}

/// The limits that systemd says the unit has.
fn held_limits(held: &BTreeMap<String, Value>) -> Vec<AskedLimit> {
    let property = |name: &str| held.get(name).map(|value| Property::new(name, value.clone()));
    let in_use = |name: &str| {
        let limits = property(name).map(|property| asked_limits(&[property])).unwrap_or_default();
        limits.into_iter().next().filter(|limit| !limit.asks_for_nothing())
    };
    let limits = LIMITS.iter().filter_map(|(name, older)| {
        let in_use = in_use(name).or_else(|| older.and_then(in_use));
        in_use.or_else(|| asked_limits(&[property(name)?]).into_iter().next())
    });
    limits.collect()
}

/// What systemd says comes first: where the kernel has something else, somebody wrote past it.
fn limit_findings(subject: &Subject<'_>, held: &[AskedLimit]) -> Vec<AuditFinding> {
    let gaps = |limits: &[AskedLimit]| gaps(&subject.layout, subject.control_group, limits);
    let kind = |gap: LimitGap| match gap.reason {
        GapReason::Differs => AuditFinding::Overwritten(gap),
        _ => AuditFinding::NotHeld(gap),
    };
    let mut findings: Vec<AuditFinding> = gaps(held).into_iter().map(kind).collect();
    let known = |gap: &LimitGap| {
        findings.iter().any(|finding| match finding {
            AuditFinding::Overwritten(other) | AuditFinding::NotHeld(other) => {
                other.property == gap.property || (other.file.is_some() && other.file == gap.file)
            }
            _ => false,
        })
    };
    let asked: Vec<LimitGap> =
        gaps(&asked_limits(subject.asked)).into_iter().filter(|gap| !known(gap)).collect();
    findings.extend(asked.into_iter().map(|gap| match gap.reason {
        GapReason::Differs => AuditFinding::Changed(gap),
        _ => AuditFinding::NotHeld(gap),
    }));
    findings
}

/// The processes that are in the unit's group of either hierarchy by which systemd goes, or below it.
fn add_inhabitants(subject: &Subject<'_>, processes: &mut Vec<Process>) {
    let subtree = Subtree::open(&subject.layout, subject.control_group).ok().flatten();
    let pids = subtree.and_then(|subtree| subtree.pids().ok()).unwrap_or_default();
    for process in pids.into_iter().filter_map(|pid| Process::look_up(pid).ok()) {
        if !processes.contains(&process) {
            processes.push(process);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A unified hierarchy in a directory of its own, with one group in it.
    fn findings(files: &[(&str, &str)], asked: &[Property], held: &[Property]) -> Vec<String> {
        let at = tempdir();
        let group = at.join("x.scope");
        fs::create_dir_all(&group).unwrap();
        fs::write(at.join("cgroup.controllers"), "memory pids cpu\n").unwrap();
        for (name, text) in files.iter().chain(&[("cgroup.controllers", "memory pids cpu\n")]) {
            fs::write(group.join(name), text).unwrap();
        }
        let mounts = format!("30 20 0:26 / {} rw - cgroup2 cgroup2 rw\n", at.display());
        let held = held.iter().map(|property| (property.name().to_string(), property.value().clone()));
        let found = audit(&Subject {
            layout: Arc::new(CgroupLayout::parse(&mounts).unwrap()),
            control_group: "/x.scope",
            placed: &[],
            asked,
            held: &held.collect(),
        });
        fs::remove_dir_all(at).unwrap();
        found.iter().map(|finding| format!("{finding:?}").split('(').next().unwrap().to_string()).collect()
    }

    fn tempdir() -> std::path::PathBuf {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("unitwait-audit-{}-{number}", std::process::id()))
    }

    #[test]
    fn who_changed_a_limit_is_told_by_what_systemd_says_of_it() {
        let tasks = |tasks: u64| Property::new("TasksMax", tasks);
        let none: [&str; 0] = [];
        assert_eq!(findings(&[("pids.max", "20\n")], &[tasks(20)], &[tasks(20)]), none);
        assert_eq!(findings(&[("pids.max", "7\n")], &[tasks(20)], &[tasks(20)]), ["Overwritten"]);
        assert_eq!(findings(&[("pids.max", "7\n")], &[], &[tasks(u64::MAX)]), ["Overwritten"]);
        assert_eq!(findings(&[("pids.max", "30\n")], &[tasks(20)], &[tasks(30)]), ["Changed"]);
        assert_eq!(findings(&[("pids.max", "20\n")], &[tasks(20)], &[tasks(30)]), ["Overwritten"]);
        assert_eq!(findings(&[], &[tasks(20)], &[tasks(20)]), ["NotHeld"]);
        assert_eq!(findings(&[], &[], &[tasks(u64::MAX)]), none);
        let io = [Property::new("IOReadBandwidthMax", Value::Array("(st)".into(), vec![]))];
        assert_eq!(findings(&[], &[], &io), none, "nothing is asked for, and there is no controller");
    }

    #[test]
    fn of_two_names_for_one_file_the_one_in_use_counts() {
        let held = [Property::new("CPUWeight", u64::MAX), Property::new("CPUShares", 2048u64)];
        assert_eq!(findings(&[("cpu.weight", "200\n")], &[], &held), [""; 0]);
        assert_eq!(findings(&[("cpu.weight", "100\n")], &[], &held), ["Overwritten"]);
    }
}
