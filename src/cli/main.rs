//! The command `unitwait`: the library's promises for shells and scripts, with an exit status for each way to fail.

mod args;
mod attach;
mod audit;
mod bench;
mod completions;
mod create;
mod doctor;
mod failure;
mod freeze;
mod inspect;
mod interrupt;
mod kill;
mod live;
mod man;
mod name;
mod output;
mod picture;
mod property;
mod run;
mod session;
mod set;
mod stop;
mod units;
mod wait;
mod watch;

use std::env;
use std::io::Write;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Parser;
use log::LevelFilter;

use crate::args::{Arguments, Command};
use crate::failure::{Failure, status};
use crate::output::{Output, milliseconds};
use crate::session::Session;

fn main() -> ExitCode {
    // A panic is a fault of this program; Rust's own status for it, 101, would pass for the command's.
    catch_unwind(|| ExitCode::from(speak())).unwrap_or(ExitCode::from(status::INTERNAL))
}

fn speak() -> u8 {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(refusal) => return refuse(&refusal),
    };
    let output = Output::new(&arguments.global);
    start_log(arguments.global.verbose);
    match obey(arguments, output) {
        Ok(()) => 0,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_status()
        }
    }
}

fn obey(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let session = Session::new(&arguments.global, output)?;
    match &arguments.command {
        Command::Run(asked) => run::run(&session, asked),
        Command::Create(asked) => create::create(&session, asked),
        Command::Set(asked) => set::set(&session, asked),
        Command::Attach(asked) => attach::attach(&session, asked),
        Command::Freeze(asked) => freeze::freeze(&session, &asked.units),
        Command::Thaw(asked) => freeze::thaw(&session, &asked.units),
        Command::Stop(asked) => stop::stop(&session, &asked.units),
        Command::Kill(asked) => kill::kill(&session, asked),
        Command::Wait(asked) => wait::wait(&session, &asked.units.units),
        Command::Status(asked) => inspect::status(&session, &asked.units),
        Command::Audit(asked) => audit::audit(&session, &asked.units),
        Command::List(asked) => inspect::list(&session, asked),
        Command::Watch(asked) => watch::watch(&session, &asked.patterns),
        Command::Bench(asked) => bench::bench(&session, asked),
        Command::Doctor => doctor::doctor(&session),
        Command::Completions(asked) => completions::completions(&session, asked),
        Command::Man(asked) => man::man(&session, asked),
    }
}

/// What clap would not take, and also `--help` and `--version`, which it tells in the same way.
fn refuse(refusal: &clap::Error) -> u8 {
    if !refusal.use_stderr() {
        // Whoever closed the pipe has read enough of it.
        let _ = refusal.print();
        return 0;
    }
    // The arguments are not parsed, so whether JSON is wanted has to be seen in them as they are.
    if env::args_os().skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json") {
        let text = refusal.to_string();
        // What is missing is in lines of its own; usage and hints come after an empty one.
        let said: Vec<_> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        Output::JSON.failure(&Failure::Usage(said.join(" ").trim_start_matches("error: ").into()));
    } else {
        let _ = refusal.print();
    }
    status::USAGE
}

/// The library's log, silent unless asked for: its warnings are in the errors too.
fn start_log(verbose: bool) {
    let begun = Instant::now();
    let mut builder = env_logger::Builder::new();
    builder.filter_level(LevelFilter::Off);
    if verbose {
        builder.filter_module("unitwait", LevelFilter::Debug);
    }
    builder.parse_env("UNITWAIT_LOG");
    let last = Mutex::new(String::new());
    builder.format(move |to, record| {
        let line = record.args().to_string();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        // To open a manager takes two requests side by side, whose stages would be told twice.
        if *last != line {
            writeln!(to, "unitwait: [{:>9}] {line}", milliseconds(begun.elapsed()))?;
            *last = line;
        }
        Ok(())
    });
    builder.init();
}
