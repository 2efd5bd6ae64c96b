//! HTTP/1.1 (RFC 9112) as a carrier: heads and bodies are followed so that the place in both streams is kept.
//!
//! What it carries: WebSocket and HTTP/2 by `Upgrade`, comments of server-sent events (WHATWG HTML §9.2.6: a line that
//! begins with a colon), and Engine.IO's packets by long polling, joined by 0x1E since version 4 of that protocol.

use std::collections::VecDeque;

use super::frames::beat;
use super::framing::Lines;
use super::websocket::{Inside, SOCKET_IO, WebSocket, engine_io_open, engine_io_role};
use super::{Opening, Parser, Recognition, Role, Sign, http2, may_become};
use crate::packet::Time;
use crate::summary::{Both, Side};

/// Kept of each line of a head.
const HEAD: usize = 112;

/// Requests that await their responses, at most; a client that runs further ahead has its earliest forgotten.
const PIPELINE: usize = 16;

/// How a head may begin: a method, or a response's version.
const STARTS: &[&[u8]] =
    &[b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"HTTP/1."];

/// Recognises HTTP/1 by a request's or a response's first bytes, an event stream in mid-stream by two chunks.
pub fn recognise(opening: &Opening) -> Recognition {
    let mut undecided = false;
    for side in Side::BOTH {
        let bytes = opening.bytes[side];
        if bytes.is_empty() {
            undecided = true;
            continue;
        }
        let possible = bytes.first().is_some_and(|first| STARTS.iter().any(|start| start[0] == *first));
        if possible && is_start(bytes) {
            return Recognition::Yes(Box::new(Http::default()));
        }
        if !opening.from_start && event_chunks(bytes).is_some_and(|chunks| chunks >= 2) {
            let mut http = Http::default();
            http.halves[side] = Half::in_events();
            return Recognition::Yes(Box::new(http));
        }
        undecided |= !opening.from_start && bytes.first().is_some_and(u8::is_ascii_hexdigit) && bytes.len() < 512;
        let cut = |rest: &[u8]| may_become(rest, b"http");
        undecided |= possible
            && STARTS.iter().any(|start| may_become(bytes, start) || bytes.strip_prefix(*start).is_some_and(cut));
    }
    if undecided { Recognition::Undecided } else { Recognition::No }
}

/// Whether a request or a response begins here.
fn is_start(bytes: &[u8]) -> bool {
    STARTS.iter().any(|&start| {
        bytes.strip_prefix(start).is_some_and(|rest| match start {
            b"HTTP/1." => true,
            b"CONNECT " => rest.first().is_some_and(u8::is_ascii_alphanumeric),
            _ => rest.starts_with(b"/") || rest.starts_with(b"http"),
        })
    })
}

/// How many chunks (RFC 9112 §7.1) of an event stream these bytes are, where they are that to the last byte.
fn event_chunks(mut bytes: &[u8]) -> Option<usize> {
    let mut chunks = 0;
    while !bytes.is_empty() {
        let digits = bytes.iter().take(8).take_while(|b| b.is_ascii_hexdigit()).count();
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..digits]).ok()?, 16).ok()?;
        let rest = bytes[digits..].strip_prefix(b"\r\n")?;
        let content = rest.get(..size)?;
        let fields = [&b":"[..], b"data:", b"event:", b"id:", b"retry:"];
        if !content.ends_with(b"\n") || !fields.iter().any(|field| content.starts_with(field)) {
            return None;
        }
        bytes = rest[size..].strip_prefix(b"\r\n")?;
        chunks += 1;
    }
    Some(chunks)
}

/// What a request says that its response needs.
#[derive(Clone, Copy)]
struct Request {
    /// Its response has no body (HEAD), or only turns the connection into a tunnel (CONNECT).
    head: bool,
    connect: bool,
    /// The protocol it asks to change to.
    upgrade: Upgrade,
    /// What it says of what a WebSocket will carry.
    inside: Inside,
    /// Engine.IO by long polling, of this version.
    polling: Option<u8>,
}

impl Default for Request {
    fn default() -> Self {
        Request { head: false, connect: false, upgrade: Upgrade::None, inside: Inside::Unknown, polling: None }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Upgrade {
    None,
    WebSocket,
    Http2,
    Other,
}

/// How the end of a body is found.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// Before a request or status line.
    Start,
    /// Among the header lines of a head.
    Headers,
    /// In a body, or in one of its chunks, with so many bytes to come.
    Body { left: u64, chunk: bool },
    /// Behind a chunk's last byte.
    ChunkEnd,
    /// Before a chunk's size.
    ChunkSize,
    /// Behind the last chunk.
    Trailer,
    /// In a body that ends with the connection.
    ToEnd,
    /// Unknown, until a segment begins with a head.
    Lost,
}

/// What a body holds that is looked into.
#[derive(Clone, Copy, PartialEq)]
enum Content {
    Other,
    Events,
    Polling,
}

struct Half {
    at: At,
    lines: Lines<HEAD>,
    /// Of the head being read: the status of a response, what a request asks for, and how its body is told.
    status: Option<u16>,
    request: Request,
    length: Option<u64>,
    chunked: bool,
    content: Content,
}

impl Default for Half {
    fn default() -> Self {
        Half {
            at: At::Start,
            lines: Lines::default(),
            status: None,
            request: Request::default(),
            length: None,
            chunked: false,
            content: Content::Other,
        }
    }
}

/// Follows an HTTP/1 connection.
#[derive(Default)]
pub struct Http {
    halves: Both<Half>,
    requests: VecDeque<Request>,
    /// The lines of an event stream.
    events: Lines<32>,
    /// The Engine.IO packet being read, by each side.
    packets: Both<Packet>,
    /// What the connection was turned into; a tunnel or an unknown protocol is not followed.
    upgraded: Option<Option<Box<dyn Parser>>>,
}

/// The beginning of an Engine.IO packet.
#[derive(Default)]
struct Packet {
    head: Vec<u8>,
    len: u64,
}

/// Kept of an Engine.IO packet: an open packet up to its ping interval, as a rule.
const PACKET_HEAD: usize = 160;

impl Parser for Http {
    fn data(&mut self, from: Side, time: Time, mut bytes: &[u8], signs: &mut Vec<Sign>) {
        if self.halves[from].at == At::Lost {
            if is_start(bytes) {
                self.halves[from] = Half::default();
            } else if self.halves[from].content == Content::Events && event_chunks(bytes).is_some() {
                self.halves[from] = Half::in_events();
                self.events = Lines::default();
            }
        }
        while !bytes.is_empty() {
            if let Some(upgraded) = &mut self.upgraded {
                if let Some(parser) = upgraded {
                    parser.data(from, time, bytes, signs);
                }
                return;
            }
            let half = &mut self.halves[from];
            match half.at {
                At::Lost => return,
                At::ToEnd => {
                    let content = half.content;
                    self.content(from, content, bytes, signs);
                    return;
                }
                At::Body { left, chunk } => {
                    let (part, rest) = bytes.split_at(usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()));
                    let content = half.content;
                    let left = left - part.len() as u64;
                    half.at = match left {
                        0 if chunk => At::ChunkEnd,
                        0 => At::Start,
                        left => At::Body { left, chunk },
                    };
                    self.content(from, content, part, signs);
                    if left == 0 && !chunk {
                        self.end(from, content, signs);
                    }
                    bytes = rest;
                }
                At::Start | At::Headers | At::ChunkEnd | At::ChunkSize | At::Trailer => {
                    if half.lines.next(&mut bytes).is_some() {
                        self.line(from, signs);
                    }
                }
            }
        }
    }

    fn gap(&mut self, from: Side, len: u64) {
        if let Some(upgraded) = &mut self.upgraded {
            if let Some(parser) = upgraded {
                parser.gap(from, len);
            }
            return;
        }
        let half = &mut self.halves[from];
        match half.at {
            At::Body { left, chunk } if left > len => half.at = At::Body { left: left - len, chunk },
            At::ToEnd => {}
            _ => half.at = At::Lost,
        }
        if half.content == Content::Events {
            self.events.gap(len);
        }
        self.packets[from] = Packet::default();
    }
}

impl Http {
    /// The line just completed on `from`'s stream.
    fn line(&mut self, from: Side, signs: &mut Vec<Sign>) {
        let half = &mut self.halves[from];
        let line = half.lines.last();
        match half.at {
            At::Start if line.is_empty() => {}
            At::Start => half.start(),
            At::Headers if !line.is_empty() => half.header(),
            At::Headers => self.head(from),
            At::ChunkEnd => half.at = if line.is_empty() { At::ChunkSize } else { At::Lost },
            At::ChunkSize => {
                // Extensions may follow the size (RFC 9112 §7.1.1).
                let digits = line.split(|b| !b.is_ascii_hexdigit()).next().unwrap_or_default();
                let size = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
                half.at = match size {
                    Some(0) => At::Trailer,
                    Some(left) => At::Body { left, chunk: true },
                    None => At::Lost,
                };
            }
            At::Trailer if line.is_empty() => {
                half.at = At::Start;
                let content = half.content;
                self.end(from, content, signs);
            }
            _ => {}
        }
    }

    /// A head is complete: decides on what follows it (RFC 9112 §6.3).
    fn head(&mut self, from: Side) {
        let half = &mut self.halves[from];
        let told = match (half.chunked, half.length) {
            (true, _) => Some(At::ChunkSize),
            (false, Some(0)) => Some(At::Start),
            (false, Some(left)) => Some(At::Body { left, chunk: false }),
            (false, None) => None,
        };
        let Some(status) = half.status else {
            half.at = told.unwrap_or(At::Start);
            half.content = if half.request.polling.is_some() { Content::Polling } else { Content::Other };
            self.requests.push_back(half.request);
            if self.requests.len() > PIPELINE {
                self.requests.pop_front();
            }
            return;
        };
        if matches!(status, 100 | 102..=199) {
            half.at = At::Start;
            return;
        }
        let request = self.requests.pop_front().unwrap_or_default();
        if status == 101 || request.connect && (200..300).contains(&status) {
            self.upgraded = Some(match request.upgrade {
                Upgrade::WebSocket => Some(Box::new(WebSocket::new(request.inside))),
                Upgrade::Http2 => Some(http2::parser()),
                _ => None,
            });
            return;
        }
        half.at = match told {
            _ if request.head || matches!(status, 204 | 304) => At::Start,
            Some(at) => at,
            None => At::ToEnd,
        };
        half.request.polling = request.polling;
        if request.polling.is_some() && half.content == Content::Other {
            half.content = Content::Polling;
        }
        if half.content == Content::Events {
            self.events = Lines::default();
        }
    }

    /// The next bytes of a body.
    fn content(&mut self, from: Side, content: Content, mut bytes: &[u8], signs: &mut Vec<Sign>) {
        match content {
            Content::Other => {}
            Content::Events => self.events.push(bytes, |line, len| {
                if line.starts_with(b":") {
                    signs.push(beat("sse", Role::OneWay, len, line));
                }
                0
            }),
            Content::Polling => {
                while !bytes.is_empty() {
                    let separator = bytes.iter().position(|&b| b == 0x1e);
                    let part = &bytes[..separator.unwrap_or(bytes.len())];
                    let packet = &mut self.packets[from];
                    let room = PACKET_HEAD.saturating_sub(packet.head.len());
                    packet.head.extend_from_slice(&part[..part.len().min(room)]);
                    packet.len += part.len() as u64;
                    if separator.is_some() {
                        self.packet(from, signs);
                    }
                    bytes = &bytes[separator.map_or(bytes.len(), |at| at + 1)..];
                }
            }
        }
    }

    /// A body ended.
    fn end(&mut self, from: Side, content: Content, signs: &mut Vec<Sign>) {
        if content == Content::Polling {
            self.packet(from, signs);
        }
    }

    /// An Engine.IO packet ended.
    fn packet(&mut self, from: Side, signs: &mut Vec<Sign>) {
        let Packet { head, len } = std::mem::take(&mut self.packets[from]);
        let version = self.halves[from].request.polling.unwrap_or(4);
        match &head[..] {
            // Version 3 writes the length before each packet, in text or in bytes.
            &[packet] | &[b'1', b':', packet] | &[0, 1, 0xff, packet] => {
                signs.extend(engine_io_role(packet).map(|role| beat(SOCKET_IO, role, len, &head)));
            }
            _ if head.contains(&b'{') => signs.extend(engine_io_open(&head, version, from)),
            _ => {}
        }
    }
}

impl Half {
    /// Between the chunks of an event stream.
    fn in_events() -> Self {
        Half { at: At::ChunkSize, content: Content::Events, ..Half::default() }
    }

    /// Reads a request or status line.
    fn start(&mut self) {
        let line = self.lines.last();
        let mut words = line.split(|&b| b == b' ');
        let first = words.next().unwrap_or_default();
        let second = words.next().unwrap_or_default();
        let status = if first.starts_with(b"HTTP/1.") {
            std::str::from_utf8(second).ok().and_then(|code| code.parse().ok())
        } else {
            None
        };
        if status.is_none() && !is_start(line) {
            self.at = At::Lost;
            return;
        }
        let version = query(second, b"EIO=");
        let polling =
            if query(second, b"transport=").is_some_and(|t| t.starts_with(b"polling")) { version } else { None };
        let number = |version: &[u8]| version.first().map(|digit| digit.wrapping_sub(b'0'));
        let request = Request {
            head: first == b"HEAD",
            connect: first == b"CONNECT",
            upgrade: Upgrade::None,
            inside: version.and_then(number).map_or(Inside::Unknown, Inside::EngineIo),
            polling: polling.and_then(number),
        };
        (self.at, self.status, self.request) = (At::Headers, status, request);
        (self.length, self.chunked, self.content) = (None, false, Content::Other);
    }

    /// Reads a header line.
    fn header(&mut self) {
        let line = self.lines.last();
        let Some(colon) = line.iter().position(|&b| b == b':') else { return };
        let value = line[colon + 1..].trim_ascii();
        let name = |name: &[u8]| line[..colon].eq_ignore_ascii_case(name);
        let is_request = self.status.is_none();
        if name(b"content-length") {
            self.length = std::str::from_utf8(value).ok().and_then(|n| n.parse().ok());
        } else if name(b"transfer-encoding") {
            let last = value.len().saturating_sub(b"chunked".len());
            self.chunked = value[last..].eq_ignore_ascii_case(b"chunked");
        } else if name(b"content-type") && !is_request {
            if has_prefix(value, b"text/event-stream") {
                self.content = Content::Events;
            }
        } else if name(b"upgrade") && is_request {
            self.request.upgrade = match value {
                _ if value.eq_ignore_ascii_case(b"websocket") => Upgrade::WebSocket,
                _ if value.eq_ignore_ascii_case(b"h2c") => Upgrade::Http2,
                _ => Upgrade::Other,
            };
        } else if name(b"sec-websocket-protocol") && is_request {
            // Of several that a client offers, all met in practice are versions of one.
            let inside = match value {
                _ if has_prefix(value, b"mqtt") => Inside::Mqtt,
                _ if has_prefix(value, b"stomp") => Inside::Stomp,
                _ if has_prefix(value, b"v1") && value.windows(6).any(|w| w == b".stomp") => Inside::Stomp,
                _ if has_prefix(value, b"amqp") => Inside::Amqp,
                _ => self.request.inside,
            };
            self.request.inside = inside;
        }
    }
}

fn has_prefix(value: &[u8], prefix: &[u8]) -> bool {
    value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// What follows `key` in a request target's query.
fn query<'a>(target: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let query = target.splitn(2, |&b| b == b'?').nth(1)?;
    query.split(|&b| b == b'&').find_map(|pair| pair.strip_prefix(key))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    /// RFC 6455 §1.2, §5.7: a page first, with the bytes of a ping in its body, then the upgrade.
    #[test]
    fn websocket_after_other_requests() {
        let (ping, pong) = (hex("89 05 48 65 6c 6c 6f"), hex("8a 85 37 fa 21 3d 7f 9f 4d 51 58"));
        let page = [b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n", &ping[..], &ping[..]].concat();
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n\x89\0\x89\0\n\r\n0\r\nT: 1\r\n\r\n";
        let turns: Turns = &[
            (Client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (Server, &page),
            (Client, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (Server, b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n"),
            (Server, chunked),
            (Client, b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
            (Server, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
            (Server, &ping),
            (Client, &pong),
        ];
        let got = signs(recognise, 8080, turns);
        assert_eq!(beats(&got), [(Client, "websocket", Role::Reply), (Server, "websocket", Role::Request)]);
    }

    #[test]
    fn a_refused_upgrade_stays_http() {
        let turns: Turns = &[
            (Client, b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"),
            (Server, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\n\x89\0\x89\0"),
            (Client, b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"),
            (Server, b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x012"),
            (Client, &hex("81 81 00000000 33")),
        ];
        let got = signs(recognise, 8080, turns);
        assert_eq!(beats(&got), [(Client, "socketio", Role::Reply), (Server, "socketio", Role::Request)]);
    }

    /// RFC 9113 §3.1 as it was in RFC 7540 §3.2: the upgrade to h2c.
    #[test]
    fn http2_by_upgrade() {
        let ping = hex("000008 06 00 00000000 0102030405060708");
        let turns: Turns = &[
            (Client, b"GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"),
            (Server, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"),
            (Client, http2::PREFACE),
            (Server, &ping),
        ];
        assert_eq!(beats(&signs(recognise, 80, turns)), [(Server, "http2", Role::Request)]);
    }

    /// WHATWG HTML §9.2: comments among events, chunked over several and in one piece, and without length.
    #[test]
    fn comments_of_event_streams() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n";
        let chunked = [head, &b"Transfer-Encoding: chunked\r\n\r\n"[..]].concat();
        let get: (Side, &[u8]) = (Client, b"GET /events HTTP/1.1\r\n\r\n");
        let turns: Turns = &[
            get,
            (Server, &chunked),
            (Server, b"8\r\n: ping\n\n\r\n"),
            (Server, b"b\r\ndata: a: b\n\r\n1\r\n\n\r\n"),
            (Server, b"3\r\n:\n\n\r\n0\r\n\r\n"),
            get,
            (Server, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n:\n\n"),
        ];
        let comment = (Server, "sse", Role::OneWay);
        assert_eq!(beats(&signs(recognise, 80, turns)), [comment; 2]);
        let to_end = [head, &b"\r\n: a\n\n"[..]].concat();
        let got = signs(recognise, 80, &[get, (Server, &to_end), (Server, b":b\r\n\r\n")]);
        assert_eq!(beats(&got), [comment; 2]);
    }

    /// Engine.IO protocol 4, "HTTP long-polling"; protocol 3 with its length before each packet.
    #[test]
    fn engine_io_by_long_polling() {
        let turns: Turns = &[
            (Client, b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n\r\n"),
            (
                Server,
                b"HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n0{\"sid\":\"x\",\"pingInterval\":25000,\"a\":\"1234\"}",
            ),
            (Client, b"GET /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\n\r\n"),
            (Server, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n42[\"a\"]\x1e2"),
            (Client, b"POST /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nContent-Length: 1\r\n\r\n3"),
            (Server, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ];
        let got = signs(recognise, 3000, turns);
        assert_eq!(declared(&got), [(Some(Server), 25.0)]);
        assert_eq!(beats(&got), [(Client, "socketio", Role::Reply), (Server, "socketio", Role::Request)]);
        let turns: Turns = &[
            (Client, b"POST /engine.io/?EIO=3&transport=polling&sid=x HTTP/1.1\r\nContent-Length: 3\r\n\r\n1:2"),
            (Server, OK),
            (Client, b"GET /engine.io/?EIO=3&transport=polling&sid=x HTTP/1.1\r\n\r\n"),
            (Server, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\0\x01\xff3"),
        ];
        let got = signs(recognise, 3000, turns);
        assert_eq!(beats(&got), [(Client, "socketio", Role::Request), (Server, "socketio", Role::Reply)]);
    }

    #[test]
    fn an_event_stream_mid_stream_and_behind_a_gap() {
        let ping: (Side, &[u8]) = (Server, b"8\r\n: ping\n\n\r\n");
        assert_eq!(signs_midstream(recognise, 80, &[ping; 3]).len(), 3);
        assert_eq!(signs_midstream(recognise, 80, &[ping]), []);
        let mut http = Http::default();
        http.halves[Server] = Half::in_events();
        let mut signs = Vec::new();
        http.gap(Server, 5);
        http.data(Server, Time(0), b"ng\n\n\r\n", &mut signs);
        http.data(Server, Time(0), ping.1, &mut signs);
        assert_eq!(signs.len(), 1);
    }

    #[test]
    fn the_place_is_found_again_at_a_head() {
        let mut http = Http::default();
        let mut signs = Vec::new();
        http.data(Client, Time(0), b"GET /a HTTP/1.1\r\nHo", &mut signs);
        http.gap(Client, 100);
        http.data(Client, Time(0), b"st: a\r\n\r\n", &mut signs);
        http.data(
            Client,
            Time(0),
            b"POST /?EIO=4&transport=polling HTTP/1.1\r\nContent-Length: 1\r\n\r\n3",
            &mut signs,
        );
        assert_eq!(signs.len(), 1);
    }
}
