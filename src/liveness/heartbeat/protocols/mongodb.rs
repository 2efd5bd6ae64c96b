//! MongoDB's wire protocol: the drivers' monitors ask `hello` (once `isMaster`) on a connection of their own every
//! heartbeatFrequencyMS (specifications, "Server Discovery and Monitoring"); `ping` is answered too. Where the request allows
//! exhaust, the server goes on by itself: each reply with moreToCome is followed by another (OP_MSG specification).

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// Message length, request id, response to, operation.
const HEADER: usize = 16;
const OP_REPLY: u32 = 1;
const OP_QUERY: u32 = 2004;
const OP_COMPRESSED: u32 = 2012;
const OP_MSG: u32 = 2013;
/// OP_MSG flag: another message follows without being asked for.
const MORE_TO_COME: u32 = 2;
/// Longest message believed: maxMessageSizeBytes is 48 000 000.
const LONGEST: u32 = 48_000_000;

#[derive(Default)]
struct MongoDb {
    /// Who is to answer, to which request, and whether by itself.
    awaited: Option<Awaited>,
}

#[derive(Clone, Copy)]
struct Awaited {
    from: Side,
    id: u32,
    unasked: bool,
}

/// Recognises MongoDB by its ports, or by two messages.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<MongoDb, 96>(opening)
}

/// The name of the command that a request carries: the first element of its document.
fn command(head: &[u8]) -> Option<&[u8]> {
    let document = match u32::from_le_bytes(bytes(head, 12)?) {
        // Flags, then a section of kind 0: one document.
        OP_MSG if head.get(20) == Some(&0) => 21,
        // Flags, the collection's name, numbers to skip and to return.
        OP_QUERY => 20 + head.get(20..)?.iter().position(|&b| b == 0)? + 1 + 8,
        _ => return None,
    };
    // Its length and the element's type, then the name.
    head.get(document + 5..)?.split(|&b| b == 0).next()
}

impl Frames for MongoDb {
    const PORTS: &'static [u16] = &[27_017, 27_018, 27_019];
    const ENOUGH: usize = 2;

    fn measure(_: Side, head: &[u8]) -> Measure {
        let field = |at| bytes(head, at).map(u32::from_le_bytes);
        let (Some(len), Some(operation), Some(flags)) = (field(0), field(12), field(HEADER)) else {
            return Measure::Need(HEADER + 4);
        };
        let fits = match operation {
            OP_MSG => flags & 0xFFFE_FFFC == 0,
            OP_COMPRESSED => matches!(flags, 1 | 2001..=2013),
            OP_QUERY => flags >> 8 == 0,
            OP_REPLY | 2001 | 2002 | 2005..=2007 => true,
            _ => false,
        };
        if fits && (HEADER as u32 + 4..=LONGEST).contains(&len) { Measure::Frame(len.into()) } else { Measure::Lost }
    }

    fn frame(&mut self, from: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        let (Some(id), Some(response_to)) = (frame.u32_le(4), frame.u32_le(8)) else { return };
        if let Some(awaited) = self.awaited.filter(|awaited| awaited.from == from && awaited.id == response_to) {
            signs.push(frame.beat("mongodb", if awaited.unasked { Role::OneWay } else { Role::Reply }));
            let more = frame.u32_le(12) == Some(OP_MSG) && frame.u32_le(HEADER).is_some_and(|f| f & MORE_TO_COME != 0);
            self.awaited = more.then_some(Awaited { from, id, unasked: true });
        } else if let Some(b"hello" | b"isMaster" | b"ismaster" | b"ping") = command(frame.head) {
            self.awaited = Some(Awaited { from: from.peer(), id, unasked: false });
            signs.push(frame.beat("mongodb", Role::Request));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// The OP_MSG specification's layout by hand, with a document of one 32-bit integer.
    fn message(id: u8, response_to: u8, flags: &str, name: &str) -> Vec<u8> {
        let document = 4 + 1 + name.len() + 1 + 4 + 1;
        let mut bytes = vec![(21 + document) as u8, 0, 0, 0, id, 0, 0, 0, response_to, 0, 0, 0, 0xDD, 7, 0, 0];
        bytes.extend(hex(flags));
        bytes.extend([0, document as u8, 0, 0, 0, 0x10]);
        bytes.extend(name.as_bytes());
        bytes.extend([0, 1, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn hello_is_answered_and_streamed() {
        let turns: Turns = &[
            (Client, &message(1, 0, "00000000", "hello")),
            (Server, &message(9, 1, "00000000", "ok")),
            (Client, &message(2, 0, "00000100", "hello")),
            (Server, &message(10, 2, "02000000", "ok")),
            (Server, &message(11, 10, "02000000", "ok")),
            (Server, &message(12, 11, "02000000", "ok")),
            (Client, &message(3, 0, "00000000", "find")),
        ];
        let got = beats(&signs(recognise, 27_017, turns));
        let roles: Vec<Role> = got.iter().filter(|(side, ..)| *side == Server).map(|(.., role)| *role).collect();
        assert_eq!(roles, [Role::Reply, Role::Reply, Role::OneWay, Role::OneWay]);
        assert_eq!(got.len() - roles.len(), 2);
    }

    /// As older drivers ask: OP_QUERY on admin.$cmd.
    #[test]
    fn is_master_by_query() {
        let mut ask = hex("3A000000 01000000 00000000 D4070000 00000000");
        ask.extend(b"admin.$cmd\0");
        ask.extend(hex("00000000 FFFFFFFF 13000000 10 69734D617374657200 01000000 00"));
        assert_eq!(ask.len(), 0x3A);
        assert_eq!(beats(&signs(recognise, 27_017, &[(Client, &ask)])), [(Client, "mongodb", Role::Request)]);
    }
}
