//! The TCP header and its options (RFC 9293 §3.1, RFC 7323).

use crate::packet::{Address, Endpoint, Flags, Frame, Options, Segment, Skip};

use super::network::Header;
use super::part::Part;

/// A header without options.
const FIXED_LEN: usize = 20;

/// The largest shift (RFC 7323 §2.3); a larger one is to be used as this one.
const MAX_WINDOW_SCALE: u8 = 14;

/// How the usual options begin: no operation twice, then timestamps and their length.
const NOP_NOP_TIMESTAMPS: u32 = u32::from_be_bytes([1, 1, 8, 10]);

/// What a segment takes from the headers that carried it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carrier {
    pub src: Address,
    pub dst: Address,
    pub ip_id: u16,
    pub ttl: u8,
    pub link_digest: u32,
}

impl From<Header> for Carrier {
    fn from(header: Header) -> Self {
        let Header { src, dst, id, ttl, way, .. } = header;
        Carrier { src, dst, ip_id: id, ttl, link_digest: way.digest() }
    }
}

/// A TCP header that keeps to its bounds, and what follows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tcp<'a> {
    fixed: &'a [u8; FIXED_LEN],
    options: &'a [u8],
    payload: &'a [u8],
    payload_len: usize,
}

impl<'a> Tcp<'a> {
    /// The header at the beginning of `part`, an IP payload.
    ///
    /// # Errors
    /// [`Skip::Malformed`] if its data offset is below 5 or beyond `part`, [`Skip::Truncated`] if not even its 20 fixed
    /// bytes were captured.
    #[inline(always)]
    pub fn read(part: Part<'a>) -> Result<Self, Skip> {
        let Some((fixed, rest)) = part.captured.split_first_chunk::<FIXED_LEN>() else {
            return Err(part.short(FIXED_LEN));
        };
        let header_len = usize::from(fixed[12] >> 4) * 4;
        if header_len < FIXED_LEN || header_len > part.len {
            return Err(Skip::Malformed);
        }
        // Of options that the snaplen cut, those before the cut are read.
        let (options, payload) = rest.split_at_checked(header_len - FIXED_LEN).unwrap_or((rest, &[]));
        Ok(Tcp { fixed, options, payload, payload_len: part.len - header_len })
    }

    /// The options if they are none or "NOP NOP timestamps", which is how every stack lays them out once a connection
    /// is up (RFC 7323, appendix A): a short look. Others are left unread.
    #[inline(always)]
    pub fn usual_options(&self) -> (Options, UnreadOptions<'a>) {
        let (timestamps, unread) = match self.options.split_first_chunk() {
            // Compared at once.
            Some((head, values)) if u32::from_be_bytes(*head) == NOP_NOP_TIMESTAMPS && values.len() == 8 => {
                (values.first_chunk().map(u32_pair), &[][..])
            }
            _ => (None, self.options),
        };
        (Options { timestamps, ..Options::default() }, UnreadOptions(unread))
    }

    /// The options, whatever they are.
    pub fn all_options(&self) -> Options {
        parse_options(self.options, Flags(self.fixed[13]).syn())
    }

    /// The segment. This comes after all else so that it is built in its place: it is too large to be handed on.
    #[inline(always)]
    pub fn segment(&self, frame: &Frame<'_>, carrier: &Carrier, options: Options) -> Segment<'a> {
        let h = self.fixed;
        Segment {
            time: frame.time,
            frame: frame.number,
            src: Endpoint { address: carrier.src, port: u16::from_be_bytes([h[0], h[1]]) },
            dst: Endpoint { address: carrier.dst, port: u16::from_be_bytes([h[2], h[3]]) },
            seq: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
            ack: u32::from_be_bytes([h[8], h[9], h[10], h[11]]),
            flags: Flags(h[13]),
            window: u16::from_be_bytes([h[14], h[15]]),
            options,
            payload_len: u32::try_from(self.payload_len).unwrap_or(u32::MAX),
            payload: self.payload,
            ip_id: carrier.ip_id,
            ttl: carrier.ttl,
            link_digest: carrier.link_digest,
            wire_len: frame.wire_len,
        }
    }
}

/// Options that are not the usual ones. They are read when their segment is in its place: a call before that would put
/// what is in registers aside, for every segment.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct UnreadOptions<'a>(&'a [u8]);

impl UnreadOptions<'_> {
    /// Reads them, if there are any.
    #[inline(always)]
    pub fn read_into(self, segment: &mut Segment<'_>) {
        if !self.0.is_empty() {
            segment.options = parse_options(self.0, segment.flags.syn());
        }
    }
}

/// Reads option after option; one whose length cannot be ends the walk.
#[inline(never)]
fn parse_options(mut bytes: &[u8], syn: bool) -> Options {
    let mut options = Options::default();
    loop {
        bytes = match *bytes {
            [] | [0, ..] => return options,
            [1, ref rest @ ..] => rest,
            [kind, len, ..] if len >= 2 => {
                let Some((option, rest)) = bytes.split_at_checked(usize::from(len)) else {
                    return options;
                };
                match (kind, option) {
                    (3, &[_, _, shift]) if syn => options.window_scale = Some(shift.min(MAX_WINDOW_SCALE)),
                    (8, [_, _, values @ ..]) if len == 10 => options.timestamps = values.first_chunk().map(u32_pair),
                    _ => {}
                }
                rest
            }
            _ => return options,
        };
    }
}

/// Two big-endian numbers of four bytes.
#[inline(always)]
fn u32_pair(&[a, b, c, d, e, f, g, h]: &[u8; 8]) -> (u32, u32) {
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_syn() {
        // As Linux sends them: MSS 1460, SACK permitted, timestamps, NOP, window scale 7.
        let bytes = [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7];
        let timestamps = Some((9, 0));
        let expected = Options { timestamps, window_scale: Some(7) };
        assert_eq!(parse_options(&bytes, true), expected);
        // RFC 7323 §2.2: outside a SYN the scale means nothing.
        assert_eq!(parse_options(&bytes, false), Options { timestamps, ..Options::default() });
    }

    #[test]
    fn the_window_scale_is_at_most_14() {
        for (shift, used) in [(0, 0), (14, 14), (15, 14), (255, 14)] {
            assert_eq!(parse_options(&[3, 3, shift], true).window_scale, Some(used));
        }
    }

    #[test]
    fn unknown_options_are_stepped_over() {
        // SACK (5), MD5 (19), authentication (29), multipath (30), then timestamps.
        let md5 = [&[19, 18][..], &[0; 16]].concat();
        let sack = [5, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        let bytes = [&sack[..], &md5, &[29, 4, 1, 2], &[30, 3, 0], &[8, 10, 0, 0, 0, 5, 0, 0, 0, 6]].concat();
        assert_eq!(parse_options(&bytes, false).timestamps, Some((5, 6)));
    }

    #[test]
    fn a_length_that_cannot_be_ends_the_options() {
        let timestamps = [8, 10, 0, 0, 0, 5, 0, 0, 0, 6];
        for bad in [&[4, 0][..], &[4, 1], &[4, 40], &[0], &[9]] {
            let before = [&timestamps[..], bad].concat();
            assert_eq!(parse_options(&before, false).timestamps, Some((5, 6)), "{bad:?}");
            let after = [bad, &timestamps[..]].concat();
            assert_eq!(parse_options(&after, false), Options::default(), "{bad:?}");
        }
        assert_eq!(parse_options(&timestamps[..9], false), Options::default(), "cut");
        assert_eq!(parse_options(&[8, 6, 0, 0, 0, 5, 5, 6, 0, 0, 0, 1], false), Options::default(), "short");
    }
}
