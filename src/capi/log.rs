//! What the library logs, for C: one function of the program's, called with each line.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::Once;

use super::error::{Failure, answer, unitwait_code, unitwait_error};
use super::handle::Shared;
use super::pass::{Numbered, Out, c_text, one_of};

/// What is called with each line: with the data that was given, a level of enum unitwait_log_level, and a text that lives
/// as long as the call.
pub type unitwait_log_callback =
    Option<extern "C" fn(data: *mut c_void, level: c_int, message: *const c_char)>;

/// How much matters.
#[derive(Clone, Copy)]
#[repr(C)]
pub enum unitwait_log_level {
    /// Nothing is logged.
    UNITWAIT_LOG_OFF = 0,
    /// What has gone wrong, and concerns more than one call.
    UNITWAIT_LOG_ERROR = 1,
    /// What may have gone wrong.
    UNITWAIT_LOG_WARN = 2,
    /// What is worth knowing.
    UNITWAIT_LOG_INFO = 3,
    /// What each request does.
    UNITWAIT_LOG_DEBUG = 4,
    /// All there is.
    UNITWAIT_LOG_TRACE = 5,
}

#[derive(Clone, Copy)]
struct Listener {
    callback: extern "C" fn(*mut c_void, c_int, *const c_char),
    /// The address of what the program gave, for its own function alone.
    data: usize,
}

static LISTENER: Shared<Option<Listener>> = Shared::new(None);

struct ToC;

impl log::Log for ToC {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level() && metadata.target().starts_with("unitwait")
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // Called out of the lock: the function may take its time, or set another.
        let Some(Listener { callback, data }) = LISTENER.with(|listener| *listener) else { return };
        let message = c_text(record.args().to_string());
        callback(ptr::with_exposed_provenance_mut(data), record.level() as c_int, message.as_ptr());
    }

    fn flush(&self) {}
}

/// Has this function called with each line that the library logs, of this level of enum unitwait_log_level and of those
/// that matter more; NULL for none, as in the beginning. Process-wide. Does not block.
///
/// The function is called on the thread that logs, the dbus thread among them, by several at once: it must be
/// thread-safe, return soon, not jump out or throw, and not call functions of this library that block. One that was
/// replaced may still be under way when this returns, so what it was given must live on.
///
/// UNITWAIT_UNSUPPORTED in a program with Rust code of its own that set another logger.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_set_log(
    callback: unitwait_log_callback,
    data: *mut c_void,
    level: c_int,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    use log::LevelFilter;
    use unitwait_log_level::*;
    const LEVELS: [Numbered<LevelFilter>; 6] = [
        (UNITWAIT_LOG_OFF as c_int, LevelFilter::Off),
        (UNITWAIT_LOG_ERROR as c_int, LevelFilter::Error),
        (UNITWAIT_LOG_WARN as c_int, LevelFilter::Warn),
        (UNITWAIT_LOG_INFO as c_int, LevelFilter::Info),
        (UNITWAIT_LOG_DEBUG as c_int, LevelFilter::Debug),
        (UNITWAIT_LOG_TRACE as c_int, LevelFilter::Trace),
    ];
    static LOGGER: ToC = ToC;
    static INSTALLED: Once = Once::new();
    answer(error, || {
        let level = one_of(level, &LEVELS, "log level")?;
        // A logger of this one's own that is there already is no other's: it is asked below whose it is.
        INSTALLED.call_once(|| drop(log::set_logger(&LOGGER)));
        if !ptr::addr_eq(ptr::from_ref(log::logger()), &raw const LOGGER) {
            let message = "the program has another logger already (set the library's lines up there)";
            return Err(Failure::new(unitwait_code::UNITWAIT_UNSUPPORTED, message));
        }
        let data = data.expose_provenance();
        LISTENER.with(|listener| {
            *listener = callback.map(|callback| Listener { callback, data });
            log::set_max_level(if callback.is_some() { level } else { LevelFilter::Off });
        });
        Ok(())
    })
}
