//! Counts over many flows.

use schemars::JsonSchema;
use serde::Serialize;

use crate::analysis::Analysis;
use crate::liveness::findings;
use crate::summary::{BeatKind, FlowSummary};

/// Counts over all flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    /// TCP connections.
    pub flows: u64,
    /// Those on which a side sent a kernel keepalive probe.
    pub with_keepalive: u64,
    /// Those that carry an application heartbeat (polling not counted).
    pub with_heartbeat: u64,
    /// Those still open and idle long enough to matter in which a side's silent death would never be noticed: the flows
    /// with a finding `no_liveness` or `one_sided_liveness`.
    pub unprotected: u64,
    /// Those in which a side was taken for dead or went dead unnoticed, or is being tried for.
    pub dead_peers: u64,
    /// Kernel keepalive probes.
    pub keepalive_probes: u64,
    /// Those that were answered.
    pub keepalive_acks: u64,
    /// Probes of a closed window.
    pub zero_window_probes: u64,
    /// Application heartbeats (polling not counted); a request and its reply are one.
    pub heartbeats: u64,
}

impl Summary {
    /// Counts the flows of an analysis, those let go included.
    #[must_use]
    pub fn new(analysis: &Analysis) -> Self {
        let mut sum = analysis.let_go.totals;
        let parts = analysis.flows.count(Summary::default, |part, _, flow| part.add(flow));
        parts.iter().for_each(|part| sum.include(part));
        sum
    }

    /// Counts one more flow.
    pub fn add(&mut self, flow: &FlowSummary) {
        self.flows += 1;
        self.with_keepalive += u64::from(flow.keepalive.0.iter().any(Option::is_some));
        self.unprotected += u64::from(findings::unprotected(flow));
        self.dead_peers += u64::from(!flow.deaths.is_empty());
        for keepalive in flow.keepalive.0.iter().flatten() {
            self.keepalive_probes += keepalive.probes;
            self.keepalive_acks += keepalive.answered;
        }
        self.zero_window_probes += flow.zero_window_probes.0.iter().sum::<u64>();
        let beats = || flow.heartbeats.iter().filter(|h| h.kind == BeatKind::Heartbeat);
        self.with_heartbeat += u64::from(beats().next().is_some());
        self.heartbeats += beats().map(|h| h.count).sum::<u64>();
    }

    /// Counts the flows of another sum too.
    pub fn include(&mut self, other: &Summary) {
        // Taken apart, so that none is forgotten.
        let Summary {
            flows,
            with_keepalive,
            with_heartbeat,
            unprotected,
            dead_peers,
            keepalive_probes,
            keepalive_acks,
            zero_window_probes,
            heartbeats,
        } = *other;
        self.flows += flows;
        self.with_keepalive += with_keepalive;
        self.with_heartbeat += with_heartbeat;
        self.unprotected += unprotected;
        self.dead_peers += dead_peers;
        self.keepalive_probes += keepalive_probes;
        self.keepalive_acks += keepalive_acks;
        self.zero_window_probes += zero_window_probes;
        self.heartbeats += heartbeats;
    }
}
