//! From measured spans to the settings behind them.
//!
//! Timers never fire early. Linux's timer wheel fires late by up to the granularity of the wheel's level: an eighth of the
//! span at worst (kernel/time/timer.c, `LVL_GRAN`), so a 7200 s timer may come 131 s late. The least of several spans is
//! therefore the best bound, and the setting lies within one granule below it.

use crate::packet::{MILLISECOND, Nanos, SECOND, seconds};
use crate::summary::Spread;

/// Spans kept for the median; more are represented by an even sample.
const KEPT: usize = 5;

/// A running account of one kind of span: exact count, least and greatest, and a median over at most `KEPT` of them. The
/// spans may be kept in a shorter number of nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spans<N = Nanos> {
    min: N,
    max: N,
    count: u32,
    kept: [f32; KEPT],
}

impl From<Spans<u32>> for Spans {
    fn from(short: Spans<u32>) -> Self {
        let Spans { min, max, count, kept } = short;
        Spans { min: min.into(), max: max.into(), count, kept }
    }
}

impl<N: Copy + Default + Ord + Into<Nanos>> Spans<N> {
    /// Takes one span and tells so; a negative one, across a step of the clock, says nothing and is not taken.
    #[inline]
    pub fn add(&mut self, span: N) -> bool {
        if span < N::default() {
            return false;
        }
        self.min = if self.count == 0 { span } else { self.min.min(span) };
        self.max = self.max.max(span);
        let n = self.count as usize;
        self.count = self.count.saturating_add(1);
        // Reservoir sampling with a fixed sequence: every span is as likely to be kept, and runs repeat.
        let at = if n < KEPT {
            n
        } else {
            (u64::from(self.count).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as usize % self.count as usize
        };
        if let Some(kept) = self.kept.get_mut(at) {
            *kept = seconds(span.into()) as f32;
        }
        true
    }

    /// How many were taken.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The least.
    #[must_use]
    pub fn min(&self) -> Option<Nanos> {
        (self.count > 0).then_some(self.min.into())
    }

    /// Median and bounds; the median is exact up to `KEPT` spans, then that of a sample.
    #[must_use]
    pub fn spread(&self) -> Option<Spread> {
        if self.count == 0 {
            return None;
        }
        let mut kept = self.kept;
        let kept = &mut kept[..KEPT.min(self.count as usize)];
        kept.sort_by(f32::total_cmp);
        let middle = kept.len() / 2;
        let median = if kept.len() % 2 == 1 { kept[middle] } else { (kept[middle - 1] + kept[middle]) / 2.0 };
        let (min, max) = (seconds(self.min.into()), seconds(self.max.into()));
        // Rounded to a tenth of a millisecond: more is not in an f32 of this size.
        let median = ((f64::from(median) * 1e4).round() / 1e4).clamp(min, max);
        Some(Spread { median, min, max })
    }
}

/// How late a timer of this span may fire on Linux: the wheel's granularity at 250 Hz and at 1000 Hz, the greater of both.
#[must_use]
pub fn lateness(span: Nanos) -> Nanos {
    let granule = |tick: Nanos| {
        // Level n holds spans below 64 * 8^n ticks and counts them in 8^n ticks.
        let mut granule = tick;
        while span >= granule * 63 && granule < SECOND * 3600 {
            granule *= 8;
        }
        granule
    };
    granule(4 * MILLISECOND).max(granule(MILLISECOND))
}

/// Clocks of capture and prober differ, and the path's delay varies: a span may look this much too short.
fn jitter(span: Nanos) -> Nanos {
    (20 * MILLISECOND).max(span / 1000)
}

/// The setting in whole seconds that a timer had whose least span was `least`; below a second as measured.
///
/// Where the wheel is coarser than a second several whole seconds fit; the roundest is taken, as people choose settings.
#[must_use]
pub fn setting(least: Nanos) -> f64 {
    if least < SECOND - jitter(least) {
        return (seconds(least) * 100.0).round() / 100.0;
    }
    let most = (least + jitter(least)) / SECOND;
    let fewest = if lateness(least) > SECOND { (least - lateness(least)) / SECOND + 1 } else { most };
    let round = |step: i64| (most / step * step >= fewest).then_some(most / step * step);
    [3600, 1800, 900, 600, 300, 60, 30, 15, 10, 5].into_iter().find_map(round).unwrap_or(most) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::nanos;

    /// Spans that kernels were seen to show for these settings (Linux 6.18, 250 Hz).
    #[test]
    fn late_timers_give_their_settings() {
        for (seen, set) in
            [(2.016, 2.0), (5.12, 5.0), (6.14, 6.0), (10.24, 10.0), (1.05, 1.0), (4.1, 4.0), (0.998, 1.0)]
        {
            assert_eq!(setting(nanos(seen)), set, "{seen} s");
        }
    }

    #[test]
    fn long_timers_are_settled_by_roundness() {
        assert_eq!(setting(nanos(7331.0)), 7200.0);
        assert_eq!(setting(nanos(60.07)), 60.0);
        assert_eq!(setting(nanos(76.8)), 75.0);
        assert_eq!(setting(nanos(45.3)), 45.0);
    }

    #[test]
    fn the_wheel_is_an_eighth_late_at_most() {
        for s in [1.0, 7.0, 60.0, 7200.0] {
            assert!(lateness(nanos(s)) <= nanos(s) / 7, "{s} s");
        }
    }

    #[test]
    fn the_median_of_few_is_exact() {
        let mut spans = Spans::<Nanos>::default();
        for s in [3.0, 1.0, 2.0, 10.0] {
            spans.add(nanos(s));
        }
        assert_eq!(spans.spread(), Some(Spread { median: 2.5, min: 1.0, max: 10.0 }));
    }
}
