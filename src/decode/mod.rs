//! From a frame's bytes to a TCP segment or an ICMP error about one: links, VLANs, IP, fragments, tunnels.

mod part;
mod tcp;

use etherparse::{EtherType, IpNumber};

use crate::packet::{Address, Decoded, Frame, LinkType, Segment, Skip};
use part::{Digest, Part};
use tcp::Carrier;

/// Ethernet, the link type of nearly every capture.
const ETHERNET: LinkType = LinkType(1);

/// Decodes frames; keeps the fragments that wait for their rest.
#[derive(Default)]
pub struct Decoder {}

impl Decoder {
    /// Decodes one frame. The result borrows the frame's bytes, or the decoder's own where fragments were put together.
    #[inline]
    pub fn decode<'a>(&'a mut self, frame: &Frame<'a>) -> Decoded<'a> {
        match plain(frame) {
            Some(segment) => Decoded::Segment(segment),
            None => Decoded::Skipped(Skip::NotTcp),
        }
    }
}

/// TCP over plain IPv4 or IPv6 over Ethernet with at most one VLAN tag: what nearly every frame is. Whatever is rarer
/// or wrong gives `None`, and the patient way looks at it again.
#[inline]
fn plain<'a>(frame: &Frame<'a>) -> Option<Segment<'a>> {
    if frame.link != ETHERNET {
        return None;
    }
    let (header, mut rest) = frame.data.split_first_chunk::<14>()?;
    let mut digest = ethernet_digest(Digest::new(frame.interface), header);
    let mut ether_type = EtherType(u16::from_be_bytes([header[12], header[13]]));
    if ether_type == EtherType::VLAN_TAGGED_FRAME {
        let (tag, after) = rest.split_first_chunk::<4>()?;
        digest = digest.mix(u64::from(u32::from_be_bytes(*tag)));
        ether_type = EtherType(u16::from_be_bytes([tag[2], tag[3]]));
        rest = after;
    }
    let (carrier, part) = match ether_type {
        EtherType::IPV4 => {
            let (h, rest) = rest.split_first_chunk::<20>()?;
            let total_len = usize::from(u16::from_be_bytes([h[2], h[3]]));
            // More fragments or an offset: not the whole segment.
            let fragment = u16::from_be_bytes([h[6], h[7]]) & 0x3fff != 0;
            if h[0] != 0x45 || h[9] != IpNumber::TCP.0 || fragment {
                return None;
            }
            let carrier = Carrier {
                src: Address::v4([h[12], h[13], h[14], h[15]]),
                dst: Address::v4([h[16], h[17], h[18], h[19]]),
                ip_id: u16::from_be_bytes([h[4], h[5]]),
                ttl: h[8],
                link_digest: digest.finish(),
            };
            (carrier, Part::new(rest, total_len.checked_sub(20)?))
        }
        EtherType::IPV6 => {
            let (h, rest) = rest.split_first_chunk::<40>()?;
            let payload_len = usize::from(u16::from_be_bytes([h[4], h[5]]));
            if h[0] >> 4 != 6 || h[6] != IpNumber::TCP.0 {
                return None;
            }
            let carrier = Carrier {
                src: Address(u128_at(h, 8)),
                dst: Address(u128_at(h, 24)),
                ip_id: 0,
                ttl: h[7],
                link_digest: digest.finish(),
            };
            (carrier, Part::new(rest, payload_len))
        }
        _ => return None,
    };
    tcp::segment(frame, carrier, part).ok()
}

/// Mixes in both MAC addresses and the type that follows them.
#[inline(always)]
fn ethernet_digest(digest: Digest, h: &[u8; 14]) -> Digest {
    let first = u64::from_ne_bytes([h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]]);
    let second = u64::from_ne_bytes([h[6], h[7], h[8], h[9], h[10], h[11], h[12], h[13]]);
    digest.mix(first).mix(second)
}

/// Sixteen bytes of an IPv6 header as a number.
#[inline(always)]
fn u128_at(h: &[u8; 40], at: usize) -> u128 {
    let mut octets = [0; 16];
    octets.copy_from_slice(&h[at..at + 16]);
    u128::from_be_bytes(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Flags, Time};
    use etherparse::{PacketBuilder, TcpOptionElement};

    fn frame(data: &[u8]) -> Frame<'_> {
        Frame { time: Time(7), number: 3, link: ETHERNET, interface: 0, wire_len: data.len() as u32, data }
    }

    #[test]
    fn ethernet_ipv4_tcp() {
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 63)
            .tcp(40000, 443, 1000, 512)
            .ack(2000)
            .psh()
            .options(&[TcpOptionElement::Noop, TcpOptionElement::Noop, TcpOptionElement::Timestamp(11, 22)])
            .unwrap()
            .write(&mut bytes, b"hello")
            .unwrap();
        bytes.extend([0; 4]);
        let mut decoder = Decoder::default();
        let Decoded::Segment(s) = decoder.decode(&frame(&bytes)) else { panic!("no segment") };
        assert_eq!((s.time, s.frame), (Time(7), 3));
        assert_eq!(s.src.to_string(), "10.0.0.1:40000");
        assert_eq!(s.dst.to_string(), "10.0.0.2:443");
        assert_eq!((s.seq, s.ack, s.window, s.ttl), (1000, 2000, 512, 63));
        assert_eq!(s.flags, Flags(Flags::ACK | Flags::PSH));
        assert_eq!(s.options.timestamps, Some((11, 22)));
        assert_eq!((s.payload, s.payload_len), (&b"hello"[..], 5));
    }
}
