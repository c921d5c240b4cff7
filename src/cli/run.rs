//! `run`: a command that never runs outside of its scope. unitwait places itself first, and then becomes it.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Gid, Group, Uid, User, access, getgrouplist, setgid, setgroups, setuid};
use unitwait::ActiveScope;

use crate::args::Run;
use crate::create;
use crate::failure::Failure;
use crate::output::scope_json;
use crate::session::Session;

pub fn run(session: &Session, asked: &Run) -> Result<(), Failure> {
    let Some((name, arguments)) = asked.command.split_first() else {
        return Err(Failure::Usage("no command is given".into()));
    };
    let program = find(name)?;
    let identity = Identity::of(asked.uid.as_deref(), asked.gid.as_deref())?;
    let unit = create::name(&asked.scope);
    let scope = create::scope(&unit, &asked.scope)?.own_process();
    scope.check()?;
    let (manager, active) = create::place(session, &asked.scope, &unit, &scope)?;
    require_limits(&active, asked.scope.require_limits)?;
    session.output.limit_gaps(active.unit(), active.limit_gaps());
    let (object, stages) = (scope_json(&active), active.stages());
    if let Some(identity) = identity {
        // Ends the dbus thread, so that the identity changes in a process of one thread.
        drop((active, manager));
        identity.assume()?;
    } else {
        // Not closed in turn, which the command would have to wait for: exec ends the thread and the connection.
        mem::forget((active, manager));
    }
    session.output.aside(|| object);
    session.output.picture(&unit, stages);
    let error = Command::new(&program).arg0(name).args(arguments).exec();
    Err(unrunnable(name, &error))
}

/// The library would stop the scope, and this process with it before it could say why. The scope ends with this
/// process all the same.
fn require_limits(active: &ActiveScope, required: bool) -> Result<(), Failure> {
    let gaps = active.limit_gaps();
    if !required || gaps.is_empty() {
        return Ok(());
    }
    let gaps: Vec<String> = gaps.iter().map(ToString::to_string).collect();
    Err(Failure::Limits { unit: active.unit().into(), gaps: gaps.join(", ") })
}

fn unrunnable(name: &OsStr, error: &io::Error) -> Failure {
    let found = error.kind() != io::ErrorKind::NotFound;
    Failure::Command { command: name.to_string_lossy().into(), reason: error.to_string(), found }
}

/// The file that execvp(3) would take, looked up before anything is created: a wrong command leaves no trace.
fn find(name: &OsStr) -> Result<PathBuf, Failure> {
    const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
    if name.as_bytes().contains(&b'/') {
        return executable(Path::new(name)).map_err(|error| unrunnable(name, &error));
    }
    let path = env::var_os("PATH").unwrap_or_else(|| OsString::from(DEFAULT_PATH));
    // One that is there and cannot be run is told only where no other can.
    let mut refusal = io::Error::from(Errno::ENOENT);
    for directory in env::split_paths(&path).filter(|_| !name.is_empty()) {
        match executable(&Path::new(".").join(directory).join(name)) {
            Ok(found) => return Ok(found),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refusal = error,
            Err(_) => {}
        }
    }
    Err(unrunnable(name, &refusal))
}

fn executable(path: &Path) -> io::Result<PathBuf> {
    if path.metadata()?.is_dir() {
        // What execve(2) says to it.
        return Err(Errno::EACCES.into());
    }
    access(path, AccessFlags::X_OK)?;
    Ok(path.to_path_buf())
}

/// Who the command is to be.
#[derive(Debug, PartialEq)]
struct Identity {
    uid: Option<Uid>,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Identity {
    /// `None` where nothing is to change. Names are looked up here, before anything is created.
    fn of(user: Option<&str>, group: Option<&str>) -> Result<Option<Identity>, Failure> {
        let group = group.map(find_group).transpose()?;
        let Some(text) = user else {
            return Ok(group.map(|gid| Identity { uid: None, gid, groups: vec![gid] }));
        };
        let (uid, known) = find_user(text)?;
        let gid = group.or(known.as_ref().map(|user| user.gid)).ok_or_else(|| Failure::Data {
            what: "user",
            given: text.into(),
            reason: "no account has this number, so its group is not known".into(),
            hint: "say the group with --gid".into(),
        })?;
        let groups = match &known {
            Some(user) => groups_of(user, gid)?,
            None => vec![gid],
        };
        Ok(Some(Identity { uid: Some(uid), gid, groups }))
    }

    /// The groups go first: who has given up root cannot change them any more.
    fn assume(&self) -> Result<(), Failure> {
        let system = |doing: &str| {
            let doing = doing.to_string();
            move |errno: nix::Error| Failure::System { doing, source: errno.into() }
        };
        setgroups(&self.groups).map_err(system("set the supplementary groups"))?;
        setgid(self.gid).map_err(system("set the group"))?;
        self.uid.map_or(Ok(()), setuid).map_err(system("set the user"))
    }
}

fn find_user(text: &str) -> Result<(Uid, Option<User>), Failure> {
    let system =
        |errno: nix::Error| Failure::System { doing: format!("look up user {text}"), source: errno.into() };
    if let Some(uid) = id("user", text)?.map(Uid::from_raw) {
        return Ok((uid, User::from_uid(uid).map_err(system)?));
    }
    let user = User::from_name(text).map_err(system)?.ok_or_else(|| nobody("user", text))?;
    Ok((user.uid, Some(user)))
}

fn find_group(text: &str) -> Result<Gid, Failure> {
    let system =
        |errno: nix::Error| Failure::System { doing: format!("look up group {text}"), source: errno.into() };
    if let Some(gid) = id("group", text)?.map(Gid::from_raw) {
        return Ok(gid);
    }
    Ok(Group::from_name(text).map_err(system)?.ok_or_else(|| nobody("group", text))?.gid)
}

/// A number, if the text is one. The highest means "leave it as it is" to the kernel, and so root to a careless caller.
fn id(what: &'static str, text: &str) -> Result<Option<u32>, Failure> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let number = text.parse().ok().filter(|number| *number != u32::MAX);
    number.map(Some).ok_or_else(|| Failure::Data {
        what,
        given: text.into(),
        reason: "no account can have this number".into(),
        hint: "numbers go from 0 to 4294967294".into(),
    })
}

fn nobody(what: &'static str, text: &str) -> Failure {
    let hint = format!("see `getent {}`", if what == "user" { "passwd" } else { "group" });
    Failure::Data { what, given: text.into(), reason: "there is no account of that name".into(), hint }
}

fn groups_of(user: &User, gid: Gid) -> Result<Vec<Gid>, Failure> {
    let system =
        |source: io::Error| Failure::System { doing: format!("read the groups of {}", user.name), source };
    let name = CString::new(user.name.as_str()).map_err(|error| system(error.into()))?;
    getgrouplist(&name, gid).map_err(|errno| system(errno.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit_of(name: &str) -> Option<u8> {
        find(OsStr::new(name)).err().map(|failure| failure.exit_status())
    }

    #[test]
    fn a_command_is_told_apart_from_one_that_is_missing_and_one_that_is_none() {
        assert_eq!(exit_of("sh"), None);
        assert_eq!(exit_of("/bin/sh"), None);
        assert_eq!(exit_of("no-such-command-here"), Some(127));
        assert_eq!(exit_of("/no/such/command"), Some(127));
        assert_eq!(exit_of(""), Some(127));
        assert_eq!(exit_of("/"), Some(126));
        assert_eq!(exit_of("/proc/version"), Some(126));
    }

    #[test]
    fn a_user_brings_its_group_and_a_strange_number_needs_one() {
        let root = Identity::of(Some("root"), None).unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (Some(Uid::from_raw(0)), Gid::from_raw(0)));
        let stranger = Identity::of(Some("4000000001"), Some("7")).unwrap().unwrap();
        assert_eq!(stranger.groups, [Gid::from_raw(7)]);
        assert_eq!(Identity::of(None, None).unwrap(), None);
        for bad in ["4000000001", "4294967295", "99999999999", "no such user", ""] {
            assert_eq!(Identity::of(Some(bad), None).unwrap_err().exit_status(), 65, "{bad}");
        }
    }
}
