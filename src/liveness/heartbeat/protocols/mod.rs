//! Heartbeats by name: one file a protocol, all in one table.
//!
//! A flow's first bytes are shown to every recogniser until one says yes; its parser then follows both streams in order,
//! over segment borders, and says what it sees as [`Sign`]s. A name needs context: a handshake, a port together with a
//! fitting frame, or several fitting frames in a row; never four bytes alone.

mod amqp;
mod bgp;
mod bitcoin;
mod bittorrent;
mod cassandra;
mod diameter;
mod dnp3;
mod dubbo;
mod elasticsearch;
mod erlang;
mod fix;
pub mod frames;
pub mod framing;
mod gbt32960;
mod http;
mod http2;
mod iec104;
mod irc;
mod iscsi;
mod jt808;
mod kafka;
mod ldp;
mod mars;
mod memcached;
mod mongodb;
mod mqtt;
mod msdp;
mod mysql;
mod nats;
mod openflow;
mod openwire;
mod ovsdb;
mod postgresql;
mod redis;
mod rocketmq;
mod rsocket;
mod rtmp;
mod sccp;
mod sip;
mod smb;
mod smpp;
mod someip;
mod ssh;
mod stomp;
#[cfg(test)]
mod testing;
mod tls;
mod websocket;
mod xmpp;
mod yamux;
mod zookeeper;

use std::sync::OnceLock;

use crate::packet::Time;
use crate::summary::{BeatKind, Both, Side};

/// What is known of a flow while its protocol is sought.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The TCP ports of both ends.
    pub ports: Both<u16>,
    /// The first bytes seen of each side's stream, at most [`OPENING_LIMIT`].
    pub bytes: Both<&'a [u8]>,
    /// Whether those bytes are the stream's first (the SYN was captured), or somewhere in its middle.
    pub from_start: bool,
    /// Whether the ports are those of whatever protocol asks, where that is supposed instead.
    supposed: Option<bool>,
}

impl<'a> Opening<'a> {
    /// What is known of a flow between these ports.
    #[must_use]
    pub fn new(ports: Both<u16>, bytes: Both<&'a [u8]>, from_start: bool) -> Self {
        Opening { ports, bytes, from_start, supposed: None }
    }

    /// Whether either end uses one of these ports.
    #[inline]
    #[must_use]
    pub fn port_in(&self, ports: &[u16]) -> bool {
        self.supposed.unwrap_or_else(|| ports.iter().any(|port| self.ports.0.iter().any(|p| p == port)))
    }
}

/// Whether these bytes, as far as they have come, are how `beginning` begins. Nearly always the first one says no.
#[inline]
#[must_use]
pub fn may_become(bytes: &[u8], beginning: &[u8]) -> bool {
    bytes.first().is_none_or(|first| beginning.first() == Some(first) && beginning.starts_with(bytes))
}

/// Bytes of each side kept while a protocol is sought; past that a flow stays nameless.
pub const OPENING_LIMIT: usize = 1024;

/// What a recogniser thinks of an opening.
pub enum Recognition {
    /// Not this protocol, whatever follows.
    No,
    /// It may be, with more bytes.
    Undecided,
    /// It is. The parser is then given the opening's bytes from their beginning.
    Yes(Box<dyn Parser>),
}

/// What a message does for liveness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A beat that is never answered.
    OneWay,
    /// A beat that asks for a reply.
    Request,
    /// The reply to the other side's request.
    Reply,
}

/// What a parser saw in the bytes it was just given.
#[derive(Clone, Debug, PartialEq)]
pub enum Sign {
    /// A heartbeat or its reply, from the side whose bytes these are.
    Beat {
        /// The protocol to report: the innermost (socketio inside websocket).
        protocol: &'static str,
        /// One way, request or reply.
        role: Role,
        /// Heartbeat, or a poll for content.
        kind: BeatKind,
        /// Length of the message on the TCP stream, bytes.
        len: u32,
        /// Its first bytes as on the wire, at most 32.
        sample: Vec<u8>,
    },
    /// The handshake announced an interval or timeout.
    Declared {
        /// The protocol it belongs to.
        protocol: &'static str,
        /// Whose beats it governs; `None` for both sides'.
        sender: Option<Side>,
        /// The announced figure, seconds, as the protocol states it (MQTT keep alive, AMQP timeout, BGP hold time).
        seconds: f64,
    },
}

/// Follows one connection's two streams.
pub trait Parser: Send + Sync {
    /// The next bytes of `from`'s stream, in order, cut anywhere, and when they were captured.
    fn data(&mut self, from: Side, time: Time, bytes: &[u8], signs: &mut Vec<Sign>);
    /// `len` bytes of `from`'s stream were not captured; find the place again or stay silent until sure.
    fn gap(&mut self, from: Side, len: u64);
}

/// One protocol of the table.
pub struct Protocol {
    /// Its short name in reports, lower case.
    pub name: &'static str,
    /// Whether an opening is this protocol's.
    pub recognise: fn(&Opening) -> Recognition,
}

/// All protocols, in the order in which they are asked: those with a distinctive handshake first.
pub const TABLE: &[Protocol] = &[
    Protocol { name: "http", recognise: http::recognise },
    Protocol { name: "http2", recognise: http2::recognise },
    Protocol { name: "amqp", recognise: amqp::recognise },
    Protocol { name: "bgp", recognise: bgp::recognise },
    Protocol { name: "smpp", recognise: smpp::recognise },
    Protocol { name: "iec104", recognise: iec104::recognise },
    Protocol { name: "ldp", recognise: ldp::recognise },
    Protocol { name: "fix", recognise: fix::recognise },
    Protocol { name: "dnp3", recognise: dnp3::recognise },
    Protocol { name: "smb2", recognise: smb::recognise },
    Protocol { name: "jt808", recognise: jt808::recognise },
    Protocol { name: "sip", recognise: sip::recognise },
    Protocol { name: "memcached", recognise: memcached::recognise },
    Protocol { name: "ovsdb", recognise: ovsdb::recognise },
    Protocol { name: "rtmp", recognise: rtmp::recognise },
    Protocol { name: "dubbo", recognise: dubbo::recognise },
    Protocol { name: "diameter", recognise: diameter::recognise },
    Protocol { name: "cassandra", recognise: cassandra::recognise },
    Protocol { name: "elasticsearch", recognise: elasticsearch::recognise },
    Protocol { name: "bitcoin", recognise: bitcoin::recognise },
    Protocol { name: "rsocket", recognise: rsocket::recognise },
    Protocol { name: "yamux", recognise: yamux::recognise },
    Protocol { name: "openflow", recognise: openflow::recognise },
    Protocol { name: "gbt32960", recognise: gbt32960::recognise },
    Protocol { name: "rocketmq", recognise: rocketmq::recognise },
    Protocol { name: "openwire", recognise: openwire::recognise },
    Protocol { name: "mars", recognise: mars::recognise },
    Protocol { name: "someip", recognise: someip::recognise },
    Protocol { name: "mongodb", recognise: mongodb::recognise },
    Protocol { name: "postgresql", recognise: postgresql::recognise },
    Protocol { name: "iscsi", recognise: iscsi::recognise },
    Protocol { name: "erlang", recognise: erlang::recognise },
    Protocol { name: "bittorrent", recognise: bittorrent::recognise },
    Protocol { name: "sccp", recognise: sccp::recognise },
    Protocol { name: "mysql", recognise: mysql::recognise },
    Protocol { name: "msdp", recognise: msdp::recognise },
    Protocol { name: "redis", recognise: redis::recognise },
    Protocol { name: "xmpp", recognise: xmpp::recognise },
    Protocol { name: "stomp", recognise: stomp::recognise },
    Protocol { name: "nats", recognise: nats::recognise },
    Protocol { name: "mqtt", recognise: mqtt::recognise },
    Protocol { name: "zookeeper", recognise: zookeeper::recognise },
    Protocol { name: "kafka", recognise: kafka::recognise },
    Protocol { name: "irc", recognise: irc::recognise },
    Protocol { name: "websocket", recognise: websocket::recognise },
    Protocol { name: "tls", recognise: tls::recognise },
    Protocol { name: "ssh", recognise: ssh::recognise },
];

/// The places in [`TABLE`], a bit each, of the protocols that no stream of `side` that begins with this byte is, whatever the
/// ports. Most protocols say so at once; asked one by one, they take longer than all else that is done with a short flow.
#[must_use]
pub fn excluded_by(first: u8, side: Side, from_start: bool) -> u64 {
    static KNOWN: [[[OnceLock<u64>; 256]; 2]; 2] = [const { [const { [const { OnceLock::new() }; 256] }; 2] }; 2];
    *KNOWN[usize::from(from_start)][side as usize][usize::from(first)].get_or_init(|| {
        let mut bytes = Both([&[][..]; 2]);
        let first = [first];
        bytes[side] = &first;
        let is_none = |protocol: &Protocol| {
            [true, false].into_iter().all(|supposed| {
                let opening = Opening { supposed: Some(supposed), ..Opening::new(Both([0; 2]), bytes, from_start) };
                matches!((protocol.recognise)(&opening), Recognition::No)
            })
        };
        TABLE.iter().rev().fold(0, |excluded, protocol| excluded << 1 | u64::from(is_none(protocol)))
    })
}

/// Protocols that travel inside one of [`TABLE`]'s, or in its place, and are reported by their own name.
const INNER: &[&str] = &["actioncable", "nbss", "phoenix", "signalr", "smb", "sockjs", "socketio", "sse"];

/// Every name that a heartbeat can be reported by, in no particular order. HTTP is none: it beats only through what it carries.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|p| p.name).filter(|&name| name != "http").chain(INNER.iter().copied())
}
