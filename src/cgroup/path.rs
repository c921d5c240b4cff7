//! The control group path that systemd gives to a unit, worked out from names alone.

use std::borrow::Cow;

/// The controllers that systemd knows; a name that begins with one and a dot could be one of its files.
/// Source: `cg_needs_escape()` in systemd.
const CONTROLLERS: [&str; 12] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "io",
    "blkio",
    "memory",
    "devices",
    "pids",
    "bpf-firewall",
    "bpf-devices",
    "bpf-foreign",
    "bpf-socket-bind",
];

/// A unit's path below `root`. A slice's own name says its place (`a-b.slice` is in `a.slice`); another unit is
/// in `slice`.
pub(crate) fn unit_path(root: &str, slice: Option<&str>, unit: &str) -> String {
    let mut path = root.trim_end_matches('/').to_string();
    let holder = if unit.ends_with(".slice") { Some(unit) } else { slice };
    if let Some(stem) = holder.and_then(|slice| slice.strip_suffix(".slice")).filter(|stem| *stem != "-") {
        let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
        for end in ends {
            path.push('/');
            path.push_str(&escape(&format!("{}.slice", &stem[..end])));
        }
    }
    if !unit.ends_with(".slice") {
        path.push('/');
        path.push_str(&escape(unit));
    }
    if path.is_empty() { "/".into() } else { path }
}

/// A unit's name as a directory, told from the kernel's own files by a leading underscore.
pub(crate) fn escape(unit: &str) -> Cow<'_, str> {
    let of_kernel =
        matches!(unit, "notify_on_release" | "release_agent" | "tasks") || unit.starts_with("cgroup.");
    let of_controller = CONTROLLERS
        .iter()
        .any(|controller| unit.strip_prefix(controller).is_some_and(|rest| rest.starts_with('.')));
    if of_kernel || of_controller || unit.starts_with(['_', '.']) {
        Cow::Owned(format!("_{unit}"))
    } else {
        Cow::Borrowed(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_one_that_systemd_makes() {
        let cases = [
            ("", Some("a-b.slice"), "x.scope", "/a.slice/a-b.slice/x.scope"),
            ("/", Some("-.slice"), "x.scope", "/x.scope"),
            ("/user.slice", None, "a-b-c.slice", "/user.slice/a.slice/a-b.slice/a-b-c.slice"),
            ("", None, "-.slice", "/"),
            ("", Some("s.slice"), "cpu.scope", "/s.slice/_cpu.scope"),
            ("", Some("s.slice"), "_x.scope", "/s.slice/__x.scope"),
            ("", Some("s.slice"), "cpux.scope", "/s.slice/cpux.scope"),
        ];
        for (root, slice, unit, path) in cases {
            assert_eq!(unit_path(root, slice, unit), path);
        }
    }
}
