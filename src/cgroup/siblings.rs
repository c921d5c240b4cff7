//! What is below a slice, as its control group's directory shows: systemd itself would have to be asked for each unit.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::layout::CgroupLayout;
use super::path::{escape, unescape};

/// How many units have a group in a slice's own, or in those of its child slices that begin so.
pub(crate) fn count(layout: &CgroupLayout, slice: &str, children: &str) -> usize {
    let children = escape(children);
    let directory = layout.path(slice);
    names(&directory)
        .map(|name| match name.starts_with(&*children) {
            // A directory has two links of its own, and one for each that is in it.
            true => {
                fs::metadata(directory.join(name)).map_or(0, |metadata| metadata.nlink().saturating_sub(2))
            }
            false => 1,
        })
        .fold(0, |sum, count| sum.saturating_add(usize::try_from(count).unwrap_or(usize::MAX)))
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
