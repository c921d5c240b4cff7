//! The scripted manager: it owns `org.freedesktop.systemd1` on a private bus, or listens itself, and does what the
//! test tells it. The test is the script: calls arrive as values, and the test answers them, or not.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, select, unbounded};
use dbus::arg::{ArgType, RefArg, Variant};
use dbus::{Message, MessageType};

use crate::bus::Bus;
use crate::wire::Wire;

pub const NAME: &str = "org.freedesktop.systemd1";
pub const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
pub const MANAGER: &str = "org.freedesktop.systemd1.Manager";
pub const BUS: &str = "org.freedesktop.DBus";

/// How long a test waits for a message that must come before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A method call to the manager, to be answered or not.
pub struct Call {
    pub member: String,
    pub path: String,
    /// What came with it.
    pub descriptors: Vec<OwnedFd>,
    message: Message,
    shared: Arc<Shared>,
    wire: Arc<Wire>,
}

impl Call {
    /// The unit (or whatever the first text of the call is).
    pub fn unit(&self) -> String {
        self.message.get1::<&str>().unwrap_or_default().into()
    }

    /// The names of the properties of a new unit.
    pub fn properties(&self) -> Vec<String> {
        let mut arguments = self.message.iter_init();
        let mut names = Vec::new();
        while arguments.arg_type() != ArgType::Array && arguments.next() {}
        let mut list = arguments.recurse(ArgType::Array).expect("a new unit has properties");
        while let Some(mut property) = list.recurse(ArgType::Struct) {
            names.push(property.read::<&str>().expect("a name").to_string());
            list.next();
        }
        names
    }

    /// The job that a `CancelJob` is about.
    pub fn number(&self) -> u32 {
        self.message.get1().expect("the call has a number")
    }

    /// Who called, on a bus.
    pub fn caller(&self) -> String {
        self.message.sender().expect("a bus writes the sender").to_string()
    }

    pub fn serial(&self) -> u32 {
        self.message.get_serial().expect("a sent call has a serial")
    }

    pub fn answer(&self, with: impl FnOnce(Message) -> Message) {
        if !self.message.get_no_reply() {
            // A caller that is gone is none of the manager's concern.
            let _ = self.wire.send(with(self.message.method_return()));
        }
    }

    /// Answers with the path of a job.
    pub fn job(&self, job: u32) {
        self.answer(|reply| reply.append1(job_path(job)));
    }

    /// Answers with an error.
    pub fn error(&self, name: &str, text: &str) {
        let text = std::ffi::CString::new(text).expect("no NUL");
        let _ = self.wire.send(self.message.error(&name.into(), &text));
    }

    /// Answers a property read with a text.
    pub fn text(&self, text: &str) {
        self.answer(|reply| reply.append1(Variant(text)));
    }

    /// Answers a look at a job: it is there, and of this unit.
    pub fn is_job_of(&self, unit: &str, kind: &str) {
        let path = dbus::Path::from(format!("{MANAGER_PATH}/unit/{}", path_of(unit)));
        let unit: Box<dyn RefArg> = Box::new((unit.to_string(), path));
        let kind: Box<dyn RefArg> = Box::new(kind.to_string());
        let job = HashMap::from([("Unit", Variant(unit)), ("JobType", Variant(kind))]);
        self.answer(|reply| reply.append1(job));
    }

    /// Says that a job of the call's unit is over.
    pub fn ends(&self, job: u32, result: &str) {
        self.job_removed(job, &self.unit(), result);
    }

    pub fn job_removed(&self, job: u32, unit: &str, result: &str) {
        self.shared.send_all(|| job_removed(job, unit, result));
    }

    /// Does what is asked: makes the next job, and ends it.
    pub fn carry_out(&self) {
        let job = self.shared.next_job.fetch_add(1, Ordering::Relaxed);
        self.job(job);
        self.ends(job, "done");
    }
}

pub fn job_path(job: u32) -> dbus::Path<'static> {
    format!("{MANAGER_PATH}/job/{job}").into()
}

pub fn job_removed(job: u32, unit: &str, result: &str) -> Message {
    signal("JobRemoved").append3(job, job_path(job), unit).append1(result)
}

/// A call to the bus itself.
pub fn bus_method(name: &str) -> Message {
    Message::method_call(&BUS.into(), &"/org/freedesktop/DBus".into(), &BUS.into(), &name.into())
}

pub fn signal(member: &str) -> Message {
    Message::signal(&MANAGER_PATH.into(), &MANAGER.into(), &member.into())
}

struct Shared {
    wires: Mutex<Vec<Arc<Wire>>>,
    /// Whether property reads of units are answered without the test.
    reads: AtomicBool,
    /// Whether the manager's own properties are.
    opens: AtomicBool,
    /// Whether a new unit's processes may be named by pidfd.
    pidfds: AtomicBool,
    /// How often they were, and might not.
    refused: AtomicU32,
    states: Mutex<HashMap<String, String>>,
    next_job: AtomicU32,
    calls: Sender<Call>,
    replies: Sender<Message>,
}

impl Shared {
    fn wires(&self) -> MutexGuard<'_, Vec<Arc<Wire>>> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send_all(&self, message: impl Fn() -> Message) {
        for wire in self.wires().iter() {
            let _ = wire.send(message());
        }
    }

    fn read(self: &Arc<Self>, wire: &Arc<Wire>) {
        while let Ok((message, descriptors)) = wire.receive_all() {
            match message.msg_type() {
                MessageType::MethodCall => self.on_call(wire, message, descriptors),
                MessageType::MethodReturn | MessageType::Error => drop(self.replies.send(message)),
                MessageType::Signal => {}
            }
        }
        self.wires().retain(|known| !Arc::ptr_eq(known, wire));
    }

    fn on_call(self: &Arc<Self>, wire: &Arc<Wire>, message: Message, descriptors: Vec<OwnedFd>) {
        let text = |name: Option<&str>| name.unwrap_or_default().to_string();
        let member = text(message.member().as_deref());
        let path = text(message.path().as_deref());
        let (shared, wire) = (Arc::clone(self), Arc::clone(wire));
        let call = Call { member, path, descriptors, message, shared, wire };
        if !self.refuses_pidfds(&call) && !self.answers_itself(&call) {
            let _ = self.calls.send(call);
        }
    }

    /// As systemd 252 does, to which it is a property like any that it does not know.
    fn refuses_pidfds(&self, call: &Call) -> bool {
        let by_pidfd =
            call.member == "StartTransientUnit" && call.properties().iter().any(|name| name == "PIDFDs");
        let refuses = by_pidfd && !self.pidfds.load(Ordering::SeqCst);
        if refuses {
            self.refused.fetch_add(1, Ordering::SeqCst);
            let text = "Cannot set property PIDFDs, or unknown property.";
            call.error("org.freedesktop.DBus.Error.PropertyReadOnly", text);
        }
        refuses
    }

    /// What opening needs, and the state of units; whether a job is there is the test's to say.
    fn answers_itself(&self, call: &Call) -> bool {
        if call.member == "Ping" {
            // A nudge, to which nobody wants an answer.
            return true;
        }
        if call.member != "Get" || call.path.contains("/job/") {
            return false;
        }
        let itself = if call.path == MANAGER_PATH { &self.opens } else { &self.reads };
        if !itself.load(Ordering::SeqCst) {
            return false;
        }
        let property = call.message.get2::<&str, &str>().1.unwrap_or_default();
        match property {
            "Version" => call.text("252 (scripted)"),
            "ControlGroup" => call.text("/"),
            "InvocationID" => call.answer(|reply| reply.append1(Variant(vec![7u8; 16]))),
            _ => {
                let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
                let state = states.iter().find(|(unit, _)| call.path.ends_with(&path_of(unit)));
                call.text(state.map_or("active", |(_, state)| state));
            }
        }
        true
    }
}

/// A unit's name as the last part of an object path, for the plain names that tests use.
pub fn path_of(unit: &str) -> String {
    unit.replace('-', "_2d").replace('.', "_2e")
}

pub struct Script {
    calls: Receiver<Call>,
    replies: Receiver<Message>,
    shared: Arc<Shared>,
    unique_name: String,
}

impl Script {
    fn new() -> Script {
        let (calls, for_test) = unbounded();
        let (replies, for_bus_calls) = unbounded();
        let shared = Shared {
            wires: Mutex::default(),
            reads: AtomicBool::new(true),
            opens: AtomicBool::new(true),
            pidfds: AtomicBool::new(true),
            refused: AtomicU32::new(0),
            states: Mutex::default(),
            next_job: AtomicU32::new(1000),
            calls,
            replies,
        };
        Script {
            calls: for_test,
            replies: for_bus_calls,
            shared: Arc::new(shared),
            unique_name: String::new(),
        }
    }

    /// Takes the manager's name on a bus.
    pub fn on(bus: &Bus) -> Script {
        let script = Script::nameless(bus);
        script.take_name();
        script
    }

    /// One whose connection takes no descriptors.
    pub fn without_descriptors(bus: &Bus) -> Script {
        let script = Script::connected(bus, false);
        script.take_name();
        script
    }

    /// Connects to a bus as just anybody.
    pub fn nameless(bus: &Bus) -> Script {
        Script::connected(bus, true)
    }

    fn connected(bus: &Bus, descriptors: bool) -> Script {
        let mut script = Script::new();
        let stream = UnixStream::connect(bus.socket()).expect("the bus listens");
        let wire = Arc::new(Wire::client(stream, descriptors).expect("the bus lets the test in"));
        script.shared.wires().push(Arc::clone(&wire));
        let shared = Arc::clone(&script.shared);
        thread::spawn(move || shared.read(&wire));
        let hello = script.ask_bus("Hello", |call| call);
        script.unique_name = hello.get1::<&str>().expect("Hello answers with a name").into();
        script
    }

    /// Listens itself, as systemd does on its private socket.
    pub fn listen(at: &Path) -> Script {
        Script::listening(at, true)
    }

    /// The same for one whose connections take descriptors or not.
    pub fn listening(at: &Path, descriptors: bool) -> Script {
        let script = Script::new();
        let listener = UnixListener::bind(at).expect("a socket can be bound");
        let shared = Arc::clone(&script.shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let Ok(wire) = Wire::server_of(stream, descriptors) else { return };
                    let wire = Arc::new(wire);
                    shared.wires().push(Arc::clone(&wire));
                    shared.read(&wire);
                });
            }
        });
        script
    }

    pub fn unique_name(&self) -> &str {
        &self.unique_name
    }

    /// Calls the bus itself, and waits for its answer.
    fn ask_bus(&self, method: &str, with: impl FnOnce(Message) -> Message) -> Message {
        let serial = self.send(with(bus_method(method)));
        loop {
            let mut reply = self.replies.recv_timeout(PATIENCE).expect("the bus answers");
            if reply.get_reply_serial() == Some(serial) {
                reply.as_result().expect("the bus agrees");
                return reply;
            }
        }
    }

    /// Waits until the bus has taken all that was sent before.
    pub fn flush(&self) {
        self.ask_bus("GetId", |call| call);
    }

    /// Asks for the name, and stands in line for it where another has it.
    pub fn take_name(&self) {
        self.ask_bus("RequestName", |call| call.append2(NAME, 0u32));
    }

    pub fn release_name(&self) {
        self.ask_bus("ReleaseName", |call| call.append1(NAME));
    }

    /// The unique names of all others on the bus.
    pub fn others(&self) -> Vec<String> {
        let reply = self.ask_bus("ListNames", |call| call);
        let names: Vec<String> = reply.get1().expect("a list of names");
        names.into_iter().filter(|name| name.starts_with(':') && *name != self.unique_name).collect()
    }

    /// Sends whatever it is to whoever is there; the serial of what went out.
    pub fn send(&self, message: Message) -> u32 {
        let wires = self.shared.wires();
        let wire = wires.first().expect("somebody is connected");
        wire.send(message).expect("the other end is there")
    }

    /// A number that no job of this manager had before.
    pub fn new_job(&self) -> u32 {
        self.shared.next_job.fetch_add(1, Ordering::Relaxed)
    }

    pub fn job_removed(&self, job: u32, unit: &str, result: &str) {
        self.shared.send_all(|| job_removed(job, unit, result));
    }

    /// The next call, which must be of this method.
    pub fn next(&self, member: &str) -> Call {
        let call = self.calls.recv_timeout(PATIENCE);
        let call = call.unwrap_or_else(|_| panic!("{member} was never called"));
        assert_eq!(call.member, member, "on {}", call.path);
        call
    }

    /// A call that has come and was not taken yet.
    pub fn take(&self) -> Option<Call> {
        self.calls.try_recv().ok()
    }

    /// Whether no call has come that the test has not taken. A read that the manager answers by itself, made
    /// before, proves that all sent before it has arrived.
    pub fn is_idle(&self) -> bool {
        matches!(self.calls.try_recv(), Err(TryRecvError::Empty))
    }

    /// Whether reads of units' properties are answered without the test; at first they are.
    pub fn answer_reads(&self, on: bool) {
        self.shared.reads.store(on, Ordering::SeqCst);
    }

    /// Whether the manager lets itself be opened without the test; at first it does.
    pub fn answer_opens(&self, on: bool) {
        self.shared.opens.store(on, Ordering::SeqCst);
    }

    /// Whether a new unit's processes may be named by pidfd; at first they may.
    pub fn take_pidfds(&self, on: bool) {
        self.shared.pidfds.store(on, Ordering::SeqCst);
    }

    /// How often a creation by pidfd was refused.
    pub fn refused(&self) -> u32 {
        self.shared.refused.load(Ordering::SeqCst)
    }

    /// What a unit's `ActiveState` reads as; `active` where nothing is said.
    pub fn set_state(&self, unit: &str, state: &str) {
        let mut states = self.shared.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.insert(unit.into(), state.into());
    }

    /// Answers every call by the same rule, until the answer is dropped.
    #[must_use]
    pub fn serve(&self, rule: impl Fn(Call) + Send + 'static) -> Serving {
        let calls = self.calls.clone();
        let (stop, stopped) = unbounded::<()>();
        let thread = thread::spawn(move || {
            loop {
                select! {
                    recv(calls) -> call => call.map_or((), &rule),
                    recv(stopped) -> _ => return,
                }
            }
        });
        Serving { stop: Some(stop), thread: Some(thread) }
    }

    /// Breaks all its connections.
    pub fn hang_up(&self) {
        self.shared.wires().iter().for_each(|wire| wire.close());
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.hang_up();
    }
}

/// A rule at work.
pub struct Serving {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.take();
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            ended.map_or(Ok(()), |ended| ended).expect("the rule did not panic");
        }
    }
}
