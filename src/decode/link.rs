//! Everything before the IP header: link layers by their number in the tcpdump registry, tags, labels, PPP.

use etherparse::EtherType;

use crate::packet::{Frame, LinkType, Skip};

use super::part::{Part, Way};

/// Ethernet, the link type of nearly every capture.
pub(super) const ETHERNET: LinkType = LinkType(1);

/// Types below this one are lengths (IEEE 802.3 §3.2.6).
const FIRST_ETHER_TYPE: u16 = 0x0600;
/// Transparent Ethernet bridging: a whole Ethernet frame follows (RFC 1701, RFC 7637).
const BRIDGED_ETHERNET: EtherType = EtherType(0x6558);
/// PPP in GRE (RFC 2637) and in Ethernet.
const PPP: EtherType = EtherType(0x880b);
const MPLS_UNICAST: EtherType = EtherType(0x8847);
const MPLS_MULTICAST: EtherType = EtherType(0x8848);
const PPPOE_SESSION: EtherType = EtherType(0x8864);

/// What lies before a network header is read; this is the rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network<'a> {
    /// [`EtherType::IPV4`] or [`EtherType::IPV6`].
    pub protocol: EtherType,
    /// From the network header on.
    pub part: Part<'a>,
    pub way: Way,
}

/// The network packet in a frame.
///
/// # Errors
/// [`Skip::NotTcp`] where the frame carries none or the link type is unknown; else as the headers are short or wrong.
pub(super) fn network<'a>(frame: &Frame<'a>) -> Result<Network<'a>, Skip> {
    let wire_len = usize::try_from(frame.wire_len).unwrap_or(usize::MAX).max(frame.data.len());
    by_link_type(frame.link, Part::new(frame.data, wire_len), Way::new(frame.interface))
}

fn by_link_type(link: LinkType, part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    let way = way.deeper()?;
    match link.0 {
        // BSD loopback in the capturing host's byte order, OpenBSD's in the network's.
        0 | 108 => loopback(part, way),
        1 => ethernet(part, way),
        9 => ppp(part, way),
        // Raw IP; 12 and 14 are what BSDs wrote before 101 was assigned.
        12 | 14 | 101 => by_version(part, way).map_err(|skip| match skip {
            Skip::NotTcp => Skip::Malformed,
            other => other,
        }),
        // PPP in HDLC-like framing, which may be Cisco's.
        50 if part.captured.starts_with(&[0xff]) => ppp(part, way),
        50 | 104 => cisco_hdlc(part, way),
        51 => pppoe(part, way),
        105 => ieee80211(part, way, false),
        113 => linux_sll(part, way),
        127 => radiotap(part, way),
        192 => per_packet_information(part, way),
        228 => Ok(Network { protocol: EtherType::IPV4, part, way }),
        229 => Ok(Network { protocol: EtherType::IPV6, part, way }),
        239 => nflog(part, way),
        242 => ip_over_infiniband(part, way),
        258 => pktap(part, way),
        276 => linux_sll2(part, way),
        _ => Err(Skip::NotTcp),
    }
}

/// Mixes in both MAC addresses and the type that follows them.
#[inline(always)]
pub(super) fn ethernet_way(way: Way, h: &[u8; 14]) -> Way {
    // Copied before they are numbers: byte by byte, each would be put together from eight loads.
    let eight = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&h[at..at + 8]);
        u64::from_ne_bytes(bytes)
    };
    way.mix(eight(0)).mix(eight(6))
}

/// Mixes in a VLAN tag with the type that follows it.
#[inline(always)]
pub(super) fn vlan_way(way: Way, tag: [u8; 4]) -> Way {
    way.mix(u64::from(u32::from_be_bytes(tag)))
}

/// An Ethernet frame, from the destination address on.
pub(super) fn ethernet(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    let (header, rest) = part.split::<14>()?;
    let ether_type = EtherType(u16::from_be_bytes([header[12], header[13]]));
    let mut header = *header;
    if ether_type.0 < FIRST_ETHER_TYPE {
        header[12..].fill(0);
    }
    by_ether_type(ether_type, rest, ethernet_way(way, &header))
}

/// What follows an EtherType, in Ethernet or wherever else one is used.
pub(super) fn by_ether_type(mut ether_type: EtherType, mut part: Part<'_>, mut way: Way) -> Result<Network<'_>, Skip> {
    loop {
        way = way.deeper()?;
        match ether_type {
            EtherType::IPV4 | EtherType::IPV6 => return Ok(Network { protocol: ether_type, part, way }),
            EtherType::VLAN_TAGGED_FRAME | EtherType::PROVIDER_BRIDGING | EtherType::VLAN_DOUBLE_TAGGED_FRAME => {
                let (tag, rest) = part.split::<4>()?;
                way = vlan_way(way, *tag);
                ether_type = EtherType(u16::from_be_bytes([tag[2], tag[3]]));
                part = rest;
            }
            MPLS_UNICAST | MPLS_MULTICAST => return mpls(part, way),
            PPPOE_SESSION => return pppoe(part, way),
            PPP => return ppp(part, way),
            BRIDGED_ETHERNET => return ethernet(part, way),
            EtherType(len) if len < FIRST_ETHER_TYPE => return llc(Part::new(part.captured, usize::from(len)), way),
            _ => return Err(Skip::NotTcp),
        }
    }
}

/// An IP packet told by its version number; [`Skip::NotTcp`] if it is neither.
pub(super) fn by_version(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    let protocol = match part.captured.first().ok_or_else(|| part.short(1))? >> 4 {
        4 => EtherType::IPV4,
        6 => EtherType::IPV6,
        _ => return Err(Skip::NotTcp),
    };
    Ok(Network { protocol, part, way })
}

/// IEEE 802.2 logical link control, with a subnetwork access protocol header (RFC 1042) or IP's own number.
fn llc(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    let (header, rest) = part.split::<3>()?;
    match header {
        [0xaa, 0xaa, 0x03] => {
            let (snap, rest) = rest.split::<5>()?;
            match *snap {
                // Ethernet types as such, and as bridges write them (IEEE 802.1H).
                [0, 0, 0 | 0xf8, a, b] => by_ether_type(EtherType(u16::from_be_bytes([a, b])), rest, way.deeper()?),
                _ => Err(Skip::NotTcp),
            }
        }
        [0x06, 0x06, 0x03] => Ok(Network { protocol: EtherType::IPV4, part: rest, way }),
        _ => Err(Skip::NotTcp),
    }
}

/// BSD loopback: an address family of four bytes. IPv6 has a number on each system.
fn loopback(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    let (family, part) = part.split::<4>()?;
    let protocol = match u32::from_be_bytes(*family).min(u32::from_le_bytes(*family)) {
        2 => EtherType::IPV4,
        10 | 24 | 28 | 30 => EtherType::IPV6,
        _ => return Err(Skip::NotTcp),
    };
    Ok(Network { protocol, part, way })
}

/// Linux's "cooked" header of 16 bytes: direction, device type, sender, EtherType.
fn linux_sll(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    let (h, rest) = part.split::<16>()?;
    cooked([h[2], h[3]], [h[14], h[15]], rest, way.mix_bytes(&h[..14]))
}

/// Its second version of 20 bytes, which has the interface's index too.
fn linux_sll2(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    let (h, rest) = part.split::<20>()?;
    cooked([h[8], h[9]], [h[0], h[1]], rest, way.mix_bytes(&h[4..]))
}

fn cooked(device: [u8; 2], protocol: [u8; 2], part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    /// The device type of netlink sockets, whose protocol field is a netlink family.
    const NETLINK: u16 = 824;
    /// `ETH_P_802_2`: a logical link control header follows.
    const LLC: u16 = 4;
    match u16::from_be_bytes(protocol) {
        _ if u16::from_be_bytes(device) == NETLINK => Err(Skip::NotTcp),
        LLC => llc(part, way),
        other if other < FIRST_ETHER_TYPE => Err(Skip::NotTcp),
        other => by_ether_type(EtherType(other), part, way),
    }
}

/// PPP (RFC 1661, RFC 1662): address and control unless compressed, then the protocol in one byte or two.
pub(super) fn ppp(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    // No protocol has the number of the address "all stations".
    let framed = part.captured.first() == Some(&0xff);
    let part = if framed { part.skip(2)? } else { part };
    let (&[first], rest) = part.split::<1>()?;
    // The last byte of a protocol number is odd, the others are even.
    let (protocol, rest) = if first & 1 == 1 {
        (u16::from(first), rest)
    } else {
        let (number, rest) = part.split::<2>()?;
        (u16::from_be_bytes(*number), rest)
    };
    match protocol {
        0x0021 => Ok(Network { protocol: EtherType::IPV4, part: rest, way }),
        0x0057 => Ok(Network { protocol: EtherType::IPV6, part: rest, way }),
        0x0281 | 0x0283 => mpls(rest, way),
        _ => Err(Skip::NotTcp),
    }
}

/// Cisco's HDLC: address, control, EtherType.
fn cisco_hdlc(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    let (h, rest) = part.split::<4>()?;
    by_ether_type(EtherType(u16::from_be_bytes([h[2], h[3]])), rest, way)
}

/// A PPPoE session (RFC 2516 §4): version and type 1, code 0, session, length, then PPP without HDLC's framing.
fn pppoe(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    let (h, rest) = part.split::<6>()?;
    if h[0] != 0x11 {
        return Err(Skip::Malformed);
    }
    if h[1] != 0 {
        return Err(Skip::NotTcp);
    }
    let len = usize::from(u16::from_be_bytes([h[4], h[5]]));
    ppp(Part::new(rest.captured, len), way.mix_bytes(&h[2..4]))
}

/// An MPLS label stack (RFC 3032), then whatever its last label stands for, which the packet does not say.
pub(super) fn mpls(mut part: Part<'_>, mut way: Way) -> Result<Network<'_>, Skip> {
    loop {
        let (entry, rest) = part.split::<4>()?;
        let bottom = entry[2] & 1 == 1;
        way = way.deeper()?.mix_bytes(&entry[..3]);
        part = rest;
        if bottom {
            break;
        }
    }
    let first = *part.captured.first().ok_or_else(|| part.short(1))?;
    match first >> 4 {
        4 | 6 => by_version(part, way),
        // A pseudowire's control word begins with 0 (RFC 4385), and so do many MAC addresses: see which gives sense.
        0 if part.skip(4).is_ok_and(is_ethernet) => ethernet(part.skip(4)?, way),
        _ if is_ethernet(part) => ethernet(part, way),
        // Control word, addresses, type and version: with less one cannot see.
        _ if part.captured.len() < part.len.min(19) => Err(Skip::Truncated),
        _ => Err(Skip::NotTcp),
    }
}

/// Whether an Ethernet header with an IP packet or a VLAN tag begins here.
fn is_ethernet(part: Part<'_>) -> bool {
    match part.captured.get(12..15) {
        Some([0x08, 0x00, version]) => version >> 4 == 4,
        Some([0x86, 0xdd, version]) => version >> 4 == 6,
        Some([0x81, 0x00, _] | [0x88, 0xa8, _]) => true,
        _ => false,
    }
}

/// A radiotap header (little-endian), then an IEEE 802.11 frame.
fn radiotap(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    /// In the bitmap: the radio's clock of 8 bytes, the frame's flags, another bitmap.
    const CLOCK: u8 = 0x01;
    const FLAGS: u8 = 0x02;
    const MORE: u8 = 0x80;
    /// In the flags: the 802.11 header is padded to a multiple of four.
    const PADDED: u8 = 0x20;
    let (h, _) = part.split::<8>()?;
    let len = usize::from(u16::from_le_bytes([h[2], h[3]]));
    let rest = part.skip(len)?;
    let header = &part.captured[..len];
    // The fields follow the last bitmap, each on a multiple of its size.
    let bitmaps = header.get(4..).map_or(0, |b| b.chunks_exact(4).take_while(|map| map[3] & MORE != 0).count()) + 1;
    let fields = 4 + 4 * bitmaps;
    let flags_at = if h[4] & CLOCK != 0 { fields.next_multiple_of(8) + 8 } else { fields };
    let flags = if h[4] & FLAGS != 0 { header.get(flags_at).copied().unwrap_or(0) } else { 0 };
    ieee80211(rest, way, flags & PADDED != 0)
}

/// An IEEE 802.11 data frame that is not encrypted (IEEE 802.11-2020 §9.3.2). Of an aggregate the first frame only.
fn ieee80211(part: Part<'_>, way: Way, padded: bool) -> Result<Network<'_>, Skip> {
    let (h, _) = part.split::<24>()?;
    let data = h[0] & 0x0c == 0x08;
    let (empty, qos) = (h[0] & 0x40 != 0, h[0] & 0x80 != 0);
    let (both_ways, encrypted, order) = (h[1] & 0x03 == 0x03, h[1] & 0x40 != 0, h[1] & 0x80 != 0);
    if !data || empty || encrypted {
        return Err(Skip::NotTcp);
    }
    if h[22] & 0x0f != 0 {
        return Err(Skip::Fragment);
    }
    let mut len = if both_ways { 30 } else { 24 };
    let mut aggregate = false;
    if qos {
        let (control, _) = part.skip(len)?.split::<2>()?;
        aggregate = control[0] & 0x80 != 0;
        len += if order { 6 } else { 2 };
    }
    if padded {
        len = len.next_multiple_of(4);
    }
    let mut part = part.skip(len)?;
    if aggregate {
        let (sub, rest) = part.split::<14>()?;
        part = Part::new(rest.captured, usize::from(u16::from_be_bytes([sub[12], sub[13]])));
    }
    llc(part, way.mix_bytes(&h[4..22]))
}

/// Per-packet information (little-endian): a header that tells its length and the link type of what follows.
fn per_packet_information(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    let (h, _) = part.split::<8>()?;
    let link = LinkType(u16::from_le_bytes([h[4], h[5]]));
    by_link_type(link, part.skip(usize::from(u16::from_le_bytes([h[2], h[3]])))?, way)
}

/// Apple's header of a packet captured on any interface: its length, a type, the link type, the interface's name.
fn pktap(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    let (h, _) = part.split::<36>()?;
    let len = usize::try_from(u32::from_le_bytes([h[0], h[1], h[2], h[3]])).unwrap_or(usize::MAX);
    by_link_type(LinkType(u16::from_le_bytes([h[8], h[9]])), part.skip(len)?, way.mix_bytes(&h[12..]))
}

/// IP over InfiniBand: a global route header of 40 bytes, then EtherType and two reserved bytes (RFC 4391 §6).
fn ip_over_infiniband(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    let (addresses, rest) = part.split::<40>()?;
    let (h, rest) = rest.split::<4>()?;
    by_ether_type(EtherType(u16::from_be_bytes([h[0], h[1]])), rest, way.mix_bytes(&addresses[8..]))
}

/// Linux's netfilter log: attributes in the capturing host's byte order, one of which is the packet.
fn nflog(part: Part<'_>, way: Way) -> Result<Network<'_>, Skip> {
    const IN_DEVICE: u16 = 4;
    const OUT_DEVICE: u16 = 5;
    const PAYLOAD: u16 = 9;
    let (h, mut rest) = part.split::<4>()?;
    let protocol = match h[0] {
        2 => EtherType::IPV4,
        10 => EtherType::IPV6,
        _ => return Err(Skip::NotTcp),
    };
    let mut way = way;
    loop {
        if rest.len == 0 {
            return Err(Skip::NotTcp);
        }
        let (attribute, value) = rest.split::<4>()?;
        // There are about twenty types, so the byte that is zero tells the order.
        let number = if attribute[3] == 0 { u16::from_le_bytes } else { u16::from_be_bytes };
        let len = usize::from(number([attribute[0], attribute[1]]));
        let value_len = len.checked_sub(4).ok_or(Skip::Malformed)?;
        match number([attribute[2], attribute[3]]) {
            PAYLOAD => return Ok(Network { protocol, part: Part::new(value.captured, value_len), way }),
            IN_DEVICE | OUT_DEVICE => way = way.mix_bytes(value.captured.get(..value_len).unwrap_or_default()),
            _ => {}
        }
        rest = rest.skip(len.next_multiple_of(4))?;
    }
}
