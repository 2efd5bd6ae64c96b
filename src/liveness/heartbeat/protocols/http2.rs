//! HTTP/2 PING frames (RFC 9113 §6.7), by either side, answered by the same with the ACK flag; gRPC's keepalive.
//!
//! Named by the connection preface (§3.4), by a PING (nine bytes that cannot vary), or by four fitting frames.

use super::frames::{self, Frame, Frames};
use super::framing::Measure;
use super::{Opening, Parser, Recognition, Role, Sign};
use crate::summary::Side;

const NAME: &str = "http2";

/// What the client sends first (§3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kept of each frame: a whole PING, and the preface.
const HEAD: usize = 24;

/// The opaque data of grpc-go's pings that measure bandwidth (`bdp_estimator.go`): they follow data, not a timer.
const BANDWIDTH_PING: &[u8] = &[2, 4, 16, 16, 9, 14, 7, 7];

/// Recognises HTTP/2.
pub fn recognise(opening: &Opening) -> Recognition {
    let distinct = |bytes: &[u8]| bytes.starts_with(PREFACE) || !opening.from_start && ping(bytes).is_some();
    if opening.bytes.0.into_iter().any(distinct) {
        return frames::recognised::<Http2, HEAD>();
    }
    frames::recognise::<Http2, HEAD>(opening)
}

/// Whether `head` starts with a PING frame, and its flags.
fn ping(head: &[u8]) -> Option<u8> {
    match *head {
        [0, 0, 8, 6, flags, 0, 0, 0, 0, ..] if head.len() >= 17 => Some(flags),
        _ => None,
    }
}

/// The parser of a connection that was upgraded to HTTP/2.
#[must_use]
pub fn parser() -> Box<dyn Parser> {
    frames::parser::<Http2, HEAD>()
}

#[derive(Default)]
struct Http2;

impl Frames for Http2 {
    const PORTS: &'static [u16] = &[];
    const ENOUGH: usize = 4;

    fn measure(_: Side, head: &[u8]) -> Measure {
        if head.starts_with(b"P") {
            return match head.len() {
                24.. if head.starts_with(PREFACE) => Measure::Frame(24),
                ..24 if PREFACE.starts_with(head) => Measure::Need(24),
                _ => Measure::Lost,
            };
        }
        let [a, b, c, kind, flags, stream @ ..] = head else { return Measure::Need(9) };
        let Some(stream) = stream.first_chunk().map(|s| u32::from_be_bytes(*s)) else { return Measure::Need(9) };
        let len = u32::from_be_bytes([0, *a, *b, *c]);
        // What §6 says of each type's length and stream.
        let fits = stream >> 31 == 0
            && match kind {
                0 | 1 | 9 => stream != 0,
                2 => stream != 0 && len == 5,
                3 => stream != 0 && len == 4,
                4 => stream == 0 && len.is_multiple_of(6) && (flags & 1 == 0 || len == 0),
                5 => stream != 0 && len >= 4,
                6 => stream == 0 && len == 8,
                7 => stream == 0 && len >= 8,
                8 => len == 4,
                // ALTSVC, ORIGIN, PRIORITY_UPDATE; and GREASE, which is to be ignored (§4.1).
                10 | 12 | 16 => true,
                _ => kind & 0x1f == 0x0b && len < 1 << 14,
            };
        if fits { Measure::Frame(9 + u64::from(len)) } else { Measure::Lost }
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        match ping(frame.head) {
            Some(_) if frame.head[9..].starts_with(BANDWIDTH_PING) => {}
            Some(flags) if flags & 1 == 0 => signs.push(frame.beat(NAME, Role::Request)),
            Some(_) => signs.push(frame.beat(NAME, Role::Reply)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn pings() -> (Vec<u8>, Vec<u8>) {
        (hex("000008 06 00 00000000 0102030405060708"), hex("000008 06 01 00000000 0102030405060708"))
    }

    /// RFC 9113 §3.4, §4.1, §6.5, §6.7: preface, SETTINGS, its acknowledgment, DATA that looks like a PING, PING and ACK.
    #[test]
    fn ping_and_ack_after_the_preface() {
        let (ping, ack) = pings();
        let settings = hex("000006 04 00 00000000 000300000064");
        let settings_ack = hex("000000 04 01 00000000");
        let data = [hex("000011 00 00 00000001"), ping.clone()].concat();
        let turns: Turns = &[
            (Client, PREFACE),
            (Client, &settings),
            (Server, &settings_ack),
            (Client, &data),
            (Client, &ping),
            (Server, &ack),
        ];
        let got = signs(recognise, 40_000, turns);
        assert_eq!(beats(&got), [(Client, NAME, Role::Request), (Server, NAME, Role::Reply)]);
    }

    #[test]
    fn a_ping_is_enough_mid_stream() {
        let (ping, ack) = pings();
        let turns: Turns = &[(Server, &ping), (Client, &ack)];
        let got = signs_midstream(recognise, 40_000, turns);
        assert_eq!(beats(&got), [(Client, NAME, Role::Reply), (Server, NAME, Role::Request)]);
        assert_eq!(signs_midstream(recognise, 40_000, &[(Client, &[0; 17])]), []);
    }
}
