//! `--json`: one document, written flow by flow, so that its size does not matter to memory.

use std::io::{self, Write};
use std::thread;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::CaptureInfo;
use super::model::{Flow, Flows, Report};
use crate::analysis::{self, Analysis, Place};
use crate::phrase::harmless;

/// Flows that a thread puts into words at a time: milliseconds of work, and a megabyte.
const PORTION: usize = 256;

/// Writes the document and a line's end.
///
/// # Errors
/// What `out` says.
pub fn write(out: &mut impl Write, analysis: &Analysis, info: &CaptureInfo) -> io::Result<()> {
    let mut document = Vec::new();
    let none = analysis::Flows::default();
    let report = Report { flows: Flows(&none), ..Report::new(analysis, info) };
    report.serialize(&mut Serializer::with_formatter(&mut document, OneFlowALine::default()))?;
    // The flows are the document's last list.
    let flows_at = document.iter().rposition(|&b| b == b'[').map_or(0, |at| at + 1);
    let (before, after) = document.split_at(flows_at);
    out.write_all(before)?;
    let mut places = analysis.flows.places();
    let mut begun = false;
    loop {
        let portion: Vec<Place> = places.by_ref().take(PORTION * analysis.flows.threads()).collect();
        if portion.is_empty() {
            break;
        }
        for text in flows(&analysis.flows, &portion) {
            let text = text?;
            out.write_all(if begun { &text } else { &text[1..] })?;
            begun = true;
        }
    }
    out.write_all(after)?;
    out.write_all(b"\n")
}

/// The text of some flows, each with a comma before it, in parts that threads made side by side.
fn flows(flows: &analysis::Flows, places: &[Place]) -> Vec<io::Result<Vec<u8>>> {
    let text = |places: &[Place]| {
        let mut text = Vec::new();
        for place in places {
            let formatter = OneFlowALine { depth: OneFlowALine::BROKEN_LEVELS };
            formatter.item(&mut text, false)?;
            Flow::from(&flows.tell(*place)).serialize(&mut Serializer::with_formatter(&mut text, formatter))?;
        }
        Ok(text)
    };
    let (mine, others) = places.split_at(places.len().min(PORTION));
    thread::scope(|scope| {
        let others: Vec<_> = others.chunks(PORTION).map(|places| scope.spawn(move || text(places))).collect();
        let mine = text(mine);
        let others = others.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        [mine].into_iter().chain(others).collect()
    })
}

/// Breaks lines in the two outer levels only: each flow is on a line of its own, for `grep` and `less`.
#[derive(Default)]
struct OneFlowALine {
    depth: usize,
}

impl OneFlowALine {
    const BROKEN_LEVELS: usize = 2;

    fn item<W: Write + ?Sized>(&self, out: &mut W, first: bool) -> io::Result<()> {
        if !first {
            out.write_all(b",")?;
        }
        self.line(out)
    }

    fn line<W: Write + ?Sized>(&self, out: &mut W) -> io::Result<()> {
        if self.depth > Self::BROKEN_LEVELS {
            return Ok(());
        }
        out.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| out.write_all(b" "))
    }

    fn open<W: Write + ?Sized>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        out.write_all(bracket)
    }

    fn close<W: Write + ?Sized>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        let broken = self.depth <= Self::BROKEN_LEVELS;
        self.depth -= 1;
        if broken {
            self.line(out)?;
        }
        out.write_all(bracket)
    }
}

/// Writes a part of a string that JSON lets stand as it is; what could drive a terminal is escaped all the same.
fn write_visibly<W: Write + ?Sized>(out: &mut W, fragment: &str) -> io::Result<()> {
    let mut rest = fragment;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| !harmless(*c)) {
        out.write_all(&rest.as_bytes()[..at])?;
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}")?;
        }
        rest = &rest[at + c.len_utf8()..];
    }
    out.write_all(rest.as_bytes())
}

/// All on one line.
pub(super) struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        write_visibly(out, fragment)
    }
}

impl Formatter for OneFlowALine {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        write_visibly(out, fragment)
    }

    fn begin_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"[")
    }

    fn end_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"]")
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.item(out, first)
    }

    fn begin_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"}")
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.item(out, first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn each_flow_is_a_line() {
        let (analysis, info) = sample::analysis();
        let mut out = Vec::new();
        write(&mut out, &analysis, &info).unwrap();
        let text = String::from_utf8(out).unwrap();
        let flows = text.lines().filter(|l| l.trim_start().starts_with("{\"id\":")).count();
        assert_eq!(flows, analysis.flows.len());
    }

    #[test]
    fn figures_are_those_of_the_contract() {
        let (analysis, info) = sample::analysis();
        let mut out = Vec::new();
        write(&mut out, &analysis, &info).unwrap();
        let doc: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(doc["schema"], "hbsniff.report/1");
        assert_eq!(doc["capture"]["first_packet"], "2026-11-22T18:20:11.123456789Z");
        assert_eq!(doc["capture"]["dropped_by_kernel"], serde_json::Value::Null);
        let flow = &doc["flows"][0];
        assert_eq!(flow["client"], serde_json::json!({ "address": "10.9.0.1", "port": 48796 }));
        assert_eq!(flow["end"], "dead_peer");
        assert_eq!(flow["keepalive"]["client"]["idle_s"], 2);
        assert_eq!(flow["keepalive"]["client"]["unanswered"], 3);
        assert_eq!(flow["keepalive"]["server"], serde_json::Value::Null);
        assert_eq!(flow["deaths"][0]["detection_s"], 5.088);
        assert_eq!(flow["heartbeats"][0]["sample_hex"], "c000");
        assert_eq!(doc["summary"]["keepalive_probes"], 5);
        assert_eq!(doc["summary"]["keepalive_acks"], 2);
        assert_eq!(doc["summary"]["dead_peers"], 1);
    }

    #[test]
    fn an_empty_capture_is_a_whole_document() {
        let mut out = Vec::new();
        write(&mut out, &Analysis::default(), &CaptureInfo::default()).unwrap();
        let doc: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(doc["flows"], serde_json::json!([]));
        assert_eq!(doc["capture"]["first_packet"], serde_json::Value::Null);
        assert_eq!(doc["capture"]["duration_s"], 0);
    }
}
