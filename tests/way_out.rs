//! How the program ends when its output or its user ends it: nothing lost that it knew, nothing half said.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use common::pcap::{Pcap, SYN, segment};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// SYNs from so many clients, one each millisecond.
fn syns(clients: u32) -> Pcap {
    let mut pcap = Pcap::new();
    for client in 0..clients {
        pcap.packet(i64::from(client) * 1_000_000, &segment(client, SYN, 1, 0));
    }
    pcap
}

/// The program, reading a pipe.
struct Running {
    child: Child,
    input: ChildStdin,
}

impl Running {
    fn start(args: &[&str], stdout: Stdio) -> Running {
        let mut child =
            common::command().args(args).stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        Running { child, input }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has read all it was given.
    fn catch_up(&self) {
        let mut left = u64::MAX;
        until("the program reads its input", || {
            left = rustix::io::ioctl_fionread(&self.input).unwrap();
            left == 0
        });
        // Read is not yet analysed: two rounds of its wait for more are.
        std::thread::sleep(Duration::from_millis(200));
    }

    /// Waits for its end, while its input stays open.
    fn end(self) -> (ExitStatus, Vec<u8>, String) {
        let output = self.child.wait_with_output().unwrap();
        drop(self.input);
        (output.status, output.stdout, String::from_utf8(output.stderr).unwrap())
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Forms of output, each longer than any buffer for the capture below.
const FORMS: [&str; 3] = ["--json", "--events", "--all"];

#[test]
fn a_full_disk_is_an_error_in_every_form() {
    let capture = syns(2000);
    for form in FORMS {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut run = Running::start(&[form, "-"], full.into());
        // It may end before it has read all.
        let _ = run.input.write_all(capture.bytes());
        let Running { child, input } = run;
        drop(input);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{form}: {stderr}");
        assert!(stderr.contains("cannot write the output: No space left"), "{form}: {stderr}");
        assert!(!stderr.contains("panicked"), "{form}: {stderr}");
    }
}

#[test]
fn a_disk_that_fills_up_on_the_way_is_an_error_too() {
    let capture = syns(2000);
    for form in FORMS {
        let whole = common::stdout(&[form, "-"], capture.bytes()).len() as u64;
        for room in [1, 70_000, whole - 1] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("out");
            let input = dir.path().join("in.pcap");
            fs::write(&input, capture.bytes()).unwrap();
            // A limit on the size of files stands for the end of the disk; SIGXFSZ is ignored, so that a write fails.
            let script = r#"trap '' XFSZ; exec prlimit --fsize="$1" "$2" "$3" "$4" >"$5""#;
            let output = std::process::Command::new("sh")
                .args(["-c", script, "sh", &room.to_string(), env!("CARGO_BIN_EXE_hbsniff"), form])
                .args([&input, &file])
                .output()
                .unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{form}, room for {room} of {whole}: {stderr}");
            assert!(stderr.contains("cannot write the output"), "{form}: {stderr}");
            let written = fs::read(&file).unwrap();
            assert_eq!(written.len() as u64, room, "{form}");
            assert!(serde_json::from_slice::<Value>(&written).is_err() || form != "--json");
        }
    }
}

#[test]
fn a_reader_that_leaves_midway_ends_it_quietly() {
    let capture = syns(5000);
    for form in FORMS {
        let run = Running::start(&[form, "-"], Stdio::piped());
        let Running { mut child, mut input } = run;
        let mut out = child.stdout.take().unwrap();
        let bytes = capture.bytes().to_vec();
        let writer = std::thread::spawn(move || drop(input.write_all(&bytes)));
        out.read_exact(&mut [0; 100]).unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{form}");
    }
}

#[test]
fn a_signal_gives_the_whole_report() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut run = Running::start(&["--json", "-"], Stdio::piped());
        run.input.write_all(syns(100).bytes()).unwrap();
        run.catch_up();
        run.signal(signal);
        let (status, stdout, stderr) = run.end();
        assert_eq!(status.code(), Some(0), "{stderr}");
        let report: Value = serde_json::from_slice(&stdout).unwrap();
        assert_eq!(report["flows"].as_array().unwrap().len(), 100);
        let warning = report["capture"]["warnings"][0].as_str().unwrap();
        assert!(warning.contains("interrupted after packet 100"), "{warning}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    // The report of so many flows does not fit a pipe that nobody reads: it cannot end by itself.
    let mut run = Running::start(&["--json", "-"], Stdio::piped());
    run.input.write_all(syns(2000).bytes()).unwrap();
    run.catch_up();
    run.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(500));
    assert!(run.child.try_wait().unwrap().is_none(), "it wrote a report of 2000 flows that nobody reads");
    run.signal(Signal::INT);
    let (status, stdout, _) = run.end();
    assert_eq!(status.code(), Some(128 + 2));
    assert!(serde_json::from_slice::<Value>(&stdout).is_err(), "half a report does not pass for a whole one");
}

#[test]
fn killed_at_any_moment_it_leaves_whole_events() {
    let capture = syns(20_000);
    for delay in 0..8 {
        let run = Running::start(&["--events", "-"], Stdio::piped());
        let Running { mut child, mut input } = run;
        let bytes = capture.bytes().to_vec();
        let writer = std::thread::spawn(move || drop(input.write_all(&bytes)));
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        let reader = std::thread::spawn(move || {
            let mut rest = Vec::new();
            out.read_to_end(&mut rest).unwrap();
            rest
        });
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        writer.join().unwrap();
        let rest = reader.join().unwrap();
        assert!(rest.is_empty() || rest.ends_with(b"\n"), "half a line after {} bytes", rest.len());
        for line in rest.split(|&b| b == b'\n').filter(|l| !l.is_empty()) {
            serde_json::from_slice::<Value>(line).unwrap();
        }
    }
}

#[test]
fn a_clock_that_steps_is_told_and_kills_nobody() {
    const SECOND: i64 = 1_000_000_000;
    let mut pcap = Pcap::new();
    // A handshake and a request answered each second; the clock is set back an hour, then forth a day.
    let mut clock = 100 * SECOND;
    let (mut client, mut server) = (1, 1);
    pcap.packet(clock, &segment(7, SYN, 0, 0));
    pcap.packet(clock + 1_000, &common::pcap::reply(7, SYN | common::pcap::ACK, 0, 1));
    pcap.packet(clock + 2_000, &segment(7, common::pcap::ACK, 1, 1));
    for round in 0..60 {
        clock += match round {
            20 => -3600 * SECOND,
            40 => 86_400 * SECOND,
            _ => SECOND,
        };
        pcap.packet(clock, &common::pcap::with(segment(7, common::pcap::ACK, client, server), b"ask"));
        client += 3;
        pcap.packet(
            clock + 1_000,
            &common::pcap::with(common::pcap::reply(7, common::pcap::ACK, server, client), b"tell"),
        );
        server += 4;
        pcap.packet(clock + 2_000, &segment(7, common::pcap::ACK, client, server));
    }
    let report: Value = serde_json::from_str(&common::stdout(&["--json", "-"], pcap.bytes())).unwrap();
    let warnings = report["capture"]["warnings"].as_array().unwrap();
    let told = warnings.iter().filter_map(Value::as_str).find(|w| w.contains("step back 1 time")).unwrap();
    assert!(told.contains("1 h"), "{told}");
    assert_eq!(report["flows"].as_array().unwrap().len(), 1);
    assert_eq!(report["flows"][0]["deaths"], serde_json::json!([]));
}

#[test]
fn without_anybody_to_tell_it_does_not_crash() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in.pcap");
    File::create(&input).unwrap().write_all(syns(10).bytes()).unwrap();
    for closed in ["exec \"$0\" \"$@\" >&-", "exec \"$0\" \"$@\" 2>&-", "exec \"$0\" \"$@\" >&- 2>&- <&-"] {
        let output = std::process::Command::new("sh")
            .args(["-c", closed, env!("CARGO_BIN_EXE_hbsniff"), "--json"])
            .arg(&input)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{closed}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
