//! What the documentation promises of itself: every public function has an example that the compiler has seen.

use std::fs;
use std::path::{Path, PathBuf};

/// A function that anybody may call, or could if its type were theirs to name.
struct Function {
    line: usize,
    name: String,
    has_example: bool,
}

/// The functions that are `pub` and no less. Whether a type is reexported is not asked: those that are not have no
/// such functions.
fn public_functions(source: &str) -> Vec<Function> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let named = lines.iter().enumerate().filter_map(|(at, line)| Some((at, name_of(line)?)));
    named
        .map(|(at, name)| Function {
            line: at + 1,
            name: name.into(),
            has_example: has_example(&lines[..at]),
        })
        .collect()
}

fn name_of(line: &str) -> Option<&str> {
    let (qualifiers, rest) = line.strip_prefix("pub ")?.split_once("fn ")?;
    let is_qualifier = |word: &str| matches!(word, "const" | "async" | "unsafe" | "extern" | "\"C\"");
    qualifiers.split_whitespace().all(is_qualifier).then_some(rest.split(['(', '<']).next()?.trim())
}

/// Whether the comment right above has a block of code that rustdoc compiles.
fn has_example(above: &[&str]) -> bool {
    let is_marked = |line: &str| line.starts_with("///") || line.starts_with("#[");
    // Of an attribute over many lines only the first is marked.
    let is_other = |line: &str| line.is_empty() || (!is_marked(line) && line.ends_with(['{', '}', ';']));
    let begin = above.iter().rposition(|line| is_other(line)).map_or(0, |last| last + 1);
    let fences =
        above[begin..].iter().filter_map(|line| line.strip_prefix("///")?.trim().strip_prefix("```"));
    let mut opening = fences.step_by(2);
    opening.any(|language| {
        language.split(',').all(|word| matches!(word, "" | "rust" | "no_run" | "should_panic"))
    })
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the sources can be listed") {
        let path = entry.expect("the sources can be listed").path();
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        if path.is_dir() {
            sources(&path, found);
        } else if is_rust && path.file_name().is_some_and(|name| name != "tests.rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_public_function_has_an_example_that_compiles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    // The command is a program, and has no callers; the C API has C's, and of each function a use in `ffi-tests`.
    files.retain(|file| !["cli", "capi"].iter().any(|part| file.starts_with(root.join(part))));
    files.sort();
    let (mut seen, mut bare) = (Vec::new(), Vec::new());
    for file in files {
        for function in public_functions(&fs::read_to_string(&file).expect("a source can be read")) {
            if !function.has_example {
                let file = file.strip_prefix(&root).expect("it is below").display();
                bare.push(format!("src/{file}:{}: {}", function.line, function.name));
            }
            seen.push(function.name);
        }
    }
    for known in ["create_scope", "memory_max", "description", "invocation_id", "detect"] {
        assert!(seen.iter().any(|name| name == known), "`{known}` was not looked at");
    }
    assert!(bare.is_empty(), "without an example that compiles:\n{}", bare.join("\n"));
}

#[test]
fn a_function_without_an_example_is_found() {
    let source = r#"
        /// Has one.
        ///
        /// ```no_run
        /// loop {}
        /// ```
        #[must_use]
        pub const fn shown(self) -> Self {
        }
        /// Has none, whatever stands above.
        #[allow(
            unused
        )]
        pub fn bare<T: Into<u8>>(self) {}

        /// ```text
        /// no program
        /// ```
        pub fn only_text() {}

        pub unsafe fn uncommented();

        /// ```
        #[doc = concat!("let a =", "1;")]
        /// ```
        #[allow(
            unused
        )]
        pub fn by_attribute(&self) {}

        pub(crate) fn ours() {}
        pub type Callback = fn (u8);
    "#;
    let found: Vec<(String, bool)> =
        public_functions(source).into_iter().map(|function| (function.name, function.has_example)).collect();
    let expected = [
        ("shown", true),
        ("bare", false),
        ("only_text", false),
        ("uncommented", false),
        ("by_attribute", true),
    ];
    assert_eq!(found, expected.map(|(name, has_example)| (name.to_string(), has_example)));
}
