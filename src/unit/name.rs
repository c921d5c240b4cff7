//! Unit names: what systemd takes for one, told before anything is sent.

use crate::error::{Error, Escaped};

/// The longest unit name, suffix included; `unit_name_is_valid()` in systemd, and `systemd.unit(5)`.
pub(crate) const LONGEST: usize = 255;

const SUFFIXES: [&str; 11] = [
    "scope",
    "slice",
    "service",
    "socket",
    "target",
    "mount",
    "automount",
    "swap",
    "timer",
    "path",
    "device",
];

/// Refuses a string that cannot be the name of a unit.
pub(crate) fn check(name: &str) -> Result<(), Error> {
    match fault(name) {
        None => Ok(()),
        Some(reason) => Err(Error::invalid("unit name", name, reason)),
    }
}

/// Refuses a string that cannot be the name of a unit of this kind (`scope`, `slice`).
pub(crate) fn check_kind(name: &str, kind: &str) -> Result<(), Error> {
    check(name)?;
    if after_last(name, b'.') != Some(kind) {
        return Err(Error::invalid("unit name", name, format!("the name of a {kind} ends in `.{kind}`")));
    }
    // `unit_type_may_template()`: neither kind has templates.
    if name.bytes().any(|byte| byte == b'@') {
        return Err(Error::invalid(
            "unit name",
            name,
            format!("a {kind} has no instances: no `@` in its name"),
        ));
    }
    match slice_fault(name).filter(|_| kind == "slice") {
        Some(reason) => Err(Error::invalid("unit name", name, reason)),
        None => Ok(()),
    }
}

/// What is behind the last of these ASCII characters; `None` where there is none.
pub(crate) fn after_last(text: &str, character: u8) -> Option<&str> {
    let at = text.bytes().rposition(|byte| byte == character)?;
    Some(&text[at + 1..])
}

fn fault(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("it is empty".into());
    }
    if name.len() > LONGEST {
        return Some(format!("it has {} bytes, and {LONGEST} is the most", name.len()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@');
    if let Some(bad) = name.chars().find(|&c| !allowed(c)) {
        return Some(format!(
            "'{}' may not stand in it (`systemd-escape` makes a name of any text)",
            Escaped(bad.encode_utf8(&mut [0; 4]))
        ));
    }
    let Some(suffix) = after_last(name, b'.') else {
        return Some("it has no suffix such as `.scope`".into());
    };
    let prefix = &name[..name.len() - suffix.len() - 1];
    if !SUFFIXES.contains(&suffix) {
        return Some(format!("`.{suffix}` is not the suffix of a unit type"));
    }
    if prefix.is_empty() || prefix.starts_with('@') {
        return Some("nothing stands before its suffix or `@`".into());
    }
    if prefix.ends_with('@') {
        return Some("it is a template without an instance".into());
    }
    None
}

/// `slice_name_is_valid()`: dashes part the levels of a slice's path, so none may be empty.
fn slice_fault(name: &str) -> Option<&'static str> {
    let stem = name.strip_suffix(".slice")?;
    if stem == "-" {
        return None;
    }
    let empty_level = stem.split('-').any(str::is_empty);
    empty_level.then_some("a dash parts the levels of a slice: none may lead, trail or stand twice")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_bad_name_is_refused_with_its_reason() {
        let long = format!("{}.scope", "a".repeat(250));
        assert_eq!(long.len(), 256);
        let bad = [
            "",
            ".scope",
            "a",
            "a.",
            "a.socks",
            "a/b.scope",
            "a\0.scope",
            "é.scope",
            "a b.scope",
            "a@.scope",
            "@b.scope",
            "a@b.scope",
            &long,
        ];
        for name in bad {
            let error = check_kind(name, "scope").expect_err(name);
            assert!(error.is_invalid_input(), "{error:?}");
        }
        for name in ["-a.slice", "a-.slice", "a--b.slice", "--.slice", "a@b.slice", "a.scope"] {
            assert!(check_kind(name, "slice").is_err(), "{name} passed");
        }
    }

    #[test]
    fn names_that_systemd_takes_are_taken() {
        for name in ["a.scope", "a\\x2db.scope", "a:b_c.d.scope", "_.scope", "..scope"] {
            check_kind(name, "scope").expect(name);
        }
        for name in ["-.slice", "a-b-c.slice", "system.slice"] {
            check_kind(name, "slice").expect(name);
        }
        check_kind(&format!("{}.scope", "a".repeat(249)), "scope").expect("255 bytes are allowed");
    }
}
