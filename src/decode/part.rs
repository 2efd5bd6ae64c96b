//! Bytes as two lengths: how many there were on the wire and how many the capture kept.

use crate::packet::Skip;

/// A stretch of a packet from some header to its end. The snaplen may have cut the captured bytes short of `len`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    /// What was captured, at most `len` bytes.
    pub captured: &'a [u8],
    /// Its length on the wire, as the headers around it tell.
    pub len: usize,
}

impl<'a> Part<'a> {
    /// The `len` bytes on the wire of which `captured` has the beginning.
    #[inline]
    pub fn new(captured: &'a [u8], len: usize) -> Self {
        Part { captured: captured.get(..len).unwrap_or(captured), len }
    }

    /// The first `N` bytes and what follows them.
    ///
    /// # Errors
    /// See [`Part::short`].
    #[inline]
    pub fn split<const N: usize>(self) -> Result<(&'a [u8; N], Part<'a>), Skip> {
        match self.captured.split_first_chunk::<N>() {
            Some((head, rest)) => Ok((head, Part { captured: rest, len: self.len - N })),
            None => Err(self.short(N)),
        }
    }

    /// What follows the first `n` bytes.
    ///
    /// # Errors
    /// See [`Part::short`].
    #[inline]
    pub fn skip(self, n: usize) -> Result<Part<'a>, Skip> {
        match self.captured.get(n..) {
            Some(rest) => Ok(Part { captured: rest, len: self.len - n }),
            None => Err(self.short(n)),
        }
    }

    /// Why `needed` bytes are not there: never sent, or cut by the snaplen.
    #[cold]
    pub fn short(self, needed: usize) -> Skip {
        if self.len < needed { Skip::Malformed } else { Skip::Truncated }
    }
}

/// How many headers may lie around a segment; tunnels in tunnels beyond that are nobody's network.
const MAX_NESTING: u8 = 32;

/// The way that a packet came: a digest of who carried it and how many headers that took.
///
/// The digest is of interface, addresses, tags and tunnel identifiers, but of no counters, lengths or checksums, so it
/// is the same for all packets that took one way and tells copies seen at two points of it apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    digest: u64,
    depth: u8,
}

impl Way {
    /// The way of a frame from this capture interface.
    #[inline]
    pub fn new(interface: u32) -> Self {
        Way { digest: 0, depth: 0 }.mix(u64::from(interface))
    }

    /// With `value` mixed in (multiplication by 2^64 over the golden ratio: an odd number without pattern).
    #[inline]
    #[must_use]
    pub fn mix(self, value: u64) -> Self {
        Way { digest: (self.digest.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15), ..self }
    }

    /// With `bytes` mixed in, eight at a time.
    #[must_use]
    pub fn mix_bytes(self, bytes: &[u8]) -> Self {
        bytes.chunks(8).fold(self, |way, chunk| way.mix(chunk.iter().fold(0, |n, b| n << 8 | u64::from(*b))))
    }

    /// One header further in.
    ///
    /// # Errors
    /// [`Skip::Malformed`] beyond [`MAX_NESTING`].
    pub fn deeper(self) -> Result<Self, Skip> {
        if self.depth == MAX_NESTING { Err(Skip::Malformed) } else { Ok(Way { depth: self.depth + 1, ..self }) }
    }

    /// The digest, for [`crate::packet::Segment::link_digest`].
    #[inline]
    pub fn digest(self) -> u32 {
        (self.digest >> 32) as u32
    }
}
