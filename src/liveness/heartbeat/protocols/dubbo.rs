//! Dubbo's own protocol (ExchangeCodec): events with an empty body, request and response, are its heartbeat.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// Magic, flags, status, request id and length.
const HEADER: usize = 16;
const REQUEST: u8 = 0x80;
const TWO_WAY: u8 = 0x40;
const EVENT: u8 = 0x20;

#[derive(Default)]
struct Dubbo;

/// Recognises Dubbo by its magic and header.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Dubbo, 32>(opening)
}

impl Frames for Dubbo {
    const PORTS: &'static [u16] = &[20_880];
    const ENOUGH: usize = 1;

    fn measure(_: Side, head: &[u8]) -> Measure {
        if head.iter().zip([0xDA, 0xBB]).any(|(&b, magic)| b != magic) {
            return Measure::Lost;
        }
        let Some(len) = bytes(head, HEADER - 4).map(u32::from_be_bytes) else { return Measure::Need(HEADER) };
        let (flags, status) = (head[2], head[3]);
        // The low five bits name the serialization; a request has no status, the statuses are multiples of ten and one.
        let status_fits = if flags & REQUEST != 0 { status == 0 } else { (20..=100).contains(&status) };
        if flags & 0x1F != 0 && status_fits && len <= 1 << 28 {
            Measure::Frame(HEADER as u64 + u64::from(len))
        } else {
            Measure::Lost
        }
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        let body = frame.head.get(HEADER..).unwrap_or_default();
        let flags = frame.u8(2).unwrap_or_default();
        // The other event is "R": the sender will soon stop serving. As Hessian and as JSON:
        let read_only = body.starts_with(&[1, b'R']) || body.starts_with(b"\"R\"");
        if flags & EVENT != 0 && !read_only {
            let role = match (flags & REQUEST != 0, flags & TWO_WAY != 0) {
                (true, true) => Role::Request,
                (true, false) => Role::OneWay,
                (false, _) => Role::Reply,
            };
            signs.push(frame.beat("dubbo", role));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// ExchangeCodec's header by hand: serialization 2 (Hessian 2), whose null is "N" and whose "R" is 01 52.
    #[test]
    fn events_without_a_body_are_heartbeats() {
        let turns: Turns = &[
            (Client, &hex("DABB E2 00 0000000000000001 00000001 4E")),
            (Server, &hex("DABB 22 14 0000000000000001 00000001 4E")),
            (Server, &hex("DABB A2 00 0000000000000002 00000002 0152")),
        ];
        let got = signs(recognise, 20_881, turns);
        assert_eq!(beats(&got), [(Client, "dubbo", Role::Request), (Server, "dubbo", Role::Reply)]);
    }
}
