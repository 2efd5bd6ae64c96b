//! The language of `tests/scenarios/*.txt`; `tests/scenarios/README.md` tells it to those who write one.

use std::collections::HashMap;

use hbsniff::packet::{Flags, SECOND, Time};

use super::frames::{Host, Tcp, copy, unreachable};

/// Scenario time 0: 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600 * SECOND;

/// A scenario as written.
#[derive(Debug, Default)]
pub struct Scenario {
    pub steps: Vec<Step>,
    pub flows: Vec<FlowLines>,
    /// `skipped` fields by name.
    pub skipped: HashMap<String, u64>,
}

/// One thing that happens.
#[derive(Debug)]
pub struct Step {
    pub line: usize,
    pub time: Time,
    pub what: What,
    /// The events expected of this frame, or during this step, by name.
    pub events: Vec<String>,
}

#[derive(Debug)]
pub enum What {
    Frame(Vec<u8>),
    Advance,
    /// The capture lost packets since then.
    Lost(Time),
    End,
}

/// What is expected of one flow.
#[derive(Debug, Default)]
pub struct FlowLines {
    pub flow: Expected,
    pub keepalive: Vec<Expected>,
    pub deaths: Vec<Expected>,
    pub findings: Vec<Expected>,
}

/// One line of expectations: bare words, and named values.
#[derive(Debug, Default)]
pub struct Expected {
    pub line: usize,
    pub words: Vec<String>,
    pub values: Vec<(String, String)>,
}

const EVENTS: [&str; 6] =
    ["keepalive_probe", "keepalive_ack", "zero_window_probe", "zero_window_ack", "retransmission", "peer_dead"];
const FLOW: [&str; 7] = ["handshake", "end", "retransmissions", "zero_window_probes", "bytes", "packets", "rtt"];
const KEEPALIVE: [&str; 7] = ["probes", "answered", "idle", "interval", "count", "len", "stack"];
const DEATH: [&str; 7] = ["heard", "at", "basis", "uncertainty", "evidence", "recovered", "outage"];
const SKIPPED: [&str; 5] = ["not_tcp", "malformed", "truncated", "fragments", "duplicates"];

/// A point in scenario time.
pub fn at(text: &str) -> Result<Time, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no time in seconds"))?;
    Ok(Time(START + (seconds * 1e9).round() as i64))
}

/// A point in time as a scenario writes it.
pub fn written(time: Time) -> String {
    format!("{:.6}", time.since(Time(START)) as f64 / 1e9)
}

/// Reads a scenario; the error names the line.
pub fn parse(text: &str) -> Result<Scenario, String> {
    let mut reader = Reader::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            reader.line(number + 1, line).map_err(|e| format!("line {}: {e}", number + 1))?;
        }
    }
    if reader.scenario.flows.is_empty() {
        return Err("no \"flow\" line: nothing is expected".into());
    }
    Ok(reader.scenario)
}

/// One side of one connection as far as it has spoken: what is left out of a line follows from it.
#[derive(Clone, Copy)]
struct Spoken {
    isn: u32,
    next: i64,
    ip_id: u16,
}

struct Reader {
    scenario: Scenario,
    frames: Vec<Vec<u8>>,
    /// Of connection C and connection C2: what the client and the server have sent.
    spoken: [[Spoken; 2]; 2],
    ports: [u16; 2],
    v6: bool,
}

impl Default for Reader {
    fn default() -> Self {
        let spoken = |isn, ip_id| Spoken { isn, next: 1, ip_id };
        let connection = [spoken(1_000_000, 100), spoken(5_000_000, 30_000)];
        Reader {
            scenario: Scenario::default(),
            frames: Vec::new(),
            spoken: [connection; 2],
            ports: [40_000, 7000],
            v6: false,
        }
    }
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        let (line, events) = match line.split_once("=>") {
            Some((line, events)) => (line, events.split(',').map(|e| e.trim().to_string()).collect()),
            None => (line, Vec::new()),
        };
        if let Some(unknown) = events.iter().find(|e| !EVENTS.contains(&e.as_str())) {
            return Err(format!("unknown event {unknown:?}; events are {}", EVENTS.join(", ")));
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words[0], &words[1..]) {
            (first, rest) if first.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                self.happens(number, at(first)?, rest, events)
            }
            _ if !events.is_empty() => Err("events belong to a line with a time".into()),
            ("isn", [side, isn]) => {
                let isn = parsed(isn)?;
                self.spoken.iter_mut().try_for_each(|s| {
                    s[side_of(side)?].isn = isn;
                    Ok(())
                })
            }
            ("ports", [client, server]) => {
                self.ports = [parsed(client)?, parsed(server)?];
                Ok(())
            }
            ("ip", ["6"]) => {
                self.v6 = true;
                Ok(())
            }
            ("flow", [id, rest @ ..]) => {
                let flow = expected(number, rest, 0, &FLOW)?;
                if parsed::<usize>(id)? != self.scenario.flows.len() + 1 {
                    return Err("flows are numbered from 1".into());
                }
                self.scenario.flows.push(FlowLines { flow, ..FlowLines::default() });
                Ok(())
            }
            ("skipped", rest) => {
                for (name, value) in expected(number, rest, 0, &SKIPPED)?.values {
                    self.scenario.skipped.insert(name, parsed(&value)?);
                }
                Ok(())
            }
            (kind @ ("keepalive" | "death" | "finding" | "no-finding"), rest) => {
                let flow = self.scenario.flows.last_mut().ok_or("it comes after the \"flow\" line it belongs to")?;
                match kind {
                    "keepalive" => flow.keepalive.push(expected(number, rest, 1, &KEEPALIVE)?),
                    "death" => flow.deaths.push(expected(number, rest, 4, &DEATH)?),
                    _ => {
                        let mut finding = expected(number, rest, 1, &[])?;
                        finding.words.push(kind.to_string());
                        flow.findings.push(finding);
                    }
                }
                Ok(())
            }
            (unknown, _) => Err(format!("unknown word {unknown:?}, or too few or too many after it")),
        }
    }

    fn happens(&mut self, line: usize, time: Time, rest: &[&str], events: Vec<String>) -> Result<(), String> {
        let mut step = |what, events| self.scenario.steps.push(Step { line, time, what, events });
        match rest {
            [] | ["advance"] => step(What::Advance, events),
            ["lost", "since", since] => step(What::Lost(at(since)?), events),
            ["end"] => step(What::End, events),
            ["handshake", options @ ..] => {
                if !events.is_empty() {
                    return Err("a handshake has no events".into());
                }
                for (after, way, flags) in [(0, "C > S", "S"), (1_000_000, "S > C", "S."), (1_100_000, "C > S", ".")] {
                    let mut words: Vec<&str> = way.split(' ').chain([flags]).collect();
                    words.extend(options.iter().filter(|o| flags != "." || !o.starts_with("wscale")));
                    self.segment(line, time.plus(after), &words, Vec::new())?;
                }
            }
            ["icmp", code, "of", frame] => {
                let code = match *code {
                    "net-unreachable" => 0,
                    "host-unreachable" => 1,
                    "port-unreachable" => 3,
                    "fragmentation-needed" => 4,
                    "prohibited" => 13,
                    _ => return Err(format!("unknown ICMP error {code:?}")),
                };
                let bytes = unreachable(self.frame(frame)?, code);
                self.push(line, time, bytes, events);
            }
            ["copy", frame, how @ ..] => {
                let (mut hops, mut other_link) = (0, false);
                for word in how {
                    match *word {
                        "routed" => hops = 1,
                        "other-link" => other_link = true,
                        _ => return Err(format!("unknown word {word:?}")),
                    }
                }
                let bytes = copy(self.frame(frame)?, hops, other_link);
                self.push(line, time, bytes, events);
            }
            [_, ">", ..] => self.segment(line, time, rest, events)?,
            [unknown, ..] => return Err(format!("unknown word {unknown:?}")),
        }
        Ok(())
    }

    fn frame(&self, number: &str) -> Result<&Vec<u8>, String> {
        let n: usize = parsed(number)?;
        self.frames.get(n.wrapping_sub(1)).ok_or(format!("there is no frame {n} before this line"))
    }

    fn push(&mut self, line: usize, time: Time, bytes: Vec<u8>, events: Vec<String>) {
        self.frames.push(bytes.clone());
        self.scenario.steps.push(Step { line, time, what: What::Frame(bytes), events });
    }

    fn segment(&mut self, line: usize, time: Time, words: &[&str], events: Vec<String>) -> Result<(), String> {
        let [from, ">", to, flags, options @ ..] = words else {
            return Err("a segment is: TIME FROM > TO FLAGS name=value …".into());
        };
        let (connection, side) = match (*from, *to) {
            ("C", "S") => (0, 0),
            ("S", "C") => (0, 1),
            ("C2", "S") => (1, 0),
            ("S", "C2") => (1, 1),
            _ => return Err(format!("{from} > {to}: ends are C, C2 and S")),
        };
        let flags = flags.chars().try_fold(0, |all, c| {
            let bit = match c {
                'S' => Flags::SYN,
                'F' => Flags::FIN,
                'R' => Flags::RST,
                'P' => Flags::PSH,
                '.' => Flags::ACK,
                _ => return Err(format!("unknown flag {c:?} in {flags:?}; flags are S F R P and . for ACK")),
            };
            Ok(all | bit)
        })?;
        let [client, server] = self.spoken[connection];
        let (me, peer) = if side == 0 { (client, server) } else { (server, client) };
        let has = |bit: u8| flags & bit != 0;
        let (mut seq, mut ack) = (if has(Flags::SYN) { 0 } else { me.next }, peer.next);
        let (mut window, mut timestamps, mut window_scale, mut ip_id) = (64_240, None, None, None);
        let (mut len, mut payload) = (0usize, None);
        for option in options {
            let (name, value) = option.split_once('=').ok_or(format!("unknown word {option:?}"))?;
            match name {
                "seq" => seq = place(value, me.next)?,
                "ack" => ack = place(value, peer.next)?,
                "len" => len = parsed(value)?,
                "win" => window = parsed(value)?,
                "wscale" => window_scale = Some(parsed(value)?),
                "id" => ip_id = Some(parsed(value)?),
                "data" => payload = Some(hex(value)?),
                "ts" => {
                    let (val, ecr) = value.split_once('/').ok_or("ts=TSval/TSecr")?;
                    timestamps = Some((parsed(val)?, parsed(ecr)?));
                }
                _ => return Err(format!("unknown word {name:?}")),
            }
        }
        // A byte of the stream depends on its place alone, so a resend carries what was sent.
        let payload =
            payload.unwrap_or_else(|| (0..len as i64).map(|i| b'a' + (seq + i).rem_euclid(26) as u8).collect());
        let end = seq + payload.len() as i64 + i64::from(has(Flags::SYN)) + i64::from(has(Flags::FIN));
        let host = |number, port| Host { number, port };
        let mut ends = [host(1, self.ports[0] + connection as u16), host(2, self.ports[1])];
        if side == 1 {
            ends.reverse();
        }
        let tcp = Tcp {
            from: ends[0],
            to: ends[1],
            seq: me.isn.wrapping_add(seq as u32),
            ack: if has(Flags::ACK) { peer.isn.wrapping_add(ack as u32) } else { 0 },
            flags,
            window,
            timestamps,
            window_scale,
            payload,
            ip_id: ip_id.unwrap_or(me.ip_id),
            v6: self.v6,
        };
        let spoken = &mut self.spoken[connection][side];
        spoken.ip_id = spoken.ip_id.wrapping_add(1);
        spoken.next = if has(Flags::SYN) { end } else { spoken.next.max(end) };
        self.push(line, time, tcp.frame(), events);
        Ok(())
    }
}

/// A place in sequence space: a number from the SYN on, or `next`, `next-1`, `next+5`.
fn place(text: &str, next: i64) -> Result<i64, String> {
    match text.strip_prefix("next") {
        Some("") => Ok(next),
        Some(offset) => Ok(next + parsed::<i64>(offset)?),
        None => parsed(text),
    }
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap_or_default());
    digits.map(|two| u8::from_str_radix(two, 16).map_err(|_| format!("{text:?} is not hexadecimal"))).collect()
}

fn side_of(word: &str) -> Result<usize, String> {
    match word {
        "client" => Ok(0),
        "server" => Ok(1),
        _ => Err(format!("{word:?} is neither client nor server")),
    }
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number that fits here"))
}

fn expected(line: usize, rest: &[&str], words: usize, names: &[&str]) -> Result<Expected, String> {
    let mut e = Expected { line, ..Expected::default() };
    for word in rest {
        match word.split_once('=') {
            Some((name, value)) if names.contains(&name) => e.values.push((name.into(), value.into())),
            None if e.words.len() < words => e.words.push((*word).into()),
            _ => return Err(format!("unknown word {word:?}; known here are {}", names.join(", "))),
        }
    }
    if e.words.len() < words {
        return Err(format!("{words} words are needed before the values"));
    }
    Ok(e)
}
