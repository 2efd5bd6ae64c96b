//! `--write`: what Wireshark shows of the file is what hbsniff saw. Skipped, with a message, where there is no tshark.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name).join("capture.pcap")
}

/// Time since 1970, length on the wire and comment of each packet, and the section's comment; `None` without tshark.
fn shown(file: &Path) -> Option<(Vec<[String; 3]>, String)> {
    let tshark = |args: &[&str]| Command::new("tshark").arg("-r").arg(file).args(args).output().ok();
    let output = tshark(&[
        "-T",
        "fields",
        "-E",
        "separator=|",
        "-e",
        "frame.time_epoch",
        "-e",
        "frame.len",
        "-e",
        "frame.comment",
    ]);
    let Some(output) = output else {
        eprintln!("skipped: no tshark");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let fields = |line: &str| {
        let mut parts = line.splitn(3, '|').map(str::to_owned);
        std::array::from_fn(|_| parts.next().unwrap_or_default())
    };
    let section = std::fs::read(file).expect("the file");
    let section = String::from_utf8_lossy(&section[..section.len().min(4096)]).into_owned();
    Some((text.lines().map(fields).collect(), section))
}

fn evidence(name: &str) -> Option<(Vec<[String; 3]>, String)> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("evidence.pcapng");
    let capture = fixture(name);
    common::stdout(&["--write", &file.to_string_lossy(), &capture.to_string_lossy()], b"");
    // hbsniff reads what it wrote.
    assert!(common::report(&file)["capture"]["packets"].as_u64() > Some(0));
    shown(&file)
}

#[test]
fn a_death_by_keepalive_is_told_packet_by_packet() {
    let Some((packets, section)) = evidence("question_exactly_two_hours") else { return };
    let comments: Vec<&str> = packets.iter().map(|[_, _, comment]| comment.as_str()).collect();
    assert!(
        comments[0].starts_with("flow 1: first packet of flow 1: 192.0.2.2:41081 → 198.51.100.2:443"),
        "{comments:?}"
    );
    // What the kernel did, by the fixture's truth: keepalive 6/1/2, two probes, then the reset.
    assert!(comments[1].contains("keepalive probe 1 of 2 of the client, unanswered"), "{comments:?}");
    assert!(comments[2].contains("keepalive probe 2 of 2 of the client, unanswered"), "{comments:?}");
    assert!(comments[3].contains("the server is dead after 8.2 s of silence (keepalive_timeout)"), "{comments:?}");
    assert_eq!(comments.len(), 4);
    assert!(section.contains("Evidence of 1 flow") && section.contains("192.0.2.2:41081 → 198.51.100.2:443"));
}

#[test]
fn heartbeats_and_retransmissions_keep_their_order_and_times() {
    let Some((packets, _)) = evidence("heartbeat_cut_request_reply") else { return };
    let times: Vec<f64> = packets.iter().map(|[time, ..]| time.parse().expect("a time")).collect();
    assert!(times.is_sorted(), "{times:?}");
    let with = |what: &str| packets.iter().filter(|[.., comment]| comment.contains(what)).count();
    assert_eq!((with("heartbeat of the client"), with("replies to the heartbeat")), (7, 6));
    assert_eq!(with("retransmission by the client"), 5);
    // The same packets, with the same times and lengths, as in the capture itself.
    let (all, _) = shown(&fixture("heartbeat_cut_request_reply")).expect("tshark is there");
    let places: Vec<_> =
        packets.iter().map(|[t, l, _]| all.iter().position(|[at, len, _]| at == t && len == l)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
}

#[test]
fn what_is_read_is_not_overwritten() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("a.pcap");
    std::fs::copy(fixture("keystrokes"), &file).expect("a copy");
    let name = file.to_string_lossy();
    let output = common::hbsniff(&["--write", &name, &name], b"");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(std::fs::read(&file).expect("it"), std::fs::read(fixture("keystrokes")).expect("it"));
}
