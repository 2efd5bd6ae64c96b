//! What this host's kernel knows of its own sockets, beside what the wire shows: whose they are, their keepalive settings
//! and the timer that runs.
//!
//! A helper process asks the kernel (`helper`, `kernel`, `process`), since the one that analyses packets has given up the
//! right to. What it found is joined to the flows when they are summed up; the analysis itself knows nothing of it.

#[cfg(target_os = "linux")]
pub mod helper;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod watch;

pub use watch::Watch;

use std::collections::HashMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::packet::{Address, Endpoint, Nanos, SECOND, Time};
use crate::summary::{Both, Side};

/// How often the kernel is asked while nothing happens.
pub const PERIOD: Nanos = 5 * SECOND;

/// A TCP socket of this host as it was last seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Socket {
    /// Its own end.
    pub local: SocketAddr,
    /// The other.
    pub remote: SocketAddr,
    /// When it was first seen, nanoseconds since 1970.
    pub first_seen: i64,
    /// When it was last seen.
    pub last_seen: i64,
    /// The user that made it.
    pub uid: u32,
    /// A process that has it open; `None` where it was closed or may not be known.
    pub process: Option<Process>,
    /// The timer that runs.
    pub timer: Option<Timer>,
    /// Probes, keepalive or of a closed window, that the kernel holds for unanswered.
    pub unanswered: u32,
    /// The most of them that it held for unanswered at any time.
    pub most_unanswered: u32,
    /// Its options; `None` where they may not be read.
    pub settings: Option<Settings>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name, as the process itself chose it.
    pub name: String,
}

/// A timer of a socket and when it goes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// What for.
    pub kind: TimerKind,
    /// From `last_seen`, milliseconds.
    pub expires_ms: u64,
}

/// What a socket's timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimerKind {
    /// To send data again.
    Retransmission,
    /// To send a keepalive probe, or to see whether one is due.
    Keepalive,
    /// To probe a closed window.
    ZeroWindowProbe,
}

/// The options of a socket that decide about dead peers (tcp(7), socket(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// SO_KEEPALIVE.
    pub keepalive: bool,
    /// TCP_KEEPIDLE, seconds.
    pub idle_s: u32,
    /// TCP_KEEPINTVL, seconds.
    pub interval_s: u32,
    /// TCP_KEEPCNT.
    pub count: u32,
    /// TCP_USER_TIMEOUT, milliseconds; 0 if it is not set.
    pub user_timeout_ms: u32,
}

impl Settings {
    /// Seconds from last hearing a peer that is dead to giving up on it, while nothing is in flight. With a user timeout the
    /// count does not matter, but one probe must have gone (Linux net/ipv4/tcp_timer.c, tcp_keepalive_timer()).
    #[must_use]
    pub fn patience(&self) -> f64 {
        let (idle, interval) = (f64::from(self.idle_s), f64::from(self.interval_s.max(1)));
        let tries = match self.user_timeout_ms {
            0 => f64::from(self.count),
            timeout => ((f64::from(timeout) / 1e3 - idle) / interval).ceil().max(1.0),
        };
        idle + tries * interval
    }
}

impl Socket {
    /// Whether keepalive is on; `None` where neither the options nor the timer tells.
    #[must_use]
    pub fn keepalive(&self) -> Option<bool> {
        let by_timer = || self.timer.is_some_and(|t| t.kind == TimerKind::Keepalive).then_some(true);
        self.settings.map(|s| s.keepalive).or_else(by_timer)
    }
}

/// What a helper found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Found {
    /// The sockets.
    pub sockets: Vec<Socket>,
    /// How many there were too many.
    pub left_out: u64,
    /// Why there may be fewer than there should.
    pub trouble: Option<String>,
}

/// Sockets by their ends.
#[derive(Debug, Default)]
pub struct Sockets(HashMap<(Endpoint, Endpoint), Vec<Socket>>);

fn endpoint(end: SocketAddr) -> Endpoint {
    // A socket of IPv6 may talk IPv4.
    Endpoint { address: Address::from(end.ip().to_canonical()), port: end.port() }
}

impl From<Vec<Socket>> for Sockets {
    fn from(mut sockets: Vec<Socket>) -> Self {
        sockets.sort_by_key(|s| s.first_seen);
        let mut by_ends: HashMap<_, Vec<_>> = HashMap::new();
        for socket in sockets {
            by_ends.entry((endpoint(socket.local), endpoint(socket.remote))).or_default().push(socket);
        }
        Sockets(by_ends)
    }
}

impl Sockets {
    /// The sockets of this host at the ends of a flow that was seen from `first` to `last`.
    #[must_use]
    pub fn of(&self, ends: &Both<Endpoint>, first: Time, last: Time) -> Both<Option<Box<Socket>>> {
        if self.0.is_empty() {
            return Both::default();
        }
        Both(Side::BOTH.map(|side| {
            let sockets = self.0.get(&(ends[side], ends[side.peer()]))?;
            // The ends may have been used by one connection after the other: that of this flow was seen while it lasted, or
            // at the next look.
            let then = |s: &&Socket| Time(s.last_seen) >= first && Time(s.first_seen) <= last.plus(2 * PERIOD);
            sockets.iter().find(then).cloned().map(Box::new)
        }))
    }
}

/// Other systems cannot be asked.
#[cfg(not(target_os = "linux"))]
mod watch {
    use std::io;

    use super::Sockets;
    use crate::event::Event;

    /// Never there.
    #[derive(Debug)]
    pub enum Watch {}

    impl Watch {
        /// Always an error.
        ///
        /// # Errors
        /// Always.
        pub fn start() -> io::Result<Self> {
            Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux can be asked"))
        }

        /// Never called.
        pub fn event(&mut self, _: &Event) {
            match *self {}
        }

        /// Never called.
        #[must_use]
        pub fn finish(self) -> (Sockets, Option<String>) {
            match self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn patience_is_the_count_s_or_the_user_timeout_s() {
        let settings = sample::socket(true).settings.unwrap();
        assert_eq!(settings.patience(), 60.0 + 6.0 * 10.0);
        // Probes at 60, 70, …: at 90 s it is found that 85 s are over.
        assert_eq!(Settings { user_timeout_ms: 85_000, ..settings }.patience(), 90.0);
        // The first probe must go unanswered in any case.
        assert_eq!(Settings { user_timeout_ms: 5_000, ..settings }.patience(), 70.0);
    }

    #[test]
    fn a_socket_belongs_to_the_flow_of_its_time() {
        let flow = sample::quiet(1);
        let ends = |side: Side| SocketAddr::new(flow.ends[side].address.ip(), flow.ends[side].port);
        let mut old = sample::socket(true);
        (old.local, old.remote) = (ends(Side::Client), ends(Side::Server));
        (old.first_seen, old.last_seen) = (flow.first.0 - 100 * SECOND, flow.first.0 - 90 * SECOND);
        let new = Socket { first_seen: flow.first.0 + 3 * SECOND, last_seen: flow.last.0, uid: 7, ..old.clone() };
        let far = Socket { local: ends(Side::Server), remote: ends(Side::Client), uid: 8, ..new.clone() };
        let sockets = Sockets::from(vec![new, old, far]);
        let found = sockets.of(&flow.ends, flow.first, flow.last);
        assert_eq!(found[Side::Client].as_ref().unwrap().uid, 7);
        assert_eq!(found[Side::Server].as_ref().unwrap().uid, 8, "both ends may be this host's");
        let before = sockets.of(&flow.ends, flow.first.plus(-99 * SECOND), flow.first.plus(-80 * SECOND));
        assert_eq!(before[Side::Client].as_ref().unwrap().first_seen, flow.first.0 - 100 * SECOND);
        assert_eq!(before[Side::Server], None);
    }
}
