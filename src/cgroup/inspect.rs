//! The look at the kernel after a job is done: is each process in the unit's group, and do the limits hold.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};

use super::layout::{CgroupLayout, CgroupMode};
use super::limit::{self, AskedLimit, LimitGap};
use super::path::escape;
use super::process::Process;

/// Where the unit's group should be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    Exact(String),
    /// The slice is systemd's choice: any group of the unit's name below the manager's root.
    Below {
        root: String,
        unit: String,
    },
}

/// What is to be looked at.
#[derive(Clone, Debug)]
pub(crate) struct Inspection {
    pub place: Place,
    pub processes: Vec<Process>,
    pub limits: Vec<AskedLimit>,
    /// The link that reads as the run's invocation ID.
    pub invocation_link: Option<PathBuf>,
    pub layout: Arc<CgroupLayout>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub invocation: Option<String>,
    pub control_group: Option<String>,
    pub misplaced: Vec<MisplacedProcess>,
    /// How many processes are in place.
    pub present: usize,
    pub gaps: Vec<LimitGap>,
}

/// A process that is not in its unit's control group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MisplacedProcess {
    /// The process.
    pub pid: u32,
    /// The hierarchy it was looked for in: `unified`, `name=systemd`, or a controller.
    pub hierarchy: String,
    /// The control group it should be in.
    pub expected: String,
    /// The control group it is in.
    pub found: String,
}

impl fmt::Display for MisplacedProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MisplacedProcess { pid, hierarchy, expected, found } = self;
        write!(f, "process {pid} is in {found} and not in {expected} ({hierarchy})")
    }
}

/// Looks. The link is read before the processes: one that is still in place then proves that the link was this
/// run's, and not a later one's of the same name.
pub(crate) fn inspect(inspection: &Inspection) -> Findings {
    let mut findings = Findings::default();
    let link = inspection.invocation_link.as_ref().and_then(|link| fs::read_link(link).ok());
    findings.invocation = link.and_then(|target| target.to_str().map(String::from));
    if let Place::Exact(group) = &inspection.place {
        findings.control_group = Some(group.clone());
    }
    for process in &inspection.processes {
        // Ended, or its number given to another: nothing is left to be in the wrong place.
        if let Ok(groups) = read_groups(process.pid) {
            judge(inspection, *process, &groups, &mut findings);
        }
    }
    if let Some(group) = findings.control_group.as_deref() {
        let all_gone = !inspection.processes.is_empty() && findings.present == 0;
        if !all_gone {
            findings.gaps = limit::gaps(&inspection.layout, group, &inspection.limits);
        }
    }
    findings
}

fn read_groups(pid: u32) -> io::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/cgroup"))
}

fn judge(inspection: &Inspection, process: Process, groups: &str, findings: &mut Findings) {
    let (hierarchy, shown) = match inspection.layout.mode() {
        CgroupMode::Unified => ("", "unified"),
        CgroupMode::Hybrid | CgroupMode::Legacy => ("name=systemd", "name=systemd"),
    };
    let found = group_in(groups, hierarchy).unwrap_or_default();
    let Some(group) = home(&inspection.place, found) else {
        if process.lives() {
            findings.misplaced.push(MisplacedProcess {
                pid: process.pid,
                hierarchy: shown.into(),
                expected: expected(&inspection.place),
                found: found.into(),
            });
        }
        return;
    };
    findings.present += 1;
    for limit in &inspection.limits {
        // On v1 a limit binds only the processes that are in the group of its own hierarchy too.
        let Some(mount) = inspection.layout.legacy_mount(limit.legacy_controller()) else { continue };
        let there = group_in(groups, limit.legacy_controller()).unwrap_or_default();
        let bound = is_within(there, &group) || !mount.join(group.trim_start_matches('/')).exists();
        if !bound && process.lives() {
            let (expected, found) = (group.clone(), there.into());
            let hierarchy = limit.legacy_controller().into();
            findings.misplaced.push(MisplacedProcess { pid: process.pid, hierarchy, expected, found });
            break;
        }
    }
    findings.control_group.get_or_insert(group);
}

/// The group that `/proc/PID/cgroup` shows for a hierarchy: `ID:controllers:path` (`cgroups(7)`).
fn group_in<'a>(groups: &'a str, hierarchy: &str) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, names, path) = (fields.next()?, fields.next()?, fields.next()?);
        names.split(',').any(|name| name == hierarchy).then_some(path)
    })
}

/// The unit's group, where the group found is that or one below it.
fn home(place: &Place, found: &str) -> Option<String> {
    match place {
        Place::Exact(group) => is_within(found, group).then(|| group.clone()),
        Place::Below { root, unit } => {
            let name = escape(unit);
            let below = found.strip_prefix(root.trim_end_matches('/'))?;
            let at = below.find(&format!("/{name}"))?;
            let end = at + 1 + name.len();
            let whole = below[end..].is_empty() || below[end..].starts_with('/');
            whole.then(|| found[..found.len() - below.len() + end].to_string())
        }
    }
}

fn expected(place: &Place) -> String {
    match place {
        Place::Exact(group) => group.clone(),
        Place::Below { root, unit } => format!("{}/…/{}", root.trim_end_matches('/'), escape(unit)),
    }
}

fn is_within(found: &str, group: &str) -> bool {
    found
        .strip_prefix(group.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_at_home_in_its_group_and_below_it_and_nowhere_else() {
        let exact = Place::Exact("/a.slice/x.scope".into());
        let below = Place::Below { root: "/user.slice".into(), unit: "x.scope".into() };
        assert_eq!(home(&exact, "/a.slice/x.scope/sub").as_deref(), Some("/a.slice/x.scope"));
        assert_eq!(home(&exact, "/a.slice/x.scope2"), None);
        assert_eq!(home(&exact, "/"), None);
        assert_eq!(
            home(&below, "/user.slice/app.slice/x.scope/s").as_deref(),
            Some("/user.slice/app.slice/x.scope")
        );
        assert_eq!(home(&below, "/user.slice/x.scopes"), None);
        assert_eq!(home(&below, "/system.slice/x.scope"), None);
    }

    #[test]
    fn each_hierarchys_line_is_told_from_the_others() {
        let groups = "9:name=systemd:/s\n3:cpu,cpuacct:/c\n0::/u\n";
        assert_eq!(group_in(groups, "name=systemd"), Some("/s"));
        assert_eq!(group_in(groups, "cpuacct"), Some("/c"));
        assert_eq!(group_in(groups, ""), Some("/u"));
        assert_eq!(group_in(groups, "memory"), None);
    }
}
