//! A flow's timeline as a row of cells, each of which shows the most telling thing that happened in its span of time.

use super::view::Row;
use crate::packet::{Nanos, Time};
use crate::report::state::State;
use crate::summary::{End, Side};
use crate::timeline::MarkKind;

/// What a cell shows, the most telling last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// The flow was not there, or nothing is known of it.
    Void,
    /// Nothing happened.
    Quiet,
    /// Nothing happened, and a side was not heard that was found, or is thought, to be dead.
    Unheard,
    /// New data.
    Data,
    /// The reply to a heartbeat, or the answer to a probe.
    Reply,
    /// A heartbeat.
    Beat,
    /// A keepalive probe that was answered.
    Probe,
    /// A probe of a closed window that was answered.
    WindowProbe,
    /// Bytes sent again.
    Resend,
    /// A probe of either kind that was not answered.
    Unanswered,
    /// A beat that was due and did not come.
    Missed,
    /// A FIN ended the flow.
    Fin,
    /// A reset ended the flow.
    Reset,
    /// A side took the other for dead.
    Dead,
}

impl Cell {
    /// The character for it; none of them is wider than one column.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Cell::Void => " ",
            Cell::Quiet => "─",
            Cell::Unheard => "·",
            Cell::Data => "━",
            Cell::Reply => "◇",
            Cell::Beat => "◆",
            Cell::Probe => "●",
            Cell::WindowProbe => "▪",
            Cell::Resend => "»",
            Cell::Unanswered => "○",
            Cell::Missed => "!",
            Cell::Fin => "┤",
            Cell::Reset => "×",
            Cell::Dead => "†",
        }
    }
}

/// A stretch of time to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first moment.
    pub from: Time,
    /// The last moment.
    pub to: Time,
}

impl Window {
    /// The cell, of so many, in which a moment lies.
    #[must_use]
    pub fn cell(self, at: Time, cells: usize) -> Option<usize> {
        if at < self.from || at > self.to || cells == 0 {
            return None;
        }
        let (into, span) = (i128::from(at.since(self.from)), i128::from(self.span()));
        usize::try_from(into * cells as i128 / span).ok().map(|cell| cell.min(cells - 1))
    }

    /// How long it is; never 0.
    #[must_use]
    pub fn span(self) -> Nanos {
        self.to.since(self.from).max(1)
    }
}

/// The cells of a flow in a window of which `now` is the present; of what one side did, or of both together.
#[must_use]
pub fn cells(row: &Row, side: Option<Side>, window: Window, now: Time, cells: usize) -> Vec<Cell> {
    let mut strip = vec![Cell::Void; cells];
    let (flow, over) = (
        &row.flow,
        matches!(row.state, State::Closed | State::Reset | State::Dead(_) | State::Refused | State::BothGaveUp),
    );
    let noticed = flow.deaths.iter().filter_map(|d| d.detected_at).max();
    let until = if over { noticed.unwrap_or(flow.last).max(flow.last) } else { now };
    let mut fill = |from: Time, to: Time, what: Cell| {
        let (from, to) = (from.max(window.from), to.min(window.to));
        if let (Some(from), Some(to)) = (window.cell(from, cells), window.cell(to, cells)) {
            for cell in strip.get_mut(from..=to).unwrap_or_default() {
                *cell = what.max(*cell);
            }
        }
    };
    fill(flow.first, until, Cell::Quiet);
    for death in flow.deaths.iter().filter(|d| side.is_none_or(|side| side == d.dead)) {
        fill(death.last_heard.unwrap_or(flow.first), death.detected_at.unwrap_or(until), Cell::Unheard);
    }
    let wanted = |from: Side| side.is_none_or(|side| side == from);
    for from in Side::BOTH.into_iter().filter(|from| wanted(*from)) {
        for (start, end) in row.timeline.data(from) {
            fill(*start, *end, Cell::Data);
        }
    }
    for mark in row.timeline.marks().iter().filter(|m| wanted(m.from)) {
        let what = match mark.kind {
            // In one row for both sides, the probe itself shows whether it was answered.
            MarkKind::ProbeAnswer | MarkKind::WindowAnswer if side.is_none() => continue,
            MarkKind::ProbeAnswer | MarkKind::WindowAnswer | MarkKind::Reply => Cell::Reply,
            MarkKind::Probe { answered: true } => Cell::Probe,
            MarkKind::WindowProbe { answered: true } => Cell::WindowProbe,
            MarkKind::Probe { .. } | MarkKind::WindowProbe { .. } => Cell::Unanswered,
            MarkKind::Retransmission => Cell::Resend,
            MarkKind::Beat => Cell::Beat,
            MarkKind::Missed => Cell::Missed,
            MarkKind::End(End::Rst) => Cell::Reset,
            MarkKind::End(_) => Cell::Fin,
        };
        fill(mark.time, mark.time, what);
    }
    for death in flow.deaths.iter().filter(|d| d.detected_by.is_none_or(wanted)) {
        if let Some(at) = death.detected_at {
            fill(at, at, Cell::Dead);
        }
    }
    strip
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, EventKind};
    use crate::packet::SECOND;
    use crate::sample::{self, START};
    use crate::timeline::Timelines;

    fn at(s: i64) -> Time {
        START.plus(s * SECOND)
    }

    fn drawn(row: &Row, side: Option<Side>, from: i64, to: i64, now: i64) -> String {
        let window = Window { from: at(from), to: at(to) };
        cells(row, side, window, at(now), 20).into_iter().map(Cell::symbol).collect()
    }

    /// Data at 0 s, probes at 4 s (answered), 12 s and 14 s; dead at 16 s, last heard at 4 s.
    fn row() -> Row {
        let mut timelines = Timelines::default();
        for (s, from, kind) in [
            (0, Side::Client, EventKind::Data { bytes: 3 }),
            (4, Side::Client, EventKind::KeepaliveProbe { probe_len: 0 }),
            (4, Side::Server, EventKind::KeepaliveAck { rtt: 0 }),
            (12, Side::Client, EventKind::KeepaliveProbe { probe_len: 0 }),
            (14, Side::Client, EventKind::KeepaliveProbe { probe_len: 0 }),
        ] {
            timelines.event(&Event { time: at(s), frame: None, flow: 1, from: Some(from), kind });
        }
        let mut flow = sample::dead();
        flow.last = at(16);
        flow.deaths[0].last_heard = Some(at(4));
        flow.deaths[0].detected_at = Some(at(16));
        Row::new(flow, None, timelines.of(1))
    }

    #[test]
    fn what_happened_stands_at_its_moment() {
        // Twenty cells of a second each.
        assert_eq!(drawn(&row(), None, 0, 20, 60), "━───●·······○·○·†   ");
        assert_eq!(drawn(&row(), Some(Side::Client), 0, 20, 60), "━───●───────○─○─†   ");
        assert_eq!(drawn(&row(), Some(Side::Server), 0, 20, 60), "────◇············   ");
    }

    #[test]
    fn it_moves_with_the_window() {
        assert_eq!(drawn(&row(), None, 10, 30, 60), "··○·○·†             ");
        assert_eq!(drawn(&row(), None, -10, 10, 60), "          ━───●·····");
        assert_eq!(drawn(&row(), None, 100, 120, 160), " ".repeat(20));
    }

    #[test]
    fn the_most_telling_wins_a_cell_and_an_open_flow_reaches_to_now() {
        let mut row = row();
        assert_eq!(drawn(&row, None, 0, 200, 200), "●○                  ".replace("●○", "●†"));
        row.flow.deaths.clear();
        row.state = State::Ok;
        assert_eq!(drawn(&row, None, 0, 40, 20), "━─●───○○───         ");
    }

    #[test]
    fn no_window_is_too_small_or_too_large() {
        let row = row();
        for (from, to) in [(0, 0), (1, 0)] {
            assert_eq!(drawn(&row, None, from, to, 60).chars().count(), 20);
        }
        let all = Window { from: Time(i64::MIN), to: Time(i64::MAX) };
        assert_eq!(cells(&row, None, all, at(60), 20).len(), 20);
        assert!(cells(&row, None, all, at(60), 0).is_empty());
    }
}
