//! The gaps before the beats of one recurring message, and whether they are those of a timer.
//!
//! A timer restarts at some moment: at its own last firing (a fixed beat), or when the side last sent, last heard, or
//! either (an idle-triggered beat). So each beat is kept with the time since each of these, and the clocks compete: the
//! one whose gaps agree is the timer's. Spectra lose here, for an idle timer changes its phase at every burst of data.

use std::sync::LazyLock;

use crate::flow::prefetch::prefetch;
use crate::summary::{Interval, Trigger};

/// Gaps kept of each message: its latest. Median and deviation are exact over these; of an even jitter of ±20 % a
/// median over 32 is within 3.5 % of the timer's mean (one standard deviation, 20 % / √34).
pub const KEPT: usize = 32;

/// Room is made for so many of them at a time.
const ROOM: usize = 8;

/// Fewest gaps that can tell a timer: three, so four beats. With two, any random pair of gaps that happen to agree would.
pub const FEWEST: usize = 3;

/// The shortest period looked for, seconds. Faster than twice a second come a typist's keys, a video's frames and
/// OpenSSH's 20 ms chaff, which nothing but their pace tells from beats once they are encrypted.
pub const SHORTEST: f32 = 0.5;

/// How far gaps may lie from their middle, as a share of it: timers, sloppy timers, then jitter of 10, 20 and 30 % with
/// a tenth more for what the network adds.
const TOLERANCES: [f32; 5] = [0.02, 0.05, 0.11, 0.22, 0.34];

/// How likely agreement by chance may at most be. It lets four beats within ±2 % pass, and asks twelve at ±34 %.
pub const CHANCE: f64 = 0.005;

/// A gap of up to so many periods is beats that were lost between two others.
const MOST_FOLDED: u32 = 5;

/// How far, as a share of the period, two clocks must differ before a beat can tell them apart.
const TELLING: f32 = 0.25;

/// What may restart a beat's timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The last beat.
    Beat,
    /// The last payload that either side sent.
    Any,
    /// The last payload that the beating side sent.
    Sent,
    /// The last payload that the other side sent.
    Heard,
}

impl Clock {
    const ALL: [Clock; 4] = [Clock::Beat, Clock::Any, Clock::Sent, Clock::Heard];
    const IDLE: [Clock; 3] = [Clock::Any, Clock::Sent, Clock::Heard];
}

/// One beat's distance in seconds from what came before it; infinite where nothing did.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// Since the last beat.
    pub beat: f32,
    /// Since the same side's last payload.
    pub sent: f32,
    /// Since the other side's last payload.
    pub heard: f32,
}

impl Gap {
    /// By one clock.
    #[must_use]
    pub fn by(&self, clock: Clock) -> f32 {
        match clock {
            Clock::Beat => self.beat,
            Clock::Any => self.sent.min(self.heard),
            Clock::Sent => self.sent,
            Clock::Heard => self.heard,
        }
    }
}

/// A timer that explains a message's gaps.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    /// What restarts it.
    pub clock: Clock,
    /// Its period, seconds.
    pub period: f32,
    /// How far gaps may lie from it, as a share.
    pub tolerance: f32,
    /// How likely random gaps would agree as well.
    pub chance: f64,
    /// The share of gaps it explains.
    pub share: f32,
}

/// How many periods make `gap`, if a whole number does; the error of each lost beat adds to the others' as its root.
#[inline]
#[must_use]
pub fn fold(gap: f32, period: f32, tolerance: f32) -> Option<u32> {
    // Most gaps are of one period, which is told without division and root.
    if (0.5 * period..1.5 * period).contains(&gap) {
        return ((gap - period).abs() <= tolerance * period).then_some(1);
    }
    let periods = gap / period + 0.5;
    if !(1.0..(MOST_FOLDED + 1) as f32).contains(&periods) {
        return None;
    }
    let k = periods as u32;
    let whole = k as f32;
    ((gap - whole * period).abs() <= tolerance * period * whole.sqrt()).then_some(k)
}

/// The chance of at least `hits` of `n` draws, each hit with probability `p`.
fn at_least(hits: usize, n: usize, p: f64) -> f64 {
    let mut term = (1.0 - p).powi(n as i32);
    let mut below = 0.0;
    for k in 0..hits {
        below += term;
        term *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
    }
    (1.0 - below).max(0.0)
}

/// By the place of a tolerance in [`TOLERANCES`], the number of gaps and how many of them agree: how likely so many random
/// gaps would. Of random gaps, those spread evenly from 0 to the window's end fall into it most often: 2w / (1 + w). One
/// gap places the window.
static CHANCES: LazyLock<Chances> = LazyLock::new(|| {
    TOLERANCES.map(|tolerance| {
        let p = f64::from(2.0 * tolerance / (1.0 + tolerance));
        let chance = |n: usize, hits: usize| if (1..=n).contains(&hits) { at_least(hits - 1, n - 1, p) } else { 1.0 };
        std::array::from_fn(|n| std::array::from_fn(|hits| chance(n, hits)))
    })
});

/// The least of [`CHANCES`] for at most so many gaps.
static LEAST: LazyLock<[f64; KEPT + 1]> = LazyLock::new(|| {
    let mut least = 1.0_f64;
    std::array::from_fn(|n| {
        least = CHANCES.iter().flat_map(|of_tolerance| of_tolerance[n]).fold(least, f64::min);
        least
    })
});

type Chances = [[[f64; KEPT + 1]; KEPT + 1]; TOLERANCES.len()];

/// The latest gaps of one message, and the bounds of all its gaps.
#[derive(Clone, Debug)]
pub struct Gaps {
    /// Room for the latest, in a ring once there are [`KEPT`].
    room: Box<[Gap]>,
    /// Gaps ever taken.
    seen: u32,
    /// Least and greatest gap between beats ever.
    bounds: (f32, f32),
}

/// What one more gap replaces.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    gap: Option<Gap>,
    bounds: (f32, f32),
}

impl Default for Gaps {
    fn default() -> Self {
        Gaps { room: Box::default(), seen: 0, bounds: (f32::INFINITY, 0.0) }
    }
}

impl Gaps {
    /// Takes the next beat's gap.
    pub fn push(&mut self, gap: Gap) {
        self.bounds = (self.bounds.0.min(gap.beat), self.bounds.1.max(gap.beat));
        let at = self.seen as usize % KEPT;
        if at == self.room.len() {
            // Few messages recur; most of those that do go on to. A fresh piece of memory malloc has at hand more often than
            // room behind the old one.
            let more = if at == 0 { FEWEST } else { ROOM - at % ROOM };
            let mut wider = Vec::with_capacity(at + more);
            wider.extend_from_slice(&self.room);
            wider.resize(at + more, gap);
            self.room = wider.into_boxed_slice();
        }
        self.room[at] = gap;
        self.seen = self.seen.saturating_add(1);
    }

    /// What the next gap will replace.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { gap: self.room.get(self.seen as usize % KEPT).copied(), bounds: self.bounds }
    }

    /// Takes the last gap back, before which `mark` was made.
    pub fn back_to(&mut self, mark: Mark) {
        self.seen -= 1;
        self.bounds = mark.bounds;
        if let (Some(gap), Some(at)) = (mark.gap, self.room.get_mut(self.seen as usize % KEPT)) {
            *at = gap;
        }
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap(&self) -> usize {
        self.room.len() * size_of::<Gap>()
    }

    /// Asks for where the next gap will be put.
    #[inline]
    pub fn prefetch(&self) {
        self.room.get(self.seen as usize % KEPT).into_iter().for_each(prefetch);
    }

    /// Gaps ever taken.
    #[must_use]
    pub fn seen(&self) -> u32 {
        self.seen
    }

    /// The latest gaps, in no order.
    fn kept(&self) -> &[Gap] {
        &self.room[..(self.seen as usize).min(KEPT)]
    }

    /// The last `n` gaps, oldest first.
    pub fn last(&self, n: usize) -> impl Iterator<Item = &Gap> + Clone {
        let kept = self.kept();
        let start = if kept.len() < KEPT { 0 } else { self.seen as usize % KEPT };
        let (newer, older) = kept.split_at(start);
        older.iter().chain(newer).skip(kept.len().saturating_sub(n))
    }

    /// Only the last `n` gaps, as if the others had never been.
    #[must_use]
    pub fn tail(&self, n: usize) -> Gaps {
        let mut tail = Gaps::default();
        self.last(n).for_each(|&gap| tail.push(gap));
        tail
    }

    /// Forgets the last `n` gaps.
    pub fn drop_last(&mut self, n: usize) {
        let rest = self.last(KEPT).copied().take(self.kept().len().saturating_sub(n)).collect::<Vec<_>>();
        *self = Gaps::default();
        rest.into_iter().for_each(|gap| self.push(gap));
    }

    /// The timer that explains the gaps best, a fixed one where several do as well, if chance does not explain them too.
    /// `chance` is the greatest accepted.
    #[must_use]
    pub fn pulse(&self, chance: f64) -> Option<Pulse> {
        let mut best: Option<Pulse> = None;
        for clock in Clock::ALL {
            if let Some(pulse) = self.pulse_by(clock).filter(|p| p.chance <= chance)
                && best.is_none_or(|best| pulse.chance < best.chance)
            {
                best = Some(pulse);
            }
            // No other can do better.
            if best.is_some_and(|best| best.chance <= LEAST[self.kept().len()]) {
                break;
            }
        }
        best
    }

    fn pulse_by(&self, clock: Clock) -> Option<Pulse> {
        // Where nothing else was sent, clocks show the same gaps; the first stands for all.
        let earlier = Clock::ALL.into_iter().take_while(|c| *c != clock);
        if earlier.into_iter().any(|c| self.kept().iter().all(|g| g.by(clock) == g.by(c))) {
            return None;
        }
        let mut buffer = [0.0; KEPT];
        let gaps = self.sorted(clock, &mut buffer);
        let n = gaps.len();
        if n < FEWEST || n * 2 < self.kept().len() {
            return None;
        }
        let mut best: Option<Pulse> = None;
        for (tolerance, chances) in TOLERANCES.into_iter().zip(CHANCES.iter()) {
            // Not even if it explained all would it do better.
            if best.is_some_and(|best| best.chance <= chances[n][n]) {
                break;
            }
            let (window, hits) = densest(gaps, (1.0 + tolerance) / (1.0 - tolerance));
            if hits * 2 < n {
                continue;
            }
            let period = median(&gaps[window..window + hits]);
            if period < SHORTEST {
                continue;
            }
            let folded = gaps[window + hits..].iter().filter(|&&g| fold(g, period, tolerance).is_some_and(|k| k > 1));
            let share = (hits + folded.count()) as f32 / n as f32;
            // The wider the tolerance, the more it explains anyway, and the fewer exceptions it may have.
            if share < 0.6 + 0.75 * tolerance {
                continue;
            }
            let chance = chances[n][hits];
            if best.is_none_or(|b| chance < b.chance) {
                best = Some(Pulse { clock, period, tolerance, chance, share });
            }
            // A wider window explains no more than all.
            if hits == n {
                break;
            }
        }
        best
    }

    /// The finite gaps by one clock, sorted.
    fn sorted<'b>(&self, clock: Clock, buffer: &'b mut [f32; KEPT]) -> &'b mut [f32] {
        // Numbers that are not negative have the order of their bits.
        let mut bits = [0; KEPT];
        let mut n = 0;
        for gap in self.kept().iter().map(|g| g.by(clock)).filter(|g| g.is_finite()) {
            bits[n] = gap.to_bits();
            n += 1;
        }
        bits[..n].sort_unstable();
        let gaps = &mut buffer[..n];
        gaps.iter_mut().zip(bits).for_each(|(gap, bits)| *gap = f32::from_bits(bits));
        gaps
    }

    /// Whether the timer runs on whatever is sent, or starts anew with traffic, and then by which clock: told by the beats
    /// that had other traffic before them. `by_name` is whether the protocol is known: many of those restart their
    /// timer at their own sends alone, so the peer's traffic cannot prove them fixed.
    #[must_use]
    pub fn trigger(&self, pulse: Pulse, by_name: bool) -> (Trigger, Clock) {
        let Pulse { period, .. } = pulse;
        let beat_tolerance =
            if pulse.clock == Clock::Beat { (1.5 * pulse.tolerance).clamp(0.05, 0.3) } else { TOLERANCES[2] };
        let may_fold = beat_tolerance < 0.2;
        let fits = |gap| fold(gap, period, beat_tolerance).is_some_and(|k| k == 1 || may_fold);
        let mut counts = [(0u32, 0u32, 0u32); Clock::IDLE.len()];
        for gap in self.kept() {
            let telling = gap.beat - TELLING * period;
            // The other clocks show no less.
            if gap.by(Clock::Any) >= telling {
                continue;
            }
            let beat_fits = fits(gap.beat);
            for (clock, counts) in Clock::IDLE.into_iter().zip(&mut counts) {
                let idle = gap.by(clock);
                if idle >= telling {
                    continue;
                }
                counts.0 += 1;
                counts.1 += u32::from((idle - period).abs() <= TELLING * period || fits(idle));
                counts.2 += u32::from(beat_fits);
            }
        }
        let mut told = false;
        let mut refuted = true;
        let mut own_refuted = false;
        for (clock, (tests, idle_fits, beat_fits)) in Clock::IDLE.into_iter().zip(counts) {
            if tests == 0 {
                continue;
            }
            told = true;
            if idle_fits > beat_fits && idle_fits * 3 >= tests * 2 {
                return (Trigger::Idle, clock);
            }
            let refutes = beat_fits > idle_fits && beat_fits * 5 >= tests * 3;
            refuted &= refutes;
            own_refuted |= refutes && clock == Clock::Sent;
        }
        match told && refuted && (own_refuted || !by_name) {
            true => (Trigger::Fixed, Clock::Beat),
            false => (Trigger::Undetermined, pulse.clock),
        }
    }

    /// The gaps by one clock: median and deviation over the latest [`KEPT`], bounds over all for the beat's own clock.
    #[must_use]
    pub fn interval(&self, clock: Clock) -> Option<Interval> {
        let mut buffer = [0.0; KEPT];
        let gaps = self.sorted(clock, &mut buffer);
        if gaps.is_empty() {
            return None;
        }
        let middle = median(gaps);
        let (low, high) = if clock == Clock::Beat { self.bounds } else { (gaps[0], gaps[gaps.len() - 1]) };
        gaps.iter_mut().for_each(|g| *g = (*g - middle).abs());
        gaps.sort_unstable_by(f32::total_cmp);
        Some(Interval { median: middle.into(), min: low.into(), max: high.into(), mad: median(gaps).into() })
    }
}

/// The start and size of the largest group of sorted `gaps` whose greatest is at most `ratio` times its least.
fn densest(gaps: &[f32], ratio: f32) -> (usize, usize) {
    // Mostly they are all one timer's.
    if let [first, .., last] = gaps
        && *last <= first * ratio
    {
        return (0, gaps.len());
    }
    // A window that grows where the next gap fits and moves where it does not, so it never shrinks: only a larger group
    // than all before it lets it grow.
    let (mut start, mut size) = (0, 0);
    let mut low = 0;
    for &high in gaps {
        if high <= gaps[low] * ratio {
            (start, size) = (low, size + 1);
        } else {
            low += 1;
        }
    }
    (start, size)
}

/// The middle of a sorted slice; 0 of none.
fn median(sorted: &[f32]) -> f32 {
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(beats: &[f32]) -> Gaps {
        let mut gaps = Gaps::default();
        beats.iter().for_each(|&beat| gaps.push(Gap { beat, sent: beat, heard: f32::INFINITY }));
        gaps
    }

    #[test]
    fn the_binomial_tail_is_the_textbooks() {
        // Ten fair coins: 8 or more heads in 56 of 1024 cases.
        assert!((at_least(8, 10, 0.5) - 56.0 / 1024.0).abs() < 1e-12);
        assert!((at_least(0, 10, 0.3) - 1.0).abs() < 1e-12);
        assert!((at_least(3, 3, 0.1) - 0.001).abs() < 1e-12);
    }

    #[test]
    fn the_densest_group_is_the_first_of_the_largest() {
        assert_eq!(densest(&[], 1.1), (0, 0));
        assert_eq!(densest(&[1.0, 1.05, 1.1], 1.1), (0, 3));
        assert_eq!(densest(&[1.0, 2.0, 2.1, 4.0, 4.1, 4.2, 8.0], 1.1), (3, 3));
        assert_eq!(densest(&[1.0, 1.05, 3.0, 3.1, 9.0], 1.1), (0, 2));
    }

    #[test]
    fn three_even_gaps_are_a_timer_and_three_uneven_ones_are_not() {
        assert!(gaps(&[5.0, 5.01, 4.99]).pulse(CHANCE).is_some());
        assert!(gaps(&[5.0, 5.01]).pulse(CHANCE).is_none(), "two gaps prove nothing");
        assert!(gaps(&[5.0, 6.0, 4.2]).pulse(CHANCE).is_none());
        assert!(gaps(&[0.02; 32]).pulse(CHANCE).is_none(), "too fast for a heartbeat");
    }

    #[test]
    fn lost_beats_fold_into_whole_periods() {
        let pulse = gaps(&[2.0, 2.0, 4.0, 2.01, 1.99, 6.0, 2.0, 2.0]).pulse(CHANCE);
        assert_eq!(pulse.map(|p| (p.clock, p.period)), Some((Clock::Beat, 2.0)));
        assert_eq!((fold(6.1, 2.0, 0.1), fold(5.0, 2.0, 0.1), fold(1.0, 2.0, 0.1)), (Some(3), None, None));
        // Half a period to either side, where another number of periods begins.
        assert_eq!((fold(1.01, 2.0, 0.5), fold(2.9, 2.0, 0.5), fold(2.9, 2.0, 0.4)), (Some(1), Some(1), None));
        assert_eq!((fold(0.99, 2.0, 0.6), fold(3.1, 2.0, 0.4), fold(3.1, 2.0, 0.3)), (None, Some(2), None));
        assert_eq!(fold(f32::INFINITY, 2.0, 0.1), None);
        assert_eq!(fold(0.0, 0.0, 0.1), None);
    }

    #[test]
    fn the_interval_is_that_of_the_latest_gaps_and_its_bounds_those_of_all() {
        let mut all = gaps(&[1.0]);
        (0..100).for_each(|_| all.push(Gap { beat: 3.0, sent: 3.0, heard: 3.0 }));
        all.push(Gap { beat: 4.0, sent: 4.0, heard: 4.0 });
        let interval = all.interval(Clock::Beat).unwrap();
        assert_eq!((interval.median, interval.min, interval.max, interval.mad), (3.0, 1.0, 4.0, 0.0));
        assert_eq!(all.last(2).map(|g| g.beat).collect::<Vec<_>>(), [3.0, 4.0]);
    }

    #[test]
    fn own_traffic_between_beats_tells_fixed_from_idle() {
        let mut fixed = Gaps::default();
        let mut idle = Gaps::default();
        for n in 0..8 {
            let data = [0.3, 1.1, 0.9, 2.4, 1.7, 0.2, 2.8, 1.3][n];
            fixed.push(Gap { beat: 4.0, sent: 4.0 - data, heard: f32::INFINITY });
            idle.push(Gap { beat: 4.0 + data, sent: 4.0, heard: f32::INFINITY });
        }
        assert_eq!(fixed.trigger(fixed.pulse(CHANCE).unwrap(), true), (Trigger::Fixed, Clock::Beat));
        assert_eq!(idle.trigger(idle.pulse(CHANCE).unwrap(), true).0, Trigger::Idle);
    }
}
