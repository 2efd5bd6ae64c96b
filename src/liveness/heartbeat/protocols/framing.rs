//! Cutting a stream into frames in bounded memory: the head of each frame is kept, the rest is skipped.

use memchr::memchr;

/// What a protocol reads from the bytes at a frame's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// At least this many bytes are needed to tell; more than given, and at most the framer's capacity.
    Need(usize),
    /// The frame is this long in all, at least 1.
    Frame(u64),
    /// No frame of this protocol starts like this: the place is lost.
    Lost,
}

/// Cuts one side's stream into length-prefixed frames. Keeps at most `HEAD` bytes of each.
#[derive(Clone, Debug)]
pub struct Framer<const HEAD: usize> {
    head: [u8; HEAD],
    have: usize,
    /// Length of the current frame once known.
    frame: Option<u64>,
    /// Bytes of the current frame consumed beyond `head`.
    skipped: u64,
    lost: bool,
}

impl<const HEAD: usize> Default for Framer<HEAD> {
    fn default() -> Self {
        Framer { head: [0; HEAD], have: 0, frame: None, skipped: 0, lost: false }
    }
}

impl<const HEAD: usize> Framer<HEAD> {
    /// Whether the place was lost; nothing more is cut until [`Framer::restart`].
    #[must_use]
    pub fn lost(&self) -> bool {
        self.lost
    }

    /// Takes the next byte as the start of a frame.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// `len` bytes were not captured. Inside a frame's skipped part they are counted; elsewhere the place is lost.
    pub fn gap(&mut self, len: u64) {
        match self.frame {
            Some(total) if total - (self.have as u64 + self.skipped) > len => self.skipped += len,
            Some(total) if total - (self.have as u64 + self.skipped) == len => self.restart(),
            _ => self.lost = true,
        }
    }

    /// Takes the next bytes: `measure` is shown the head of a frame until it tells the length, `on_frame` gets each
    /// complete frame's head (at most `HEAD` bytes) and its length.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut measure: impl FnMut(&[u8]) -> Measure,
        mut on_frame: impl FnMut(&[u8], u64),
    ) {
        while !bytes.is_empty() && !self.lost {
            let total = match self.frame {
                Some(total) => total,
                None => {
                    match measure(&self.head[..self.have]) {
                        Measure::Frame(total) if total >= self.have as u64 && total > 0 => {
                            self.frame = Some(total);
                            total
                        }
                        Measure::Need(n) if n > self.have && n <= HEAD => {
                            let take = (n - self.have).min(bytes.len());
                            self.take(&mut bytes, take);
                            // A frame may be complete with the very bytes that tell its length.
                            if let Measure::Frame(total) = measure(&self.head[..self.have]) {
                                if total < self.have as u64 || total == 0 {
                                    self.lost = true;
                                    return;
                                }
                                self.frame = Some(total);
                                self.finish(total, &mut on_frame);
                            }
                            continue;
                        }
                        _ => {
                            self.lost = true;
                            return;
                        }
                    }
                }
            };
            let missing = total - (self.have as u64 + self.skipped);
            let to_head = (HEAD - self.have).min(bytes.len()).min(usize::try_from(missing).unwrap_or(usize::MAX));
            if self.skipped == 0 && to_head > 0 {
                self.take(&mut bytes, to_head);
            } else {
                let skip = missing.min(bytes.len() as u64);
                self.skipped += skip;
                bytes = &bytes[skip as usize..];
            }
            self.finish(total, &mut on_frame);
        }
    }

    fn take(&mut self, bytes: &mut &[u8], n: usize) {
        self.head[self.have..self.have + n].copy_from_slice(&bytes[..n]);
        self.have += n;
        *bytes = &bytes[n..];
    }

    fn finish(&mut self, total: u64, on_frame: &mut impl FnMut(&[u8], u64)) {
        if self.have as u64 + self.skipped == total {
            on_frame(&self.head[..self.have], total);
            self.have = 0;
            self.skipped = 0;
            self.frame = None;
        }
    }
}

/// Cuts one side's stream into lines ended by LF, with blocks of known length between them. Keeps at most `HEAD` bytes of
/// each line.
#[derive(Clone, Debug)]
pub struct Lines<const HEAD: usize> {
    head: [u8; HEAD],
    have: usize,
    len: u64,
    /// Whether the line kept is complete, so that the next byte begins another.
    done: bool,
    /// Bytes of a block still to come before the next line.
    block: u64,
    /// Whether the next line's beginning was missed.
    torn: bool,
}

impl<const HEAD: usize> Default for Lines<HEAD> {
    fn default() -> Self {
        Lines { head: [0; HEAD], have: 0, len: 0, done: false, block: 0, torn: false }
    }
}

impl<const HEAD: usize> Lines<HEAD> {
    /// `len` bytes were not captured: inside a block they are counted, else what remains of the current line is dropped.
    pub fn gap(&mut self, len: u64) {
        if len <= self.block {
            self.block -= len;
        } else {
            *self = Lines { torn: true, ..Self::default() };
        }
    }

    /// Whether bytes were missed, so that the place is known only from the next line on.
    #[must_use]
    pub fn torn(&self) -> bool {
        self.torn
    }

    /// Whether the line kept is complete.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.done
    }

    /// Takes bytes up to the end of a line: its head without CR and LF, and its length with them; `None` when the bytes
    /// end before.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Option<(&[u8], u64)> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.done) {
                (self.have, self.len) = (0, 0);
            }
            let end = memchr(b'\n', bytes).map(|at| at + 1);
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            *bytes = rest;
            let keep = part.len().min(HEAD - self.have);
            self.head[self.have..self.have + keep].copy_from_slice(&part[..keep]);
            self.have += keep;
            self.len += part.len() as u64;
            self.done = end.is_some();
            if self.done && !std::mem::take(&mut self.torn) {
                return Some((self.last(), self.len));
            }
        }
        None
    }

    /// The line that [`Lines::next`] gave last, until more bytes are taken.
    #[must_use]
    pub fn last(&self) -> &[u8] {
        let line = &self.head[..self.have];
        if self.len > self.have as u64 {
            return line;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    /// Takes the next bytes; `on_line` gets each complete line as [`Lines::next`] gives it, and tells how many bytes follow
    /// that are no line.
    pub fn push(&mut self, mut bytes: &[u8], mut on_line: impl FnMut(&[u8], u64) -> u64) {
        loop {
            let skip = self.block.min(bytes.len() as u64);
            self.block -= skip;
            bytes = &bytes[skip as usize..];
            let Some((line, len)) = self.next(&mut bytes) else { return };
            self.block = on_line(line, len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two-byte big-endian length that counts what follows it.
    fn measure(head: &[u8]) -> Measure {
        match head {
            [a, b, ..] => Measure::Frame(2 + u64::from(u16::from_be_bytes([*a, *b]))),
            _ => Measure::Need(2),
        }
    }

    #[test]
    fn any_segmentation_gives_the_same_frames() {
        let stream = [0, 3, 1, 2, 3, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 7];
        let whole = vec![(vec![0, 3, 1, 2], 5), (vec![0, 0], 2), (vec![0, 9, 1, 2], 11), (vec![0, 1, 7], 3)];
        for size in 1..=stream.len() {
            let mut framer = Framer::<4>::default();
            let mut got = Vec::new();
            for part in stream.chunks(size) {
                framer.push(part, measure, |head, len| got.push((head.to_vec(), len)));
            }
            assert_eq!(got, whole, "in pieces of {size}");
        }
    }

    #[test]
    fn a_gap_inside_a_body_keeps_the_place_and_elsewhere_loses_it() {
        let mut framer = Framer::<4>::default();
        let mut got = Vec::new();
        framer.push(&[0, 9, 1, 2, 3], measure, |_, len| got.push(len));
        framer.gap(6);
        framer.push(&[0, 1, 7], measure, |_, len| got.push(len));
        assert_eq!(got, [3]);
        framer.gap(1);
        assert!(framer.lost());
    }

    #[test]
    fn lines_are_cut_and_long_ones_bounded() {
        let mut lines = Lines::<6>::default();
        let mut got = Vec::new();
        for part in [&b"PI"[..], b"NG\r\nabcdefghij\n", b"\n"] {
            lines.push(part, |line, len| {
                got.push((line.to_vec(), len));
                0
            });
        }
        assert_eq!(got, vec![(b"PING".to_vec(), 6), (b"abcdef".to_vec(), 11), (b"".to_vec(), 1)]);
    }

    #[test]
    fn blocks_between_lines_are_skipped_and_counted_through_a_gap() {
        let mut lines = Lines::<8>::default();
        let mut got = Vec::new();
        let mut push = |lines: &mut Lines<8>, bytes: &[u8]| {
            lines.push(bytes, |line, _| {
                got.push(line.to_vec());
                if line == b"3" { 3 } else { 0 }
            });
        };
        push(&mut lines, b"3\na\nb4\n3\n");
        lines.gap(2);
        push(&mut lines, b"c5\n");
        lines.gap(2);
        push(&mut lines, b"6\n7\n");
        assert_eq!(got, [&b"3"[..], b"4", b"3", b"5", b"7"]);
    }
}
