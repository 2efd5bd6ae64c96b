//! AMQP 0-9-1 (§4.2.7 heartbeat frames, §1.4.2.6 tune-ok) and AMQP 1.0 (§2.4.5 idle time-out): beats both ways, never
//! answered.
//!
//! In 0-9-1 the client's tune-ok states the agreed timeout; each end sends every half of it. In 1.0 each end's open
//! announces how long it waits for the other before it closes.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// The name of its beats.
pub const NAME: &str = "amqp";

/// Kept of each frame: an open of AMQP 1.0 up to its fifth field, as a rule.
const HEAD: usize = 192;

/// Above any frame-max met in practice; keeps the first byte of a frame of AMQP 1.0 at zero.
const LONGEST: u32 = 1 << 24;

/// Recognises AMQP by its protocol header, by its port and a frame, or by four frames.
pub fn recognise(opening: &Opening) -> Recognition {
    if opening.bytes.0.iter().any(|bytes| bytes.starts_with(b"AMQP\0") || bytes.starts_with(b"AMQP\x03\x01\0\0")) {
        return frames::recognised::<Amqp, HEAD>();
    }
    frames::recognise::<Amqp, HEAD>(opening)
}

#[derive(Default)]
struct Amqp;

impl Frames for Amqp {
    /// 5671 carries TLS.
    const PORTS: &'static [u16] = &[5672];
    const ENOUGH: usize = 4;

    fn measure(_: Side, head: &[u8]) -> Measure {
        match *head {
            // The protocol header, before and between the layers: protocol id, then the version.
            [b'A', b'M', b'Q', b'P', 0..=3, ..] => Measure::Frame(8),
            [b'A', ..] if b"AMQP".starts_with(head) || head == b"AMQP" => Measure::Need(5),
            // 0-9-1: type, channel, size, payload, end mark.
            [8, 0, 0, 0, 0, 0, 0, 0xCE, ..] => Measure::Frame(8),
            [8, ..] if head.len() < 8 => Measure::Need(8),
            [1..=3, _, _, a, b, c, d, ..] => match u32::from_be_bytes([a, b, c, d]) {
                size @ ..LONGEST => Measure::Frame(u64::from(size) + 8),
                _ => Measure::Lost,
            },
            [1..=3, ..] => Measure::Need(7),
            // 1.0: size with itself, data offset in words, type (AMQP or SASL), channel.
            [0, a, b, c, 2..=255, 0 | 1, ..] => match u32::from_be_bytes([0, a, b, c]) {
                size @ 8.. => Measure::Frame(size.into()),
                _ => Measure::Lost,
            },
            [0, _, _, _, _, _, ..] => Measure::Lost,
            [] | [0, ..] => Measure::Need(6),
            _ => Measure::Lost,
        }
    }

    fn frame(&mut self, from: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        match frame.head {
            [8, ..] => signs.push(frame.beat(NAME, Role::OneWay)),
            [0, 0, 0, 8, 2, 0, _, _] => signs.push(frame.beat(NAME, Role::OneWay)),
            // connection.tune-ok: class 10, method 31, channel-max (2), frame-max (4), heartbeat (2).
            [1, 0, 0, _, _, _, _, 0, 10, 0, 31, ..] => {
                if let Some(timeout @ 1..) = frame.u16(17) {
                    signs.push(Sign::Declared { protocol: NAME, sender: None, seconds: timeout.into() });
                }
            }
            [0, _, _, _, offset, 0, ..] => {
                let body = frame.head.get(usize::from(*offset) * 4..).unwrap_or_default();
                if let Some(millis @ 1..) = idle_time_out(body) {
                    let seconds = f64::from(millis) / 1000.0;
                    signs.push(Sign::Declared { protocol: NAME, sender: Some(from.peer()), seconds });
                }
            }
            _ => {}
        }
    }
}

/// The idle-time-out of an open performative (AMQP 1.0 §2.7.1), milliseconds.
fn idle_time_out(body: &[u8]) -> Option<u32> {
    let body = body.strip_prefix(&[0, 0x53, 0x10]).or_else(|| body.strip_prefix(b"\0\x80\0\0\0\0\0\0\0\x10"))?;
    let mut fields = match body {
        [0xC0, _size, _count, fields @ ..] => fields,
        [0xD0, _, _, _, _, _, _, _, _, fields @ ..] => fields,
        _ => return None,
    };
    // container-id, hostname, max-frame-size and channel-max come first.
    for _ in 0..4 {
        fields = fields.get(field_len(fields)?..)?;
    }
    match *fields {
        [0x70, a, b, c, d, ..] => Some(u32::from_be_bytes([a, b, c, d])),
        [0x52, small, ..] => Some(small.into()),
        _ => None,
    }
}

/// How many bytes a field of the primitive types that an open may hold takes (AMQP 1.0 §1.6).
fn field_len(field: &[u8]) -> Option<usize> {
    Some(match *field.first()? {
        0x40 | 0x43 => 1,
        0x52 => 2,
        0x60 => 3,
        0x70 => 5,
        0xA1 => 2 + usize::from(*field.get(1)?),
        0xB1 => 5usize.checked_add(usize::try_from(u32::from_be_bytes(bytes(field, 1)?)).ok()?)?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// AMQP 0-9-1 §4.2.2 and §1.4.2.6: the header, a tune-ok (2047 channels, frames of 131072, heartbeat 4), a delivery
    /// of six bytes that hold a heartbeat's first, and heartbeats (§4.2.7).
    #[test]
    fn version_0_9_1() {
        let tune_ok = hex("01 0000 0000000C 000A001F 07FF 00020000 0004 CE");
        let body = hex("03 0001 00000006 080000000000 CE");
        let beat = hex("08 0000 00000000 CE");
        let turns: Turns =
            &[(Client, b"AMQP\0\0\x09\x01"), (Client, &tune_ok), (Server, &body), (Server, &beat), (Client, &beat)];
        let got = signs(recognise, 40_000, turns);
        assert_eq!(declared(&got), [(None, 4.0)]);
        assert_eq!(beats(&got), [(Client, NAME, Role::OneWay), (Server, NAME, Role::OneWay)]);
        assert_eq!(beats(&signs_midstream(recognise, 5672, &turns[3..])).len(), 2);
        assert_eq!(signs_midstream(recognise, 40_000, &turns[3..]), []);
    }

    /// AMQP 1.0 §2.3, §2.7.1: SASL and AMQP headers, an open with container-id "c", hostname "h", max-frame-size
    /// 4294967295, channel-max 100, idle-time-out 30000 ms; an empty frame (§2.4.5).
    #[test]
    fn version_1_0() {
        let open = hex("00000021 02 00 0000 005310 C0 14 05 A10163 A10168 70FFFFFFFF 600064 7000007530");
        assert_eq!(open.len(), 0x21);
        let empty = hex("00000008 02 00 0000");
        let turns: Turns = &[
            (Client, b"AMQP\x03\x01\0\0"),
            (Server, b"AMQP\x03\x01\0\0"),
            (Client, b"AMQP\0\x01\0\0"),
            (Server, &open),
            (Client, &empty),
        ];
        let got = signs(recognise, 40_000, turns);
        assert_eq!(declared(&got), [(Some(Client), 30.0)]);
        assert_eq!(beats(&got), [(Client, NAME, Role::OneWay)]);
    }
}
