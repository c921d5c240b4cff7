//! Spread slices: a slice's scopes in child slices of it, a few in each, for PID 1's work at each create grows with the
//! siblings of what is created.

use crate::error::{Error, Result};
use crate::unit::name;

/// Over how many child slices the scopes of a slice are spread.
///
/// Asked for `jobs.slice` over 8, a scope goes to one of `jobs-spread0.slice` to `jobs-spread7.slice`, by a hash of its
/// name that is the same in every process and in every version of this library. All of them are children of
/// `jobs.slice`: what is limited there holds for all. Where they are more than 128, they are themselves in slices of 32
/// each, for they are siblings too: number 70 is `jobs-spreadgroup2-70.slice`, in `jobs-spreadgroup2.slice`. systemd makes
/// all of them as they are needed, and forgets them as it forgets any slice.
///
/// ```
/// use unitwait::{Scope, Spread};
///
/// let scope = Scope::new("job-7.scope").own_process().slice("jobs.slice");
/// assert_eq!(scope.clone().spread(50), scope.clone().spread(Spread::Over(50)));
/// let by_what_is_there = scope.spread(Spread::Auto);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Spread {
    /// Over so many, 1 to 10,000. Near the square root of the scopes that are to stand at once is best up to a thousand of
    /// them, and so many that each has about twenty beyond.
    Over(u32),
    /// Over a power of two that suits what is in the slice now, as its control group shows: the square root of that, or
    /// beyond 1,024 scopes the square of its cube root, 256 to 1,024. A manager looks ten times a second at the most.
    /// Where the number has changed since, older scopes stay where they are.
    Auto,
}

impl From<u32> for Spread {
    fn from(slices: u32) -> Spread {
        Spread::Over(slices)
    }
}

/// The most child slices there may be.
const MOST: u32 = 10_000;

/// The most that are children of the slice itself.
const MOST_CHILDREN: u32 = 128;

/// So many are in one group where they are more. Whatever the number, so that a child slice is in the same group for all.
const GROUP: u32 = 32;

/// Up to so many scopes a level more would bring nothing.
const FEW: usize = 1024;

/// The most that are chosen: more would do for more scopes than a systemd can hold.
const MOST_CHOSEN: u32 = 1024;

impl Spread {
    pub(super) fn check(self, slice: Option<&str>) -> Result<()> {
        let Some(slice) = slice else {
            return Err(Error::invalid(
                "spread",
                match self {
                    Spread::Over(over) => over.to_string(),
                    Spread::Auto => "auto".into(),
                },
                "it is a slice that is spread: name one",
            ));
        };
        let most = match self {
            Spread::Over(over) if !(1..=MOST).contains(&over) => {
                return Err(Error::invalid(
                    "spread",
                    over.to_string(),
                    format!("it is over 1 to {MOST} slices"),
                ));
            }
            Spread::Over(over) => over,
            Spread::Auto => MOST_CHOSEN,
        };
        name::check_kind(&numbered(slice, most, most - 1), "slice")
    }
}

/// How many suit so many scopes: those that leave the fewest siblings on all levels together.
pub(crate) fn suited_to(scopes: usize) -> u32 {
    if scopes <= FEW {
        let root = u32::try_from(scopes.isqrt()).unwrap_or(MOST_CHOSEN);
        return root.max(1).next_power_of_two();
    }
    let square = u128::try_from(scopes).unwrap_or(u128::MAX).saturating_pow(2);
    let mut over = 2 * MOST_CHILDREN;
    while over < MOST_CHOSEN && u128::from(over).pow(3) < square {
        over *= 2;
    }
    over
}

/// The child slice that a unit of this name goes to.
pub(crate) fn place(slice: &str, over: u32, unit: &str) -> String {
    let number = u32::try_from(hash(unit) % u64::from(over)).unwrap_or_default();
    numbered(slice, over, number)
}

/// What the names of all child slices begin with.
pub(crate) fn prefix(slice: &str) -> String {
    match slice.strip_suffix(".slice") {
        Some("-") | None => "spread".into(),
        Some(stem) => format!("{stem}-spread"),
    }
}

/// What the names of all their groups begin with.
pub(crate) fn group_prefix(slice: &str) -> String {
    format!("{}group", prefix(slice))
}

/// One of so many.
fn numbered(slice: &str, over: u32, number: u32) -> String {
    match over <= MOST_CHILDREN {
        true => format!("{}{number}.slice", prefix(slice)),
        false => format!("{}{}-{number}.slice", group_prefix(slice), number / GROUP),
    }
}

/// FNV-1a of 64 bits: short, without a seed, and good enough to spread names that count up.
fn hash(text: &str) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let mixed = text.bytes().fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    // Its low bits alone follow those of the text's last bytes.
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Programs of other versions must find the same place: these may never change.
    #[test]
    fn a_units_place_is_the_same_for_ever() {
        assert_eq!(place("jobs.slice", 50, "job-1.scope"), "jobs-spread37.slice");
        assert_eq!(place("a-b.slice", 7, "x.scope"), "a-b-spread1.slice");
        assert_eq!(place("-.slice", 1, "x.scope"), "spread0.slice");
        assert_eq!(place("jobs.slice", 128, "job-1.scope"), "jobs-spread21.slice");
        assert_eq!(place("jobs.slice", 512, "job-1.scope"), "jobs-spreadgroup8-277.slice");
    }

    #[test]
    fn names_that_count_up_spread_evenly() {
        for over in [7, 50, 64, 128, 512] {
            let mut held: BTreeMap<String, u32> = BTreeMap::new();
            for number in 0..over * 100 {
                *held.entry(place("jobs.slice", over, &format!("job-{number}.scope"))).or_default() += 1;
            }
            assert_eq!(held.len(), over as usize);
            assert!(held.values().all(|count| (50..200).contains(count)), "{over}: {held:?}");
        }
    }

    #[test]
    fn the_number_that_is_chosen_leaves_few_siblings_on_each_level() {
        let chosen = [0, 1, 4, 5, 100, 1024, 1025, 10_000, 100_000, usize::MAX].map(suited_to);
        assert_eq!(chosen, [1, 1, 2, 2, 16, 32, 256, 512, 1024, 1024]);
    }

    #[test]
    fn what_cannot_be_spread_is_refused() {
        for (spread, slice) in [
            (Spread::Over(0), Some("a.slice")),
            (Spread::Over(10_001), Some("a.slice")),
            (Spread::Over(5), None),
            (Spread::Auto, None),
            (Spread::Auto, Some(format!("{}.slice", "a".repeat(240)).as_str())),
        ] {
            assert!(spread.check(slice).is_err_and(|error| error.is_invalid_input()), "{spread:?} {slice:?}");
        }
        Spread::Over(10_000).check(Some("a.slice")).unwrap();
        Spread::Over(1).check(Some("-.slice")).unwrap();
    }
}
