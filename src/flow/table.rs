//! Finding the flow of a segment: an open-addressing index over flows, which move only when some are dropped.

use super::prefetch::prefetch;
use crate::packet::{Address, Endpoint};
use crate::summary::Side;

/// What is stored for a flow; only its ends are asked for.
pub trait Keyed {
    /// The two ends, in any order.
    fn ends(&self) -> (Endpoint, Endpoint);

    /// Which of its sides sent from `src` to `dst`, if these are its ends.
    fn sender(&self, src: &Endpoint, dst: &Endpoint) -> Option<Side>;
}

/// Flows a chunk holds. Chunks are not moved, so growing costs no copy of a million flows.
const CHUNK: usize = 1 << 10;
/// The new number of a flow that is no more.
pub const GONE: u32 = u32::MAX;
/// Flows between one that is visited and one whose parts are asked for.
const AHEAD: usize = 8;
/// Marks an empty slot.
const EMPTY: u64 = 0;

/// All flows, and for each pair of ends the newest.
#[derive(Debug)]
pub struct Table<F> {
    chunks: Vec<Vec<F>>,
    /// Hash in the upper 32 bits, flow number + 1 in the lower; `EMPTY` where free. Linear probing; at most 3/4 full, and
    /// at least half once it has grown.
    slots: Vec<u64>,
    used: usize,
    /// How often flows were replaced or dropped, modulo 2^32.
    changes: u32,
}

/// What was found under a hash: the flow sought, all but surely, and in any case only until flows are replaced or dropped.
#[derive(Clone, Copy, Debug)]
pub struct Likely {
    /// [`GONE`] if nothing was found.
    number: u32,
    changes: u32,
}

impl Default for Likely {
    fn default() -> Self {
        Likely { number: GONE, changes: 0 }
    }
}

impl<F> Default for Table<F> {
    fn default() -> Self {
        Table { chunks: Vec::new(), slots: vec![EMPTY; 1 << 10], used: 0, changes: 0 }
    }
}

/// The first of so many slots for a hash. What the highest bits are is left to others, who divide the flows by them.
#[inline]
fn place(hash: u32, slots: usize) -> usize {
    ((u64::from(hash.rotate_left(16)) * slots as u64) >> 32) as usize
}

/// The slot after this one.
#[inline]
fn next(at: usize, slots: usize) -> usize {
    if at + 1 < slots { at + 1 } else { 0 }
}

/// The same for both directions of a connection.
#[inline]
#[must_use]
pub fn hash(a: &Endpoint, b: &Endpoint) -> u32 {
    const K: u64 = 0x9E37_79B9_7F4A_7C15;
    let one = |e: &Endpoint| {
        let Address { upper, lower } = e.address;
        (upper ^ lower.rotate_left(32) ^ u64::from(e.port)).wrapping_mul(K)
    };
    let (x, y) = (one(a), one(b));
    let mixed = (x ^ (x >> 29)).wrapping_add(y ^ (y >> 29)).wrapping_mul(K);
    (mixed >> 32) as u32
}

impl<F: Keyed> Table<F> {
    /// How many flows there are, replaced ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The newest flow between these ends, and which side of it sent from `src` to `dst`.
    #[must_use]
    pub fn find(&self, hash: u32, src: &Endpoint, dst: &Endpoint) -> Option<(usize, Side)> {
        self.slot(hash, src, dst).ok().map(|(at, from)| ((self.slots[at] as u32 - 1) as usize, from))
    }

    /// The same, where this was found under the hash before.
    #[inline]
    #[must_use]
    pub fn find_likely(&self, likely: Likely, hash: u32, src: &Endpoint, dst: &Endpoint) -> Option<(usize, Side)> {
        let sure = |flow: &F| flow.sender(src, dst).map(|from| (likely.number as usize, from));
        self.likely_flow(likely).and_then(sure).or_else(|| self.find(hash, src, dst))
    }

    /// The slot of these ends, or the free one where they belong.
    #[inline(never)]
    fn slot(&self, hash: u32, src: &Endpoint, dst: &Endpoint) -> Result<(usize, Side), usize> {
        let mut at = place(hash, self.slots.len());
        loop {
            let slot = self.slots[at];
            if slot == EMPTY {
                return Err(at);
            }
            if (slot >> 32) as u32 == hash
                && let Some(from) = self.get((slot as u32 - 1) as usize).sender(src, dst)
            {
                return Ok((at, from));
            }
            at = next(at, self.slots.len());
        }
    }

    /// Asks for the index's slots for a hash.
    #[inline]
    pub fn prefetch(&self, hash: u32) {
        prefetch(&self.slots[place(hash, self.slots.len())]);
    }

    /// The first flow under this hash.
    #[inline]
    #[must_use]
    pub fn likely(&self, hash: u32) -> Likely {
        let mut at = place(hash, self.slots.len());
        loop {
            let slot = self.slots[at];
            if slot == EMPTY || (slot >> 32) as u32 == hash {
                // One less than nothing is GONE.
                return Likely { number: (slot as u32).wrapping_sub(1), changes: self.changes };
            }
            at = next(at, self.slots.len());
        }
    }

    /// For who visits all flows in order and is at `number`: asks for one further on, and lets `parts` ask for what belongs
    /// to one that was asked for before.
    #[inline]
    pub fn prefetch_next(&self, number: usize, parts: impl FnOnce(&F)) {
        let get = |number: usize| self.chunks.get(number / CHUNK).and_then(|chunk| chunk.get(number % CHUNK));
        if let Some(flow) = get(number + 2 * AHEAD) {
            prefetch(flow);
        }
        if let Some(flow) = get(number + AHEAD) {
            parts(flow);
        }
    }

    /// The flow that was found, unless flows were replaced or dropped since.
    #[inline]
    #[must_use]
    pub fn likely_flow(&self, Likely { number, changes }: Likely) -> Option<&F> {
        (number != GONE && changes == self.changes).then(|| self.get(number as usize))
    }

    /// Adds a flow, the newest between its ends from now on; gives its number.
    pub fn insert(&mut self, hash: u32, flow: F) -> usize {
        let number = self.len();
        let (a, b) = flow.ends();
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let at = match self.slot(hash, &a, &b) {
            Ok((at, _)) => {
                self.changes = self.changes.wrapping_add(1);
                at
            }
            Err(free) => {
                self.used += 1;
                free
            }
        };
        self.slots[at] = (u64::from(hash) << 32) | (number as u64 + 1);
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(flow),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(flow);
                self.chunks.push(chunk);
            }
        }
        number
    }

    /// Half as many slots again: with twice as many a million flows would leave eight megabytes empty.
    fn grow(&mut self) {
        let slots = self.slots.len() / 2 * 3;
        for entry in std::mem::replace(&mut self.slots, vec![EMPTY; slots]) {
            if entry != EMPTY {
                let mut at = place((entry >> 32) as u32, slots);
                while self.slots[at] != EMPTY {
                    at = next(at, slots);
                }
                self.slots[at] = entry;
            }
        }
    }

    /// Flow `number`.
    #[inline]
    #[must_use]
    pub fn get(&self, number: usize) -> &F {
        &self.chunks[number / CHUNK][number % CHUNK]
    }

    /// How many flows come before the first for which `before` does not hold; those for which it holds come first.
    #[must_use]
    pub fn partition_point(&self, before: impl Fn(&F) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if before(self.get(middle)) { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Flow `number`, to change.
    #[inline]
    pub fn get_mut(&mut self, number: usize) -> &mut F {
        &mut self.chunks[number / CHUNK][number % CHUNK]
    }

    /// Drops the flows that `keep` refuses; the others move up and keep their order. Gives each flow's new number by its
    /// old one, [`GONE`] for those dropped.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut F) -> bool) -> Vec<u32> {
        let mut moved = Vec::with_capacity(self.len());
        self.changes = self.changes.wrapping_add(1);
        self.slots.fill(EMPTY);
        self.used = 0;
        // Chunk by chunk: an old one is freed before the next new one is needed.
        for mut flow in std::mem::take(&mut self.chunks).into_iter().flatten() {
            moved.push(if keep(&mut flow) {
                let (a, b) = flow.ends();
                self.insert(hash(&a, &b), flow) as u32
            } else {
                GONE
            });
        }
        moved
    }

    /// All flows in order of insertion.
    pub fn iter(&self) -> impl Iterator<Item = &F> {
        self.chunks.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair(Endpoint, Endpoint, u32);
    impl Keyed for Pair {
        fn ends(&self) -> (Endpoint, Endpoint) {
            (self.0, self.1)
        }
        fn sender(&self, src: &Endpoint, dst: &Endpoint) -> Option<Side> {
            if (self.0, self.1) == (*src, *dst) {
                Some(Side::Client)
            } else {
                ((self.1, self.0) == (*src, *dst)).then_some(Side::Server)
            }
        }
    }

    fn end(i: u32) -> Endpoint {
        Endpoint { address: Address::v4(i.to_be_bytes()), port: (i % 7) as u16 }
    }

    #[test]
    fn both_directions_find_the_newest_of_a_hundred_thousand() {
        let mut table = Table::default();
        let server = end(0x0a00_0001);
        for round in 0..2 {
            for i in 0..100_000 {
                let (a, b) = (end(i), server);
                table.insert(hash(&a, &b), Pair(a, b, round));
            }
        }
        assert_eq!(table.len(), 200_000);
        for i in 0..100_000 {
            let (a, b) = (end(i), server);
            assert_eq!(hash(&a, &b), hash(&b, &a));
            let found = table.find(hash(&a, &b), &b, &a).map(|(n, from)| (table.get(n).2, from));
            assert_eq!(found, Some((1, Side::Server)));
        }
        assert_eq!(table.find(hash(&end(200_000), &server), &end(200_000), &server), None);
    }

    #[test]
    fn what_is_retained_is_found_under_its_new_number() {
        let mut table = Table::default();
        let server = end(0x0a00_0001);
        // Twice between the same ends, so that the newest is the one that matters.
        for round in 0..2 {
            for i in 0..5_000 {
                table.insert(hash(&end(i), &server), Pair(end(i), server, round * 5_000 + i));
            }
        }
        let moved = table.retain(|pair| pair.2 % 3 == 0);
        assert_eq!(table.len(), 3_334);
        for (old, new) in moved.iter().enumerate() {
            if old % 3 == 0 {
                assert_eq!(table.get(*new as usize).2, old as u32);
            } else {
                assert_eq!(*new, GONE);
            }
        }
        for i in 0..5_000 {
            let newest = [i + 5_000, i].into_iter().find(|n| n % 3 == 0);
            let found = table.find(hash(&end(i), &server), &server, &end(i)).map(|(n, _)| table.get(n).2);
            assert_eq!(found, newest);
        }
    }
}
