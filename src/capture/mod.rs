//! Where frames come from: files, standard input, live interfaces.

mod file;
mod format;
mod link_type;
mod pcap;
mod pcapng;
mod stream;

pub use file::Files;

use crate::packet::{Frame, LinkType, Time};

/// A source of frames in capture order.
pub trait Source {
    /// Gives the next frames to `sink`, at least one unless the end or a time-out was reached.
    ///
    /// # Errors
    /// Only what makes going on impossible; a damaged file ends the source and is told by [`Source::warnings`].
    fn read(&mut self, sink: &mut dyn FnMut(Frame<'_>)) -> Result<Progress, CaptureError>;

    /// Link types seen so far, in order of appearance.
    fn link_types(&self) -> Vec<LinkType>;

    /// Packets that the kernel dropped for want of buffer; `None` where it cannot be known.
    fn dropped(&self) -> Option<u64> {
        None
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
