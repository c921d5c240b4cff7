//! Values on the wire: the one place where [`Value`] and libdbus meet.

use dbus::arg::{ArgType, Iter, IterAppend};
use dbus::{Path, Signature};

use crate::unit::Value;

/// Appends a value that [`Value::fault`] has passed.
pub(crate) fn append(to: &mut IterAppend<'_>, value: &Value) {
    match value {
        Value::Bool(v) => to.append(*v),
        Value::Byte(v) => to.append(*v),
        Value::I16(v) => to.append(*v),
        Value::U16(v) => to.append(*v),
        Value::I32(v) => to.append(*v),
        Value::U32(v) => to.append(*v),
        Value::I64(v) => to.append(*v),
        Value::U64(v) => to.append(*v),
        Value::F64(v) => to.append(*v),
        Value::Str(v) => to.append(v.as_str()),
        Value::Path(v) => to.append(Path::from(v.as_str())),
        Value::Signature(v) => to.append(Signature::from(v.as_str())),
        Value::Array(element, items) if element.starts_with('{') => {
            // A key is one basic type, so one letter; the entry's signature alone is not a valid one.
            let (key, value) = element[1..element.len() - 1].split_at(1);
            to.append_dict(&key.into(), &value.into(), |list| {
                items.iter().for_each(|item| append(list, item))
            });
        }
        Value::Array(element, items) => {
            to.append_array(&element.as_str().into(), |list| {
                items.iter().for_each(|item| append(list, item))
            });
        }
        Value::Struct(fields) => to.append_struct(|list| fields.iter().for_each(|field| append(list, field))),
        Value::Entry(entry) => to.append_dict_entry(|pair| {
            append(pair, &entry.0);
            append(pair, &entry.1);
        }),
        Value::Variant(inner) => append_variant(to, inner),
    }
}

/// Appends a value wrapped into a variant, as properties are sent.
pub(crate) fn append_variant(to: &mut IterAppend<'_>, value: &Value) {
    to.append_variant(&value.signature().into(), |inner| append(inner, value));
}

/// Reads all that is left in a message or container; `None` where something in it has no [`Value`] (a file
/// descriptor).
pub(crate) fn read_all(iter: &mut Iter<'_>) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    while iter.arg_type() != ArgType::Invalid {
        values.push(read(iter)?);
        iter.next();
    }
    Some(values)
}

fn read(iter: &mut Iter<'_>) -> Option<Value> {
    Some(match iter.arg_type() {
        ArgType::Boolean => Value::Bool(iter.get()?),
        ArgType::Byte => Value::Byte(iter.get()?),
        ArgType::Int16 => Value::I16(iter.get()?),
        ArgType::UInt16 => Value::U16(iter.get()?),
        ArgType::Int32 => Value::I32(iter.get()?),
        ArgType::UInt32 => Value::U32(iter.get()?),
        ArgType::Int64 => Value::I64(iter.get()?),
        ArgType::UInt64 => Value::U64(iter.get()?),
        ArgType::Double => Value::F64(iter.get()?),
        ArgType::String => Value::Str(iter.get()?),
        ArgType::ObjectPath => Value::Path(iter.get::<Path<'_>>()?.to_string()),
        ArgType::Signature => Value::Signature(iter.get::<Signature<'_>>()?.to_string()),
        ArgType::Array => {
            let element = iter.signature()[1..].to_string();
            Value::Array(element, read_all(&mut iter.recurse(ArgType::Array)?)?)
        }
        ArgType::Struct => Value::Struct(read_all(&mut iter.recurse(ArgType::Struct)?)?),
        ArgType::DictEntry => {
            let mut pair = read_all(&mut iter.recurse(ArgType::DictEntry)?)?.into_iter();
            Value::Entry(Box::new((pair.next()?, pair.next()?)))
        }
        ArgType::Variant => {
            Value::Variant(Box::new(read_all(&mut iter.recurse(ArgType::Variant)?)?.into_iter().next()?))
        }
        ArgType::UnixFd | ArgType::Invalid => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dbus::Message;

    #[test]
    fn what_is_written_is_read_back() {
        let entry =
            Value::Entry(Box::new((Value::from("k"), Value::Variant(Box::new(Value::bytes([1, 2]))))));
        let values = [
            Value::from(true),
            Value::from(-5i32),
            Value::from(1.5f64),
            Value::Path("/a".into()),
            Value::Signature("a(st)".into()),
            Value::strings::<&str>([]),
            Value::Array("{sv}".into(), vec![entry]),
            Value::Struct(vec![Value::from("x"), Value::INFINITY]),
            Value::Variant(Box::new(Value::Array("(st)".into(), vec![]))),
        ];
        let mut message = Message::new_method_call("a.b", "/", "a.b", "C").unwrap();
        let mut to = IterAppend::new(&mut message);
        values.iter().for_each(|value| append(&mut to, value));
        assert_eq!(read_all(&mut message.iter_init()).unwrap(), values);
    }
}
