//! XMPP: whitespace between stanzas (RFC 6120 §4.6.1), pings (XEP-0199), and requests for acknowledgment (XEP-0198).
//!
//! Named by the stream's header. Tags are followed just far enough to know when a stanza ends; what a short stanza holds is
//! looked at then. After STARTTLS or compression all is silent.

use super::frames::beat;
use super::{Opening, Parser, Recognition, Role, Sign, may_become};
use crate::packet::{MILLISECOND, Nanos, Time};
use crate::summary::{Both, Side};

const NAME: &str = "xmpp";

const PORTS: &[u16] = &[5222, 5269];

/// Kept of a stanza: a ping with its addresses.
const HEAD: usize = 384;

/// Whitespace that follows its stanza within this time belongs to it; later it is a beat.
const TRAILING: Nanos = 100 * MILLISECOND;

/// Recognises XMPP by either side's stream header.
pub fn recognise(opening: &Opening) -> Recognition {
    let mut undecided = false;
    for bytes in opening.bytes.0 {
        let text = bytes.trim_ascii_start();
        let begins = text.starts_with(b"<?xml") || text.starts_with(b"<stream:stream");
        if begins && text.windows(14).any(|window| window == b"<stream:stream") {
            return Recognition::Yes(Box::new(Xmpp::default()));
        }
        undecided |= text.len() < 256 && (begins || may_become(text, b"<?xml") || may_become(text, b"<stream:stream"));
    }
    // In mid-stream the port and a stanza, or some spaces and nothing else.
    if !opening.from_start && opening.port_in(PORTS) {
        let spaces = opening.bytes.0.concat();
        let only_spaces = spaces.len() >= 3 && spaces.trim_ascii().is_empty();
        if only_spaces || opening.bytes.0.into_iter().any(stanza) {
            let mut xmpp = Xmpp::default();
            for side in Side::BOTH {
                xmpp.halves[side].depth = 1;
            }
            return Recognition::Yes(Box::new(xmpp));
        }
        undecided |= opening.bytes.0.iter().all(|bytes| bytes.len() < 16);
    }
    if undecided { Recognition::Undecided } else { Recognition::No }
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Default, PartialEq)]
enum At {
    #[default]
    Text,
    /// In a tag; its first byte behind `<` if seen, the byte before, and the quote that is open.
    Tag { first: u8, last: u8, quote: u8 },
}

#[derive(Default)]
struct Half {
    at: At,
    /// Elements open: 1 between stanzas.
    depth: u32,
    /// Of the current stanza.
    head: Vec<u8>,
    len: u64,
    /// When the last byte other than whitespace between stanzas came.
    spoke: Option<Time>,
    /// The id of a ping that awaits its result.
    ping: Option<Vec<u8>>,
    lost: bool,
}

#[derive(Default)]
struct Xmpp {
    halves: Both<Half>,
    /// Encrypted or compressed from here on.
    over: bool,
}

impl Parser for Xmpp {
    fn data(&mut self, from: Side, time: Time, mut bytes: &[u8], signs: &mut Vec<Sign>) {
        let half = &mut self.halves[from];
        if half.lost {
            // A segment that begins with a stanza, or is one space, is taken to stand between stanzas.
            if !(bytes == b" " || bytes == b"\n" || stanza(bytes)) {
                return;
            }
            let ping = half.ping.take();
            *half = Half { depth: 1, ping, ..Half::default() };
        }
        while let [first, rest @ ..] = bytes {
            if self.over {
                return;
            }
            let half = &mut self.halves[from];
            if half.at == At::Text && half.depth <= 1 && *first != b'<' {
                if half.depth == 1 && first.is_ascii_whitespace() {
                    let trailing = half.spoke.is_some_and(|spoke| time.since(spoke) < TRAILING);
                    if !trailing {
                        signs.push(beat(NAME, Role::OneWay, 1, &[*first]));
                        // A run of whitespace is one beat.
                        half.spoke = Some(time);
                    }
                }
                bytes = rest;
                continue;
            }
            half.spoke = Some(time);
            // To the end of this run of text or of this tag.
            let end = half.step(bytes);
            let was_stanza = half.depth > 1 || half.at != At::Text || half.len > 0;
            if was_stanza {
                half.keep(&bytes[..end.bytes]);
            }
            bytes = &bytes[end.bytes..];
            if end.stanza {
                let head = std::mem::take(&mut half.head);
                let len = std::mem::take(&mut half.len);
                self.stanza(from, &head, len, signs);
            } else if half.depth <= 1 && half.at == At::Text {
                (half.head, half.len) = (Vec::new(), 0);
            }
        }
    }

    fn gap(&mut self, from: Side, len: u64) {
        let half = &mut self.halves[from];
        // A stanza's text may hold a gap; whether it does cannot be told.
        half.lost |= len > 0;
    }
}

fn stanza(bytes: &[u8]) -> bool {
    [&b"<iq "[..], b"<message ", b"<presence", b"<r "].iter().any(|start| bytes.starts_with(start))
}

/// How far a step went, and whether it ended a stanza.
struct Step {
    bytes: usize,
    stanza: bool,
}

impl Half {
    fn keep(&mut self, bytes: &[u8]) {
        let room = HEAD.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.len += bytes.len() as u64;
    }

    /// Goes on to the end of a tag, or to the next tag's beginning.
    fn step(&mut self, bytes: &[u8]) -> Step {
        let At::Tag { mut first, mut last, mut quote } = self.at else {
            let text = bytes.iter().position(|&b| b == b'<');
            if text == Some(0) {
                self.at = At::Tag { first: 0, last: 0, quote: 0 };
            }
            return Step { bytes: text.map_or(bytes.len(), |at| at.max(1)), stanza: false };
        };
        for (at, &byte) in bytes.iter().enumerate() {
            match byte {
                b'>' if quote == 0 => {
                    self.at = At::Text;
                    // The stream's own header and end, a declaration, an element without content.
                    match (first, last) {
                        (b'?' | b'!', _) => {}
                        (b'/', _) => self.depth = self.depth.saturating_sub(1),
                        (_, b'/') => {}
                        _ => self.depth = self.depth.saturating_add(1),
                    }
                    let opened = first != b'/' && last != b'/';
                    let stanza = self.depth == 1 && !opened && !matches!(first, b'?' | b'!');
                    return Step { bytes: at + 1, stanza };
                }
                b'\'' | b'"' if quote == 0 => quote = byte,
                _ if byte == quote => quote = 0,
                _ => {}
            }
            if first == 0 {
                first = byte;
            }
            last = byte;
        }
        self.at = At::Tag { first, last, quote };
        Step { bytes: bytes.len(), stanza: false }
    }
}

impl Xmpp {
    /// A stanza ended.
    fn stanza(&mut self, from: Side, stanza: &[u8], len: u64, signs: &mut Vec<Sign>) {
        let mut say = |role| signs.push(beat(NAME, role, len, stanza));
        let name = stanza.split(|&b| b == b' ' || b == b'/' || b == b'>').next().unwrap_or_default();
        match name {
            // The answer to <starttls/> or <compress/> ends what can be read; so do the bytes that follow it.
            b"<proceed" | b"<compressed" => self.over = true,
            b"<r" if contains(stanza, b"urn:xmpp:sm:") => say(Role::Request),
            b"<a" if contains(stanza, b"urn:xmpp:sm:") => say(Role::Reply),
            b"<iq" => {
                let tag = stanza.split(|&b| b == b'>').next().unwrap_or_default();
                let id = attribute(tag, b"id");
                match attribute(tag, b"type") {
                    Some(b"get") if contains(stanza, b"urn:xmpp:ping") => {
                        self.halves[from].ping = id.map(<[u8]>::to_vec);
                        say(Role::Request);
                    }
                    // An error proves life as well (XEP-0199 §4.2).
                    Some(b"result" | b"error") if id.is_some() && self.halves[from.peer()].ping.as_deref() == id => {
                        self.halves[from.peer()].ping = None;
                        say(Role::Reply);
                    }
                    _ => {}
                }
            }
            // A new stream begins within the old one after authentication, with a header that nothing closes.
            b"<success" => {
                for side in Side::BOTH {
                    self.halves[side].depth = 0;
                }
            }
            _ => {}
        }
    }
}

/// An attribute's value in a tag.
fn attribute<'a>(tag: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = tag.windows(name.len() + 2).position(|window| {
        window[0].is_ascii_whitespace() && &window[1..=name.len()] == name && window[name.len() + 1] == b'='
    })?;
    let (quote, value) = tag[at + name.len() + 2..].split_first()?;
    let end = value.iter().position(|b| b == quote)?;
    Some(&value[..end])
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const HEADER: &[u8] =
        b"<?xml version='1.0'?><stream:stream to='a' xmlns:stream='http://etherx.jabber.org/streams'>";

    /// RFC 6120 §4.6.1 and §9.1, XEP-0199 §4.1 and §4.2, XEP-0198 §4: with a body that quotes a ping, a stream begun anew
    /// after authentication, line ends right behind stanzas.
    #[test]
    fn spaces_pings_and_acknowledgments() {
        let turns: Turns = &[
            (Client, HEADER),
            (Server, HEADER),
            (Server, b"<stream:features><a b='>'/><c/></stream:features>\n"),
            (Client, b"<auth mechanism=\"PLAIN\">AGEAYg==</auth>"),
            (Server, b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
            (Client, HEADER),
            (Server, HEADER),
            (Client, b"<message to='b'><body>&lt;iq urn:xmpp:ping \n \n</body></message>\n"),
            (Client, b" "),
            (Client, b"\r\n"),
            (Server, b"<iq from='a' type='get' id='s1'><ping xmlns='urn:xmpp:ping'/></iq>"),
            (Client, b"<iq type='result' id='other'/>"),
            (Client, b"<iq to='a' id='s1' type='result'/>"),
            (Client, b"<r xmlns='urn:xmpp:sm:3'/>"),
            (Server, b"<a xmlns='urn:xmpp:sm:3' h='1'/>"),
        ];
        let got = beats(&signs(recognise, 40_000, turns));
        let beat = |side, role| (side, NAME, role);
        let client = [Role::OneWay, Role::OneWay, Role::Reply, Role::Request].map(|role| beat(Client, role));
        let server = [Role::Request, Role::Reply].map(|role| beat(Server, role));
        assert_eq!(got, [&client[..], &server[..]].concat());
        assert_eq!(beats(&signs_midstream(recognise, 5222, &turns[10..])), got[2..]);
    }

    #[test]
    fn spaces_on_the_port_mid_stream() {
        let turns: Turns = &[(Client, b" "), (Client, b" "), (Client, b" ")];
        assert_eq!(signs_midstream(recognise, 5222, turns).len(), 3);
        assert_eq!(signs_midstream(recognise, 40_000, turns), []);
    }

    #[test]
    fn nothing_is_read_into_ciphertext() {
        let turns: Turns = &[
            (Client, HEADER),
            (Server, HEADER),
            (Client, b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            (Server, b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            (Client, b" "),
        ];
        assert_eq!(signs(recognise, 5222, turns), []);
    }
}
