//! What the analysis hands to the screen: a picture of one moment, small however many flows there are.

use super::query::{Group, Query};
use crate::liveness::clocks::{TCP_RETRIES2, resend_limit};
use crate::packet::{Time, nanos};
use crate::report::state::State;
use crate::summary::{Basis, Both, FlowSummary, Mechanism, NoticedBy, Side};
use crate::timeline::Timeline;

/// One flow on the screen.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the report would say of it now.
    pub flow: FlowSummary,
    /// Its state.
    pub state: State,
    /// When each side last heard the other.
    pub heard: Both<Option<Time>>,
    /// What happened on it.
    pub timeline: Timeline,
}

/// When a silence would be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// At the latest.
    pub at: Time,
    /// By whom.
    pub by: Side,
}

impl Row {
    /// A flow, when each side last heard the other, and what happened on it, where that is known.
    #[must_use]
    pub fn new(flow: FlowSummary, heard: Option<Both<Option<Time>>>, timeline: Option<&Timeline>) -> Self {
        let state = State::of(&flow);
        Row { flow, state, heard: heard.unwrap_or_default(), timeline: timeline.cloned().unwrap_or_default() }
    }

    /// Whether `side` would notice the other's death.
    #[must_use]
    pub fn watches(&self, side: Side) -> bool {
        self.flow.exposure[side.peer()].noticed_by != NoticedBy::None
    }

    /// When a side that is watched was last heard by the other, the one that has been silent longer if both are. A flow that
    /// is over, or that nobody watches, was last heard with its last packet.
    #[must_use]
    pub fn heard(&self) -> Time {
        let death = self.flow.deaths.iter().filter_map(|d| d.last_heard).min();
        let quieter = match self.state {
            State::Closed | State::Reset => None,
            _ => Side::BOTH.into_iter().filter(|by| self.watches(*by)).filter_map(|by| self.heard[by]).min(),
        };
        death.or(quieter).unwrap_or(self.flow.last)
    }

    /// When the death of a side would be noticed if nothing more came from it: for a silent side when its silence will be,
    /// else the sooner one. `None` where nobody would notice, or all is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        match self.state {
            State::BothGaveUp | State::Dead(_) | State::Refused | State::Closed | State::Reset => None,
            State::Silent(dead) => self.deadline_by(dead.peer()),
            _ => Side::BOTH.into_iter().filter_map(|by| self.deadline_by(by)).min_by_key(|d| d.at),
        }
    }

    /// When `by` would notice that it hears nothing more.
    fn deadline_by(&self, by: Side) -> Option<Deadline> {
        use Mechanism::{IcmpUnreachable, RetransmissionTimeout, ZeroWindowTimeout};
        let tries = |d: &&crate::summary::Death| d.basis == Basis::CaptureEnded && d.detected_by == Some(by);
        let trying = self.flow.deaths.iter().find(tries);
        let resends =
            trying.filter(|d| matches!(d.mechanism, RetransmissionTimeout | ZeroWindowTimeout | IcmpUnreachable));
        let (since, span) = match resends {
            // While a kernel resends, no probe and no further beat comes to its aid.
            Some(death) => (death.last_heard?, resend_limit(TCP_RETRIES2)),
            None => (self.heard[by]?, self.flow.exposure[by.peer()].worst_case_s?),
        };
        Some(Deadline { at: since.plus(nanos(span)), by })
    }
}

/// How many flows there are of each group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub [u64; Group::ALL.len()]);

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, state: State) {
        self.0[Group::All as usize] += 1;
        self.0[Group::of(state) as usize] += 1;
    }
}

/// What the capture is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Packets come from an interface or a pipe.
    Live,
    /// A file is being read: so many percent of it, where its size is known.
    Reading(Option<u8>),
    /// The input has ended.
    Ended,
}

/// A picture of one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// The moment, by the capture's clock.
    pub now: Time,
    /// The capture's first packet.
    pub first: Option<Time>,
    /// What it answers.
    pub query: Query,
    /// The first flows in the order asked for.
    pub rows: Vec<Row>,
    /// The flow asked for by its id, if it is there.
    pub pinned: Option<Row>,
    /// Flows that match, as far as they have been looked at.
    pub matching: u64,
    /// Flows of each group, likewise.
    pub counts: Counts,
    /// Flows in all.
    pub flows: u64,
    /// How many of them were looked at since the query changed.
    pub looked_at: u64,
    /// Packets so far.
    pub packets: u64,
    /// Those that the kernel dropped.
    pub dropped: Option<u64>,
    /// Flows let go for want of memory.
    pub let_go: u64,
    /// What made the capture hard to judge.
    pub warnings: Vec<String>,
    /// What the capture is doing.
    pub phase: Phase,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::SECOND;
    use crate::sample::{self, START};
    use crate::summary::{Exposure, KeepaliveSummary};

    fn watched() -> FlowSummary {
        let mut flow = sample::quiet(1);
        flow.keepalive[Side::Client] = Some(KeepaliveSummary { ..sample::probes() });
        let noticed = |s| Exposure { noticed_by: NoticedBy::Keepalive, worst_case_s: Some(s), ..Exposure::default() };
        flow.exposure = Both([Exposure::default(), noticed(5.0)]);
        flow
    }

    #[test]
    fn the_clock_runs_from_the_last_time_the_watcher_heard_its_peer() {
        let heard = Both([Some(START.plus(7 * SECOND)), Some(START.plus(9 * SECOND))]);
        let row = Row::new(watched(), Some(heard), None);
        assert!(row.watches(Side::Client) && !row.watches(Side::Server));
        assert_eq!(row.deadline(), Some(Deadline { at: START.plus(12 * SECOND), by: Side::Client }));
        assert_eq!(row.heard(), START.plus(7 * SECOND));
    }

    #[test]
    fn data_in_flight_runs_by_the_retransmission_limit() {
        let mut flow = watched();
        flow.deaths = sample::dead().deaths;
        flow.deaths[0].basis = Basis::CaptureEnded;
        flow.deaths[0].mechanism = Mechanism::RetransmissionTimeout;
        flow.deaths[0].last_heard = Some(START);
        let row = Row::new(flow, Some(Both([Some(START), None])), None);
        assert_eq!(row.state, State::Silent(Side::Server));
        // Linux' default tcp_retries2 = 15: 924.6 s.
        assert_eq!(row.deadline().map(|d| d.at), Some(START.plus(nanos(924.6))));
    }

    #[test]
    fn what_is_over_has_no_clock() {
        assert_eq!(Row::new(sample::dead(), None, None).deadline(), None);
        assert_eq!(Row::new(sample::quiet(1), None, None).deadline(), None, "nobody watches");
    }
}
