//! The state of a flow in a word or two.

use std::fmt;

use crate::liveness::findings;
use crate::summary::{Basis, End, FlowSummary, Mechanism, Severity, Side};

/// What a stretch of text says to the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Broken now.
    Bad,
    /// Worth a look.
    Doubtful,
    /// Nothing to do.
    Good,
}

/// The state of a flow, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Each side took the other for dead.
    BothGaveUp,
    /// This side was taken for dead.
    Dead(Side),
    /// A side answered that it knows no such connection.
    Refused,
    /// This side is not heard, and nobody has come to a verdict yet.
    Silent(Side),
    /// Something else is broken now.
    Broken,
    /// Either side could die unnoticed.
    Unwatched,
    /// One side could die unnoticed.
    HalfWatched,
    /// Something else is worth changing.
    Check,
    /// Open, with nothing to tell.
    Ok,
    /// Ended by a reset.
    Reset,
    /// Closed in good order.
    Closed,
}

impl State {
    /// The state of a flow whose findings are known.
    #[must_use]
    pub fn of(flow: &FlowSummary) -> Self {
        let dead = |side: Side| flow.deaths.iter().any(|d| d.dead == side);
        let trying = flow.deaths.iter().all(|d| d.basis == Basis::CaptureEnded);
        let refused = flow.deaths.iter().all(|d| is_refusal(d.mechanism));
        let found = |severity: Severity| flow.findings.iter().any(|f| f.severity == severity);
        match (dead(Side::Client), dead(Side::Server)) {
            (true, true) => State::BothGaveUp,
            (client, server) if (client || server) && refused => State::Refused,
            (client, server) if client || server => {
                let who = if client { Side::Client } else { Side::Server };
                if trying { State::Silent(who) } else { State::Dead(who) }
            }
            _ if flow.findings.iter().any(|f| f.code == findings::NO_LIVENESS) => State::Unwatched,
            _ if findings::unprotected(flow) => State::HalfWatched,
            _ if found(Severity::Error) => State::Broken,
            _ if found(Severity::Warning) => State::Check,
            _ => match flow.end {
                End::Fin => State::Closed,
                End::Rst => State::Reset,
                End::Open | End::DeadPeer => State::Ok,
            },
        }
    }

    /// How good that is.
    #[must_use]
    pub fn tone(self) -> Tone {
        match self {
            State::BothGaveUp | State::Dead(_) | State::Refused | State::Silent(_) | State::Broken => Tone::Bad,
            State::Unwatched | State::HalfWatched | State::Check => Tone::Doubtful,
            State::Ok | State::Reset | State::Closed => Tone::Good,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::BothGaveUp => "BOTH GAVE UP",
            State::Dead(Side::Client) => "CLIENT DEAD",
            State::Dead(Side::Server) => "SERVER DEAD",
            State::Refused => "REFUSED",
            State::Silent(Side::Client) => "CLIENT SILENT",
            State::Silent(Side::Server) => "SERVER SILENT",
            State::Broken => "BROKEN",
            State::Unwatched => "UNWATCHED",
            State::HalfWatched => "HALF WATCHED",
            State::Check => "CHECK",
            State::Ok => "ok",
            State::Reset => "reset",
            State::Closed => "closed",
        })
    }
}

/// Whether somebody answered, and knew no such connection: the peer's host, started anew, or a box on the way that forgot it.
/// Nobody need be dead.
#[must_use]
pub fn is_refusal(mechanism: Mechanism) -> bool {
    matches!(mechanism, Mechanism::KeepaliveReset | Mechanism::ResetOnData)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_dead_come_before_what_may_die_unnoticed_and_the_healthy() {
        let dead = State::of(&sample::dead());
        assert_eq!((dead, dead.to_string().as_str()), (State::Dead(Side::Server), "SERVER DEAD"));
        let mut silent = sample::dead();
        silent.deaths[0].basis = Basis::CaptureEnded;
        let silent = State::of(&silent);
        assert_eq!(silent, State::Silent(Side::Server));
        let ok = State::of(&sample::quiet(1));
        assert_eq!(format!("{ok:>4}"), "  ok");
        assert!(dead < silent && silent < State::Unwatched && State::Unwatched < ok);
    }
}
