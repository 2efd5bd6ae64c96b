//! The README says what is so: its commands exist, and the output that it shows is the program's.

mod common;

use std::fs;
use std::path::PathBuf;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

fn readme() -> String {
    fs::read_to_string(path()).expect("README.md")
}

/// The fenced blocks of one kind, in order.
fn blocks<'t>(text: &'t str, kind: &str) -> Vec<&'t str> {
    let opening = format!("```{kind}\n");
    text.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

fn quick_start(text: &str) -> &str {
    let section = text.split("\n## Quick start\n").nth(1).expect("a section Quick start");
    section.split("\n## ").next().unwrap_or_default()
}

/// CI runs these two as they stand.
#[test]
fn quick_start_has_two_commands_of_one_line() {
    let text = readme();
    let commands = blocks(quick_start(&text), "sh");
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(commands.iter().all(|c| c.lines().count() == 1), "{commands:?}");
    assert!(commands[0].starts_with("cargo run") && commands[1].starts_with("cargo test"), "{commands:?}");
}

/// `UPDATE_README=1 cargo test --test readme` writes the output as it is now.
#[test]
fn the_report_shown_is_the_one_printed() {
    let text = readme();
    let section = quick_start(&text);
    let args = blocks(section, "sh")[0].trim().split_once(" -- ").expect("arguments after --").1;
    let args: Vec<_> = args.split(' ').collect();
    let printed = common::stdout(&args, b"");
    let shown = blocks(section, "text")[0];
    if std::env::var_os("UPDATE_README").is_some() {
        let updated = text.replacen(&format!("```text\n{shown}```"), &format!("```text\n{printed}```"), 1);
        fs::write(path(), updated).expect("README.md is written");
    } else {
        assert_eq!(shown, printed, "UPDATE_README=1 cargo test --test readme brings README.md up to date");
    }
}

#[test]
fn every_option_shown_exists() {
    let help = common::stdout(&["--help"], b"");
    let text = readme();
    for line in blocks(&text, "sh").iter().flat_map(|b| b.lines()) {
        let Some((_, command)) = line.split_once("hbsniff ") else { continue };
        for option in command.split(' ').filter(|word| word.starts_with("-") && *word != "-") {
            assert!(help.contains(option), "{option} of: {line}");
        }
    }
}

#[test]
fn every_file_linked_exists() {
    for link in readme().split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let file = path().with_file_name(link);
        assert!(link.starts_with("https://") || file.exists(), "{link}");
    }
}
