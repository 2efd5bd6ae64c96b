//! Heartbeats found by rhythm alone, over a grid of flows made here: how many of the beats' flows are found, and how
//! often something else is taken for a beat. Run with `--nocapture` to see the table, and with SHOW set to see each flow
//! that was judged wrongly.

use hbsniff::liveness::heartbeat::{Chunk, Ear, Heartbeats};
use hbsniff::packet::{MILLISECOND, Nanos, SECOND, Time, nanos};
use hbsniff::summary::{BeatKind, Both, HeartbeatSummary, Mode, Side, Trigger};
use std::collections::BTreeMap;

/// Flows of each cell of the grid, and of each kind that holds no heartbeat.
const FLOWS: u64 = 24;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Evenly in 0..1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.unit() * (high - low)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    /// Exponential with this mean.
    fn wait(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}

/// A payload on its way: when, from whom, what.
type Payload = (f64, Side, Vec<u8>);

/// A flow of payloads, shown to the detector as segments.
#[derive(Default)]
struct Flow {
    payloads: Vec<Payload>,
    tls: bool,
    from_start: bool,
}

impl Flow {
    fn send(&mut self, at: f64, from: Side, bytes: impl Into<Vec<u8>>) {
        self.payloads.push((at, from, bytes.into()));
    }

    /// What the detector makes of it, whether or not somebody listens.
    fn judge(mut self) -> Vec<HeartbeatSummary> {
        self.payloads.sort_by(|a, b| a.0.total_cmp(&b.0));
        let [heard, unheard] = [true, false].map(|listens| self.judge_by(Ear::new(listens)));
        assert_eq!(heard, unheard);
        heard
    }

    fn judge_by(&self, mut ear: Ear) -> Vec<HeartbeatSummary> {
        let start = Time(1_700_000_000 * SECOND);
        let mut heartbeats = Heartbeats::new(Both([40_000, 7777]), self.from_start);
        let mut end = start;
        let mut frame = 0;
        for (at, from, plain) in &self.payloads {
            let bytes = if self.tls { record(plain) } else { plain.clone() };
            end = start.plus(nanos(*at));
            for segment in bytes.chunks(1448) {
                frame += 1;
                let len = segment.len() as u32;
                heartbeats.data(Chunk { time: end, frame, from: *from, bytes: segment, len }, &mut ear);
            }
        }
        heartbeats.summaries(end).into_owned()
    }
}

/// As TLS 1.3 sends it: 5 bytes of header, the text encrypted, 17 bytes more (RFC 8446 §5.2).
fn record(plain: &[u8]) -> Vec<u8> {
    let mut noise = Random(plain.len() as u64 ^ 0x5eed);
    let len = plain.len() + 17;
    let mut record = vec![23, 3, 3, (len >> 8) as u8, len as u8];
    record.extend(noise.bytes(len));
    record
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Traffic {
    None,
    Random,
    Bursts,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    idle: bool,
    jitter: f64,
    loss: f64,
    traffic: Traffic,
    tls: bool,
    from_start: bool,
}

/// The other traffic's times within `span` seconds.
fn traffic(kind: Traffic, period: f64, span: f64, random: &mut Random) -> Vec<f64> {
    let mut times = Vec::new();
    let mut at = 0.0;
    match kind {
        Traffic::None => {}
        Traffic::Random => {
            let mean = period * random.between(0.3, 1.5);
            while at < span {
                at += random.wait(mean);
                times.push(at);
            }
        }
        Traffic::Bursts => {
            while at < span {
                at += random.wait(period * 2.0);
                for _ in 0..3 + random.below(12) {
                    at += random.wait(0.05);
                    times.push(at);
                }
            }
        }
    }
    times
}

/// A message of an application's own traffic.
fn data(random: &mut Random) -> Vec<u8> {
    let len = 30 + random.below(900) as usize;
    match random.below(3) {
        0 => random.bytes(len),
        1 => [b"D".to_vec(), random.bytes(len)].concat(),
        _ => {
            format!("{{\"type\":\"data\",\"id\":{},\"body\":\"{}\"}}", random.next(), letters(len, random)).into_bytes()
        }
    }
}

fn letters(n: usize, random: &mut Random) -> String {
    (0..n).map(|_| (b'a' + random.below(26) as u8) as char).collect()
}

/// The n-th beat of one of several kinds, and its reply.
fn beat(kind: u64, n: u64, random: &mut Random) -> (Vec<u8>, Option<Vec<u8>>) {
    let n32 = (n as u32).to_be_bytes();
    match kind {
        0 => (b"ALIVE\n".to_vec(), None),
        1 => (b"PING".to_vec(), Some(b"PONG".to_vec())),
        2 => ([&[0xaa, 0x55, 1, 0][..], &n32].concat(), None),
        3 => (
            format!("{{\"type\":\"heartbeat\",\"seq\":{n},\"load\":{:.1}}}\n", random.unit() * 30.0).into_bytes(),
            Some(b"{\"type\":\"heartbeat_ack\"}\n".to_vec()),
        ),
        4 => {
            let padding = random.below(60) as usize;
            ([&[0xfe, 0x01][..], &random.bytes(8 + padding)].concat(), None)
        }
        5 => ([&n32[..], &[0, 0, 0, 0]].concat(), Some([&n32[..], &[0, 0, 0, 1]].concat())),
        _ => (vec![0x80, 0x09, 0x00], Some(vec![0x80, 0x0a, 0x00])),
    }
}

/// A flow with a heartbeat; gives its period too.
fn heartbeat_flow(cell: Cell, random: &mut Random) -> (Flow, f64, Side) {
    let mut flow = Flow { tls: cell.tls, from_start: cell.from_start, ..Flow::default() };
    let period = [1.0, 2.0, 5.0, 15.0, 30.0][random.below(5) as usize] * random.between(0.9, 1.1);
    let beats = 20 + random.below(20);
    let span = period * 400.0;
    let rtt = random.between(0.0002, 0.05);
    let from = if random.below(2) == 0 { Side::Client } else { Side::Server };
    // Padding of random length leaves nothing of one size inside TLS.
    let kind = if cell.tls { [0, 1, 2, 5, 6][random.below(5) as usize] } else { random.below(7) };
    if cell.from_start {
        flow.send(0.0, Side::Client, "login user=x secret=y\n");
        flow.send(0.02, Side::Server, "welcome to the service\n");
    }
    let other = traffic(cell.traffic, period, span, random);
    let mut on_the_way = other.iter().copied().peekable();
    let mut at = if cell.from_start { 0.1 } else { random.unit() * period };
    for n in 0..beats {
        let pause = period * random.between(1.0 - cell.jitter, 1.0 + cell.jitter) + random.between(0.0, 0.002);
        let mut due = at + pause;
        // Each other message on the way starts an idle timer anew.
        while let Some(t) = on_the_way.next_if(|&t| t < due) {
            if cell.idle && t > at {
                due = t + pause;
            }
        }
        at = due;
        if random.unit() < cell.loss {
            continue;
        }
        let (request, reply) = beat(kind, n, random);
        flow.send(at, from, request);
        if let Some(reply) = reply {
            flow.send(at + rtt + random.wait(rtt / 10.0), from.peer(), reply);
        }
    }
    let both = random.below(2) == 0;
    for t in other.into_iter().take_while(|&t| t < at) {
        let side = if both && random.below(2) == 0 { from.peer() } else { from };
        flow.send(t, side, data(random));
    }
    (flow, period, from)
}

/// Kinds of flow that hold no heartbeat.
const OTHERS: [&str; 15] = [
    "typing",
    "typing evenly",
    "typing in secret",
    "chat",
    "chat in TLS",
    "video on request",
    "video pushed",
    "ticker",
    "text sensor",
    "binary sensor",
    "polling",
    "random requests",
    "random requests in TLS",
    "ssh chaff",
    "bulk",
];

fn other_flow(kind: &str, random: &mut Random) -> Flow {
    let mut flow = Flow { from_start: random.below(2) == 0, ..Flow::default() };
    let (c, s) = (Side::Client, Side::Server);
    let pace = random.between(1.0, 10.0);
    let span = pace * random.between(15.0, 40.0);
    let mut at = 0.0;
    let mut level: f64 = 20.0;
    let mut n = 0u64;
    while at < span {
        n += 1;
        match kind {
            "typing" | "typing evenly" => {
                at += if kind == "typing" { 0.08 + random.wait(0.25) } else { 0.3 };
                let key = vec![b"etaoin shrdlu,.\r"[random.below(16) as usize]];
                flow.send(at, c, key.clone());
                flow.send(at + 0.03, s, key);
            }
            "typing in secret" => {
                at += 0.28 + random.between(0.0, 0.01);
                flow.send(at, c, random.bytes(36));
                flow.send(at + 0.02, s, random.bytes(36));
            }
            "chat" | "chat in TLS" => {
                flow.tls = kind == "chat in TLS";
                at += random.wait(pace);
                let words = 5 + random.below(60) as usize;
                let side = if random.below(2) == 0 { c } else { s };
                flow.send(at, side, format!("{{\"type\":\"chat\",\"text\":\"{}\"}}", letters(words, random)));
            }
            "video on request" | "video pushed" => {
                at += 1.0 + random.between(0.0, 0.005);
                let size = 3000 + random.below(6000) as usize;
                if kind == "video on request" {
                    flow.send(at, c, format!("GET /seg/{n}.ts HTTP/1.1\r\nHost: x\r\n\r\n"));
                }
                flow.send(at + 0.01, s, random.bytes(size));
            }
            "ticker" => {
                at += 1.0 + random.between(0.0, 0.01);
                level *= random.between(0.99, 1.01);
                let symbol = ["ACME", "INIT", "ZORG"][random.below(3) as usize];
                flow.send(at, s, format!("{symbol} {level:.2}\n"));
            }
            "text sensor" => {
                at += pace + random.between(0.0, 0.01);
                level += random.between(-1.0, 1.0);
                flow.send(at, c, format!("{{\"sensor\":\"t1\",\"n\":{n},\"temperature\":{level:.2}}}\n"));
            }
            "binary sensor" => {
                at += pace + random.between(0.0, 0.01);
                level += random.between(-1.0, 1.0);
                let reading = (level as f32).to_be_bytes();
                flow.send(at, c, [&[0, 9, 0, 1][..], &reading, &(n as u16).to_be_bytes()].concat());
            }
            "polling" => {
                at += pace + random.between(0.0, 0.01);
                flow.send(at, c, "GET /price HTTP/1.1\r\nHost: x\r\n\r\n");
                level *= random.between(0.9, 1.1);
                flow.send(at + 0.02, s, format!("HTTP/1.1 200 OK\r\n\r\n{{\"price\":{level:.3}}}"));
            }
            "random requests" | "random requests in TLS" => {
                flow.tls = kind != "random requests";
                at += random.wait(pace);
                flow.send(at, c, "GET /status HTTP/1.1\r\nHost: x\r\n\r\n");
                flow.send(at + 0.01, s, "HTTP/1.1 204 No Content\r\n\r\n");
            }
            "ssh chaff" => {
                at += 0.02;
                if ((at / 3.0) as u64).is_multiple_of(2) {
                    flow.send(at, c, random.bytes(36));
                } else {
                    at += random.wait(2.0);
                }
            }
            _ => {
                at += random.wait(0.05);
                let size = 1000 + random.below(60_000) as usize;
                flow.send(at, s, vec![n as u8; size]);
            }
        }
    }
    flow
}

#[test]
fn precision_and_recall_over_the_grid() {
    let mut rows: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    let (mut right, mut reported) = (0u64, 0u64);
    let mut trigger = BTreeMap::<&str, u64>::new();
    let mut below = Vec::new();
    let mut seed = 0;
    for idle in [false, true] {
        for jitter in [0.0, 0.05, 0.1, 0.2, 0.3] {
            for loss in [0.0, 0.05, 0.2] {
                for traffic in [Traffic::None, Traffic::Random, Traffic::Bursts] {
                    let mut row = (0, 0, 0);
                    for tls in [false, true] {
                        for from_start in [false, true] {
                            for _ in 0..FLOWS / 4 {
                                seed += 1;
                                let mut random = Random(seed);
                                let cell = Cell { idle, jitter, loss, traffic, tls, from_start };
                                let (flow, period, from) = heartbeat_flow(cell, &mut random);
                                let got: Vec<_> =
                                    flow.judge().into_iter().filter(|h| h.kind == BeatKind::Heartbeat).collect();
                                let hit = |h: &&HeartbeatSummary| {
                                    h.from == from
                                        && h.interval
                                            .is_some_and(|i| (i.median / period - 1.0).abs() < 0.12 + jitter / 2.0)
                                };
                                let hits = got.iter().filter(hit).count().min(1) as u64;
                                for h in got.iter().filter(hit).take(1) {
                                    let verdict = match (h.trigger, idle) {
                                        (Trigger::Undetermined, _) => "undetermined",
                                        (Trigger::Fixed, false) | (Trigger::Idle, true) => "right",
                                        _ => "wrong",
                                    };
                                    if traffic != Traffic::None {
                                        *trigger.entry(verdict).or_default() += 1;
                                    }
                                }
                                row.0 += 1;
                                row.1 += hits;
                                row.2 += got.len() as u64;
                                if (hits == 0 || got.len() != 1) && std::env::var_os("SHOW").is_some() {
                                    println!("seed {seed} {cell:?} period {period:.2} {from:?}: {got:?}");
                                }
                            }
                        }
                    }
                    right += row.1;
                    reported += row.2;
                    let name = format!(
                        "{:<5}  jitter {:>2.0} %  loss {:>2.0} %  {traffic:?}",
                        if idle { "idle" } else { "fixed" },
                        jitter * 100.0,
                        loss * 100.0
                    );
                    if jitter <= 0.2 && loss <= 0.05 && (row.1 as f64) < 0.95 * row.0 as f64 {
                        below.push(name.clone());
                    }
                    rows.insert(name, row);
                }
            }
        }
    }
    for kind in OTHERS {
        let mut row = (0, 0, 0);
        for n in 0..FLOWS * 4 {
            let mut random = Random(n ^ 0xdead_beef);
            let got = other_flow(kind, &mut random).judge();
            let false_ones: Vec<_> = got.iter().filter(|h| h.kind == BeatKind::Heartbeat).collect();
            row.2 += false_ones.len() as u64;
            if !false_ones.is_empty() && std::env::var_os("SHOW").is_some() {
                println!("seed {n} {kind}: {false_ones:?}");
            }
        }
        reported += row.2;
        rows.insert(format!("none: {kind}"), row);
    }
    println!("{:<45} {:>6} {:>9} {:>7}", "flows", "recall", "precision", "false");
    for (name, (flows, hits, got)) in &rows {
        let share = |a: u64, b: u64| if b == 0 { "-".to_owned() } else { format!("{:.3}", a as f64 / b as f64) };
        println!("{name:<45} {:>6} {:>9} {:>7}", share(*hits, *flows), share(*hits, *got), got - hits);
    }
    let precision = right as f64 / reported as f64;
    println!("precision {precision:.4}; trigger with other traffic: {trigger:?}");
    assert!(below.is_empty(), "recall below 0.95 where jitter <= 20 % and loss <= 5 %: {below:#?}");
    assert!(precision >= 0.99, "precision {precision:.4}");
}

/// Beats at these times from the client, each answered after `rtt` seconds by `reply`.
fn judge(times: impl IntoIterator<Item = f64>, beat: &[u8], reply: Option<(f64, &[u8])>) -> Vec<HeartbeatSummary> {
    let mut flow = Flow::default();
    for at in times {
        flow.send(at, Side::Client, beat);
        if let Some((rtt, reply)) = reply {
            flow.send(at + rtt, Side::Server, reply);
        }
    }
    flow.judge()
}

#[test]
fn a_request_and_its_reply_are_one_heartbeat() {
    let found = judge((0..10).map(|n| f64::from(n) * 4.0), b"PING", Some((0.05, b"PONG")));
    let [h] = &found[..] else { panic!("{found:?}") };
    assert_eq!((h.from, h.mode, h.count, h.replies), (Side::Client, Mode::RequestReply, 10, 10));
    assert_eq!(h.trigger, Trigger::Undetermined, "nothing else was sent that could tell");
    assert_eq!((h.payload_len, &h.sample[..]), ((4, 4), &b"PING"[..]));
    assert!((h.interval.unwrap().median - 4.0).abs() < 0.01);
}

#[test]
fn both_sides_own_beats_are_two_heartbeats() {
    let mut flow = Flow::default();
    for n in 0..10 {
        flow.send(f64::from(n) * 2.5, Side::Client, [8, 0, 0, 0, 0xce]);
        flow.send(f64::from(n) * 2.5 + 1.1, Side::Server, [8, 0, 0, 0, 0xce]);
    }
    let found = flow.judge();
    assert_eq!(
        found.iter().map(|h| (h.from, h.mode)).collect::<Vec<_>>(),
        [(Side::Client, Mode::OneWay), (Side::Server, Mode::OneWay)]
    );
}

#[test]
fn a_beat_in_two_segments_is_one_heartbeat() {
    let mut flow = Flow::default();
    for n in 0..10 {
        flow.send(f64::from(n) * 3.0, Side::Client, *b"HEAD");
        flow.send(f64::from(n) * 3.0 + 0.04, Side::Client, *b"and the rest");
    }
    let found = flow.judge();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].count, 10);
}

#[test]
fn two_heartbeats_of_one_side_are_told_apart() {
    let mut flow = Flow::default();
    for n in 0..30 {
        flow.send(f64::from(n) * 2.0, Side::Client, *b"\x01AA");
    }
    for n in 0..12 {
        flow.send(f64::from(n) * 5.0 + 0.7, Side::Client, *b"\x02BBBB");
    }
    let found = flow.judge();
    let got: Vec<_> = found.iter().map(|h| (h.interval.unwrap().median.round(), h.trigger)).collect();
    assert_eq!(got, [(2.0, Trigger::Fixed), (5.0, Trigger::Fixed)]);
}

#[test]
fn an_interval_that_changes_makes_two_phases() {
    let times = (0..10).map(|n| f64::from(n) * 2.0).chain((1..10).map(|n| 18.0 + f64::from(n) * 6.0));
    let found = judge(times, b"\x07\x07\x07\x07", None);
    let got: Vec<_> = found.iter().map(|h| (h.interval.unwrap().median.round(), h.count)).collect();
    assert_eq!(got, [(2.0, 10), (6.0, 10)], "the beat at the change ends one phase and begins the next");
    assert_eq!(found[0].missed, 0, "the first phase ended, it did not fail");
}

#[test]
fn a_beat_coalesced_with_data_is_found_inside() {
    let mut random = Random(7);
    let mut flow = Flow::default();
    for n in 0..20 {
        let beat = b"\xaa\x55HEARTBEAT".to_vec();
        let bytes = if n > 8 && n % 3 == 0 { [random.bytes(300), beat].concat() } else { beat };
        flow.send(f64::from(n) * 5.0, Side::Client, bytes);
    }
    let found = flow.judge();
    assert_eq!(found.iter().map(|h| (h.count, h.missed)).collect::<Vec<_>>(), [(20, 0)]);
}

#[test]
fn missed_beats_are_counted_up_to_now() {
    let mut heartbeats = Heartbeats::new(Both([1, 2]), true);
    let mut ear = Ear::new(true);
    let at = |n: i64| Time(n * 2 * SECOND);
    for n in [0, 1, 2, 3, 4, 6, 7, 8] {
        let chunk = Chunk { time: at(n), frame: n as u64, from: Side::Server, bytes: b"beat", len: 4 };
        heartbeats.data(chunk, &mut ear);
    }
    assert_eq!(heartbeats.summaries(at(8))[0].missed, 1);
    // Half a period after a beat was due it counts as missed: 9 and 10 at 10.6 periods.
    assert_eq!(heartbeats.summaries(at(10).plus(1200 * MILLISECOND))[0].missed, 3);
}

/// What a hostile or odd stream may do to it.
#[test]
fn odd_input_does_no_harm() {
    let mut heartbeats = Heartbeats::new(Both([1, 2]), false);
    let mut ear = Ear::new(true);
    let mut random = Random(3);
    let edges = [i64::MIN, -1, 0, 1, i64::MAX, SECOND, 1_700_000_000 * SECOND];
    for n in 0..20_000u64 {
        let time = match n % 5 {
            0 => Time(edges[random.below(edges.len() as u64) as usize]),
            _ => Time(random.below(1 << 40) as Nanos),
        };
        let from = if random.below(2) == 0 { Side::Client } else { Side::Server };
        let size = random.below(40) as usize;
        let bytes = if n % 3 == 0 { record(&random.bytes(size)) } else { random.bytes(size) };
        let len = if n % 7 == 0 { u32::MAX } else { bytes.len() as u32 + (n % 2) as u32 };
        heartbeats.data(Chunk { time, frame: n, from, bytes: &bytes, len }, &mut ear);
        if n % 11 == 0 {
            heartbeats.gap(from, random.next());
        }
        if n % 1000 == 0 {
            heartbeats.advance(time, &mut ear);
            for h in heartbeats.summaries(time).iter() {
                assert!((0.0..=1.0).contains(&h.confidence));
            }
        }
    }
}
