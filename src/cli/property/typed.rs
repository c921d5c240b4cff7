//! `NAME:TYPE=VALUE`, the way out for a property that the table does not know.

use unitwait::{Property, Value};

use super::{Refusal, syntax};

/// The property `name` with a value of the D-Bus type `signature`; the refusal where the text is no such value.
pub fn read(name: &str, signature: &str, value: &str) -> Result<Property, Refusal> {
    let Some((read, example)) = reader(signature) else {
        let hint = format!("say one of b y n q i u x t d s o as, as in `{name}:t=10`");
        return Err((format!("the type `{signature}` cannot be given on the command line"), hint));
    };
    match read(value) {
        Ok(value) => Ok(Property::new(name, value)),
        Err(reason) => Err((reason, format!("for example `{name}:{signature}={example}`"))),
    }
}

type Reader = fn(&str) -> Result<Value, String>;

fn reader(signature: &str) -> Option<(Reader, &'static str)> {
    Some(match signature {
        "b" => (|text| syntax::boolean(text).map(Value::Bool), "yes"),
        "y" => (|text| whole(text).map(Value::Byte), "255"),
        "n" => (|text| whole(text).map(Value::I16), "-1"),
        "q" => (|text| whole(text).map(Value::U16), "8080"),
        "i" => (|text| whole(text).map(Value::I32), "-1"),
        "u" => (|text| whole(text).map(Value::U32), "10"),
        "x" => (|text| whole(text).map(Value::I64), "-1"),
        "t" => (limit, "10"),
        "d" => (double, "0.5"),
        "s" => (|text| Ok(Value::from(text)), "text"),
        "o" => (object_path, "/org/freedesktop/systemd1"),
        "as" => (|text| syntax::words(text).map(Value::strings), "one two"),
        _ => return None,
    })
}

fn whole<T: TryFrom<i128>>(text: &str) -> Result<T, String> {
    T::try_from(syntax::signed(text)?).map_err(|_| format!("{text} does not fit into the type"))
}

fn limit(text: &str) -> Result<Value, String> {
    if text == "infinity" { Ok(Value::INFINITY) } else { whole(text).map(Value::U64) }
}

fn double(text: &str) -> Result<Value, String> {
    text.parse().map(Value::F64).map_err(|_| format!("`{text}` is not a number"))
}

fn object_path(text: &str) -> Result<Value, String> {
    let sound = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let is_path = text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(sound));
    if is_path { Ok(Value::Path(text.into())) } else { Err(format!("`{text}` is not an object path")) }
}
