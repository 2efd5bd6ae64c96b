//! The words all other modules share: points in time, frames as captured, TCP segments as decoded.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A span of time in nanoseconds; negative where a clock stepped back.
pub type Nanos = i64;

/// Nanoseconds in a second.
pub const SECOND: Nanos = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub const MILLISECOND: Nanos = 1_000_000;

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, as the capture's clock told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

/// The longest span that is told, 73 years: three times it is still no overflow, whatever times a file claims.
pub const LONGEST_SPAN: Nanos = Nanos::MAX / 4;

impl Time {
    /// The span from `earlier` to `self`, negative if `self` came first; at most [`LONGEST_SPAN`] either way.
    #[inline]
    #[must_use]
    pub fn since(self, earlier: Time) -> Nanos {
        self.0.saturating_sub(earlier.0).clamp(-LONGEST_SPAN, LONGEST_SPAN)
    }

    /// This point moved by `span` nanoseconds, saturating.
    #[inline]
    #[must_use]
    pub fn plus(self, span: Nanos) -> Time {
        Time(self.0.saturating_add(span))
    }
}

/// A number in so many bytes, at most seven, or the greatest there: where a million are kept, each byte counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<const BYTES: usize>([u8; BYTES]);

/// Of a frame: it ends at 2^48 - 1, which ten million frames a second reach in a year.
pub type FrameNumber = Number<6>;

impl<const BYTES: usize> Number<BYTES> {
    /// The greatest.
    pub const MAX: u64 = (1 << (8 * BYTES)) - 1;

    /// As one number.
    #[inline]
    #[must_use]
    pub fn get(self) -> u64 {
        let mut bytes = [0; 8];
        bytes[..BYTES].copy_from_slice(&self.0);
        u64::from_le_bytes(bytes)
    }
}

impl<const BYTES: usize> Default for Number<BYTES> {
    fn default() -> Self {
        Number([0; BYTES])
    }
}

impl<const BYTES: usize> From<u64> for Number<BYTES> {
    #[inline]
    fn from(number: u64) -> Self {
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(&number.min(Self::MAX).to_le_bytes()[..BYTES]);
        Number(bytes)
    }
}

/// A span in seconds, for people and for JSON.
#[inline]
#[must_use]
pub fn seconds(span: Nanos) -> f64 {
    span as f64 / SECOND as f64
}

/// A span of `s` seconds in nanoseconds.
#[inline]
#[must_use]
pub fn nanos(s: f64) -> Nanos {
    (s * SECOND as f64).round() as Nanos
}

/// The link-layer header type of an interface, by its number in the tcpdump registry (LINKTYPE_…).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkType(pub u16);

/// One captured frame, borrowed from the reader's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When it was captured.
    pub time: Time,
    /// Its number, from 1, over all files of a run.
    pub number: u64,
    /// What its first bytes are.
    pub link: LinkType,
    /// Which capture interface saw it (pcapng interface, or 0).
    pub interface: u32,
    /// Its length on the wire, which may exceed `data.len()` (snaplen).
    pub wire_len: u32,
    /// The bytes captured.
    pub data: &'a [u8],
}

/// An IPv4 or IPv6 address in 16 bytes; IPv4 as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2), which never appears on the wire.
///
/// In two halves, because a number of 16 bytes would ask for an alignment of 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address {
    /// The first eight bytes.
    pub upper: u64,
    /// The last eight.
    pub lower: u64,
}

impl Address {
    /// The address of four octets.
    #[inline]
    #[must_use]
    pub fn v4(octets: [u8; 4]) -> Self {
        Address { upper: 0, lower: 0xffff_0000_0000 | u64::from(u32::from_be_bytes(octets)) }
    }

    /// The address of sixteen octets.
    #[inline]
    #[must_use]
    pub fn v6(octets: [u8; 16]) -> Self {
        Address::from(u128::from_be_bytes(octets))
    }

    /// Whether it is an IPv4 address.
    #[inline]
    #[must_use]
    pub fn is_v4(self) -> bool {
        self.upper == 0 && self.lower >> 32 == 0xffff
    }

    /// As one number.
    #[must_use]
    pub fn number(self) -> u128 {
        u128::from(self.upper) << 64 | u128::from(self.lower)
    }

    /// As the standard library's type.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        if self.is_v4() {
            IpAddr::V4(Ipv4Addr::from(self.lower as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from(self.number()))
        }
    }
}

impl From<u128> for Address {
    #[inline]
    fn from(number: u128) -> Self {
        Address { upper: (number >> 64) as u64, lower: number as u64 }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(a) => Address::v4(a.octets()),
            IpAddr::V6(a) => Address::v6(a.octets()),
        }
    }
}

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Endpoint {
    /// The host.
    pub address: Address,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.ip() {
            IpAddr::V4(a) => write!(f, "{a}:{}", self.port),
            IpAddr::V6(a) => write!(f, "[{a}]:{}", self.port),
        }
    }
}

/// TCP's flag bits (RFC 9293 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct Flags(pub u8);

#[allow(missing_docs)]
impl Flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    #[inline]
    #[must_use]
    pub fn fin(self) -> bool {
        self.0 & Self::FIN != 0
    }
    #[inline]
    #[must_use]
    pub fn syn(self) -> bool {
        self.0 & Self::SYN != 0
    }
    #[inline]
    #[must_use]
    pub fn rst(self) -> bool {
        self.0 & Self::RST != 0
    }
    #[inline]
    #[must_use]
    pub fn ack(self) -> bool {
        self.0 & Self::ACK != 0
    }
}

/// The TCP options that the analysis uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Options {
    /// TSval and TSecr (RFC 7323 §3).
    pub timestamps: Option<(u32, u32)>,
    /// Window scale shift (RFC 7323 §2), on SYN segments only; at most 14.
    pub window_scale: Option<u8>,
}

/// One TCP segment as decoded.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// When its frame was captured.
    pub time: Time,
    /// Its frame's number.
    pub frame: u64,
    /// The sender.
    pub src: Endpoint,
    /// The receiver.
    pub dst: Endpoint,
    /// SEG.SEQ.
    pub seq: u32,
    /// SEG.ACK, meaningless without the ACK flag.
    pub ack: u32,
    /// The flag bits.
    pub flags: Flags,
    /// SEG.WND as on the wire, not scaled.
    pub window: u16,
    /// The options that matter here.
    pub options: Options,
    /// Bytes of payload by the IP header's length; up to 4 GiB with BIG TCP.
    pub payload_len: u32,
    /// The payload bytes that were captured, at most `payload_len`.
    pub payload: &'a [u8],
    /// IPv4 identification, 0 for IPv6.
    pub ip_id: u16,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// A digest of what precedes the IP header (MAC addresses, VLAN) and the interface: tells copies of a frame apart.
    pub link_digest: u32,
    /// Length of the frame on the wire.
    pub wire_len: u32,
}

#[cfg(test)]
impl Segment<'_> {
    /// A bare acknowledgment of a client, for tests to vary.
    pub const ACK: Segment<'static> = Segment {
        time: Time(0),
        frame: 1,
        src: Endpoint { address: Address { upper: 0, lower: 0xffff_0a00_0001 }, port: 40_000 },
        dst: Endpoint { address: Address { upper: 0, lower: 0xffff_0a00_0002 }, port: 443 },
        seq: 1,
        ack: 1,
        flags: Flags(Flags::ACK),
        window: 500,
        options: Options { timestamps: None, window_scale: None },
        payload_len: 0,
        payload: &[],
        ip_id: 0,
        ttl: 64,
        link_digest: 5,
        wire_len: 54,
    };
}

/// What an ICMP or ICMPv6 error says of a TCP segment that it quotes (RFC 792, RFC 4443).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// When its frame was captured.
    pub time: Time,
    /// Its frame's number.
    pub frame: u64,
    /// Who sent the error.
    pub reporter: Address,
    /// Source of the quoted segment: the side that is told.
    pub src: Endpoint,
    /// Destination of the quoted segment: the side that cannot be reached.
    pub dst: Endpoint,
    /// SEG.SEQ of the quoted segment.
    pub seq: u32,
    /// ICMP type as on the wire.
    pub kind: u8,
    /// ICMP code as on the wire.
    pub code: u8,
    /// Whether it is ICMPv6.
    pub v6: bool,
}

impl IcmpError {
    /// Destination unreachable in any form but "fragmentation needed" (a path MTU message kills nothing).
    #[must_use]
    pub fn unreachable(&self) -> bool {
        if self.v6 { self.kind == 1 } else { self.kind == 3 && self.code != 4 }
    }
}

/// Why a frame gave no segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Not TCP: ARP, UDP, an unknown link type or protocol, ICMP that quotes no TCP.
    NotTcp,
    /// A header contradicts itself or its bytes (a length below the header's own, a wrong version).
    Malformed,
    /// The capture's snaplen cut the frame before the TCP header's end.
    Truncated,
    /// An IP fragment that was held back or could not be reassembled.
    Fragment,
}

/// What decoding made of a frame.
#[derive(Clone, Copy, Debug)]
pub enum Decoded<'a> {
    /// A TCP segment.
    Segment(Segment<'a>),
    /// An ICMP error about a TCP segment.
    Icmp(IcmpError),
    /// Nothing for the flows.
    Skipped(Skip),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_few_bytes_are_exact_up_to_their_end() {
        for number in [0, 1, 0xffff, 0x1_0000, 0x1234_5678_9abc, FrameNumber::MAX] {
            assert_eq!(FrameNumber::from(number).get(), number);
        }
        assert_eq!(FrameNumber::from(u64::MAX).get(), FrameNumber::MAX);
        assert_eq!((Number::<5>::from(70_000).get(), Number::<5>::from(u64::MAX).get()), (70_000, 0xff_ffff_ffff));
    }
}
