//! Where frames come from: files, standard input, live interfaces.

mod file;
mod format;
mod interfaces;
#[cfg(feature = "libpcap")]
mod libpcap;
mod link_type;
mod netscreen;
mod pcap;
mod pcapng;
#[cfg(all(target_os = "linux", not(feature = "libpcap")))]
mod raw;
mod snoop;
mod stream;

pub use file::{Files, name_of};
pub use interfaces::{Interface, interfaces};

use std::net::IpAddr;
use std::time::SystemTime;

use crate::packet::{Frame, LinkType, Time};

/// A source of frames in capture order.
pub trait Source {
    /// Gives the next frames to `sink`, in order, as many at a time as come handy; at least one unless the end or a time-out was reached.
    ///
    /// # Errors
    /// Only what makes going on impossible; a damaged file ends the source and is told by [`Source::warnings`].
    fn read(&mut self, sink: &mut dyn FnMut(&[Frame<'_>])) -> Result<Progress, CaptureError>;

    /// Link types seen so far, in order of appearance.
    fn link_types(&self) -> Vec<LinkType>;

    /// Packets that the kernel dropped for want of buffer; `None` where it cannot be known.
    fn dropped(&mut self) -> Option<u64> {
        None
    }

    /// Between which moments packets were lost since this was last asked, if any were: the kernel dropped them, or the
    /// interface was down. The later moment is now.
    fn lost(&mut self) -> Option<(Time, Time)> {
        None
    }

    /// Bytes of input in all, as they lie on disk; `None` where there is no telling.
    fn size(&self) -> Option<u64> {
        None
    }

    /// Bytes of input read so far, as they lie on disk.
    fn position(&self) -> u64 {
        0
    }

    /// Names of hosts that the input tells.
    fn names(&self) -> Vec<(IpAddr, String)> {
        Vec::new()
    }

    /// What was wrong with the input so far, in sentences.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a call to [`Source::read`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More may come.
    More,
    /// Nothing came for a moment; a live capture's clock says this is now.
    Idle(Time),
    /// The end.
    End,
}

/// Why nothing (more) can be captured or read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A file or device could not be opened or read.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the name.
        what: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The input is no capture, or the interface is none; says what to do.
    #[error("{0}")]
    Unusable(String),
}

/// How to capture from an interface.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// Its name.
    pub interface: String,
    /// An expression of tcpdump's that packets must match; only with the feature `libpcap`.
    pub filter: Option<String>,
    /// Bytes of each packet to keep.
    pub snaplen: u32,
    /// The kernel's buffer for packets not yet read, bytes.
    pub buffer_size: u32,
    /// Whether to see packets for other hosts too.
    pub promiscuous: bool,
}

/// Begins to capture from an interface.
///
/// # Errors
/// If there is no such interface, no permission, or an option that this build cannot do; says what to do about it.
#[cfg(feature = "libpcap")]
pub fn live(options: &LiveOptions) -> Result<Box<dyn Source>, CaptureError> {
    Ok(Box::new(libpcap::Live::new(options)?))
}

/// Begins to capture from an interface.
///
/// # Errors
/// If there is no such interface, no permission, or an option that this build cannot do; says what to do about it.
#[cfg(not(feature = "libpcap"))]
pub fn live(options: &LiveOptions) -> Result<Box<dyn Source>, CaptureError> {
    const BUILD: &str = "needs a build with libpcap: cargo install hbsniff --features libpcap";
    if options.filter.is_some() {
        return Err(CaptureError::Unusable(format!(
            "--capture-filter {BUILD}; to narrow the analysis instead, use --host, --net and --port"
        )));
    }
    if options.interface == "any" {
        return Err(CaptureError::Unusable(format!("-i any {BUILD}; -D lists the interfaces")));
    }
    #[cfg(target_os = "linux")]
    return Ok(Box::new(raw::Live::new(options)?));
    #[cfg(not(target_os = "linux"))]
    return Err(CaptureError::Unusable(format!("capturing on this system {BUILD}")));
}

/// Notices when a live capture's count of dropped packets grows.
struct Drops {
    count: u64,
    seen: Time,
}

impl Drops {
    /// From now on.
    fn new() -> Self {
        Drops { count: 0, seen: now() }
    }

    /// The kernel has dropped `count` packets so far: gives the last look and now if that is more than then, or if the
    /// capture was `blind` anyway.
    fn look(&mut self, count: Option<u64>, blind: bool) -> Option<(Time, Time)> {
        let since = std::mem::replace(&mut self.seen, now());
        let more = count.is_some_and(|count| count > self.count);
        self.count = count.unwrap_or(self.count);
        (blind || more).then_some((since, self.seen))
    }
}

/// The error for a capture that the system forbids.
fn forbidden(interface: &str) -> CaptureError {
    let program = std::env::current_exe().map_or_else(|_| "hbsniff".to_owned(), |p| p.display().to_string());
    CaptureError::Unusable(format!(
        "cannot capture on {interface}: no permission (CAP_NET_RAW is missing). Either run it as root, with sudo, or \
         allow the program once and for all: sudo setcap cap_net_raw=ep {program}"
    ))
}

/// The error for an interface that does not exist.
fn unknown(interface: &str) -> CaptureError {
    let names = interfaces().map(|all| all.into_iter().map(|i| i.name).collect::<Vec<_>>().join(", "));
    CaptureError::Unusable(match names {
        Ok(names) if !names.is_empty() => format!("there is no interface {interface}; there are: {names}"),
        _ => format!("there is no interface {interface}"),
    })
}

/// The system's clock, which stamps live packets.
#[must_use]
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
