//! From a frame's bytes to a TCP segment or an ICMP error about one: links, VLANs, IP, fragments, tunnels.
//!
//! Nearly every frame is plain and takes the short path of [`plain`]. The patient way is for all others: `link` finds
//! the network packet, `network` its payload, `fragments` puts datagrams together and `tunnel` opens those that hold
//! packets, until there is TCP or ICMP. The innermost TCP connection is the one that counts.

mod fragments;
mod icmp;
mod link;
mod network;
mod part;
mod tcp;
mod tunnel;

use etherparse::{EtherType, IpNumber};

use crate::packet::{Address, Decoded, Frame, Segment, Skip};
pub use fragments::FragmentCounts;
use fragments::{Fragments, Whole};
use network::{Datagram, Fragment};
use part::{Part, Way};
pub use tcp::UnreadOptions;
use tcp::{Carrier, Tcp};

/// Decodes frames; keeps the fragments that wait for their rest.
#[derive(Debug, Default)]
pub struct Decoder {
    fragments: Fragments,
    /// The datagram put together last, which a segment may borrow.
    whole: Option<Whole>,
}

impl Decoder {
    /// Decodes one frame. The result borrows the frame's bytes, or the decoder's own where fragments were put together.
    pub fn decode<'a>(&'a mut self, frame: &Frame<'a>) -> Decoded<'a> {
        match plain(frame) {
            Some((mut segment, options)) => {
                options.read_into(&mut segment);
                Decoded::Segment(segment)
            }
            None => match patient(frame) {
                Inner::Decoded(decoded) => decoded,
                Inner::Fragment(piece) => self.put_together(frame, piece),
            },
        }
    }

    /// Keeps a fragment, which came in this frame, until its datagram is whole; decodes that.
    pub fn put_together<'a>(&'a mut self, frame: &Frame<'a>, piece: Piece<'a>) -> Decoded<'a> {
        self.innermost(frame, piece).unwrap_or_else(Decoded::Skipped)
    }

    /// What became of fragmented datagrams so far.
    #[must_use]
    pub fn fragment_counts(&self) -> FragmentCounts {
        self.fragments.counts
    }

    fn innermost<'a>(
        &'a mut self,
        frame: &Frame<'a>,
        Piece(datagram, fragment): Piece<'a>,
    ) -> Result<Decoded<'a>, Skip> {
        let mut whole = self.fragments.add(datagram.header, fragment, datagram.payload, frame.time)?;
        // A datagram put together may be a tunnel's and hold a fragment again.
        while let Inner::Fragment(Piece(datagram, fragment)) = innermost(frame, whole.datagram()?)? {
            whole = self.fragments.add(datagram.header, fragment, datagram.payload, frame.time)?;
        }
        match innermost(frame, self.whole.insert(whole).datagram()?)? {
            Inner::Decoded(decoded) => Ok(decoded),
            Inner::Fragment(_) => Err(Skip::Fragment),
        }
    }
}

/// What is at the bottom of all tunnels.
#[derive(Clone, Copy, Debug)]
pub enum Inner<'a> {
    /// What the frame gives.
    Decoded(Decoded<'a>),
    /// A part of a datagram.
    Fragment(Piece<'a>),
}

/// A fragment that is to be put together with others ([`Decoder::put_together`]).
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a>(Datagram<'a>, Fragment);

/// Decodes header by header a frame that is not [`plain`].
#[inline(never)]
#[must_use]
pub fn patient<'a>(frame: &Frame<'a>) -> Inner<'a> {
    if is_plain_udp(frame) {
        return Inner::Decoded(Decoded::Skipped(Skip::NotTcp));
    }
    let network = link::network(frame).and_then(network::datagram);
    let inner = network.and_then(|datagram| innermost(frame, datagram));
    inner.unwrap_or_else(|skip| Inner::Decoded(Decoded::Skipped(skip)))
}

/// Opens tunnel after tunnel.
fn innermost<'a>(frame: &Frame<'_>, mut datagram: Datagram<'a>) -> Result<Inner<'a>, Skip> {
    loop {
        if let Some(fragment) = datagram.fragment {
            return Ok(Inner::Fragment(Piece(datagram, fragment)));
        }
        match datagram.header.protocol {
            IpNumber::TCP => {
                let tcp = Tcp::read(datagram.payload)?;
                let segment = tcp.segment(frame, &Carrier::from(datagram.header), tcp.all_options());
                return Ok(Inner::Decoded(Decoded::Segment(segment)));
            }
            IpNumber::ICMP | IpNumber::IPV6_ICMP => {
                return Ok(Inner::Decoded(Decoded::Icmp(icmp::error(frame, &datagram)?)));
            }
            _ => datagram = network::datagram(tunnel::open(&datagram)?)?,
        }
    }
}

/// The segment of a frame that is TCP over plain IPv4 or IPv6, over Ethernet with at most one VLAN tag or another link, as
/// nearly every frame is, and such options as are still to be read. Whatever is rarer or wrong gives `None`, and the
/// patient way looks at it again.
#[inline(always)]
#[must_use]
pub fn plain<'a>(frame: &Frame<'a>) -> Option<(Segment<'a>, UnreadOptions<'a>)> {
    let (protocol, carrier, part) = plain_datagram(frame)?;
    if protocol != IpNumber::TCP {
        return None;
    }
    let tcp = Tcp::read(part).ok()?;
    let (options, unread) = tcp.usual_options();
    Some((tcp.segment(frame, &carrier, options), unread))
}

/// Whether a frame is plain but for UDP in place of TCP, and no tunnel: most of what is not TCP.
fn is_plain_udp(frame: &Frame<'_>) -> bool {
    plain_datagram(frame).is_some_and(|(protocol, _, part)| {
        protocol == IpNumber::UDP && tunnel::Udp::read(part).is_ok_and(|udp| udp.tunnel().is_none())
    })
}

/// What a plain frame's IP header says, and what follows it.
#[inline(always)]
fn plain_datagram<'a>(frame: &Frame<'a>) -> Option<(IpNumber, Carrier, Part<'a>)> {
    let (ether_type, rest, way) =
        if frame.link == link::ETHERNET { plain_ethernet(frame)? } else { other_link(frame)? };
    match ether_type {
        EtherType::IPV4 => {
            let (h, rest) = rest.split_first_chunk::<20>()?;
            let total_len = usize::from(u16::from_be_bytes([h[2], h[3]]));
            // More fragments or an offset: not the whole segment.
            let fragment = u16::from_be_bytes([h[6], h[7]]) & 0x3fff != 0;
            if h[0] != 0x45 || fragment {
                return None;
            }
            let carrier = Carrier {
                src: Address::v4([h[12], h[13], h[14], h[15]]),
                dst: Address::v4([h[16], h[17], h[18], h[19]]),
                ip_id: u16::from_be_bytes([h[4], h[5]]),
                ttl: h[8],
                link_digest: way.digest(),
            };
            Some((IpNumber(h[9]), carrier, Part::new(rest, total_len.checked_sub(20)?)))
        }
        EtherType::IPV6 => {
            let (h, rest) = rest.split_first_chunk::<40>()?;
            let payload_len = usize::from(u16::from_be_bytes([h[4], h[5]]));
            if h[0] >> 4 != 6 {
                return None;
            }
            let carrier = Carrier {
                src: address_at(h, 8),
                dst: address_at(h, 24),
                ip_id: 0,
                ttl: h[7],
                link_digest: way.digest(),
            };
            Some((IpNumber(h[6]), carrier, Part::new(rest, payload_len)))
        }
        _ => None,
    }
}

/// The type of what follows an Ethernet header with at most one VLAN tag, that, and the way it came.
#[inline(always)]
fn plain_ethernet<'a>(frame: &Frame<'a>) -> Option<(EtherType, &'a [u8], Way)> {
    let (header, rest) = frame.data.split_first_chunk::<14>()?;
    let way = link::ethernet_way(Way::new(frame.interface), header);
    let ether_type = EtherType(u16::from_be_bytes([header[12], header[13]]));
    if ether_type != EtherType::VLAN_TAGGED_FRAME {
        return Some((ether_type, rest, way));
    }
    let (tag, rest) = rest.split_first_chunk::<4>()?;
    Some((EtherType(u16::from_be_bytes([tag[2], tag[3]])), rest, link::vlan_way(way, *tag)))
}

/// The same of any other link.
#[inline(never)]
fn other_link<'a>(frame: &Frame<'a>) -> Option<(EtherType, &'a [u8], Way)> {
    link::network(frame).ok().map(|network| (network.protocol, network.part.captured, network.way))
}

/// An address in an IPv6 header.
#[inline(always)]
fn address_at(h: &[u8; 40], at: usize) -> Address {
    let mut octets = [0; 16];
    octets.copy_from_slice(&h[at..at + 16]);
    Address::v6(octets)
}

#[cfg(test)]
mod tests;
