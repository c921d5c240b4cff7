//! The program around the driver: it forks, takes signals, exits, runs out of descriptors, and drops handles at the
//! worst moment.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use unitwait::{Deadline, Error, Manager, Stage, UnitJob};

use crate::alone::{Holdings, alone, alone_as_ordinary_user};
use crate::bus::Directory;
use crate::support::elsewhere::{Elsewhere, given, test_name};
use crate::transport::full_queue;
use crate::world::{LONG, MARGIN, Place, Raise, World, by, logged, open, record_log, scope};

/// What the child of a fork finds; the number of the first thing that is wrong.
fn look_around_in_the_child(world: World, inherited: unitwait::Ticket<unitwait::FinishedJob>) -> i32 {
    let forked = |result: Result<(), Error>| matches!(result, Err(Error::Forked));
    let spawn = || world.manager.spawn_in_scope(Command::new("true"), &scope("a.scope"), LONG);
    let checks: [&dyn Fn() -> bool; 6] = [
        &|| forked(world.manager.property("a.scope", "SubState", LONG).map(drop)),
        &|| forked(world.manager.submit(&UnitJob::stop("a.scope"), LONG).map(drop)),
        &|| forked(world.manager.stats().map(drop)),
        &|| forked(spawn().map(drop)),
        &|| forked(inherited.try_wait().unwrap_or(Err(Error::Closed { reason: String::new() })).map(drop)),
        &|| world.builder().open(LONG).is_ok_and(|own| own.property("a.scope", "SubState", LONG).is_ok()),
    ];
    for (number, check) in (1..).zip(checks) {
        if !check() {
            return number;
        }
    }
    if !forked(inherited.wait(Deadline::Default).map(drop)) {
        return 7;
    }
    let World { mut manager, script, place } = world;
    // The child's own takes the inherited one's place, and is the one that is dropped in the end.
    match place.builder().open(LONG) {
        Ok(own) => drop(std::mem::replace(&mut manager, own)),
        Err(_) => return 8,
    }
    drop(manager);
    // To drop these would end the parent's connections and its bus.
    std::mem::forget((script, place));
    0
}

#[test]
#[allow(unsafe_code, reason = "fork without exec is what is tested")]
fn after_a_fork_the_childs_use_is_refused_and_the_parents_goes_on() {
    alone(|| {
        let world = World::on_bus();
        let inherited = world.manager.submit(&UnitJob::stop("b.scope"), LONG).unwrap();
        let pending = world.manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap();
        world.script.next("StopUnit").job(6);
        world.script.next("StopUnit").job(7);
        world.round_trip();
        // SAFETY: the child's threads are gone, and it uses only what is to be shown to work without them.
        let child = match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let code = look_around_in_the_child(world, inherited);
                // SAFETY: ends the child with nothing of the parent's run at its exit.
                unsafe { libc::_exit(code) }
            }
            ForkResult::Parent { child } => child,
        };
        assert_eq!(by(LONG / 3, || waitpid(child, None)), Ok(WaitStatus::Exited(child, 0)));
        world.round_trip();
        world.script.job_removed(6, "b.scope", "done");
        world.script.job_removed(7, "a.scope", "done");
        assert_eq!(pending.wait(Deadline::Default).unwrap().id.get(), 7);
        assert_eq!(inherited.wait(Deadline::Default).unwrap().id.get(), 6);
        assert_eq!(world.stats().connections, 1);
    });
}

/// Whatever the threads of the parent are at in the moment of the fork, a child can open a manager of its own.
#[test]
#[allow(unsafe_code, reason = "fork without exec is what is tested")]
fn a_child_of_a_busy_parent_can_open_its_own() {
    alone(|| {
        let world = World::on_bus();
        let over = AtomicBool::new(false);
        thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    while !over.load(Ordering::SeqCst) {
                        world.round_trip();
                    }
                });
            }
            let _end = Raise(&over);
            for number in 0..200 {
                // SAFETY: the child uses nothing but a manager of its own, which is what is to be shown to work.
                let child = match unsafe { fork() }.unwrap() {
                    ForkResult::Child => {
                        let opened = world.builder().open(LONG / 3).is_ok();
                        // SAFETY: ends the child with nothing of the parent's run at its exit.
                        unsafe { libc::_exit(i32::from(!opened)) }
                    }
                    ForkResult::Parent { child } => child,
                };
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)), "fork {number}");
            }
        });
    });
}

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

#[allow(unsafe_code, reason = "there is no safe way to set a signal's handler")]
fn handle(signal: Signal, handler: SigHandler) -> SigHandler {
    // Without SA_RESTART, so that every interrupted system call shows.
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only adds to an atomic number.
    unsafe { sigaction(signal, &action) }.unwrap().handler()
}

#[test]
fn signals_by_the_thousand_neither_kill_nor_stall_the_driver() {
    alone(|| {
        handle(Signal::SIGPIPE, SigHandler::SigDfl);
        let mut world = World::on_bus();
        handle(Signal::SIGPIPE, SigHandler::SigDfl);
        for signal in [Signal::SIGALRM, Signal::SIGPROF, Signal::SIGCHLD, Signal::SIGUSR1] {
            handle(signal, SigHandler::Handler(count));
        }
        let stop = AtomicBool::new(false);
        thread::scope(|threads| {
            let _stop = Raise(&stop);
            threads.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for signal in [Signal::SIGALRM, Signal::SIGPROF, Signal::SIGCHLD] {
                        kill(Pid::this(), signal).unwrap();
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            });
            let serving = world.script.serve(|call| call.carry_out());
            for _ in 0..300 {
                by(Duration::from_secs(5), || world.manager.create_scope(&scope("a.scope"), LONG)).unwrap();
            }
            drop(serving);
            let deadline = Duration::from_millis(300);
            by(deadline, || world.manager.stop_unit("a.scope", deadline)).unwrap_err();
            // A socket whose other end is gone, written to: SIGPIPE would end this process.
            for _ in 0..5 {
                world.bus().kill();
                let _ = world.manager.submit(&UnitJob::stop("a.scope"), deadline).map(drop);
                world.bus().restart();
                world.script = match &world.place {
                    Place::Bus(bus) => crate::manager::Script::on(bus),
                    Place::Socket(_) => return,
                };
                world.round_trip();
            }
        });
        assert!(SIGNALS.load(Ordering::Relaxed) > 100);
    });
}

/// The signals that each thread of the driver has blocked, by the thread's name.
fn blocked_signals() -> Vec<(String, u64)> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    // A thread may have ended since the directory was read.
    let status = tasks.filter_map(|task| fs::read_to_string(task.join("status")).ok());
    let field = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells");
        line.trim_start_matches(':').trim().to_string()
    };
    let threads = status.map(|status| (field(&status, "Name"), field(&status, "SigBlk")));
    let own = threads.filter(|(name, _)| name.starts_with("unitwait"));
    own.map(|(name, blocked)| (name, u64::from_str_radix(&blocked, 16).expect("a mask"))).collect()
}

#[test]
fn every_signal_is_blocked_in_the_drivers_threads_and_the_callers_mask_is_as_it_was() {
    // Those that nobody can block, and the two that the C library keeps for itself (`nptl(7)`).
    const NEVER: [u64; 4] = [libc::SIGKILL as u64, libc::SIGSTOP as u64, 32, 33];
    alone(|| {
        let before = SigSet::thread_get_mask().unwrap();
        let world = World::on_bus();
        let directory = Directory::new();
        let _full = full_queue(&directory.join("bus"));
        let address = format!("unix:path={}", directory.join("bus").display());
        thread::scope(|threads| {
            // Its thread for connecting hangs, and so can be looked at.
            threads.spawn(|| Manager::builder().at(address).open(Duration::from_secs(1)).unwrap_err());
            let until = Instant::now() + LONG;
            let mut seen = Vec::new();
            while seen.iter().all(|(name, _): &(String, u64)| !name.starts_with("unitwait-connec")) {
                assert!(Instant::now() < until, "no thread was seen to connect: {seen:?}");
                seen = blocked_signals();
            }
            assert!(seen.iter().any(|(name, _)| name == "unitwait-dbus"), "{seen:?}");
            let wanted = (1..=64).filter(|signal| !NEVER.contains(signal));
            for (signal, (name, blocked)) in wanted.flat_map(|signal| seen.iter().map(move |of| (signal, of)))
            {
                assert!(blocked & (1 << (signal - 1)) != 0, "{name} takes signal {signal}: {blocked:016x}");
            }
        });
        world.round_trip();
        assert_eq!(SigSet::thread_get_mask().unwrap(), before, "the caller's own mask is another now");
    });
}

#[test]
fn the_hosts_handling_of_signals_is_left_as_it_was() {
    alone(|| {
        handle(Signal::SIGPIPE, SigHandler::SigDfl);
        let world = World::on_bus();
        world.round_trip();
        drop(world);
        let now = handle(Signal::SIGPIPE, SigHandler::SigDfl);
        assert!(matches!(now, SigHandler::SigDfl), "{now:?}");
    });
}

#[test]
fn the_last_handle_may_be_dropped_by_the_dbus_thread_itself() {
    alone(|| {
        let world = World::on_bus();
        let before = Holdings::now();
        for _ in 0..20 {
            let manager = open(world.builder());
            drop(manager.submit(&scope("a.scope"), LONG).unwrap());
            let call = world.script.next("StartTransientUnit");
            // The answer is now all that holds the manager, and nobody takes it.
            drop(manager);
            call.carry_out();
        }
        before.assert_no_more(4 << 20);
    });
}

#[test]
fn the_last_handle_is_dropped_within_a_bound_though_the_bus_hangs() {
    let mut world = World::on_bus();
    let second = open(world.builder());
    let ticket = second.submit(&UnitJob::stop("a.scope"), LONG).unwrap();
    world.script.next("StopUnit");
    world.bus().stop();
    by(Duration::ZERO, || drop(second));
    // The ticket keeps its own way to the driver, and its deadline.
    let deadline = Duration::from_millis(200);
    assert!(by(deadline, || ticket.wait(deadline)).unwrap_err().is_timeout());
    let error = by(deadline, || world.builder().open(deadline)).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let full: Vec<_> =
        (0..500).map(|_| world.manager.submit(&UnitJob::stop("a.scope"), LONG).unwrap()).collect();
    by(Duration::ZERO, || drop(full));
    by(Duration::ZERO, || drop(std::mem::replace(&mut world.manager, open_elsewhere())));
    world.bus().go_on();
}

fn open_elsewhere() -> Manager {
    World::direct().manager.clone()
}

#[test]
fn a_process_exits_at_once_though_calls_wait() {
    if let Some(address) = given("ADDRESS") {
        let manager = open(Manager::builder().at(address));
        let waiting = manager.clone();
        thread::spawn(move || waiting.stop_unit("a.scope", LONG));
        let ticket = manager.submit(&UnitJob::stop("b.scope"), LONG).unwrap();
        manager.property("a.scope", "SubState", LONG).unwrap();
        assert!(ticket.try_wait().is_none());
        std::process::exit(42);
    }
    let world = World::on_bus();
    let mut elsewhere = Elsewhere::same()
        .give("ADDRESS", world.manager.address())
        .command(&test_name(a_process_exits_at_once_though_calls_wait));
    let output = by(Duration::from_secs(5), || elsewhere.output().expect("this binary runs again"));
    assert_eq!((output.status.code(), output.status.signal()), (Some(42), None), "{output:?}");
    world.round_trip();
}

#[test]
fn a_thousand_managers_opened_and_closed_leave_nothing() {
    alone(|| {
        let world = World::on_bus();
        let cycle = |count: usize| {
            for _ in 0..count {
                let manager = open(world.builder());
                manager.property("a.scope", "SubState", LONG).unwrap();
            }
        };
        cycle(100);
        let before = Holdings::now();
        cycle(1000);
        before.assert_no_more(4 << 20);
    });
}

#[test]
fn without_a_free_descriptor_there_is_an_error_and_with_one_all_is_well_again() {
    alone(|| {
        let mut world = World::on_bus();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let none_free = || setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
        let as_before = || setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        none_free();
        let error = by(Duration::ZERO, || world.builder().open(LONG)).unwrap_err();
        assert!(matches!(error, Error::System { .. }), "{error}");
        world.round_trip();
        as_before();
        world.builder().open(LONG).unwrap();

        // A handle that has to connect anew while there is none: it waits, and goes on once there is one.
        world.bus().restart();
        none_free();
        let deadline = Duration::from_millis(300);
        let error = by(deadline, || world.manager.property("a.scope", "SubState", deadline)).unwrap_err();
        assert!(error.is_timeout(), "{error}");
        as_before();
        world.script_anew(|_| ());
        by(MARGIN, || world.round_trip());
    });
}

#[test]
fn without_a_free_thread_there_is_an_error_and_with_one_all_is_well_again() {
    // Root is not held to the limit.
    alone_as_ordinary_user(|| {
        record_log();
        let mut world = World::on_bus();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
        let none_free = || setrlimit(Resource::RLIMIT_NPROC, 1, hard).unwrap();
        let as_before = || setrlimit(Resource::RLIMIT_NPROC, soft, hard).unwrap();
        none_free();
        assert!(thread::Builder::new().spawn(|| ()).is_err(), "this process is not held to the limit");
        for _ in 0..3 {
            let error = by(Duration::ZERO, || world.builder().open(LONG)).unwrap_err();
            let Error::System { doing, source } = &error else { panic!("{error:?}") };
            assert_eq!((*doing, source.kind()), ("start the dbus thread", ErrorKind::WouldBlock));
        }
        world.round_trip();
        as_before();
        world.builder().open(LONG).unwrap();

        // A handle that has to connect anew, for which it needs a thread: it waits, and goes on once there is one.
        world.bus().restart();
        none_free();
        let deadline = Duration::from_millis(300);
        let error = by(deadline, || world.manager.property("a.scope", "SubState", deadline)).unwrap_err();
        assert!(error.is_timeout() && error.stage() == Some(Stage::Connect), "{error}");
        assert!(!logged("could not start a thread to connect in").is_empty(), "it failed for another reason");
        as_before();
        world.script_anew(|_| ());
        by(MARGIN, || world.round_trip());
    });
}
