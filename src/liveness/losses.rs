//! When the capture itself lost packets: a silence in such a stretch proves nothing.

use std::collections::VecDeque;

use crate::packet::{Nanos, SECOND, Time};

/// Stretches no further apart than this are one.
const NEAR: Nanos = SECOND;
/// Stretches kept apart. Beyond, the two oldest become one: verdicts look back a few minutes at most, mostly.
const MOST: usize = 64;

/// The stretches of time in which packets were lost, in order of their beginning.
#[derive(Clone, Debug, Default)]
pub struct Losses(VecDeque<(Time, Time)>);

impl Losses {
    /// Packets were lost at some moments between the two.
    pub fn add(&mut self, since: Time, until: Time) {
        let (since, until) = (since.min(until), since.max(until));
        match self.0.back_mut() {
            // A clock that stepped back makes the order of stretches doubtful: then they are one.
            Some((begun, last)) if since.since(*last) <= NEAR => {
                *begun = since.min(*begun);
                *last = until.max(*last);
            }
            _ => self.0.push_back((since, until)),
        }
        if self.0.len() > MOST
            && let (Some((begun, _)), Some((_, last))) = (self.0.pop_front(), self.0.pop_front())
        {
            self.0.push_front((begun, last));
        }
    }

    /// Whether packets may have been lost between the two moments.
    #[must_use]
    pub fn between(&self, from: Time, to: Time) -> bool {
        self.0.iter().any(|(since, until)| *since <= to && from <= *until)
    }

    /// Since when, seen from `at`, nothing was lost; `None` if nothing was before.
    #[must_use]
    pub fn whole_since(&self, at: Time) -> Option<Time> {
        self.0.iter().rev().find(|(since, _)| *since <= at).map(|(_, until)| at.min(*until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: i64) -> Time {
        Time(seconds * SECOND)
    }

    #[test]
    fn stretches_and_what_lies_between() {
        let mut losses = Losses::default();
        assert!(!losses.between(s(0), s(100)));
        assert_eq!(losses.whole_since(s(100)), None);
        losses.add(s(10), s(12));
        losses.add(s(13), s(14));
        losses.add(s(20), s(30));
        assert!(!losses.between(s(0), s(9)) && !losses.between(s(15), s(19)) && !losses.between(s(31), s(99)));
        assert!(losses.between(s(0), s(10)) && losses.between(s(14), s(15)) && losses.between(s(25), s(26)));
        assert!(losses.between(s(12), s(13)), "a second apart is one stretch");
        assert_eq!(losses.whole_since(s(9)), None);
        assert_eq!(losses.whole_since(s(11)), Some(s(11)));
        assert_eq!(losses.whole_since(s(19)), Some(s(14)));
        assert_eq!(losses.whole_since(s(99)), Some(s(30)));
    }

    #[test]
    fn many_stretches_are_few_and_cover_all() {
        let mut losses = Losses::default();
        for n in 0..1000 {
            losses.add(s(10 * n), s(10 * n + 1));
        }
        assert_eq!(losses.0.len(), MOST);
        assert!((0..1000).all(|n| losses.between(s(10 * n), s(10 * n + 1))));
        assert!(!losses.between(s(9985), s(9986)), "the latest stay apart");
        // The clock is set back by an hour.
        losses.add(s(6400), s(6390));
        assert!(losses.between(s(6395), s(6395)) && losses.0.len() <= MOST);
    }
}
