//! Runs `tests/scenarios/*.txt`: what a person would say of a few packets, and what hbsniff says.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write;
use std::path::Path;

use hbsniff::analysis::Analysis;
use hbsniff::analyzer::{Analyzer, Options};
use hbsniff::event::{Event, EventKind, Sink};
use hbsniff::packet::{Frame, LinkType, Time};
use hbsniff::summary::{Basis, Both, Death, End, FlowSummary, Handshake, KeepaliveSummary, Side};
use support::invariants;
use support::scenario::{Expected, FlowLines, Scenario, Step, What, at, parse, written};

/// Times agree to this many nanoseconds.
const EXACT: i64 = 1_000_000;

#[test]
fn every_scenario_comes_out_as_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "txt"));
    files.sort();
    assert!(!files.is_empty());
    let mut failures = String::new();
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy();
        let problems = match parse(&std::fs::read_to_string(file).unwrap()) {
            Ok(scenario) => Run::of(&scenario).problems(&scenario),
            Err(e) => vec![e],
        };
        for problem in problems {
            writeln!(failures, "tests/scenarios/{name}: {problem}").unwrap();
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// What hbsniff said, and during which step.
struct Run {
    events: Vec<Event>,
    steps: Vec<usize>,
    analysis: Analysis,
}

impl Run {
    fn of(scenario: &Scenario) -> Run {
        let (mut events, mut steps) = (Vec::new(), Vec::new());
        let mut analyzer = Analyzer::new(Options::default());
        analyzer.tell_of_data();
        let mut number = 0;
        let mut end = (scenario.steps.len(), None);
        for (at, step) in scenario.steps.iter().enumerate() {
            let mut tell = |e: &Event| {
                events.push(e.clone());
                steps.push(at);
            };
            let mut sink: Sink<'_> = Some(&mut tell);
            match &step.what {
                What::Frame(data) => {
                    number += 1;
                    let wire_len = data.len() as u32;
                    let link = LinkType(1);
                    analyzer
                        .frames(&[Frame { time: step.time, number, link, interface: 0, wire_len, data }], &mut sink);
                }
                What::Advance => analyzer.advance(step.time, &mut sink),
                What::Lost(since) => analyzer.lost(*since, step.time),
                What::End => end = (at, Some(step.time)),
            }
        }
        let analysis = analyzer.finish(
            end.1,
            &mut Some(&mut |e| {
                events.push(e.clone());
                steps.push(end.0);
            }),
        );
        Run { events, steps, analysis }
    }

    fn problems(&self, scenario: &Scenario) -> Vec<String> {
        let mut problems: Vec<String> = invariants::broken(&self.events, &self.analysis).into_iter().collect();
        self.compare_events(&scenario.steps, &mut problems);
        let skipped = &self.analysis.skipped;
        for (name, came) in [
            ("not_tcp", skipped.not_tcp),
            ("malformed", skipped.malformed),
            ("truncated", skipped.truncated),
            ("fragments", skipped.fragments),
            ("duplicates", skipped.duplicates),
        ] {
            let expected = scenario.skipped.get(name).copied().unwrap_or(0);
            if expected != came {
                problems.push(format!("expected {expected} frames skipped as {name}, came {came}"));
            }
        }
        let flows = &self.analysis.flows;
        if flows.len() != scenario.flows.len() {
            problems.push(format!("expected {} flows, came {}", scenario.flows.len(), flows.len()));
        }
        for (flow, lines) in flows.iter().zip(&scenario.flows) {
            compare_flow(&flow, lines, &mut problems);
        }
        problems
    }

    /// An event that speaks of a frame belongs to that frame's line; one that no packet marks, to the line during which
    /// it was told.
    fn compare_events(&self, steps: &[Step], problems: &mut Vec<String>) {
        let mut number = 0;
        let frames: Vec<Option<u64>> = steps
            .iter()
            .map(|s| {
                matches!(s.what, What::Frame(_)).then(|| {
                    number += 1;
                    number
                })
            })
            .collect();
        let mut came: Vec<Vec<&str>> = vec![Vec::new(); steps.len()];
        for (event, &told) in self.events.iter().zip(&self.steps) {
            let Some(name) = name(&event.kind) else { continue };
            let place = match event.frame {
                Some(frame) => frames.iter().position(|f| *f == Some(frame)),
                None => Some(told),
            };
            match place.and_then(|at| came.get_mut(at)) {
                Some(list) => list.push(name),
                None => problems.push(format!("{name} came at the capture's end, where no line expects it")),
            }
        }
        for ((step, frame), mut came) in steps.iter().zip(&frames).zip(came) {
            let mut expected: Vec<&str> = step.events.iter().map(String::as_str).collect();
            expected.sort_unstable();
            came.sort_unstable();
            if expected != came {
                let what = frame.map_or("without a frame".into(), |f| format!("frame {f}"));
                let list = |names: &[&str]| if names.is_empty() { "nothing".to_string() } else { names.join(", ") };
                let (expected, came) = (list(&expected), list(&came));
                problems.push(format!("line {} ({what}): expected {expected}, came {came}", step.line));
            }
        }
    }
}

/// The names of the events that scenarios speak of; heartbeats have tests of their own.
fn name(kind: &EventKind) -> Option<&'static str> {
    match kind {
        EventKind::KeepaliveProbe { .. } => Some("keepalive_probe"),
        EventKind::KeepaliveAck { .. } => Some("keepalive_ack"),
        EventKind::ZeroWindowProbe => Some("zero_window_probe"),
        EventKind::ZeroWindowAck => Some("zero_window_ack"),
        EventKind::Retransmission => Some("retransmission"),
        EventKind::PeerDead { .. } => Some("peer_dead"),
        EventKind::FlowStart { .. }
        | EventKind::FlowEnd(_)
        | EventKind::Heartbeat { .. }
        | EventKind::HeartbeatReply { .. }
        | EventKind::HeartbeatMissed { .. }
        | EventKind::Data { .. } => None,
    }
}

fn compare_flow(flow: &FlowSummary, lines: &FlowLines, problems: &mut Vec<String>) {
    let pair = |f: &dyn Fn(Side) -> u64| format!("{}/{}", f(Side::Client), f(Side::Server));
    let came = [
        ("handshake", word(&flow.handshake)),
        ("end", word(&flow.end)),
        ("retransmissions", pair(&|s| flow.traffic[s].retransmissions)),
        ("zero_window_probes", pair(&|s| flow.zero_window_probes[s])),
        ("bytes", pair(&|s| flow.traffic[s].payload_bytes)),
        ("packets", pair(&|s| flow.traffic[s].packets)),
        ("rtt", flow.rtt_s.map_or("none".into(), |r| r.to_string())),
    ];
    let mut expected = Expected { line: lines.flow.line, words: Vec::new(), values: lines.flow.values.clone() };
    // What a scenario does not speak of must not be there.
    for name in ["retransmissions", "zero_window_probes"] {
        if !expected.values.iter().any(|(n, _)| n == name) {
            expected.values.push((name.into(), "0/0".into()));
        }
    }
    compare(&format!("flow {}", flow.id), &expected, &came, problems);
    compare_keepalive(&flow.keepalive, lines, problems);
    compare_deaths(&flow.deaths, lines, problems);
    for finding in &lines.findings {
        let there = flow.findings.iter().any(|f| f.code == finding.words[0]);
        if there != (finding.words[1] == "finding") {
            let codes: Vec<_> = flow.findings.iter().map(|f| f.code).collect();
            problems.push(format!("line {}: findings of flow {} are {codes:?}", finding.line, flow.id));
        }
    }
}

fn compare_keepalive(keepalive: &Both<Option<KeepaliveSummary>>, lines: &FlowLines, problems: &mut Vec<String>) {
    for side in Side::BOTH {
        let expected = lines.keepalive.iter().find(|e| e.words[0] == side.name());
        match (expected, &keepalive[side]) {
            (None, None) => {}
            (None, Some(k)) => problems.push(format!("no keepalive of the {} was expected, came {k:?}", side.name())),
            (Some(e), None) => problems.push(format!("line {}: the {} sent no probes", e.line, side.name())),
            (Some(e), Some(k)) => {
                let figure = |n: Option<f64>| n.map_or("none".into(), |n| n.to_string());
                let came = [
                    ("probes", k.probes.to_string()),
                    ("answered", k.answered.to_string()),
                    ("idle", figure(k.idle_s)),
                    ("interval", figure(k.interval_s)),
                    ("count", k.count.map_or("none".into(), |n| n.to_string())),
                    ("len", k.probe_len.to_string()),
                    ("stack", k.stack.unwrap_or("none").replace(' ', "_")),
                ];
                compare(&format!("keepalive of the {}", side.name()), e, &came, problems);
            }
        }
    }
}

fn compare_deaths(deaths: &[Death], lines: &FlowLines, problems: &mut Vec<String>) {
    if deaths.len() != lines.deaths.len() {
        problems.push(format!("expected {} deaths, came {deaths:?}", lines.deaths.len()));
    }
    for (death, e) in deaths.iter().zip(&lines.deaths) {
        let by = death.detected_by.map_or("nobody", Side::name);
        let head = [death.dead.name(), "by", by, death.mechanism.name()];
        if e.words != head {
            problems.push(format!("line {}: expected death {}, came {}", e.line, e.words.join(" "), head.join(" ")));
        }
        let time = |t: Option<Time>| t.map_or("none".into(), written);
        let evidence: Vec<_> = death.evidence.iter().map(u64::to_string).collect();
        let came = [
            ("heard", time(death.last_heard)),
            ("at", time(death.detected_at)),
            ("basis", word(&death.basis)),
            ("uncertainty", (death.uncertainty as f64 / 1e9).to_string()),
            ("evidence", evidence.join(",")),
            ("recovered", death.recovered_as.map_or("none".into(), |id| id.to_string())),
            ("outage", death.outage.map_or("none".into(), |o| (o as f64 / 1e9).to_string())),
        ];
        compare("death", e, &came, problems);
    }
}

/// Compares the values that a line names; figures as numbers, to a millisecond.
fn compare(what: &str, expected: &Expected, came: &[(&str, String)], problems: &mut Vec<String>) {
    for (name, value) in &expected.values {
        let (_, came) = came.iter().find(|(n, _)| n == name).unwrap();
        let same = value == came
            || match (at(value), at(came)) {
                (Ok(a), Ok(b)) => a.since(b).abs() < EXACT,
                _ => false,
            };
        if !same {
            problems.push(format!("line {}: {what}: expected {name}={value}, came {came}", expected.line));
        }
    }
}

trait Word {
    fn word(&self) -> &'static str;
}

fn word(value: &impl Word) -> String {
    value.word().to_string()
}

impl Word for Handshake {
    fn word(&self) -> &'static str {
        match self {
            Handshake::Full => "full",
            Handshake::Partial => "partial",
            Handshake::None => "none",
        }
    }
}

impl Word for End {
    fn word(&self) -> &'static str {
        match self {
            End::Fin => "fin",
            End::Rst => "rst",
            End::DeadPeer => "dead_peer",
            End::Open => "open",
        }
    }
}

impl Word for Basis {
    fn word(&self) -> &'static str {
        match self {
            Basis::Observed => "observed",
            Basis::Inferred => "inferred",
            Basis::CaptureEnded => "capture_ended",
        }
    }
}

#[test]
fn what_a_scenario_misspells_is_an_error() {
    for (text, error) in [
        ("0 C > S S\nflow 1 hanshake=full", "line 2: unknown word \"hanshake=full\""),
        ("0 C > S X\nflow 1", "line 1: unknown flag 'X'"),
        ("0 C > D S\nflow 1", "line 1: C > D: ends are"),
        ("0 C > S S wnd=5\nflow 1", "line 1: unknown word \"wnd\""),
        ("0 handshake\n1 C > S . => keepalive_prob\nflow 1", "line 2: unknown event \"keepalive_prob\""),
        ("0 handshake\ndeath server by client keepalive_timeout", "line 2: it comes after the \"flow\" line"),
        ("0 copy 1\nflow 1", "line 1: there is no frame 1"),
        ("0 handshake", "no \"flow\" line"),
        ("nonsense\nflow 1", "line 1: unknown word \"nonsense\""),
    ] {
        let came = parse(text).unwrap_err();
        assert!(came.starts_with(error), "{text:?} gave {came:?}");
    }
}
