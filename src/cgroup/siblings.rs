//! What is below a slice, as its control group's directory shows: systemd itself would have to be asked for each unit.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::layout::CgroupLayout;
use super::path::{escape, unescape};

/// How many units have a group in a slice's own, or in those of its child slices that begin so, or in the children of
/// those that begin as groups of them do.
pub(crate) fn count(layout: &CgroupLayout, slice: &str, children: &str, groups: &str) -> usize {
    let (children, groups) = (escape(children), escape(groups));
    let directory = layout.path(slice);
    let within = |name: String| {
        let child = directory.join(&name);
        match () {
            () if name.starts_with(&*groups) => {
                names(&child).map(|name| children_of(&child.join(name))).sum()
            }
            () if name.starts_with(&*children) => children_of(&child),
            () => 1,
        }
    };
    names(&directory).map(within).sum()
}

/// A directory has two links of its own, and one for each that is in it.
fn children_of(directory: &Path) -> usize {
    let links = fs::metadata(directory).map_or(0, |metadata| metadata.nlink());
    usize::try_from(links.saturating_sub(2)).unwrap_or_default()
}

/// The units that have a group in a slice's own or in those of the slices below it; those slices too.
pub(crate) fn units_below(layout: &CgroupLayout, slice: &str) -> Vec<String> {
    let (mut units, mut directories) = (Vec::new(), vec![layout.path(slice)]);
    while let Some(directory) = directories.pop() {
        for name in names(&directory) {
            if name.ends_with(".slice") {
                directories.push(directory.join(&name));
            }
            units.push(unescape(&name).to_string());
        }
    }
    units
}

/// The directories in one, whose names are units'. One that is gone has none.
fn names(directory: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
}
