//! Frames captured twice: the same frame on two interfaces, `-i any`, a mirror port, a routed copy.

use super::prefetch::prefetch;
use crate::packet::{MILLISECOND, Segment, Time};

/// A copy follows its original within this. Copies come microseconds apart; a slow router or a mirror port may take tens
/// of milliseconds, while a stack waits 200 ms and more before it resends (RFC 6298 §2.4, Linux TCP_RTO_MIN).
const COPY_WINDOW: i64 = 100 * MILLISECOND;
/// The same in the units of [`seen`].
const COPY_TICKS: i32 = (COPY_WINDOW >> TICK_BITS) as i32;
/// Nanoseconds of a tick, as a power of two: 65 µs.
const TICK_BITS: u32 = 16;

/// Copies may be interleaved with the segments next to them: an original is one of this many segments of its flow.
const REMEMBERED: u32 = 4;

/// Segments in a bucket: what the hash of one is compared with.
const WAYS: usize = 8;
/// Buckets at first: as many as the part of a hash tells apart that is not kept.
const FEWEST_BUCKETS: usize = 1 << 8;
/// Buckets at most, 4 MB: enough for a million segments a second. With more segments, or less room, a copy may be missed whose
/// bucket has seen as many others since as it holds.
const MOST_BUCKETS: usize = 1 << 16;

/// The segments of all flows in the last tenth of a second, to know copies by. With their memory apart, a million idle flows
/// need none.
#[derive(Debug)]
pub struct Recent {
    /// A power of two of them. Which one is a segment's is said by the lowest bits of its hash: those that are not kept, and
    /// where there are more than at first some that are.
    buckets: Vec<Bucket>,
    /// How many there may be.
    most: usize,
}

/// Segments with some bits of their hashes in common, the newest first; a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Bucket {
    /// A hash of the header fields in the upper 24 bits, the way it came (interface, link header, hops) in the lower 8.
    marks: [u32; WAYS],
    /// When it was seen, in units of 65 µs modulo 18 minutes, in the upper 24 bits; how many segments its flow had had, in
    /// the lower 8. Both are 0 where there was none.
    seen: [u32; WAYS],
}

/// What tells a segment from others, and its bucket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    /// As in [`Bucket::marks`].
    kept: u32,
    /// The hash, of which that is a part.
    hash: u32,
}

impl Mark {
    /// Of a segment whose ends have this hash.
    #[inline]
    #[must_use]
    pub fn new(ends: u32, s: &Segment<'_>) -> Self {
        const K: u64 = 0x9E37_79B9_7F4A_7C15;
        let pair = |upper: u32, lower: u32| (u64::from(upper) << 32) | u64::from(lower);
        let mix = |a: u64, b: u64| {
            let product = u128::from(a ^ K) * u128::from(b ^ K.rotate_left(32));
            (product >> 64) as u64 ^ product as u64
        };
        let (tsval, tsecr) = s.options.timestamps.unwrap_or_default();
        // The sender's port tells the directions apart.
        let sender = pair(ends, (u32::from(s.src.port) << 8) | u32::from(s.flags.0));
        let rest = pair(s.payload_len, (u32::from(s.window) << 16) | u32::from(s.ip_id));
        let hash = (mix(pair(s.seq, s.ack), pair(tsval, tsecr)) ^ mix(sender, rest)).wrapping_mul(K);
        let way = (s.link_digest ^ u32::from(s.ttl)).wrapping_mul(K as u32) >> 24;
        let hash = (hash >> 32) as u32;
        Mark { kept: (hash & !0xff) | way, hash }
    }

    /// The place of its bucket among so many.
    #[inline]
    fn place(self, buckets: usize) -> usize {
        self.hash as usize & (buckets - 1)
    }
}

/// Whether one that was seen before can be the original of one seen now. The clocks of two interfaces differ.
#[inline]
fn is_soon_after(now: u32, earlier: u32) -> bool {
    let age = ((now & !0xff).wrapping_sub(earlier & !0xff) as i32) >> 8;
    (-COPY_TICKS..=COPY_TICKS).contains(&age)
}

/// As in [`Bucket::seen`].
#[inline]
fn seen(time: Time, nth: u32) -> u32 {
    ((time.0 >> TICK_BITS) as u32) << 8 | nth & 0xff
}

impl Default for Recent {
    fn default() -> Self {
        Recent { buckets: vec![Bucket::default(); FEWEST_BUCKETS], most: MOST_BUCKETS }
    }
}

impl Recent {
    /// One that takes no more than so many bytes, or 16 KB if they are less.
    #[must_use]
    pub fn within(bytes: usize) -> Self {
        let room = (bytes / size_of::<Bucket>()).clamp(FEWEST_BUCKETS, MOST_BUCKETS);
        Recent { most: 1 << room.ilog2(), ..Recent::default() }
    }

    /// Asks for what is compared with a segment.
    #[inline]
    pub fn prefetch(&self, mark: Mark) {
        prefetch(&self.buckets[mark.place(self.buckets.len())]);
    }

    /// Whether this segment, of a flow that has had so many, is a copy of one of its last; if not, it is remembered.
    ///
    /// Segments with an identity (an IPv4 identification, or timestamps on bytes that take sequence space) are copies
    /// when all headers agree. Others, such as bare acknowledgments over IPv6, must also have come another way.
    #[inline]
    pub fn is_copy(&mut self, mark: Mark, nth: u32, s: &Segment<'_>) -> bool {
        let place = mark.place(self.buckets.len());
        let bucket = &mut self.buckets[place];
        if bucket.may_hold(mark) {
            let takes_space = s.payload_len > 0 || s.flags.syn() || s.flags.fin();
            let identity = s.ip_id != 0 || (s.options.timestamps.is_some() && takes_space);
            if bucket.holds(mark, seen(s.time, nth), identity) {
                return true;
            }
            bucket.forget(mark);
        }
        self.add(mark, nth, s);
        false
    }

    /// Remembers a segment without asking.
    #[inline]
    pub fn add(&mut self, mark: Mark, nth: u32, s: &Segment<'_>) {
        let seen = seen(s.time, nth);
        if self.buckets[mark.place(self.buckets.len())].is_full(seen) {
            self.make_room(mark, seen);
        }
        let at = mark.place(self.buckets.len());
        self.buckets[at].push(mark.kept, seen);
    }

    /// What may be copied yet is not pushed out while there can be more room.
    #[inline(never)]
    fn make_room(&mut self, mark: Mark, seen: u32) {
        while self.buckets[mark.place(self.buckets.len())].is_full(seen) && self.buckets.len() < self.most {
            self.grow();
        }
    }

    /// Makes two buckets of each.
    #[inline(never)]
    fn grow(&mut self) {
        let half = self.buckets.len();
        self.buckets.reserve_exact(half);
        for at in 0..half {
            let old = std::mem::take(&mut self.buckets[at]);
            let mut upper = Bucket::default();
            // The oldest first, so that the order stays.
            for (mark, seen) in old.marks.into_iter().zip(old.seen).rev().filter(|kept| *kept != (0, 0)) {
                if mark as usize & half != 0 { &mut upper } else { &mut self.buckets[at] }.push(mark, seen);
            }
            self.buckets.push(upper);
        }
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }
}

impl Bucket {
    /// Whether one of those seen is like this one, but for the way; most often none is.
    #[inline]
    fn may_hold(&self, new: Mark) -> bool {
        self.marks.iter().fold(false, |any, mark| any | ((mark ^ new.kept) & !0xff == 0))
    }

    /// Whether one of those seen is the original of this one.
    fn holds(&self, new: Mark, now: u32, identity: bool) -> bool {
        self.marks.iter().zip(self.seen).any(|(&mark, seen)| {
            let alike = (mark ^ new.kept) & !0xff == 0 && (identity || mark != new.kept);
            alike && now.wrapping_sub(seen) & 0xff <= REMEMBERED && is_soon_after(now, seen)
        })
    }

    /// Whether the next one would take the place of one that may be copied yet.
    #[inline]
    fn is_full(&self, now: u32) -> bool {
        let (mark, seen) = (self.marks[WAYS - 1], self.seen[WAYS - 1]);
        (mark, seen) != (0, 0) && is_soon_after(now, seen)
    }

    /// Forgets the segment with this mark, if there is one: the next like it stands for both, so that a storm of one and
    /// the same takes no more room than one.
    fn forget(&mut self, mark: Mark) {
        if let Some(at) = self.marks.iter().position(|known| *known == mark.kept) {
            self.marks.copy_within(at + 1.., at);
            self.seen.copy_within(at + 1.., at);
            (self.marks[WAYS - 1], self.seen[WAYS - 1]) = (0, 0);
        }
    }

    #[inline]
    fn push(&mut self, mark: u32, seen: u32) {
        self.marks.copy_within(..WAYS - 1, 1);
        self.seen.copy_within(..WAYS - 1, 1);
        (self.marks[0], self.seen[0]) = (mark, seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(seq: u32, micros: i64) -> Segment<'static> {
        Segment { time: Time(micros * 1000), seq, ip_id: 7, ..Segment::ACK }
    }

    impl Recent {
        fn copy(&mut self, ends: u32, nth: u32, s: &Segment<'_>) -> bool {
            self.is_copy(Mark::new(ends, s), nth, s)
        }
    }

    #[test]
    fn a_copy_comes_within_a_tenth_of_a_second_of_its_original() {
        let mut recent = Recent::default();
        let mut copies = |times: &[i64]| times.iter().map(|at| recent.copy(3, 1, &segment(9, *at))).collect::<Vec<_>>();
        // A copy does not make its original younger.
        assert_eq!(copies(&[1_000_000, 1_000_010, 1_090_000, 1_110_000]), [false, true, true, false]);
        // Across a step back of the clock nothing is a copy, but for what clocks differ by.
        assert_eq!(copies(&[1_100_000, 500_000, 500_100]), [true, false, true]);
    }

    #[test]
    fn a_copy_is_of_one_of_the_last_four_segments() {
        let mut recent = Recent::default();
        for nth in 0..600 {
            assert!(!recent.copy(3, nth, &segment(nth, 0)));
            assert!(nth < 4 || recent.copy(3, nth + 1, &segment(nth - 3, 10)), "{nth}");
            assert!(nth < 4 || !recent.copy(3, nth + 1, &segment(nth - 4, 10)), "{nth}");
        }
    }

    #[test]
    fn a_copy_has_the_same_ends_and_direction_and_without_identity_another_way() {
        let mut recent = Recent::default();
        let first = segment(9, 0);
        assert!(!recent.copy(3, 1, &first));
        assert!(!recent.copy(4, 1, &first));
        assert!(!recent.copy(3, 1, &Segment { src: first.dst, dst: first.src, ..first }));
        let nameless = Segment { ip_id: 0, ..first };
        assert!(!recent.copy(3, 2, &nameless) && !recent.copy(3, 3, &nameless));
        assert!(recent.copy(3, 4, &Segment { ttl: 63, ..nameless }));
    }

    #[test]
    fn all_segments_of_the_last_tenth_of_a_second_are_known_however_many() {
        let mut recent = Recent::default();
        for flow in 0..50_000 {
            assert!(!recent.copy(flow, flow, &segment(9, i64::from(flow))));
        }
        // Of so many, a pair or two may have the same hash of 32 bits: 50,000² / 2^33 is 0.3.
        let known = (0..50_000).filter(|flow| recent.copy(*flow, *flow, &segment(9, 50_000))).count();
        assert!(known >= 49_998, "{known}");
    }

    #[test]
    fn a_storm_of_one_segment_is_kept_once() {
        let mut recent = Recent::default();
        let nameless = |seq| Segment { ip_id: 0, ..segment(seq, 0) };
        for nth in 0..100_000 {
            assert!(!recent.copy(3, nth, &nameless(nth % 50)));
        }
        assert_eq!(recent.heap(), 16 << 10);
    }

    #[test]
    fn a_flood_takes_four_megabytes_at_most() {
        let mut recent = Recent::default();
        for flow in 0..2_000_000 {
            recent.copy(flow, 1, &segment(9, 0));
        }
        assert_eq!(recent.heap(), 4 << 20);
        assert!(recent.copy(1_999_999, 1, &segment(9, 0)));
    }

    #[test]
    fn a_flood_takes_no_more_than_it_may() {
        for (bytes, taken) in [(0, 16 << 10), (64 << 10, 64 << 10), (100 << 10, 64 << 10), (usize::MAX, 4 << 20)] {
            let mut recent = Recent::within(bytes);
            for flow in 0..1_000_000 {
                recent.copy(flow, 1, &segment(9, 0));
            }
            assert_eq!(recent.heap(), taken);
        }
    }

    #[test]
    fn few_segments_at_a_time_need_few_buckets() {
        let mut recent = Recent::default();
        for flow in 0..1_000_000 {
            recent.copy(flow, 1, &segment(9, i64::from(flow) * 2000));
        }
        assert_eq!(recent.heap(), 16 << 10);
    }
}
