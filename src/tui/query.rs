//! What the user asked to see: which flows, in which order.

use crate::packet::Time;
use crate::report::state::State;
use crate::summary::FlowSummary;

use super::view::Row;

/// Flows by what their state asks of the reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// Every flow.
    #[default]
    All,
    /// A side was taken for dead.
    Dead,
    /// A side is not heard, and nobody has come to a verdict.
    Silent,
    /// A side could die unnoticed.
    Unwatched,
    /// Something else is broken or worth changing.
    Check,
    /// Open, with nothing to tell.
    Ok,
    /// Closed or reset.
    Over,
}

impl Group {
    /// All of them, as they are shown.
    pub const ALL: [Group; 7] =
        [Group::All, Group::Dead, Group::Silent, Group::Unwatched, Group::Check, Group::Ok, Group::Over];

    /// The narrowest group of a state.
    #[must_use]
    pub fn of(state: State) -> Self {
        match state {
            State::BothGaveUp | State::Dead(_) | State::Refused => Group::Dead,
            State::Silent(_) => Group::Silent,
            State::Unwatched | State::HalfWatched => Group::Unwatched,
            State::Broken | State::Check => Group::Check,
            State::Ok => Group::Ok,
            State::Reset | State::Closed => Group::Over,
        }
    }

    /// Its word on the screen.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Group::All => "All",
            Group::Dead => "Dead",
            Group::Silent => "Silent",
            Group::Unwatched => "Unwatched",
            Group::Check => "Check",
            Group::Ok => "Ok",
            Group::Over => "Over",
        }
    }

    /// The one that is `steps` further on, around the end.
    #[must_use]
    pub fn step(self, steps: usize) -> Self {
        Group::ALL[(self as usize + steps) % Group::ALL.len()]
    }
}

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The worst state; of the dead, the last to be noticed.
    #[default]
    Worst,
    /// The longest silence.
    Heard,
    /// The verdict that is due soonest.
    Clock,
    /// The flow that began last.
    Newest,
    /// The most packets.
    Busiest,
}

impl Sort {
    const ALL: [Sort; 5] = [Sort::Worst, Sort::Heard, Sort::Clock, Sort::Newest, Sort::Busiest];

    /// Its word on the screen.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Sort::Worst => "worst",
            Sort::Heard => "longest silence",
            Sort::Clock => "clock",
            Sort::Newest => "newest",
            Sort::Busiest => "busiest",
        }
    }

    /// The next one, around the end.
    #[must_use]
    pub fn next(self) -> Self {
        Sort::ALL[(self as usize + 1) % Sort::ALL.len()]
    }
}

/// Where a flow stands in the order asked for: the least comes first.
pub type Key = (i64, i64, u64);

/// What the user asked to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only flows of this group.
    pub group: Group,
    /// Words that must all be found in a flow; one that begins with `!` must not.
    pub filter: String,
    /// What comes first.
    pub sort: Sort,
    /// Or last.
    pub reversed: bool,
}

impl Query {
    /// Whether a flow in this state is wanted.
    #[must_use]
    pub fn wants(&self, flow: &FlowSummary, state: State) -> bool {
        (self.group == Group::All || self.group == Group::of(state)) && self.finds(flow, state)
    }

    fn finds(&self, flow: &FlowSummary, state: State) -> bool {
        if self.filter.trim().is_empty() {
            return true;
        }
        let mut text = format!("{} {} {state} flow {} ", flow.ends.0[0], flow.ends.0[1], flow.id);
        let protocols = flow.heartbeats.iter().filter_map(|h| h.protocol);
        let stacks = flow.keepalive.0.iter().flatten().flat_map(|k| ["keepalive"].into_iter().chain(k.stack));
        let mechanisms = flow.deaths.iter().map(|d| d.mechanism.name());
        let codes = flow.findings.iter().map(|f| f.code);
        for word in protocols.chain(stacks).chain(mechanisms).chain(codes) {
            text.push_str(word);
            text.push(' ');
        }
        let text = text.to_lowercase();
        self.filter.split_whitespace().all(|word| match word.strip_prefix('!') {
            Some("") => true,
            Some(word) => !text.contains(&word.to_lowercase()),
            None => text.contains(&word.to_lowercase()),
        })
    }

    /// Where a flow stands.
    #[must_use]
    pub fn key(&self, row: &Row) -> Key {
        let flow = &row.flow;
        let (first, second) = match self.sort {
            Sort::Worst => {
                let noticed = flow.deaths.iter().filter_map(|d| d.detected_at).max();
                let within = match row.state {
                    State::BothGaveUp | State::Dead(_) | State::Refused => !noticed.unwrap_or_default().0,
                    State::Silent(_) => row.heard().0,
                    _ => 0,
                };
                (Group::of(row.state) as i64 * 16 + worse(row.state), within)
            }
            Sort::Heard => (row.heard().0, 0),
            Sort::Clock => (row.deadline().map_or(Time(i64::MAX), |d| d.at).0, 0),
            Sort::Newest => (!flow.first.0, 0),
            Sort::Busiest => {
                let packets: u64 = flow.traffic.0.iter().map(|t| t.packets).sum();
                (!i64::try_from(packets).unwrap_or(i64::MAX), 0)
            }
        };
        let id = if self.sort == Sort::Newest { !flow.id } else { flow.id };
        if self.reversed { (!first, !second, !id) } else { (first, second, id) }
    }
}

/// Orders the states of one group.
fn worse(state: State) -> i64 {
    match state {
        State::Dead(_) | State::BothGaveUp | State::Refused | State::Silent(_) => 0,
        State::Unwatched | State::Broken | State::Ok | State::Reset => 1,
        State::HalfWatched | State::Check | State::Closed => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::SECOND;
    use crate::sample;
    use crate::summary::Side;

    fn finds(filter: &str) -> bool {
        let flow = sample::dead();
        Query { filter: filter.into(), ..Query::default() }.wants(&flow, State::of(&flow))
    }

    #[test]
    fn all_words_must_be_found_and_none_that_is_denied() {
        for filter in ["", "  ", "10.9.0.2", ":5000", "MQTT", "server dead", "keepalive_timeout 48796", "!ssh", "!"] {
            assert!(finds(filter), "{filter}");
        }
        for filter in ["10.9.0.3", "mqtt ssh", "!mqtt", "unwatched"] {
            assert!(!finds(filter), "{filter}");
        }
    }

    #[test]
    fn groups_part_the_flows() {
        let flow = sample::dead();
        let of = |group| Query { group, ..Query::default() }.wants(&flow, State::Dead(Side::Server));
        assert_eq!(Group::ALL.map(of), [true, true, false, false, false, false, false]);
        assert_eq!(Group::All.step(Group::ALL.len() - 1), Group::Over);
    }

    fn order(sort: Sort, reversed: bool) -> Vec<u64> {
        let query = Query { sort, reversed, ..Query::default() };
        let mut later = sample::quiet(3);
        later.first = later.first.plus(SECOND);
        later.last = later.last.plus(SECOND);
        later.traffic[Side::Client].packets = 100;
        let mut rows: Vec<Row> =
            [sample::quiet(2), later, sample::dead()].into_iter().map(|f| Row::new(f, None, None)).collect();
        rows.sort_by_key(|row| query.key(row));
        rows.iter().map(|row| row.flow.id).collect()
    }

    #[test]
    fn the_worst_come_first_unless_asked_otherwise() {
        assert_eq!(order(Sort::Worst, false), [1, 2, 3]);
        assert_eq!(order(Sort::Worst, true), [3, 2, 1]);
        assert_eq!(order(Sort::Heard, false), [1, 2, 3]);
        assert_eq!(order(Sort::Newest, false), [3, 2, 1]);
        assert_eq!(order(Sort::Busiest, false), [3, 1, 2]);
    }
}
