//! The control group hierarchies in `/proc/self/mountinfo`: those that can be seen, and what each shows.

use std::path::{Path, PathBuf};

/// Where systemd has its hierarchies.
pub(super) const TOP: &str = "/sys/fs/cgroup";

/// The v1 controllers of the kernel. A v1 mount's options name others beside them, such as SELinux's.
const V1_CONTROLLERS: [&str; 14] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "debug",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
];

/// Where a hierarchy is mounted, and from which of its groups on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) at: PathBuf,
    root: String,
}

impl Hierarchy {
    /// A group's directory. A mount that shows but a part of the hierarchy, as a v1 container has it, has the
    /// rest of the path; in a path outside of that part there is nothing to strip.
    pub(super) fn directory(&self, control_group: &str) -> PathBuf {
        let inside = control_group.strip_prefix(self.root.trim_end_matches('/'));
        let inside = inside.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(control_group);
        self.at.join(inside.trim_start_matches('/'))
    }
}

/// One line of mountinfo.
pub(super) struct Mount<'a> {
    id: &'a str,
    parent: &'a str,
    root: String,
    at: PathBuf,
    pub(super) kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// Fields: ID, parent, device, root, mount point, options, any number of tags, `-`, type, source, options.
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let mut fields = line.split(' ');
        let (id, parent) = (fields.next()?, fields.next()?);
        let (root, at) = (fields.nth(1)?, fields.next()?);
        fields.find(|field| *field == "-")?;
        let (kind, options) = (fields.next()?, fields.nth(1).unwrap_or_default());
        Some(Mount { id, parent, root: unescape(root), at: unescape(at).into(), kind, options })
    }

    pub(super) fn is_systemds(&self) -> bool {
        self.kind == "cgroup" && self.options.split(',').any(|option| option == "name=systemd")
    }

    pub(super) fn controllers(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let options = if self.kind == "cgroup" { self.options } else { "" };
        options.split(',').filter(|option| V1_CONTROLLERS.contains(option))
    }

    /// Whether the other mount hides this one: one over it, or one over a directory that leads to it.
    fn is_under(&self, other: &Mount) -> bool {
        let over = other.parent == self.id && other.at == self.at && other.id != self.id;
        let before = other.parent == self.parent && other.at != self.at && self.at.starts_with(&other.at);
        over || before
    }

    /// Whether nothing hides this mount or one that it is mounted in, but for the next one on the way to it.
    fn is_seen(&self, all: &[Mount]) -> bool {
        let (mut mount, mut next) = (self, "");
        // A mount is at most as deep as there are mounts.
        for _ in all {
            if all.iter().any(|other| other.id != next && mount.is_under(other)) {
                return false;
            }
            // A line may name itself or a mount outside of a chroot as its parent: the way up ends there.
            match all.iter().find(|other| other.id == mount.parent && other.id != mount.id) {
                Some(up) => (mount, next) = (up, mount.id),
                None => break,
            }
        }
        true
    }
}

/// The control group mounts that can be seen.
pub(super) fn visible(mountinfo: &str) -> Vec<Mount<'_>> {
    let all: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
    let seen: Vec<bool> =
        all.iter().map(|mount| mount.kind.starts_with("cgroup") && mount.is_seen(&all)).collect();
    all.into_iter().zip(seen).filter_map(|(mount, seen)| seen.then_some(mount)).collect()
}

/// The mount to use of those of one hierarchy: where systemd has it, and the one that shows all of it, first.
pub(super) fn best<'m>(mounts: impl Iterator<Item = &'m Mount<'m>>) -> Option<Hierarchy> {
    let top = Path::new(TOP);
    let mount =
        mounts.min_by_key(|mount| (mount.at != top, !mount.at.starts_with(top), mount.root != "/"))?;
    Some(Hierarchy { at: mount.at.clone(), root: mount.root.clone() })
}

/// A space, tab, newline or backslash stands in mountinfo as a backslash and three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let plain = [("040", ' '), ("011", '\t'), ("012", '\n'), ("134", '\\')];
        match plain.iter().find_map(|(digits, plain)| Some((plain, part.strip_prefix(digits)?))) {
            Some((plain, rest)) => {
                out.push(*plain);
                out.push_str(rest);
            }
            None => {
                out.push('\\');
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TMPFS: &str = "30 20 0:5 / /sys/fs/cgroup rw - tmpfs t rw\n";
    const NAMED: &str = "31 30 0:27 / /sys/fs/cgroup/systemd rw - cgroup c rw,seclabel,name=systemd\n";

    fn points(mountinfo: &str) -> Vec<String> {
        visible(mountinfo).iter().map(|mount| mount.at.display().to_string()).collect()
    }

    #[test]
    fn a_hierarchy_under_a_later_mount_is_not_seen() {
        let over = "40 30 0:26 / /sys/fs/cgroup rw - cgroup2 c rw\n";
        assert_eq!(points(&format!("{TMPFS}{NAMED}")), ["/sys/fs/cgroup/systemd"]);
        assert_eq!(points(&format!("{TMPFS}{NAMED}{over}")), ["/sys/fs/cgroup"]);
        let over_sys = "41 19 0:21 / /sys rw - tmpfs t rw\n";
        let below_root = TMPFS.replace("30 20", "30 19");
        assert_eq!(points(&format!("{below_root}{NAMED}{over_sys}")), [""; 0]);
    }

    #[test]
    fn the_root_of_all_hides_nothing_however_late_it_was_mounted() {
        let sys = "20 27 0:22 / /sys rw - sysfs s rw\n";
        let root = "27 1 8:1 / / rw - ext4 d rw\n";
        assert_eq!(points(&format!("{sys}{TMPFS}{NAMED}{root}")), ["/sys/fs/cgroup/systemd"]);
        let itself = "30 30 0:26 / /sys/fs/cgroup rw - cgroup2 c rw\n";
        assert_eq!(points(itself), ["/sys/fs/cgroup"]);
    }

    #[test]
    fn a_mount_of_a_part_has_the_rest_of_the_path() {
        let part = "31 30 0:27 /docker/a\\040b /sys/fs/cgroup/systemd ro - cgroup c rw,name=systemd\n";
        let mounts = visible(part);
        let hierarchy = best(mounts.iter()).unwrap();
        let directory = |group| hierarchy.directory(group).display().to_string();
        assert_eq!(directory("/docker/a b/x.scope"), "/sys/fs/cgroup/systemd/x.scope");
        assert_eq!(directory("/docker/a bc/x.scope"), "/sys/fs/cgroup/systemd/docker/a bc/x.scope");
        let whole = format!("{part}32 1 0:27 / /sys/fs/cgroup/s rw - cgroup c rw,name=systemd\n");
        assert_eq!(best(visible(&whole).iter()).unwrap().at, Path::new("/sys/fs/cgroup/s"));
    }

    #[test]
    fn only_controllers_count_as_controllers() {
        let joined = NAMED.replace("name=systemd", "cpu,cpuacct");
        assert_eq!(visible(&joined)[0].controllers().collect::<Vec<_>>(), ["cpu", "cpuacct"]);
        assert_eq!(visible(NAMED)[0].controllers().count(), 0);
    }
}
