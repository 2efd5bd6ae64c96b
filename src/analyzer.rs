//! The core: packets in, events out. It reads no clock and does no I/O; time arrives with the packets, and
//! [`Analyzer::advance`] tells a quiet live capture that time has passed.

use crate::decode::Decoder;
use crate::event::Event;
use crate::packet::{Decoded, Endpoint, Frame, Skip, Time};
use crate::summary::FlowSummary;

/// Receives the events of all flows as they become sure.
pub type Sink<'a> = dyn FnMut(&Event) + 'a;

/// Whether the flow between these two ends is wanted.
pub type FlowFilter = Box<dyn Fn(&Endpoint, &Endpoint) -> bool + Send + Sync>;

/// What to analyse.
#[derive(Default)]
pub struct Options {
    /// Keeps only the flows between ends for which this holds; `None` keeps all.
    pub filter: Option<FlowFilter>,
}

/// Frames that gave no segment, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Not TCP.
    pub not_tcp: u64,
    /// Headers that contradict themselves.
    pub malformed: u64,
    /// Cut by the snaplen before the TCP header's end.
    pub truncated: u64,
    /// IP fragments that wait for others or never became whole.
    pub fragments: u64,
    /// Copies of a frame captured before.
    pub duplicates: u64,
}

/// What came of a capture.
#[derive(Debug, Default)]
pub struct Analysis {
    /// Frames read.
    pub packets: u64,
    /// Their lengths on the wire.
    pub bytes: u64,
    /// TCP segments among them, copies included.
    pub tcp_segments: u64,
    /// The others.
    pub skipped: Skipped,
    /// Time of the first frame, of any kind.
    pub first_packet: Option<Time>,
    /// Time of the last frame, of any kind.
    pub last_packet: Option<Time>,
    /// The flows in order of first packet.
    pub flows: Vec<FlowSummary>,
    /// What made parts of the capture hard to judge, in sentences.
    pub warnings: Vec<String>,
}

/// Analyses frames in capture order.
pub struct Analyzer {
    options: Options,
    decoder: Decoder,
    analysis: Analysis,
}

impl Analyzer {
    /// An analyzer that has seen nothing.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Analyzer { options, decoder: Decoder::default(), analysis: Analysis::default() }
    }

    /// Takes the next frame.
    pub fn frame(&mut self, frame: &Frame<'_>, _sink: &mut Sink<'_>) {
        let a = &mut self.analysis;
        a.packets += 1;
        a.bytes += u64::from(frame.wire_len);
        a.first_packet.get_or_insert(frame.time);
        a.last_packet = Some(frame.time);
        match self.decoder.decode(frame) {
            Decoded::Segment(segment) => {
                a.tcp_segments += 1;
                let _kept = self.options.filter.as_ref().is_none_or(|keep| keep(&segment.src, &segment.dst));
            }
            Decoded::Icmp(_) => a.skipped.not_tcp += 1,
            Decoded::Skipped(Skip::NotTcp) => a.skipped.not_tcp += 1,
            Decoded::Skipped(Skip::Malformed) => a.skipped.malformed += 1,
            Decoded::Skipped(Skip::Truncated) => a.skipped.truncated += 1,
            Decoded::Skipped(Skip::Fragment) => a.skipped.fragments += 1,
        }
    }

    /// Time has passed without a frame: verdicts that fall due by `now` are told.
    pub fn advance(&mut self, _now: Time, _sink: &mut Sink<'_>) {}

    /// The capture ended; `now` is its last moment where that is later than the last frame.
    pub fn finish(self, _now: Option<Time>, _sink: &mut Sink<'_>) -> Analysis {
        self.analysis
    }
}
