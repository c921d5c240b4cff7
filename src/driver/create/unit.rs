//! What a unit to create is to be, and where: what does not change while it is being created.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::cgroup::{CgroupLayout, Place, Process, unit_path};
use crate::driver::placing::PidfdsUnknown;
use crate::error::Asked;
use crate::unit::{OnExists, Properties, Property};

/// What all creations of one manager have in common.
#[derive(Debug)]
pub(crate) struct Site {
    /// The manager's own control group, once it has told that.
    pub root: Arc<OnceLock<String>>,
    /// Where it keeps the links that tell a unit's invocation ID.
    pub links: Option<PathBuf>,
    pub layout: Arc<CgroupLayout>,
    pub pidfds_unknown: PidfdsUnknown,
}

/// A unit to create, as it was asked for. All who have to do with it share it, for thousands may wait in line.
#[derive(Debug)]
pub(crate) struct NewUnit {
    pub asked: Asked,
    pub slice: Option<Box<str>>,
    /// The slice that is spread, where `slice` is one of those that it is spread over.
    pub spread: Option<Box<str>>,
    pub processes: Box<[Process]>,
    /// When its processes were looked up.
    pub seen: Instant,
    pub properties: Arc<Properties>,
    pub on_exists: OnExists,
    pub verify: bool,
    pub require_limits: bool,
}

impl NewUnit {
    pub(crate) fn name(&self) -> &str {
        self.asked.unit.as_deref().unwrap_or_default()
    }

    /// Its properties, but for those of these names that may be left out.
    pub(crate) fn properties_without(&self, left_out: &[String]) -> Vec<Property> {
        let is_left = |one: &&Property| one.is_optional() && left_out.iter().any(|left| left == one.name());
        self.properties.iter().filter(|one| !is_left(one)).cloned().collect()
    }

    /// Where its group should be.
    pub(super) fn place(&self, root: &str) -> Place {
        let unit = self.name();
        match (self.spread.as_deref(), self.slice.as_deref()) {
            // One that is there already, and is joined, may have been spread over another number.
            (Some(spread), _) => Place::Below { root: unit_path(root, None, spread), unit: unit.into() },
            (None, None) if !unit.ends_with(".slice") => {
                Place::Below { root: root.into(), unit: unit.into() }
            }
            (None, slice) => Place::Exact(unit_path(root, slice, unit)),
        }
    }
}
