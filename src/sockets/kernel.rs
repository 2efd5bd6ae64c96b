//! The kernel's own list of TCP sockets, over netlink (sock_diag(7)), as `ss -o` shows it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{self, ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::{Timer, TimerKind};

/// The kernel sends no more than this at a time.
const PORTION: usize = 64 * 1024;
/// How long an answer is waited for, seconds.
const PATIENCE_S: i64 = 2;

/// Where tcpi_probes is in struct tcp_info (linux/tcp.h), which grows at its end only.
const PROBES: usize = 3;

/// A way to ask the kernel.
pub(super) struct Kernel {
    socket: OwnedFd,
    portion: Vec<u8>,
}

/// One TCP socket.
#[derive(Debug)]
pub(super) struct Listed {
    /// What the kernel calls it as long as it lives; no other socket has the same.
    pub(super) cookie: [u8; 8],
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) uid: u32,
    /// 0 where no process has it open.
    pub(super) inode: u32,
    pub(super) timer: Option<Timer>,
    /// Probes sent since it last heard its peer.
    pub(super) unanswered: u32,
}

impl Kernel {
    /// Opens the way. Afterwards no privilege is needed for it.
    pub(super) fn new() -> io::Result<Self> {
        let kind = SockType::Datagram;
        let socket = socket(AddressFamily::Netlink, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE_S))?;
        Ok(Kernel { socket, portion: vec![0; PORTION] })
    }

    /// Gives each TCP socket that has a peer and is not only a memory (TIME_WAIT).
    pub(super) fn list(&mut self, each: &mut dyn FnMut(Listed)) -> io::Result<()> {
        for (family, id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
            self.ask(family, id)?;
            while self.answers(each)? {}
        }
        Ok(())
    }

    fn ask(&self, family: u8, socket_id: SocketId) -> io::Result<()> {
        let request = InetRequest {
            family,
            protocol: IPPROTO_TCP,
            // The count of unanswered probes is in tcp_info.
            extensions: ExtensionFlags::INFO,
            states: StateFlags::all()
                - StateFlags::LISTEN
                - StateFlags::CLOSE
                - StateFlags::TIME_WAIT
                - StateFlags::SYN_RECV,
            socket_id,
        };
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
        Ok(())
    }

    /// Takes one portion of answers; whether there are more.
    fn answers(&mut self, each: &mut dyn FnMut(Listed)) -> io::Result<bool> {
        let received = recv(self.socket.as_raw_fd(), &mut self.portion, MsgFlags::empty())?;
        let mut rest = &self.portion[..received];
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => each(listed(&response)),
                NetlinkPayload::Error(e) => return Err(e.to_io()),
                NetlinkPayload::Done(_) => return Ok(false),
                _ => {}
            }
            // Messages begin at multiples of four bytes.
            let length = (message.header.length as usize).max(1).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(received > 0)
    }
}

fn listed(response: &InetResponse) -> Listed {
    let header = &response.header;
    let id = &header.socket_id;
    let timer = match header.timer {
        Some(inet::Timer::Retransmit(left, _)) => Some((TimerKind::Retransmission, left)),
        Some(inet::Timer::KeepAlive(left)) => Some((TimerKind::Keepalive, left)),
        Some(inet::Timer::Probe(left)) => Some((TimerKind::ZeroWindowProbe, left)),
        Some(inet::Timer::TimeWait) | None => None,
    };
    let info = response.nlas.iter().find_map(|nla| match nla {
        Nla::TcpInfo(info) => Some(info),
        _ => None,
    });
    Listed {
        cookie: id.cookie,
        local: SocketAddr::new(id.source_address, id.source_port),
        remote: SocketAddr::new(id.destination_address, id.destination_port),
        uid: header.uid,
        inode: header.inode,
        timer: timer
            .map(|(kind, left)| Timer { kind, expires_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX) }),
        unanswered: info.and_then(|info| info.get(PROBES)).copied().unwrap_or(0).into(),
    }
}
