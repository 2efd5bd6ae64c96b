//! What happens on a flow, as it becomes sure: the one stream from which reports, `--events` and live views are made.

use crate::packet::{Endpoint, Nanos, Time};
use crate::summary::{Both, Death, End, Side};

/// Receives the events of all flows as they become sure; `None` where nobody asks for them, which spares their making.
pub type Sink<'a> = Option<&'a mut (dyn FnMut(&Event) + 'a)>;

/// One thing that happened on one flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The time of the packet it speaks of.
    pub time: Time,
    /// That packet's frame; `None` where no packet marks it.
    pub frame: Option<u64>,
    /// The flow's id.
    pub flow: u64,
    /// The side that acted.
    pub from: Option<Side>,
    /// What it did.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// The flow's first packet.
    FlowStart {
        /// Its two ends, so that a reader of events alone knows whom the others speak of.
        ends: Both<Endpoint>,
    },
    /// The flow ended, or the capture did.
    FlowEnd(End),
    /// Payload that was not sent before; told only where it is asked for, and never in `--events`.
    Data {
        /// How much of it.
        bytes: u64,
    },
    /// A kernel keepalive probe.
    KeepaliveProbe {
        /// 0 or 1 byte of garbage.
        probe_len: u8,
    },
    /// The answer to one.
    KeepaliveAck {
        /// From probe to answer.
        rtt: Nanos,
    },
    /// A probe of a closed window.
    ZeroWindowProbe,
    /// The answer to one.
    ZeroWindowAck,
    /// A segment with bytes sent before.
    Retransmission,
    /// An application heartbeat.
    Heartbeat {
        /// The protocol, where known.
        protocol: Option<&'static str>,
        /// Since the last one.
        interval: Option<Nanos>,
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
        /// The flow's two ends, so that the line alone says who is meant.
        ends: Both<Endpoint>,
        /// Who, by what, and when.
        death: Box<Death>,
    },
}

impl EventKind {
    /// Its word in `--events`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            EventKind::FlowStart { .. } => "flow_start",
            EventKind::FlowEnd(_) => "flow_end",
            EventKind::Data { .. } => "data",
            EventKind::KeepaliveProbe { .. } => "keepalive_probe",
            EventKind::KeepaliveAck { .. } => "keepalive_ack",
            EventKind::ZeroWindowProbe => "zero_window_probe",
            EventKind::ZeroWindowAck => "zero_window_ack",
            EventKind::Retransmission => "retransmission",
            EventKind::Heartbeat { .. } => "heartbeat",
            EventKind::HeartbeatReply { .. } => "heartbeat_reply",
            EventKind::HeartbeatMissed { .. } => "heartbeat_missed",
            EventKind::PeerDead { .. } => "peer_dead",
        }
    }
}
