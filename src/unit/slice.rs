//! A slice to create: the inner node of the tree of control groups, on which limits hold for all below it.

use std::sync::Arc;
use std::time::Duration;

use super::list;
use super::resource::{self, DevicePolicy, resource_setters};
use super::scope::{check_policy, common_setters};
use super::{OnExists, Properties, Property, Value, name};
#[allow(unused_imports, reason = "the shared setters' documentation links to it")]
use crate::error::Error;
use crate::error::Result;

/// What a slice is to be: its name, which is its place in the tree (`a-b.slice` is a child of `a.slice`), and
/// the properties it is given.
///
/// ```
/// use unitwait::{OnExists, Slice};
///
/// let slice = Slice::new("jobs.slice").memory_max(1 << 30).on_exists(OnExists::Accept);
/// slice.check()?;
/// # Ok::<(), unitwait::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    pub(crate) name: String,
    pub(crate) properties: Arc<Properties>,
    pub(crate) on_exists: OnExists,
    pub(crate) verify: bool,
    pub(crate) require_limits: bool,
}

impl Slice {
    /// A slice of this name, which ends in `.slice`.
    ///
    /// ```
    /// assert!(unitwait::Slice::new("jobs-small.slice").check().is_ok());
    /// ```
    pub fn new(name: impl Into<String>) -> Slice {
        Slice {
            name: name.into(),
            properties: Arc::default(),
            on_exists: OnExists::Fail,
            verify: true,
            require_limits: false,
        }
    }

    common_setters!(r#"Slice::new("jobs.slice")"#);
    resource_setters!(r#"Slice::new("jobs.slice")"#);

    /// Requests that were made of it share its properties.
    fn properties_mut(&mut self) -> &mut Vec<Property> {
        Arc::make_mut(&mut self.properties).list_mut()
    }

    /// Refuses what could never be created, with [`Error::InvalidInput`]. Does not block and sends nothing.
    /// Every call that creates a slice does this first.
    ///
    /// ```
    /// assert!(unitwait::Slice::new("jobs-.slice").check().is_err());
    /// ```
    pub fn check(&self) -> Result<()> {
        name::check_kind(&self.name, "slice")?;
        if self.on_exists == OnExists::Join {
            return Err(Error::invalid("policy", "join", "a slice has no processes of its own; accept it"));
        }
        check_policy(self.verify, self.require_limits)?;
        self.properties.check()
    }
}
