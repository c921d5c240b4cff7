//! `man`: the manual's pages, one for each command, from what `--help` is made of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use serde_json::json;

use crate::args::{Arguments, Manual};
use crate::failure::Failure;
use crate::session::Session;

pub fn man(session: &Session, asked: &Manual) -> Result<(), Failure> {
    fs::create_dir_all(&asked.directory).map_err(|source| unwritten(&asked.directory, source))?;
    let mut pages: Vec<String> = Vec::new();
    for command in commands() {
        let path = write(command, &asked.directory)?;
        pages.push(path.display().to_string());
    }
    session.output.result(|| json!({ "pages": pages }), || pages.join("\n"))
}

/// This command and each of its own.
fn commands() -> Vec<Command> {
    let mut all = Arguments::command().disable_help_subcommand(true);
    all.build();
    let own: Vec<Command> = all.get_subcommands().cloned().collect();
    [all].into_iter().chain(own).collect()
}

fn write(command: Command, directory: &Path) -> Result<PathBuf, Failure> {
    let notes = command.get_after_help().map(ToString::to_string);
    let others = others(&command);
    let source = format!("unitwait {}", env!("CARGO_PKG_VERSION"));
    let page = Man::new(command).source(source).manual("unitwait");
    let path = directory.join(page.get_filename());
    let mut text = Vec::new();
    render(&page, notes.as_deref().unwrap_or_default(), &others, &mut text)
        .and_then(|()| fs::write(&path, text))
        .map_err(|source| unwritten(&path, source))?;
    Ok(path)
}

fn unwritten(path: &Path, source: io::Error) -> Failure {
    Failure::System { doing: format!("write {}", path.display()), source }
}

/// The pages to see also.
fn others(command: &Command) -> Vec<String> {
    let own = command.get_subcommands().filter_map(|own| own.get_display_name()).map(String::from);
    let mut others: Vec<String> = own.collect();
    if others.is_empty() {
        others.push("unitwait".into());
    }
    others.push("systemctl".into());
    others
}

fn render(page: &Man, notes: &str, others: &[String], to: &mut Vec<u8>) -> io::Result<()> {
    page.render_title(to)?;
    page.render_name_section(to)?;
    page.render_synopsis_section(to)?;
    page.render_description_section(to)?;
    page.render_options_section(to)?;
    if others.len() > 2 {
        page.render_subcommands_section(to)?;
    }
    let mut roff = Roff::new();
    let mut last = Part::Nothing;
    for line in notes.lines().filter(|line| !line.trim().is_empty()) {
        last = tell(line, last, &mut roff);
    }
    roff.control("SH", ["SEE ALSO"]);
    for (at, other) in others.iter().enumerate() {
        let comma = if at + 1 < others.len() { "," } else { "" };
        roff.text([bold(other.as_str()), roman(format!("(1){comma}"))]);
    }
    roff.to_writer(to)
}

/// What a line of the text after the options is.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Nothing,
    Heading,
    Row,
    Prose,
}

/// One line of that text: a heading ends with a colon, a row of a table is indented, with two spaces between its
/// columns, and all else is prose.
fn tell(line: &str, last: Part, roff: &mut Roff) -> Part {
    if line.starts_with(' ') {
        let (term, meaning) = line.trim().split_once("  ").unwrap_or((line.trim(), ""));
        roff.control("TP", []);
        roff.text([bold(term)]);
        roff.text([roman(meaning.trim())]);
        return Part::Row;
    }
    if let Some(heading) = line.strip_suffix(':') {
        roff.control("SH", [heading.to_uppercase().as_str()]);
        return Part::Heading;
    }
    match last {
        Part::Nothing => drop(roff.control("SH", ["NOTES"])),
        Part::Row => drop(roff.control("PP", [])),
        Part::Heading | Part::Prose => {}
    }
    roff.text([roman(line)]);
    Part::Prose
}
