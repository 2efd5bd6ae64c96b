//! From measured spans to the settings behind them.
//!
//! Timers never fire early. Linux's timer wheel fires late by up to the granularity of the wheel's level: an eighth of the
//! span at worst (kernel/time/timer.c, `LVL_GRAN`), so a 7200 s timer may come 131 s late. The least of several spans is
//! therefore the best bound, and the setting lies within one granule below it.

use crate::packet::{MILLISECOND, Nanos, Number, SECOND, seconds};
use crate::summary::Spread;

/// Spans kept for the median; more are represented by an even sample.
const KEPT: usize = 5;

/// Where the next of many spans is kept, after so many; `None` if it is not.
///
/// Reservoir sampling with a fixed sequence: every span is as likely to be kept, and runs repeat.
#[inline]
fn place(before: u32) -> Option<usize> {
    let at = if before < KEPT as u32 {
        before
    } else {
        let count = before.saturating_add(1);
        ((u64::from(count).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % u64::from(count)) as u32
    };
    Some(at as usize).filter(|at| *at < KEPT)
}

/// The median of those kept of so many; exact for few.
fn median(mut kept: [Nanos; KEPT], count: u32) -> Option<Nanos> {
    let kept = &mut kept[..KEPT.min(count as usize)];
    kept.sort_unstable();
    let middle = kept.len() / 2;
    let greater = *kept.get(middle)?;
    Some(if kept.len().is_multiple_of(2) { kept[middle - 1].midpoint(greater) } else { greater })
}

/// A span in few bytes: nanoseconds in floating point, with 5 bits for the exponent and the others for the mantissa. Two
/// bytes keep an hour to a 4096th, three keep ten days to a millionth; longer ones are kept as the longest there.
#[derive(Clone, Copy, Debug, Default)]
struct Rounded<const BYTES: usize>(Number<BYTES>);

impl<const BYTES: usize> Rounded<BYTES> {
    /// Bits of the mantissa that are kept; its highest, which is 1, is not, but in spans as short as that.
    const MANTISSA: u32 = 8 * BYTES as u32 - 5;

    #[inline]
    fn new(span: Nanos) -> Self {
        let span = span.max(0) as u64;
        let shift = (u64::BITS - span.leading_zeros()).saturating_sub(Self::MANTISSA + 1);
        // A mantissa that is rounded up to a bit more carries into the exponent, as it should.
        let mantissa = (span >> shift) + if shift > 0 { span >> (shift - 1) & 1 } else { 0 };
        Rounded(((u64::from(shift) << Self::MANTISSA) + mantissa).into())
    }

    #[inline]
    fn span(self) -> Nanos {
        let bits = self.0.get();
        match bits >> Self::MANTISSA {
            0 => bits as Nanos,
            exponent => ((bits & ((1 << Self::MANTISSA) - 1) | 1 << Self::MANTISSA) << (exponent - 1)) as Nanos,
        }
    }
}

/// A running account of one kind of span: exact count, least and greatest, and a median over at most `KEPT` of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spans {
    min: Number<6>,
    max: Number<6>,
    count: Number<4>,
    /// What those kept are longer than the least.
    kept: [Rounded<3>; KEPT],
}

impl Spans {
    /// Takes one span, of at most three days, and tells so; a negative one, across a step of the clock, says nothing and is
    /// not taken.
    #[inline]
    pub fn add(&mut self, span: Nanos) -> bool {
        if span < 0 {
            return false;
        }
        let (span, count) = (span.min(Number::<6>::MAX as Nanos), self.count());
        let least = if count == 0 { span } else { self.least() };
        if count == 0 || span < least {
            self.min = (span as u64).into();
            for kept in self.kept.iter_mut().take(count as usize) {
                *kept = Rounded::new(kept.span() + least - span);
            }
        }
        if span > self.greatest() {
            self.max = (span as u64).into();
        }
        if let Some(kept) = place(count).and_then(|at| self.kept.get_mut(at)) {
            *kept = Rounded::new(span - span.min(least));
        }
        self.count = u64::from(count.saturating_add(1)).into();
        true
    }

    #[inline]
    fn least(&self) -> Nanos {
        self.min.get() as Nanos
    }

    #[inline]
    fn greatest(&self) -> Nanos {
        self.max.get() as Nanos
    }

    /// How many were taken.
    #[inline]
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count.get() as u32
    }

    /// The least.
    #[must_use]
    pub fn min(&self) -> Option<Nanos> {
        (self.count() > 0).then_some(self.least())
    }

    /// Median and bounds; the median is exact up to `KEPT` spans, then that of a sample.
    #[must_use]
    pub fn spread(&self) -> Option<Spread> {
        let median = self.least() + median(self.kept.map(Rounded::span), self.count())?;
        let (min, max) = (seconds(self.least()), seconds(self.greatest()));
        // To a tenth of a millisecond, which is what is kept of spans up to a minute longer than the least.
        let median = ((seconds(median) * 1e4).round() / 1e4).clamp(min, max);
        Some(Spread { median, min, max })
    }
}

/// A sample of spans that only a median is wanted of, to three digits. How many there were is known elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample([Rounded<2>; KEPT]);

impl Sample {
    /// Takes one span, of at most an hour, after so many.
    #[inline]
    pub fn add(&mut self, before: u32, span: Nanos) {
        if let Some(kept) = place(before).and_then(|at| self.0.get_mut(at)) {
            *kept = Rounded::new(span);
        }
    }

    /// The median of so many, in seconds.
    #[must_use]
    pub fn median(&self, count: u32) -> Option<f64> {
        let median = median(self.0.map(Rounded::span), count)?;
        let mut digit = 1;
        while median >= digit * 1000 {
            digit *= 10;
        }
        Some(seconds((median + digit / 2) / digit * digit))
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
        let mut spans = Spans::default();
        for s in [3.0, 1.0, 2.0, 10.0] {
            spans.add(nanos(s));
        }
        assert_eq!(spans.spread(), Some(Spread { median: 2.5, min: 1.0, max: 10.0 }));
        assert!(!spans.add(-1));
        // At most 2^48 - 1 ns.
        spans.add(Nanos::MAX);
        assert_eq!(spans.spread(), Some(Spread { median: 3.0, min: 1.0, max: 281_474.976_710_655 }));
    }

    #[test]
    fn a_median_has_three_digits() {
        let of = |spans: &[f64]| {
            let mut sample = Sample::default();
            (0..).zip(spans).for_each(|(before, s)| sample.add(before, nanos(*s)));
            sample.median(spans.len() as u32)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[0.0]), Some(0.0));
        assert_eq!(of(&[0.000_031_44]), Some(0.000_031_4));
        assert_eq!(of(&[0.25, 3.0, 0.123_456]), Some(0.25));
        assert_eq!(of(&[0.999_6, 0.999_7]), Some(1.0));
        assert_eq!(of(&[1e6]), Some(4400.0));
    }

    proptest::proptest! {
        #[test]
        fn a_rounded_span_is_within_its_share(span in 0..1_i64 << 42, long in 0..1_i64 << 49) {
            let error = |span: Nanos, kept: Nanos| (span - kept).abs();
            proptest::prop_assert!(error(span, Rounded::<2>::new(span).span()) <= span / 4096);
            proptest::prop_assert!(error(long, Rounded::<3>::new(long).span()) <= long / 1_000_000);
        }
    }
}
