//! How soon a program's first scope is active, from the program's exec on: this library's `one_scope` beside
//! `systemd-run --scope`, round by round in turn. Started by `scripts/startup`, in the sandbox.
//!
//! Both place themselves and then execute a command, which runs in a scope that is active: this program once more, whose
//! first act is to say what time it is.

use std::env;
use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["now"] => now().map(|now| println!("{}", now.as_nanos())),
        ["compare", program, rounds] => compare(program, rounds),
        _ => Err("usage: startup now | startup compare PROGRAM ROUNDS".into()),
    };
    done.map_or_else(
        |error| {
            eprintln!("startup: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

/// The same clock for all processes.
fn now() -> Result<Duration, Box<dyn Error>> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?))
}

fn compare(program: &str, rounds: &str) -> Result<(), Box<dyn Error>> {
    let rounds: usize = rounds.parse()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first of each reads its files from the disk.
    for round in 0..=rounds {
        let one = until_active(&[program])?;
        let other = until_active(&["systemd-run", "--scope", "--quiet", "--"])?;
        if round > 0 {
            ours.push(one);
            theirs.push(other);
        }
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "one_scope: {:.2} ms; systemd-run: {:.2} ms; medians of {rounds} rounds",
        millis(ours),
        millis(theirs)
    );
    println!("ratio: {:.0} hundredths", ours.as_secs_f64() / theirs.as_secs_f64() * 100.0);
    Ok(())
}

fn until_active(program: &[&str]) -> Result<Duration, Box<dyn Error>> {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg(env::current_exe()?).arg("now");
    let begun = now()?;
    let output = command.output()?;
    let active = String::from_utf8(output.stdout)?.trim().parse().map(Duration::from_nanos);
    let active = active.map_err(|_| format!("{program:?}: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(active.saturating_sub(begun))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
