//! Unit names as people type them: the suffix may be left out, and so may the whole name.

use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

/// The name with the suffix, which is added only where there is no dot: `a.socks` is a wrong name, not a short one.
/// Whether the outcome is a name at all is for the library to say.
pub fn with_suffix(name: &str, suffix: &str) -> String {
    if name.is_empty() || name.contains('.') { name.into() } else { format!("{name}{suffix}") }
}

/// A name that no other run has: a PID comes again, the two together do not.
pub fn unique() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("unitwait-{}-{:x}.scope", process::id(), now.as_nanos())
}
