//! Properties that may be left out where this systemd does not know them.

use crate::unit::Property;

/// Takes out the property that systemd named, if it is optional; where it named none, all that are. Answers with the
/// names: none where there is nothing that may be left out, and so no reason to ask again.
pub(super) fn leave_out(properties: &mut Vec<Property>, named: &str) -> Vec<String> {
    let may_go =
        |property: &Property| property.is_optional() && (named.is_empty() || property.name() == named);
    let left: Vec<String> = properties
        .iter()
        .filter(|property| may_go(property))
        .map(|property| property.name().into())
        .collect();
    properties.retain(|property| !may_go(property));
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_optional_is_left_out_and_all_of_it_where_systemd_names_none() {
        let property = |name: &str| Property::new(name, 1u64);
        let all = || vec![property("A"), property("B").optional(), property("C").optional()];
        let left = |named: &str| {
            let mut properties = all();
            let left = leave_out(&mut properties, named);
            let kept: Vec<String> = properties.iter().map(|property| property.name().into()).collect();
            (left.concat(), kept.concat())
        };
        assert_eq!(left("B"), ("B".into(), "AC".into()));
        assert_eq!(left("A"), (String::new(), "ABC".into()));
        assert_eq!(left("Z"), (String::new(), "ABC".into()));
        assert_eq!(left(""), ("BC".into(), "A".into()));
    }
}
