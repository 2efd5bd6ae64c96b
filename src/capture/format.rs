//! What the file formats have in common: bytes in, frames out, and what is needed to go on.

use crate::packet::{Frame, LinkType, Time};

/// Kinds of link that are remembered for the report; a sane capture has one or two.
const MAX_LINK_TYPES: usize = 64;

/// What runs through all files of a run.
#[derive(Default)]
pub(super) struct Tally {
    /// Frames given so far; the last one's number.
    pub(super) frames: u64,
    /// The last frame's time.
    pub(super) last: Time,
    /// Link types in order of appearance.
    pub(super) link_types: Vec<LinkType>,
}

impl Tally {
    /// Remembers that frames of this type come.
    pub(super) fn link_type(&mut self, link: LinkType) {
        if self.link_types.len() < MAX_LINK_TYPES && !self.link_types.contains(&link) {
            self.link_types.push(link);
        }
    }
}

/// A reader of one file format; sans-I/O.
pub(super) trait Format {
    /// Gives every frame that `data` holds whole, several at a time where that is cheap.
    fn walk(&mut self, data: &[u8], tally: &mut Tally, sink: &mut dyn FnMut(&[Frame<'_>])) -> Walked;

    /// Packets lost before they could be written, where the file tells.
    fn dropped(&self) -> Option<u64> {
        None
    }

    /// What was odd in what was read, in phrases.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// How far a walk came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Walked {
    /// Bytes that are done with.
    pub(super) used: usize,
    /// What is needed after them.
    pub(super) next: Next,
}

/// What is needed to go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// So many bytes in all.
    Fill(usize),
    /// To be past so many bytes, which need not be kept.
    Skip(u64),
    /// Nothing helps: the rest cannot be understood, for this reason.
    Damaged(String),
}
