//! IP fragments put together (RFC 791 §3.2, RFC 8200 §4.5, RFC 5722), within bounds.
//!
//! A fragment that repeats one that is here is dropped. One that overlaps others in part, or contradicts the datagram's
//! end, costs the whole datagram, as it does in Linux (`inet_frag_queue_insert`): what the receiver made of it is not
//! known. Only captured bytes are held, but lengths are those of the wire, so fragments that a snaplen cut make a
//! datagram of full length of which the beginning is there.

use std::collections::{BTreeMap, HashMap};

use etherparse::IpNumber;

use crate::packet::{Address, Nanos, SECOND, Skip, Time};

use super::network::{self, Datagram, Fragment, Header};
use super::part::Part;

/// How many datagrams may wait for fragments at a time. Beyond, the oldest goes.
const MAX_DATAGRAMS: usize = 4096;
/// How many bytes they may hold, bookkeeping included. Beyond, the oldest goes.
const MAX_BYTES: usize = 8 << 20;
/// How long a datagram may wait for its rest: Linux's `ipfrag_time`.
const MAX_AGE: Nanos = 30 * SECOND;
/// What a datagram and a fragment cost besides the fragment's bytes, as the caps count it.
const DATAGRAM_COST: usize = 256;
const FRAGMENT_COST: usize = 96;
/// The longest payload of a datagram that may be fragmented (RFC 791 §3.1).
const MAX_PAYLOAD: usize = 65_535;

/// What became of fragmented datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCounts {
    /// Put together.
    pub reassembled: u64,
    /// Dropped because fragments overlapped or disagreed on the datagram's end.
    pub overlapping: u64,
    /// Given up incomplete, for their age.
    pub expired: u64,
    /// Given up incomplete, for want of memory.
    pub evicted: u64,
}

/// All fragments of one datagram have this in common; copies seen at two points of its way are two datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    src: Address,
    dst: Address,
    id: u32,
    /// In IPv4 part of the key; in IPv6 the first fragment tells it.
    protocol: Option<IpNumber>,
    digest: u32,
}

/// A datagram that waits for its rest.
#[derive(Debug)]
struct Pending {
    key: Key,
    born: Time,
    /// By their place in the datagram; they do not overlap.
    pieces: BTreeMap<usize, Piece>,
    /// Of the fragment at place 0.
    header: Option<Header>,
    /// The length, once the last fragment is here.
    len: Option<usize>,
    /// How many bytes of it are here, counted as on the wire.
    received: usize,
    /// What it counts against the cap.
    cost: usize,
}

#[derive(Debug)]
struct Piece {
    end: usize,
    captured: Box<[u8]>,
}

/// A datagram put together.
#[derive(Debug)]
pub(super) struct Whole {
    header: Header,
    captured: Vec<u8>,
    len: usize,
}

impl Whole {
    /// As if it had come in one packet.
    pub fn datagram(&self) -> Result<Datagram<'_>, Skip> {
        network::whole(self.header, Part::new(&self.captured, self.len))
    }
}

/// What adding a fragment came to.
enum Added {
    Kept,
    Repeated,
    Contradicts,
    Complete,
}

/// The fragments that wait.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    /// By age: the numbers ascend.
    pending: BTreeMap<u64, Pending>,
    numbers: HashMap<Key, u64>,
    next: u64,
    bytes: usize,
    pub counts: FragmentCounts,
}

impl Fragments {
    /// Takes one fragment; gives the datagram if it was the last missing.
    ///
    /// # Errors
    /// [`Skip::Fragment`] while others are missing, [`Skip::Malformed`] for a fragment that cannot be.
    pub fn add(&mut self, header: Header, fragment: Fragment, payload: Part<'_>, now: Time) -> Result<Whole, Skip> {
        let end = payload.len.saturating_add(fragment.offset);
        if payload.len == 0 || end > MAX_PAYLOAD || fragment.more && !payload.len.is_multiple_of(8) {
            return Err(Skip::Malformed);
        }
        // One more header around the datagram, so that tunnels of fragments of tunnels come to an end.
        let header = Header { way: header.way.deeper()?, ..header };
        self.expire(now);
        let v4 = header.src.is_v4();
        let key = Key {
            src: header.src,
            dst: header.dst,
            id: fragment.id,
            protocol: v4.then_some(header.protocol),
            digest: header.way.digest(),
        };
        let number = *self.numbers.entry(key).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        let pending = self.pending.entry(number).or_insert_with(|| {
            self.bytes += DATAGRAM_COST;
            Pending {
                key,
                born: now,
                pieces: BTreeMap::new(),
                header: None,
                len: None,
                received: 0,
                cost: DATAGRAM_COST,
            }
        });
        let before = pending.cost;
        let added = pending.add(header, fragment, payload, end);
        self.bytes += pending.cost - before;
        match added {
            Added::Kept => self.evict(),
            Added::Repeated => {}
            Added::Contradicts => {
                self.remove(number);
                self.counts.overlapping += 1;
            }
            Added::Complete => {
                if let Some(whole) = self.remove(number).and_then(Pending::whole) {
                    self.counts.reassembled += 1;
                    return Ok(whole);
                }
            }
        }
        Err(Skip::Fragment)
    }

    /// Drops what is too old at `now`.
    fn expire(&mut self, now: Time) {
        while let Some((&number, oldest)) = self.pending.first_key_value()
            && now.since(oldest.born) > MAX_AGE
        {
            self.remove(number);
            self.counts.expired += 1;
        }
    }

    /// Drops the oldest until the rest is within the caps.
    fn evict(&mut self) {
        while (self.pending.len() > MAX_DATAGRAMS || self.bytes > MAX_BYTES)
            && let Some((&number, _)) = self.pending.first_key_value()
        {
            self.remove(number);
            self.counts.evicted += 1;
        }
    }

    fn remove(&mut self, number: u64) -> Option<Pending> {
        let pending = self.pending.remove(&number)?;
        self.numbers.remove(&pending.key);
        self.bytes -= pending.cost;
        Some(pending)
    }
}

impl Pending {
    fn add(&mut self, header: Header, fragment: Fragment, payload: Part<'_>, end: usize) -> Added {
        let start = fragment.offset;
        if let Some((_, before)) = self.pieces.range(..=start).next_back()
            && before.end > start
        {
            return if before.end >= end { Added::Repeated } else { Added::Contradicts };
        }
        let overlaps_next = self.pieces.range(start..).next().is_some_and(|(&next, _)| next < end);
        let beyond_end = self.len.is_some_and(|len| end > len || !fragment.more);
        let ends_before = !fragment.more && self.pieces.last_key_value().is_some_and(|(_, last)| last.end > end);
        if overlaps_next || beyond_end || ends_before {
            return Added::Contradicts;
        }
        if start == 0 {
            self.header = Some(header);
        }
        if !fragment.more {
            self.len = Some(end);
        }
        self.received += end - start;
        self.cost += FRAGMENT_COST + payload.captured.len();
        self.pieces.insert(start, Piece { end, captured: payload.captured.into() });
        if self.len == Some(self.received) { Added::Complete } else { Added::Kept }
    }

    /// What was captured of the datagram without a gap.
    fn whole(self) -> Option<Whole> {
        let mut captured = Vec::with_capacity(self.received);
        for (start, piece) in self.pieces {
            if captured.len() < start {
                break;
            }
            captured.extend_from_slice(&piece.captured);
        }
        Some(Whole { header: self.header?, captured, len: self.len? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::part::Way;
    use super::*;

    fn header(src: u32) -> Header {
        let [src, dst] = [src, 1].map(|n: u32| Address::v4(n.to_be_bytes()));
        Header { src, dst, id: 0, ttl: 64, protocol: IpNumber::TCP, way: Way::new(0) }
    }

    /// What is held, by its parts rather than by the running count.
    fn held(fragments: &Fragments) -> usize {
        let bytes = |pending: &Pending| {
            DATAGRAM_COST + pending.pieces.values().map(|piece| FRAGMENT_COST + piece.captured.len()).sum::<usize>()
        };
        fragments.pending.values().map(bytes).sum()
    }

    #[test]
    fn a_flood_of_half_open_datagrams_stays_within_the_caps() {
        for (size, datagrams, pieces) in [(8, 20_000, 1), (1480, 20_000, 1), (32_000, 600, 2), (8, 20, 4000)] {
            let payload = vec![0; size];
            let mut fragments = Fragments::default();
            for src in 0..datagrams {
                for piece in 0..pieces {
                    // The first fragment is never there.
                    let fragment = Fragment { id: 7, offset: 8 + piece * size, more: true };
                    let added = fragments.add(header(src), fragment, Part::new(&payload, size), Time(0));
                    assert_eq!(added.err(), Some(Skip::Fragment));
                    assert!(fragments.pending.len() <= MAX_DATAGRAMS && fragments.bytes <= MAX_BYTES);
                }
                assert_eq!(fragments.numbers.len(), fragments.pending.len());
            }
            assert_eq!(fragments.bytes, held(&fragments));
            assert_eq!(fragments.counts.evicted + fragments.pending.len() as u64, u64::from(datagrams));
            // Those that are left are the newest.
            let oldest = fragments.pending.values().next().map(|pending| pending.key.src);
            assert_eq!(oldest, Some(header(datagrams - fragments.pending.len() as u32).src));
        }
    }

    #[test]
    fn nothing_is_left_of_datagrams_that_are_done() {
        let payload = [0; 16];
        let mut fragments = Fragments::default();
        let mut add = |src, offset, more| {
            fragments.add(header(src), Fragment { id: 7, offset, more }, Part::new(&payload, 16), Time(0)).is_ok()
        };
        assert!(!add(1, 16, false));
        assert!(add(1, 0, true), "complete");
        assert!(!add(2, 0, true));
        assert!(!add(2, 8, true), "overlaps");
        assert!(!add(3, 32, true));
        assert!(!add(3, 16, false), "ends before another");
        assert!(!add(4, 16, false));
        assert!(!add(4, 48, true), "begins after the end");
        assert_eq!((fragments.pending.len(), fragments.numbers.len(), fragments.bytes), (0, 0, 0));
        let counts = FragmentCounts { reassembled: 1, overlapping: 3, ..FragmentCounts::default() };
        assert_eq!(fragments.counts, counts);
    }
}
