//! The same work by several clients of systemd, in rounds of each in turn. Started by `scripts/compare`, which builds the
//! others and gives all of them one sandbox.

#[path = "../../src/cli/bench/chart.rs"]
#[allow(dead_code, reason = "the command's own")]
mod chart;
mod figures;
mod goals;
#[path = "../../src/cli/bench/holder.rs"]
#[allow(dead_code, reason = "the command's own")]
mod holder;
mod keeper;
mod libdbus;
mod live;
mod peer;
mod rounds;
mod table;

use std::env;
use std::error::Error;
use std::process::ExitCode;

const USAGE: &str =
    "usage: compare rounds|live ROUNDS PEERS-DIRECTORY OUT-DIRECTORY, in the sandbox; see scripts/compare";

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let in_sandbox = env::var_os("UNITWAIT_SANDBOX").is_some();
    let done = match words.as_slice() {
        ["rounds" | "live", ..] if !in_sandbox => {
            Err("it asks much of PID 1: only in the sandbox; see scripts/compare".into())
        }
        ["rounds", rounds, peers, out] => rounds::run(rounds, peers, out),
        ["live", rounds, peers, out] => live::run(rounds, peers, out),
        [way @ ("system" | "private" | "spread"), ops, callers, slice, pids] => {
            peer::load(way, ops, callers, slice, pids)
        }
        [
            way @ ("libdbus" | "libdbus-private" | "libdbus-kept" | "libdbus-kept-private"),
            ops,
            "1",
            slice,
            pids,
        ] => libdbus::load(way, ops, slice, pids),
        ["idle", pids] => peer::idle(pids),
        ["tickets", pids] => peer::tickets(pids),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}
