//! The document of `--json` and the lines of `--events` as types: names and meanings here are what scripts rely on.
//!
//! Keys may be added; a key renamed, dropped or given another meaning raises the number in [`SCHEMA`]. The analysis has
//! types of its own (`summary`, `event`), which are free to change; this file converts from them. Every type is written,
//! never read, and borrows from the analysis, so that a report of a million flows is written flow by flow.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::{Error, SerializeSeq};
use serde::{Serialize, Serializer};

use super::CaptureInfo;
use crate::analysis::{self, Analysis};
use crate::confine;
use crate::event::{Event, EventKind};
use crate::liveness::findings;
use crate::packet::{self, Nanos};
use crate::sockets;
use crate::summary::{self, Both, FlowSummary, Side};
pub use crate::totals::Summary;

/// Name and number of the document's form.
pub const SCHEMA: &str = "hbsniff.report/1";

/// A point in time: RFC 3339 in UTC with nanoseconds.
#[derive(Clone, Copy)]
pub struct Time(pub packet::Time);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = jiff::Timestamp::from_nanosecond(i128::from(self.0.0)).map_err(|_| std::fmt::Error)?;
        let t = jiff::tz::TimeZone::UTC.to_datetime(at);
        // The years that nanoseconds in 64 bits reach, 1677 to 2262, have four digits. A report holds a dozen times a flow, so
        // they are written digit by digit.
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        let mut put = |at: std::ops::Range<usize>, mut n: u32| {
            for digit in text[at].iter_mut().rev() {
                *digit += (n % 10) as u8;
                n /= 10;
            }
        };
        put(0..4, u32::from(t.year().unsigned_abs()));
        let fields = [t.month(), t.day(), t.hour(), t.minute(), t.second()];
        for (at, n) in [5, 8, 11, 14, 17].into_iter().zip(fields) {
            put(at..at + 2, u32::from(n.unsigned_abs()));
        }
        put(20..29, t.subsec_nanosecond().unsigned_abs());
        f.write_str(std::str::from_utf8(&text).map_err(|_| std::fmt::Error)?)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time", "description": "RFC 3339, UTC, nanoseconds" })
    }
}

/// A span in seconds, with at most nine decimals.
#[derive(Clone, Copy)]
pub struct Seconds(f64);

impl From<Nanos> for Seconds {
    fn from(span: Nanos) -> Self {
        Seconds(packet::seconds(span))
    }
}

impl From<f64> for Seconds {
    fn from(s: f64) -> Self {
        let billionths = (s * 1e9).round();
        // Past 2^53 nanoseconds (104 days) a double holds no nanoseconds that rounding could spoil.
        Seconds(if billionths.abs() < 9e15 { billionths / 1e9 } else { s })
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.0.is_finite() {
            return Err(S::Error::custom("a span is not finite"));
        }
        if self.0.fract() == 0.0 && self.0.abs() < 1e15 {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

impl JsonSchema for Seconds {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Seconds".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "description": "seconds" })
    }
}

/// A set of words of the document that mirrors an enumeration of the analysis.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident from $core:ty { $($(#[$word_doc:meta])* $word:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Serialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$word_doc])* $word),* }

        impl From<$core> for $name {
            fn from(word: $core) -> Self {
                match word { $(<$core>::$word => $name::$word),* }
            }
        }
    };
}

words! {
    /// One end of a connection.
    SideWord from Side {
        /// The side that sent the SYN, or that the evidence favours.
        Client,
        /// The other.
        Server,
    }
}

words! {
    /// How much of the three-way handshake the capture holds.
    Handshake from summary::Handshake {
        /// SYN, SYN-ACK and ACK.
        Full,
        /// Some of them.
        Partial,
        /// None: the capture began in the middle.
        None,
    }
}

words! {
    /// How a flow ended.
    End from summary::End {
        /// Closed in good order.
        Fin,
        /// Reset, with no dead peer behind it.
        Rst,
        /// A side took the other for dead.
        DeadPeer,
        /// It had not ended.
        Open,
    }
}

words! {
    /// Whether a recurring message keeps a connection alive or fetches something.
    Kind from summary::BeatKind {
        /// Says nothing but "alive".
        Heartbeat,
        /// As regular, but it fetches content that varies.
        Polling,
    }
}

words! {
    /// Whether a beat asks for a reply.
    Mode from summary::Mode {
        /// Never answered.
        OneWay,
        /// Each draws a reply.
        RequestReply,
    }
}

words! {
    /// What starts a heartbeat's timer.
    Trigger from summary::Trigger {
        /// A fixed grid, whatever else is sent.
        Fixed,
        /// So long after the last traffic.
        Idle,
        /// The flow carries nothing that would tell the two apart.
        Undetermined,
    }
}

words! {
    /// How a dead peer was noticed.
    Mechanism from summary::Mechanism {
        /// Keepalive probes went unanswered until their count, or the user timeout, was reached.
        KeepaliveTimeout,
        /// A probe was answered by a reset: the peer no longer knew the connection.
        KeepaliveReset,
        /// Data was resent until the retransmission limit, or the user timeout.
        RetransmissionTimeout,
        /// Zero-window probes went unanswered until the same limit.
        ZeroWindowTimeout,
        /// The application gave up: a beat or a reply was overdue.
        HeartbeatTimeout,
        /// Data was answered by a reset: the peer no longer knew the connection.
        ResetOnData,
        /// An ICMP error ended the connection.
        IcmpUnreachable,
        /// Nobody noticed.
        Undetected,
    }
}

words! {
    /// How sure the moment of a verdict is.
    Basis from summary::Basis {
        /// A packet marks it.
        Observed,
        /// The side gave up without a packet, and the moment is computed.
        Inferred,
        /// Still trying when the capture ended.
        CaptureEnded,
    }
}

words! {
    /// What would notice a side's silent death.
    NoticedBy from summary::NoticedBy {
        /// The other side's keepalive.
        Keepalive,
        /// A missing beat or reply.
        Heartbeat,
        /// Data in flight.
        Retransmission,
        /// Nothing.
        None,
    }
}

words! {
    /// Where the figures of an exposure come from.
    Ground from summary::Ground {
        /// Every one was seen on the wire.
        Observed,
        /// The protocol's handshake announced them, or the socket's own settings tell them (`sockets`).
        Declared,
        /// A stack's or a protocol's default stands in for one not seen, as the note says.
        Assumed,
    }
}

words! {
    /// What a socket's timer is for.
    TimerWord from sockets::TimerKind {
        /// To send data again.
        Retransmission,
        /// To send a keepalive probe, or to see whether one is due.
        Keepalive,
        /// To probe a closed window.
        ZeroWindowProbe,
    }
}

words! {
    /// How much a finding matters.
    Severity from summary::Severity {
        /// Worth knowing.
        Info,
        /// Worth changing.
        Warning,
        /// Broken now.
        Error,
    }
}

/// A value for each side.
#[derive(Serialize, JsonSchema)]
pub struct Sides<T> {
    /// The client's.
    pub client: T,
    /// The server's.
    pub server: T,
}

impl<T> Sides<T> {
    fn new<'a, U>(both: &'a Both<U>, convert: impl Fn(&'a U) -> T) -> Self {
        Sides { client: convert(&both[Side::Client]), server: convert(&both[Side::Server]) }
    }
}

/// What one run learned of its capture.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "hbsniff report")]
pub struct Report<'a> {
    /// `hbsniff.report/1`; keys may be added under the same number.
    pub schema: &'static str,
    /// What wrote it.
    pub tool: Tool,
    /// What was read.
    pub capture: Capture<'a>,
    /// Counts over all flows.
    pub summary: Summary,
    /// One entry a TCP connection, in order of first packet.
    pub flows: Flows<'a>,
}

impl<'a> Report<'a> {
    /// The document of an analysis.
    #[must_use]
    pub fn new(analysis: &'a Analysis, info: &'a CaptureInfo) -> Self {
        Report {
            schema: SCHEMA,
            tool: Tool { name: "hbsniff", version: env!("CARGO_PKG_VERSION") },
            capture: Capture::new(analysis, info),
            summary: Summary::new(analysis),
            flows: Flows(&analysis.flows),
        }
    }
}

/// The program.
#[derive(Serialize, JsonSchema)]
pub struct Tool {
    /// `hbsniff`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// What was read.
#[derive(Serialize, JsonSchema)]
pub struct Capture<'a> {
    /// Files or interfaces.
    pub sources: &'a [String],
    /// Link-layer types, as tcpdump names them.
    pub link_types: &'a [String],
    /// Time of the first frame.
    pub first_packet: Option<Time>,
    /// Time of the last frame.
    pub last_packet: Option<Time>,
    /// From the first to the last.
    pub duration_s: Seconds,
    /// Frames read.
    pub packets: u64,
    /// Their length on the wire.
    pub bytes: u64,
    /// TCP segments in them.
    pub tcp_segments: u64,
    /// Frames that were not analysed, by reason.
    pub skipped: Skipped,
    /// Packets that the kernel dropped for want of buffer; null where it cannot be known.
    pub dropped_by_kernel: Option<u64>,
    /// What was wrong with the input, in sentences.
    pub warnings: Vec<&'a str>,
    /// By what a live capture was held once it had begun; null for files.
    pub confinement: Option<Confinement<'a>>,
}

/// What a live capture gave up once it had begun.
#[derive(Serialize, JsonSchema)]
pub struct Confinement<'a> {
    /// The user that it ran as.
    pub user: &'a str,
    /// Capabilities that it kept.
    pub capabilities: &'a [String],
    /// Whether it could open no file or port by Landlock.
    pub landlock: Landlock,
    /// Whether it could open nothing by a seccomp filter.
    pub seccomp: bool,
}

words! {
    /// How far Landlock held the process.
    Landlock from confine::Landlock {
        /// In all that this program knows to forbid.
        Full,
        /// In what an older kernel knows to forbid.
        Partial,
        /// Not at all.
        None,
    }
}

impl<'a> From<&'a confine::Confinement> for Confinement<'a> {
    fn from(held: &'a confine::Confinement) -> Self {
        Confinement {
            user: &held.user,
            capabilities: &held.capabilities,
            landlock: held.landlock.into(),
            seccomp: held.seccomp,
        }
    }
}

impl<'a> Capture<'a> {
    fn new(analysis: &'a Analysis, info: &'a CaptureInfo) -> Self {
        let span = analysis.last_packet.zip(analysis.first_packet).map_or(0, |(last, first)| last.since(first));
        Capture {
            sources: &info.sources,
            link_types: &info.link_types,
            first_packet: analysis.first_packet.map(Time),
            last_packet: analysis.last_packet.map(Time),
            duration_s: span.into(),
            packets: analysis.packets,
            bytes: analysis.bytes,
            tcp_segments: analysis.tcp_segments,
            skipped: Skipped {
                not_tcp: analysis.skipped.not_tcp,
                malformed: analysis.skipped.malformed,
                truncated: analysis.skipped.truncated,
                fragments: analysis.skipped.fragments,
                duplicates: analysis.skipped.duplicates,
            },
            dropped_by_kernel: info.dropped_by_kernel,
            warnings: info.warnings.iter().chain(&analysis.warnings).map(String::as_str).collect(),
            confinement: info.confinement.as_ref().map(Into::into),
        }
    }
}

/// Frames that were not analysed, by reason.
#[derive(Serialize, JsonSchema)]
pub struct Skipped {
    /// No TCP in them.
    pub not_tcp: u64,
    /// A header contradicts itself or its bytes.
    pub malformed: u64,
    /// The snaplen cut them before the TCP header's end.
    pub truncated: u64,
    /// IP fragments that could not be put together.
    pub fragments: u64,
    /// Copies of frames already seen.
    pub duplicates: u64,
}

/// The flows, converted one at a time as they are written.
pub struct Flows<'a>(pub &'a analysis::Flows);

impl Serialize for Flows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for flow in self.0.iter() {
            seq.serialize_element(&Flow::from(&flow))?;
        }
        seq.end()
    }
}

impl JsonSchema for Flows<'_> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Flows".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        <Vec<Flow<'_>>>::json_schema(generator)
    }
}

/// One TCP connection; a reused 4-tuple makes a new one.
#[derive(Serialize, JsonSchema)]
pub struct Flow<'a> {
    /// From 1, in order of first packet.
    pub id: u64,
    /// The side that sent the SYN, or that the evidence favours.
    pub client: Endpoint,
    /// The other side.
    pub server: Endpoint,
    /// How much of the handshake was seen.
    pub handshake: Handshake,
    /// Time of its first packet.
    pub first_packet: Time,
    /// Time of its last.
    pub last_packet: Time,
    /// From the first to the last.
    pub duration_s: Seconds,
    /// How it ended.
    pub end: End,
    /// Sent by each side.
    pub traffic: Sides<Traffic>,
    /// Round-trip time.
    pub rtt_s: Option<Seconds>,
    /// Longest time without any packet; up to the capture's end while the flow is open.
    pub longest_silence_s: Seconds,
    /// Longest time without payload from either side.
    pub longest_payload_silence_s: Seconds,
    /// Kernel keepalive probes sent by each side.
    pub keepalive: Sides<Option<Keepalive>>,
    /// Zero-window probes sent by each side.
    pub zero_window_probes: Sides<u64>,
    /// Application heartbeats, by first beat.
    pub heartbeats: Vec<Heartbeat>,
    /// Who took whom for dead.
    pub deaths: Vec<Death<'a>>,
    /// What this host's kernel knows of the flow's sockets (`--sockets`); null where neither end is this host's.
    pub sockets: Option<Sides<Option<Socket<'a>>>>,
    /// What if a side died silently now.
    pub exposure: Exposures<'a>,
    /// What the watching costs; null where nothing watches.
    pub liveness_cost: Option<Sides<Cost>>,
    /// What a person should know or change.
    pub findings: Vec<Finding<'a>>,
}

impl<'a> From<&'a FlowSummary> for Flow<'a> {
    fn from(flow: &'a FlowSummary) -> Self {
        Flow {
            id: flow.id,
            client: flow.ends[Side::Client].into(),
            server: flow.ends[Side::Server].into(),
            handshake: flow.handshake.into(),
            first_packet: Time(flow.first),
            last_packet: Time(flow.last),
            duration_s: flow.last.since(flow.first).into(),
            end: flow.end.into(),
            traffic: Sides::new(&flow.traffic, |t| Traffic {
                packets: t.packets,
                payload_bytes: t.payload_bytes,
                retransmissions: t.retransmissions,
            }),
            rtt_s: flow.rtt_s.map(Seconds::from),
            longest_silence_s: flow.longest_silence.into(),
            longest_payload_silence_s: flow.longest_payload_silence.into(),
            keepalive: Sides::new(&flow.keepalive, |k| k.as_ref().map(Keepalive::from)),
            zero_window_probes: Sides::new(&flow.zero_window_probes, |&n| n),
            heartbeats: flow.heartbeats.iter().map(Heartbeat::from).collect(),
            deaths: flow.deaths.iter().map(Death::from).collect(),
            sockets: flow
                .sockets
                .0
                .iter()
                .any(Option::is_some)
                .then(|| Sides::new(&flow.sockets, |socket| socket.as_deref().map(Socket::from))),
            exposure: Exposures {
                client_dies: (&flow.exposure[Side::Client]).into(),
                server_dies: (&flow.exposure[Side::Server]).into(),
            },
            liveness_cost: flow.cost.as_ref().map(|cost| {
                Sides::new(cost, |c| Cost {
                    packets_per_hour: tenths(c.packets_per_hour),
                    bytes_per_hour: tenths(c.bytes_per_hour),
                })
            }),
            findings: flow.findings.iter().map(Finding::from).collect(),
        }
    }
}

/// Rates are estimates: a tenth is all they are good for.
fn tenths(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

/// An address and a port.
#[derive(Serialize, JsonSchema)]
pub struct Endpoint {
    /// IPv4 or IPv6 address.
    pub address: std::net::IpAddr,
    /// TCP port.
    pub port: u16,
}

impl From<packet::Endpoint> for Endpoint {
    fn from(end: packet::Endpoint) -> Self {
        Endpoint { address: end.address.ip(), port: end.port }
    }
}

/// What one side sent.
#[derive(Serialize, JsonSchema)]
pub struct Traffic {
    /// Segments, copies not counted.
    pub packets: u64,
    /// Payload bytes, retransmissions and probe bytes not counted.
    pub payload_bytes: u64,
    /// Segments that carried bytes sent before.
    pub retransmissions: u64,
}

/// Kernel keepalive probes that one side sent (RFC 9293 §3.8.4).
#[derive(Serialize, JsonSchema)]
pub struct Keepalive {
    /// Probes sent.
    pub probes: u64,
    /// Those the peer answered.
    pub answered: u64,
    /// Those it did not.
    pub unanswered: u64,
    /// Bytes of garbage in each: 0 or 1.
    pub probe_len: u8,
    /// The first probe.
    pub first: Time,
    /// The last.
    pub last: Time,
    /// What the side's TCP_KEEPIDLE must be set to.
    pub idle_s: Option<Seconds>,
    /// What its TCP_KEEPINTVL must be set to.
    pub interval_s: Option<Seconds>,
    /// What its TCP_KEEPCNT must be set to.
    pub count: Option<u32>,
    /// The spans as measured, unrounded.
    pub observed: ObservedSettings,
    /// The stack or program that the figures and the shape fit, if only one does.
    pub stack: Option<&'static str>,
    /// Median time from a probe to its answer.
    pub rtt_s: Option<Seconds>,
}

impl From<&summary::KeepaliveSummary> for Keepalive {
    fn from(k: &summary::KeepaliveSummary) -> Self {
        Keepalive {
            probes: k.probes,
            answered: k.answered,
            unanswered: k.unanswered(),
            probe_len: k.probe_len,
            first: Time(k.first),
            last: Time(k.last),
            idle_s: k.idle_s.map(Seconds::from),
            interval_s: k.interval_s.map(Seconds::from),
            count: k.count,
            observed: ObservedSettings {
                idle_s: k.observed_idle.as_ref().map(Spread::from),
                interval_s: k.observed_interval.as_ref().map(Spread::from),
            },
            stack: k.stack,
            rtt_s: k.rtt_s.map(Seconds::from),
        }
    }
}

/// Keepalive spans as measured.
#[derive(Serialize, JsonSchema)]
pub struct ObservedSettings {
    /// From last hearing the peer to a first probe.
    pub idle_s: Option<Spread>,
    /// Between unanswered probes of one run.
    pub interval_s: Option<Spread>,
}

/// Median and bounds, seconds.
#[derive(Serialize, JsonSchema)]
pub struct Spread {
    /// Median.
    pub median: Seconds,
    /// Least.
    pub min: Seconds,
    /// Greatest.
    pub max: Seconds,
}

impl From<&summary::Spread> for Spread {
    fn from(s: &summary::Spread) -> Self {
        Spread { median: s.median.into(), min: s.min.into(), max: s.max.into() }
    }
}

/// One recurring application message on one flow; a request and the reply it draws are one.
#[derive(Serialize, JsonSchema)]
pub struct Heartbeat {
    /// Who sends the beat.
    pub from: SideWord,
    /// The protocol's short name; null where the rhythm alone tells it.
    pub protocol: Option<&'static str>,
    /// Heartbeat or polling.
    pub kind: Kind,
    /// One way or answered.
    pub mode: Mode,
    /// Fixed or idle-triggered.
    pub trigger: Trigger,
    /// The interval or timeout that the protocol's handshake announced.
    pub declared_s: Option<Seconds>,
    /// Beats seen.
    pub count: u64,
    /// Replies seen.
    pub replies: u64,
    /// Beats that were due and did not come.
    pub missed: u64,
    /// Payload length of a beat, bytes.
    pub payload_len: Lengths,
    /// First bytes of a beat, at most 32, in hexadecimal.
    pub sample_hex: String,
    /// Gaps between beats; null below two beats.
    pub interval_s: Option<Interval>,
    /// 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: f64,
    /// The first beat.
    pub first: Time,
    /// The last.
    pub last: Time,
}

impl From<&summary::HeartbeatSummary> for Heartbeat {
    fn from(h: &summary::HeartbeatSummary) -> Self {
        Heartbeat {
            from: h.from.into(),
            protocol: h.protocol,
            kind: h.kind.into(),
            mode: h.mode.into(),
            trigger: h.trigger.into(),
            declared_s: h.declared_s.map(Seconds::from),
            count: h.count,
            replies: h.replies,
            missed: h.missed,
            payload_len: Lengths { min: h.payload_len.0, max: h.payload_len.1 },
            sample_hex: hex(&h.sample),
            interval_s: h.interval.as_ref().map(Interval::from),
            confidence: (h.confidence * 100.0).round() / 100.0,
            first: Time(h.first),
            last: Time(h.last),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Least and greatest length, bytes.
#[derive(Serialize, JsonSchema)]
pub struct Lengths {
    /// Least.
    pub min: u32,
    /// Greatest.
    pub max: u32,
}

/// The gaps between beats, seconds.
#[derive(Serialize, JsonSchema)]
pub struct Interval {
    /// Median.
    pub median: Seconds,
    /// Least.
    pub min: Seconds,
    /// Greatest.
    pub max: Seconds,
    /// Median absolute deviation from the median.
    pub mad: Seconds,
}

impl From<&summary::Interval> for Interval {
    fn from(i: &summary::Interval) -> Self {
        Interval { median: i.median.into(), min: i.min.into(), max: i.max.into(), mad: i.mad.into() }
    }
}

/// One side took the other for dead, or should have and did not.
#[derive(Serialize, JsonSchema)]
pub struct Death<'a> {
    /// Who was taken for dead.
    pub dead: SideWord,
    /// Who noticed; with `capture_ended`, who is still trying; null where nobody did.
    pub detected_by: Option<SideWord>,
    /// How.
    pub mechanism: Mechanism,
    /// The last packet from the dead side that the detector can have received; null where the capture holds none.
    pub last_heard: Option<Time>,
    /// When it gave up.
    pub detected_at: Option<Time>,
    /// From `last_heard` to `detected_at`.
    pub detection_s: Option<Seconds>,
    /// How sure that moment is.
    pub basis: Basis,
    /// 0 when observed; else how far `detected_at` can be off, up or down.
    pub uncertainty_s: Seconds,
    /// The timer that the figures fit, in words.
    pub clock: Option<&'a str>,
    /// The flow that replaced this one.
    pub recovered_as: Option<u64>,
    /// How long the replacement took, from `last_heard`.
    pub outage_s: Option<Seconds>,
    /// The frames that prove it.
    pub evidence: &'a [u64],
}

impl<'a> From<&'a summary::Death> for Death<'a> {
    fn from(d: &'a summary::Death) -> Self {
        Death {
            dead: d.dead.into(),
            detected_by: d.detected_by.map(SideWord::from),
            mechanism: d.mechanism.into(),
            last_heard: d.last_heard.map(Time),
            detected_at: d.detected_at.map(Time),
            detection_s: d.detection().map(Seconds::from),
            basis: d.basis.into(),
            uncertainty_s: d.uncertainty.into(),
            clock: d.clock.as_deref(),
            recovered_as: d.recovered_as,
            outage_s: d.outage.map(Seconds::from),
            evidence: &d.evidence,
        }
    }
}

/// A socket of this host, as its kernel told of it last.
#[derive(Serialize, JsonSchema)]
pub struct Socket<'a> {
    /// When it was first seen.
    pub first_seen: Time,
    /// When it was last seen.
    pub last_seen: Time,
    /// The user that made it.
    pub uid: u32,
    /// The process that has it open; null where none has, or it may not be known.
    pub pid: Option<u32>,
    /// That process's name, as it chose it itself.
    pub process: Option<&'a str>,
    /// The timer that ran; null for none.
    pub timer: Option<TimerWord>,
    /// When that timer was to go off, from `last_seen`.
    pub timer_expires_s: Option<Seconds>,
    /// Probes that the kernel held for unanswered.
    pub unanswered: u32,
    /// SO_KEEPALIVE; null where it may not be known.
    pub keepalive: Option<bool>,
    /// TCP_KEEPIDLE; null where it may not be known.
    pub idle_s: Option<Seconds>,
    /// TCP_KEEPINTVL; null where it may not be known.
    pub interval_s: Option<Seconds>,
    /// TCP_KEEPCNT; null where it may not be known.
    pub count: Option<u32>,
    /// TCP_USER_TIMEOUT; null where it is not set or may not be known.
    pub user_timeout_s: Option<Seconds>,
}

impl<'a> From<&'a sockets::Socket> for Socket<'a> {
    fn from(s: &'a sockets::Socket) -> Self {
        let span = |s: u32| Seconds::from(f64::from(s));
        let user_timeout_ms = s.settings.map(|s| s.user_timeout_ms).filter(|&ms| ms > 0);
        Socket {
            first_seen: Time(packet::Time(s.first_seen)),
            last_seen: Time(packet::Time(s.last_seen)),
            uid: s.uid,
            pid: s.process.as_ref().map(|p| p.pid),
            process: s.process.as_ref().map(|p| p.name.as_str()),
            timer: s.timer.map(|t| t.kind.into()),
            timer_expires_s: s.timer.map(|t| Seconds::from(t.expires_ms as f64 / 1e3)),
            unanswered: s.unanswered,
            keepalive: s.keepalive(),
            idle_s: s.settings.map(|s| span(s.idle_s)),
            interval_s: s.settings.map(|s| span(s.interval_s)),
            count: s.settings.map(|s| s.count),
            user_timeout_s: user_timeout_ms.map(|ms| Seconds::from(f64::from(ms) / 1e3)),
        }
    }
}

/// If a side died silently now, would the other know, and when?
#[derive(Serialize, JsonSchema)]
pub struct Exposures<'a> {
    /// If the client did.
    pub client_dies: Exposure<'a>,
    /// If the server did.
    pub server_dies: Exposure<'a>,
}

/// If this side died silently now, would the other know, and when?
#[derive(Serialize, JsonSchema)]
pub struct Exposure<'a> {
    /// By what.
    pub noticed_by: NoticedBy,
    /// After how long at worst; null where nothing would notice or no figure is known.
    pub worst_case_s: Option<Seconds>,
    /// Where the figures come from.
    pub basis: Ground,
    /// The reason in a sentence.
    pub note: &'a str,
}

impl<'a> From<&'a summary::Exposure> for Exposure<'a> {
    fn from(e: &'a summary::Exposure) -> Self {
        Exposure {
            noticed_by: e.noticed_by.into(),
            worst_case_s: e.worst_case_s.map(Seconds::from),
            basis: e.basis.into(),
            note: &e.note,
        }
    }
}

/// What the watching costs one side, as sent on the wire: probes, heartbeats, their replies and acknowledgements.
#[derive(Serialize, JsonSchema)]
pub struct Cost {
    /// Packets an hour.
    pub packets_per_hour: f64,
    /// Bytes an hour, link-layer header included.
    pub bytes_per_hour: f64,
}

/// What a person should know or change.
#[derive(Serialize, JsonSchema)]
pub struct Finding<'a> {
    /// What it is; the codes so far are the examples.
    #[schemars(extend("examples" = findings::CODES))]
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// A sentence with the figures and what to change.
    pub message: &'a str,
}

impl<'a> From<&'a summary::Finding> for Finding<'a> {
    fn from(f: &'a summary::Finding) -> Self {
        Finding { code: f.code, severity: f.severity.into(), message: &f.message }
    }
}

/// One line of `--events`.
#[derive(Serialize, JsonSchema)]
pub struct EventLine<'a> {
    /// The time of the packet it speaks of.
    pub time: Time,
    /// That packet's frame; null where no packet marks it.
    pub frame: Option<u64>,
    /// The flow's id.
    pub flow: u64,
    /// The side that acted.
    pub from: Option<SideWord>,
    /// What happened, and its figures.
    #[serde(flatten)]
    pub what: What<'a>,
}

/// What happened on a flow.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What<'a> {
    /// The flow's first packet.
    FlowStart {
        /// The side that sent the SYN, or that the evidence favours.
        client: Endpoint,
        /// The other side.
        server: Endpoint,
    },
    /// The flow ended, or the capture did.
    FlowEnd {
        /// How.
        end: End,
    },
    /// A kernel keepalive probe.
    KeepaliveProbe {
        /// 0 or 1 byte of garbage.
        probe_len: u8,
    },
    /// The answer to one.
    KeepaliveAck {
        /// From probe to answer.
        rtt_s: Seconds,
    },
    /// A probe of a closed window.
    ZeroWindowProbe {},
    /// The answer to one.
    ZeroWindowAck {},
    /// A segment with bytes sent before.
    Retransmission {},
    /// An application heartbeat.
    Heartbeat {
        /// The protocol, where known.
        protocol: Option<&'static str>,
        /// Since the last one.
        interval_s: Option<Seconds>,
    },
    /// The reply to one.
    HeartbeatReply {
        /// The protocol, where known.
        protocol: Option<&'static str>,
    },
    /// A beat was due and did not come.
    HeartbeatMissed {
        /// The protocol, where known.
        protocol: Option<&'static str>,
    },
    /// A side took the other for dead.
    PeerDead {
        /// The side that sent the SYN, or that the evidence favours.
        client: Endpoint,
        /// The other side.
        server: Endpoint,
        /// Who, by what, and when.
        #[serde(flatten)]
        death: Death<'a>,
    },
}

impl<'a> EventLine<'a> {
    /// The line of an event; `None` for data, which is no news.
    #[must_use]
    pub fn new(event: &'a Event) -> Option<Self> {
        Some(EventLine {
            time: Time(event.time),
            frame: event.frame,
            flow: event.flow,
            from: event.from.map(SideWord::from),
            what: match &event.kind {
                EventKind::FlowStart { ends } => {
                    What::FlowStart { client: ends[Side::Client].into(), server: ends[Side::Server].into() }
                }
                EventKind::Data { .. } => return None,
                EventKind::FlowEnd(end) => What::FlowEnd { end: (*end).into() },
                EventKind::KeepaliveProbe { probe_len } => What::KeepaliveProbe { probe_len: *probe_len },
                EventKind::KeepaliveAck { rtt } => What::KeepaliveAck { rtt_s: (*rtt).into() },
                EventKind::ZeroWindowProbe => What::ZeroWindowProbe {},
                EventKind::ZeroWindowAck => What::ZeroWindowAck {},
                EventKind::Retransmission => What::Retransmission {},
                EventKind::Heartbeat { protocol, interval } => {
                    What::Heartbeat { protocol: *protocol, interval_s: interval.map(Seconds::from) }
                }
                EventKind::HeartbeatReply { protocol } => What::HeartbeatReply { protocol: *protocol },
                EventKind::HeartbeatMissed { protocol } => What::HeartbeatMissed { protocol: *protocol },
                EventKind::PeerDead { ends, death } => What::PeerDead {
                    client: ends[Side::Client].into(),
                    server: ends[Side::Server].into(),
                    death: death.as_ref().into(),
                },
            },
        })
    }
}
