//! Typed D-Bus values for C: built for properties that have no setter of their own, and read from units.

use std::ffi::{CString, c_char};
use std::ptr;

use super::error::{Failure, answer, lend, quiet, unitwait_code, unitwait_error};
use super::handle::{Handle, Shared, find, give, known};
use super::pass::{Out, Text, c_text};
use crate::unit::Value;

/// A value with its D-Bus type. Owned by the caller.
///
/// Numbers keep the width that the wire has: systemd refuses an `i32` where it wants a `u32`. Times are in
/// microseconds and sizes in bytes, as in org.freedesktop.systemd1(5); "no limit" is UINT64_MAX.
pub struct unitwait_value {
    _private: [u8; 0],
}

impl Handle for unitwait_value {
    type Object = Held;
    const WHAT: &'static str = "value";
}

/// What is behind a value's handle.
pub(super) struct Held(Shared<Texts>);

/// A value, and its texts once they were asked for: what was lent stays where it is.
struct Texts {
    value: Value,
    signature: Option<CString>,
    text: Option<CString>,
    string: Option<CString>,
}

impl Held {
    pub fn new(value: Value) -> Held {
        Held(Shared::new(Texts { value, signature: None, text: None, string: None }))
    }

    /// A copy of the value.
    pub fn value(&self) -> Value {
        self.0.with(|held| held.value.clone())
    }
}

/// Answers a call with the value that is read, for which there must be a place; until then it has none.
pub(super) fn answer_value(
    to: Out<*mut unitwait_value>,
    error: Out<*mut unitwait_error>,
    read: impl FnOnce() -> Result<Value, Failure>,
) -> unitwait_code {
    to.put(ptr::null_mut());
    answer(error, || {
        to.needed("value")?;
        to.put(give(Held::new(read()?)));
        Ok(())
    })
}

/// A text of the value's, made where it is not there yet.
fn lent(
    value: *const unitwait_value,
    place: fn(&mut Texts) -> &mut Option<CString>,
    make: fn(&Value) -> Option<String>,
) -> *const c_char {
    quiet(ptr::null(), || {
        known(value)?.0.with(|held| {
            if place(held).is_none() {
                *place(held) = make(&held.value).map(c_text);
            }
            Some(lend(place(held).as_deref()))
        })
    })
}

fn made(make: impl FnOnce() -> Result<Value, Failure>) -> *mut unitwait_value {
    quiet(ptr::null_mut(), || Some(give(Held::new(make().ok()?))))
}

/// A copy of what is to be in another value. What nests deeper or is larger no property can carry, and to look at all of
/// it would take more stack than some threads have.
fn inner(value: *const unitwait_value) -> Result<Value, Failure> {
    let value = find(value)?.value();
    if value.fits_into_another() {
        return Ok(value);
    }
    Err(Failure::invalid(
        "value",
        &value.signature(),
        "it nests too deeply to be in another, or has over 1 MiB",
    ))
}

/// A boolean (`b`). The caller's to free, as every value is; does not block, as none of these functions does.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_bool(value: bool) -> *mut unitwait_value {
    made(|| Ok(Value::Bool(value)))
}

/// A byte (`y`).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_byte(value: u8) -> *mut unitwait_value {
    made(|| Ok(Value::Byte(value)))
}

/// A number of 16 bits (`n`).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_i16(value: i16) -> *mut unitwait_value {
    made(|| Ok(Value::I16(value)))
}

/// A number of 16 bits without a sign (`q`).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_u16(value: u16) -> *mut unitwait_value {
    made(|| Ok(Value::U16(value)))
}

/// A number of 32 bits (`i`).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_i32(value: i32) -> *mut unitwait_value {
    made(|| Ok(Value::I32(value)))
}

/// A number of 32 bits without a sign (`u`).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_u32(value: u32) -> *mut unitwait_value {
    made(|| Ok(Value::U32(value)))
}

/// A number of 64 bits (`x`).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_i64(value: i64) -> *mut unitwait_value {
    made(|| Ok(Value::I64(value)))
}

/// A number of 64 bits without a sign (`t`).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_u64(value: u64) -> *mut unitwait_value {
    made(|| Ok(Value::U64(value)))
}

/// A floating-point number (`d`).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_double(value: f64) -> *mut unitwait_value {
    made(|| Ok(Value::F64(value)))
}

/// A string (`s`); NULL where the text is NULL or not UTF-8.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_string(text: Text) -> *mut unitwait_value {
    made(|| Ok(Value::Str(text.get("string")?.into())))
}

/// An object path (`o`); NULL as unitwait_value_string().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_path(text: Text) -> *mut unitwait_value {
    made(|| Ok(Value::Path(text.get("object path")?.into())))
}

/// A signature (`g`); NULL as unitwait_value_string().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_signature(text: Text) -> *mut unitwait_value {
    made(|| Ok(Value::Signature(text.get("signature")?.into())))
}

/// An empty array of elements of this signature (`a…`), to be filled with unitwait_value_append(); NULL as
/// unitwait_value_string().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_array(element: Text) -> *mut unitwait_value {
    made(|| Ok(Value::Array(element.get("element's signature")?.into(), Vec::new())))
}

/// A structure (`(…)`) with no fields yet, to be filled with unitwait_value_append().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_struct() -> *mut unitwait_value {
    made(|| Ok(Value::Struct(Vec::new())))
}

/// A key and a value for an array that is a dictionary (`{…}`); NULL where one of them is no value's handle, or nests
/// too deeply. Both are copied.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_entry(
    key: *const unitwait_value,
    value: *const unitwait_value,
) -> *mut unitwait_value {
    made(|| Ok(Value::Entry(Box::new((inner(key)?, inner(value)?)))))
}

/// A value in a variant (`v`); NULL where it is no value's handle, or nests too deeply. The value is copied.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_variant(value: *const unitwait_value) -> *mut unitwait_value {
    made(|| Ok(Value::Variant(Box::new(inner(value)?))))
}

/// Puts a copy of an item at the end of an array or structure. UNITWAIT_INVALID_INPUT where the first is neither, or was
/// read already. Whether the items fit is looked at when the property is sent.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_append(
    to: *mut unitwait_value,
    item: *const unitwait_value,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    answer(error, || {
        let (to, item) = (find(to)?, inner(item)?);
        to.0.with(|held| {
            if held.signature.is_some() || held.text.is_some() || held.string.is_some() {
                return Err(Failure::invalid("value", "one that was read", "it does not change any more"));
            }
            match &mut held.value {
                Value::Array(_, items) | Value::Struct(items) => {
                    items.push(item);
                    Ok(())
                }
                other => {
                    Err(Failure::invalid("value", &other.signature(), "it is no array and no structure"))
                }
            }
        })
    })
}

/// The signature of a value, NULL where it is no value's handle. The value's own.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_type(value: *const unitwait_value) -> *const c_char {
    lent(value, |held| &mut held.signature, |value| Some(value.signature()))
}

/// Any value as people read it ("infinity", "yes", items with spaces between), NULL where it is no value's handle. The
/// value's own.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_text(value: *const unitwait_value) -> *const c_char {
    lent(value, |held| &mut held.text, |value| Some(value.to_string()))
}

/// The text of a string, object path or signature, NULL where it is none. The value's own.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_as_string(value: *const unitwait_value) -> *const c_char {
    lent(value, |held| &mut held.string, |value| value.as_str().map(String::from))
}

/// The number of an unsigned integer of any width. False, and 0 in its place, where it is none.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_as_u64(value: *const unitwait_value, number: Out<u64>) -> bool {
    read(value, number, |value| value.as_u64())
}

/// The number of a signed integer of any width. False, and 0 in its place, where it is none.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_as_i64(value: *const unitwait_value, number: Out<i64>) -> bool {
    read(value, number, |value| match *value {
        Value::I16(number) => Some(number.into()),
        Value::I32(number) => Some(number.into()),
        Value::I64(number) => Some(number),
        _ => None,
    })
}

/// The floating-point number. False, and 0 in its place, where it is none.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_as_double(value: *const unitwait_value, number: Out<f64>) -> bool {
    read(value, number, |value| if let Value::F64(number) = *value { Some(number) } else { None })
}

/// The truth of a boolean. False, and false in its place, where it is none.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_as_bool(value: *const unitwait_value, truth: Out<bool>) -> bool {
    read(value, truth, |value| value.as_bool())
}

/// How many items an array or structure has, 2 for a dictionary's entry, 1 for a variant, 0 for any other.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_length(value: *const unitwait_value) -> usize {
    quiet(0, || Some(known(value)?.0.with(|held| items(&held.value).len())))
}

/// A copy of one of the items that unitwait_value_length() counts, from 0; NULL where there is no such item. The
/// caller's to free.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_value_item(value: *const unitwait_value, at: usize) -> *mut unitwait_value {
    quiet(ptr::null_mut(), || {
        let item = known(value)?.0.with(|held| items(&held.value).get(at).map(|item| (*item).clone()));
        Some(give(Held::new(item?)))
    })
}

fn items(value: &Value) -> Vec<&Value> {
    match value {
        Value::Entry(entry) => vec![&entry.0, &entry.1],
        Value::Variant(value) => vec![value],
        other => other.items().iter().collect(),
    }
}

fn read<T: Copy + Default>(value: *const unitwait_value, to: Out<T>, of: fn(&Value) -> Option<T>) -> bool {
    let found = quiet(None, || Some(known(value)?.0.with(|held| of(&held.value))));
    to.put(found.unwrap_or_default());
    found.is_some()
}
