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

#[allow(dead_code)]
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

/// A short digest of who carried a packet: interface, addresses, tags and tunnel identifiers, but no counters, lengths
/// or checksums, so that it is the same for all packets that took one way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digest(u64);

impl Digest {
    #[inline]
    pub fn new(interface: u32) -> Self {
        Digest(u64::from(interface))
    }

    /// With `value` mixed in (multiplication by 2^64 over the golden ratio: an odd number without pattern).
    #[inline]
    pub fn mix(self, value: u64) -> Self {
        Digest((self.0.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    #[inline]
    pub fn finish(self) -> u32 {
        (self.0 >> 32) as u32
    }
}
