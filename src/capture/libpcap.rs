//! Live capture through libpcap: tcpdump's filters, the pseudo-interface `any`, the kernel's ring buffer.
//!
//! With a ring, libpcap keeps to itself that an interface went down for a while; one that disappears is an error.

use std::time::Duration;

use pcap::{Active, Capture, Precision};

use super::format::Tally;
use super::{CaptureError, Drops, LiveOptions, Progress, Source, forbidden, now, unknown};
use crate::packet::{Frame, LinkType, MILLISECOND, Nanos, SECOND, Time};

/// How long the kernel may gather packets before it hands over a block of its ring that is not full, milliseconds.
/// Immediate mode would hand over each, but gives every packet a slot of snaplen bytes: a ring of 8 MiB holds 32.
const BLOCK_MS: i32 = 20;
/// How long a quiet interface is left alone. libpcap cannot be asked to wait this long: with a ring it waits for a packet
/// for ever.
const PATIENCE: Duration = Duration::from_millis(10);
/// Packets taken in one call, so that events are told and signals heeded under load too.
const BATCH: usize = 512;

/// A capture from one interface, or all.
pub(super) struct Live {
    capture: Capture<Active>,
    interface: String,
    link: LinkType,
    /// Nanoseconds in a unit of a time stamp's fraction of a second.
    unit: i64,
    tally: Tally,
    drops: Drops,
}

impl Live {
    /// Begins to capture.
    pub(super) fn new(options: &LiveOptions) -> Result<Self, CaptureError> {
        let name = &options.interface;
        let failed = |e: pcap::Error| failure(name, &e);
        let open = |precision| {
            Capture::from_device(name.as_str())?
                .promisc(options.promiscuous)
                .snaplen(i32::try_from(options.snaplen).unwrap_or(i32::MAX))
                .buffer_size(i32::try_from(options.buffer_size).unwrap_or(i32::MAX))
                .timeout(BLOCK_MS)
                .precision(precision)
                .open()
        };
        let mut unit = 1;
        // Some devices (USB, Bluetooth) have no time stamps of nanoseconds.
        let capture = match open(Precision::Nano) {
            Err(pcap::Error::PcapError(what)) if what.contains("precision") => {
                unit = 1000;
                open(Precision::Micro)
            }
            other => other,
        };
        let mut capture = capture.and_then(Capture::setnonblock).map_err(failed)?;
        if let Some(expression) = &options.filter {
            capture.filter(expression, true).map_err(|e| {
                CaptureError::Unusable(format!("the capture filter \"{expression}\" is not understood: {e}"))
            })?;
        }
        let link = LinkType(u16::try_from(capture.get_datalink().0).unwrap_or(u16::MAX));
        let mut tally = Tally::default();
        tally.link_type(link);
        Ok(Live { capture, interface: name.clone(), link, unit, tally, drops: Drops::new() })
    }
}

impl Source for Live {
    fn read(&mut self, sink: &mut dyn FnMut(&[Frame<'_>])) -> Result<Progress, CaptureError> {
        let (link, unit, tally) = (self.link, self.unit, &mut self.tally);
        let taken = self.capture.dispatch(Some(BATCH), |packet| {
            tally.frames += 1;
            let header = packet.header;
            sink(&[Frame {
                time: Time(header.ts.tv_sec * SECOND + header.ts.tv_usec * unit),
                number: tally.frames,
                link,
                interface: 0,
                wire_len: header.len,
                data: packet.data,
            }]);
        });
        match taken {
            Ok(0) | Err(pcap::Error::TimeoutExpired) => {
                std::thread::sleep(PATIENCE);
                // A packet that came this very moment may still lie in an open block.
                Ok(Progress::Idle(now().plus(-2 * Nanos::from(BLOCK_MS) * MILLISECOND)))
            }
            Ok(_) => Ok(Progress::More),
            Err(e) => {
                let what = format!("cannot capture on {} any more: {}", self.interface, plain(&e));
                Err(CaptureError::Unusable(what))
            }
        }
    }

    fn link_types(&self) -> Vec<LinkType> {
        self.tally.link_types.clone()
    }

    fn dropped(&mut self) -> Option<u64> {
        self.capture.stats().ok().map(|s| u64::from(s.dropped))
    }

    fn lost(&mut self) -> Option<(Time, Time)> {
        let count = self.dropped();
        self.drops.look(count, false)
    }
}

fn failure(interface: &str, e: &pcap::Error) -> CaptureError {
    let what = plain(e);
    if what.contains("permission") || what.contains("Operation not permitted") {
        forbidden(interface)
    } else if what.contains("No such device") {
        unknown(interface)
    } else {
        CaptureError::Unusable(format!("cannot capture on {interface}: {what}"))
    }
}

/// libpcap's own words.
fn plain(e: &pcap::Error) -> String {
    match e {
        pcap::Error::PcapError(what) => what.clone(),
        other => other.to_string(),
    }
}
