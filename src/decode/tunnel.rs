//! IP payloads that are packets again: IP in IP, GRE, MPLS, EtherIP, and over UDP VXLAN, Geneve, GTP-U and L2TP.

use etherparse::{EtherType, IpNumber, UdpHeaderSlice};

use crate::packet::Skip;

use super::link::{self, Network};
use super::network::{Datagram, Header};
use super::part::{Part, Way};

/// The MPLS EtherType.
const MPLS: EtherType = EtherType(0x8847);
/// Ethernet in SRv6 and elsewhere (RFC 8986 §9).
const ETHERNET: IpNumber = IpNumber(143);

/// The packet inside `datagram`.
///
/// # Errors
/// [`Skip::NotTcp`] if it is no tunnel known here; else as the headers are short or wrong.
pub(super) fn open<'a>(datagram: &Datagram<'a>) -> Result<Network<'a>, Skip> {
    let Header { src, dst, protocol, way, .. } = datagram.header;
    let part = datagram.payload;
    let way = way.deeper()?.mix(src.upper ^ src.lower).mix(dst.upper ^ dst.lower);
    match protocol {
        IpNumber::IPV4 => Ok(Network { protocol: EtherType::IPV4, part, way }),
        IpNumber::IPV6 => Ok(Network { protocol: EtherType::IPV6, part, way }),
        IpNumber::GRE => gre(part, way),
        IpNumber::UDP => udp(part, way),
        IpNumber::MPLS_IN_IP => link::mpls(part, way),
        // Two bytes of version and nothing (RFC 3378).
        IpNumber::ETHER_IP => link::ethernet(part.skip(2)?, way),
        ETHERNET => link::ethernet(part, way),
        _ => Err(Skip::NotTcp),
    }
}

/// GRE (RFC 2784, RFC 2890, with RFC 1701's routing), and its version 1 for PPP (RFC 2637).
fn gre(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGMENT: u16 = 0x0080;
    const VERSION: u16 = 0x0007;
    const ERSPAN_I_II: u16 = 0x88be;
    const ERSPAN_III: u16 = 0x22eb;
    let (h, mut rest) = part.split::<4>()?;
    let flags = u16::from_be_bytes([h[0], h[1]]);
    let protocol = u16::from_be_bytes([h[2], h[3]]);
    let mut way = way;
    let version = flags & VERSION;
    // In version 1 a packet without sequence number is a bare acknowledgment.
    if version > 1 || version == 1 && flags & SEQUENCE == 0 {
        return Err(Skip::NotTcp);
    }
    if flags & (CHECKSUM | ROUTING) != 0 {
        rest = rest.skip(4)?;
    }
    if flags & KEY != 0 {
        let (key, after) = rest.split::<4>()?;
        // PPTP's key is a length and a call; only the call stays the same.
        way = way.mix_bytes(if version == 1 { &key[2..] } else { key });
        rest = after;
    }
    if flags & SEQUENCE != 0 {
        rest = rest.skip(4)?;
    }
    if version == 1 && flags & ACKNOWLEDGMENT != 0 {
        rest = rest.skip(4)?;
    }
    if version == 0 && flags & ROUTING != 0 {
        // Source routes until one of family 0 and length 0.
        loop {
            let (route, after) = rest.split::<4>()?;
            rest = after.skip(usize::from(route[3]))?;
            if *route == [0, 0, route[2], 0] {
                break;
            }
        }
    }
    match protocol {
        // A mirrored frame: without sequence number nothing precedes it, else a header of 8 bytes with its session.
        ERSPAN_I_II if flags & SEQUENCE == 0 => link::ethernet(rest, way),
        ERSPAN_I_II => {
            let (h, rest) = rest.split::<8>()?;
            link::ethernet(rest, way.mix(u64::from(h[2] & 0x03) << 8 | u64::from(h[3])))
        }
        // Here 12 bytes, and 8 more if the last bit says so.
        ERSPAN_III => {
            let (h, rest) = rest.split::<12>()?;
            let rest = if h[11] & 1 == 1 { rest.skip(8)? } else { rest };
            link::ethernet(rest, way.mix(u64::from(h[2] & 0x03) << 8 | u64::from(h[3])))
        }
        other => link::by_ether_type(EtherType(other), rest, way),
    }
}

/// A UDP header and what follows it.
pub(super) struct Udp<'a> {
    ports: (u16, u16),
    payload: Part<'a>,
}

/// Opens a tunnel over UDP.
type UdpTunnel = for<'a> fn(Part<'a>, Way) -> Result<Network<'a>, Skip>;

impl<'a> Udp<'a> {
    /// The header at the beginning of `part`.
    ///
    /// # Errors
    /// See [`Part::short`].
    pub(super) fn read(part: Part<'a>) -> Result<Self, Skip> {
        let h = UdpHeaderSlice::from_slice(part.captured).map_err(|e| part.short(e.required_len))?;
        Ok(Udp { ports: (h.source_port(), h.destination_port()), payload: part.skip(h.slice().len())? })
    }

    /// The tunnel that uses its ports. They are but a hint: what does not look like the tunnel is [`Skip::NotTcp`].
    pub(super) fn tunnel(&self) -> Option<UdpTunnel> {
        match self.ports {
            (_, 4789 | 8472) => Some(vxlan),
            (_, 6081) => Some(geneve),
            (_, 6635) => Some(|part, way| link::by_ether_type(MPLS, part, way)),
            (2152, _) | (_, 2152) => Some(gtp_u),
            (1701, _) | (_, 1701) => Some(l2tp),
            _ => None,
        }
    }
}

fn udp(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    let udp = Udp::read(part)?;
    udp.tunnel().ok_or(Skip::NotTcp)?(udp.payload, way)
}

/// VXLAN (RFC 7348 §5): a flag that says that there is a network identifier, then Ethernet.
fn vxlan(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    let (h, rest) = part.split::<8>()?;
    if h[0] & 0x08 == 0 || h[7] != 0 {
        return Err(Skip::NotTcp);
    }
    link::ethernet(rest, way.mix_bytes(&h[4..7]))
}

/// Geneve (RFC 8926 §3.4): version 0, the options' length in words, an EtherType, a network identifier.
fn geneve(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    let (h, rest) = part.split::<8>()?;
    if h[0] >> 6 != 0 {
        return Err(Skip::NotTcp);
    }
    let rest = rest.skip(usize::from(h[0] & 0x3f) * 4)?;
    link::by_ether_type(EtherType(u16::from_be_bytes([h[2], h[3]])), rest, way.mix_bytes(&h[4..7]))
}

/// GTP-U (3GPP TS 29.281 §5): version 1, a message that is a packet, the tunnel's identifier, extension headers.
fn gtp_u(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    const VERSION_AND_TYPE: u8 = 0xf0;
    const OPTIONAL_FIELDS: u8 = 0x07;
    const EXTENSIONS: u8 = 0x04;
    const PACKET: u8 = 255;
    let (h, mut rest) = part.split::<8>()?;
    if h[0] & VERSION_AND_TYPE != 0x30 || h[1] != PACKET {
        return Err(Skip::NotTcp);
    }
    if h[0] & OPTIONAL_FIELDS != 0 {
        let (fields, after) = rest.split::<4>()?;
        rest = after;
        let mut next = if h[0] & EXTENSIONS != 0 { fields[3] } else { 0 };
        while next != 0 {
            let (&[words], _) = rest.split::<1>()?;
            let len = usize::from(words) * 4;
            let last = len.checked_sub(1).ok_or(Skip::NotTcp)?;
            next = *rest.captured.get(last).ok_or_else(|| rest.short(len))?;
            rest = rest.skip(len)?;
        }
    }
    link::by_version(rest, way.mix_bytes(&h[4..8]))
}

/// L2TP version 2 (RFC 2661 §3.1): a data message with PPP in it.
fn l2tp(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    const CONTROL: u16 = 0x8000;
    const LENGTH: u16 = 0x4000;
    const SEQUENCE: u16 = 0x0800;
    const OFFSET: u16 = 0x0200;
    const VERSION: u16 = 0x000f;
    let (flags, mut rest) = part.split::<2>()?;
    let flags = u16::from_be_bytes(*flags);
    if flags & CONTROL != 0 || flags & VERSION != 2 {
        return Err(Skip::NotTcp);
    }
    if flags & LENGTH != 0 {
        rest = rest.skip(2)?;
    }
    let (session, mut rest) = rest.split::<4>()?;
    if flags & SEQUENCE != 0 {
        rest = rest.skip(4)?;
    }
    if flags & OFFSET != 0 {
        let (size, after) = rest.split::<2>()?;
        rest = after.skip(usize::from(u16::from_be_bytes(*size)))?;
    }
    link::ppp(rest, way.mix_bytes(session))
}
