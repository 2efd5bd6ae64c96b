//! What the tests of the built program share: running it, and reading what it says.
#![allow(dead_code)] // each test file uses a part

pub mod markdown;
pub mod pcap;
pub mod terminal;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The built program.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hbsniff"));
    command.env("HBSNIFF_CONFIG", ""); // whoever runs the tests may have one
    command
}

/// Runs the built program with these arguments and this standard input.
pub fn hbsniff(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = command()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut pipe = child.stdin.take().expect("its standard input");
    let input = stdin.to_vec();
    // A program that does not read its input closes the pipe: no matter.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&input)));
    let output = child.wait_with_output().expect("the program ends");
    writer.join().expect("the writer ends");
    output
}

/// Standard output of a run that must succeed.
pub fn stdout(args: &[&str], stdin: &[u8]) -> String {
    let output = hbsniff(args, stdin);
    assert!(
        output.status.success(),
        "hbsniff {}: {}\n{}",
        args.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The `--json` document of a capture file.
pub fn report(file: &Path) -> Value {
    serde_json::from_str(&stdout(&["--json", &file.to_string_lossy()], b"")).expect("one JSON document")
}

/// The lines of `--events`.
pub fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON document a line")).collect()
}

/// An RFC 3339 time as seconds since 1970.
pub fn epoch(time: &Value) -> Option<f64> {
    let stamp: jiff::Timestamp = time.as_str()?.parse().ok()?;
    Some(stamp.as_nanosecond() as f64 / 1e9)
}

/// An endpoint of the report as `address:port`.
pub fn endpoint(end: &Value) -> String {
    let address = end["address"].as_str().unwrap_or("?");
    if address.contains(':') { format!("[{address}]:{}", end["port"]) } else { format!("{address}:{}", end["port"]) }
}

/// The other side's name.
pub fn peer(side: &str) -> &'static str {
    if side == "client" { "server" } else { "client" }
}
