//! The record of one recurring message, named or not: its beats, replies, what was missed, and what its timer is.

use std::borrow::Cow;

use super::gaps::{CHANCE, Clock, Gap, Gaps, KEPT, Pulse, fold};
use super::{Activity, Ear, Heard, Moment};
use crate::event::EventKind;
use crate::packet::{SECOND, Time, nanos};
use crate::summary::{BeatKind, HeartbeatSummary, Mode, Side, Trigger};

/// A gap of a whole number of periods give or take this share of one is beats that did not come; so is a silence, half
/// a period after each was due.
const MISSED_TOLERANCE: f32 = 0.35;

/// Missed beats told one by one while a silence lasts; a summary counts them all.
const MOST_TOLD: u8 = 16;

/// A known timer is given up once chance explains its gaps this well.
const UNSTEADY: f64 = 10.0 * CHANCE;

/// A timer is looked for anew where a beat is off, at each doubling of their number, and at each of this many.
const LOOK: u32 = 16;

/// One recurring message of one side.
#[derive(Clone, Debug)]
pub struct Track {
    /// Who sends it.
    pub from: Side,
    /// Its protocol, where known.
    pub protocol: Option<&'static str>,
    /// Heartbeat or poll.
    pub kind: BeatKind,
    /// Whether it asks for a reply.
    pub mode: Mode,
    /// The first beat.
    pub first: Time,
    /// The last beat.
    pub last: Time,
    /// Beats.
    pub count: u32,
    /// Replies.
    pub replies: u32,
    /// The last reply.
    pub last_reply: Moment,
    /// Least and greatest length, bytes.
    pub len: (u32, u32),
    /// The gaps before its beats.
    pub gaps: Gaps,
    /// The timer behind them, when it was last looked for.
    pub pulse: Option<Pulse>,
    /// Whether that timer restarts with traffic, and with which.
    trigger: (Trigger, Clock),
    /// How many gaps there were when it was last looked for.
    looked: u32,
    /// Whether the latest gaps still are a timer's: what looked like one at first may not go on so.
    pub steady: bool,
    /// Beats that a gap between two others shows as missing.
    missed: u32,
    /// Those that the present silence has shown and that were told.
    told: u8,
    /// When the next may have to be told.
    due: Time,
}

impl Track {
    /// Bytes on the heap.
    #[must_use]
    pub fn heap(&self) -> usize {
        self.gaps.heap()
    }

    /// Begins with a first beat.
    #[must_use]
    pub fn new(from: Side, protocol: Option<&'static str>, kind: BeatKind, mode: Mode, first: Time) -> Self {
        Track {
            from,
            protocol,
            kind,
            mode,
            first,
            last: first,
            count: 1,
            replies: 0,
            last_reply: Moment::NEVER,
            len: (u32::MAX, 0),
            gaps: Gaps::default(),
            pulse: None,
            trigger: (Trigger::Undetermined, Clock::Beat),
            looked: 0,
            steady: true,
            missed: 0,
            told: 0,
            due: Time(i64::MAX),
        }
    }

    /// Takes a beat that came after `gap`.
    pub fn beat(&mut self, time: Time, gap: Gap) {
        self.count = self.count.saturating_add(1);
        self.last = self.last.max(time);
        self.told = 0;
        if let Some((clock, period)) = self.timer() {
            let missed = fold(gap.by(clock), period, MISSED_TOLERANCE).unwrap_or(1) - 1;
            self.missed = self.missed.saturating_add(missed);
        }
        self.gaps.push(gap);
        let on_beat =
            |p: Pulse| [p.clock, self.trigger.1].iter().all(|&c| fold(gap.by(c), p.period, p.tolerance) == Some(1));
        let off = self.count <= KEPT as u32 || self.steady;
        if off && !self.pulse.is_some_and(on_beat) || self.count.is_power_of_two() || self.count.is_multiple_of(LOOK) {
            self.look();
        }
        self.wait();
    }

    /// The same with its timer looked for in all its gaps.
    #[must_use]
    pub fn latest(&self) -> Cow<'_, Track> {
        if self.looked == self.gaps.seen() {
            return Cow::Borrowed(self);
        }
        let mut latest = self.clone();
        latest.look();
        Cow::Owned(latest)
    }

    /// Looks for the timer.
    pub fn look(&mut self) {
        let pulse = self.gaps.pulse(UNSTEADY);
        self.steady = pulse.is_some();
        self.pulse = pulse.filter(|p| p.chance <= CHANCE).or(self.pulse);
        self.looked = self.gaps.seen();
        self.pull();
    }

    /// Takes the timer that was just found in all its gaps.
    pub fn begin(&mut self, pulse: Pulse) {
        self.steady = pulse.chance <= UNSTEADY;
        self.pulse = Some(pulse);
        self.looked = self.gaps.seen();
        self.pull();
    }

    /// Begins to wait for the next beat.
    pub fn wait(&mut self) {
        let period = self.pulse.map(|p| nanos(1.5 * f64::from(p.period)));
        self.due = period.map_or(Time(i64::MAX), |p| self.last.plus(p));
    }

    /// Takes the length of a beat.
    pub fn measure(&mut self, len: u32) {
        self.len = (self.len.0.min(len), self.len.1.max(len));
    }

    /// Takes a reply.
    pub fn reply(&mut self, time: Time) {
        self.replies = self.replies.saturating_add(1);
        self.last_reply = Moment::at(time);
    }

    /// Ends this phase: its last gaps, `tail`, are the first of the next, which runs by `pulse` where this one ran by
    /// `old`.
    #[must_use]
    pub fn split(&mut self, tail: Gaps, old: Pulse, pulse: Pulse) -> Track {
        let moved = tail.seen();
        let span: f64 = tail.last(KEPT).map(|g| f64::from(g.beat)).sum();
        let start = self.last.plus(-nanos(span));
        let missed = tail.last(KEPT).filter_map(|g| fold(g.by(old.clock), old.period, MISSED_TOLERANCE)).map(|k| k - 1);
        self.missed = self.missed.saturating_sub(missed.sum());
        let mut next = self.clone();
        next.first = start;
        next.count = moved.saturating_add(1);
        next.replies = self.replies.min(next.count);
        next.missed = 0;
        next.pulse = Some(pulse);
        self.count = self.count.saturating_sub(moved);
        self.replies = self.replies.saturating_sub(next.replies.saturating_sub(1));
        self.last = start;
        self.last_reply = self.last_reply.min(Moment::at(start));
        self.pulse = Some(old);
        self.gaps.drop_last(KEPT.min(moved as usize));
        self.pull();
        next.gaps = tail;
        next.look();
        next
    }

    /// Finds out what pulls the trigger of the timer that is known.
    fn pull(&mut self) {
        let by_name = self.protocol.is_some();
        self.trigger = self.pulse.map_or((Trigger::Undetermined, Clock::Beat), |p| self.gaps.trigger(p, by_name));
    }

    /// What restarts the timer and how long it runs, seconds; `None` while none shows.
    #[must_use]
    pub fn timer(&self) -> Option<(Clock, f32)> {
        self.pulse.map(|p| (self.trigger.1, p.period))
    }

    /// Since when the timer runs without a beat, and its period in seconds.
    fn running(&self, activity: &Activity) -> Option<(Time, f32)> {
        let (clock, period) = self.timer()?;
        let since = match clock {
            Clock::Beat => None,
            Clock::Sent => activity.last(self.from),
            Clock::Heard => activity.last(self.from.peer()),
            Clock::Any => activity.last(self.from).max(activity.last(self.from.peer())),
        };
        Some((since.unwrap_or(self.last).max(self.last), period))
    }

    /// Beats due since the last one that had not come by `now`: a beat is missed half a period after it was due.
    fn overdue(&self, now: Time, activity: &Activity) -> u64 {
        let Some((since, period)) = self.running(activity) else { return 0 };
        // The cast saturates.
        (now.since(since) as f32 / SECOND as f32 / period - 0.5).max(0.0) as u64
    }

    /// When to ask [`Track::tell_missed`] again.
    #[must_use]
    pub fn due(&self) -> Time {
        self.due
    }

    /// Tells the beats that fell due by `now` and were not told; the time of each is when it was due.
    pub fn tell_missed(&mut self, now: Time, activity: &Activity, ear: &mut Ear, tells: bool) {
        if now < self.due {
            return;
        }
        self.due = Time(i64::MAX);
        let Some((since, period)) = self.running(activity) else { return };
        let after = |periods: f64| since.plus(nanos(f64::from(period) * periods));
        let overdue = self.overdue(now, activity).min(MOST_TOLD.into()) as u8;
        while self.told < overdue {
            self.told += 1;
            let time = after(f64::from(self.told));
            let kind = EventKind::HeartbeatMissed { protocol: self.protocol };
            if tells {
                ear.hear(Heard { time, frame: None, from: self.from, kind });
            }
        }
        if self.told < MOST_TOLD {
            self.due = after(f64::from(self.told) + 1.5);
        }
    }

    /// How sure it is that this is what it is reported as, 0 to 1: the share of gaps that its timer explains, less while
    /// beats are few.
    fn confidence(&self) -> f64 {
        let few = f64::from(self.count) / (f64::from(self.count) + 2.0);
        match (self.protocol, self.pulse) {
            (Some(_), _) => few.max(0.9),
            (None, Some(p)) => f64::from(p.share) * few * (1.0 - p.chance),
            (None, None) => 0.0,
        }
    }

    /// What is known at `now`; `sample` is the first bytes of a beat.
    #[must_use]
    pub fn summary(&self, now: Time, activity: &Activity, declared_s: Option<f64>, sample: &[u8]) -> HeartbeatSummary {
        let (trigger, clock) = self.trigger;
        let clock = if trigger == Trigger::Fixed { Clock::Beat } else { clock };
        HeartbeatSummary {
            from: self.from,
            protocol: self.protocol,
            kind: self.kind,
            mode: self.mode,
            trigger,
            declared_s,
            count: self.count.into(),
            replies: self.replies.into(),
            missed: u64::from(self.missed).saturating_add(self.overdue(now, activity)),
            payload_len: self.len,
            sample: sample.to_vec(),
            interval: self.gaps.interval(clock),
            confidence: self.confidence(),
            first: self.first,
            last: self.last,
            last_reply: self.last_reply.get(),
        }
    }
}
