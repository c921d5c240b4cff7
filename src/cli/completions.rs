//! `completions`: what a shell needs to complete this command's own words.

use clap::CommandFactory;
use serde_json::json;

use crate::args::{Arguments, Completions};
use crate::failure::Failure;
use crate::session::Session;

pub fn completions(session: &Session, asked: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut Arguments::command(), "unitwait", &mut script);
    let script = String::from_utf8_lossy(&script);
    session
        .output
        .result(|| json!({ "shell": asked.shell.to_string(), "script": script }), || script.to_string())
}
