//! What the bytes of a recurring message say: what stays, what counts, what varies.
//!
//! A heartbeat says nothing new: it is constant, or it counts (a sequence number, a time), or what varies in it is
//! noise (a nonce, padding, encryption). A reading, a price or a chat line wanders. Texts are compared token by token,
//! other bytes by the runs of positions that change.

use std::sync::Arc;

use super::polls::{Part, part};
use crate::flow::prefetch::prefetch;

/// Bytes of a message that are looked at.
pub const HEAD: usize = 96;

/// Different contents kept of a message: its first ones and its latest, as many of each. A reading that wanders looks
/// like a counter only if it happens to rise through both.
const SAMPLES: usize = 6;

/// Of 256 values, the span that a random byte covers in a few draws: in 82 of 100 cases with 6, in 99 with 12. The
/// fraction of a floating-point number covers no more than 128 while its exponent stays.
const FILLED: u8 = 144;

/// Words by which a message says itself that it is a heartbeat: these anywhere in it (`keep-alive` holds one)...
const WORDS: [&str; 2] = ["heartbeat", "alive"];
/// ...and these as words of their own, for they are parts of many others.
const WHOLE_WORDS: [&str; 7] = ["ping", "pong", "hb", "beat", "noop", "hello", "echo"];

/// A number that stands for some bytes; equal bytes give equal numbers.
#[must_use]
pub fn digest(seed: u32, bytes: &[u8]) -> u32 {
    // Multiply and fold, eight bytes at a time; the multiplier is that of SplitMix64 (Steele, Lea, Flood 2014).
    let mix = |h: u64, word: u64| {
        let h = (h ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        h ^ (h >> 32)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let h = words.iter().fold(u64::from(seed), |h, w| mix(h, u64::from_le_bytes(*w)));
    let last = match bytes.last_chunk::<8>() {
        // The bytes of the last word that were not in the one before.
        Some(last) => u64::from_le_bytes(*last).checked_shr(64 - 8 * rest.len() as u32).unwrap_or(0),
        None => rest.iter().rev().fold(0, |word, &b| word << 8 | u64::from(b)),
    };
    mix(mix(h, last), bytes.len() as u64) as u32
}

/// Whether all of these bytes are ASCII text.
#[must_use]
pub fn is_text(bytes: &[u8]) -> bool {
    let is = |&b: &u8| (b' '..=b'~').contains(&b) || b.is_ascii_whitespace();
    // Eight bytes at a time: none below a space, none above a tilde.
    let printable = |word: &[u8; 8]| {
        const ONES: u64 = u64::from_ne_bytes([1; 8]);
        let w = u64::from_ne_bytes(*word);
        let below = w.wrapping_sub(ONES * 0x20) & !w;
        let above = w.wrapping_add(ONES) | w;
        (below | above) & (ONES * 0x80) == 0
    };
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().all(|w| printable(w) || w.iter().all(is)) && rest.iter().all(is)
}

/// The tokens of a text: runs of letters and digits, with what joins them (`2026-11-22T18:20:11.5`, `keep-alive`).
fn tokens(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < text.len() && !text[at].is_ascii_alphanumeric() {
            at += 1;
        }
        let start = at;
        while at < text.len() {
            let joins = match text[at] {
                b if b.is_ascii_alphanumeric() => true,
                b'.' | b':' => {
                    at > start && text[at - 1].is_ascii_digit() && text.get(at + 1).is_some_and(u8::is_ascii_digit)
                }
                b'-' | b'_' => at > start && text.get(at + 1).is_some_and(u8::is_ascii_alphanumeric),
                _ => false,
            };
            if !joins {
                break;
            }
            at += 1;
        }
        (at > start).then(|| &text[start..at])
    })
}

fn has_digit(token: &[u8]) -> bool {
    token.iter().any(u8::is_ascii_digit)
}

/// The shape of a text: its digest with every token that holds a digit taken as the same.
#[must_use]
pub fn shape(text: &[u8]) -> u32 {
    let mut digest_ = 0;
    let mut from = 0;
    let base = text.as_ptr() as usize;
    for token in tokens(text).filter(|t| has_digit(t)) {
        let start = token.as_ptr() as usize - base;
        // A sign belongs to its number.
        let end = if start > from && matches!(text[start - 1], b'-' | b'+') { start - 1 } else { start };
        digest_ = digest(digest_, &text[from..end]);
        from = start + token.len();
    }
    digest(digest_, &text[from..])
}

/// Whether a text says that it is a heartbeat.
#[must_use]
pub fn says_heartbeat(text: &[u8]) -> bool {
    let mut word = 0;
    for (at, b) in text.iter().enumerate() {
        match LETTERS[usize::from(*b)] {
            Letter::None => {
                if is_whole_word(&text[word..at]) {
                    return true;
                }
                word = at + 1;
            }
            Letter::Begins if WORDS.iter().any(|w| starts_with(&text[at..], w)) => return true,
            Letter::Begins | Letter::Other => {}
        }
    }
    is_whole_word(&text[word..])
}

/// What a byte is to the search for words.
#[derive(Clone, Copy)]
enum Letter {
    None,
    /// It may begin one of [`WORDS`].
    Begins,
    Other,
}

static LETTERS: [Letter; 256] = {
    let mut letters = [Letter::None; 256];
    let mut b = 0;
    while b < letters.len() {
        letters[b] = match b as u8 {
            b'a' | b'A' | b'h' | b'H' => Letter::Begins,
            b if b.is_ascii_alphabetic() => Letter::Other,
            _ => Letter::None,
        };
        b += 1;
    }
    letters
};

#[inline(always)]
fn is_whole_word(word: &[u8]) -> bool {
    (2..=5).contains(&word.len()) && is_known(word)
}

fn is_known(word: &[u8]) -> bool {
    WHOLE_WORDS.iter().any(|w| w.as_bytes().eq_ignore_ascii_case(word))
}

fn starts_with(text: &[u8], word: &str) -> bool {
    text.get(..word.len()).is_some_and(|t| t.eq_ignore_ascii_case(word.as_bytes()))
}

/// What a recurring message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meaning {
    /// The same each time.
    Constant,
    /// What changes only grows: a counter, a time.
    Counting,
    /// What changes is noise: a nonce, padding, encryption.
    Noise,
    /// What changes may be content.
    Wandering,
}

/// The first bytes of some messages, side by side in one piece of memory: a flow's next beat finds most of what it needs in
/// few places. Clones share it until one of them takes another.
#[derive(Clone, Debug, Default)]
struct Samples {
    /// A slot of `stride` bytes each.
    bytes: Option<Arc<[u8]>>,
    lens: [u8; 2 * SAMPLES],
    stride: u8,
    count: u8,
}

impl Samples {
    fn len(&self) -> usize {
        self.count.into()
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }

    fn get(&self, at: usize) -> &[u8] {
        &self.bytes()[at * usize::from(self.stride)..][..self.lens[at].into()]
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.range(0..self.len())
    }

    fn range(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = &[u8]> + Clone {
        range.map(|at| self.get(at))
    }

    fn first(&self) -> Option<&[u8]> {
        self.iter().next()
    }

    /// Puts a message's head, at most [`HEAD`] bytes, in a slot, or in one behind the last.
    fn set(&mut self, at: usize, head: &[u8]) {
        let stride = head.len().max(self.stride.into());
        let room = stride * slots(self.len().max(at + 1));
        if room > self.bytes().len() {
            let mut wider = [0; 2 * SAMPLES * HEAD];
            for (slot, sample) in wider.chunks_exact_mut(stride).zip(self.iter()) {
                slot[..sample.len()].copy_from_slice(sample);
            }
            (self.bytes, self.stride) = (Some(Arc::from(&wider[..room])), stride as u8);
        }
        if let Some(bytes) = &mut self.bytes {
            Arc::make_mut(bytes)[at * stride..][..head.len()].copy_from_slice(head);
        }
        self.count = self.count.max(at as u8 + 1);
        self.lens[at] = head.len() as u8;
    }
}

/// For how many samples there is room where there are `count`: few messages vary; most of those that do go on to.
fn slots(count: usize) -> usize {
    match count {
        0 => 0,
        1..=2 => 2,
        3..=SAMPLES => SAMPLES,
        _ => 2 * SAMPLES,
    }
}

/// Samples of one recurring message.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Up to [`SAMPLES`] first different contents, then as many of the latest, in a ring.
    samples: Samples,
    /// Where in the ring the oldest is.
    oldest: u8,
    last: u32,
    /// Least and greatest length, bytes.
    pub len: (u32, u32),
    /// The bytes are encrypted: only the length shows.
    opaque: bool,
}

impl Content {
    /// Takes the next message: its first bytes, its length.
    pub fn push(&mut self, bytes: &[u8], len: u32, opaque: bool) {
        let first = self.samples.len() == 0;
        self.len = if first { (len, len) } else { (self.len.0.min(len), self.len.1.max(len)) };
        self.opaque |= opaque;
        if self.opaque && !first {
            return;
        }
        let head = &bytes[..bytes.len().min(HEAD)];
        let this = digest(len, head);
        if !first && this == self.last {
            return;
        }
        self.last = this;
        if self.samples.len() < 2 * SAMPLES {
            self.samples.set(self.samples.len(), head);
        } else {
            self.samples.set(SAMPLES + usize::from(self.oldest), head);
            self.oldest = (self.oldest + 1) % SAMPLES as u8;
        }
    }

    /// Whether the two are the same and share what they have on the heap.
    #[must_use]
    pub fn is_one_with(&self, other: &Content) -> bool {
        let at = |content: &Content| content.samples.bytes.as_ref().map(Arc::as_ptr);
        let rest = |content: &Content| (content.samples.count, content.last, content.len, content.opaque);
        at(self) == at(other) && rest(self) == rest(other)
    }

    /// Lets go of the samples, until it is given them again with another's content.
    pub fn release(&mut self) {
        self.samples.bytes = None;
    }

    /// The samples as two runs in order of time: the first, and the latest if there are as many.
    fn runs(&self) -> [impl Iterator<Item = &[u8]> + Clone; 2] {
        let count = self.samples.len();
        let begins = count.min(SAMPLES);
        let oldest = (begins + usize::from(self.oldest)).min(count);
        [(0..begins, 0..0), (oldest..count, begins..oldest)]
            .map(|(older, newer)| self.samples.range(older).chain(self.samples.range(newer)))
    }

    /// Bytes on the heap; of what is shared, its part.
    #[must_use]
    pub fn heap(&self) -> usize {
        self.samples.bytes.as_ref().map_or(0, |bytes| bytes.len() / Arc::strong_count(bytes))
    }

    /// Asks for where the next sample will be put.
    #[inline]
    pub fn prefetch(&self) {
        let stride = usize::from(self.samples.stride);
        let at = if self.samples.len() < 2 * SAMPLES { self.samples.len() } else { SAMPLES + usize::from(self.oldest) };
        if let Some([first, .., last]) = self.samples.bytes().get(at * stride..(at + 1) * stride) {
            prefetch(first);
            prefetch(last);
            // How many share it is counted before the first.
            self.samples.bytes().first().into_iter().for_each(prefetch);
        }
    }

    /// Whether only the length shows.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.opaque
    }

    /// The first bytes of the first message, at most 32.
    #[must_use]
    pub fn sample(&self) -> &[u8] {
        self.samples.first().map_or(&[], |s| &s[..s.len().min(32)])
    }

    /// The whole message, if it never changed and was seen whole.
    #[must_use]
    pub fn constant(&self) -> Option<&[u8]> {
        let only = self.samples.first().filter(|_| self.samples.len() == 1 && !self.opaque)?;
        (self.len.0 == self.len.1 && only.len() == self.len.0 as usize).then_some(only)
    }

    /// Which part of a known poll it is.
    #[must_use]
    pub fn poll(&self) -> Option<Part> {
        let first = self.samples.first().filter(|_| !self.opaque).and_then(part)?;
        self.samples.iter().all(|s| part(s) == Some(first)).then_some(first)
    }

    /// Whether it is text that says that it is a heartbeat.
    #[must_use]
    pub fn says_heartbeat(&self) -> bool {
        !self.opaque && self.samples.len() > 0 && self.samples.iter().all(says_heartbeat)
    }

    /// Whether it is one printable character, as a key on a keyboard gives.
    #[must_use]
    pub fn is_key(&self) -> bool {
        !self.opaque && self.len.1 == 1 && self.samples.iter().all(|s| s.iter().all(u8::is_ascii_graphic))
    }

    /// What the message says, by its samples.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        if self.opaque {
            return if self.len.0 == self.len.1 { Meaning::Constant } else { Meaning::Wandering };
        }
        if self.samples.len() < 2 {
            return if self.len.0 == self.len.1 { Meaning::Constant } else { Meaning::Wandering };
        }
        if self.samples.iter().all(is_text) { self.text_meaning() } else { self.binary_meaning() }
    }

    fn text_meaning(&self) -> Meaning {
        let texts: Vec<Vec<&[u8]>> = self.runs().into_iter().flatten().map(|s| tokens(s).collect()).collect();
        // A text cut at HEAD may lack its last tokens; compare those that all have.
        let cut = self.len.1 as usize > HEAD;
        let count = texts.iter().map(Vec::len).min().unwrap_or(0).saturating_sub(usize::from(cut));
        if !cut && texts.iter().any(|t| t.len() != count) {
            return Meaning::Wandering;
        }
        // Texts without any token differ in punctuation alone.
        (0..count).map(|i| column_meaning(texts.iter().map(|t| t[i]))).max().unwrap_or(Meaning::Wandering)
    }

    fn binary_meaning(&self) -> Meaning {
        let shortest = self.samples.iter().map(|s| s.len()).min().unwrap_or(0);
        if self.len.0 != self.len.1 {
            // A constant beginning with something of any length behind it: padding.
            return Meaning::Noise;
        }
        let mut changes = [0; HEAD];
        let changes = &mut changes[..shortest];
        let first = &self.samples.get(0)[..shortest];
        for sample in self.samples.range(1..self.samples.len()) {
            for (change, (a, b)) in changes.iter_mut().zip(sample[..shortest].iter().zip(first)) {
                *change |= a ^ b;
            }
        }
        let mut meaning = if changes.iter().all(|&c| c == 0) { Meaning::Constant } else { Meaning::Counting };
        let mut at = 0;
        while at < shortest && meaning < Meaning::Wandering {
            at += changes[at..].iter().take_while(|&&c| c == 0).count();
            let run = changes[at..].iter().take_while(|&&c| c != 0).count();
            if run > 0 {
                meaning = meaning.max(self.run_meaning(at..at + run, at + run == shortest));
            }
            at += run;
        }
        meaning
    }

    /// What a run of changing bytes is. `ends` is whether it ends the message, as a checksum does.
    fn run_meaning(&self, run: std::ops::Range<usize>, ends: bool) -> Meaning {
        let len = run.len();
        let grows = |less: fn(&[u8], &[u8]) -> bool| {
            self.runs().into_iter().all(|samples| {
                let mut fields = samples.map(|s| &s[run.clone()]);
                let mut last = fields.next();
                fields.all(|field| last.replace(field).is_some_and(|last| less(last, field)))
            })
        };
        // One byte counts by small steps around its end, several in either byte order.
        if len == 1 && grows(|a, b| b[0].wrapping_sub(a[0]) < 16)
            || len > 1 && (grows(|a, b| a <= b) || grows(|a, b| a.iter().rev().le(b.iter().rev())))
        {
            return Meaning::Counting;
        }
        // The first or last byte of a reading is its upper end and stays within bounds; a nonce's fill their range. Of two
        // bytes at the end, a checksum over what counts before them is likelier than a reading of full range.
        let fills = |i: usize| {
            let bytes = self.samples.iter().map(|s| s[run.start + i]);
            let (low, high) = bytes.fold((u8::MAX, 0), |(low, high), b| (low.min(b), high.max(b)));
            high.saturating_sub(low) >= FILLED
        };
        let long_enough = len >= 4 || len <= 2 && ends && run.start > 0;
        if long_enough && fills(0) && fills(len - 1) { Meaning::Noise } else { Meaning::Wandering }
    }
}

/// What one token of a text does from sample to sample.
fn column_meaning<'a>(column: impl Iterator<Item = &'a [u8]> + Clone) -> Meaning {
    let all: Vec<&[u8]> = column.collect();
    if all.windows(2).all(|w| w[0] == w[1]) {
        return Meaning::Constant;
    }
    if !all.iter().all(|t| has_digit(t)) {
        return Meaning::Wandering;
    }
    // A time of day wraps, and so do its parts.
    if all.iter().all(|t| t.iter().filter(|&&b| b == b':').count() >= 2) {
        return Meaning::Counting;
    }
    let numbers: Option<Vec<f64>> = all
        .iter()
        .map(|t| {
            let digits = t.iter().position(u8::is_ascii_digit)?;
            all[0].starts_with(&t[..digits]).then_some(())?;
            std::str::from_utf8(&t[digits..]).ok()?.parse().ok()
        })
        .collect();
    match numbers {
        Some(numbers) if numbers.chunks(SAMPLES).all(|run| run.is_sorted()) => Meaning::Counting,
        Some(_) => Meaning::Wandering,
        // Letters and digits mixed: an identifier, a hash.
        None if all.iter().all(|t| t.len() >= 6) => Meaning::Noise,
        None => Meaning::Wandering,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(messages: impl IntoIterator<Item = Vec<u8>>) -> Meaning {
        let mut content = Content::default();
        messages.into_iter().for_each(|m| content.push(&m, m.len() as u32, false));
        content.meaning()
    }

    fn texts(texts: &[&str]) -> Meaning {
        meaning(texts.iter().map(|t| t.as_bytes().to_vec()))
    }

    /// Numbers without order.
    fn scattered(n: u32) -> u32 {
        (n + 1).wrapping_mul(0x9e37_79b1) ^ (n + 7).wrapping_mul(0x85eb_ca6b)
    }

    #[test]
    fn texts_of_one_shape_differ_in_their_numbers_only() {
        let same = |a: &str, b: &str| shape(a.as_bytes()) == shape(b.as_bytes());
        assert!(same("{\"seq\": 9, \"t\": -1.5}", "{\"seq\": 10, \"t\": 22.75}"));
        assert!(same("at 2026-11-22T18:20:11.5Z", "at 2026-11-23T08:00:01Z"));
        assert!(same("id=a8f3-99c1", "id=b7d4-0a0b"));
        assert!(!same("GET /a1", "GET /b"));
        assert!(!same("up", "down"));
    }

    #[test]
    fn the_first_samples_and_the_latest_are_kept_whatever_their_lengths() {
        let message = |n: usize| vec![n as u8; [3, 0, 9, 90, 5][n % 5]];
        let mut content = Content::default();
        (0..23).for_each(|n| content.push(&message(n), n as u32, false));
        let [first, latest] = content.runs().map(|run| run.map(<[u8]>::to_vec).collect::<Vec<_>>());
        assert_eq!(first, (0..6).map(message).collect::<Vec<_>>());
        assert_eq!(latest, (17..23).map(message).collect::<Vec<_>>());
        assert!(content.heap() <= 2 * SAMPLES * HEAD, "{}", content.heap());
    }

    #[test]
    fn counters_and_times_count_and_readings_wander() {
        assert_eq!(texts(&["ALIVE"; 5]), Meaning::Constant);
        assert_eq!(texts(&["beat 8", "beat 9", "beat 10", "beat 11"]), Meaning::Counting);
        assert_eq!(texts(&["t 18:20:59.5", "t 18:21:00.5", "t 18:21:01.5"]), Meaning::Counting);
        assert_eq!(texts(&["temp 21.5", "temp 21.7", "temp 21.4"]), Meaning::Wandering);
        assert_eq!(texts(&["hello there", "how are you"]), Meaning::Wandering);
        assert_eq!(texts(&["id 7f3a9c01", "id 02bb41de", "id a9c4d1e7"]), Meaning::Noise);
        // Found by fuzzing: more letters before the number than the first token is long.
        assert_eq!(texts(&["7", "ab8"]), Meaning::Wandering);
    }

    #[test]
    fn bytes_count_in_either_order_and_noise_fills_its_field() {
        assert_eq!(
            meaning((250..260u32).map(|n| [b"\x01\x02".as_slice(), &n.to_be_bytes()].concat())),
            Meaning::Counting
        );
        assert_eq!(
            meaning((250..260u32).map(|n| [b"\x01\x02".as_slice(), &n.to_le_bytes()].concat())),
            Meaning::Counting
        );
        assert_eq!(meaning((250..=255).chain(0..5).map(|n: u8| vec![1, n, 3])), Meaning::Counting, "one byte wraps");
        let nonce = |n: u32| [scattered(n).to_be_bytes(), scattered(n + 99).to_be_bytes()].concat();
        assert_eq!(meaning((0..12).map(|n| [b"\x01\x02".as_slice(), &nonce(n)].concat())), Meaning::Noise);
        let reading = |n: u32| (20.0 + (scattered(n) % 100) as f32 / 20.0).to_be_bytes().to_vec();
        assert_eq!(meaning((0..12).map(|n| [b"\x01\x02".as_slice(), &reading(n)].concat())), Meaning::Wandering);
        assert_eq!(
            meaning((0..9).map(|n: u8| [b"\xfe\x01".as_slice(), &vec![n * 29; n as usize]].concat())),
            Meaning::Noise
        );
    }

    #[test]
    fn every_byte_is_text_or_not_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            let text = (b' '..=b'~').contains(&byte) || byte.is_ascii_whitespace();
            for at in 0..19 {
                let mut bytes = *b"nineteen characters";
                bytes[at] = byte;
                assert_eq!(is_text(&bytes), text, "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn a_digest_heeds_every_byte() {
        let bytes: Vec<u8> = (1..=40).collect();
        for len in 0..bytes.len() {
            assert_ne!(digest(0, &bytes[..len]), digest(0, &bytes[..len + 1]));
            for at in 0..len {
                let mut other = bytes[..len].to_vec();
                other[at] ^= 0x80;
                assert_ne!(digest(0, &bytes[..len]), digest(0, &other), "{at} of {len}");
            }
        }
    }

    #[test]
    fn words_that_say_heartbeat_stand_alone_or_are_long() {
        for text in ["{\"op\":\"ping\"}", "HeartBeat_1", "HB", "is_alive?", "Keep-Alive", "keepalives"] {
            assert!(says_heartbeat(text.as_bytes()), "{text}");
        }
        for text in ["shipping 3", "{\"op\":\"get\"}", "bbhb"] {
            assert!(!says_heartbeat(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn encrypted_messages_show_only_their_length() {
        let mut content = Content::default();
        (0..5u8).for_each(|n| content.push(&[n; 32], 26, true));
        assert_eq!(content.meaning(), Meaning::Constant);
        content.push(&[0; 32], 80, true);
        assert_eq!(content.meaning(), Meaning::Wandering);
        assert_eq!(content.constant(), None);
    }
}
