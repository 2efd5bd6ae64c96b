//! Looks at all open flows, some at a time: what a million of them look like is known after many small looks, none of
//! which keeps packets waiting.

use std::time::{Duration, Instant};

use crate::analyzer::Analyzer;
use crate::liveness::findings::CODES;
use crate::packet::Time;
use crate::summary::{Both, FlowSummary, NoticedBy, Side};
use crate::totals::Summary;

/// How long one look takes: at ten looks a second, a fiftieth of the time.
const LOOK: Duration = Duration::from_millis(2);
/// Flows between two looks at the clock.
const PORTION: usize = 64;
/// How long what was found is good enough before all is looked at again.
const REST: Duration = Duration::from_secs(1);

/// What came of looking at all flows once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// Of the open flows.
    pub(super) totals: Summary,
    /// How many would notice that this side died, by what, in the order of [`NoticedBy::ALL`].
    pub(super) exposed: Both<[u64; NoticedBy::ALL.len()]>,
    /// How many have this finding, in the order of [`CODES`].
    pub(super) findings: [u64; CODES.len()],
}

impl Tally {
    pub(super) fn add(&mut self, flow: &FlowSummary) {
        self.totals.add(flow);
        for side in Side::BOTH {
            self.exposed[side][flow.exposure[side].noticed_by as usize] += 1;
        }
        for (code, count) in CODES.iter().zip(&mut self.findings) {
            *count += u64::from(flow.findings.iter().any(|finding| finding.code == *code));
        }
    }
}

/// Where it stands.
#[derive(Default)]
pub(super) struct Survey {
    place: usize,
    tally: Tally,
    rest_until: Option<Instant>,
}

impl Survey {
    /// Takes one more look at the flows of a run as they stand `now`; gives what came of it whenever all were looked at.
    pub(super) fn go_on(&mut self, analyzer: &Analyzer, now: Time) -> Option<Tally> {
        let clock = Instant::now();
        if self.rest_until.is_some_and(|until| clock < until) {
            return None;
        }
        loop {
            let next = analyzer.survey(self.place, PORTION, now, &mut |flow| self.tally.add(flow));
            self.place = next.unwrap_or(0);
            if next.is_none() {
                self.rest_until = Some(clock + REST);
                return Some(std::mem::take(&mut self.tally));
            }
            if clock.elapsed() >= LOOK {
                return None;
            }
        }
    }
}
