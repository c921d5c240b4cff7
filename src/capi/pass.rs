//! What passes the boundary: texts, numbers and places for results, each looked at before it is believed.

use std::ffi::{CStr, CString, c_char, c_int};
use std::path::PathBuf;
use std::slice;
use std::time::Duration;

use super::error::Failure;
use crate::deadline::Deadline;

/// A text that C gave: NULL, or bytes that end with a NUL.
///
/// cbindgen:transparent-typedef
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Text(*const c_char);

impl Text {
    /// The text; NULL and what is not UTF-8 are refused.
    pub(super) fn get<'a>(self, what: &'static str) -> Result<&'a str, Failure> {
        self.optional(what)?.ok_or_else(|| Failure::invalid(what, "NULL", "a text is needed"))
    }

    /// As [`get`](Text::get); NULL is none.
    pub(super) fn optional<'a>(self, what: &'static str) -> Result<Option<&'a str>, Failure> {
        let Some(bytes) = self.bytes() else { return Ok(None) };
        let not_utf8 = |_| Failure::invalid(what, &String::from_utf8_lossy(bytes), "it is not UTF-8");
        std::str::from_utf8(bytes).map(Some).map_err(not_utf8)
    }

    /// The bytes, for what need not be UTF-8: a program, its arguments, its environment.
    pub(super) fn bytes<'a>(self) -> Option<&'a [u8]> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: it is not NULL, and the header says that it ends with a NUL and stays as it is during the call, which
        // is as long as what is borrowed here is used.
        Some(unsafe { CStr::from_ptr(self.0) }.to_bytes())
    }
}

/// Things of the same type, one beside the other, that C gave: a place and a number.
///
/// cbindgen:transparent-typedef
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Many<T>(*const T);

impl<T> Many<T> {
    /// The things; NULL is none, and no number goes with it but 0. A number that can only be a mistake is not believed.
    pub(super) fn get<'a>(self, length: usize, what: &'static str) -> Result<&'a [T], Failure> {
        if length == 0 {
            return Ok(&[]);
        }
        if self.0.is_null() {
            return Err(Failure::invalid(what, "NULL", &format!("there are to be {length}")));
        }
        check_length(length, what)?;
        if !self.0.is_aligned() {
            return Err(Failure::invalid(
                what,
                &format!("{:p}", self.0),
                "nothing of that type can be there",
            ));
        }
        // SAFETY: it is not NULL, aligned and of a sane length; the header says that so many are there, and stay as they
        // are during the call.
        Ok(unsafe { slice::from_raw_parts(self.0, length) })
    }
}

/// The most that an array may have.
pub const UNITWAIT_MOST: usize = 65536;

pub(super) fn check_length(length: usize, what: &'static str) -> Result<(), Failure> {
    if length <= UNITWAIT_MOST {
        return Ok(());
    }
    Err(Failure::invalid(
        what,
        &length.to_string(),
        &format!("{UNITWAIT_MOST} is the most that an array may have"),
    ))
}

/// Texts that C gave.
pub(super) fn texts<'a>(
    texts: Many<Text>,
    length: usize,
    what: &'static str,
) -> Result<Vec<&'a str>, Failure> {
    texts.get(length, what)?.iter().map(|text| text.get(what)).collect()
}

/// A place of the caller's for a result; where it is NULL the result is not wanted.
///
/// cbindgen:transparent-typedef
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// No place.
    pub(super) fn nowhere() -> Out<T> {
        Out(std::ptr::null_mut())
    }

    /// One of the places of an array, as long as the header says it is.
    pub(super) fn at(&self, index: usize) -> Out<T> {
        // Where it is NULL, every place of it is.
        Out(if self.0.is_null() { self.0 } else { self.0.wrapping_add(index) })
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.0.is_null()
    }

    pub(super) fn put(&self, value: T) {
        if self.is_wanted() {
            // SAFETY: it is not NULL, and the header says that one of its type can be written there. What was there is a
            // plain value, never dropped.
            unsafe { self.0.write(value) };
        }
    }

    pub(super) fn needed(&self, what: &'static str) -> Result<&Self, Failure> {
        if self.is_wanted() {
            return Ok(self);
        }
        Err(Failure::invalid(what, "NULL", "a place for the result is needed"))
    }
}

/// A timeout that is the manager's default.
pub const UNITWAIT_DEFAULT_TIMEOUT: i64 = -1;

pub(super) fn deadline(timeout_ms: i64) -> Result<Deadline, Failure> {
    match u64::try_from(timeout_ms) {
        Ok(milliseconds) => Ok(Duration::from_millis(milliseconds).into()),
        Err(_) if timeout_ms == UNITWAIT_DEFAULT_TIMEOUT => Ok(Deadline::Default),
        Err(_) => Err(Failure::invalid(
            "timeout",
            &timeout_ms.to_string(),
            "it is a number of milliseconds, or -1 for the manager's default",
        )),
    }
}

/// A number of one of the header's enumerations, and what it stands for.
pub(super) type Numbered<T> = (c_int, T);

/// What a number of one of the header's enumerations stands for. C may give any number for one.
pub(super) fn one_of<T: Copy>(number: c_int, of: &[Numbered<T>], what: &'static str) -> Result<T, Failure> {
    let known = of.iter().find(|(known, _)| *known == number).map(|(_, meaning)| *meaning);
    known.ok_or_else(|| Failure::invalid(what, &number.to_string(), "the header has no such number"))
}

/// A text of ours for C, which knows no NUL in a text.
pub(super) fn c_text(text: impl Into<Vec<u8>>) -> CString {
    let bytes: Vec<u8> = text.into().into_iter().map(|byte| if byte == 0 { b'?' } else { byte }).collect();
    CString::new(bytes).unwrap_or_default()
}

pub(super) fn c_path(path: PathBuf) -> CString {
    c_text(path.into_os_string().into_encoded_bytes())
}

/// Time as C has it: microseconds.
pub(super) fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds; the highest number is "no limit", as in systemd.
pub(super) fn time(microseconds: u64) -> Duration {
    if microseconds == u64::MAX { Duration::MAX } else { Duration::from_micros(microseconds) }
}
