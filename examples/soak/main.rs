//! The long run: callers at random against a systemd to which everything happens. Started by `scripts/soak`, which
//! says what it fails on; it needs the sandbox, for it stops PID 1 and kills the bus.

mod chaos;
mod tally;
mod watch;
mod worker;

use std::env;
use std::error::Error;
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use unitwait::Manager;

use tally::Tally;
use watch::{Footprint, Metronome};
use worker::Worker;

const WORKERS: u64 = 8;
const LINE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    env_logger::init();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let done = match arguments.first().map(String::as_str) {
        Some("run") => run(number(1).unwrap_or(120), number(2).unwrap_or(1)),
        Some("chaos") => chaos::run(number(1).unwrap_or(1)),
        Some("forge") => chaos::forge(number(1).unwrap_or(1)),
        _ => Err("usage: soak run SECONDS SEED; started by scripts/soak".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(seconds: u64, seed: u64) -> Result<(), Box<dyn Error>> {
    if env::var_os("UNITWAIT_SANDBOX").is_none() {
        return Err("it stops PID 1 and kills the bus: only in the sandbox".into());
    }
    let managers = [Manager::system()?, Manager::private()?];
    let opened: u64 = managers.iter().map(|manager| manager.stats().map_or(0, |stats| stats.succeeded)).sum();
    let tally = Arc::new(Tally::default());
    let metronome = Metronome::start();
    let before = Footprint::now();
    let until = Instant::now() + Duration::from_secs(seconds);
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let manager = managers[usize::from(number % 4 == 3)].clone();
            let mut worker = Worker::new(manager, Arc::clone(&tally), seed * 1_000 + number);
            thread::spawn(move || worker.run(until))
        })
        .collect();
    let chaos = Chaos(Command::new(env::current_exe()?).args(["chaos", &seed.to_string()]).spawn()?);
    let warm = watch(&managers, &tally, &metronome, until);
    for worker in workers {
        worker.join().map_err(|_| "a worker panicked")?;
    }
    drop(chaos);
    chaos::heal()?;
    settle(&managers, &tally, opened)?;
    println!("soak: {}", line(&managers, &tally, &metronome));
    judge(&tally, &metronome, &before, &warm)
}

/// The second process, which is killed at the end of the run or of a failed one.
struct Chaos(Child);

impl Drop for Chaos {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prints a line every ten seconds, and gives the footprint once the run was warm.
fn watch(managers: &[Manager], tally: &Tally, metronome: &Metronome, until: Instant) -> Footprint {
    let begun = Instant::now();
    let warm_at = begun + (until - begun) / 3;
    let mut warm = None;
    while Instant::now() < until {
        thread::sleep(LINE.min(until.saturating_duration_since(Instant::now())));
        println!("soak: {:4} s, {}", begun.elapsed().as_secs(), line(managers, tally, metronome));
        if warm.is_none() && Instant::now() >= warm_at {
            warm = Some(Footprint::now());
        }
    }
    warm.unwrap_or_else(Footprint::now)
}

fn line(managers: &[Manager], tally: &Tally, metronome: &Metronome) -> String {
    let (mut late, mut foreign, mut connections) = (0, 0, 0);
    for stats in managers.iter().filter_map(|manager| manager.stats().ok()) {
        late += stats.late;
        foreign += stats.foreign;
        connections += stats.connections;
    }
    format!(
        "{tally}; {late} late, {foreign} foreign, {connections} connections; overrun {:.1} ms (machine {:.1} ms); {}",
        tally.worst().0.as_secs_f64() * 1e3,
        metronome.worst().as_secs_f64() * 1e3,
        Footprint::now()
    )
}

/// All that was asked has one outcome, and nothing is left in the tables once what was late is settled.
fn settle(managers: &[Manager], tally: &Tally, opened: u64) -> Result<(), Box<dyn Error>> {
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let (mut under_way, mut outcomes) = (0, 0);
        for manager in managers {
            let stats = manager.stats()?;
            under_way += stats.requests + stats.settling + stats.queued;
            outcomes += stats.succeeded + stats.failed + stats.timed_out;
        }
        let asked = tally.asked.load(Ordering::Relaxed) + opened;
        if under_way == 0 && outcomes == asked {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("{asked} requests, {outcomes} outcomes, {under_way} still under way").into());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn judge(
    tally: &Tally,
    metronome: &Metronome,
    before: &Footprint,
    warm: &Footprint,
) -> Result<(), Box<dyn Error>> {
    let falsehoods = tally.falsehoods();
    if !falsehoods.is_empty() {
        return Err(falsehoods.join("\n").into());
    }
    let allowed = Duration::from_millis(250) + metronome.worst();
    let (worst, what) = tally.worst();
    println!("soak: the worst overrun, {worst:?}: {what}");
    if worst > allowed {
        return Err(format!("a call returned {worst:?} past its deadline").into());
    }
    let now = Footprint::now();
    if let Some(growth) = now.growth(before, warm) {
        return Err(growth.into());
    }
    Ok(())
}
