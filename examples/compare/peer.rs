//! unitwait as one of the peers, and what is asked of it alone.

use std::fmt::Display;
use std::fs;
use std::io::{self, Read};
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use unitwait::{ActiveScope, Manager, Scope, Spread, Ticket};

use crate::Failure;

const PATIENCE: Duration = Duration::from_secs(30);

/// One of many tickets has all of the others before it.
const LONG: Duration = Duration::from_secs(300);

const SPREAD: u32 = 50;

/// The ten thousand are spread by hand, or systemd's own work would take minutes.
const SLICES: usize = 100;

pub fn load(way: &str, ops: &str, callers: &str, slice: &str, pids: &str) -> Result<(), Failure> {
    let (ops, callers): (usize, usize) = (ops.parse()?, callers.parse()?);
    let manager = if way == "private" { Manager::private()? } else { Manager::system()? };
    let pids = read(pids)?;
    let placed = |scope: Scope| if way == "spread" { scope.spread(Spread::Over(SPREAD)) } else { scope };
    let scopes: Vec<Scope> = (0..ops).map(|at| placed(scope(at, pids[at], slice))).collect();
    learn(&manager)?;
    let before = manager.stats()?;
    let (created, active) = phase(callers, &scopes, |scope| manager.create_scope(scope, PATIENCE))?;
    let after = manager.stats()?;
    let (stopped, _) = phase(callers, &active, |active: &ActiveScope| active.stop(PATIENCE))?;
    let messages = |stats: &unitwait::Stats| stats.messages_sent + stats.messages_received;
    let messages = (messages(&after) - messages(&before)) as f64 / ops as f64;
    println!("{}", json!({ "create": created, "stop": stopped, "messages": messages }));
    Ok(())
}

/// The first create with a process of another's tells whether this systemd knows pidfds.
fn learn(manager: &Manager) -> Result<(), Failure> {
    let mut first = process::Command::new("sleep").arg("60").spawn()?;
    let name = format!("bench-first-{}.scope", process::id());
    let scope = Scope::new(name).pid(first.id());
    let learned = manager.create_scope(&scope, PATIENCE);
    first.kill()?;
    first.wait()?;
    learned?;
    Ok(())
}

pub fn read(pids: &str) -> Result<Vec<u32>, Failure> {
    let pids: Result<Vec<u32>, _> = fs::read_to_string(pids)?.split_whitespace().map(str::parse).collect();
    Ok(pids?)
}

fn scope(at: usize, pid: u32, slice: &str) -> Scope {
    let name = format!("bench-unitwait{}-{at}.scope", process::id());
    Scope::new(name).pid(pid).slice(slice).default_dependencies(false)
}

/// Threads that call without a pause; a caller alone is the main thread.
pub fn phase<A: Sync, T: Send, E: Display + Send>(
    callers: usize,
    all: &[A],
    call: impl Fn(&A) -> Result<T, E> + Sync,
) -> Result<(Json, Vec<T>), Failure> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::with_capacity(all.len()));
    let work = || {
        let mut own = Vec::with_capacity(all.len() / callers + 1);
        while let Some(asked) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let begun = Instant::now();
            let result = call(asked);
            own.push((begun.elapsed().as_nanos() as u64, result));
        }
        outcomes.lock().expect("no caller panics").extend(own);
    };
    let (cpu, begun) = (processor(), Instant::now());
    if callers == 1 {
        work();
    } else {
        thread::scope(|threads| (0..callers).for_each(|_| drop(threads.spawn(work))));
    }
    let (wall, cpu) = (begun.elapsed().as_nanos() as u64, processor().saturating_sub(cpu));
    let (mut times, mut went_well) = (Vec::new(), Vec::new());
    for (time, result) in outcomes.into_inner().expect("no caller panics") {
        times.push(time);
        match result {
            Ok(value) => went_well.push(value),
            Err(error) => eprintln!("compare: {error}"),
        }
    }
    let errors = times.len() - went_well.len();
    Ok((json!({ "wall_ns": wall, "cpu_ns": cpu, "times_ns": times, "errors": errors }), went_well))
}

/// Of the threads that are there: of one caller all.
fn processor() -> u64 {
    threads(|directory| {
        fs::read_to_string(directory.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
    })
}

fn threads(of: impl Fn(std::path::PathBuf) -> Option<u64>) -> u64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    threads.filter_map(|thread| of(thread.path())).sum()
}

/// One scope, and then nothing, until the input ends: how often any thread but this one has run from a minute later on,
/// and what came in.
pub fn idle(pids: &str) -> Result<(), Failure> {
    let manager = Manager::system()?;
    manager.create_scope(&scope(0, read(pids)?[0], "compare.slice"), PATIENCE)?.stop(PATIENCE)?;
    thread::sleep(Duration::from_secs(60));
    let before = manager.stats()?;
    let own = process::id().to_string();
    let wake_ups = || {
        threads(|directory| {
            let status = fs::read_to_string(directory.join("status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.filter(|_| !directory.ends_with(&own))?.trim().parse().ok()
        })
    };
    // What the question for the counters has set off is over by then.
    thread::sleep(Duration::from_millis(200));
    let (at_first, begun) = (wake_ups(), Instant::now());
    io::stdin().read_to_end(&mut Vec::new())?;
    let (woken, lasted) = (wake_ups() - at_first, begun.elapsed());
    let received = manager.stats()?.messages_received - before.messages_received;
    println!("{}", json!({ "wake_ups": woken, "received": received, "seconds": lasted.as_secs_f64() }));
    Ok(())
}

/// As many tickets as there are processes, all handed over before the first is waited for.
pub fn tickets(pids: &str) -> Result<(), Failure> {
    let pids = read(pids)?;
    let manager = Manager::system()?;
    let slice = |at: usize| format!("compare-t{}.slice", at % SLICES);
    let scopes: Vec<Scope> = pids.iter().enumerate().map(|(at, pid)| scope(at, *pid, &slice(at))).collect();
    let mut tickets: Vec<Ticket<ActiveScope>> = Vec::with_capacity(scopes.len());
    let before = resident();
    let begun = Instant::now();
    for scope in &scopes {
        tickets.push(manager.submit(scope, LONG)?);
    }
    let (queued, grown) = (manager.stats()?.queued, resident().saturating_sub(before));
    let mut jobs = Vec::with_capacity(tickets.len());
    for ticket in tickets {
        jobs.extend(ticket.wait(LONG)?.job().map(unitwait::JobId::get));
    }
    println!(
        "{}",
        json!({
            "done": jobs.len(), "queued": queued, "bytes_each": grown / (queued as u64).max(1),
            "in_order": jobs.is_sorted(), "seconds": begun.elapsed().as_secs_f64(),
        })
    );
    Ok(())
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() * 1024
}
