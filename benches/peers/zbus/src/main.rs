//! The peer zbus, blocking: one caller reads the signal itself; of more, one thread reads all signals and hands each to
//! whoever waits for that job. All share one connection.
//!
//!     peer-zbus system OPS CONCURRENCY SLICE PIDS-FILE

use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use zbus::blocking::{Connection, Proxy};
use zbus::zvariant::{OwnedObjectPath, Value};

const PATIENCE: Duration = Duration::from_secs(30);

type Failure = Box<dyn Error + Send + Sync>;

/// Who waits for a job, or the result of one that nobody had asked for yet.
#[derive(Default)]
struct Jobs {
    waiting: HashMap<OwnedObjectPath, Sender<String>>,
    early: HashMap<OwnedObjectPath, String>,
}

struct Peer {
    manager: Proxy<'static>,
    jobs: Arc<Mutex<Jobs>>,
    slice: String,
    pids: Vec<u32>,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().collect();
    let [_, _, ops, callers, slice, pids] = arguments.as_slice() else {
        eprintln!("usage: peer-zbus system OPS CONCURRENCY SLICE PIDS-FILE");
        process::exit(64);
    };
    let (ops, callers): (usize, usize) = (ops.parse()?, callers.parse()?);
    let pids: Result<Vec<u32>, _> = fs::read_to_string(pids)?.split_whitespace().map(str::parse).collect();
    let name = "org.freedesktop.systemd1";
    let interface = "org.freedesktop.systemd1.Manager";
    let manager = Proxy::new(&Connection::system()?, name, "/org/freedesktop/systemd1", interface)?;
    let peer = Peer { manager, jobs: Arc::default(), slice: slice.clone(), pids: pids? };
    let (created, stopped) = if callers == 1 { peer.alone(ops)? } else { peer.together(ops, callers)? };
    println!("{}", serde_json::json!({ "create": created, "stop": stopped }));
    Ok(())
}

type Told = serde_json::Value;

impl Peer {
    fn create(&self, at: usize) -> Result<OwnedObjectPath, Failure> {
        let properties = [
            ("Slice", Value::from(self.slice.as_str())),
            ("DefaultDependencies", Value::from(false)),
            ("PIDs", Value::from(vec![self.pids[at]])),
        ];
        let others: [(&str, Vec<(&str, Value)>); 0] = [];
        Ok(self.manager.call("StartTransientUnit", &(unit(at), "fail", properties.as_slice(), others.as_slice()))?)
    }

    fn stop(&self, at: usize) -> Result<OwnedObjectPath, Failure> {
        Ok(self.manager.call("StopUnit", &(unit(at), "replace"))?)
    }

    /// The natural way of one caller: to listen, to call, and to read signals until its own comes.
    fn alone(&self, ops: usize) -> Result<(Told, Told), Failure> {
        let mut signals = self.manager.receive_signal("JobRemoved")?;
        let mut wait = |job: OwnedObjectPath| loop {
            let signal = signals.next().ok_or("the connection has ended")?;
            let (_, path, _, result): (u32, OwnedObjectPath, String, String) = signal.body().deserialize()?;
            if path == job {
                return done(&result);
            }
        };
        let created = one_by_one(ops, |at| self.create(at).and_then(&mut wait));
        Ok((created, one_by_one(ops, |at| self.stop(at).and_then(&mut wait))))
    }

    fn together(&self, ops: usize, callers: usize) -> Result<(Told, Told), Failure> {
        let signals = self.manager.receive_signal("JobRemoved")?;
        let jobs = Arc::clone(&self.jobs);
        thread::spawn(move || {
            for signal in signals {
                let told = signal.body().deserialize::<(u32, OwnedObjectPath, String, String)>();
                let Ok((_, path, _, result)) = told else { continue };
                let mut jobs = jobs.lock().expect("no caller panics");
                match jobs.waiting.remove(&path) {
                    Some(caller) => drop(caller.send(result)),
                    None => drop(jobs.early.insert(path, result)),
                }
            }
        });
        let created = at_once(ops, callers, |at| self.wait(self.create(at)?));
        Ok((created, at_once(ops, callers, |at| self.wait(self.stop(at)?))))
    }

    fn wait(&self, job: OwnedObjectPath) -> Result<(), Failure> {
        let (to, from) = channel();
        {
            let mut jobs = self.jobs.lock().expect("no caller panics");
            if let Some(result) = jobs.early.remove(&job) {
                return done(&result);
            }
            jobs.waiting.insert(job, to);
        }
        done(&from.recv_timeout(PATIENCE)?)
    }
}

fn unit(at: usize) -> String {
    format!("bench-zbus{}-{at}.scope", process::id())
}

fn done(result: &str) -> Result<(), Failure> {
    if result == "done" { Ok(()) } else { Err(result.into()) }
}

fn one_by_one(ops: usize, mut call: impl FnMut(usize) -> Result<(), Failure>) -> Told {
    let (cpu, begun) = (processor(), Instant::now());
    let outcomes = (0..ops).map(|at| timed(|| call(at))).collect();
    told(begun, cpu, outcomes)
}

fn at_once(ops: usize, callers: usize, call: impl Fn(usize) -> Result<(), Failure> + Sync) -> Told {
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(ops)));
    let (cpu, begun) = (processor(), Instant::now());
    thread::scope(|threads| {
        for _ in 0..callers {
            threads.spawn(|| loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= ops {
                    return;
                }
                let outcome = timed(|| call(at));
                all.lock().expect("no caller panics").push(outcome);
            });
        }
    });
    told(begun, cpu, all.into_inner().expect("no caller panics"))
}

type Outcome = (Duration, bool);

fn timed(call: impl FnOnce() -> Result<(), Failure>) -> Outcome {
    let begun = Instant::now();
    let result = call();
    if let Err(error) = &result {
        eprintln!("peer-zbus: {error}");
    }
    (begun.elapsed(), result.is_ok())
}

fn told(begun: Instant, cpu: u64, outcomes: Vec<Outcome>) -> Told {
    let (wall, cpu) = (begun.elapsed(), processor().saturating_sub(cpu));
    let times: Vec<u128> = outcomes.iter().map(|(time, _)| time.as_nanos()).collect();
    let errors = outcomes.iter().filter(|(_, went_well)| !went_well).count();
    serde_json::json!({
        "wall_ns": wall.as_nanos() as u64, "cpu_ns": cpu, "times_ns": times, "errors": errors,
    })
}

/// Of the threads that are there: of one caller all.
fn processor() -> u64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let time = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    threads.filter_map(|thread| time(thread.path())).sum()
}
