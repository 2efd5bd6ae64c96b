//! Cassandra's native protocol, versions 1 to 5: an idle driver sends OPTIONS and the server answers SUPPORTED
//! (native_protocol_v5.spec §4.1.3, §4.2.4). From version 5 on both are wrapped in segments with checksums of their own once
//! the connection is set up (§2).

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

const OPTIONS: u8 = 5;
const SUPPORTED: u8 = 6;
const RESPONSE: u8 = 0x80;
/// Longest envelope believed: what native_transport_max_frame_size was by default before 4.0, 16 MiB since.
const LONGEST: u32 = 256 << 20;

#[derive(Default)]
struct Cassandra;

/// Recognises Cassandra by its port, or by two messages.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Cassandra, 32>(opening)
}

impl Frames for Cassandra {
    const PORTS: &'static [u16] = &[9042];
    const ENOUGH: usize = 2;

    fn measure(_: Side, head: &[u8]) -> Measure {
        if head.len() < 8 {
            return Measure::Need(8);
        }
        match (envelope(head), segment(head)) {
            (Some(Envelope { len: Some(len), .. }), _) => Measure::Frame(len),
            (Some(_), _) => Measure::Need(9),
            (None, Some(segment)) => Measure::Frame(segment.len),
            (None, None) => Measure::Lost,
        }
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        let message = match (envelope(frame.head), segment(frame.head)) {
            (Some(message), _) => Some(message),
            (None, Some(segment)) if !segment.compressed => frame.head.get(segment.header..).and_then(envelope),
            _ => None,
        };
        match message {
            Some(Envelope { opcode: OPTIONS, .. }) => signs.push(frame.beat("cassandra", Role::Request)),
            Some(Envelope { opcode: SUPPORTED, .. }) => signs.push(frame.beat("cassandra", Role::Reply)),
            _ => {}
        }
    }
}

/// One message and its header: version, flags, stream, opcode, length.
struct Envelope {
    opcode: u8,
    /// Length with the header; unknown while the header is incomplete.
    len: Option<u64>,
}

fn envelope(head: &[u8]) -> Option<Envelope> {
    let &version = head.first()?;
    // The stream id grew from one byte to two in version 3.
    let stream = match version & !RESPONSE {
        1 | 2 => 1,
        3..=5 => 2,
        _ => return None,
    };
    let &opcode = head.get(2 + stream)?;
    let fits = match opcode {
        1 | 4 | OPTIONS | 7 | 9..=0x0B | 0x0D | 0x0F => version & RESPONSE == 0,
        0 | 2 | 3 | SUPPORTED | 8 | 0x0C | 0x0E | 0x10 => version & RESPONSE != 0,
        _ => false,
    };
    if !fits || head[1] > 0x1F {
        return None;
    }
    match bytes(head, 3 + stream).map(u32::from_be_bytes) {
        Some(body) if body > LONGEST || (opcode == OPTIONS && body != 0) => None,
        body => Some(Envelope { opcode, len: body.map(|body| u64::from(body) + 7 + stream as u64) }),
    }
}

/// A version 5 segment: lengths of payload, a checksum of these, the payload and its CRC-32.
struct Segment {
    header: usize,
    len: u64,
    compressed: bool,
}

fn segment(head: &[u8]) -> Option<Segment> {
    let number = |at: usize, n: usize| {
        let field = head.get(at..at + n)?;
        Some(field.iter().rev().fold(0_u64, |sum, &b| sum << 8 | u64::from(b)))
    };
    let payload = |lengths: u64| lengths & 0x1_FFFF;
    // Uncompressed: 17 bits of length and the flag "self contained" in 3 bytes.
    let lengths = number(0, 3)?;
    if lengths >> 18 == 0 && number(3, 3)? == u64::from(crc24(&head[..3])) {
        return Some(Segment { header: 6, len: 6 + payload(lengths) + 4, compressed: false });
    }
    // Compressed: 17 bits of compressed and 17 of uncompressed length (0: sent as it is) and the flag in 5 bytes.
    let lengths = number(0, 5)?;
    (lengths >> 35 == 0 && number(5, 3)? == u64::from(crc24(&head[..5]))).then_some(Segment {
        header: 8,
        len: 8 + payload(lengths) + 4,
        compressed: payload(lengths >> 17) != 0,
    })
}

/// The header's checksum: polynomial 0x1974F0B, initial value 0x875060 (Cassandra's `Crc.crc24`).
fn crc24(header: &[u8]) -> u32 {
    header.iter().fold(0x87_5060, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b) << 16, |crc, _| {
            let shifted = crc << 1;
            if shifted & 0x100_0000 != 0 { shifted ^ 0x197_4F0B } else { shifted }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// Native protocol §2 and §4.1.3 by hand: an OPTIONS request and its SUPPORTED (an empty multimap), versions 4 and 2.
    #[test]
    fn options_is_answered_by_supported() {
        let four: Turns = &[(Client, &hex("04 00 0001 05 00000000")), (Server, &hex("84 00 0001 06 00000002 0000"))];
        let two: Turns = &[(Client, &hex("02 00 01 05 00000000")), (Server, &hex("82 00 01 06 00000002 0000"))];
        for turns in [four, two] {
            let expected = [(Client, "cassandra", Role::Request), (Server, "cassandra", Role::Reply)];
            assert_eq!(beats(&signs(recognise, 9042, turns)), expected);
            assert_eq!(beats(&signs_midstream(recognise, 19042, turns)), expected);
        }
    }

    #[test]
    fn segments_of_version_5() {
        let header = [9, 0, 2];
        let crc = crc24(&header).to_le_bytes();
        let options = [&header[..], &crc[..3], &hex("05 00 0001 05 00000000"), &[0; 4]].concat();
        let got = signs_midstream(recognise, 9042, &[(Client, &options), (Client, &options)]);
        assert_eq!(beats(&got), [(Client, "cassandra", Role::Request); 2]);
        assert_eq!(options.len(), 19);
    }
}
