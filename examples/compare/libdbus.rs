//! The least that libdbus takes: one connection, one thread, match, call, wait, and nothing promised. `keeper` has what it
//! takes to promise as much as unitwait does.

use std::fmt::Display;
use std::time::Duration;

use dbus::arg::{RefArg, Variant};
use dbus::channel::{BusType, Channel};
use dbus::{Message, Path};
use serde_json::json;

use crate::Failure;
use crate::keeper::{Keeper, look, verify};
use crate::peer::{phase, read};

const PATIENCE: Duration = Duration::from_secs(30);
const PRIVATE: &str = "unix:path=/run/systemd/private";
const RULE: &str = "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

type Property = (&'static str, Variant<Box<dyn RefArg>>);

pub fn load(way: &str, ops: &str, slice: &str, pids: &str) -> Result<(), Failure> {
    let channel = connect(way.ends_with("private"))?;
    let (ops, pids) = (ops.parse()?, read(pids)?);
    let unit = |at: usize| format!("bench-libdbus{}-{at}.scope", std::process::id());
    let all: Vec<(String, u32)> = (0..ops).map(|at| (unit(at), pids[at])).collect();
    let (created, stopped) = if way.starts_with("libdbus-kept") {
        let keeper = Keeper::start(channel)?;
        let (created, _) = phase(1, &all, |(unit, pid)| {
            let process = look(*pid)?;
            keeper.ask(create(unit, *pid, slice)?)?;
            verify(unit, slice, &process)
        })?;
        (created, phase(1, &all, |(unit, _)| keeper.ask(stop(unit)?))?.0)
    } else {
        let (created, _) = phase(1, &all, |(unit, pid)| ask(&channel, create(unit, *pid, slice)?))?;
        (created, phase(1, &all, |(unit, _)| ask(&channel, stop(unit)?))?.0)
    };
    println!("{}", json!({ "create": created, "stop": stopped }));
    Ok(())
}

fn connect(direct: bool) -> Result<Channel, Failure> {
    if direct {
        return Ok(Channel::open_private(PRIVATE)?);
    }
    let channel = Channel::get_private(BusType::System)?;
    let bus = "org.freedesktop.DBus";
    let rule = Message::new_method_call(bus, "/", bus, "AddMatch")?.append1(RULE);
    channel.send_with_reply_and_block(rule, PATIENCE)?;
    Ok(channel)
}

fn stop(unit: &str) -> Result<Message, Failure> {
    Ok(method("StopUnit")?.append2(unit, "replace"))
}

fn create(unit: &str, pid: u32, slice: &str) -> Result<Message, Failure> {
    let properties: Vec<Property> = vec![
        ("Slice", Variant(Box::new(slice.to_string()))),
        ("DefaultDependencies", Variant(Box::new(false))),
        ("PIDs", Variant(Box::new(vec![pid]))),
    ];
    let others: Vec<(&str, Vec<Property>)> = Vec::new();
    Ok(method("StartTransientUnit")?.append3(unit, "fail", properties).append1(others))
}

fn method(name: &str) -> Result<Message, Failure> {
    let (path, interface) = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
    Ok(Message::new_method_call("org.freedesktop.systemd1", path, interface, name)?)
}

/// Until the job that the call made is over. Its reply comes first, for systemd sends it first.
pub fn ask(channel: &Channel, call: Message) -> Result<(), Failure> {
    let told = |error: &dyn Display| -> Failure { error.to_string().into() };
    let serial = channel.send(call).map_err(|()| "the connection has ended")?;
    let mut job: Option<Path> = None;
    loop {
        channel.read_write(Some(PATIENCE)).map_err(|()| "the connection has ended")?;
        while let Some(mut message) = channel.pop_message() {
            if message.get_reply_serial() == Some(serial) {
                let reply = message.as_result().map_err(|error| told(&error))?;
                job = Some(reply.read1::<Path>()?.into_static());
            } else if message.member().as_deref() == Some("JobRemoved") {
                let (_, ended): (u32, Path) = message.read2()?;
                if job.as_ref() == Some(&ended) {
                    return Ok(());
                }
            }
        }
    }
}
