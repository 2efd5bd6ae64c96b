//! The README says what is so: its commands exist, and the output that it shows is the program's.

mod common;

use std::fs;

use common::markdown::{blocks, links_exist, options_exist, path, read, shows_what_is_printed};

fn readme() -> String {
    read("README.md")
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

/// Each command whose output is shown, with that output. `UPDATE_README=1 cargo test --test readme` writes them as they
/// are now.
#[test]
fn the_reports_shown_are_those_printed() {
    let print = |command: &str| Some(common::stdout(&command.split(' ').collect::<Vec<_>>(), b""));
    assert_eq!(shows_what_is_printed("README.md", "cargo run -- ", "UPDATE_README", print), 2);
}

#[test]
fn the_protocols_listed_are_those_reported() {
    let text = readme();
    let list = text.split("\nHeartbeats are named: ").nth(1).and_then(|rest| rest.split('.').next()).expect("the list");
    let listed: Vec<_> = list.split(',').map(str::trim).collect();
    let mut names: Vec<_> = hbsniff::liveness::heartbeat::protocols::names().collect();
    names.sort_unstable();
    assert_eq!(listed, names);
}

/// The line of the section Use that pages somebody, run as it stands: for a dead peer, for none, and for a file that
/// cannot be read, which is no reason to wake anybody but is said.
#[test]
#[cfg(unix)]
fn the_line_that_pages_does_so_for_a_dead_peer_only() {
    let text = readme();
    let line = text.lines().find(|line| line.contains("page < report.txt")).expect("a line that pages");
    let program = env!("CARGO_BIN_EXE_hbsniff");
    let script = format!("hbsniff() {{ '{program}' \"$@\"; }}\npage() {{ cat > paged.txt; }}\n{line}\n");
    let fixtures = path("fixtures");
    for (capture, paged, complains) in [
        ("keepalive_cut_server_detects/capture.pcap", true, false),
        ("keepalive_healthy_client/capture.pcap", false, false),
        ("no_such_fixture/capture.pcap", false, true),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]).env("pcap", fixtures.join(capture)).current_dir(folder.path());
        let output = shell.output().expect("a shell");
        assert!(output.status.success(), "{capture}: {output:?}");
        let page = fs::read_to_string(folder.path().join("paged.txt"));
        assert_eq!(page.is_ok(), paged, "{capture}");
        assert!(page.is_ok_and(|text| text.contains("dead")) == paged, "{capture}");
        assert_eq!(!output.stderr.is_empty(), complains, "{capture}: {output:?}");
    }
}

#[test]
fn every_option_shown_exists() {
    options_exist("README.md");
}

#[test]
fn every_file_linked_exists() {
    links_exist("README.md");
}
