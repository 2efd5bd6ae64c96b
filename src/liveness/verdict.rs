//! From what was seen on a flow to what it means: the last step of the analysis, pure functions of the summary.

use std::borrow::Cow;

use super::{clocks, cost, exposure, findings};
use crate::packet::{Nanos, Time};
use crate::summary::{Both, FlowSummary, Side};

/// What the verdicts need to know of a flow beyond what the report tells of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Context {
    /// When the capture ended.
    pub capture_end: Time,
    /// Each side's last segment.
    pub last_sent: Both<Option<Time>>,
    /// Whether each side had sent data or a FIN that the other had not acknowledged when the flow or the capture ended.
    pub unacknowledged: Both<bool>,
    /// The longest time between two segments of new payload from one side, beats included, and from its last one to the
    /// flow's end or the capture's; `None` where it sent none.
    pub longest_payload_gap: Both<Option<Nanos>>,
    /// How the flow broke; `None` while it had not.
    pub broke: Option<Break>,
    /// Length on the wire of a segment without payload, bytes, as seen on this flow.
    pub bare_segment: Option<u32>,
    /// Copies of segments of this flow that the capture holds.
    pub duplicates: u64,
    /// Bytes that one side acknowledged and the capture never showed.
    pub missing_bytes: u64,
    /// Whether a death could not be told because the capture lost packets.
    pub doubtful: bool,
}

/// The end of a flow seen from the silence before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Break {
    /// From the last packet that proves the flow whole to the first that shows it broken: a FIN, an RST, or a segment that
    /// drew an RST or no answer ever again.
    pub silence: Nanos,
    /// The same, from the last new payload of either side.
    pub payload_silence: Nanos,
    /// The longest silence that the flow is known to have survived.
    pub survived: Nanos,
    /// The same of the time without new payload; see [`Break::survived`].
    pub payload_survived: Nanos,
    /// What showed it.
    pub sign: Sign,
    /// Who sent the FIN or RST, by its addresses; with [`Sign::Silence`] who got no answer.
    pub by: Side,
}

impl Break {
    /// What is known to have been survived, from a flow's longest time without payload and the one in which it broke. The
    /// longest may be that very one, and then nothing is known.
    #[must_use]
    pub fn survived(longest: Nanos, broken: Nanos) -> Nanos {
        if longest == broken { 0 } else { longest }
    }
}

/// What showed that a flow was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sign {
    /// A FIN that nothing on the wire provoked.
    Fin,
    /// An RST that nothing on the wire provoked.
    Reset,
    /// An RST in answer to a segment.
    ResetOnSegment,
    /// A segment that was never answered.
    Silence,
}

/// Whether verdicts are put into words. A report counts a million flows by codes and figures, and shows a few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// They are.
    Said,
    /// Notes and messages stay empty.
    Unsaid,
}

impl Words {
    /// A sentence, made only where it is wanted.
    pub fn say<S: Into<Cow<'static, str>>>(self, sentence: impl FnOnce() -> S) -> Cow<'static, str> {
        match self {
            Words::Said => sentence().into(),
            Words::Unsaid => Cow::Borrowed(""),
        }
    }
}

/// Fills in what follows from the rest of the summary: the stacks, the clocks of the deaths, exposure, cost and findings.
pub fn conclude(flow: &mut FlowSummary, context: &Context) {
    for keepalive in flow.keepalive.0.iter_mut().flatten() {
        keepalive.stack = clocks::stack(keepalive);
    }
    let clocks: Vec<_> = flow.deaths.iter().map(|d| clocks::of_death(flow, d, context)).collect();
    for (death, clock) in flow.deaths.iter_mut().zip(clocks) {
        death.clock = clock;
    }
    flow.exposure = exposure::of(flow, context, Words::Said);
    flow.cost = cost::of(flow, context);
    flow.findings = findings::of(flow, context, Words::Said);
}

/// Fills in what flows are counted by: how each side's death would be noticed, and the codes of the findings.
pub fn outline(flow: &mut FlowSummary, context: &Context) {
    flow.exposure = exposure::of(flow, context, Words::Unsaid);
    flow.findings = findings::of(flow, context, Words::Unsaid);
}
