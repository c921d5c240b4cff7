//! The properties of a unit that is to be created, as its requests share them.

use std::fmt;
use std::ops::Deref;

use super::Property;
use super::scope::check_properties;
use crate::cgroup::{self, AskedLimit};
use crate::error::Result;

/// What this library knows of properties: how they are checked, and which of them are limits. It weighs much, so it comes
/// with the first property that is set: a program that sets none has nothing of it.
struct Lore {
    check: fn(&[Property]) -> Result<()>,
    limits: fn(&[Property]) -> Vec<AskedLimit>,
}

const LORE: Lore = Lore { check: check_properties, limits: cgroup::asked_limits };

#[derive(Clone, Default)]
pub(crate) struct Properties {
    list: Vec<Property>,
    lore: Option<&'static Lore>,
}

impl Properties {
    pub(super) fn list_mut(&mut self) -> &mut Vec<Property> {
        self.lore = Some(&LORE);
        &mut self.list
    }

    pub(super) fn check(&self) -> Result<()> {
        self.lore.map_or(Ok(()), |lore| (lore.check)(&self.list))
    }

    /// The limits among those of these that are left.
    pub(crate) fn limits_among(&self, left: &[Property]) -> Vec<AskedLimit> {
        self.lore.map_or_else(Vec::new, |lore| (lore.limits)(left))
    }
}

impl Deref for Properties {
    type Target = [Property];

    fn deref(&self) -> &[Property] {
        &self.list
    }
}

impl PartialEq for Properties {
    fn eq(&self, other: &Properties) -> bool {
        self.list == other.list
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.fmt(f)
    }
}

#[cfg(test)]
impl From<Vec<Property>> for Properties {
    fn from(list: Vec<Property>) -> Properties {
        Properties { list, lore: Some(&LORE) }
    }
}
