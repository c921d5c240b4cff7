//! The look at the kernel after a job is done: is each process in the unit's group, and do the limits hold.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file;
use super::gap::LimitGap;
use super::layout::{CgroupLayout, CgroupMode};
use super::limit::{self, AskedLimit};
use super::path::{escape, group_in, unit_in};
use super::process::{self, Process};
use super::sight::Sights;

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
    pub sights: Sights,
    pub limits: Vec<AskedLimit>,
    /// The link that reads as the run's invocation ID.
    pub invocation_link: Option<PathBuf>,
    pub layout: Arc<CgroupLayout>,
    /// Whether the processes are looked for in every hierarchy, and not only in those of the limits.
    pub everywhere: bool,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub invocation: Option<String>,
    pub control_group: Option<String>,
    pub misplaced: Vec<MisplacedProcess>,
    /// The processes that are in place.
    pub present: Vec<u32>,
    /// Whether the group is there, and no process in it.
    pub empty: bool,
    /// The number of the group's directory, by which it is told from a later group with its path. Where processes are
    /// in place, one of them was seen there after it.
    pub group: Option<u64>,
    pub gaps: Vec<LimitGap>,
}

/// A process that is not in its unit's control group: it was seen elsewhere, and after that to be alive, not
/// exiting, and the one that was named. A process that has ended is in no wrong place.
///
/// ```
/// use unitwait::Error;
///
/// fn strays(error: &Error) -> Vec<u32> {
///     match error {
///         Error::Misplaced { processes, .. } => processes.iter().map(|process| process.pid).collect(),
///         _ => Vec::new(),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MisplacedProcess {
    /// The process.
    pub pid: u32,
    /// The hierarchy it was looked for in: `unified`, `name=systemd`, or a controller.
    pub hierarchy: String,
    /// The control group it should be in.
    pub expected: String,
    /// The control group it is in; where that cannot be read, why.
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
    // Where the group is known, its number is read before its processes are seen in it: one look at them will do.
    let before = match &inspection.place {
        Place::Exact(group) if !inspection.processes.is_empty() => number(inspection, group),
        _ => None,
    };
    let link = inspection.invocation_link.as_ref().and_then(|link| fs::read_link(link).ok());
    findings.invocation = link.and_then(|target| target.to_str().map(String::from));
    if let Place::Exact(group) = &inspection.place {
        findings.control_group = Some(group.clone());
    }
    for process in &inspection.processes {
        match look(inspection, *process) {
            Some(Seat::Home(group)) => {
                findings.present.push(process.pid);
                // The kernel's own spelling, which a name that only some versions of systemd escape may
                // differ from.
                findings.control_group = Some(group);
            }
            Some(Seat::Elsewhere(misplaced)) => findings.misplaced.push(misplaced),
            None => {}
        }
    }
    if let Some(group) = findings.control_group.as_deref() {
        findings.gaps = limit::gaps(&inspection.layout, group, &inspection.limits);
        findings.empty = findings.present.is_empty() && is_empty(&inspection.layout.path(group));
        let is_the_one = matches!(&inspection.place, Place::Exact(place) if place == group);
        findings.group = match before {
            Some(number) if is_the_one && !findings.present.is_empty() => Some(number),
            _ => proven_number(inspection, group, !findings.present.is_empty()),
        };
        // The last process may have ended before or during the look, and the group with it, file by file:
        // nothing is left to limit then. A process that ended and left children in the unit leaves the limits
        // in force, too.
        let processes = &inspection.processes;
        let have_ended = || !processes.is_empty() && !processes.iter().any(|process| process.lives());
        if !findings.gaps.is_empty() && have_ended() && !is_populated(&inspection.layout.path(group)) {
            findings.gaps.clear();
        }
    }
    findings
}

/// The number of a group's directory, where systemd goes by it.
fn number(inspection: &Inspection, group: &str) -> Option<u64> {
    let (_, directory) = inspection.layout.kept(group).into_iter().next()?;
    Some(fs::metadata(directory).ok()?.ino())
}

/// The number, with a process seen in the group after it was read, where there are any.
fn proven_number(inspection: &Inspection, group: &str, has_processes: bool) -> Option<u64> {
    let number = number(inspection, group)?;
    let is_home = |process: &Process| {
        let seat = look_in_sight(inspection, *process)
            .or_else(|| look_at(inspection, *process, &process::directory(process.pid)));
        matches!(seat, Some(Seat::Home(_)))
    };
    (!has_processes || inspection.processes.iter().any(is_home)).then_some(number)
}

/// Whether a group, or one below it, has a process that is not a zombie.
fn is_populated(group: &Path) -> bool {
    if let Ok(events) = file::read(&group.join("cgroup.events")) {
        return events.lines().any(|line| line == "populated 1");
    }
    // cgroup v1 tells of no group but the one. systemd removes an empty unit's groups below it first.
    let has_processes = file::read(&group.join("cgroup.procs")).is_ok_and(|text| !text.is_empty());
    let mut below = fs::read_dir(group).into_iter().flatten().flatten();
    has_processes || below.any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}

/// Whether a group is there and has no process: to be gone is not to be empty.
fn is_empty(group: &Path) -> bool {
    group.exists() && !is_populated(group)
}

/// Where a process is.
enum Seat {
    Home(String),
    Elsewhere(MisplacedProcess),
}

/// How often a process whose threads end while they are looked at gets another look.
const MOST_LOOKS: usize = 3;

/// Where a process is; `None` if it has ended, for nothing is left then to be in the wrong place.
///
/// One look is enough for a process in its place that is in sight, or still has its number. The wrong place needs a
/// proof, for the kernel tells it of many that were placed well: a thread on its way out is shown in `/` of each
/// v1 hierarchy, one that ended in a removed group as there no more, a first thread that ended before the others
/// (and before systemd placed these) where it was then, and a number that was given away in another process's
/// group. So after the first look the order is: find a thread that lives, read its group anew, and see that the
/// same thread still lives and the number is still this process's. Neither the kernel's exiting flag nor the start
/// time that goes with a number ever comes back, so what holds after the read has held during it, and the group
/// read is that of a living thread of the process named. To look for life only before the read would prove
/// nothing: the end may come between the two.
fn look(inspection: &Inspection, process: Process) -> Option<Seat> {
    if let seat @ Some(Seat::Home(_)) = look_in_sight(inspection, process) {
        return seat;
    }
    if let seat @ Some(Seat::Home(_)) = look_at(inspection, process, &process::directory(process.pid)) {
        // A number that was given away while systemd was silent may have led another process here.
        return seat.filter(|_| process.has_its_number());
    }
    for _ in 0..MOST_LOOKS {
        let thread = process.living_thread()?;
        match look_at(inspection, process, &thread) {
            Some(Seat::Elsewhere(_)) | None if !process.still_has(&thread) => {}
            seat => return seat,
        }
    }
    None
}

/// Where a process that is kept in sight is; `None` for another, and for one that has ended.
fn look_in_sight(inspection: &Inspection, process: Process) -> Option<Seat> {
    let groups = inspection.sights.groups_of(process.pid)?.ok()?;
    Some(judge(inspection, process.pid, &groups))
}

/// Where the thread with this `/proc` directory is; `None` if it has ended.
fn look_at(inspection: &Inspection, process: Process, thread: &Path) -> Option<Seat> {
    match file::read(&thread.join("cgroup")) {
        Ok(groups) => Some(judge(inspection, process.pid, &groups)),
        Err(error) if file::is_gone(&error) => None,
        // Not to know is not to agree: success is only what the kernel was seen to hold.
        Err(error) => {
            let (_, shown) = tracking(inspection);
            let found = format!("a group that cannot be read ({error})");
            Some(elsewhere(process.pid, shown, expected(&inspection.place), found))
        }
    }
}

/// systemd's own hierarchy, as `/proc/PID/cgroup` and as people name it.
fn tracking(inspection: &Inspection) -> (&'static str, &'static str) {
    match inspection.layout.mode() {
        CgroupMode::Unified => ("", "unified"),
        CgroupMode::Hybrid | CgroupMode::Legacy => ("name=systemd", "name=systemd"),
    }
}

fn judge(inspection: &Inspection, pid: u32, groups: &str) -> Seat {
    let (hierarchy, shown) = tracking(inspection);
    let found = group_of(groups, hierarchy).unwrap_or_default();
    let Some(group) = home(&inspection.place, found) else {
        return elsewhere(pid, shown, expected(&inspection.place), found.into());
    };
    let layout = &inspection.layout;
    // On v1 a limit binds only the processes that are in the group of its own hierarchy too; and in a hybrid layout
    // systemd kills, and waits for, those that cgroup v2 has.
    let of_limits = inspection.limits.iter().filter_map(AskedLimit::legacy_controller);
    let others: Vec<&str> =
        if inspection.everywhere { layout.legacy_controllers().collect() } else { of_limits.collect() };
    let kept = layout.kept(group).into_iter().filter(|(name, _)| *name != hierarchy);
    let beside = kept.map(|(name, directory)| (name, "unified", directory));
    let legacy = others.into_iter().filter_map(|name| Some((name, name, layout.legacy_path(name, group)?)));
    for (hierarchy, shown, directory) in legacy.chain(beside) {
        let there = group_of(groups, hierarchy).unwrap_or_default();
        if group_in(there, group).is_none() && directory.exists() {
            return elsewhere(pid, shown, group.into(), there.into());
        }
    }
    Seat::Home(if group.is_empty() { "/".into() } else { group.into() })
}

fn elsewhere(pid: u32, hierarchy: &str, expected: String, found: String) -> Seat {
    Seat::Elsewhere(MisplacedProcess { pid, hierarchy: hierarchy.into(), expected, found })
}

/// The group that `/proc/PID/cgroup` shows for a hierarchy: `ID:controllers:path` (`cgroups(7)`).
pub(super) fn group_of<'a>(groups: &'a str, hierarchy: &str) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, names, path) = (fields.next()?, fields.next()?, fields.next()?);
        names.split(',').any(|name| name == hierarchy).then_some(path)
    })
}

/// The unit's group, where the group found is that or one below it.
fn home<'f>(place: &Place, found: &'f str) -> Option<&'f str> {
    match place {
        Place::Exact(group) => group_in(found, group),
        Place::Below { root, unit } => unit_in(found, root, unit),
    }
}

fn expected(place: &Place) -> String {
    match place {
        Place::Exact(group) => group.clone(),
        Place::Below { root, unit } => format!("{}/…/{}", root.trim_end_matches('/'), escape(unit)),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::super::limit::asked_limits;
    use super::*;
    use crate::unit::Property;

    #[test]
    fn a_process_is_at_home_in_its_group_and_below_it_and_nowhere_else() {
        let exact = Place::Exact("/a.slice/x.scope".into());
        let below = Place::Below { root: "/user.slice".into(), unit: "x.scope".into() };
        assert_eq!(home(&exact, "/a.slice/x.scope/sub"), Some("/a.slice/x.scope"));
        assert_eq!(home(&exact, "/a.slice/x.scope2"), None);
        assert_eq!(home(&exact, "/"), None);
        assert_eq!(home(&below, "/user.slice/app.slice/x.scope/s"), Some("/user.slice/app.slice/x.scope"));
        assert_eq!(home(&below, "/user.slice/x.scopes"), None);
        assert_eq!(home(&below, "/system.slice/x.scope"), None);
    }

    #[test]
    fn each_hierarchys_line_is_told_from_the_others() {
        let groups = "9:name=systemd:/s\n3:cpu,cpuacct:/c\n0::/u\n";
        assert_eq!(group_of(groups, "name=systemd"), Some("/s"));
        assert_eq!(group_of(groups, "cpuacct"), Some("/c"));
        assert_eq!(group_of(groups, ""), Some("/u"));
        assert_eq!(group_of(groups, "memory"), None);
    }

    /// A unified hierarchy in a directory of its own, which holds no group of the name that is looked for.
    fn inspection(name: &str, processes: &[Process]) -> (Inspection, PathBuf) {
        let at = std::env::temp_dir().join(format!("unitwait-inspect-{name}-{}", std::process::id()));
        fs::create_dir_all(&at).unwrap();
        let mounts = format!("30 20 0:26 / {} rw - cgroup2 cgroup2 rw\n", at.display());
        let inspection = Inspection {
            place: Place::Exact("/none.slice/x.scope".into()),
            processes: processes.to_vec(),
            sights: Sights::default(),
            limits: asked_limits(&[Property::new("MemoryMax", 1u64 << 20)]),
            invocation_link: None,
            layout: Arc::new(CgroupLayout::parse(&mounts).unwrap()),
            everywhere: false,
        };
        (inspection, at)
    }

    #[test]
    fn only_the_living_can_be_misplaced() {
        use nix::sys::wait::{Id, WaitPidFlag, waitid};
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let process = Process::look_up(child.id()).unwrap();
        let (mut inspection, at) = inspection("living", &[process]);
        let misplaced = |inspection: &Inspection| -> Vec<u32> {
            inspect(inspection).misplaced.iter().map(|process| process.pid).collect()
        };
        assert_eq!(misplaced(&inspection), [child.id()]);
        inspection.processes[0].started += 1;
        assert_eq!(misplaced(&inspection), [0; 0], "the number is another's");
        inspection.processes[0] = process;
        drop(child.stdin.take());
        let id = Id::Pid(nix::unistd::Pid::from_raw(child.id().try_into().unwrap()));
        waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        assert_eq!(misplaced(&inspection), [0; 0], "it is a zombie");
        child.wait().unwrap();
        assert_eq!(misplaced(&inspection), [0; 0], "it is gone");
        fs::remove_dir_all(at).unwrap();
    }

    #[test]
    fn a_process_that_has_got_the_number_of_another_is_not_at_home_for_it() {
        let me = Process::look_up(std::process::id()).unwrap();
        let (mut inspection, at) = inspection("number", &[me]);
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
        inspection.place = Place::Exact(group_of(&groups, "").unwrap().into());
        assert_eq!(inspect(&inspection).present, [me.pid]);
        inspection.processes[0].started += 1;
        assert_eq!(inspect(&inspection).present, [0; 0]);
        fs::remove_dir_all(at).unwrap();
    }

    #[test]
    fn a_unit_whose_processes_have_ended_has_gaps_only_while_it_has_children_of_theirs() {
        let me = Process::look_up(std::process::id()).unwrap();
        let ended = Process { started: me.started + 1, ..me };
        let (mut inspection, at) = inspection("ended", &[ended]);
        assert_eq!(inspect(&inspection).gaps, []);
        let group = at.join("none.slice/x.scope");
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("cgroup.events"), "populated 0\nfrozen 0\n").unwrap();
        assert_eq!(inspect(&inspection).gaps, []);
        fs::write(group.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        assert_eq!(inspect(&inspection).gaps.len(), 1);
        fs::remove_dir_all(&group).unwrap();
        // A slice names no process: its limits count from the start.
        inspection.processes.clear();
        assert_eq!(inspect(&inspection).gaps.len(), 1);
        fs::remove_dir_all(at).unwrap();
    }

    #[test]
    fn on_v1_a_process_is_misplaced_where_a_limits_own_hierarchy_has_it_elsewhere() {
        let (mut inspection, at) = inspection("legacy", &[]);
        let mounts = format!(
            "31 20 0:27 / {0}/systemd rw - cgroup c rw,name=systemd\n\
             32 20 0:28 / {0}/memory rw - cgroup c rw,memory\n",
            at.display()
        );
        inspection.layout = Arc::new(CgroupLayout::parse(&mounts).unwrap());
        let judged = |memory: &str| {
            let groups = format!("9:name=systemd:/none.slice/x.scope/sub\n4:memory:{memory}\n");
            match judge(&inspection, 7, &groups) {
                Seat::Home(group) => group,
                Seat::Elsewhere(process) => process.to_string(),
            }
        };
        let home = "/none.slice/x.scope";
        assert_eq!(judged("/"), home, "there is no group of the unit's in memory's hierarchy");
        fs::create_dir_all(at.join("memory/none.slice/x.scope")).unwrap();
        assert_eq!(judged("/none.slice/x.scope"), home);
        assert_eq!(judged("/"), "process 7 is in / and not in /none.slice/x.scope (memory)");
        fs::remove_dir_all(at).unwrap();
    }
}
