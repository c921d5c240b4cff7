//! The properties of systemd.resource-control(5) for C, which scopes, slices and updates share.

use std::ffi::c_int;

use super::error::unitwait_code;
use super::pass::{Many, Numbered, Text, one_of, time};
use super::request::{apply, unitwait_request};
use crate::unit::DevicePolicy;

/// Applies a setter that all three have.
macro_rules! resource {
    ($request:expr, $of:ident => $changed:expr) => {
        apply!($request, [Scope, Slice, Update] "scopes, slices and updates", $of => $changed)
    };
}

/// The most memory it may use, in bytes, from 1 (MemoryMax=). UINT64_MAX is no limit, as for all limits here.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_memory_max(request: *mut unitwait_request, bytes: u64) -> unitwait_code {
    resource!(request, of => of.memory_max(bytes))
}

/// Memory, in bytes, from 1, beyond which it is slowed (MemoryHigh=; cgroup v2 only).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_memory_high(request: *mut unitwait_request, bytes: u64) -> unitwait_code {
    resource!(request, of => of.memory_high(bytes))
}

/// Memory, in bytes, that is not reclaimed while others have some to spare (MemoryLow=; cgroup v2 only).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_memory_low(request: *mut unitwait_request, bytes: u64) -> unitwait_code {
    resource!(request, of => of.memory_low(bytes))
}

/// Memory, in bytes, that is never reclaimed (MemoryMin=; cgroup v2 only).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_memory_min(request: *mut unitwait_request, bytes: u64) -> unitwait_code {
    resource!(request, of => of.memory_min(bytes))
}

/// The most swap it may use, in bytes; 0 is none (MemorySwapMax=; cgroup v2 only).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_memory_swap_max(
    request: *mut unitwait_request,
    bytes: u64,
) -> unitwait_code {
    resource!(request, of => of.memory_swap_max(bytes))
}

/// The most compressed swap it may use, in bytes (MemoryZSwapMax=; systemd 253, cgroup v2 only).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_memory_zswap_max(
    request: *mut unitwait_request,
    bytes: u64,
) -> unitwait_code {
    resource!(request, of => of.memory_zswap_max(bytes))
}

/// The most tasks, threads included, that it may have (TasksMax=).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_tasks_max(request: *mut unitwait_request, tasks: u64) -> unitwait_code {
    resource!(request, of => of.tasks_max(tasks))
}

/// Its share of CPU time beside its siblings, 1 to 10000; 100 is the kernel's default (CPUWeight=).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_cpu_weight(request: *mut unitwait_request, weight: u64) -> unitwait_code {
    resource!(request, of => of.cpu_weight(weight))
}

/// It gets CPU time only where nothing else wants it (CPUWeight=idle; systemd 252).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_cpu_idle(request: *mut unitwait_request) -> unitwait_code {
    resource!(request, of => of.cpu_idle())
}

/// CPU time that it may use in each second, in microseconds: 500000 is half a CPU (CPUQuotaPerSecUSec=).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_cpu_quota(
    request: *mut unitwait_request,
    microseconds: u64,
) -> unitwait_code {
    resource!(request, of => of.cpu_quota(time(microseconds)))
}

/// Over how long the quota is counted, in microseconds, 1000 to 1000000 (CPUQuotaPeriodUSec=).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_cpu_quota_period(
    request: *mut unitwait_request,
    microseconds: u64,
) -> unitwait_code {
    resource!(request, of => of.cpu_quota_period(time(microseconds)))
}

/// Its share of disk time beside its siblings, 1 to 10000; 100 is the kernel's default (IOWeight=).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_io_weight(request: *mut unitwait_request, weight: u64) -> unitwait_code {
    resource!(request, of => of.io_weight(weight))
}

/// The CPUs that it may run on, by number (AllowedCPUs=).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_allowed_cpus(
    request: *mut unitwait_request,
    cpus: Many<u16>,
    length: usize,
) -> unitwait_code {
    resource!(request, of => of.allowed_cpus(cpus.get(length, "cpus")?.iter().copied()))
}

/// The memory nodes that it may use, by number (AllowedMemoryNodes=).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_allowed_memory_nodes(
    request: *mut unitwait_request,
    nodes: Many<u16>,
    length: usize,
) -> unitwait_code {
    resource!(request, of => of.allowed_memory_nodes(nodes.get(length, "nodes")?.iter().copied()))
}

/// Its share of one disk's time, 1 to 10000 (IODeviceWeight=). The disk is a path below /dev, or of a file on it.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_io_device_weight(
    request: *mut unitwait_request,
    device: Text,
    weight: u64,
) -> unitwait_code {
    resource!(request, of => of.io_device_weight(device.get("device")?, weight))
}

/// The most bytes that it may read from a disk in a second (IOReadBandwidthMax=). The disk is a path below /dev, or of a file on it.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_io_read_bandwidth_max(
    request: *mut unitwait_request,
    device: Text,
    bytes_per_second: u64,
) -> unitwait_code {
    resource!(request, of => of.io_read_bandwidth_max(device.get("device")?, bytes_per_second))
}

/// The most bytes that it may write to a disk in a second (IOWriteBandwidthMax=). The disk is a path below /dev, or of a file on it.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_io_write_bandwidth_max(
    request: *mut unitwait_request,
    device: Text,
    bytes_per_second: u64,
) -> unitwait_code {
    resource!(request, of => of.io_write_bandwidth_max(device.get("device")?, bytes_per_second))
}

/// The most reads from a disk in a second (IOReadIOPSMax=). The disk is a path below /dev, or of a file on it.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_io_read_iops_max(
    request: *mut unitwait_request,
    device: Text,
    per_second: u64,
) -> unitwait_code {
    resource!(request, of => of.io_read_iops_max(device.get("device")?, per_second))
}

/// The most writes to a disk in a second (IOWriteIOPSMax=). The disk is a path below /dev, or of a file on it.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_io_write_iops_max(
    request: *mut unitwait_request,
    device: Text,
    per_second: u64,
) -> unitwait_code {
    resource!(request, of => of.io_write_iops_max(device.get("device")?, per_second))
}

/// The latency of a disk that it is to have at the most, in microseconds (IODeviceLatencyTargetUSec=; cgroup v2 only). The disk is a path below /dev, or of a file on it.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_io_device_latency_target(
    request: *mut unitwait_request,
    device: Text,
    microseconds: u64,
) -> unitwait_code {
    resource!(request, of => of.io_device_latency_target(device.get("device")?, time(microseconds)))
}

/// Which devices a unit's processes may use, before its list of allowed ones is looked at.
#[derive(Clone, Copy)]
#[repr(C)]
pub enum unitwait_device_policy {
    /// All of them; where some are allowed by name, those and the pseudo devices.
    UNITWAIT_DEVICES_AUTO = 0,
    /// The pseudo devices (/dev/null, /dev/zero, …), and those allowed.
    UNITWAIT_DEVICES_CLOSED = 1,
    /// Those allowed, and no other.
    UNITWAIT_DEVICES_STRICT = 2,
}

/// Which devices it may use (DevicePolicy=), of enum unitwait_device_policy.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_device_policy(
    request: *mut unitwait_request,
    policy: c_int,
) -> unitwait_code {
    use unitwait_device_policy::*;
    const POLICIES: [Numbered<DevicePolicy>; 3] = [
        (UNITWAIT_DEVICES_AUTO as c_int, DevicePolicy::Auto),
        (UNITWAIT_DEVICES_CLOSED as c_int, DevicePolicy::Closed),
        (UNITWAIT_DEVICES_STRICT as c_int, DevicePolicy::Strict),
    ];
    resource!(request, of => of.device_policy(one_of(policy, &POLICIES, "device policy")?))
}

/// A device that it may use, by its path or class ("/dev/null", "char-pts"), and how: "r", "w" and "m" (DeviceAllow=).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_device_allow(
    request: *mut unitwait_request,
    device: Text,
    access: Text,
) -> unitwait_code {
    resource!(request, of => of.device_allow(device.get("device")?, access.get("access")?))
}
