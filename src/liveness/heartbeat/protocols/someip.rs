//! SOME/IP (AUTOSAR PRS_SOMEIPProtocol): magic cookies, by which client and service mark places in the stream.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// Message id, length, request id, protocol version, interface version, message type and return code.
const HEADER: usize = 16;
/// The cookies: of a client and of a service.
const COOKIES: [&[u8; HEADER]; 2] = [
    b"\xFF\xFF\x00\x00\x00\x00\x00\x08\xDE\xAD\xBE\xEF\x01\x01\x01\x00",
    b"\xFF\xFF\x80\x00\x00\x00\x00\x08\xDE\xAD\xBE\xEF\x01\x01\x02\x00",
];
/// Longest message believed, bytes after the length field.
const LONGEST: u32 = 16 << 20;

#[derive(Default)]
struct SomeIp;

/// Recognises SOME/IP by a magic cookie, or by three messages.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<SomeIp, 32>(opening)
}

fn cookie(head: &[u8]) -> bool {
    COOKIES.iter().any(|cookie| head.starts_with(*cookie))
}

impl Frames for SomeIp {
    const PORTS: &'static [u16] = &[];
    const ENOUGH: usize = 3;

    fn measure(_: Side, head: &[u8]) -> Measure {
        match head.first_chunk::<HEADER>() {
            None => Measure::Need(HEADER),
            // Protocol version 1; requests, notifications and answers, with their acknowledgements and TP segments.
            Some(
                &[
                    ..,
                    1,
                    _,
                    0x00..=0x02 | 0x20..=0x22 | 0x40..=0x42 | 0x80 | 0x81 | 0xA0 | 0xA1 | 0xC0 | 0xC1,
                    0..=0x5E,
                ],
            ) => match bytes(head, 4).map(u32::from_be_bytes) {
                Some(len @ 8..=LONGEST) => Measure::Frame(8 + u64::from(len)),
                _ => Measure::Lost,
            },
            Some(_) => Measure::Lost,
        }
    }

    fn weight(head: &[u8]) -> usize {
        if cookie(head) { Self::ENOUGH } else { 1 }
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        if cookie(frame.head) {
            signs.push(frame.beat("someip", Role::OneWay));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// The cookies as the specification prints them, around a request to service 0x1234 without payload.
    #[test]
    fn magic_cookies() {
        let turns: Turns = &[
            (Client, &hex("FFFF0000 00000008 DEADBEEF 01010100")),
            (Client, &hex("12340001 00000008 00010001 01010000")),
            (Server, &hex("FFFF8000 00000008 DEADBEEF 01010200")),
        ];
        let got = signs(recognise, 30_509, turns);
        assert_eq!(beats(&got), [(Client, "someip", Role::OneWay), (Server, "someip", Role::OneWay)]);
    }
}
