//! MQTT 3.1, 3.1.1 and 5: PINGREQ from the client, PINGRESP from the server (OASIS MQTT 3.1.1 and 5.0, §3.12, §3.13).
//!
//! CONNECT announces the keep alive (§3.1.2.10); the server of MQTT 5 may replace it by CONNACK's property 0x13
//! (§3.2.2.3.14). The server closes after one and a half times that without a packet.

use super::frames::{self, Frame, Frames};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// The name of its beats.
pub const NAME: &str = "mqtt";

/// Kept of each packet: a CONNACK's properties up to the server keep alive, as a rule.
const HEAD: usize = 128;

/// A packet's length: type and flags, then the remaining length in 1 to 4 groups of 7 bits (§2.1.4, §2.2).
fn measure(head: &[u8]) -> Measure {
    let [first, rest @ ..] = head else { return Measure::Need(2) };
    let flags_fit = match first >> 4 {
        0 => false,
        3 => first & 0x06 != 0x06,
        6 | 8 | 10 => first & 0x0f == 2,
        _ => first & 0x0f == 0,
    };
    if !flags_fit {
        return Measure::Lost;
    }
    match varint(rest) {
        Some((0, _)) if !matches!(first >> 4, 12..=15) => Measure::Lost,
        Some((len, _)) if matches!(first >> 4, 12 | 13) && len != 0 => Measure::Lost,
        Some((len, used)) => Measure::Frame(1 + used as u64 + u64::from(len)),
        None if rest.len() < 4 => Measure::Need(head.len() + 1),
        None => Measure::Lost,
    }
}

/// A variable byte integer and how many bytes it took (§1.5.5).
fn varint(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// The keep alive of a CONNECT packet, seconds.
fn connect_keep_alive(packet: &[u8]) -> Option<u16> {
    let (_, used) = varint(packet.get(1..)?)?;
    let body = &packet[1 + used..];
    let body = body.strip_prefix(b"\0\x04MQTT").or_else(|| body.strip_prefix(b"\0\x06MQIsdp"))?;
    let [3..=5 | 0x83 | 0x84, _flags, a, b, ..] = body else { return None };
    Some(u16::from_be_bytes([*a, *b]))
}

/// The server keep alive among a CONNACK's properties, seconds.
fn server_keep_alive(packet: &[u8]) -> Option<u16> {
    let (_, used) = varint(packet.get(1..)?)?;
    let body = packet.get(1 + used + 2..)?;
    let (len, used) = varint(body)?;
    let mut rest = &body[used..body.len().min(used + len as usize)];
    while let [id, value @ ..] = rest {
        let string = |at: usize| Some(2 + usize::from(u16::from_be_bytes([*value.get(at)?, *value.get(at + 1)?])));
        let len = match id {
            0x13 => return Some(u16::from_be_bytes([*value.first()?, *value.get(1)?])),
            0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
            0x21 | 0x22 => 2,
            0x11 | 0x27 => 4,
            0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => string(0)?,
            0x26 => string(0)? + string(string(0)?)?,
            _ => return None,
        };
        rest = value.get(len..)?;
    }
    None
}

/// Recognises MQTT by CONNECT; in mid-stream by its port or by six packets.
pub fn recognise(opening: &Opening) -> Recognition {
    if opening.bytes.0.iter().any(|bytes| connect_keep_alive(bytes).is_some()) {
        return frames::recognised::<Mqtt, HEAD>();
    }
    if !opening.from_start {
        return frames::recognise::<Mqtt, HEAD>(opening);
    }
    let maybe = |bytes: &[u8]| bytes.first().is_none_or(|&b| b == 0x10) && bytes.len() < 16;
    if opening.bytes.0.into_iter().any(maybe) { Recognition::Undecided } else { Recognition::No }
}

/// MQTT's control packets.
#[derive(Default)]
pub struct Mqtt;

impl Frames for Mqtt {
    /// 8883 carries TLS.
    const PORTS: &'static [u16] = &[1883];
    const ENOUGH: usize = 6;

    fn measure(_: Side, head: &[u8]) -> Measure {
        measure(head)
    }

    fn frame(&mut self, from: Side, packet: Frame<'_>, signs: &mut Vec<Sign>) {
        match packet.head {
            [0xc0, 0] => signs.push(packet.beat(NAME, Role::Request)),
            [0xd0, 0] => signs.push(packet.beat(NAME, Role::Reply)),
            _ => signs.extend(announcement(from, packet.head)),
        }
    }
}

/// The keep alive that a CONNECT or CONNACK announces; 0 turns it off.
#[must_use]
pub fn announcement(from: Side, packet: &[u8]) -> Option<Sign> {
    let (sender, keep_alive) = match packet.first()? {
        0x10 => (from, connect_keep_alive(packet)?),
        0x20 => (from.peer(), server_keep_alive(packet)?),
        _ => return None,
    };
    (keep_alive > 0).then(|| Sign::Declared { protocol: NAME, sender: Some(sender), seconds: keep_alive.into() })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// MQTT 3.1.1 §3.1: protocol name, level 4, clean session, keep alive 10, client identifier "a".
    const CONNECT: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\x0a\0\x01a";
    const PING: Turns = &[(Client, b"\xc0\0"), (Server, b"\xd0\0")];

    #[test]
    fn pings_and_the_declared_keep_alive() {
        let publish = [&[0x30, 0x88, 0x02, 0, 1, b't'][..], &[0xc0; 261]].concat();
        let opening: Turns = &[(Client, CONNECT), (Server, b"\x20\x02\0\0"), (Client, &publish)];
        let got = signs(recognise, 4000, &[opening, PING].concat());
        assert_eq!(declared(&got), [(Some(Client), 10.0)]);
        assert_eq!(beats(&got), [(Client, NAME, Role::Request), (Server, NAME, Role::Reply)]);
    }

    /// MQTT 5 §3.2.2.3: session expiry, assigned client identifier, user property, server keep alive 60.
    #[test]
    fn the_server_of_mqtt_5_replaces_the_keep_alive() {
        let connect = b"\x10\x10\0\x04MQTT\x05\x02\0\x0a\0\0\x03abc";
        let connack = b"\x20\x18\0\0\x15\x11\0\0\0\x05\x12\0\x01x\x26\0\x01k\0\x01v\x13\0\x3c\x25\x01";
        assert_eq!(connack.len(), 2 + 0x18);
        let got = signs(recognise, 1883, &[(Client, connect), (Server, connack)]);
        assert_eq!(declared(&got), [(Some(Client), 10.0), (Some(Client), 60.0)]);
    }

    #[test]
    fn mid_stream_by_port_and_packet_or_by_a_run_of_pings() {
        assert_eq!(signs_midstream(recognise, 1883, PING).len(), 2);
        assert_eq!(signs_midstream(recognise, 4000, PING), []);
        assert_eq!(signs_midstream(recognise, 4000, &PING.repeat(3)).len(), 6);
        assert_eq!(signs(recognise, 4000, &PING.repeat(4)), []);
    }
}
