//! `--tui` as a user meets it: the built program on a terminal, keys, and the terminal as it was afterwards.
#![cfg(all(target_os = "linux", feature = "tui"))]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::terminal::Terminal;
use rustix::process::{Pid, Signal, kill_process};

/// A client that found its server dead, and one that is well.
fn captures() -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let of = |name: &str| fixtures.join(name).join("capture.pcap").display().to_string();
    format!("'{}' '{}'", of("keepalive_healthy_client"), of("keepalive_cut_client_detects"))
}

/// Runs the program on those; afterwards the shell tells its status and how the terminal is set.
fn start(directory: &Path, options: &str) -> Option<Terminal> {
    let program = env!("CARGO_BIN_EXE_hbsniff");
    let run = format!("echo $$ > pid; exec '{program}' {} --tui {options}", captures());
    fs::write(directory.join("run"), run).expect("the script");
    Terminal::run(Command::new("env"), directory, 24, 80, "sh run; echo status=$?; stty -a")
}

fn given_back(terminal: &Terminal) {
    let after = terminal.wait("the shell", |shown| shown.contains("status=") && shown.contains("icanon"));
    assert!(after.contains("status=0"), "{after}");
    assert!(!after.contains("-icanon") && !after.contains("-echo "), "{after}");
    assert!(!terminal.taken(), "{after}");
}

#[test]
fn the_dead_flow_comes_first_and_q_gives_the_terminal_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(mut terminal) = start(directory.path(), "") else { return };
    let table = terminal.wait("the table", |shown| {
        ["ended at", "SERVER DEAD", "All 2", "Dead 1", "Ok 1"].iter().all(|text| shown.contains(text))
    });
    assert!(terminal.taken());
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[3].starts_with('▌') && lines[3].contains("SERVER DEAD"), "{table}");
    assert!(lines[4].contains(" → "), "{table}");
    terminal.press("\r");
    terminal.wait("the flow's page", |shown| shown.contains("keepalive probe, unanswered") || shown.contains("Events"));
    terminal.press("\u{1b}");
    terminal.wait("the table", |shown| shown.contains("by worst"));
    terminal.press("/!dead\r");
    terminal.wait("one flow", |shown| shown.contains("1 match") && !shown.contains("SERVER DEAD"));
    terminal.press("w");
    let told =
        terminal.wait("the message", |shown| shown.contains("saved ") && shown.contains(".json and .txt (2 flows)"));
    assert!(told.contains("hbsniff-20"), "{told}");
    terminal.press("q");
    given_back(&terminal);
    let saved = |kind: &str| {
        let files = fs::read_dir(directory.path()).expect("the directory").flatten().map(|file| file.path());
        let mut saved = files.filter(|path| path.extension().is_some_and(|e| e == kind));
        fs::read_to_string(saved.next().expect("a report")).expect("the report")
    };
    let document: serde_json::Value = serde_json::from_str(&saved("json")).expect("one document");
    assert_eq!(document["summary"]["dead_peers"], 1);
    assert!(saved("txt").contains("SERVER DEAD"));
}

#[test]
fn ctrl_c_and_sigterm_give_the_terminal_back() {
    for how in ["key", "signal"] {
        let directory = tempfile::tempdir().expect("a directory");
        let Some(mut terminal) = start(directory.path(), "") else { return };
        terminal.wait("the table", |shown| shown.contains("SERVER DEAD"));
        if how == "key" {
            terminal.press("\u{3}");
        } else {
            let pid = fs::read_to_string(directory.path().join("pid")).expect("the process's id");
            let pid = Pid::from_raw(pid.trim().parse().expect("a number")).expect("a process");
            kill_process(pid, Signal::TERM).expect("SIGTERM");
        }
        given_back(&terminal);
    }
}

#[test]
fn without_a_terminal_it_says_so() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/keepalive_healthy_client/capture.pcap");
    let output = common::hbsniff(&["--tui", &fixture.display().to_string()], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("--tui needs a terminal"), "{said}");
}
