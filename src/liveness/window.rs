//! Probes of a closed window (RFC 9293 §3.8.6.1): the peer is alive but does not read.
//!
//! Linux sends them in the very shape of a keepalive probe. What differs is the pace: they start one retransmission
//! timeout after the window closed and double, while keepalive waits at least a second and keeps an even pace.

use super::keepalive::Candidate;
use crate::packet::{Nanos, SECOND, Time};

/// Linux takes TCP_KEEPIDLE in whole seconds: what comes sooner after the last real segment is no keepalive probe.
const KEEPALIVE_AT_LEAST: Nanos = SECOND;
/// The retransmission timeout is never longer (Linux TCP_RTO_MAX, RFC 6298 §2.5 allows no less than 60 s).
const RTO_AT_MOST: Nanos = 120 * SECOND;

/// What a run of probes at a closed window turned out to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Run {
    /// Not sure yet.
    #[default]
    Undecided,
    /// Window probes.
    Window,
    /// Keepalive: nothing waits to be sent, the window just happens to be closed.
    Keepalive,
}

/// The probes that one side sent at its peer's closed window.
#[derive(Clone, Debug, Default)]
pub struct WindowProbes {
    /// Window probes in all.
    pub sent: u32,
    /// Of the current run: how many since the peer last answered.
    pub unanswered: u32,
    /// Whether the last one waits for its answer.
    pub outstanding: bool,
    /// The last.
    pub last: Time,
    /// Its frame.
    pub last_frame: u64,
    /// Frame of the first since the peer last answered.
    pub run_frame: u64,
    /// Gap before the last.
    pub gap: Nanos,
    /// What the current run is.
    run: Run,
    /// Probes of the current run that wait for that.
    pub waiting: Vec<Candidate>,
    in_run: bool,
}

impl WindowProbes {
    /// Takes a probe in keepalive's shape, or (`new_byte`) in the RFC's; `since` is the last real segment before the run,
    /// `idle` the prober's keepalive idle time where known. Gives what the run is now.
    pub fn probe(&mut self, p: Candidate, new_byte: bool, since: Time, idle: Option<Nanos>) -> Run {
        let gap = p.time.since(if self.in_run { self.last } else { since });
        if self.run == Run::Undecided || !self.in_run {
            let near = |a: Nanos, b: Nanos| (a - b).abs() <= b / 10;
            self.run = if new_byte || gap < KEEPALIVE_AT_LEAST {
                Run::Window
            } else if idle.is_some_and(|idle| near(gap, idle)) || gap > RTO_AT_MOST + RTO_AT_MOST / 8 {
                Run::Keepalive
            } else if !self.in_run {
                Run::Undecided
            } else if gap >= self.gap + self.gap / 2 {
                Run::Window
            } else {
                Run::Keepalive
            };
        }
        self.in_run = true;
        self.gap = gap;
        self.last = p.time;
        self.last_frame = p.frame;
        if self.unanswered == 0 {
            self.run_frame = p.frame;
        }
        self.unanswered += 1;
        self.outstanding = true;
        self.waiting.push(p);
        self.run.clone()
    }

    /// Whether there were none, and no run is under way.
    #[must_use]
    pub fn hold_nothing(&self) -> bool {
        self.sent == 0 && !self.in_run
    }

    /// When the last probe but one was sent, or what came before the first.
    #[must_use]
    pub fn before_last(&self) -> Time {
        self.last.plus(-self.gap)
    }

    /// The run is over: the window opened, data flowed, or the capture ended. What was undecided is taken for window
    /// probes, as a full buffer with more to send is far more common than one that is full to the byte.
    pub fn end_run(&mut self) -> Vec<Candidate> {
        self.in_run = false;
        self.run = Run::Undecided;
        self.unanswered = 0;
        self.outstanding = false;
        let waiting = std::mem::take(&mut self.waiting);
        self.sent += waiting.len() as u32;
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::nanos;

    fn runs(gaps: &[f64], idle: Option<f64>) -> Vec<Run> {
        let mut w = WindowProbes::default();
        let mut at = Time(0);
        gaps.iter()
            .map(|g| {
                at = at.plus(nanos(*g));
                let p = Candidate { time: at, frame: 1, len: 0, answer: None };
                w.probe(p, false, Time(0), idle.map(nanos))
            })
            .collect()
    }

    /// Gaps seen on Linux 6.18.
    #[test]
    fn early_and_doubling_is_the_window() {
        assert_eq!(runs(&[0.22, 0.43, 0.86, 1.02, 1.02], None), vec![Run::Window; 5]);
        assert_eq!(runs(&[3.4, 6.8], None), [Run::Undecided, Run::Window]);
    }

    #[test]
    fn late_and_even_is_keepalive() {
        assert_eq!(runs(&[2.03, 2.02, 2.02], None), [Run::Undecided, Run::Keepalive, Run::Keepalive]);
        assert_eq!(runs(&[60.1], Some(60.0)), [Run::Keepalive]);
        assert_eq!(runs(&[7200.0], None), [Run::Keepalive]);
    }
}
