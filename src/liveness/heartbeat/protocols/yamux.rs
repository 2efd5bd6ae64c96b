//! yamux, the multiplexer of Consul, Nomad and libp2p (hashicorp/yamux spec.md): Ping with SYN, answered by Ping with ACK and
//! the same opaque value. Consul and Nomad first send one byte that names what follows.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// Version, type, flags, stream and length.
const HEADER: usize = 12;
const DATA: u8 = 0;
const PING: u8 = 2;
/// The byte before the first frame: RPC over yamux in Consul (4) and Nomad (5).
const PREFIXES: std::ops::RangeInclusive<u8> = 4..=5;

#[derive(Default)]
struct Yamux;

/// Recognises yamux by Consul's and Nomad's ports, or by two frames that open a stream or are pings.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Yamux, 32>(opening)
}

impl Frames for Yamux {
    const PORTS: &'static [u16] = &[8300, 4647];
    const ENOUGH: usize = 2;

    fn measure(_: Side, head: &[u8]) -> Measure {
        let prefix = usize::from(head.first().is_some_and(|b| PREFIXES.contains(b)));
        let Some([0, kind, 0, flags, stream @ .., _, _, _, _]) = bytes::<HEADER>(head, prefix) else {
            let starts = head[prefix.min(head.len())..].iter().zip([0, 3]).all(|(&b, most)| b <= most);
            return if starts && head.len() < prefix + HEADER { Measure::Need(prefix + HEADER) } else { Measure::Lost };
        };
        let value = bytes(head, prefix + 8).map_or(0, u32::from_be_bytes);
        let session = stream == [0; 4];
        let fits = match kind {
            DATA => !session && flags <= 0x0F && value <= 16 << 20,
            1 => !session && flags <= 0x0F,
            PING => session && matches!(flags, 1 | 2),
            3 => session && flags == 0 && value <= 2,
            _ => false,
        };
        if !fits {
            return Measure::Lost;
        }
        let body = if kind == DATA { u64::from(value) } else { 0 };
        Measure::Frame((prefix + HEADER) as u64 + body)
    }

    /// With all flags clear it could be another protocol's numbers: Modbus has such headers.
    fn weight(head: &[u8]) -> usize {
        let prefix = usize::from(PREFIXES.contains(&head[0]));
        usize::from(matches!(head[prefix..], [_, PING, ..] | [_, _, _, 1..=2, 0, 0, ..]))
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        match *frame.head {
            [0, PING, 0, 1, ..] => signs.push(frame.beat("yamux", Role::Request)),
            [0, PING, 0, 2, ..] => signs.push(frame.beat("yamux", Role::Reply)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// The specification's framing by hand: a stream is opened and accepted by window updates, then pings go both ways.
    #[test]
    fn pings_both_ways() {
        let turns: Turns = &[
            (Client, &hex("04 0001 0001 00000001 00000000")),
            (Client, &hex("0000 0000 00000001 00000003 616263")),
            (Server, &hex("0001 0002 00000001 00000000")),
            (Client, &hex("0002 0001 00000000 00000000")),
            (Server, &hex("0002 0002 00000000 00000000 0002 0001 00000000 00000007")),
            (Client, &hex("0002 0002 00000000 00000007")),
        ];
        let roles = |first, second| [first, second];
        let got = beats(&signs(recognise, 7777, turns));
        let client = roles(Role::Request, Role::Reply).map(|role| (Client, "yamux", role));
        let server = roles(Role::Reply, Role::Request).map(|role| (Server, "yamux", role));
        assert_eq!(got, [client, server].concat());
    }

    #[test]
    fn zeros_are_no_frames() {
        assert_eq!(signs_midstream(recognise, 7777, &[(Client, &[0; 48]), (Server, &[0; 48])]), []);
    }
}
