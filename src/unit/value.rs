//! A typed D-Bus value, so that any property of any systemd can be sent and read without a line of D-Bus code.

use std::fmt;

/// A value with its D-Bus type, as a unit's property carries it.
///
/// Numbers keep the width that the wire has: systemd refuses an `i32` where it wants a `u32`. Times are in
/// microseconds and sizes in bytes, as in `org.freedesktop.systemd1(5)`; "no limit" is [`Value::INFINITY`].
///
/// ```
/// use unitwait::Value;
///
/// assert_eq!(Value::from(64u64 << 20).signature(), "t");
/// assert_eq!(Value::strings(["memory", "pids"]).signature(), "as");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `y`
    Byte(u8),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    F64(f64),
    /// `s`
    Str(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `a…`: the signature of one element (an empty array has no other way to say it), and the elements.
    Array(String, Vec<Value>),
    /// `(…)`
    Struct(Vec<Value>),
    /// `{…}`: a key and a value; stands only in an array.
    Entry(Box<(Value, Value)>),
    /// `v`
    Variant(Box<Value>),
}

/// No property of systemd's nests nearly as deeply.
const DEEPEST: usize = 32;

impl Value {
    /// What systemd reads as "no limit" in every 64-bit limit and time.
    ///
    /// ```
    /// assert_eq!(unitwait::Value::INFINITY, unitwait::Value::U64(u64::MAX));
    /// ```
    pub const INFINITY: Value = Value::U64(u64::MAX);

    /// A list of strings (`as`).
    ///
    /// ```
    /// let after = unitwait::Value::strings(["network.target"]);
    /// assert_eq!(after.signature(), "as");
    /// ```
    pub fn strings<S: Into<String>>(items: impl IntoIterator<Item = S>) -> Value {
        Value::Array("s".into(), items.into_iter().map(|s| Value::Str(s.into())).collect())
    }

    /// A string of bytes (`ay`), as CPU and memory node masks are sent.
    ///
    /// ```
    /// assert_eq!(unitwait::Value::bytes([0b11]).signature(), "ay");
    /// ```
    pub fn bytes(items: impl IntoIterator<Item = u8>) -> Value {
        Value::Array("y".into(), items.into_iter().map(Value::Byte).collect())
    }

    /// The D-Bus signature of this value.
    ///
    /// ```
    /// assert_eq!(unitwait::Value::from(true).signature(), "b");
    /// ```
    pub fn signature(&self) -> String {
        let mut out = String::new();
        self.write_signature(&mut out);
        out
    }

    fn write_signature(&self, out: &mut String) {
        match self {
            Value::Array(element, _) => {
                out.push('a');
                out.push_str(element);
            }
            Value::Struct(fields) => {
                out.push('(');
                fields.iter().for_each(|field| field.write_signature(out));
                out.push(')');
            }
            Value::Entry(entry) => {
                out.push('{');
                entry.0.write_signature(out);
                entry.1.write_signature(out);
                out.push('}');
            }
            basic => out.push(basic.type_code()),
        }
    }

    fn type_code(&self) -> char {
        match self {
            Value::Bool(_) => 'b',
            Value::Byte(_) => 'y',
            Value::I16(_) => 'n',
            Value::U16(_) => 'q',
            Value::I32(_) => 'i',
            Value::U32(_) => 'u',
            Value::I64(_) => 'x',
            Value::U64(_) => 't',
            Value::F64(_) => 'd',
            Value::Str(_) => 's',
            Value::Path(_) => 'o',
            Value::Signature(_) => 'g',
            Value::Array(..) => 'a',
            Value::Struct(_) => '(',
            Value::Entry(_) => '{',
            Value::Variant(_) => 'v',
        }
    }

    /// The text of a string, object path or signature.
    ///
    /// ```
    /// assert_eq!(unitwait::Value::from("active").as_str(), Some("active"));
    /// ```
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) | Value::Path(text) | Value::Signature(text) => Some(text),
            _ => None,
        }
    }

    /// The number of any unsigned integer.
    ///
    /// ```
    /// assert_eq!(unitwait::Value::from(7u32).as_u64(), Some(7));
    /// ```
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::Byte(n) => Some(n.into()),
            Value::U16(n) => Some(n.into()),
            Value::U32(n) => Some(n.into()),
            Value::U64(n) => Some(n),
            _ => None,
        }
    }

    /// The truth of a boolean.
    ///
    /// ```
    /// assert_eq!(unitwait::Value::from(true).as_bool(), Some(true));
    /// ```
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Value::Bool(truth) => Some(truth),
            _ => None,
        }
    }

    /// The elements of an array, the fields of a structure.
    ///
    /// ```
    /// assert_eq!(unitwait::Value::bytes([1, 2]).items().len(), 2);
    /// ```
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(_, items) | Value::Struct(items) => items,
            _ => &[],
        }
    }

    /// Why this value cannot be put on the wire, if it cannot. libdbus ends the process over such values, so
    /// they are told apart before.
    pub(crate) fn fault(&self) -> Option<String> {
        self.fault_below(0).or_else(|| self.signature_fault())
    }

    /// A type may be too long or too deep though each of its parts is neither.
    fn signature_fault(&self) -> Option<String> {
        let wrong = dbus::Signature::new(self.signature()).is_err();
        wrong.then(|| "its type is longer or deeper than D-Bus can say".into())
    }

    /// About how many bytes it takes on the wire.
    pub(crate) fn size(&self) -> usize {
        const FIXED: usize = 8;
        match self {
            Value::Str(text) | Value::Path(text) | Value::Signature(text) => FIXED + text.len(),
            Value::Array(_, items) | Value::Struct(items) => {
                FIXED + items.iter().map(Value::size).sum::<usize>()
            }
            Value::Entry(pair) => FIXED + pair.0.size() + pair.1.size(),
            Value::Variant(value) => FIXED + value.size(),
            _ => FIXED,
        }
    }

    /// Whether it may be built further into another: that it is neither too deep then nor too large to be sent.
    #[cfg(feature = "capi")]
    pub(crate) fn fits_into_another(&self) -> bool {
        fn depth(value: &Value) -> usize {
            let inner = match value {
                Value::Array(_, items) | Value::Struct(items) => items.iter().map(depth).max(),
                Value::Entry(pair) => Some(depth(&pair.0).max(depth(&pair.1))),
                Value::Variant(value) => Some(depth(value)),
                _ => None,
            };
            inner.map_or(0, |depth| depth + 1)
        }
        depth(self) < DEEPEST && self.size() <= super::scope::MOST_BYTES
    }

    fn fault_below(&self, depth: usize) -> Option<String> {
        if depth > DEEPEST {
            return Some(format!("it is nested deeper than {DEEPEST} levels"));
        }
        let inner = |items: &[Value]| items.iter().find_map(|item| item.fault_below(depth + 1));
        match self {
            Value::Str(text) | Value::Path(text) | Value::Signature(text) if text.contains('\0') => {
                Some("a string in it has a NUL byte".into())
            }
            Value::Path(text) => {
                dbus::Path::new(text.as_str()).err().map(|_| format!("`{text}` is not an object path"))
            }
            Value::Signature(text) => {
                dbus::Signature::new(text.as_str()).err().map(|_| format!("`{text}` is not a signature"))
            }
            Value::Array(element, items) => array_fault(element, items).or_else(|| inner(items)),
            Value::Struct(fields) if fields.is_empty() => Some("a structure in it has no fields".into()),
            Value::Struct(fields) => inner(fields).or_else(|| stray_entry(fields)),
            Value::Entry(entry) => entry.0.fault_below(depth + 1).or_else(|| entry.1.fault_below(depth + 1)),
            Value::Variant(value) => value
                .fault_below(depth + 1)
                .or_else(|| stray_entry(std::slice::from_ref(value)))
                .or_else(|| value.signature_fault()),
            _ => None,
        }
    }
}

fn array_fault(element: &str, items: &[Value]) -> Option<String> {
    // The value half of a dictionary entry must be one complete type, so this tells `s` from `ss`.
    if element.contains('\0') || dbus::Signature::new(format!("a{{sa{element}}}")).is_err() {
        return Some(format!("`{element}` is not the signature of one element"));
    }
    items
        .iter()
        .map(Value::signature)
        .find(|signature| signature != element)
        .map(|signature| format!("an array of `{element}` holds a `{signature}`"))
}

fn stray_entry(items: &[Value]) -> Option<String> {
    let stray = items.iter().any(|item| matches!(item, Value::Entry(_)));
    stray.then(|| "a dictionary entry stands outside of an array".into())
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(truth) => f.write_str(if *truth { "yes" } else { "no" }),
            Value::Byte(n) => n.fmt(f),
            Value::I16(n) => n.fmt(f),
            Value::U16(n) => n.fmt(f),
            Value::I32(n) => n.fmt(f),
            Value::U32(n) => n.fmt(f),
            Value::I64(n) => n.fmt(f),
            Value::U64(u64::MAX) => f.write_str("infinity"),
            Value::U64(n) => n.fmt(f),
            Value::F64(n) => n.fmt(f),
            Value::Str(text) | Value::Path(text) | Value::Signature(text) => f.write_str(text),
            Value::Array(element, items) if element == "y" => items.iter().try_for_each(|item| match item {
                Value::Byte(byte) => write!(f, "{byte:02x}"),
                other => other.fmt(f),
            }),
            Value::Array(_, items) | Value::Struct(items) => {
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        f.write_str(" ")?;
                    }
                    item.fmt(f)?;
                }
                Ok(())
            }
            Value::Entry(entry) => write!(f, "{}={}", entry.0, entry.1),
            Value::Variant(value) => value.fmt(f),
        }
    }
}

macro_rules! from {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Value {
                Value::$variant(value.into())
            }
        }
    )*};
}

from! {
    bool => Bool, u8 => Byte, i16 => I16, u16 => U16, i32 => I32, u32 => U32, i64 => I64, u64 => U64,
    f64 => F64, &str => Str, String => Str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_that_libdbus_would_die_of_is_refused() {
        let mut deep = Value::from(1u32);
        for _ in 0..40 {
            deep = Value::Variant(Box::new(deep));
        }
        let entry = Value::Entry(Box::new((Value::from("k"), Value::from(1u32))));
        let faulty = [
            Value::from("a\0b"),
            Value::Path("no/slash".into()),
            Value::Path("/nul\0".into()),
            Value::Signature("(".into()),
            Value::Array(String::new(), vec![]),
            Value::Array("ss".into(), vec![]),
            Value::Array("s".into(), vec![Value::from(1u32)]),
            Value::Array("s".into(), vec![Value::from("\0")]),
            Value::Struct(vec![]),
            Value::Struct(vec![entry.clone()]),
            Value::Array("{vs}".into(), vec![]),
            Value::Struct((0..300u32).map(Value::from).collect()),
            Value::Variant(Box::new(Value::Struct((0..300u32).map(Value::from).collect()))),
            Value::Struct(vec![Value::Array("(u)".into(), vec![]); 90]),
            deep,
        ];
        for value in faulty {
            assert!(value.fault().is_some(), "{value:?} passed");
        }
    }

    #[test]
    fn sound_values_pass() {
        let entry = Value::Entry(Box::new((Value::from("k"), Value::Variant(Box::new(Value::from(1u32))))));
        let sound = [
            Value::strings::<&str>([]),
            Value::Array("{sv}".into(), vec![entry]),
            Value::Array(
                "(st)".into(),
                vec![Value::Struct(vec![Value::from("/dev/sda"), Value::from(1u64)])],
            ),
            Value::Path("/a".into()),
        ];
        for value in sound {
            assert_eq!(value.fault(), None, "{value:?}");
        }
    }
}
