//! Commands to start in a scope while the manager misbehaves: each child is let go, or ended and collected.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::libc;
use unitwait::{Error, Scope, ScopedChild, Stage};

use crate::alone::{Holdings, alone};
use crate::bus::Directory;
use crate::manager::Call;
use crate::world::{LONG, World, by, scope};

const SHORT: Duration = Duration::from_millis(300);

fn nobody(name: &str) -> Scope {
    Scope::new(name).verify(false)
}

/// A command that leaves a mark where it runs.
fn touch(directory: &Directory) -> Command {
    let mut command = Command::new("touch");
    command.arg(directory.join("mark")).stdin(Stdio::null());
    command
}

fn children() -> String {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default()).collect()
}

#[test]
fn a_child_is_let_go_when_its_job_is_done_and_not_before() {
    World::both(|world| {
        let directory = Directory::new();
        let ran = || directory.join("mark").exists();
        thread::scope(|threads| {
            let spawn =
                threads.spawn(|| world.manager.spawn_in_scope(touch(&directory), &nobody("a.scope"), LONG));
            let call = world.script.next("StartTransientUnit");
            assert!(!ran());
            let job = world.script.new_job();
            call.job(job);
            world.round_trip();
            assert!(!ran());
            call.ends(job, "done");
            let child = spawn.join().unwrap().unwrap();
            assert!(child.wait(LONG).unwrap().success());
            assert!(ran());
        });
    });
}

#[test]
fn whatever_a_manager_answers_a_child_that_may_not_run_is_ended_and_collected() {
    alone(|| {
        World::both(|world| {
            let (directory, before_any) = (Directory::new(), children());
            let spawn = || world.manager.spawn_in_scope(touch(&directory), &nobody("a.scope"), SHORT);
            type Answer = (fn(&Call), fn(&Error) -> bool);
            let answers: [Answer; 5] = [
                (
                    |call| call.error("org.freedesktop.DBus.Error.AccessDenied", "no"),
                    |error| matches!(error, Error::AccessDenied { .. }),
                ),
                (
                    |call| call.answer(|reply| reply.append1("no path")),
                    |error| matches!(error, Error::Dbus { .. }),
                ),
                (
                    |call| {
                        call.job(7);
                        call.ends(7, "failed");
                    },
                    |error| matches!(error, Error::JobFailed { .. }),
                ),
                (|call| call.job(7), |error| error.stage() == Some(Stage::Job)),
                (|_| {}, |error| error.stage() == Some(Stage::Call)),
            ];
            for (answer, is_expected) in answers {
                let error = thread::scope(|threads| {
                    let spawn = threads.spawn(|| by(SHORT, spawn));
                    answer(&world.script.next("StartTransientUnit"));
                    spawn.join().unwrap().unwrap_err()
                });
                assert!(is_expected(&error), "{error}");
                if error.stage() == Some(Stage::Job) {
                    world.script.next("CancelJob");
                }
                assert_eq!(children(), before_any);
                assert!(!directory.join("mark").exists());
            }
        });
    });
}

#[test]
fn execs_own_errno_comes_through_from_a_child_that_was_let_go() {
    World::both(|world| {
        for (program, errno) in [("/no/such/program", libc::ENOENT), ("/", libc::EACCES)] {
            let spawn = || world.manager.spawn_in_scope(Command::new(program), &nobody("a.scope"), LONG);
            let answer = thread::scope(|threads| {
                let spawn = threads.spawn(spawn);
                world.script.next("StartTransientUnit").carry_out();
                spawn.join().unwrap()
            });
            match answer {
                Err(Error::Exec { placed: true, source, .. }) => {
                    assert_eq!(source.raw_os_error(), Some(errno))
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn a_hundred_spawns_of_each_kind_leave_no_descriptor_no_thread_and_no_child() {
    alone(|| {
        let world = World::on_bus();
        let (directory, before_any) = (Directory::new(), children());
        let _serving = world.script.serve(|call| match call.unit().as_str() {
            "refused.scope" => call.error("org.freedesktop.DBus.Error.AccessDenied", "no"),
            _ => call.carry_out(),
        });
        let spawn = |command, unit| world.manager.spawn_in_scope(command, &nobody(unit), LONG);
        let round = || {
            let child: ScopedChild = spawn(touch(&directory), "good.scope").unwrap();
            assert!(child.wait(LONG).unwrap().success());
            spawn(touch(&directory), "refused.scope").unwrap_err();
            spawn(Command::new("/no/such/program"), "good.scope").unwrap_err();
            let mut nowhere = Command::new("true");
            nowhere.current_dir("/no/such/directory");
            spawn(nowhere, "good.scope").unwrap_err();
        };
        round();
        let before = Holdings::now();
        (0..100).for_each(|_| round());
        before.assert_no_more(4 << 20);
        assert_eq!(children(), before_any);
        world.manager.create_scope(&scope("last.scope"), LONG).unwrap();
    });
}
