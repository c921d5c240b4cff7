//! All the properties of one command line together, in the order in which they were given.

use std::collections::BTreeSet;

use unitwait::{Property, Value};

use super::{PropertyError, parse};

/// As in a unit file, the last one counts, and lists grow until an empty one resets them.
#[derive(Debug, Default)]
pub struct Assignments {
    pub properties: Vec<Property>,
    emptied: BTreeSet<String>,
}

impl Assignments {
    pub fn read(given: &[String]) -> Result<Assignments, PropertyError> {
        let mut all = Assignments::default();
        for text in given {
            for property in parse(text)? {
                all.add(property);
            }
        }
        Ok(all)
    }

    /// The lists that were reset and then grew again, by name. On a unit that is there this makes a difference, for it
    /// has entries of its own.
    pub fn emptied(&self) -> impl Iterator<Item = &str> {
        self.emptied.iter().map(String::as_str)
    }

    fn add(&mut self, new: Property) {
        let all = &mut self.properties;
        let old = all.iter().position(|known| is_same(known.name(), new.name())).map(|at| all.remove(at));
        let grown = match (old.as_ref().map(Property::value), new.value()) {
            (Some(Value::Array(kind, old)), Value::Array(_, items)) if kind != "y" && !items.is_empty() => {
                if old.is_empty() {
                    self.emptied.insert(new.name().into());
                }
                let grown = old.iter().chain(items).cloned().collect();
                Property::new(new.name(), Value::Array(kind.clone(), grown))
            }
            _ => {
                self.emptied.remove(new.name());
                new
            }
        };
        all.push(grown);
    }
}

/// Whether two properties on D-Bus are one in a unit file: `MemoryMax=10%` and `MemoryMax=2G` are.
fn is_same(one: &str, other: &str) -> bool {
    let in_file = |name| str::strip_suffix(name, "Scale").unwrap_or(name).to_string();
    in_file(one) == in_file(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Property {
        Property::new("After", Value::strings(items.iter().copied()))
    }

    fn read(given: &[&str]) -> Assignments {
        let given: Vec<String> = given.iter().map(ToString::to_string).collect();
        Assignments::read(&given).unwrap()
    }

    #[test]
    fn lists_grow_and_all_else_is_replaced() {
        let all = read(&["After=a", "TasksMax=1", "After=b", "TasksMax=2"]);
        assert_eq!(all.properties, [list(&["a", "b"]), Property::new("TasksMax", 2u64)]);
        let all = read(&["TasksMax=2", "After=a", "TasksMax=10%"]);
        assert_eq!((all.properties.len(), all.properties[1].name()), (2, "TasksMaxScale"));
        let all = read(&["After=a", "TasksMax=10%", "TasksMax=2", "After="]);
        assert_eq!(all.properties, [Property::new("TasksMax", 2u64), list(&[])]);
    }

    #[test]
    fn a_list_that_was_emptied_and_filled_again_is_known_as_such() {
        let all = read(&["After=a", "After=", "After=b", "After=c"]);
        assert_eq!(all.properties, [list(&["b", "c"])]);
        assert_eq!(all.emptied().collect::<Vec<_>>(), ["After"]);
        for given in [&["After=a", "After=b"][..], &["After="], &["After=", "After=a", "After="]] {
            assert_eq!(read(given).emptied().count(), 0, "{given:?}");
        }
    }
}
