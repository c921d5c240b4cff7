//! Commands whose first instruction runs inside of their scope, for C.

use std::ffi::{OsStr, OsString, c_int};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::ptr;

use super::active::{Active, unitwait_active};
use super::ended::{answer_end, unitwait_ended};
use super::error::{Failure, answer, quiet, unitwait_code, unitwait_error};
use super::handle::{Handle, Shared, find, give, known};
use super::manager::unitwait_manager;
use super::pass::{Out, Text, deadline};
use super::request::{scope, unitwait_request};
use crate::error::Error;
use crate::manager::ScopedChild;
use crate::sys;

/// A command that is to be executed. Owned by the caller; it may be spawned any number of times.
pub struct unitwait_command {
    _private: [u8; 0],
}

impl Handle for unitwait_command {
    type Object = Shared<Result<Plan, Failure>>;
    const WHAT: &'static str = "command";
}

/// A command that runs in a scope of its own. Owned by the caller; freeing it leaves the process alone, which is then
/// the program's own to collect by waitpid(2).
pub struct unitwait_child {
    _private: [u8; 0],
}

impl Handle for unitwait_child {
    type Object = ScopedChild;
    const WHAT: &'static str = "child";
}

/// What is behind a command's handle; the standard library's own is used up by one spawn.
#[derive(Default)]
pub(super) struct Plan {
    program: OsString,
    arguments: Vec<OsString>,
    /// In the order in which they were said.
    environment: Vec<Environment>,
    directory: Option<OsString>,
    user: Option<u32>,
    group: Option<u32>,
    process_group: Option<c_int>,
    descriptors: [Descriptor; 3],
}

enum Environment {
    Clear,
    Set(OsString, OsString),
    Remove(OsString),
}

#[derive(Default)]
enum Descriptor {
    #[default]
    Inherited,
    Null,
    Given(OwnedFd),
}

impl Descriptor {
    fn stdio(&self) -> Result<Stdio, Failure> {
        Ok(match self {
            Descriptor::Inherited => Stdio::inherit(),
            Descriptor::Null => Stdio::null(),
            Descriptor::Given(fd) => fd.try_clone().map_err(duplicating)?.into(),
        })
    }
}

fn duplicating(source: std::io::Error) -> Failure {
    Error::System { doing: "duplicate a descriptor", source }.into()
}

impl Plan {
    fn command(&self) -> Result<Command, Failure> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        for step in &self.environment {
            match step {
                Environment::Clear => command.env_clear(),
                Environment::Set(name, value) => command.env(name, value),
                Environment::Remove(name) => command.env_remove(name),
            };
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        if let (Some(user), Some(group)) = (self.user, self.group) {
            command.uid(user).gid(group);
        }
        if let Some(group) = self.process_group {
            command.process_group(group);
        }
        let [input, output, errors] = &self.descriptors;
        command.stdin(input.stdio()?).stdout(output.stdio()?).stderr(errors.stdio()?);
        Ok(command)
    }
}

fn word(text: Text, what: &'static str) -> Result<OsString, Failure> {
    let bytes = text.bytes().ok_or_else(|| Failure::invalid(what, "NULL", "a text is needed"))?;
    Ok(OsStr::from_bytes(bytes).to_owned())
}

fn variable(text: Text) -> Result<OsString, Failure> {
    let name = word(text, "variable")?;
    if name.is_empty() || name.as_bytes().contains(&b'=') {
        return Err(Failure::invalid(
            "variable",
            &name.to_string_lossy(),
            "a name is not empty and has no `=`",
        ));
    }
    Ok(name)
}

/// Changes a command; what is refused stays with it, as with requests.
fn change(
    command: *mut unitwait_command,
    setter: impl FnOnce(&mut Plan) -> Result<(), Failure>,
) -> unitwait_code {
    answer(Out::nowhere(), || {
        find(command)?.with(|plan| {
            if let Err(refused) = plan.as_mut().map_err(|refused| refused.clone()).and_then(setter) {
                *plan = Err(refused.clone());
                return Err(refused);
            }
            Ok(())
        })
    })
}

/// A command: a path, or a name that is looked for in PATH, and no arguments yet. It inherits environment, directory and
/// descriptors 0 to 2, unless the functions below say otherwise. Never NULL: what they refuse is refused by
/// unitwait_spawn(). The caller's to free. Does not block, as none of them does.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_command_new(program: Text) -> *mut unitwait_command {
    quiet(ptr::null_mut(), || {
        let plan = word(program, "program").map(|program| Plan { program, ..Plan::default() });
        Some(give(Shared::new(plan)))
    })
}

/// One more argument, after the program's name, which is there by itself.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_command_argument(command: *mut unitwait_command, argument: Text) -> unitwait_code {
    change(command, |plan| {
        plan.arguments.push(word(argument, "argument")?);
        Ok(())
    })
}

/// A variable of its environment; a NULL value takes it out.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_command_environment(
    command: *mut unitwait_command,
    name: Text,
    value: Text,
) -> unitwait_code {
    change(command, |plan| {
        let name = variable(name)?;
        plan.environment.push(match value.bytes() {
            Some(value) => Environment::Set(name, OsStr::from_bytes(value).to_owned()),
            None => Environment::Remove(name),
        });
        Ok(())
    })
}

/// Takes all variables out of its environment that are in it so far, the inherited ones too.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_command_clear_environment(command: *mut unitwait_command) -> unitwait_code {
    change(command, |plan| {
        plan.environment.push(Environment::Clear);
        Ok(())
    })
}

/// The directory that it starts in.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_command_directory(
    command: *mut unitwait_command,
    directory: Text,
) -> unitwait_code {
    change(command, |plan| {
        plan.directory = Some(word(directory, "directory")?);
        Ok(())
    })
}

/// The user and group, by number, that it runs as.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_command_user(
    command: *mut unitwait_command,
    user: u32,
    group: u32,
) -> unitwait_code {
    change(command, |plan| {
        (plan.user, plan.group) = (Some(user), Some(group));
        Ok(())
    })
}

/// The process group that it joins, from 0; 0 is one of its own (setpgid(2)).
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_command_process_group(
    command: *mut unitwait_command,
    group: c_int,
) -> unitwait_code {
    change(command, |plan| {
        if group < 0 {
            return Err(Failure::invalid("process group", &group.to_string(), "it counts from 0"));
        }
        plan.process_group = Some(group);
        Ok(())
    })
}

/// What its descriptor 0, 1 or 2 is: a duplicate of this one of the program's, made now, or /dev/null where it is -1.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_command_descriptor(
    command: *mut unitwait_command,
    which: c_int,
    descriptor: c_int,
) -> unitwait_code {
    change(command, |plan| {
        let place = usize::try_from(which).ok().and_then(|at| plan.descriptors.get_mut(at));
        let place =
            place.ok_or_else(|| Failure::invalid("descriptor", &which.to_string(), "it is 0, 1 or 2"))?;
        *place = match descriptor {
            -1 => Descriptor::Null,
            ..-1 => return Err(Failure::invalid("descriptor", &descriptor.to_string(), "it counts from 0")),
            fd => Descriptor::Given(sys::duplicate(fd).map_err(duplicating)?),
        };
        Ok(())
    })
}

/// Forks a command, holds it, creates the scope with it in it, verifies, and lets it execute: its first instruction runs
/// inside. UNITWAIT_EXEC where it cannot be executed.
///
/// Blocks until it executes, or for the timeout; nothing of it has run where this fails, and its process is gone. It is
/// a child of the calling process: SIGCHLD must not be ignored, and no other part of the program may collect it, as a
/// loop over waitpid(-1, …) would.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_spawn(
    manager: *const unitwait_manager,
    command: *const unitwait_command,
    request: *const unitwait_request,
    timeout_ms: i64,
    child: Out<*mut unitwait_child>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    child.put(ptr::null_mut());
    answer(error, || {
        let (opened, by) = (find(manager)?, deadline(timeout_ms)?);
        child.needed("child")?;
        let scope = scope(request)?;
        let command = find(command)?.with(|plan| match plan {
            Ok(plan) => plan.command(),
            Err(refused) => Err(refused.clone()),
        })?;
        child.put(give(opened.manager.spawn_in_scope(command, &scope, by)?));
        Ok(())
    })
}

/// The process's number, 0 where it is no child's handle. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_child_pid(child: *const unitwait_child) -> u32 {
    quiet(0, || Some(known(child)?.id()))
}

/// A descriptor that means the process and that poll(2) finds readable once it has ended (pidfd_open(2)); -1 where there
/// is none. The child's own: it ends when the child's handle is freed. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_child_descriptor(child: *const unitwait_child) -> c_int {
    quiet(-1, || Some(known(child)?.pidfd()?.as_raw_fd()))
}

/// A handle of the scope that it runs in, NULL where it is no child's handle. The caller's to free; does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_child_scope(child: *const unitwait_child) -> *mut unitwait_active {
    quiet(ptr::null_mut(), || Some(Active::Scope(known(child)?.scope().clone()).handle()))
}

/// Sends the process itself a signal; nothing where it has ended. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_child_kill(
    child: *const unitwait_child,
    signal: c_int,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    answer(error, || Ok(find(child)?.kill(signal)?))
}

/// Waits for the end of the process and collects it; its status, as wait(2) has it, goes to `status`, which may be NULL.
/// May be asked any number of times. Blocks until then, or for the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_child_wait(
    child: *const unitwait_child,
    timeout_ms: i64,
    status: Out<c_int>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    collect(child, status, error, |child| Ok(child.wait(deadline(timeout_ms)?)?))
}

/// As unitwait_child_wait(), if it has ended; UNITWAIT_PENDING while it has not. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_child_try_wait(
    child: *const unitwait_child,
    status: Out<c_int>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    collect(child, status, error, |child| child.try_wait()?.ok_or_else(Failure::pending))
}

fn collect(
    child: *const unitwait_child,
    status: Out<c_int>,
    error: Out<*mut unitwait_error>,
    wait: impl FnOnce(&ScopedChild) -> Result<ExitStatus, Failure>,
) -> unitwait_code {
    status.put(-1);
    answer(error, || {
        status.put(wait(&*find(child)?)?.into_raw());
        Ok(())
    })
}

/// Waits for the end of everything in the child's scope, and collects the child; how it ended goes to `end`, which may
/// be NULL. Blocks until then, or for the timeout.
#[unsafe(no_mangle)]
pub extern "C" fn unitwait_child_wait_all(
    child: *const unitwait_child,
    timeout_ms: i64,
    end: Out<unitwait_ended>,
    error: Out<*mut unitwait_error>,
) -> unitwait_code {
    answer_end(end, error, || Ok(find(child)?.wait_all(deadline(timeout_ms)?)?))
}
