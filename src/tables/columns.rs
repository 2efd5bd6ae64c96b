//! The columns of the tables: what they are called and what stands in them. Names and words are those of `--json`, with
//! sides in front; an unknown is null. Columns may be added, none is renamed.

use std::borrow::Cow;

use super::table::Cell::{Count, Counts, Flag, Moment, Number, Text, Words};
use super::table::Column;
use crate::event::{Event, EventKind};
use crate::liveness::findings;
use crate::packet::{Endpoint, Time, seconds};
use crate::summary::Side::{Client, Server};
use crate::summary::{BeatKind, Both, Death, FlowSummary, HeartbeatSummary, KeepaliveSummary, Side};

/// A death and whose it is.
pub(super) struct DeathRow {
    pub(super) flow: u64,
    pub(super) first: Time,
    pub(super) ends: Both<Endpoint>,
    pub(super) death: Death,
}

type Name = Option<Cow<'static, str>>;

fn word(word: &'static str) -> Name {
    Some(word.into())
}

fn address(ends: &Both<Endpoint>, side: Side) -> Name {
    Some(ends[side].address.ip().to_string().into())
}

fn port(ends: &Both<Endpoint>, side: Side) -> Option<u64> {
    Some(ends[side].port.into())
}

fn keepalive<T>(flow: &FlowSummary, side: Side, of: impl Fn(&KeepaliveSummary) -> Option<T>) -> Option<T> {
    flow.keepalive[side].as_ref().and_then(of)
}

fn beats(flow: &FlowSummary) -> impl Iterator<Item = &HeartbeatSummary> {
    flow.heartbeats.iter().filter(|h| h.kind == BeatKind::Heartbeat)
}

/// One row a TCP connection.
pub(super) const FLOWS: &[Column<FlowSummary>] = &[
    Column("flow", Count(|f| Some(f.id))),
    Column("client_address", Text(|f| address(&f.ends, Client))),
    Column("client_port", Count(|f| port(&f.ends, Client))),
    Column("server_address", Text(|f| address(&f.ends, Server))),
    Column("server_port", Count(|f| port(&f.ends, Server))),
    Column("handshake", Text(|f| word(f.handshake.name()))),
    Column("first_packet", Moment(|f| Some(f.first))),
    Column("last_packet", Moment(|f| Some(f.last))),
    Column("duration_s", Number(|f| Some(seconds(f.last.since(f.first))))),
    Column("ended", Text(|f| word(f.end.name()))),
    Column("client_packets", Count(|f| Some(f.traffic[Client].packets))),
    Column("client_payload_bytes", Count(|f| Some(f.traffic[Client].payload_bytes))),
    Column("client_retransmissions", Count(|f| Some(f.traffic[Client].retransmissions))),
    Column("server_packets", Count(|f| Some(f.traffic[Server].packets))),
    Column("server_payload_bytes", Count(|f| Some(f.traffic[Server].payload_bytes))),
    Column("server_retransmissions", Count(|f| Some(f.traffic[Server].retransmissions))),
    Column("rtt_s", Number(|f| f.rtt_s)),
    Column("longest_silence_s", Number(|f| Some(seconds(f.longest_silence)))),
    Column("longest_payload_silence_s", Number(|f| Some(seconds(f.longest_payload_silence)))),
    Column("client_keepalive_probes", Count(|f| keepalive(f, Client, |k| Some(k.probes)))),
    Column("client_keepalive_answered", Count(|f| keepalive(f, Client, |k| Some(k.answered)))),
    Column("client_keepalive_idle_s", Number(|f| keepalive(f, Client, |k| k.idle_s))),
    Column("client_keepalive_interval_s", Number(|f| keepalive(f, Client, |k| k.interval_s))),
    Column("client_keepalive_count", Count(|f| keepalive(f, Client, |k| k.count.map(u64::from)))),
    Column("server_keepalive_probes", Count(|f| keepalive(f, Server, |k| Some(k.probes)))),
    Column("server_keepalive_answered", Count(|f| keepalive(f, Server, |k| Some(k.answered)))),
    Column("server_keepalive_idle_s", Number(|f| keepalive(f, Server, |k| k.idle_s))),
    Column("server_keepalive_interval_s", Number(|f| keepalive(f, Server, |k| k.interval_s))),
    Column("server_keepalive_count", Count(|f| keepalive(f, Server, |k| k.count.map(u64::from)))),
    Column("client_zero_window_probes", Count(|f| Some(f.zero_window_probes[Client]))),
    Column("server_zero_window_probes", Count(|f| Some(f.zero_window_probes[Server]))),
    // Of the protocols that the rhythm alone tells of, "unknown".
    Column("heartbeat_protocols", Words(|f| beats(f).map(|h| h.protocol.unwrap_or("unknown")).collect())),
    Column("heartbeats", Count(|f| Some(beats(f).map(|h| h.count).sum()))),
    Column("heartbeats_missed", Count(|f| Some(beats(f).map(|h| h.missed).sum()))),
    Column("deaths", Count(|f| Some(f.deaths.len() as u64))),
    Column("client_dies_noticed_by", Text(|f| word(f.exposure[Client].noticed_by.name()))),
    Column("client_dies_worst_case_s", Number(|f| f.exposure[Client].worst_case_s)),
    Column("client_dies_basis", Text(|f| word(f.exposure[Client].basis.name()))),
    Column("server_dies_noticed_by", Text(|f| word(f.exposure[Server].noticed_by.name()))),
    Column("server_dies_worst_case_s", Number(|f| f.exposure[Server].worst_case_s)),
    Column("server_dies_basis", Text(|f| word(f.exposure[Server].basis.name()))),
    Column("unprotected", Flag(|f| Some(findings::unprotected(f)))),
    Column("findings", Words(|f| f.findings.iter().map(|finding| finding.code).collect())),
];

/// One row a death: who took whom for dead, or should have and did not.
pub(super) const DEATHS: &[Column<DeathRow>] = &[
    Column("flow", Count(|d| Some(d.flow))),
    Column("client_address", Text(|d| address(&d.ends, Client))),
    Column("client_port", Count(|d| port(&d.ends, Client))),
    Column("server_address", Text(|d| address(&d.ends, Server))),
    Column("server_port", Count(|d| port(&d.ends, Server))),
    Column("first_packet", Moment(|d| Some(d.first))),
    Column("dead", Text(|d| word(d.death.dead.name()))),
    Column("detected_by", Text(|d| d.death.detected_by.map(|side| side.name().into()))),
    Column("mechanism", Text(|d| word(d.death.mechanism.name()))),
    Column("last_heard", Moment(|d| d.death.last_heard)),
    Column("detected_at", Moment(|d| d.death.detected_at)),
    Column("detection_s", Number(|d| d.death.detection().map(seconds))),
    Column("basis", Text(|d| word(d.death.basis.name()))),
    Column("uncertainty_s", Number(|d| Some(seconds(d.death.uncertainty)))),
    Column("clock", Text(|d| d.death.clock.as_deref().map(Cow::from))),
    Column("recovered_as", Count(|d| d.death.recovered_as)),
    Column("outage_s", Number(|d| d.death.outage.map(seconds))),
    Column("evidence", Counts(|d| d.death.evidence.clone())),
];

/// One row an event, as `--events` tells it; what was learned of a death only later is in its own table.
pub(super) const EVENTS: &[Column<Event>] = &[
    Column("flow", Count(|e| Some(e.flow))),
    Column("time", Moment(|e| Some(e.time))),
    Column("frame", Count(|e| e.frame)),
    Column("side", Text(|e| e.from.map(|side| side.name().into()))),
    Column("event", Text(|e| word(e.kind.name()))),
    Column("protocol", Text(|e| protocol(&e.kind).map(Cow::from))),
    Column("interval_s", Number(|e| interval(&e.kind))),
    Column("rtt_s", Number(|e| rtt(&e.kind))),
    Column("ended", Text(|e| ended(&e.kind).map(Cow::from))),
    Column("mechanism", Text(|e| mechanism(&e.kind).map(Cow::from))),
    Column("dead", Text(|e| dead(&e.kind).map(Cow::from))),
];

fn protocol(kind: &EventKind) -> Option<&'static str> {
    match kind {
        EventKind::Heartbeat { protocol, .. }
        | EventKind::HeartbeatReply { protocol }
        | EventKind::HeartbeatMissed { protocol } => *protocol,
        _ => None,
    }
}

fn interval(kind: &EventKind) -> Option<f64> {
    match kind {
        EventKind::Heartbeat { interval, .. } => interval.map(seconds),
        _ => None,
    }
}

fn rtt(kind: &EventKind) -> Option<f64> {
    match kind {
        EventKind::KeepaliveAck { rtt } => Some(seconds(*rtt)),
        _ => None,
    }
}

fn ended(kind: &EventKind) -> Option<&'static str> {
    match kind {
        EventKind::FlowEnd(end) => Some(end.name()),
        _ => None,
    }
}

fn mechanism(kind: &EventKind) -> Option<&'static str> {
    match kind {
        EventKind::PeerDead { death, .. } => Some(death.mechanism.name()),
        _ => None,
    }
}

fn dead(kind: &EventKind) -> Option<&'static str> {
    match kind {
        EventKind::PeerDead { death, .. } => Some(death.dead.name()),
        _ => None,
    }
}
