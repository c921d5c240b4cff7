//! What C asks for: a scope, a slice, a job or an update, drawn up by setters and checked when it is used.

use std::ffi::c_int;
use std::ptr;

use super::error::{Failure, answer, quiet, unitwait_code, unitwait_error};
use super::handle::{Handle, Shared, find, give};
use super::pass::{Many, Numbered, Out, Text, one_of, texts, time};
use super::value::unitwait_value;
use crate::job::JobMode;
use crate::manager::UnitJob;
use crate::unit::{OnExists, Property, Scope, Slice, Spread, Update, Value, check_pid};

/// What is to be asked for. Owned by the caller; it may be used any number of times.
///
/// What a setter refuses is remembered: the request is refused by whatever uses it, with the first refusal, before
/// anything is sent. So a program may look at the result of each setter, or only at that of the call.
pub struct unitwait_request {
    _private: [u8; 0],
}

impl Handle for unitwait_request {
    type Object = Shared<Draft>;
    const WHAT: &'static str = "request";
}

/// What is behind a request's handle.
pub(super) struct Draft {
    asks: Result<Asks, Failure>,
}

#[derive(Clone)]
pub(super) enum Asks {
    Scope(Scope),
    Slice(Slice),
    Update(Update),
    Job(UnitJob),
}

impl Asks {
    fn kind(&self) -> &'static str {
        match self {
            Asks::Scope(_) => "a scope",
            Asks::Slice(_) => "a slice",
            Asks::Update(_) => "an update",
            Asks::Job(_) => "a job",
        }
    }

    /// What was said last: it is refused by the setter that says it.
    fn last_is_sound(&self) -> Result<(), Failure> {
        let properties = match self {
            Asks::Scope(scope) => {
                scope.pids.last().map_or(Ok(()), |pid| check_pid(*pid))?;
                &scope.properties[..]
            }
            Asks::Slice(slice) => &slice.properties[..],
            Asks::Update(update) => &update.properties[..],
            Asks::Job(_) => return Ok(()),
        };
        Ok(properties.last().map_or(Ok(()), Property::check)?)
    }

    pub fn wrong(&self, needed: &str) -> Failure {
        Failure::invalid("request", self.kind(), &format!("this is for {needed}"))
    }
}

/// What the request asks for, if no setter has refused anything.
pub(super) fn asks(request: *const unitwait_request) -> Result<Asks, Failure> {
    find(request)?.with(|draft| draft.asks.clone())
}

pub(super) fn scope(request: *const unitwait_request) -> Result<Scope, Failure> {
    match asks(request)? {
        Asks::Scope(scope) => Ok(scope),
        other => Err(other.wrong("scopes")),
    }
}

pub(super) fn update(request: *const unitwait_request) -> Result<Update, Failure> {
    match asks(request)? {
        Asks::Update(update) => Ok(update),
        other => Err(other.wrong("updates")),
    }
}

fn new(asks: impl FnOnce() -> Result<Asks, Failure>) -> *mut unitwait_request {
    quiet(ptr::null_mut(), || Some(give(Shared::new(Draft { asks: asks() }))))
}

/// Changes a request; what is refused stays with it.
pub(super) fn change(
    request: *mut unitwait_request,
    setter: impl FnOnce(Asks) -> Result<Asks, Failure>,
) -> unitwait_code {
    answer(Out::nowhere(), || {
        find(request)?.with(|draft| {
            let taken =
                Err(Failure::new(unitwait_code::UNITWAIT_INTERNAL, "a setter of this request panicked"));
            let asks = std::mem::replace(&mut draft.asks, taken);
            draft.asks = asks.and_then(setter).and_then(|asks| asks.last_is_sound().map(|()| asks));
            draft.asks.as_ref().map(drop).map_err(Clone::clone)
        })
    })
}

/// Applies a setter of Rust's builders to the request, if it is of one of these kinds.
macro_rules! apply {
    ($request:expr, [$($kind:ident),+] $needed:literal, $of:ident => $changed:expr) => {
        $crate::capi::request::change($request, |asks| Ok(match asks {
            $($crate::capi::request::Asks::$kind($of) => $crate::capi::request::Asks::$kind($changed),)+
            other => return Err(other.wrong($needed)),
        }))
    };
}
pub(super) use apply;

/// A scope of this name (`job.scope`). Never NULL: a name that is none is refused when the request is used. The
/// caller's to free. Does not block, as none of the functions does that make and change requests.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_scope_new(name: Text) -> *mut unitwait_request {
    new(|| Ok(Asks::Scope(Scope::new(name.get("unit name")?))))
}

/// A slice of this name (`jobs.slice`; `a-b.slice` is a child of `a.slice`). Otherwise as unitwait_scope_new().
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_slice_new(name: Text) -> *mut unitwait_request {
    new(|| Ok(Asks::Slice(Slice::new(name.get("unit name")?))))
}

/// A change to a unit that is there. Never NULL; the caller's to free.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_update_new() -> *mut unitwait_request {
    new(|| Ok(Asks::Update(Update::new())))
}

/// What a job does.
#[derive(Clone, Copy)]
#[repr(C)]
pub enum unitwait_verb {
    /// Start the unit.
    UNITWAIT_START = 0,
    /// Stop the unit, and wait until its processes are gone.
    UNITWAIT_STOP = 1,
    /// Stop the unit if it runs, then start it.
    UNITWAIT_RESTART = 2,
}

/// What to do about jobs that a unit has already (org.freedesktop.systemd1(5), StartUnit()).
#[derive(Clone, Copy)]
#[repr(C)]
pub enum unitwait_job_mode {
    /// Replace a conflicting one.
    UNITWAIT_MODE_REPLACE = 0,
    /// Fail where there is one.
    UNITWAIT_MODE_FAIL = 1,
    /// Replace it, and let none replace this one.
    UNITWAIT_MODE_REPLACE_IRREVERSIBLY = 2,
    /// Look at no dependencies.
    UNITWAIT_MODE_IGNORE_DEPENDENCIES = 3,
    /// Look at no requirements.
    UNITWAIT_MODE_IGNORE_REQUIREMENTS = 4,
}

/// A job for a unit, by its name: a verb of enum unitwait_verb in a mode of enum unitwait_job_mode. Never NULL; the
/// caller's to free.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_job_new(verb: c_int, unit: Text, mode: c_int) -> *mut unitwait_request {
    use unitwait_job_mode::*;
    use unitwait_verb::*;
    const MODES: [Numbered<JobMode>; 5] = [
        (UNITWAIT_MODE_REPLACE as c_int, JobMode::Replace),
        (UNITWAIT_MODE_FAIL as c_int, JobMode::Fail),
        (UNITWAIT_MODE_REPLACE_IRREVERSIBLY as c_int, JobMode::ReplaceIrreversibly),
        (UNITWAIT_MODE_IGNORE_DEPENDENCIES as c_int, JobMode::IgnoreDependencies),
        (UNITWAIT_MODE_IGNORE_REQUIREMENTS as c_int, JobMode::IgnoreRequirements),
    ];
    type Make = fn(&str) -> UnitJob;
    const VERBS: [Numbered<Make>; 3] = [
        (UNITWAIT_START as c_int, |unit| UnitJob::start(unit)),
        (UNITWAIT_STOP as c_int, |unit| UnitJob::stop(unit)),
        (UNITWAIT_RESTART as c_int, |unit| UnitJob::restart(unit)),
    ];
    new(|| {
        let make = one_of(verb, &VERBS, "verb")?;
        Ok(Asks::Job(make(unit.get("unit name")?).mode(one_of(mode, &MODES, "job mode")?)))
    })
}

/// Looks at a request without sending anything: UNITWAIT_OK, or why it would be refused. Whether the processes of a
/// scope are there is looked at when it is used.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_check(
    request: *const unitwait_request,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    answer(error, || {
        match asks(request)? {
            Asks::Scope(scope) => scope.check()?,
            Asks::Slice(slice) => slice.check()?,
            Asks::Update(update) => update.check()?,
            Asks::Job(job) => job.check()?,
        }
        Ok(())
    })
}

/// Scopes: a process to be placed in it. May be said several times.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_pid(request: *mut unitwait_request, pid: i64) -> unitwait_code {
    apply!(request, [Scope] "scopes", of => of.pid(pid))
}

/// Scopes: the calling process itself is to be placed in it.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_own_process(request: *mut unitwait_request) -> unitwait_code {
    apply!(request, [Scope] "scopes", of => of.own_process())
}

/// Scopes: the slice that it belongs to (Slice=).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_slice(request: *mut unitwait_request, slice: Text) -> unitwait_code {
    apply!(request, [Scope] "scopes", of => of.slice(slice.get("slice")?))
}

/// Scopes: spreads the scopes of its slice over so many child slices of it, 1 to 10000, or, where it is 0, over as many as
/// suit what is there: a create does not get dearer then, however many scopes there are. A scope goes to the child that
/// its name says; more than 128 of them are in groups of 32, child slices too.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_spread(request: *mut unitwait_request, over: u32) -> unitwait_code {
    apply!(request, [Scope] "scopes", of => of.spread(if over == 0 { Spread::Auto } else { over.into() }))
}

/// Scopes: whether its control group is handed over to its processes, with every controller (Delegate=).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_delegate(request: *mut unitwait_request, on: bool) -> unitwait_code {
    apply!(request, [Scope] "scopes", of => of.delegate(on))
}

/// Scopes: hands its control group over with these controllers ("memory", "pids", …; DelegateControllers=).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_delegate_controllers(
    request: *mut unitwait_request,
    controllers: Many<Text>,
    length: usize,
) -> unitwait_code {
    apply!(request, [Scope] "scopes", of => {
        of.delegate_controllers(texts(controllers, length, "controllers")?)
    })
}

/// Scopes: when systemd forgets the unit: "inactive" or "inactive-or-failed" (CollectMode=).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_collect_mode(request: *mut unitwait_request, mode: Text) -> unitwait_code {
    apply!(request, [Scope] "scopes", of => of.collect_mode(mode.get("collect mode")?))
}

/// Scopes: how long a stop waits after SIGTERM before it kills, in microseconds (TimeoutStopUSec=).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_timeout_stop(
    request: *mut unitwait_request,
    microseconds: u64,
) -> unitwait_code {
    apply!(request, [Scope] "scopes", of => of.timeout_stop(time(microseconds)))
}

/// Scopes: which processes a stop kills: "control-group", "mixed", "process" or "none" (KillMode=, systemd.kill(5)).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_kill_mode(request: *mut unitwait_request, mode: Text) -> unitwait_code {
    apply!(request, [Scope] "scopes", of => of.kill_mode(mode.get("kill mode")?))
}

/// Scopes and slices: what it is, for people (Description=).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_description(request: *mut unitwait_request, text: Text) -> unitwait_code {
    apply!(request, [Scope, Slice] "scopes and slices", of => of.description(text.get("description")?))
}

/// Scopes and slices: whether it is ordered and stopped with the system by itself (DefaultDependencies=). Without, a
/// create is quicker.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_default_dependencies(
    request: *mut unitwait_request,
    on: bool,
) -> unitwait_code {
    apply!(request, [Scope, Slice] "scopes and slices", of => of.default_dependencies(on))
}

/// How one unit depends on another (systemd.unit(5)).
#[derive(Clone, Copy)]
#[repr(C)]
pub enum unitwait_dependency {
    /// It starts after the other (After=).
    UNITWAIT_AFTER = 0,
    /// It starts before the other (Before=).
    UNITWAIT_BEFORE = 1,
    /// It needs the other (Requires=).
    UNITWAIT_REQUIRES = 2,
    /// It would like the other to be there (Wants=).
    UNITWAIT_WANTS = 3,
    /// It ends with the other (BindsTo=).
    UNITWAIT_BINDS_TO = 4,
    /// It is stopped and restarted with the other (PartOf=).
    UNITWAIT_PART_OF = 5,
}

/// Scopes and slices: a dependency, of enum unitwait_dependency, on another unit. May be said several times.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_dependency(
    request: *mut unitwait_request,
    dependency: c_int,
    unit: Text,
) -> unitwait_code {
    use unitwait_dependency::*;
    const PROPERTIES: [Numbered<&str>; 6] = [
        (UNITWAIT_AFTER as c_int, "After"),
        (UNITWAIT_BEFORE as c_int, "Before"),
        (UNITWAIT_REQUIRES as c_int, "Requires"),
        (UNITWAIT_WANTS as c_int, "Wants"),
        (UNITWAIT_BINDS_TO as c_int, "BindsTo"),
        (UNITWAIT_PART_OF as c_int, "PartOf"),
    ];
    apply!(request, [Scope, Slice] "scopes and slices", of => {
        let units = Value::strings([unit.get("unit name")?]);
        of.property(Property::new(one_of(dependency, &PROPERTIES, "dependency")?, units))
    })
}

/// What to do where a unit of the asked name exists already.
#[derive(Clone, Copy)]
#[repr(C)]
pub enum unitwait_on_exists {
    /// UNITWAIT_UNIT_EXISTS at once; a failed leftover is reset and the request tried once more. The default.
    UNITWAIT_EXISTS_FAIL = 0,
    /// Scopes: the processes join the running unit, which must be delegated unless they are in it already.
    UNITWAIT_EXISTS_JOIN = 1,
    /// What is there is stopped and the unit made anew, inside of the one deadline.
    UNITWAIT_EXISTS_REPLACE = 2,
    /// Slices: take what is there.
    UNITWAIT_EXISTS_ACCEPT = 3,
}

/// Scopes and slices: what to do where the unit exists, of enum unitwait_on_exists.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_on_exists(request: *mut unitwait_request, policy: c_int) -> unitwait_code {
    use unitwait_on_exists::*;
    const POLICIES: [Numbered<OnExists>; 4] = [
        (UNITWAIT_EXISTS_FAIL as c_int, OnExists::Fail),
        (UNITWAIT_EXISTS_JOIN as c_int, OnExists::Join),
        (UNITWAIT_EXISTS_REPLACE as c_int, OnExists::Replace),
        (UNITWAIT_EXISTS_ACCEPT as c_int, OnExists::Accept),
    ];
    apply!(request, [Scope, Slice] "scopes and slices", of => of.on_exists(one_of(policy, &POLICIES, "policy")?))
}

/// Whether the kernel is looked at before the call succeeds: processes in their place, limits in force. On where
/// nothing is said.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_verify(request: *mut unitwait_request, on: bool) -> unitwait_code {
    apply!(request, [Scope, Slice, Update] "scopes, slices and updates", of => of.verify(on))
}

/// Whether a limit that the kernel does not hold is an error, UNITWAIT_LIMIT, and a unit created for it stopped again.
/// Off where nothing is said: unitwait_active_limit_gaps() tells of them then.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_require_limits(request: *mut unitwait_request, on: bool) -> unitwait_code {
    apply!(request, [Scope, Slice, Update] "scopes, slices and updates", of => of.require_limits(on))
}

/// Updates: takes everything out of a list of the unit's ("DeviceAllow", "IOReadBandwidthMax", …) before what this
/// update puts into it.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_clear(request: *mut unitwait_request, list: Text) -> unitwait_code {
    apply!(request, [Update] "updates", of => of.clear(list.get("property")?))
}

/// Updates: whether the change outlives a reboot. Off where nothing is said.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_persistent(request: *mut unitwait_request, on: bool) -> unitwait_code {
    apply!(request, [Update] "updates", of => of.persistent(on))
}

/// Scopes, slices and updates: any property by its name on D-Bus (org.freedesktop.systemd1(5)). The value is copied.
/// One that is optional is left out where systemd does not know it: unitwait_active_left_out() tells of it.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_property(
    request: *mut unitwait_request,
    name: Text,
    value: *const unitwait_value,
    optional: bool,
) -> unitwait_code {
    set(request, || {
        let property = Property::new(name.get("property")?, find(value)?.value());
        Ok(if optional { property.optional() } else { property })
    })
}

/// As unitwait_request_property(), for a number of 64 bits without a sign.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_property_u64(
    request: *mut unitwait_request,
    name: Text,
    value: u64,
) -> unitwait_code {
    set(request, || Ok(Property::new(name.get("property")?, value)))
}

/// As unitwait_request_property(), for a boolean.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_property_bool(
    request: *mut unitwait_request,
    name: Text,
    value: bool,
) -> unitwait_code {
    set(request, || Ok(Property::new(name.get("property")?, value)))
}

/// As unitwait_request_property(), for a string.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_property_string(
    request: *mut unitwait_request,
    name: Text,
    value: Text,
) -> unitwait_code {
    set(request, || Ok(Property::new(name.get("property")?, value.get("value")?)))
}

/// As unitwait_request_property(), for a list of strings.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_request_property_strings(
    request: *mut unitwait_request,
    name: Text,
    values: Many<Text>,
    length: usize,
) -> unitwait_code {
    set(request, || {
        let values = Value::strings(texts(values, length, "values")?);
        Ok(Property::new(name.get("property")?, values))
    })
}

fn set(
    request: *mut unitwait_request,
    property: impl FnOnce() -> Result<Property, Failure>,
) -> unitwait_code {
    apply!(request, [Scope, Slice, Update] "scopes, slices and updates", of => of.property(property()?))
}
