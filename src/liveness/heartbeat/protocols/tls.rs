//! TLS and its heartbeat records (RFC 6520), content type 24, by either side and answered.
//!
//! A connection is claimed only where both hellos agreed on heartbeats (extension 15), which TLS 1.2 and below can. What the
//! records hold is encrypted, so the first of two is taken for the request.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::{Both, Side};

const NAME: &str = "tls";
const HANDSHAKE: u8 = 22;
const HEARTBEAT: u8 = 24;
const HEARTBEAT_EXTENSION: u16 = 15;

/// Recognises TLS with heartbeats.
pub fn recognise(opening: &Opening) -> Recognition {
    if !opening.from_start {
        return Recognition::No;
    }
    match Side::BOTH.map(|side| offers_heartbeat(opening.bytes[side])) {
        [Some(true), Some(true)] => frames::recognised::<Tls, 8>(),
        [Some(false), _] | [_, Some(false)] => Recognition::No,
        _ => Recognition::Undecided,
    }
}

/// Whether a hello (RFC 5246 §7.4.1) holds the heartbeat extension; `None` with too few bytes to tell.
fn offers_heartbeat(stream: &[u8]) -> Option<bool> {
    // Record header (5), handshake header (4), version (2), random (32).
    if !stream.iter().zip([HANDSHAKE, 3]).all(|(byte, expected)| *byte == expected) {
        return Some(false);
    }
    let is_client = match stream.get(5)? {
        1 => true,
        2 => false,
        _ => return Some(false),
    };
    let mut at = 43;
    at += 1 + usize::from(*stream.get(at)?);
    at += if is_client { 2 + usize::from(u16::from_be_bytes(bytes(stream, at)?)) } else { 2 };
    at += if is_client { 1 + usize::from(*stream.get(at)?) } else { 1 };
    // A hello without extensions ends here.
    let end = 5 + usize::from(u16::from_be_bytes(bytes(stream, 3)?));
    at += 2;
    while at < end {
        if u16::from_be_bytes(bytes(stream, at)?) == HEARTBEAT_EXTENSION {
            return Some(true);
        }
        at += 4 + usize::from(u16::from_be_bytes(bytes(stream, at + 2)?));
    }
    Some(false)
}

#[derive(Default)]
struct Tls {
    /// Whether each side's last heartbeat awaits its answer.
    open: Both<bool>,
}

impl Frames for Tls {
    const PORTS: &'static [u16] = &[];
    const ENOUGH: usize = usize::MAX;

    fn measure(_: Side, head: &[u8]) -> Measure {
        match *head {
            // At most 2^14 + 2048 bytes of ciphertext (RFC 5246 §6.2.3).
            [20..=24, 3, 0..=4, a, b, ..] if (a, b) <= (0x48, 0) => {
                Measure::Frame(5 + u64::from(u16::from_be_bytes([a, b])))
            }
            [20..=24, ..] | [] if head.len() < 5 => Measure::Need(5),
            _ => Measure::Lost,
        }
    }

    fn frame(&mut self, from: Side, record: Frame<'_>, signs: &mut Vec<Sign>) {
        if record.u8(0) == Some(HEARTBEAT) {
            let answers = std::mem::take(&mut self.open[from.peer()]);
            self.open[from] = !answers;
            signs.push(record.beat(NAME, if answers { Role::Reply } else { Role::Request }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// RFC 5246 §7.4.1 with the extension of RFC 6520 §2 behind another one.
    fn hello(kind: u8, heartbeat: bool) -> Vec<u8> {
        let suites = if kind == 1 { "0002 C02F 01 00" } else { "C02F 00" };
        let extensions = if heartbeat { "000A 000B 0001 00 000F 0001 01" } else { "0005 000B 0001 00" };
        let body = [hex("0303"), vec![7; 32], hex("00"), hex(suites), hex(extensions)].concat();
        [vec![22, 3, 1, 0, body.len() as u8 + 4, kind, 0, 0, body.len() as u8], body].concat()
    }

    #[test]
    fn heartbeats_where_both_agreed_on_them() {
        let (client, server) = (hello(1, true), hello(2, true));
        let data = [hex("17 0303 0026"), vec![24; 0x26]].concat();
        let beat = [hex("18 0303 0030"), vec![1; 0x30]].concat();
        let turns: Turns = &[(Client, &client), (Server, &server), (Client, &data), (Client, &beat), (Server, &beat)];
        let got = beats(&signs(recognise, 443, turns));
        assert_eq!(got, [(Client, NAME, Role::Request), (Server, NAME, Role::Reply)]);
        let refused = hello(2, false);
        assert_eq!(signs(recognise, 443, &[(Client, &client), (Server, &refused), (Client, &beat)]), []);
    }
}
