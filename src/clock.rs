//! Whether the clock that stamped the packets ran evenly.

use crate::packet::{Nanos, SECOND, Time, seconds};
use crate::phrase::{count, duration};

/// A step back of up to this much is no step: packets of several interfaces or processors come a little out of order.
const SLACK: Nanos = SECOND;

/// Watches the times of packets in capture order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// The last packet's time, once there was one.
    last: Option<Time>,
    steps: u64,
    longest: Nanos,
}

impl Clock {
    /// The next packet's time.
    #[inline]
    pub fn shows(&mut self, now: Time) {
        if let Some(last) = self.last.replace(now)
            && last > now.plus(SLACK)
        {
            self.steps += 1;
            self.longest = self.longest.max(last.since(now));
        }
    }

    /// The last packet's time.
    #[must_use]
    pub fn now(&self) -> Option<Time> {
        self.last
    }

    /// What there is to say of it.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        (self.steps > 0).then(|| {
            format!(
                "Packet times step back {}, by up to {}: the clock was set, or the captures are not in order. Spans \
                 across such a step are not to be relied on.",
                count(self.steps, "time"),
                duration(seconds(self.longest))
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seconds: &[i64]) -> Option<String> {
        let mut clock = Clock::default();
        seconds.iter().for_each(|s| clock.shows(Time(s * SECOND)));
        clock.warning()
    }

    #[test]
    fn steps_back_are_told_with_the_longest() {
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[5]), None);
        assert_eq!(told(&[5, 6, 5, 100_000]), None);
        let warning = told(&[7200, 3600, 3601, 3591]).unwrap();
        assert!(warning.contains("2 times") && warning.contains("1 h"), "{warning}");
        assert!(told(&[0, i64::MAX / SECOND, i64::MIN / SECOND]).is_some());
    }
}
