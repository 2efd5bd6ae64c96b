//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers with their extensions.

use etherparse::{
    EtherType, IpAuthHeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    Ipv6RawExtHeaderSlice, err,
};

use crate::packet::{Address, Skip};

use super::link::Network;
use super::part::{Part, Way};

/// What a datagram's header says of it, whole or in fragments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub src: Address,
    pub dst: Address,
    /// IPv4's identification, 0 for IPv6.
    pub id: u16,
    pub ttl: u8,
    /// What the payload is, after all extension headers that could be read.
    pub protocol: IpNumber,
    pub way: Way,
}

/// A datagram or a fragment of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'a> {
    pub header: Header,
    /// What follows the header and its extensions.
    pub payload: Part<'a>,
    /// If it is a fragment, which.
    pub fragment: Option<Fragment>,
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment {
    /// The datagram's identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Its place in the datagram's payload, in bytes.
    pub offset: usize,
    /// Whether more follow it.
    pub more: bool,
}

/// Reads the datagram at the beginning of `network`.
///
/// # Errors
/// [`Skip::Malformed`] for a wrong version or a length below the header's, [`Skip::Truncated`] where the snaplen cut.
pub(super) fn datagram(network: Network<'_>) -> Result<Datagram<'_>, Skip> {
    if network.protocol == EtherType::IPV4 { ipv4(network, false) } else { ipv6(network, false) }
}

/// Reads the beginning of a datagram that an ICMP error quotes: its lengths are those of the whole and some systems
/// wrote them in their own byte order, so they are not looked at.
pub(super) fn quoted(network: Network<'_>) -> Result<Datagram<'_>, Skip> {
    if network.protocol == EtherType::IPV4 { ipv4(network, true) } else { ipv6(network, true) }
}

/// The datagram that was put together from fragments: only now can what followed the fragment header be read.
pub(super) fn whole(mut header: Header, payload: Part<'_>) -> Result<Datagram<'_>, Skip> {
    let (protocol, payload, fragment) = extensions(header.protocol, payload)?;
    header.protocol = protocol;
    Ok(Datagram { header, payload, fragment })
}

fn ipv4(Network { part, way, .. }: Network<'_>, quoted: bool) -> Result<Datagram<'_>, Skip> {
    use err::ipv4::HeaderSliceError::{Content, Len};
    let h = Ipv4HeaderSlice::from_slice(part.captured).map_err(|error| match error {
        Len(error) => part.short(error.required_len),
        Content(_) => Skip::Malformed,
    })?;
    let part = match usize::from(h.total_len()) {
        // A segment too long for the field: segmentation offload, BIG TCP. The frame tells its length.
        0 => part,
        _ if quoted => part,
        len => Part::new(part.captured, len),
    };
    let payload = part.skip(h.slice().len())?;
    let header = Header {
        src: Address::v4(h.source()),
        dst: Address::v4(h.destination()),
        id: h.identification(),
        ttl: h.ttl(),
        protocol: h.protocol(),
        way,
    };
    if h.is_fragmenting_payload() {
        let offset = usize::from(h.fragments_offset().value()) * 8;
        let fragment = Fragment { id: u32::from(header.id), offset, more: h.more_fragments() };
        return Ok(Datagram { header, payload, fragment: Some(fragment) });
    }
    whole(header, payload)
}

fn ipv6(Network { part, way, .. }: Network<'_>, quoted: bool) -> Result<Datagram<'_>, Skip> {
    use err::ipv6::HeaderSliceError::{Content, Len};
    let h = Ipv6HeaderSlice::from_slice(part.captured).map_err(|error| match error {
        Len(error) => part.short(error.required_len),
        Content(_) => Skip::Malformed,
    })?;
    let rest = part.skip(h.slice().len())?;
    let payload = match usize::from(h.payload_length()) {
        // As above; a jumbo payload option may tell, but the tapping kernel strips it.
        0 => match jumbo_payload(h.next_header(), rest) {
            Some(len) => Part::new(rest.captured, len),
            None => rest,
        },
        _ if quoted => rest,
        len => Part::new(rest.captured, len),
    };
    let header = Header {
        src: Address::v6(h.source()),
        dst: Address::v6(h.destination()),
        id: 0,
        ttl: h.hop_limit(),
        protocol: h.next_header(),
        way,
    };
    whole(header, payload)
}

/// The payload length that a jumbo payload option tells (RFC 2675 §2).
fn jumbo_payload(next: IpNumber, part: Part<'_>) -> Option<usize> {
    const PAD1: u8 = 0;
    const JUMBO: u8 = 0xc2;
    if next != IpNumber::IPV6_HEADER_HOP_BY_HOP {
        return None;
    }
    let header = Ipv6RawExtHeaderSlice::from_slice(part.captured).ok()?;
    let mut options = header.payload();
    loop {
        options = match *options {
            [JUMBO, 4, a, b, c, d, ..] => return usize::try_from(u32::from_be_bytes([a, b, c, d])).ok(),
            [PAD1, ref rest @ ..] => rest,
            [_, len, ref rest @ ..] => rest.get(usize::from(len)..)?,
            _ => return None,
        };
    }
}

/// Steps over extension headers (RFC 8200 §4, RFC 4302) to what they carry, or to a fragment of it.
fn extensions(mut protocol: IpNumber, mut part: Part<'_>) -> Result<(IpNumber, Part<'_>, Option<Fragment>), Skip> {
    loop {
        let (next, len) = match protocol {
            IpNumber::IPV6_FRAGMENTATION_HEADER => {
                let h = Ipv6FragmentHeaderSlice::from_slice(part.captured).map_err(|e| part.short(e.required_len))?;
                // One that is alone (RFC 6946) is as good as none.
                if h.is_fragmenting_payload() {
                    let offset = usize::from(h.fragment_offset().value()) * 8;
                    let fragment = Fragment { id: h.identification(), offset, more: h.more_fragments() };
                    return Ok((h.next_header(), part.skip(h.slice().len())?, Some(fragment)));
                }
                (h.next_header(), h.slice().len())
            }
            IpNumber::AUTHENTICATION_HEADER => {
                use err::ip_auth::HeaderSliceError::{Content, Len};
                let h = IpAuthHeaderSlice::from_slice(part.captured).map_err(|error| match error {
                    Len(error) => part.short(error.required_len),
                    Content(_) => Skip::Malformed,
                })?;
                (h.next_header(), h.slice().len())
            }
            _ if Ipv6RawExtHeaderSlice::header_type_supported(protocol) => {
                let h = Ipv6RawExtHeaderSlice::from_slice(part.captured).map_err(|e| part.short(e.required_len))?;
                (h.next_header(), h.slice().len())
            }
            _ => return Ok((protocol, part, None)),
        };
        protocol = next;
        part = part.skip(len)?;
    }
}
