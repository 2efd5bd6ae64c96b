//! ICMP and ICMPv6 errors (RFC 792, RFC 4443) about a TCP segment whose beginning they quote.

use etherparse::{EtherType, IpNumber, icmpv4, icmpv6};

use crate::packet::{Endpoint, Frame, IcmpError, Skip};

use super::link::Network;
use super::network::{self, Datagram};

/// The error that `datagram` holds.
///
/// # Errors
/// [`Skip::NotTcp`] if it is no error or quotes no TCP; else as the headers are short or wrong.
pub(super) fn error(frame: &Frame<'_>, datagram: &Datagram<'_>) -> Result<IcmpError, Skip> {
    let v6 = datagram.header.protocol == IpNumber::IPV6_ICMP;
    let (h, part) = datagram.payload.split::<8>()?;
    let (kind, code) = (h[0], h[1]);
    let protocol = match kind {
        icmpv6::TYPE_DST_UNREACH
        | icmpv6::TYPE_PACKET_TOO_BIG
        | icmpv6::TYPE_TIME_EXCEEDED
        | icmpv6::TYPE_PARAMETER_PROBLEM
            if v6 =>
        {
            EtherType::IPV6
        }
        icmpv4::TYPE_DEST_UNREACH
        | icmpv4::TYPE_SOURCE_QUENCH
        | icmpv4::TYPE_TIME_EXCEEDED
        | icmpv4::TYPE_PARAMETER_PROBLEM
            if !v6 =>
        {
            EtherType::IPV4
        }
        _ => return Err(Skip::NotTcp),
    };
    let quoted = network::quoted(Network { protocol, part, way: datagram.header.way })?;
    let first = quoted.fragment.is_none_or(|fragment| fragment.offset == 0);
    if quoted.header.protocol != IpNumber::TCP || !first {
        return Err(Skip::NotTcp);
    }
    // Ports and sequence number are in the eight bytes that every quotation has.
    let (tcp, _) = quoted.payload.split::<8>()?;
    Ok(IcmpError {
        time: frame.time,
        frame: frame.number,
        reporter: datagram.header.src,
        src: Endpoint { address: quoted.header.src, port: u16::from_be_bytes([tcp[0], tcp[1]]) },
        dst: Endpoint { address: quoted.header.dst, port: u16::from_be_bytes([tcp[2], tcp[3]]) },
        seq: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
        kind,
        code,
        v6,
    })
}
