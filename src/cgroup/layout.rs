//! Which control group hierarchies the kernel has mounted here, and where.

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

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
    tracking: PathBuf,
    /// cgroup v1 controllers and their mounts.
    legacy: Vec<(String, PathBuf)>,
    unified: Option<PathBuf>,
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

    fn parse(mountinfo: &str) -> Option<CgroupLayout> {
        let (mut unified, mut tracking, mut legacy) = (None, None, Vec::new());
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            let keep = |known: &Option<PathBuf>| known.is_none() || mount.at.starts_with("/sys/fs/cgroup");
            if mount.kind == "cgroup2" && keep(&unified) {
                unified = Some(mount.at);
            } else if mount.kind == "cgroup" && mount.options.contains(&"name=systemd") && keep(&tracking) {
                tracking = Some(mount.at);
            } else if mount.kind == "cgroup" {
                let controllers = mount.options.iter().filter(|option| is_controller(option));
                legacy.extend(controllers.map(|name| (name.to_string(), mount.at.clone())));
            }
        }
        let (mode, tracking) = match (tracking, &unified) {
            (Some(tracking), Some(_)) => (CgroupMode::Hybrid, tracking),
            (Some(tracking), None) => (CgroupMode::Legacy, tracking),
            (None, Some(unified)) => (CgroupMode::Unified, unified.clone()),
            (None, None) => return None,
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
        let file = self.unified.as_ref().map(|at| at.join("cgroup.controllers"));
        file.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default()
    }

    /// A control group's directory in the hierarchy by which systemd tracks processes.
    ///
    /// ```no_run
    /// let path = unitwait::CgroupLayout::detect()?.path("/system.slice");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn path(&self, control_group: &str) -> PathBuf {
        below(&self.tracking, control_group)
    }

    /// A control group's directory in the hierarchy of a controller; `None` where the kernel has none for it.
    ///
    /// ```no_run
    /// let path = unitwait::CgroupLayout::detect()?.controller_path("memory", "/system.slice");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn controller_path(&self, controller: &str, control_group: &str) -> Option<PathBuf> {
        if let Some(mount) = self.legacy_mount(controller) {
            return Some(below(mount, control_group));
        }
        let there = self.unified_controllers().split_whitespace().any(|name| name == controller);
        self.unified.as_ref().filter(|_| there).map(|mount| below(mount, control_group))
    }

    pub(super) fn legacy_mount(&self, controller: &str) -> Option<&Path> {
        self.legacy.iter().find(|(name, _)| name == controller).map(|(_, mount)| mount.as_path())
    }
}

fn below(mount: &Path, control_group: &str) -> PathBuf {
    mount.join(control_group.trim_start_matches('/'))
}

fn is_controller(option: &str) -> bool {
    !option.contains('=') && !matches!(option, "rw" | "ro" | "xattr" | "noprefix" | "clone_children" | "none")
}

/// One line of mountinfo, of a control group hierarchy that is mounted from its root.
struct Mount<'a> {
    kind: &'a str,
    at: PathBuf,
    options: Vec<&'a str>,
}

impl<'a> Mount<'a> {
    /// Fields: ID, parent, device, root, mount point, options, any number of tags, `-`, type, source, options.
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (mount, fs) = line.split_once(" - ")?;
        let mut fs = fs.split(' ');
        let (kind, options) = (fs.next()?, fs.nth(1).unwrap_or_default());
        let mut mount = mount.split(' ').skip(3);
        let (root, at) = (mount.next()?, mount.next()?);
        // A mount of a part of a hierarchy shows other paths than those that systemd and /proc tell.
        let whole = root == "/" && kind.starts_with("cgroup");
        whole.then(|| Mount { kind, at: unescape(at), options: options.split(',').collect() })
    }
}

/// A space, tab, newline or backslash stands in mountinfo as a backslash and three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut out = text.to_string();
    for (escaped, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        out = out.replace(escaped, plain);
    }
    PathBuf::from(out)
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
        assert_eq!(CgroupLayout::parse("1 2 0:1 / /proc rw - proc proc rw\n"), None);
    }
}
