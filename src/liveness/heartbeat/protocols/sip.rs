//! SIP over TCP (RFC 3261 §18.3, RFC 5626 §3.5.1): between messages a client sends CRLF CRLF, a "ping", and the server answers
//! CRLF, a "pong".

use super::frames::beat;
use super::framing::Lines;
use super::{OPENING_LIMIT, Opening, Parser, Recognition, Role, Sign, may_become};
use crate::packet::Time;
use crate::summary::{Both, Side};

const PORTS: &[u16] = &[5060];
const METHODS: [&[u8]; 14] = [
    b"INVITE ",
    b"ACK ",
    b"BYE ",
    b"CANCEL ",
    b"REGISTER ",
    b"OPTIONS ",
    b"PRACK ",
    b"SUBSCRIBE ",
    b"NOTIFY ",
    b"PUBLISH ",
    b"INFO ",
    b"REFER ",
    b"MESSAGE ",
    b"UPDATE ",
];

/// Where one side's stream stands.
#[derive(Clone, Default)]
struct Stream {
    lines: Lines<64>,
    place: Place,
    /// Bytes were missed: until a segment starts as a message does, or is a ping, nothing is read.
    lost: bool,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Place {
    /// Between messages.
    #[default]
    Between,
    /// Between messages, after one CRLF.
    Break,
    /// In a header that has announced so many bytes of body.
    Header(u64),
}

#[derive(Default)]
struct Sip {
    streams: Both<Stream>,
    /// Who is to answer a ping.
    pinged: Both<bool>,
}

/// Whether a message can start so: a request with a method of SIP, or a status line.
fn starts_message(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_uppercase)
        && METHODS.iter().chain([&&b"SIP/2.0 "[..]]).any(|word| bytes.starts_with(word))
}

/// Recognises SIP by a message's first line, or by pings on its port.
pub fn recognise(opening: &Opening) -> Recognition {
    let streams = opening.bytes.0.map(|stream| stream.trim_ascii_start());
    // The request line ends in the version; methods like OPTIONS and NOTIFY are also those of others.
    let message = |stream: &&[u8]| {
        starts_message(stream) && {
            let line = stream.split(|&b| b == b'\n').next().unwrap_or_default().trim_ascii();
            line.starts_with(b"SIP/2.0 ") || line.ends_with(b" SIP/2.0")
        }
    };
    let ping = |stream: &&[u8]| stream.starts_with(b"\r\n\r\n");
    let possible = |stream: &&[u8]| {
        starts_message(stream) || METHODS.iter().any(|word| may_become(stream, word)) || may_become(stream, b"SIP/2.0 ")
    };
    if streams.iter().any(message) || opening.port_in(PORTS) && opening.bytes.0.iter().any(ping) {
        Recognition::Yes(Box::new(Sip::default()))
    } else if streams.iter().all(possible) && opening.bytes.0.iter().all(|stream| stream.len() < OPENING_LIMIT) {
        Recognition::Undecided
    } else {
        Recognition::No
    }
}

impl Parser for Sip {
    fn data(&mut self, from: Side, _time: Time, bytes: &[u8], signs: &mut Vec<Sign>) {
        let Sip { streams, pinged } = self;
        let Stream { lines, place, lost } = &mut streams[from];
        if *lost && !starts_message(bytes) && !matches!(bytes, b"\r\n\r\n" | b"\r\n") {
            return;
        }
        if std::mem::take(lost) {
            (*lines, *place) = (Lines::default(), Place::Between);
        }
        lines.push(bytes, |line, _| {
            let mut body = 0;
            *place = match *place {
                Place::Header(length) if line.is_empty() => {
                    body = length;
                    Place::Between
                }
                Place::Header(length) => Place::Header(content_length(line).unwrap_or(length)),
                _ if !line.is_empty() => Place::Header(0),
                Place::Between if std::mem::take(&mut pinged[from]) => {
                    signs.push(beat("sip", Role::Reply, 2, b"\r\n"));
                    Place::Between
                }
                Place::Between => Place::Break,
                Place::Break => {
                    pinged[from.peer()] = true;
                    signs.push(beat("sip", Role::Request, 4, b"\r\n\r\n"));
                    Place::Between
                }
            };
            body
        });
    }

    fn gap(&mut self, from: Side, len: u64) {
        let stream = &mut self.streams[from];
        stream.lines.gap(len);
        stream.lost |= stream.lines.torn();
    }
}

/// The number of a Content-Length line, also in its short form.
fn content_length(line: &[u8]) -> Option<u64> {
    let colon = line.iter().position(|&b| b == b':')?;
    let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
    if !name.eq_ignore_ascii_case(b"Content-Length") && !name.eq_ignore_ascii_case(b"l") {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// Messages shortened from RFC 3261 §24.1; the pings are RFC 5626 §3.5.1's. The body holds what a ping looks like.
    #[test]
    fn pings_between_messages() {
        let turns: Turns = &[
            (Client, b"REGISTER sip:registrar.biloxi.com SIP/2.0\r\nContent-Length: 0\r\n\r\n"),
            (Server, b"SIP/2.0 200 OK\r\nl: 6\r\n\r\na\r\n\r\nb"),
            (Client, b"\r\n\r\n"),
            (Server, b"\r\n"),
            (Client, b"\r\n\r\n"),
        ];
        let got = beats(&signs(recognise, 5080, turns));
        let request = (Client, "sip", Role::Request);
        assert_eq!(got, [request, request, (Server, "sip", Role::Reply)]);
    }

    #[test]
    fn pings_alone_need_the_port() {
        let turns: Turns = &[(Client, b"\r\n\r\n"), (Server, b"\r\n")];
        assert_eq!(beats(&signs_midstream(recognise, 5060, turns)).len(), 2);
        assert_eq!(signs_midstream(recognise, 5061, turns), []);
    }

    #[test]
    fn options_of_http_is_not_sip() {
        assert_eq!(signs(recognise, 80, &[(Client, b"OPTIONS * HTTP/1.1\r\n\r\n"), (Client, b"\r\n\r\n")]), []);
    }
}
