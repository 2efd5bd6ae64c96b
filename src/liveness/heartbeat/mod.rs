//! Application heartbeats of one flow: by name where the protocol is known, by rhythm where it is not.

pub mod protocols;

use crate::event::EventKind;
use crate::packet::Time;
use crate::summary::{Both, HeartbeatSummary, Side};

/// The next new payload bytes of one side, in stream order.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// When the segment that completed them was captured.
    pub time: Time,
    /// Its frame.
    pub frame: u64,
    /// Whose stream.
    pub from: Side,
    /// The bytes captured.
    pub bytes: &'a [u8],
    /// How many there are on the wire: more than `bytes` where the snaplen cut them.
    pub len: u32,
}

/// Something heard of a heartbeat, to become an event of the flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// The time of the packet it speaks of.
    pub time: Time,
    /// That packet's frame.
    pub frame: Option<u64>,
    /// Who sent the beat or the reply, or should have.
    pub from: Side,
    /// `Heartbeat`, `HeartbeatReply` or `HeartbeatMissed`.
    pub kind: EventKind,
}

/// Everything known of one flow's heartbeats; bounded memory whatever the flow carries.
#[derive(Default)]
pub struct Heartbeats {}

impl Heartbeats {
    /// For a flow between these ports; `from_start` when its SYN was captured.
    #[must_use]
    pub fn new(_ports: Both<u16>, _from_start: bool) -> Self {
        Heartbeats {}
    }

    /// Takes the next bytes of a stream.
    pub fn data(&mut self, _chunk: Chunk<'_>, _heard: &mut Vec<Heard>) {}

    /// `len` bytes of `from`'s stream were not captured.
    pub fn gap(&mut self, _from: Side, _len: u64) {}

    /// What is known at time `now`, by first beat.
    #[must_use]
    pub fn summaries(&self, _now: Time) -> Vec<HeartbeatSummary> {
        Vec::new()
    }
}
