//! Putting one side's stream in order once a segment is missing. While nothing is, the connection needs none of this.

use super::sequence::{after, distance};
use crate::packet::Time;

/// Segments held back for one side while earlier bytes are missing.
pub const MAX_PIECES: usize = 64;
/// Bytes held back for one side; past either cap the missing bytes are given up as lost to the capture.
pub const MAX_BYTES: usize = 64 * 1024;

/// What comes out of a stream, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The next bytes; `len` of them on the wire, `bytes` those captured.
    Data {
        /// The bytes captured.
        bytes: &'a [u8],
        /// How many there are on the wire.
        len: u32,
        /// The frame that carried them.
        frame: u64,
        /// When it was captured.
        time: Time,
    },
    /// The capture never saw the next `len` bytes.
    Gap {
        /// How many.
        len: u32,
    },
}

#[derive(Debug)]
struct Held {
    seq: u32,
    len: u32,
    bytes: Vec<u8>,
    frame: u64,
    time: Time,
}

/// A stream with a hole: the bytes behind it wait here.
#[derive(Debug)]
pub struct Holes {
    /// The first missing byte.
    next: u32,
    held: Vec<Held>,
    bytes: usize,
}

impl Holes {
    /// A stream whose byte `next` is missing.
    #[must_use]
    pub fn new(next: u32) -> Self {
        Holes { next, held: Vec::new(), bytes: 0 }
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap(&self) -> usize {
        self.held.capacity() * size_of::<Held>() + self.bytes
    }

    /// Whether nothing is missing any more.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether these bytes hold any that the capture has not shown yet.
    #[must_use]
    pub fn wants(&self, seq: u32, len: u32) -> bool {
        let end = seq.wrapping_add(len);
        after(end, self.next)
            && !self.held.iter().any(|h| distance(seq, h.seq) >= 0 && distance(h.seq.wrapping_add(h.len), end) >= 0)
    }

    /// Takes a segment's bytes. What comes first in the stream's order wins where segments overlap.
    pub fn push(&mut self, seq: u32, bytes: &[u8], len: u32, frame: u64, time: Time, out: &mut dyn FnMut(Piece<'_>)) {
        if !self.wants(seq, len) {
            return;
        }
        let at = self.held.partition_point(|h| !after(h.seq, seq));
        self.bytes += bytes.len();
        self.held.insert(at, Held { seq, len, bytes: bytes.to_vec(), frame, time });
        self.release(out);
        while self.held.len() > MAX_PIECES || self.bytes > MAX_BYTES {
            self.give_up_first(out);
        }
    }

    /// The peer acknowledged everything before `ack`: what is missing there was lost to the capture, not to the peer.
    pub fn acknowledged(&mut self, ack: u32, out: &mut dyn FnMut(Piece<'_>)) {
        while self.held.first().is_some_and(|h| distance(ack, h.seq) >= 0) {
            self.give_up_first(out);
        }
    }

    fn give_up_first(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        if let Some(first) = self.held.first() {
            let missing = distance(first.seq, self.next).max(0) as u32;
            if missing > 0 {
                out(Piece::Gap { len: missing });
                self.next = first.seq;
            }
            self.release(out);
        }
    }

    fn release(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        let mut done = 0;
        for h in &self.held {
            let known = distance(self.next, h.seq);
            if known < 0 {
                break;
            }
            done += 1;
            self.bytes -= h.bytes.len();
            if known as u32 >= h.len {
                continue;
            }
            let bytes = h.bytes.get(known as usize..).unwrap_or_default();
            out(Piece::Data { bytes, len: h.len - known as u32, frame: h.frame, time: h.time });
            self.next = h.seq.wrapping_add(h.len);
        }
        self.held.drain(..done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn collect(pieces: &mut Vec<u8>) -> impl FnMut(Piece<'_>) + '_ {
        |p| match p {
            Piece::Data { bytes, .. } => pieces.extend_from_slice(bytes),
            Piece::Gap { len } => pieces.extend(std::iter::repeat_n(b'?', len as usize)),
        }
    }

    proptest! {
        /// Any order and duplication of any segmentation gives the stream, also across the wrap.
        #[test]
        fn any_order_gives_the_stream(
            start: u32,
            cuts in proptest::collection::vec((0usize..200, 1usize..40), 1..30),
        ) {
            let stream: Vec<u8> = (0..240u8).collect();
            let mut got = Vec::new();
            let mut holes = Holes::new(start);
            let pieces = cuts.iter().map(|&(at, len)| (at, len)).chain((0..240).step_by(20).map(|at| (at, 20)));
            for (at, len) in pieces {
                let seq = start.wrapping_add(at as u32);
                let part = &stream[at..(at + len).min(240)];
                holes.push(seq, part, part.len() as u32, 0, Time(0), &mut collect(&mut got));
            }
            prop_assert!(holes.closed());
            prop_assert_eq!(got, stream);
        }
    }

    #[test]
    fn what_the_peer_acknowledged_unseen_is_a_gap() {
        let mut got = Vec::new();
        let mut holes = Holes::new(100);
        holes.push(103, b"def", 3, 1, Time(0), &mut collect(&mut got));
        assert!(got.is_empty());
        holes.acknowledged(106, &mut collect(&mut got));
        assert_eq!(got, b"???def");
        assert!(holes.closed());
    }

    #[test]
    fn a_million_segments_behind_a_hole_stay_bounded() {
        let mut gaps = 0u64;
        let mut holes = Holes::new(0);
        for i in 0..1_000_000u32 {
            holes.push(i * 2 + 1, b"x", 1, 0, Time(0), &mut |p| {
                if let Piece::Gap { len } = p {
                    gaps += u64::from(len);
                }
            });
            assert!(holes.held.len() <= MAX_PIECES && holes.bytes <= MAX_BYTES);
        }
        assert_eq!(gaps, 1_000_000 - MAX_PIECES as u64);
    }

    #[test]
    fn a_cut_segment_counts_with_its_length_on_the_wire() {
        let mut lens = Vec::new();
        let mut holes = Holes::new(0);
        let mut out = |p: Piece<'_>| {
            if let Piece::Data { bytes, len, .. } = p {
                lens.push((bytes.len(), len));
            }
        };
        holes.push(10, b"ab", 1000, 0, Time(0), &mut out);
        holes.push(0, b"0123456789", 10, 0, Time(0), &mut out);
        assert_eq!(lens, [(10, 10), (2, 1000)]);
    }
}
