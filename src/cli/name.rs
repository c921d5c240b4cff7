//! Unit names as people type them: the suffix may be left out, and so may the whole name.

use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

/// The name with the suffix, which is added only where there is no dot: `a.socks` is a wrong name, not a short one.
/// Whether the outcome is a name at all is for the library to say.
pub fn with_suffix(name: &str, suffix: &str) -> String {
    if name.is_empty() || name.contains('.') { name.into() } else { format!("{name}{suffix}") }
}

/// Shell patterns of units as people type them; those of scopes and slices where there are none.
pub fn patterns(given: &[String]) -> Vec<String> {
    if given.is_empty() {
        return vec!["*.scope".into(), "*.slice".into()];
    }
    let is_name = |text: &str| !text.contains(['*', '?', '[']);
    given.iter().map(|text| if is_name(text) { with_suffix(text, ".scope") } else { text.clone() }).collect()
}

/// A name that no other run has: a PID comes again, the two together do not.
pub fn unique() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("unitwait-{}-{:x}.scope", process::id(), now.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_among_patterns_is_a_scopes_where_it_has_no_suffix() {
        let given = ["nap", "nap.slice", "nap*", "na?", "[ab]"].map(String::from);
        assert_eq!(patterns(&given), ["nap.scope", "nap.slice", "nap*", "na?", "[ab]"]);
        assert_eq!(patterns(&[]), ["*.scope", "*.slice"]);
    }
}
