//! The manager for C: opening it, and what it knows of itself.

use std::ffi::{CString, c_char, c_int};
use std::ptr;
use std::sync::OnceLock;

use super::error::{Failure, answer, quiet, unitwait_code, unitwait_error};
use super::handle::{Handle, Shared, find, give, known};
use super::list::{List, unitwait_list};
use super::pass::{Numbered, Out, Text, c_text, deadline, microseconds, one_of};
use crate::driver::Inside;
use crate::manager::{Builder, Manager};

/// The number of this header's ABI, for unitwait_open() and unitwait_builder_new(): a library of another answers
/// UNITWAIT_ABI_MISMATCH, whatever else has changed.
pub const UNITWAIT_ABI: u32 = 1;

/// A connection to a systemd, with a dbus thread of its own. Owned by the caller.
///
/// Any number of threads may call over it at once, and no caller waits for another. The thread ends when it and all
/// handles that came of it are freed. The child of a fork has to open its own.
pub struct unitwait_manager {
    _private: [u8; 0],
}

impl Handle for unitwait_manager {
    type Object = Opened;
    const WHAT: &'static str = "manager";
}

/// What is behind a manager's handle.
pub(super) struct Opened {
    pub manager: Manager,
    /// Once it is known: what was given out must stay where it is.
    version: OnceLock<CString>,
    address: CString,
    mode: CString,
}

/// How a manager is to be opened. Owned by the caller.
pub struct unitwait_builder {
    _private: [u8; 0],
}

impl Handle for unitwait_builder {
    type Object = Shared<Result<Builder, Failure>>;
    const WHAT: &'static str = "builder";
}

/// Which manager, and by which way.
#[derive(Clone, Copy)]
#[repr(C)]
pub enum unitwait_bus {
    /// The system manager over the system bus.
    UNITWAIT_SYSTEM_BUS = 0,
    /// The calling user's own manager over the user's bus.
    UNITWAIT_USER_BUS = 1,
    /// The system manager over its own socket, with no bus between; root only.
    UNITWAIT_PRIVATE_SOCKET = 2,
}

type Choose = fn(Builder) -> Builder;

fn builder(abi: u32, bus: c_int) -> Result<Builder, Failure> {
    use unitwait_bus::*;
    const BUSES: [Numbered<Choose>; 3] = [
        (UNITWAIT_SYSTEM_BUS as c_int, Builder::system),
        (UNITWAIT_USER_BUS as c_int, Builder::user),
        (UNITWAIT_PRIVATE_SOCKET as c_int, Builder::private),
    ];
    if abi != UNITWAIT_ABI {
        let message = format!(
            "this library has ABI {UNITWAIT_ABI}, and the program was built with a unitwait.h of ABI {abi} \
             (build it anew with this library's header)"
        );
        return Err(Failure::new(unitwait_code::UNITWAIT_ABI_MISMATCH, &message));
    }
    Ok(one_of(bus, &BUSES, "bus")?(Manager::builder()))
}

/// Answers a call that opens what a builder describes.
fn open(
    to: Out<*mut unitwait_manager>,
    timeout_ms: i64,
    error: Out<*mut unitwait_error>,
    builder: impl FnOnce() -> Result<Builder, Failure>,
) -> unitwait_code {
    to.put(ptr::null_mut());
    answer(error, || {
        let builder = builder()?;
        to.needed("manager")?;
        let manager = builder.open(deadline(timeout_ms)?)?;
        let (address, mode) = (c_text(manager.address()), c_text(manager.layout().mode().as_str()));
        to.put(give(Opened { manager, version: OnceLock::new(), address, mode }));
        Ok(())
    })
}

/// The library's version ("0.1.0"), never NULL; it lives as long as the program. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// The library's ABI, to be compared with the header's UNITWAIT_ABI before anything else. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_abi() -> u32 {
    UNITWAIT_ABI
}

/// Opens a manager of enum unitwait_bus with every option at its default; the first argument is UNITWAIT_ABI. Blocks
/// until systemd has answered, or for the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_open(
    abi: u32,
    bus: c_int,
    timeout_ms: i64,
    manager: Out<*mut unitwait_manager>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    open(manager, timeout_ms, error, || builder(abi, bus))
}

/// How to open a manager of enum unitwait_bus, to be changed by the functions below; the first argument is UNITWAIT_ABI.
/// Never NULL: what is refused is refused by unitwait_builder_open(). The caller's to free. Does not block, as none of
/// the functions does that change it.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_builder_new(abi: u32, bus: c_int) -> *mut unitwait_builder {
    quiet(ptr::null_mut(), || Some(give(Shared::new(builder(abi, bus)))))
}

fn change(
    of: *mut unitwait_builder,
    setter: impl FnOnce(Builder) -> Result<Builder, Failure>,
) -> unitwait_code {
    answer(Out::nowhere(), || {
        find(of)?.with(|builder| {
            *builder = builder.clone().and_then(setter);
            builder.as_ref().map(drop).map_err(Clone::clone)
        })
    })
}

/// The manager at a D-Bus address ("unix:path=/run/dbus/system_bus_socket") in place of the one named before.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_builder_address(builder: *mut unitwait_builder, address: Text) -> unitwait_code {
    change(builder, |builder| Ok(builder.at(address.get("address")?)))
}

/// Whether systemd itself is at the address, and no bus between.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_builder_direct(builder: *mut unitwait_builder, direct: bool) -> unitwait_code {
    change(builder, |builder| Ok(builder.direct(direct)))
}

/// What a timeout of -1 means, in milliseconds, from 0; 30000 where nothing is said.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_builder_default_timeout(
    builder: *mut unitwait_builder,
    milliseconds: u64,
) -> unitwait_code {
    change(builder, |builder| Ok(builder.default_timeout(std::time::Duration::from_millis(milliseconds))))
}

/// How many calls may be in flight at once; others wait in line.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_builder_window(builder: *mut unitwait_builder, calls: usize) -> unitwait_code {
    change(builder, |builder| Ok(builder.window(calls)))
}

/// The name of the dbus thread, of which Linux shows the first 15 bytes.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_builder_thread_name(builder: *mut unitwait_builder, name: Text) -> unitwait_code {
    change(builder, |builder| Ok(builder.thread_name(name.get("thread name")?)))
}

/// Whether unitwait_builder_open() does not wait for systemd, and leaves it to the first request to find out whether one
/// answers: that request then takes a round trip less. For a program that makes one, and ends or becomes another. A scope
/// whose slice is spread over as many as suit waits for systemd's first word when it is submitted.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_builder_lazy(builder: *mut unitwait_builder, lazy: bool) -> unitwait_code {
    change(builder, |builder| Ok(builder.lazy(lazy)))
}

/// Opens the manager. Blocks until systemd has answered, or for the timeout; not at all where it is lazy. The builder stays
/// the caller's.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_builder_open(
    builder: *const unitwait_builder,
    timeout_ms: i64,
    manager: Out<*mut unitwait_manager>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    open(manager, timeout_ms, error, || find(builder)?.with(|builder| builder.clone()))
}

/// systemd's version, as it called itself when the manager was opened; NULL where it is no manager's handle. The manager's
/// own; does not block. Of a lazy one it is empty until systemd has answered, and for good where nobody did by the timeout
/// of unitwait_builder_open().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_manager_version(manager: *const unitwait_manager) -> *const c_char {
    quiet(ptr::null(), || {
        let Opened { manager, version, .. } = &*known(manager)?;
        let told = manager.version();
        // The child of a fork would wait for ever for a thread that it does not have.
        let _inside = Inside::enter();
        Some(if told.is_empty() { c"".as_ptr() } else { version.get_or_init(|| c_text(told)).as_ptr() })
    })
}

/// The D-Bus address in use. As unitwait_manager_version().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_manager_address(manager: *const unitwait_manager) -> *const c_char {
    quiet(ptr::null(), || Some(known(manager)?.address.as_ptr()))
}

/// How this machine's control groups are laid out: "unified", "hybrid" or "legacy". As unitwait_manager_version().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_manager_cgroup_mode(manager: *const unitwait_manager) -> *const c_char {
    quiet(ptr::null(), || Some(known(manager)?.mode.as_ptr()))
}

/// The controllers in which systemd can set limits here, a row with UNITWAIT_FIELD_CONTROLLER for each; NULL where it
/// is no manager's handle. The caller's to free; does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_manager_controllers(manager: *const unitwait_manager) -> *mut unitwait_list {
    quiet(ptr::null_mut(), || {
        Some(give(List::of_controllers(&known(manager)?.manager.layout().controllers())))
    })
}

/// What a manager's driver has done so far.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct unitwait_stats {
    /// Requests that wait in line for room among the calls in flight.
    pub queued: u64,
    /// Calls that systemd has not answered yet.
    pub in_flight: u64,
    /// How many calls may be in flight.
    pub window: u64,
    /// Requests that are under way.
    pub requests: u64,
    /// Requests that were answered, of which something is still to be settled.
    pub settling: u64,
    /// Requests that went well.
    pub succeeded: u64,
    /// Requests that their deadlines overtook.
    pub timed_out: u64,
    /// Requests that failed otherwise.
    pub failed: u64,
    /// Results that came after their callers had gone.
    pub late: u64,
    /// Messages that were of no request, or from a stranger.
    pub foreign: u64,
    /// Connections made.
    pub connections: u64,
    /// The longest that a request took, in microseconds.
    pub longest_us: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// What the sent messages had in bytes.
    pub bytes_sent: u64,
    /// What the received messages had in bytes.
    pub bytes_received: u64,
}

/// Reads the driver's counters. Blocks for two seconds at the most.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_manager_stats(
    manager: *const unitwait_manager,
    stats: Out<unitwait_stats>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    stats.put(unitwait_stats::default());
    answer(error, || {
        stats.needed("stats")?;
        let read = find(manager)?.manager.stats()?;
        stats.put(unitwait_stats {
            queued: number(read.queued),
            in_flight: number(read.in_flight),
            window: number(read.window),
            requests: number(read.requests),
            settling: number(read.settling),
            succeeded: read.succeeded,
            timed_out: read.timed_out,
            failed: read.failed,
            late: read.late,
            foreign: read.foreign,
            connections: read.connections,
            longest_us: microseconds(read.longest),
            messages_sent: read.messages_sent,
            messages_received: read.messages_received,
            bytes_sent: read.bytes_sent,
            bytes_received: read.bytes_received,
        });
        Ok(())
    })
}
