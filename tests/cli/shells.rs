//! Completions and the manual, from the same source as `--help`.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::sandbox::{object, run, stderr, stdout};

fn fed(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn commands() -> Vec<String> {
    let help = run(["--help"]);
    let listed = stdout(&help).split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = listed.lines().map(|line| line.split_whitespace().next().unwrap().to_string());
    names.filter(|name| name != "help").collect()
}

#[test]
fn bash_takes_the_completions_and_completes_by_them() {
    let script = run(["completions", "bash"]);
    assert_eq!((script.status.code(), stderr(&script)), (Some(0), ""));
    let checked = fed("bash", &["-n"], stdout(&script));
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
    let ask = "\ncomplete -p unitwait\nCOMP_WORDS=(unitwait fre) COMP_CWORD=1\n_unitwait unitwait fre unitwait\n\
               echo \"${COMPREPLY[@]}\"\nCOMP_WORDS=(unitwait wait --ti) COMP_CWORD=2\n_unitwait unitwait --ti wait\n\
               echo \"${COMPREPLY[@]}\"\n";
    let completed = fed("bash", &["--norc"], &format!("{}{ask}", stdout(&script)));
    let lines: Vec<&str> = stdout(&completed).lines().collect();
    assert!(lines[0].starts_with("complete ") && lines[0].ends_with(" unitwait"), "{completed:?}");
    assert_eq!(lines[1..], ["freeze", "--timeout"], "{completed:?}");
}

#[test]
fn each_shells_completions_know_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(["completions", shell]);
        assert_eq!(script.status.code(), Some(0), "{script:?}");
        for command in commands() {
            assert!(stdout(&script).contains(&command), "{shell} lacks {command}");
        }
    }
}

/// A place that does not outlive the sandbox.
fn directory(name: &str) -> PathBuf {
    PathBuf::from(format!("/run/unitwait-{name}-{}", std::process::id()))
}

#[test]
fn the_manual_has_a_page_for_each_command_that_a_formatter_takes() {
    let directory = directory("man").join("man1");
    let written = run(["man".as_ref(), directory.as_os_str()]);
    assert_eq!(written.status.code(), Some(0), "{written:?}");
    let pages: Vec<String> = ["unitwait".to_string()]
        .into_iter()
        .chain(commands().iter().map(|name| format!("unitwait-{name}")))
        .collect();
    assert!(pages.len() > 15, "{pages:?}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), pages.len());
    for page in &pages {
        let path = directory.join(format!("{page}.1"));
        let source = fs::read_to_string(&path).unwrap();
        assert!(source.contains(&format!(".TH {page} 1 ")), "{source}");
        let told = stdout(&written).lines().any(|line| line == path.to_str().unwrap());
        assert!(told, "{page} is not told: {written:?}");
        if let Some(text) = formatted(&source) {
            let name = text.split("NAME").nth(1).unwrap_or_default();
            assert!(
                name.trim_start().starts_with(page.as_str()) && text.contains("--timeout"),
                "{page}: {text}"
            );
        }
    }
    let main = fs::read_to_string(directory.join("unitwait.1")).unwrap();
    for there in [".SH \"EXIT STATUS\"", "UNITWAIT_LOG", "unitwait\\-freeze"] {
        assert!(main.contains(there), "{there} is not in {main}");
    }
    let again = object(&run(["--json".as_ref(), "man".as_ref(), directory.as_os_str()]).stdout);
    assert_eq!(again["pages"].as_array().map(Vec::len), Some(pages.len()));
}

/// The page as text, without a word of complaint; `None` where this machine has no formatter.
fn formatted(source: &str) -> Option<String> {
    if Command::new("groff").arg("--version").output().is_err() {
        return None;
    }
    let page = fed("groff", &["-man", "-Tascii", "-ww", "-P-cbou"], source);
    assert!(page.status.success() && page.stderr.is_empty(), "{page:?}");
    Some(stdout(&page).to_string())
}
