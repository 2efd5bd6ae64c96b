//! What is known of one flow when it is told: the detectors' results, which the report shows and the verdicts read.

use std::borrow::Cow;

use crate::packet::{Endpoint, Nanos, Time};
use crate::sockets::Socket;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Side {
    /// The side that sent the SYN, or that the evidence favours.
    Client = 0,
    /// The other.
    Server = 1,
}

impl Side {
    /// Both, the client first.
    pub const BOTH: [Side; 2] = [Side::Client, Side::Server];

    /// The opposite end.
    #[inline]
    #[must_use]
    pub fn peer(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }

    /// Its word in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Server => "server",
        }
    }
}

/// A value for each side; index with a [`Side`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Both<T>(pub [T; 2]);

impl<T> std::ops::Index<Side> for Both<T> {
    type Output = T;
    #[inline]
    fn index(&self, s: Side) -> &T {
        &self.0[s as usize]
    }
}

impl<T> std::ops::IndexMut<Side> for Both<T> {
    #[inline]
    fn index_mut(&mut self, s: Side) -> &mut T {
        &mut self.0[s as usize]
    }
}

/// How much of the three-way handshake the capture holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// SYN, SYN-ACK and the acknowledgment.
    Full,
    /// Some of it.
    Partial,
    /// None of it: the capture began in the middle.
    None,
}

impl Handshake {
    /// Its word in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Handshake::Full => "full",
            Handshake::Partial => "partial",
            Handshake::None => "none",
        }
    }
}

/// How a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides closed, or one did and the other was not at fault.
    Fin,
    /// A reset that speaks of no dead peer.
    Rst,
    /// It ended because a side took the other for dead.
    DeadPeer,
    /// It had not ended.
    Open,
}

impl End {
    /// Its word in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            End::Fin => "fin",
            End::Rst => "rst",
            End::DeadPeer => "dead_peer",
            End::Open => "open",
        }
    }
}

/// What one side sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// TCP segments, copies of the same frame not counted.
    pub packets: u64,
    /// Payload bytes, retransmissions and probe bytes not counted.
    pub payload_bytes: u64,
    /// Segments that carried bytes sent before.
    pub retransmissions: u64,
}

/// Median and bounds of a measured span, seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Median.
    pub median: f64,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
}

/// Kernel keepalive probes that one side sent (RFC 9293 §3.8.4).
#[derive(Clone, Debug, PartialEq)]
pub struct KeepaliveSummary {
    /// Probes sent.
    pub probes: u64,
    /// Those the peer answered.
    pub answered: u64,
    /// Bytes of garbage in each: 0 or 1.
    pub probe_len: u8,
    /// First and last probe.
    pub first: Time,
    /// See `first`.
    pub last: Time,
    /// TCP_KEEPIDLE as inferred, seconds.
    pub idle_s: Option<f64>,
    /// TCP_KEEPINTVL as inferred, seconds.
    pub interval_s: Option<f64>,
    /// TCP_KEEPCNT as inferred.
    pub count: Option<u32>,
    /// Idle spans as measured.
    pub observed_idle: Option<Spread>,
    /// Gaps between unanswered probes as measured.
    pub observed_interval: Option<Spread>,
    /// The only stack that these figures and this shape fit.
    pub stack: Option<&'static str>,
    /// Median time from a probe to its answer, seconds.
    pub rtt_s: Option<f64>,
}

impl KeepaliveSummary {
    /// Probes that drew no answer.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.probes - self.answered
    }
}

/// Whether a recurring message keeps a connection alive or fetches something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BeatKind {
    /// Says nothing but "alive".
    Heartbeat,
    /// As regular, but it fetches content that varies.
    Polling,
}

/// Whether a beat asks for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Never answered.
    OneWay,
    /// Each draws a reply.
    RequestReply,
}

/// What starts the timer of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// A fixed grid, whatever else is sent.
    Fixed,
    /// So long after the last traffic.
    Idle,
    /// The flow carries nothing that would tell the two apart.
    Undetermined,
}

/// The gaps between beats, seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Median.
    pub median: f64,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
    /// Median absolute deviation from the median.
    pub mad: f64,
}

/// One recurring application message on one flow; a request and its reply are one.
#[derive(Clone, Debug, PartialEq)]
pub struct HeartbeatSummary {
    /// Who sends the beat (of a request and its reply: the request).
    pub from: Side,
    /// The protocol's short name, where it was recognised.
    pub protocol: Option<&'static str>,
    /// Heartbeat or polling.
    pub kind: BeatKind,
    /// One way or answered.
    pub mode: Mode,
    /// Fixed or idle-triggered.
    pub trigger: Trigger,
    /// The interval or timeout that the protocol's handshake announced, seconds.
    pub declared_s: Option<f64>,
    /// Beats seen.
    pub count: u64,
    /// Replies seen.
    pub replies: u64,
    /// Beats that were due and did not come.
    pub missed: u64,
    /// Least and greatest payload length of a beat, bytes.
    pub payload_len: (u32, u32),
    /// First bytes of a beat, at most 32.
    pub sample: Vec<u8>,
    /// Gaps between beats; `None` below two beats.
    pub interval: Option<Interval>,
    /// 0 to 1.
    pub confidence: f64,
    /// First and last beat.
    pub first: Time,
    /// See `first`.
    pub last: Time,
    /// When the last reply came.
    pub last_reply: Option<Time>,
}

/// How a dead peer was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// Keepalive probes went unanswered until the count (or the user timeout) was reached.
    KeepaliveTimeout,
    /// A keepalive probe was answered by a reset: the peer no longer knows the connection.
    KeepaliveReset,
    /// Data was resent until the retransmission limit (or the user timeout).
    RetransmissionTimeout,
    /// Zero-window probes went unanswered until the same limit.
    ZeroWindowTimeout,
    /// The application gave up: a beat or a reply was overdue.
    HeartbeatTimeout,
    /// Data was answered by a reset: the peer no longer knows the connection.
    ResetOnData,
    /// An ICMP error ended the connection.
    IcmpUnreachable,
    /// Nobody noticed.
    Undetected,
}

impl Mechanism {
    /// Each of them.
    pub const ALL: [Mechanism; 8] = [
        Mechanism::KeepaliveTimeout,
        Mechanism::KeepaliveReset,
        Mechanism::RetransmissionTimeout,
        Mechanism::ZeroWindowTimeout,
        Mechanism::HeartbeatTimeout,
        Mechanism::ResetOnData,
        Mechanism::IcmpUnreachable,
        Mechanism::Undetected,
    ];

    /// Its word in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::KeepaliveTimeout => "keepalive_timeout",
            Mechanism::KeepaliveReset => "keepalive_reset",
            Mechanism::RetransmissionTimeout => "retransmission_timeout",
            Mechanism::ZeroWindowTimeout => "zero_window_timeout",
            Mechanism::HeartbeatTimeout => "heartbeat_timeout",
            Mechanism::ResetOnData => "reset_on_data",
            Mechanism::IcmpUnreachable => "icmp_unreachable",
            Mechanism::Undetected => "undetected",
        }
    }
}

/// How sure the moment of a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A packet marks it.
    Observed,
    /// Computed: the side gave up without a packet.
    Inferred,
    /// Still trying when the capture ended.
    CaptureEnded,
}

impl Basis {
    /// Its word in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Basis::Observed => "observed",
            Basis::Inferred => "inferred",
            Basis::CaptureEnded => "capture_ended",
        }
    }
}

/// One side took the other for dead, or should have and did not.
#[derive(Clone, Debug, PartialEq)]
pub struct Death {
    /// Who was taken for dead.
    pub dead: Side,
    /// Who noticed; with [`Basis::CaptureEnded`] who is still trying.
    pub detected_by: Option<Side>,
    /// How.
    pub mechanism: Mechanism,
    /// The last packet from the dead side that the detector can have received; `None` where the capture holds none.
    pub last_heard: Option<Time>,
    /// When it gave up.
    pub detected_at: Option<Time>,
    /// How sure that moment is.
    pub basis: Basis,
    /// How far `detected_at` can be off, either way; 0 when observed.
    pub uncertainty: Nanos,
    /// The timer that the figures fit, in words.
    pub clock: Option<String>,
    /// The flow that replaced this one.
    pub recovered_as: Option<u64>,
    /// How long the replacement took, from `last_heard`.
    pub outage: Option<Nanos>,
    /// The frames that prove it, in order, few.
    pub evidence: Vec<u64>,
}

impl Death {
    /// How long the detector had not heard the dead side when it gave up; `None` where either moment is unknown
    /// or the clock stepped back between them.
    #[must_use]
    pub fn detection(&self) -> Option<Nanos> {
        Some(self.detected_at?.since(self.last_heard?)).filter(|span| *span >= 0)
    }
}

/// What would notice a side's silent death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticedBy {
    /// The other side's keepalive.
    Keepalive,
    /// A missing beat or reply.
    Heartbeat,
    /// Data in flight.
    Retransmission,
    /// Nothing.
    None,
}

impl NoticedBy {
    /// Each of them, in this order.
    pub const ALL: [NoticedBy; 4] =
        [NoticedBy::Keepalive, NoticedBy::Heartbeat, NoticedBy::Retransmission, NoticedBy::None];

    /// Its word in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            NoticedBy::Keepalive => "keepalive",
            NoticedBy::Heartbeat => "heartbeat",
            NoticedBy::Retransmission => "retransmission",
            NoticedBy::None => "none",
        }
    }
}

/// Where the figures of an exposure come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// All seen on the wire.
    Observed,
    /// The protocol's handshake announced them, or the socket's own settings tell them.
    Declared,
    /// A stack's or a protocol's default stands in, as the note says.
    Assumed,
}

impl Ground {
    /// Its word in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Ground::Observed => "observed",
            Ground::Declared => "declared",
            Ground::Assumed => "assumed",
        }
    }
}

/// If this side died silently now, would the other know, and when?
#[derive(Clone, Debug, PartialEq)]
pub struct Exposure {
    /// By what.
    pub noticed_by: NoticedBy,
    /// After how long at worst, seconds.
    pub worst_case_s: Option<f64>,
    /// Where the figures come from.
    pub basis: Ground,
    /// The reason in a sentence; borrowed where it holds no figures, for a capture may hold a million idle flows.
    pub note: Cow<'static, str>,
}

impl Default for Exposure {
    /// Nothing would notice, as long as nothing is known.
    fn default() -> Self {
        Exposure { noticed_by: NoticedBy::None, worst_case_s: None, basis: Ground::Observed, note: Cow::Borrowed("") }
    }
}

/// What keeping the connection watched costs one side, as sent on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Packets an hour.
    pub packets_per_hour: f64,
    /// Bytes an hour, link-layer header included.
    pub bytes_per_hour: f64,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth changing.
    Warning,
    /// Broken now.
    Error,
}

/// What a person should know or change.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// One of the contract's codes.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// A sentence with the figures and what to change; borrowed where it has no figures.
    pub message: Cow<'static, str>,
}

/// Everything the report tells of one flow.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowSummary {
    /// From 1 in order of first packet.
    pub id: u64,
    /// The two ends.
    pub ends: Both<Endpoint>,
    /// How much of the handshake was seen.
    pub handshake: Handshake,
    /// First and last packet.
    pub first: Time,
    /// See `first`.
    pub last: Time,
    /// How it ended.
    pub end: End,
    /// Sent by each side.
    pub traffic: Both<Traffic>,
    /// Round-trip time as measured, seconds.
    pub rtt_s: Option<f64>,
    /// Longest time without any packet from either side; up to the end of the capture while the flow is open.
    pub longest_silence: Nanos,
    /// Longest time without payload from either side.
    pub longest_payload_silence: Nanos,
    /// Probes sent by each side.
    pub keepalive: Both<Option<KeepaliveSummary>>,
    /// Zero-window probes sent by each side.
    pub zero_window_probes: Both<u64>,
    /// Application heartbeats, by first beat.
    pub heartbeats: Vec<HeartbeatSummary>,
    /// Deaths, in order of detection.
    pub deaths: Vec<Death>,
    /// Each side's socket, as this host's kernel told of it; of other hosts nothing is known.
    pub sockets: Both<Option<Box<Socket>>>,
    /// What if the client, or the server, died now.
    pub exposure: Both<Exposure>,
    /// What the watching costs; `None` where nothing watches.
    pub cost: Option<Both<Cost>>,
    /// What to change.
    pub findings: Vec<Finding>,
}
