//! What the file formats have in common: bytes in, frames out, and what is needed to go on.

use crate::packet::{Frame, LinkType, Nanos, SECOND, Time};
use std::net::IpAddr;

/// The longest record that a search for the next good one believes in: libpcap's MAXIMUM_SNAPLEN.
pub(super) const BELIEVED_RECORD: usize = 256 * 1024;
/// Bytes after a place that [`Format::resume`] may look at to judge it: what [`CHAIN`] headers and the bodies between
/// them span at most.
pub(super) const REACH: usize = 2 * BELIEVED_RECORD + 1024;
/// Record headers in a row that are no accident.
const CHAIN: usize = 3;
/// Records that follow each other are hardly farther apart.
const NEAR: Nanos = 24 * 3600 * SECOND;

/// Kinds of link that are remembered for the report; a sane capture has one or two.
const MAX_LINK_TYPES: usize = 64;

/// What runs through all files of a run.
#[derive(Default)]
pub(super) struct Tally {
    /// Names of hosts that the files tell.
    pub(super) names: Vec<(IpAddr, String)>,
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

    /// The stream has ended after `rest`, which the last walk left: gives frames that only waited for this. Whether it
    /// is a good place to end.
    fn finish(&mut self, rest: &[u8], _tally: &mut Tally, _sink: &mut dyn FnMut(&[Frame<'_>])) -> bool {
        rest.is_empty()
    }

    /// Where in `data`, after damage, a good record begins; looks only at places that have [`REACH`] bytes behind them,
    /// or at all if the stream has `ended` after `data`. `last` is the time of the last frame, if there was one.
    fn resume(&self, data: &[u8], ended: bool, last: Option<Time>) -> Option<usize>;

    /// Packets lost before they could be written, where the file tells.
    fn dropped(&self) -> Option<u64> {
        None
    }

    /// What was odd in what was read, in phrases.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Frames given at a time: for the analyzer, which fetches what several need from memory side by side, and among
/// several threads takes only a part of them.
const TOGETHER: usize = 256;

/// Frames that a walk has found and not given yet.
pub(super) struct Found<'data, 'sink> {
    /// Those before `len`.
    frames: [Frame<'data>; TOGETHER],
    len: usize,
    sink: &'sink mut dyn FnMut(&[Frame<'_>]),
}

impl<'data, 'sink> Found<'data, 'sink> {
    /// None so far.
    #[inline]
    pub(super) fn new(sink: &'sink mut dyn FnMut(&[Frame<'_>])) -> Self {
        let none = Frame { time: Time(0), number: 0, link: LinkType(0), interface: 0, wire_len: 0, data: &[] };
        Found { frames: [none; TOGETHER], len: 0, sink }
    }

    /// One more.
    #[inline]
    pub(super) fn add(&mut self, frame: Frame<'data>) {
        self.frames[self.len] = frame;
        self.len += 1;
        if self.len == TOGETHER {
            self.give();
        }
    }

    /// The walk ends: gives the last ones.
    pub(super) fn give(&mut self) {
        if self.len > 0 {
            (self.sink)(&self.frames[..self.len]);
            self.len = 0;
        }
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
    /// What follows is no record; one may follow it.
    Damaged {
        /// Why, in a phrase.
        what: String,
        /// Where in the data a search for the next record must begin: inside the record before, whose length may be
        /// what is wrong, or past the first damaged byte.
        search: usize,
    },
}

/// How many places in `data` have [`REACH`] bytes behind them, or all if the stream has ended there.
pub(super) fn places(data: &[u8], ended: bool) -> usize {
    if ended { data.len() } else { data.len().saturating_sub(REACH) }
}

/// The first of the first `places` in `data` from where records follow each other: [`CHAIN`] headers at the places where the records
/// before them end and at times near each other, or fewer, near `last`, if they lead right to the end.
///
/// `record` gives a record's length and time if `data` begins with a header that can be believed; it may claim
/// [`BELIEVED_RECORD`] bytes and a header at most.
pub(super) fn chain(
    data: &[u8],
    places: usize,
    ended: bool,
    last: Option<Time>,
    record: impl Fn(&[u8]) -> Option<(usize, Time)>,
) -> Option<usize> {
    (0..places.min(data.len())).find(|&start| {
        let (mut at, mut before) = (start, None);
        for n in 1..=CHAIN {
            let Some((len, time)) = data.get(at..).and_then(&record) else { return false };
            if before.is_some_and(|t| !near(t, time)) {
                return false;
            }
            before = Some(time);
            at += len;
            if ended && n < CHAIN && at == data.len() {
                return last.is_some_and(|t| near(t, time));
            }
        }
        true
    })
}

/// Whether two times, in whatever order, may be those of records that follow each other.
#[inline]
pub(super) fn near(a: Time, b: Time) -> bool {
    a.0.abs_diff(b.0) <= NEAR as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_frames_found_are_given_once_and_in_order() {
        for count in [0, 1, TOGETHER - 1, TOGETHER, TOGETHER + 1, 3 * TOGETHER] {
            let mut given = Vec::new();
            let mut sink = |frames: &[Frame<'_>]| {
                assert!((1..=TOGETHER).contains(&frames.len()));
                given.extend(frames.iter().map(|frame| frame.number as usize));
            };
            let mut found = Found::new(&mut sink);
            for number in 0..count as u64 {
                let link = LinkType(1);
                found.add(Frame { time: Time(0), number, link, interface: 0, wire_len: 0, data: &[] });
            }
            found.give();
            assert!(given.into_iter().eq(0..count));
        }
    }
}
