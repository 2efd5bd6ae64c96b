//! Whatever a stranger sends in whatever numbers, memory stays within --memory-limit, and what matters is kept.
//!
//! `HBSNIFF_FLOOD=10` makes each flood ten times as large.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod common;

use std::io::{Read, Write};
use std::process::Stdio;

use common::pcap::{ACK, Pcap, RST, SYN, reply, segment, with};
use hbsniff::analyzer::{Analyzer, Options};
use hbsniff::packet::{Frame, LinkType, Time};
use serde_json::{Value, json};

/// The least that may be asked for.
const LIMIT: u64 = 64 << 20;
/// Clients from here on are those of the flood.
const FLOOD: u32 = 100;
/// One whose peer has given up on it, and one that may only be slow.
const DEAD: u32 = 9_000_001;
const SUSPECT: u32 = 9_000_002;
const MICROSECOND: i64 = 1_000;
const SECOND: i64 = 1_000_000_000;

fn large(number: u32) -> u32 {
    number * std::env::var("HBSNIFF_FLOOD").map_or(1, |times| times.parse().unwrap())
}

/// The report on what `flood` makes of its number, piece by piece, and the most memory that the program took.
fn report(args: &[&str], count: u32, flood: impl Fn(&mut Pcap, u32) + Send + 'static) -> (Value, u64) {
    let mut child = common::command()
        .args(["--json", "--memory-limit", "64M"])
        .args(args)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let mut pcap = Pcap::new();
        for number in 0..count {
            flood(&mut pcap, number);
            if number % 4096 == 0 || number + 1 == count {
                input.write_all(&pcap.take()).unwrap();
            }
        }
    });
    let status = format!("/proc/{}/status", child.id());
    let watcher = std::thread::spawn(move || {
        let mut most = 0;
        // Gone from there once it has ended.
        while let Some(kib) = std::fs::read_to_string(&status).ok().and_then(|s| peak(&s)) {
            most = kib * 1024;
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        most
    });
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    writer.join().unwrap();
    let most = watcher.join().unwrap();
    eprintln!("{:.1} MiB at most of {} MiB", most as f64 / f64::from(1 << 20), LIMIT >> 20);
    assert!(child.wait().unwrap().success());
    (serde_json::from_slice(&out).unwrap(), most)
}

/// The peak of resident memory, KiB (proc_pid_status(5)).
fn peak(status: &str) -> Option<u64> {
    status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()
}

fn let_go(report: &Value) -> bool {
    let warnings = report["capture"]["warnings"].as_array().unwrap();
    warnings.iter().any(|w| w.as_str().unwrap().contains("had to be let go to keep to --memory-limit"))
}

fn listed(report: &Value, client: u32) -> Option<&Value> {
    let address = std::net::Ipv4Addr::from(0x0a00_0000 + client).to_string();
    report["flows"].as_array().unwrap().iter().find(|f| f["client"]["address"] == json!(address))
}

/// A connection with one exchange.
fn opened(pcap: &mut Pcap, at: i64, client: u32) {
    pcap.packet(at, &segment(client, SYN, 0, 0));
    pcap.packet(at + MICROSECOND, &reply(client, SYN | ACK, 0, 1));
    pcap.packet(at + 2 * MICROSECOND, &segment(client, ACK, 1, 1));
    pcap.packet(at + 3 * MICROSECOND, &with(segment(client, ACK, 1, 1), b"hello"));
    pcap.packet(at + 4 * MICROSECOND, &with(reply(client, ACK, 1, 6), b"welcome"));
    pcap.packet(at + 5 * MICROSECOND, &segment(client, ACK, 6, 8));
}

#[test]
fn syns_from_a_million_sources_push_out_neither_a_verdict_nor_a_connection() {
    let count = large(1_000_000);
    for threads in ["1", "2"] {
        let (report, most) = report(&["--threads", threads], count, |pcap, number| {
            if number == 0 {
                opened(pcap, 0, 1);
                // The server probes a client that is no more, three times, then gives up.
                for probe in 2..5 {
                    pcap.packet(probe * SECOND, &reply(1, ACK, 7, 6));
                }
                pcap.packet(5 * SECOND, &reply(1, RST | ACK, 8, 6));
                opened(pcap, 6 * SECOND, 2);
            }
            pcap.packet(10 * SECOND + i64::from(number) * MICROSECOND, &segment(FLOOD + number, SYN, 7, 0));
        });
        assert!(most < LIMIT, "{} MiB on {threads} threads", most >> 20);
        assert!(let_go(&report));
        assert_eq!(report["summary"]["flows"], count + 2, "the totals know all");
        assert_eq!(listed(&report, 1).unwrap()["deaths"][0]["mechanism"], "keepalive_timeout");
        assert!(listed(&report, 2).is_some());
        assert!(listed(&report, FLOOD).is_none(), "the first of the flood is the first to go");
        assert!(listed(&report, FLOOD + count - 1).is_some(), "the last one stays");
        let ids: Vec<_> = report["flows"].as_array().unwrap().iter().map(|f| f["id"].as_u64().unwrap()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
    }
}

#[test]
fn flows_that_were_let_go_count_as_before() {
    let mut pcap = Pcap::new();
    for client in 0..100_000 {
        let at = i64::from(client) * 100 * MICROSECOND;
        opened(&mut pcap, at, client);
        pcap.packet(at + 9 * MICROSECOND, &reply(client, ACK, 8, 6));
        pcap.packet(at + 10 * MICROSECOND, &segment(client, RST | ACK, 6, 8));
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("in.pcap");
    std::fs::write(&file, pcap.bytes()).unwrap();
    let path = file.to_string_lossy();
    let all: Value = serde_json::from_str(&common::stdout(&["--json", &path], b"")).unwrap();
    let few: Value = serde_json::from_str(&common::stdout(&["--json", "--memory-limit", "64M", &path], b"")).unwrap();
    assert!(!let_go(&all) && let_go(&few));
    assert_eq!(all["summary"], few["summary"], "flows that were over count the same");
    assert!(few["flows"].as_array().unwrap().len() < 100_000);
}

#[test]
fn a_million_fragments_that_never_become_whole() {
    let count = large(1_000_000);
    let (report, most) = report(&[], count, move |pcap, number| {
        let mut fragment = with(segment(number, ACK, 1, 1), &[7; 20]);
        fragment[4..6].copy_from_slice(&(number as u16).to_be_bytes());
        fragment[6] = 0x20; // more fragments
        pcap.packet(i64::from(number) * MICROSECOND, &fragment);
    });
    assert!(most < LIMIT, "{} MiB", most >> 20);
    assert_eq!(report["capture"]["skipped"]["fragments"], count);
    assert_eq!(report["summary"]["flows"], 0);
}

#[test]
fn a_million_segments_out_of_order_on_one_flow() {
    let count = large(1_000_000);
    let (report, most) = report(&[], count, |pcap, number| {
        if number == 0 {
            opened(pcap, 0, 1);
        }
        // Every other hundred bytes.
        let seq = 106u32.wrapping_add(number.wrapping_mul(200));
        pcap.packet(SECOND + i64::from(number) * MICROSECOND, &with(segment(1, ACK, seq, 8), &[7; 100]));
    });
    assert!(most < LIMIT, "{} MiB", most >> 20);
    assert_eq!(report["summary"]["flows"], 1);
    assert_eq!(report["flows"][0]["traffic"]["client"]["packets"], count + 4);
}

#[test]
fn a_million_small_messages_that_all_differ_on_one_flow() {
    let count = large(1_000_000);
    let (report, most) = report(&[], count, |pcap, number| {
        if number == 0 {
            opened(pcap, 0, 1);
        }
        let n = number.wrapping_mul(0x9e37_79b1);
        let len = 1 + (n >> 28) as usize;
        let message: Vec<u8> = (0..len as u32).map(|i| (n.rotate_left(i) ^ i) as u8).collect();
        // 16 bytes of sequence space each, of which the capture holds the first ones.
        let seq = 6u32.wrapping_add(number.wrapping_mul(16));
        pcap.packet(SECOND + i64::from(number) * 1000 * MICROSECOND, &with(segment(1, ACK, seq, 8), &message));
    });
    assert!(most < LIMIT, "{} MiB", most >> 20);
    assert_eq!(report["summary"]["flows"], 1);
}

#[test]
fn chatter_on_very_many_flows_pushes_out_neither_a_verdict_nor_a_suspicion() {
    let count = large(30_000);
    let dir = tempfile::tempdir().unwrap();
    let evidence = dir.path().join("evidence.pcapng");
    for args in [&[][..], &["--write", evidence.to_str().unwrap()]] {
        let (report, most) = report(args, count, chatter);
        assert!(most < LIMIT, "{} MiB {args:?}", most >> 20);
        assert!(let_go(&report));
        assert!(listed(&report, 0).is_none(), "open connections have to go");
        assert_eq!(listed(&report, DEAD).unwrap()["deaths"][0]["mechanism"], "keepalive_timeout");
        assert!(listed(&report, SUSPECT).is_some());
    }
}

/// A client whom nobody answers any more, one that may only be slow, and a great many that talk.
fn chatter(pcap: &mut Pcap, number: u32) {
    if number == 0 {
        opened(pcap, -400 * SECOND, DEAD);
        for probe in 2..5 {
            pcap.packet((probe - 400) * SECOND, &reply(DEAD, ACK, 7, 6));
        }
        pcap.packet(-395 * SECOND, &reply(DEAD, RST | ACK, 8, 6));
        // Resent with doubling gaps, up to 64 s: only after two minutes more would it be given up.
        opened(pcap, -380 * SECOND, SUSPECT);
        for at in [-127, -126, -124, -120, -112, -96, -64, 0] {
            pcap.packet(at * SECOND, &with(reply(SUSPECT, ACK, 8, 6), b"again"));
        }
    }
    let at = i64::from(number) * 1000 * MICROSECOND;
    opened(pcap, at, number);
    for (round, seq) in (0..30).zip((6..).step_by(8)) {
        let at = at + i64::from(round) * SECOND;
        let message = (number.wrapping_mul(0x9e37_79b1) ^ round).to_be_bytes();
        pcap.packet(at, &with(segment(number, ACK, seq, 8), &[message, message].concat()));
    }
}

/// However little it is, and however fast they come: what copies are known by has to fit too.
#[test]
fn flows_keep_to_the_memory_that_they_may_take() {
    for memory in [256 << 10, 1 << 20, 4 << 20] {
        let mut analyzer = Analyzer::new(Options { memory: Some(memory), ..Options::default() });
        for number in 0..200_000 {
            let packet = segment(FLOOD + number, ACK, 7, 0);
            let time = Time(i64::from(number) * MICROSECOND);
            let (number, wire_len) = (u64::from(number) + 1, packet.len() as u32);
            let frame = Frame { time, number, link: LinkType(101), interface: 0, wire_len, data: &packet };
            analyzer.frames(&[frame], &mut None);
            let so_far = analyzer.so_far();
            // The last flow may be one too many, or what came with it the last doubling of what copies are known by.
            assert!(so_far.memory <= memory / 8 * 9, "{} of {memory} with {} flows", so_far.memory, so_far.flows);
        }
        assert!(analyzer.so_far().let_go.totals.flows > 0);
    }
}
