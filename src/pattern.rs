//! Shell patterns of unit names, as `systemctl` and `ListUnitsByPatterns()` take them (`glob(7)`). A backslash stands
//! for itself: it is a letter of unit names, in which systemd escapes others by it.

use crate::error::{Error, Result};

/// A pattern that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    One(char),
    AnyOne,
    Many,
    /// Whether it is one of these, or none of them.
    Set(bool, Vec<(char, char)>),
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Result<Pattern> {
        let refuse = |reason: &str| Error::invalid("pattern", text, reason);
        if text.is_empty() || text.contains('\0') {
            return Err(refuse("it is empty, or has a NUL byte"));
        }
        let mut characters = text.chars();
        let mut parts = Vec::new();
        while let Some(character) = characters.next() {
            parts.push(match character {
                '*' => Part::Many,
                '?' => Part::AnyOne,
                '[' if characters.as_str().contains("[:") => {
                    return Err(refuse("classes such as `[:alpha:]` are not known here"));
                }
                '[' => set(&mut characters).ok_or_else(|| refuse("a `[` is not closed"))?,
                other => Part::One(other),
            });
        }
        Ok(Pattern(parts))
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut part, mut at) = (0, 0);
        // Where the last `*` stands, and what it has taken so far: only that one ever has to take more.
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.0.get(part) {
                Some(Part::Many) => {
                    star = Some((part, at));
                    part += 1;
                }
                Some(one) if one.is(name[at]) => (part, at) = (part + 1, at + 1),
                _ => {
                    let Some((many, taken)) = star else { return false };
                    star = Some((many, taken + 1));
                    (part, at) = (many + 1, taken + 1);
                }
            }
        }
        self.0[part..].iter().all(|rest| *rest == Part::Many)
    }
}

impl Part {
    fn is(&self, character: char) -> bool {
        match self {
            Part::One(one) => *one == character,
            Part::AnyOne => true,
            Part::Many => false,
            Part::Set(wanted, ranges) => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&character)) == *wanted
            }
        }
    }
}

/// What stands between brackets; a `]` that stands first is one of the set.
fn set(characters: &mut std::str::Chars<'_>) -> Option<Part> {
    let rest = characters.as_str();
    let wanted = !rest.starts_with(['!', '^']);
    if !wanted {
        characters.next();
    }
    let mut ranges = Vec::new();
    loop {
        let first = characters.next()?;
        if first == ']' && !ranges.is_empty() {
            return Some(Part::Set(wanted, ranges));
        }
        let mut ahead = characters.clone();
        let last = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) if last != ']' => {
                *characters = ahead;
                last
            }
            _ => first,
        };
        ranges.push((first, last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_as_in_a_shell() {
        let cases = [
            ("*", "", true),
            ("*.scope", "a.scope", true),
            ("*.scope", "a.scopes", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?.slice", "a.slice", true),
            ("?.slice", "ab.slice", false),
            ("j[0-9a].scope", "j7.scope", true),
            ("j[0-9a].scope", "ja.scope", true),
            ("j[!0-9].scope", "j7.scope", false),
            ("j[^0-9].scope", "jx.scope", true),
            ("[]-].scope", "-.scope", true),
            ("a\\x2db.scope", "a\\x2db.scope", true),
            ("a\\*.scope", "a\\x2db.scope", true),
            ("a[\\]x.scope", "a\\x.scope", true),
            ("**a**", "bab", true),
        ];
        for (pattern, name, matches) in cases {
            assert_eq!(Pattern::new(pattern).unwrap().matches(name), matches, "{pattern} on {name}");
        }
        for bad in ["", "a\0", "a[", "a[]", "[[:alpha:]]"] {
            assert!(Pattern::new(bad).unwrap_err().is_invalid_input(), "{bad:?}");
        }
    }
}
