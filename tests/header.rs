//! The header that C programs include is what the code says: made from it, and checked in.

use std::path::Path;
use std::{env, fs};

use cbindgen::{Builder, Config, DocumentationStyle, Language, Style};

const HEADER: &str = "src/capi/unitwait.h";

/// Enumerations whose values are passed as `int`, for C lets a variable of one hold any number.
const NAMED_ONLY: [&str; 12] = [
    "unitwait_bus",
    "unitwait_dependency",
    "unitwait_device_policy",
    "unitwait_event",
    "unitwait_field",
    "unitwait_finding",
    "unitwait_gap",
    "unitwait_job_mode",
    "unitwait_log_level",
    "unitwait_on_exists",
    "unitwait_verb",
    "unitwait_whom",
];

fn generated() -> String {
    let mut config = Config {
        language: Language::C,
        style: Style::Both,
        cpp_compat: true,
        documentation_style: DocumentationStyle::C99,
        include_guard: Some("UNITWAIT_H".into()),
        header: Some(include_str!("header/preamble.h").trim_end().into()),
        line_length: 110,
        no_includes: true,
        sys_includes: ["stdbool.h", "stddef.h", "stdint.h"].map(String::from).into(),
        ..Config::default()
    };
    config.export.include = NAMED_ONLY.map(String::from).into();
    config.enumeration.enum_class = false;
    config.usize_is_size_t = true;
    // The modules that it declares are read with it.
    let builder = Builder::new().with_config(config).with_src("src/capi/mod.rs");
    let mut out = Vec::new();
    builder.generate().expect("cbindgen understands the C API").write(&mut out);
    let header = String::from_utf8(out).expect("a header is text");
    inlined(&header, ["Text", "Many_", "Out_"])
}

/// The header with plain pointers in place of the types by which the code looks at them: these are none of C's.
fn inlined(header: &str, wrappers: [&str; 3]) -> String {
    let (mut lines, mut names): (Vec<String>, Vec<(String, String)>) = (Vec::new(), Vec::new());
    for line in header.lines() {
        let definition = line.strip_prefix("typedef ").and_then(|rest| rest.strip_suffix(';'));
        let name_at = definition.and_then(|text| text.rfind(['*', ' '])).unwrap_or_default() + 1;
        match definition.map(|text| text.split_at(name_at)) {
            Some((meaning, name)) if wrappers.iter().any(|wrapper| name.starts_with(wrapper)) => {
                names.push((name.into(), meaning.replace("const Text ", "const char *const ")));
                while lines.last().is_some_and(|line| line.starts_with("//")) {
                    lines.pop();
                }
                lines.pop();
            }
            _ => lines.push(line.into()),
        }
    }
    // The longest first, for one name may begin another.
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let mut text = lines.join("\n") + "\n";
    for (name, meaning) in &names {
        text = text.replace(&format!("{name} "), meaning);
        text = text.replace(&format!("{name},"), &format!("{meaning},"));
    }
    text
}

#[test]
fn the_header_that_is_checked_in_is_what_the_code_says() {
    let (made, path) = (generated(), Path::new(HEADER));
    if env::var_os("UNITWAIT_WRITE_HEADER").is_some() {
        fs::write(path, &made).expect("the header can be written");
    }
    let held = fs::read_to_string(path).unwrap_or_default();
    assert!(held == made, "{HEADER} is stale: UNITWAIT_WRITE_HEADER=1 cargo test --test header");
}
