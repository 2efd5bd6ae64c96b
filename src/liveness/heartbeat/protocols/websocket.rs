//! WebSocket (RFC 6455): ping (opcode 9) and pong (10) frames by either side, and the beats of protocols that speak inside
//! its messages.
//!
//! A name comes from the HTTP upgrade, or in mid-stream from several frames that fit one after the other, masked one way
//! and unmasked the other (§5.1). Inside, Engine.IO under Socket.IO, SockJS, SignalR, Phoenix, Action Cable, STOMP, MQTT and
//! AMQP 1.0 send each beat as one message, so whole messages are compared and nothing else is looked into.

use super::frames::{beat, bytes, walk};
use super::framing::{Framer, Measure};
use super::{Opening, Parser, Recognition, Role, Sign, amqp, mqtt, stomp};
use crate::packet::Time;
use crate::summary::{Both, Side};

const NAME: &str = "websocket";

/// Kept of each frame: its header of up to 14 bytes and the beginning of its payload.
const HEAD: usize = 192;

/// What speaks inside the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// Not known.
    Unknown,
    /// Engine.IO of this version of its protocol.
    EngineIo(u8),
    /// SockJS.
    SockJs,
    /// SignalR with its binary protocol.
    SignalR,
    /// STOMP.
    Stomp,
    /// MQTT.
    Mqtt,
    /// AMQP 1.0.
    Amqp,
}

/// Recognises WebSocket in mid-stream; a connection from its beginning starts as HTTP.
pub fn recognise(opening: &Opening) -> Recognition {
    if opening.from_start {
        return Recognition::No;
    }
    let mut frames = 0;
    for side in Side::BOTH {
        let stream = opening.bytes[side];
        // The first frame tells which way is masked; the rest and the other side must agree.
        let masked = match (stream, opening.bytes[side.peer()]) {
            ([_, second, ..], _) => second >> 7 == 1,
            (_, [_, second, ..]) => second >> 7 == 0,
            _ => return Recognition::Undecided,
        };
        let walk = walk(stream, HEAD, |head| measure(head, Some(masked)));
        if walk.lost || matches!(opening.bytes[side.peer()], [_, second, ..] if (second >> 7 == 1) == masked) {
            return Recognition::No;
        }
        frames += walk.frames;
    }
    match frames {
        4.. => Recognition::Yes(Box::new(WebSocket { pinged: Both([true; 2]), ..WebSocket::new(Inside::Unknown) })),
        _ => Recognition::Undecided,
    }
}

/// A frame's length (§5.2), where it must be masked or must not, as far as that is known.
fn measure(head: &[u8], masked: Option<bool>) -> Measure {
    let [first, second, rest @ ..] = head else { return Measure::Need(2) };
    let (opcode, len) = (first & 0x0f, second & 0x7f);
    // A control frame is whole and at most 125 bytes long; a data frame may be compressed (RFC 7692: RSV1).
    let fits = match opcode {
        0..=2 => first & 0x30 == 0,
        8..=10 => first & 0xf0 == 0x80 && len <= 125,
        _ => false,
    };
    let is_masked = second >> 7 == 1;
    if !fits || masked.is_some_and(|masked| masked != is_masked) {
        return Measure::Lost;
    }
    let mask = if is_masked { 4 } else { 0 };
    match len {
        // The shortest form must be used.
        126 => match bytes(rest, 0).map(u16::from_be_bytes) {
            Some(len @ 126..) => Measure::Frame(4 + mask + u64::from(len)),
            Some(_) => Measure::Lost,
            None => Measure::Need(4),
        },
        127 => match bytes(rest, 0).map(u64::from_be_bytes) {
            Some(len @ 0x1_0000..0x8000_0000_0000_0000) => Measure::Frame(10 + mask + len),
            Some(_) => Measure::Lost,
            None => Measure::Need(10),
        },
        len => Measure::Frame(2 + mask + u64::from(len)),
    }
}

/// A frame as far as kept, its payload unmasked.
struct Frame {
    opcode: u8,
    /// Whether it is a whole, uncompressed message or control frame.
    whole: bool,
    /// How long the payload is, kept or not.
    payload_len: u64,
    payload: [u8; HEAD],
    kept: usize,
}

impl Frame {
    fn new(head: &[u8], len: u64) -> Option<Frame> {
        let (first, second) = (*head.first()?, *head.get(1)?);
        let mut at = match second & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let mask: [u8; 4] = if second >> 7 == 1 {
            at += 4;
            bytes(head, at - 4)?
        } else {
            [0; 4]
        };
        let kept = head.get(at..)?;
        let mut payload = [0; HEAD];
        for (to, (byte, mask)) in payload.iter_mut().zip(kept.iter().zip(mask.iter().cycle())) {
            *to = byte ^ mask;
        }
        let payload_len = len - at as u64;
        Some(Frame { opcode: first & 0x0f, whole: first & 0xf0 == 0x80, payload_len, payload, kept: kept.len() })
    }

    fn payload(&self) -> &[u8] {
        &self.payload[..self.kept]
    }
}

/// Follows a WebSocket connection.
pub struct WebSocket {
    frames: Both<Framer<HEAD>>,
    /// Whether each side masks, once seen.
    masked: Both<Option<bool>>,
    /// Whether each side has sent a ping, or may have unseen: only then is the other's pong a reply.
    pinged: Both<bool>,
    inside: Inside,
    stomp: stomp::Negotiation,
    /// In mid-stream: who sent "2" last, and how often "3" came back.
    exchange: (Option<Side>, u8),
}

impl WebSocket {
    /// A connection whose upgrade said this of what is inside.
    #[must_use]
    pub fn new(inside: Inside) -> Self {
        WebSocket {
            frames: Both::default(),
            masked: Both::default(),
            pinged: Both::default(),
            inside,
            stomp: stomp::Negotiation::default(),
            exchange: (None, 0),
        }
    }

    fn frame(&mut self, from: Side, head: &[u8], len: u64, signs: &mut Vec<Sign>) {
        self.masked[from] = head.get(1).map(|second| second >> 7 == 1);
        let Some(frame) = Frame::new(head, len) else { return };
        match frame.opcode {
            9 => {
                self.pinged[from] = true;
                signs.push(beat(NAME, Role::Request, len, head));
            }
            // A pong that nobody asked for is a one-way beat (§5.5.3).
            10 => {
                let role = if self.pinged[from.peer()] { Role::Reply } else { Role::OneWay };
                signs.push(beat(NAME, role, len, head));
            }
            1 | 2 if frame.whole => {
                if let Some((protocol, role)) = self.message(from, &frame, signs) {
                    signs.push(beat(protocol, role, len, head));
                }
            }
            _ => {}
        }
    }

    /// What a message says of what is inside, and whether it is a beat.
    fn message(&mut self, from: Side, frame: &Frame, signs: &mut Vec<Sign>) -> Option<(&'static str, Role)> {
        let payload = frame.payload();
        let (is_text, all) = (frame.opcode == 1, payload.len() as u64 == frame.payload_len);
        match (payload, self.inside) {
            (b"2" | b"3", Inside::EngineIo(_)) if is_text => return Some((SOCKET_IO, engine_io_role(payload[0])?)),
            (b"2" | b"3", Inside::Unknown) if is_text => return self.engine_io_mid_stream(from, payload[0]),
            (b"o", Inside::Unknown) if is_text => self.inside = Inside::SockJs,
            // SockJS frames (sockjs-protocol 0.3.3): heartbeat, and STOMP's line end as a JSON string.
            (b"h", Inside::SockJs) => return Some(("sockjs", Role::OneWay)),
            (b"a[\"\\n\"]" | b"[\"\\n\"]", Inside::SockJs) => return Some((stomp::NAME, Role::OneWay)),
            (b"\n" | b"\r\n", Inside::Stomp) => return Some((stomp::NAME, Role::OneWay)),
            (b"\xc0\0", Inside::Mqtt) => return Some((mqtt::NAME, Role::Request)),
            (b"\xd0\0", Inside::Mqtt) => return Some((mqtt::NAME, Role::Reply)),
            (b"\0\0\0\x08\x02\0\0\0", Inside::Amqp) => return Some((amqp::NAME, Role::OneWay)),
            (b"\x02\x91\x06", Inside::SignalR) => return Some((SIGNAL_R, Role::OneWay)),
            (b"{\"type\":6}\x1e", _) if all => return Some((SIGNAL_R, Role::OneWay)),
            // Hub handshake: a binary protocol follows.
            ([b'{', ..], Inside::Unknown) if payload.ends_with(b"\x1e") && contains(payload, b"pack\"") => {
                self.inside = Inside::SignalR;
            }
            ([b'{' | b'[', ..], _) if is_text => return json(payload),
            ([b'0', b'{', ..], _) if is_text => {
                let version = if let Inside::EngineIo(version) = self.inside { version } else { 4 };
                self.inside = Inside::EngineIo(version);
                signs.extend(engine_io_open(payload, version, from));
            }
            ([b'C' | b'S', ..], Inside::Unknown | Inside::Stomp) if self.stomp.frame(from, payload, signs) => {
                self.inside = Inside::Stomp;
            }
            ([0x10, ..], Inside::Unknown | Inside::Mqtt) if !is_text => {
                let declared = mqtt::announcement(from, payload);
                if declared.is_some() {
                    self.inside = Inside::Mqtt;
                }
                signs.extend(declared);
            }
            ([0x20, ..], Inside::Mqtt) => signs.extend(mqtt::announcement(from, payload)),
            _ => {}
        }
        None
    }

    /// Without the upgrade, "2" and "3" are Engine.IO's once one answered the other twice.
    fn engine_io_mid_stream(&mut self, from: Side, packet: u8) -> Option<(&'static str, Role)> {
        match (packet, self.exchange) {
            (b'2', (_, times)) => self.exchange = (Some(from), times),
            (_, (Some(side), times)) if side == from.peer() => {
                self.exchange = (None, times + 1);
                if times >= 1 {
                    self.inside = Inside::EngineIo(4);
                }
            }
            _ => self.exchange = (None, 0),
        }
        None
    }
}

impl Parser for WebSocket {
    fn data(&mut self, from: Side, _time: Time, segment: &[u8], signs: &mut Vec<Sign>) {
        let mut framer = std::mem::take(&mut self.frames[from]);
        let masked = self.masked[from];
        if framer.lost() {
            let walk = walk(segment, HEAD, |head| measure(head, masked));
            if !walk.lost && walk.whole {
                framer.restart();
            }
        }
        framer.push(segment, |head| measure(head, masked), |head, len| self.frame(from, head, len, signs));
        self.frames[from] = framer;
    }

    fn gap(&mut self, from: Side, len: u64) {
        self.frames[from].gap(len);
        self.pinged[from] = true;
    }
}

/// The name of Engine.IO's beats.
pub const SOCKET_IO: &str = "socketio";
const SIGNAL_R: &str = "signalr";

/// Engine.IO's packet types 2 and 3: ping and pong, whichever side pings in its version.
#[must_use]
pub fn engine_io_role(packet: u8) -> Option<Role> {
    match packet {
        b'2' => Some(Role::Request),
        b'3' => Some(Role::Reply),
        _ => None,
    }
}

/// What an Engine.IO open packet (`0{…}`) from `server` announces: since version 4 the server pings, before the client.
#[must_use]
pub fn engine_io_open(packet: &[u8], version: u8, server: Side) -> Option<Sign> {
    const KEY: &[u8] = b"\"pingInterval\":";
    let at = packet.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let digits = packet[at..].iter().take_while(|b| b.is_ascii_digit()).take(9);
    let millis = digits.fold(0u32, |n, &digit| n * 10 + u32::from(digit - b'0'));
    let sender = if version >= 4 { server } else { server.peer() };
    (millis > 0).then(|| Sign::Declared {
        protocol: SOCKET_IO,
        sender: Some(sender),
        seconds: f64::from(millis) / 1000.0,
    })
}

/// Beats that are JSON and tell by their own words whose they are.
fn json(message: &[u8]) -> Option<(&'static str, Role)> {
    // Phoenix channels: topic "phoenix", in the array form of version 2 or the object form of version 1.
    if contains(message, b"\"phoenix\"") {
        return if contains(message, b"\"heartbeat\"") {
            Some(("phoenix", Role::Request))
        } else if contains(message, b"\"phx_reply\"") {
            Some(("phoenix", Role::Reply))
        } else {
            None
        };
    }
    // Action Cable: a ping with the server's time.
    message.starts_with(b"{\"type\":\"ping\",\"message\":").then_some(("actioncable", Role::OneWay))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// A frame of these (RFC 6455 §5.2); the client's are masked with the key of §5.7.
    fn frame(side: Side, first: u8, payload: &[u8]) -> Vec<u8> {
        let mask_bit = if side == Client { 0x80 } else { 0 };
        let mut frame = vec![first];
        match payload.len() {
            len @ ..126 => frame.push(mask_bit | len as u8),
            len => {
                frame.push(mask_bit | 126);
                frame.extend((len as u16).to_be_bytes());
            }
        }
        let key: [u8; 4] = if side == Client { [0x37, 0xfa, 0x21, 0x3d] } else { [0; 4] };
        if side == Client {
            frame.extend(key);
        }
        frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        frame
    }

    type Heard = (Vec<(Side, &'static str, Role)>, Vec<(Option<Side>, f64)>);

    /// The beats and the announced figures of a connection whose upgrade said this.
    fn inside(inside: Inside, messages: &[(Side, u8, &[u8])]) -> Heard {
        let mut socket = WebSocket::new(inside);
        let mut all = Vec::new();
        for &(side, first, payload) in messages {
            let mut signs = Vec::new();
            socket.data(side, Time(0), &frame(side, first, payload), &mut signs);
            all.extend(signs.into_iter().map(|sign| (side, sign)));
        }
        (beats(&all), declared(&all))
    }

    /// RFC 6455 §5.7: an unmasked ping "Hello" and its masked pong, byte for byte.
    #[test]
    fn frames_as_in_the_specification() {
        assert_eq!(frame(Server, 0x89, b"Hello"), hex("89 05 48 65 6c 6c 6f"));
        assert_eq!(frame(Client, 0x8a, b"Hello"), hex("8a 85 37 fa 21 3d 7f 9f 4d 51 58"));
    }

    #[test]
    fn pings_mid_stream() {
        let (ping, pong) = (hex("89 05 48 65 6c 6c 6f"), hex("8a 85 37 fa 21 3d 7f 9f 4d 51 58"));
        let turns: Turns = &[(Server, &ping), (Client, &pong), (Server, &ping), (Client, &pong)];
        let got = beats(&signs_midstream(recognise, 40_000, turns));
        let expected = [(Client, NAME, Role::Reply), (Server, NAME, Role::Request)];
        assert_eq!(got.len(), 4);
        assert!(got.iter().all(|beat| expected.contains(beat)), "{got:?}");
        assert_eq!(signs_midstream(recognise, 40_000, &turns[..2]), []);
        let unmasked: Turns = &[(Server, &ping), (Client, &ping)];
        assert_eq!(signs_midstream(recognise, 40_000, &unmasked.repeat(3)), []);
    }

    #[test]
    fn a_pong_that_nobody_asked_for_is_one_way() {
        let got = inside(Inside::Unknown, &[(Client, 0x8a, b""), (Server, 0x89, b""), (Client, 0x8a, b"")]);
        assert_eq!(got.0, [(Client, NAME, Role::OneWay), (Server, NAME, Role::Request), (Client, NAME, Role::Reply)]);
    }

    #[test]
    fn a_ping_inside_a_message_or_behind_a_gap() {
        let mut socket = WebSocket::new(Inside::Unknown);
        let mut signs = Vec::new();
        socket.data(Server, Time(0), &frame(Server, 0x82, &frame(Server, 0x89, &[0; 100]).repeat(9)), &mut signs);
        assert_eq!(signs, []);
        let message = frame(Server, 0x82, &[0x89; 1000]);
        socket.data(Server, Time(0), &message[..500], &mut signs);
        socket.gap(Server, message.len() as u64 - 500);
        socket.data(Server, Time(0), &frame(Server, 0x89, b""), &mut signs);
        assert_eq!(signs.len(), 1);
        socket.gap(Server, 1);
        socket.data(Server, Time(0), &[0x89, 0x7d], &mut signs);
        socket.data(Server, Time(0), &frame(Server, 0x89, b"x"), &mut signs);
        assert_eq!(signs.len(), 2);
    }

    /// Engine.IO protocol 4, "Protocol" and its example session; protocol 3 pings the other way round.
    #[test]
    fn engine_io() {
        let open = br#"0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        let got = inside(
            Inside::EngineIo(4),
            &[(Server, 0x81, open), (Client, 0x81, b"2probe"), (Server, 0x81, b"2"), (Client, 0x81, b"3")],
        );
        assert_eq!(got.0, [(Server, SOCKET_IO, Role::Request), (Client, SOCKET_IO, Role::Reply)]);
        assert_eq!(got.1, [(Some(Server), 25.0)]);
        assert_eq!(inside(Inside::EngineIo(3), &[(Server, 0x81, open)]).1, [(Some(Client), 25.0)]);
        let exchange: [(Side, u8, &[u8]); 2] = [(Server, 0x81, b"2"), (Client, 0x81, b"3")];
        assert_eq!(inside(Inside::Unknown, &exchange.repeat(3)).0.len(), 2);
        assert_eq!(inside(Inside::Unknown, &exchange).0, []);
    }

    /// SignalR hub protocol, "Ping Message Encoding", in JSON and in MessagePack; SockJS protocol 0.3.3; phoenix.js;
    /// Action Cable's server.
    #[test]
    fn what_else_speaks_inside() {
        let one_way = |side, name| vec![(side, name, Role::OneWay)];
        assert_eq!(inside(Inside::Unknown, &[(Server, 0x81, b"{\"type\":6}\x1e")]).0, one_way(Server, "signalr"));
        let handshake = b"{\"protocol\":\"messagepack\",\"version\":1}\x1e";
        let got = inside(Inside::Unknown, &[(Client, 0x81, handshake), (Client, 0x82, &[2, 0x91, 6])]);
        assert_eq!(got.0, one_way(Client, "signalr"));
        let got = inside(Inside::Unknown, &[(Server, 0x81, b"h"), (Server, 0x81, b"o"), (Server, 0x81, b"h")]);
        assert_eq!(got.0, one_way(Server, "sockjs"));
        let cable = br#"{"type":"ping","message":1700000000}"#;
        assert_eq!(inside(Inside::Unknown, &[(Server, 0x81, cable)]).0, one_way(Server, "actioncable"));
        for (beat, reply) in [
            (
                &br#"[null,"2","phoenix","heartbeat",{}]"#[..],
                &br#"[null,"2","phoenix","phx_reply",{"response":{},"status":"ok"}]"#[..],
            ),
            (
                br#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"2"}"#,
                br#"{"topic":"phoenix","ref":"2","payload":{"status":"ok","response":{}},"event":"phx_reply"}"#,
            ),
        ] {
            let got = inside(Inside::Unknown, &[(Client, 0x81, beat), (Server, 0x81, reply)]);
            assert_eq!(got.0, [(Client, "phoenix", Role::Request), (Server, "phoenix", Role::Reply)]);
        }
    }

    #[test]
    fn packet_protocols_inside() {
        let connect = b"\x10\x0d\0\x04MQTT\x04\x02\0\x0a\0\x01a";
        let got =
            inside(Inside::Unknown, &[(Client, 0x82, connect), (Client, 0x82, b"\xc0\0"), (Server, 0x82, b"\xd0\0")]);
        assert_eq!(got.0, [(Client, "mqtt", Role::Request), (Server, "mqtt", Role::Reply)]);
        assert_eq!(got.1, [(Some(Client), 10.0)]);
        let got = inside(
            Inside::Unknown,
            &[
                (Client, 0x81, b"CONNECT\nheart-beat:10000,0\n\n\0"),
                (Server, 0x81, b"CONNECTED\nheart-beat:0,20000\n\n\0"),
                (Client, 0x81, b"\n"),
            ],
        );
        assert_eq!(got, (vec![(Client, "stomp", Role::OneWay)], vec![(Some(Client), 20.0)]));
        let got = inside(Inside::Amqp, &[(Client, 0x82, &hex("00000008 02 00 0000"))]);
        assert_eq!(got.0, [(Client, "amqp", Role::OneWay)]);
    }
}
