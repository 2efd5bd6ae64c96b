//! Live capture through a raw packet socket of Linux (packet(7)): the default build needs no library for it.
//!
//! pnet finds the interface, binds the socket and switches promiscuous mode; the socket is made here and handed to it,
//! because its own receiver hides what decides: the kernel's time of a packet, its full length, whether it is the
//! outgoing copy that loopback gives beside the incoming one, and how many packets were dropped.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrStorage,
    getsockname, getsockopt, recvmmsg, setsockopt, socket, sockopt,
};
use nix::{getsockopt_impl, sockopt_impl};
use pnet::datalink::{self, ChannelType, NetworkInterface};

use super::format::Tally;
use super::{CaptureError, Drops, LiveOptions, Progress, Source, forbidden, now, unknown};
use crate::packet::{Frame, LinkType, SECOND, Time};

sockopt_impl!(
    /// PACKET_STATISTICS, struct tpacket_stats: packets that passed and packets dropped since it was last read.
    PacketStatistics,
    GetOnly,
    libc::SOL_PACKET,
    libc::PACKET_STATISTICS,
    [u32; 2]
);

/// How long a quiet interface is waited for before time is told to have passed, milliseconds.
const PATIENCE_MS: u16 = 50;
/// Packets fetched by one call of the system: it costs as much as fetching one or two.
const FETCHED: usize = 64;
/// Calls of the system before events are told and signals heeded, under load too.
const FETCHES: usize = 8;

const ETH_P_ALL: u16 = 0x0003;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
/// Interfaces of bare IP, as modems have; not in libc.
const ARPHRD_RAWIP: u16 = 519;

/// A capture from one interface.
pub(super) struct Live {
    socket: OwnedFd,
    interface: NetworkInterface,
    link: LinkType,
    /// Whether the link's own header is left out, because Linux does not define how it looks.
    cooked: bool,
    tally: Tally,
    dropped: u64,
    drops: Drops,
    /// Whether the interface is down; it is up again when a packet comes.
    down: bool,
    /// How often the interface went down.
    downs: u64,
    gone: bool,
    headers: MultiHeaders<SockaddrStorage>,
    /// Room for the packets of one call, `snaplen` bytes each. Only what packets fill is ever touched.
    room: Vec<u8>,
    snaplen: usize,
}

impl Live {
    /// Begins to capture.
    pub(super) fn new(options: &LiveOptions) -> Result<Self, CaptureError> {
        let name = &options.interface;
        let interface = datalink::interfaces().into_iter().find(|i| &i.name == name).ok_or_else(|| unknown(name))?;
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::PermissionDenied => forbidden(name),
            _ => CaptureError::Io { what: format!("cannot capture on {name}"), source: e },
        };
        let mut socket = bound(&interface, SockType::Raw, options).map_err(failed)?;
        // Not `LinkAddr`, which takes no address that is shorter or longer than Ethernet's.
        let address: SockaddrStorage = getsockname(socket.as_raw_fd()).map_err(|e| failed(e.into()))?;
        let link = address.as_link_addr().and_then(|a| link_type(a.hatype()));
        if link.is_none() {
            socket = bound(&interface, SockType::Datagram, options).map_err(failed)?;
        }
        let mut tally = Tally::default();
        tally.link_type(link.unwrap_or(LinkType(101)));
        Ok(Live {
            socket,
            interface,
            link: link.unwrap_or(LinkType(101)),
            cooked: link.is_none(),
            tally,
            dropped: 0,
            drops: Drops::new(),
            down: false,
            downs: 0,
            gone: false,
            headers: MultiHeaders::preallocate(FETCHED, Some(nix::cmsg_space!(nix::sys::time::TimeSpec))),
            room: vec![0; FETCHED * options.snaplen as usize],
            snaplen: options.snaplen as usize,
        })
    }

    /// Receives packets that are there, at most [`FETCHED`]; gives how many there were.
    fn receive(&mut self, sink: &mut dyn FnMut(&[Frame<'_>])) -> nix::Result<usize> {
        let mut rooms: Vec<_> = self.room.chunks_exact_mut(self.snaplen).map(|room| [IoSliceMut::new(room)]).collect();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let messages = recvmmsg(self.socket.as_raw_fd(), &mut self.headers, &mut rooms, flags, None)?;
        self.down = false;
        let mut received = Vec::with_capacity(FETCHED);
        for message in messages {
            let stamp = message.cmsgs()?.find_map(|c| match c {
                ControlMessageOwned::ScmTimestampns(t) => Some(Time(t.tv_sec() * SECOND + t.tv_nsec())),
                _ => None,
            });
            let from = message.address.as_ref().and_then(SockaddrStorage::as_link_addr);
            let wanted = from.is_none_or(|from| {
                let outgoing_copy = self.interface.is_loopback() && from.pkttype() == libc::PACKET_OUTGOING;
                let no_ip = self.cooked && ![ETH_P_IP, ETH_P_IPV6].contains(&u16::from_be(from.protocol()));
                !outgoing_copy && !no_ip
            });
            received.push((wanted, stamp, message.bytes));
        }
        let mut frames = Vec::with_capacity(FETCHED);
        for ((wanted, stamp, wire_len), room) in received.iter().zip(self.room.chunks_exact(self.snaplen)) {
            if *wanted {
                self.tally.frames += 1;
                frames.push(Frame {
                    time: stamp.unwrap_or_else(now),
                    number: self.tally.frames,
                    link: self.link,
                    interface: 0,
                    wire_len: u32::try_from(*wire_len).unwrap_or(u32::MAX),
                    data: &room[..(*wire_len).min(self.snaplen)],
                });
            }
        }
        if !frames.is_empty() {
            sink(&frames);
        }
        Ok(received.len())
    }

    /// Whether the interface is no more: then the kernel has released the socket from it. One that went down may come up
    /// again under the same index, and then the kernel goes on delivering.
    ///
    /// Asked of the socket, as a confined process can open no other to list the interfaces.
    fn is_gone(&self) -> bool {
        let bound: nix::Result<SockaddrStorage> = getsockname(self.socket.as_raw_fd());
        let index = bound.ok().and_then(|address| address.as_link_addr().map(LinkAddr::ifindex));
        index != Some(self.interface.index as usize)
    }

    /// Waits for a packet.
    fn wait(&mut self) -> Progress {
        let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(PATIENCE_MS)) {
            Ok(0) | Err(_) => self.idle(),
            Ok(_) => Progress::More,
        }
    }

    /// Nothing came.
    fn idle(&mut self) -> Progress {
        self.gone = self.is_gone();
        if self.gone { Progress::End } else { Progress::Idle(now()) }
    }
}

impl Source for Live {
    fn read(&mut self, sink: &mut dyn FnMut(&[Frame<'_>])) -> Result<Progress, CaptureError> {
        for call in 0..FETCHES {
            match self.receive(sink) {
                Ok(FETCHED) => {}
                Ok(_) => return Ok(Progress::More),
                Err(Errno::EAGAIN | Errno::EINTR) if call > 0 => return Ok(Progress::More),
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(self.wait()),
                Err(Errno::ENETDOWN) => {
                    self.downs += 1;
                    self.down = true;
                    return Ok(self.idle());
                }
                Err(e) => {
                    let what = format!("cannot capture on {} any more", self.interface.name);
                    return Err(CaptureError::Io { what, source: e.into() });
                }
            }
        }
        Ok(Progress::More)
    }

    fn link_types(&self) -> Vec<LinkType> {
        self.tally.link_types.clone()
    }

    fn dropped(&mut self) -> Option<u64> {
        // Reading the counter clears it.
        let [_, dropped] = getsockopt(&self.socket, PacketStatistics).ok()?;
        self.dropped += u64::from(dropped);
        Some(self.dropped)
    }

    fn lost(&mut self) -> Option<(Time, Time)> {
        let count = self.dropped();
        self.drops.look(count, self.down)
    }

    fn warnings(&self) -> Vec<String> {
        let name = &self.interface.name;
        if self.gone {
            return vec![format!("{name} disappeared during the capture; what was captured before is analysed.")];
        }
        match self.downs {
            0 => Vec::new(),
            1 => vec![format!("{name} went down during the capture: packets of that time are missing.")],
            n => vec![format!("{name} went down {n} times during the capture: packets of those times are missing.")],
        }
    }
}

/// A socket that receives all packets of an interface.
fn bound(interface: &NetworkInterface, kind: SockType, options: &LiveOptions) -> io::Result<OwnedFd> {
    // Without a protocol nothing arrives before the socket is bound: no packet of another interface slips in.
    let socket = socket(AddressFamily::Packet, kind, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    let size = options.buffer_size as usize;
    // Beyond net.core.rmem_max only with CAP_NET_ADMIN; else as much as is allowed.
    setsockopt(&socket, sockopt::RcvBufForce, &size).or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &size))?;
    let config = datalink::Config {
        // A second descriptor of the same socket; pnet closes it, which leaves the binding and the mode as they are.
        socket_fd: Some(socket.try_clone()?.into_raw_fd()),
        channel_type: match kind {
            SockType::Datagram => ChannelType::Layer3(ETH_P_ALL),
            _ => ChannelType::Layer2,
        },
        promiscuous: options.promiscuous,
        ..datalink::Config::default()
    };
    datalink::channel(interface, config)?;
    Ok(socket)
}

/// What frames of an interface of this ARPHRD_ type (linux/if_arp.h) begin with, where a raw socket gives it reliably.
fn link_type(hardware: u16) -> Option<LinkType> {
    match hardware {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(LinkType(1)),
        libc::ARPHRD_TUNNEL | libc::ARPHRD_TUNNEL6 | libc::ARPHRD_SIT | ARPHRD_RAWIP | libc::ARPHRD_NONE => {
            Some(LinkType(101))
        }
        libc::ARPHRD_IEEE80211_RADIOTAP => Some(LinkType(127)),
        _ => None,
    }
}
