//! The control group path that systemd gives to a unit, worked out from names alone.

use std::borrow::Cow;

/// The controllers that systemd knows; a name that begins with one and a dot could be one of its files.
/// Source: `cg_needs_escape()` in systemd, all versions together: 258 escapes fewer (no `cpuacct`, no `blkio`),
/// which is no trouble, for paths are compared unescaped.
const CONTROLLERS: [&str; 14] = [
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
    "bpf-restrict-network-interfaces",
    "bpf-bind-network-interface",
];

/// A unit's path below `root`. A slice's own name says its place (`a-b.slice` is in `a.slice`); another unit is
/// in `slice`.
pub(crate) fn unit_path(root: &str, slice: Option<&str>, unit: &str) -> String {
    let mut path = root.trim_end_matches('/').to_string();
    let holder = if unit.ends_with(".slice") { Some(unit) } else { slice };
    if let Some(stem) = holder.and_then(|slice| slice.strip_suffix(".slice")).filter(|stem| *stem != "-") {
        for end in 0..=stem.len() {
            if matches!(stem.as_bytes().get(end), Some(b'-') | None) {
                path.push('/');
                path.push_str(&escape(&format!("{}.slice", &stem[..end])));
            }
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

/// `cg_unescape()`: no unit's directory begins with `_` but by escaping, so this loses nothing.
pub(crate) fn unescape(component: &str) -> &str {
    component.strip_prefix('_').unwrap_or(component)
}

/// The part of `found` that is the group `group`, where `found` is that group or one below it.
pub(super) fn group_in<'f>(found: &'f str, group: &str) -> Option<&'f str> {
    let (mut rest, mut wanted) = (found, group);
    while let Some((component, after)) = split_first(wanted) {
        let (here, below) = split_first(rest)?;
        if unescape(here) != unescape(component) {
            return None;
        }
        (rest, wanted) = (below, after);
    }
    Some(up_to(found, rest))
}

/// The part of `found` that is the group of `unit`, where `found` is that group or one below it and nothing but
/// slices are between it and `root`: below another manager, itself a unit here, the name is another unit's.
pub(super) fn unit_in<'f>(found: &'f str, root: &str, unit: &str) -> Option<&'f str> {
    let mut rest = &found[group_in(found, root)?.len()..];
    loop {
        let (component, below) = split_first(rest)?;
        if unescape(component) == unit {
            return Some(up_to(found, below));
        }
        if !component.ends_with(".slice") {
            return None;
        }
        rest = below;
    }
}

fn split_first(path: &str) -> Option<(&str, &str)> {
    let path = path.trim_start_matches('/');
    let end = path.find('/').unwrap_or(path.len());
    (end > 0).then(|| path.split_at(end))
}

fn up_to<'p>(path: &'p str, rest: &str) -> &'p str {
    path[..path.len() - rest.len()].trim_end_matches('/')
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

    #[test]
    fn a_group_holds_itself_and_what_is_below_it_however_it_is_escaped() {
        assert_eq!(group_in("/a.slice/x.scope", "/a.slice/x.scope"), Some("/a.slice/x.scope"));
        assert_eq!(group_in("/a.slice/x.scope/sub/b", "/a.slice/x.scope/"), Some("/a.slice/x.scope"));
        assert_eq!(group_in("/a.slice/blkio.scope/b", "/a.slice/_blkio.scope"), Some("/a.slice/blkio.scope"));
        assert_eq!(group_in("/x", "/"), Some(""));
        for elsewhere in ["/", "", "/a.slice", "/a.slice/x.scopes", "/../a.slice/x.scope"] {
            assert_eq!(group_in(elsewhere, "/a.slice/x.scope"), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_unit_is_found_in_any_slice_but_not_below_another_manager() {
        let unit = |found| unit_in(found, "", "x.scope");
        assert_eq!(unit("/x.scope"), Some("/x.scope"));
        assert_eq!(unit("/x.scope.slice/x.scope/sub"), Some("/x.scope.slice/x.scope"));
        assert_eq!(unit("/user.slice/user@1.service/app.slice/x.scope"), None);
        assert_eq!(unit("/a.slice/x.scopes"), None);
        assert_eq!(unit("/"), None);
        let user = "/user.slice/user@1.service";
        assert_eq!(
            unit_in(&format!("{user}/app.slice/_cpu.scope"), user, "cpu.scope").map(str::len),
            Some(47)
        );
        assert_eq!(unit_in("/user.slice/x.scope", "/user", "x.scope"), None);
    }
}
