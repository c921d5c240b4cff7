//! Properties that are lists with an entry for each device: systemd adds to what is there, and an empty list takes
//! out all.

use super::{Property, Value};

/// The properties that are lists, each with the type of its entries, whose first field is what the entry is for.
const LISTS: [(&str, &str); 10] = [
    ("IODeviceWeight", "(st)"),
    ("IOReadBandwidthMax", "(st)"),
    ("IOWriteBandwidthMax", "(st)"),
    ("IOReadIOPSMax", "(st)"),
    ("IOWriteIOPSMax", "(st)"),
    ("IODeviceLatencyTargetUSec", "(st)"),
    ("BlockIODeviceWeight", "(st)"),
    ("BlockIOReadBandwidth", "(st)"),
    ("BlockIOWriteBandwidth", "(st)"),
    ("DeviceAllow", "(ss)"),
];

/// Properties that grow in the same way and whose entries are for no device: one that is there already changes nothing.
/// Seen on 252, those of addresses, ports and controllers.
const SETS: [(&str, &str); 8] = [
    ("IPAddressAllow", "(iayu)"),
    ("IPAddressDeny", "(iayu)"),
    ("IPIngressFilterPath", "s"),
    ("IPEgressFilterPath", "s"),
    ("BPFProgram", "(ss)"),
    ("SocketBindAllow", "(iiqq)"),
    ("SocketBindDeny", "(iiqq)"),
    ("DisableControllers", "s"),
];

/// The property that takes everything out of a list, as systemd has it; `None` for one that is no list.
pub(super) fn empty_list(name: &str) -> Option<Property> {
    let (name, entry) = LISTS.iter().chain(&SETS).find(|(list, _)| *list == name)?;
    Some(Property::new(*name, Value::Array((*entry).into(), Vec::new())))
}

/// Sets a property in place of the one of its name, or of its limit. An entry that empties a list stays before one that
/// fills it: what systemd has of that list goes first then.
pub(super) fn put(properties: &mut Vec<Property>, property: Property) {
    let is_list = LISTS.iter().chain(&SETS).any(|(list, _)| *list == property.name());
    let fills = is_list && !property.value().items().is_empty();
    let stays = |set: &Property| fills && set.name() == property.name() && set.value().items().is_empty();
    properties.retain(|set| !is_same_limit(set.name(), property.name()) || stays(set));
    // Requests share it, and thousands of them may wait in line.
    properties.reserve_exact(1);
    properties.push(property);
}

/// Adds what is set of one device to the list that is there, in place of what was said of it before.
pub(super) fn add_entry(properties: &mut Vec<Property>, list: &str, device: String, what: Value) {
    let entry = Value::Struct(vec![device.into(), what]);
    let is_filled =
        |property: &&mut Property| property.name() == list && !property.value().items().is_empty();
    match properties.iter_mut().rev().find(is_filled) {
        Some(property) => property.add_entry(entry),
        None => properties.push(Property::new(list, Value::Array(entry.signature(), vec![entry]))),
    }
}

/// What was asked for first, and then changed: a value takes the place of the one before it, and an entry of a list
/// that of the same device's.
pub(crate) fn merge(properties: &mut Vec<Property>, changes: &[Property]) {
    for change in changes {
        let is_list = LISTS.iter().any(|(list, _)| *list == change.name());
        let same = properties.iter_mut().find(|known| known.name() == change.name());
        match (same, change.value().items()) {
            (Some(known), entries @ [_, ..]) if is_list => {
                entries.iter().for_each(|entry| known.add_entry(entry.clone()));
            }
            _ => {
                properties.retain(|known| !is_same_limit(known.name(), change.name()));
                properties.push(change.clone());
            }
        }
    }
}

/// Whether two properties are one limit: a share of all memory or tasks stands where their number does.
fn is_same_limit(one: &str, other: &str) -> bool {
    let stem = |name| str::strip_suffix(name, "Scale").unwrap_or(name).to_string();
    stem(one) == stem(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::{Scope, Update};

    fn rates(entries: &[(&str, u64)]) -> Property {
        let entries =
            entries.iter().map(|(device, rate)| Value::Struct(vec![(*device).into(), (*rate).into()]));
        Property::new("IOReadBandwidthMax", Value::Array("(st)".into(), entries.collect()))
    }

    #[test]
    fn what_is_set_of_one_device_leaves_what_is_set_of_another() {
        let scope =
            Scope::new("a.scope").io_read_bandwidth_max("/dev/a", 1).io_read_bandwidth_max("/dev/b", 2);
        assert_eq!(scope.properties[..], [rates(&[("/dev/a", 1), ("/dev/b", 2)])]);
        let again = scope.io_read_bandwidth_max("/dev/a", 3).device_allow("/dev/a", "r");
        assert_eq!(again.properties[0], rates(&[("/dev/b", 2), ("/dev/a", 3)]));
        assert_eq!(again.properties[1].name(), "DeviceAllow");
    }

    #[test]
    fn a_list_is_emptied_before_it_is_filled_whatever_is_said_first() {
        let filled = Update::new().io_read_bandwidth_max("/dev/a", 1);
        for update in [
            filled.clone().clear("IOReadBandwidthMax").io_read_bandwidth_max("/dev/b", 2),
            filled.clear("IOReadBandwidthMax").clear("IOReadBandwidthMax").io_read_bandwidth_max("/dev/b", 2),
        ] {
            assert_eq!(update.properties, [rates(&[]), rates(&[("/dev/a", 1), ("/dev/b", 2)])]);
        }
    }

    #[test]
    fn a_list_that_is_for_no_device_is_emptied_as_well() {
        let deny =
            |entries: Vec<Value>| Property::new("DisableControllers", Value::Array("s".into(), entries));
        let full = deny(vec!["cpu".into()]);
        let update = Update::new().property(full.clone()).clear("DisableControllers");
        assert_eq!(update.properties, [deny(Vec::new()), full]);
        for (name, _) in SETS {
            Update::new().clear(name).check().expect(name);
        }
    }

    #[test]
    fn a_change_takes_the_place_of_what_was_asked_for_and_an_entry_that_of_its_device() {
        let number = |name: &str, number: u64| Property::new(name, number);
        let mut asked = vec![
            Property::new("MemoryMaxScale", 1u32),
            number("MemoryHigh", 1),
            rates(&[("/dev/a", 1), ("/dev/b", 2)]),
        ];
        merge(&mut asked, &[number("MemoryMax", 5), rates(&[("/dev/b", 3), ("/dev/c", 4)])]);
        let all = rates(&[("/dev/a", 1), ("/dev/b", 3), ("/dev/c", 4)]);
        assert_eq!(asked, [number("MemoryHigh", 1), all, number("MemoryMax", 5)]);
        merge(&mut asked, &[rates(&[]), number("MemoryMax", 6), rates(&[("/dev/d", 1)])]);
        assert_eq!(asked, [number("MemoryHigh", 1), rates(&[("/dev/d", 1)]), number("MemoryMax", 6)]);
        merge(&mut asked, &[rates(&[])]);
        assert_eq!(asked[2], rates(&[]));
    }

    #[test]
    fn a_list_that_was_cleared_stays_so_however_it_is_filled_then() {
        let filled = Update::new().io_read_bandwidth_max("/dev/old", 1).clear("IOReadBandwidthMax");
        let whole = filled.property(rates(&[("/dev/a", 2)]));
        assert_eq!(whole.properties, [rates(&[]), rates(&[("/dev/a", 2)])]);
        let limits = Scope::new("a.scope").property(Property::new("TasksMaxScale", 7u32)).tasks_max(3);
        assert_eq!(limits.properties[..], [Property::new("TasksMax", 3u64)]);
    }
}
