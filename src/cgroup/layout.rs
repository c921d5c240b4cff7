//! Which control group hierarchies the kernel has mounted here, and where.

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use super::mounts::{self, Hierarchy, Mount, TOP};

/// How the hierarchies are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CgroupMode {
    /// cgroup v2 alone.
    Unified,
    /// cgroup v1 controllers, and cgroup v2 beside them for tracking processes.
    Hybrid,
    /// cgroup v1 alone.
    Legacy,
}

impl CgroupMode {
    /// The mode as one word.
    ///
    /// ```
    /// assert_eq!(unitwait::CgroupMode::Unified.as_str(), "unified");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            CgroupMode::Unified => "unified",
            CgroupMode::Hybrid => "hybrid",
            CgroupMode::Legacy => "legacy",
        }
    }
}

impl fmt::Display for CgroupMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The hierarchies of this machine, as they were when they were read. A plain value, `Send` and `Sync`.
///
/// Source: `cgroups(7)`, `proc(5)` on `mountinfo`, and systemd's choice among hierarchies in
/// `systemd(1)`, `systemd.unified_cgroup_hierarchy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupLayout {
    mode: CgroupMode,
    /// The hierarchy by which systemd tracks processes.
    tracking: Hierarchy,
    /// cgroup v1 controllers and their mounts.
    legacy: Vec<(String, Hierarchy)>,
    unified: Option<Hierarchy>,
}

impl CgroupLayout {
    /// Reads the hierarchies from `/proc/self/mountinfo`. Does not block. Fails where that cannot be read, or
    /// where systemd could track no processes in what is mounted.
    ///
    /// ```
    /// if let Ok(layout) = unitwait::CgroupLayout::detect() {
    ///     println!("{}", layout.mode());
    /// }
    /// ```
    pub fn detect() -> io::Result<CgroupLayout> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        CgroupLayout::parse(&mounts).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "no control group hierarchy that systemd uses is mounted")
        })
    }

    pub(crate) fn parse(mountinfo: &str) -> Option<CgroupLayout> {
        let mounts = mounts::visible(mountinfo);
        let unified = mounts::best(mounts.iter().filter(|mount| mount.kind == "cgroup2"));
        let named = mounts::best(mounts.iter().filter(|mount| mount.is_systemds()));
        let mut legacy: Vec<(String, Hierarchy)> = Vec::new();
        for name in mounts.iter().flat_map(Mount::controllers) {
            if legacy.iter().all(|(known, _)| known != name) {
                let its = |mount: &&Mount| mount.controllers().any(|other| other == name);
                legacy.extend(mounts::best(mounts.iter().filter(its)).map(|mount| (name.into(), mount)));
            }
        }
        // systemd judges by what is mounted where (`cg_unified_cached()`): cgroup v2 elsewhere is not its own.
        let unified_is =
            |at: &str| unified.as_ref().is_some_and(|unified| unified.at == Path::new(TOP).join(at));
        let (mode, tracking) = match (named, &unified) {
            (Some(named), _) if !unified_is("") => {
                (if unified_is("unified") { CgroupMode::Hybrid } else { CgroupMode::Legacy }, named)
            }
            (_, Some(unified)) => (CgroupMode::Unified, unified.clone()),
            _ => return None,
        };
        Some(CgroupLayout { mode, tracking, legacy, unified })
    }

    /// How the hierarchies are laid out.
    ///
    /// ```no_run
    /// let mode = unitwait::CgroupLayout::detect()?.mode();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn mode(&self) -> CgroupMode {
        self.mode
    }

    /// The controllers that are there: those with a v1 hierarchy, and those at the root of v2.
    ///
    /// ```no_run
    /// let has_memory = unitwait::CgroupLayout::detect()?.controllers().iter().any(|name| name == "memory");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn controllers(&self) -> Vec<String> {
        let mut names: Vec<String> = self.legacy.iter().map(|(name, _)| name.clone()).collect();
        names.extend(self.unified_controllers().split_whitespace().map(Into::into));
        names.sort_unstable();
        names.dedup();
        names
    }

    fn unified_controllers(&self) -> String {
        let file = self.unified.as_ref().map(|unified| unified.at.join("cgroup.controllers"));
        file.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default()
    }

    /// A control group's directory in the hierarchy by which systemd tracks processes.
    ///
    /// ```no_run
    /// let path = unitwait::CgroupLayout::detect()?.path("/system.slice");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn path(&self, control_group: &str) -> PathBuf {
        self.tracking.directory(control_group)
    }

    /// A control group's directories in the hierarchies in which systemd keeps each unit's processes, each with the
    /// name that `/proc/PID/cgroup` gives the hierarchy. In hybrid mode these are two: it goes by cgroup v2, in which
    /// groups tell of their end, and puts every process into the same group of v1's `name=systemd` too.
    pub(super) fn kept(&self, control_group: &str) -> Vec<(&'static str, PathBuf)> {
        let named = || ("name=systemd", self.path(control_group));
        match (self.mode, &self.unified) {
            (CgroupMode::Hybrid, Some(unified)) => vec![("", unified.directory(control_group)), named()],
            (CgroupMode::Unified, _) => vec![("", self.path(control_group))],
            _ => vec![named()],
        }
    }

    /// A control group's directory in the hierarchy of a controller; `None` where the kernel has none for it.
    ///
    /// ```no_run
    /// let path = unitwait::CgroupLayout::detect()?.controller_path("memory", "/system.slice");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn controller_path(&self, controller: &str, control_group: &str) -> Option<PathBuf> {
        self.legacy_path(controller, control_group).or_else(|| {
            let unified = self.unified.as_ref().filter(|_| self.has_unified(controller));
            unified.map(|unified| unified.directory(control_group))
        })
    }

    /// Whether cgroup v2 has the controller.
    pub(super) fn has_unified(&self, controller: &str) -> bool {
        self.unified_controllers().split_whitespace().any(|name| name == controller)
    }

    pub(super) fn legacy_controllers(&self) -> impl Iterator<Item = &str> {
        self.legacy.iter().map(|(name, _)| name.as_str())
    }

    /// A control group's directory in a v1 hierarchy.
    pub(super) fn legacy_path(&self, controller: &str, control_group: &str) -> Option<PathBuf> {
        let (_, mount) = self.legacy.iter().find(|(name, _)| name == controller)?;
        Some(mount.directory(control_group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layout_is_told_from_its_mounts() {
        let v2 = "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let layout = CgroupLayout::parse(v2).unwrap();
        assert_eq!(layout.mode(), CgroupMode::Unified);
        assert_eq!(layout.path("/a.slice"), Path::new("/sys/fs/cgroup/a.slice"));

        let named = "31 20 0:27 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd\n";
        let memory = "32 20 0:28 / /sys/fs/cgroup/cpu\\040x rw - cgroup cgroup rw,cpu,cpuacct\n";
        let legacy = CgroupLayout::parse(&format!("{named}{memory}")).unwrap();
        assert_eq!(legacy.mode(), CgroupMode::Legacy);
        assert_eq!(legacy.controller_path("cpu", "/x"), Some("/sys/fs/cgroup/cpu x/x".into()));
        assert_eq!(legacy.controller_path("memory", "/x"), None);

        let beside = v2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified");
        let hybrid = CgroupLayout::parse(&format!("{named}{memory}{beside}")).unwrap();
        assert_eq!(hybrid.mode(), CgroupMode::Hybrid);
        assert_eq!(hybrid.path("/x"), Path::new("/sys/fs/cgroup/systemd/x"));
        let hierarchies =
            |layout: &CgroupLayout| layout.kept("/x").into_iter().map(|(name, _)| name).collect();
        let kept: [Vec<&str>; 3] = [&layout, &hybrid, &legacy].map(hierarchies);
        assert_eq!(kept, [vec![""], vec!["", "name=systemd"], vec!["name=systemd"]]);
        assert_eq!(CgroupLayout::parse("1 2 0:1 / /proc rw - proc proc rw\n"), None);
    }

    #[test]
    fn only_a_cgroup2_where_systemd_has_it_makes_a_hybrid() {
        let named = "31 20 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        let elsewhere = "40 20 0:26 / /mnt/cg2 rw - cgroup2 c rw\n";
        let mode = |mountinfo: &str| CgroupLayout::parse(mountinfo).unwrap().mode();
        assert_eq!(mode(&format!("{named}{elsewhere}")), CgroupMode::Legacy);
        assert_eq!(mode(elsewhere), CgroupMode::Unified);
    }
}
