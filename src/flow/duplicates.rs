//! Frames captured twice: the same frame on two interfaces, `-i any`, a mirror port, a routed copy.

use crate::packet::{MILLISECOND, Segment, Time};
use crate::summary::Side;

/// A copy follows its original within this. Copies come microseconds apart; a slow router or a mirror port may take tens
/// of milliseconds, while a stack waits 200 ms and more before it resends (RFC 6298 §2.4, Linux TCP_RTO_MIN).
const COPY_WINDOW: i64 = 100 * MILLISECOND;
/// The same in the units of [`ticks`].
const COPY_TICKS: i64 = COPY_WINDOW >> 16;

/// Segments remembered for one flow: copies may be interleaved with the segments next to them.
const REMEMBERED: usize = 4;

/// Header fields of a flow's last segments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recent {
    /// The newest first: fingerprint in the upper 24 bits, the way it came (interface, link header, hops) in the lower 8;
    /// 0 where there was none.
    seen: [u32; REMEMBERED],
    /// When the newest was seen.
    newest: u32,
    /// How long before the one after it each of the others was seen; two seconds and more are one.
    gaps: [i16; REMEMBERED - 1],
}

/// Time in units of 65 µs, modulo 2^32 (78 hours).
fn ticks(time: Time) -> u32 {
    (time.0 >> 16) as u32
}

impl Recent {
    /// Whether this segment is a copy of one of the last; if not, it is remembered.
    ///
    /// Segments with an identity (an IPv4 identification, or timestamps on bytes that take sequence space) are copies
    /// when all headers agree. Others, such as bare acknowledgments over IPv6, must also have come another way.
    #[inline]
    pub fn is_copy(&mut self, from: Side, s: &Segment<'_>) -> bool {
        const K: u64 = 0x9E37_79B9_7F4A_7C15;
        let (tsval, tsecr) = s.options.timestamps.unwrap_or_default();
        let mut h = (u64::from(s.seq) << 32) | u64::from(s.ack);
        h = (h ^ ((u64::from(tsval) << 32) | u64::from(tsecr))).wrapping_mul(K);
        h = (h.rotate_left(29) ^ ((u64::from(s.payload_len) << 32) | (u64::from(s.window) << 16) | u64::from(s.ip_id)))
            .wrapping_mul(K);
        h = (h.rotate_left(29) ^ ((u64::from(s.flags.0) << 1) | from as u64)).wrapping_mul(K);
        let way =
            (s.link_digest ^ (s.link_digest >> 16) ^ (s.link_digest >> 8) ^ u32::from(s.ttl).wrapping_mul(37)) & 0xff;
        let mark = ((h >> 32) as u32 & !0xff) | way;
        let now = ticks(s.time);
        let takes_space = s.payload_len > 0 || s.flags.syn() || s.flags.fin();
        let identity = s.ip_id != 0 || (s.options.timestamps.is_some() && takes_space);
        let since = i64::from(now.wrapping_sub(self.newest) as i32);
        // Most often the last one was long ago, and those before it longer; else most often none is like this one.
        let alike = self.seen.iter().fold(false, |any, seen| any | ((seen ^ mark) & !0xff == 0));
        if since <= COPY_TICKS && alike && self.holds(mark, identity, since) {
            return true;
        }
        let ([newest, second, third, _], [to_second, to_third, _]) = (self.seen, self.gaps);
        self.seen = [mark, newest, second, third];
        self.gaps = [since.clamp(i16::MIN.into(), i16::MAX.into()) as i16, to_second, to_third];
        self.newest = now;
        false
    }

    /// Forgets them, and keeps a time in their place: once no segment can come, none is a copy.
    pub fn give_way(&mut self, to: Time) {
        (self.seen[0], self.seen[1]) = (to.0 as u32, (to.0 >> 32) as u32);
    }

    /// The time that they gave way to.
    #[must_use]
    pub fn gave_way(&self) -> Time {
        Time((u64::from(self.seen[1]) << 32 | u64::from(self.seen[0])) as i64)
    }

    /// Whether one of those seen is the original of this one, which comes so long after the newest of them.
    fn holds(&self, mark: u32, identity: bool, since: i64) -> bool {
        let mut age = since;
        self.seen.iter().zip(std::iter::once(0).chain(self.gaps)).any(|(&seen, gap)| {
            age += i64::from(gap);
            let alike = (seen ^ mark) & !0xff == 0 && seen != 0;
            alike && (identity || (seen ^ mark) & 0xff != 0) && age <= COPY_TICKS
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_is_kept_in_the_place_of_the_last_segments() {
        for time in [0, -1, 1_700_000_000_123_456_789, i64::MIN, i64::MAX] {
            let mut recent = Recent::default();
            recent.give_way(Time(time));
            assert_eq!(recent.gave_way(), Time(time));
        }
    }
}
