//! Heartbeats without a name: messages of one kind that come at a timer's pace.
//!
//! Messages are sorted into classes by what may stay the same from beat to beat: a text's shape, a length with the first
//! bytes, a length alone, the first bytes alone, or a TLS record's size. Each class keeps the gaps before its messages
//! ([`Gaps`]) until a timer explains them; then it is a [`Track`]. What it is called is decided by what it says
//! ([`Content`]) and by what the other side answers.
//!
//! Memory is bounded: a flow has at most [`CLASSES`] classes of at most 5 KiB each. That is with long messages that vary
//! both ways; 1 to 2 KiB is usual for a heartbeat, and a class costs 64 bytes until its message recurs.

use std::borrow::Cow;

use super::content::{Content, HEAD, Meaning, digest, is_text, shape};
use super::gaps::{CHANCE, Clock, FEWEST, Gap, Gaps, KEPT, Pulse, SHORTEST, fold};
use super::polls::Part;
use super::tls::{Records, begins_record};
use super::track::Track;
use super::{Activity, Chunk, Due, Ear, Heard, Moment, span};
use crate::event::EventKind;
use crate::flow::prefetch::{Few, prefetch};
use crate::packet::{MILLISECOND, Nanos, SECOND, Time, nanos};
use crate::summary::{BeatKind, Both, HeartbeatSummary, Mode, Side};

/// Classes of one flow. A beat must recur before so many other kinds of message push it out; past that, [`Doorkeeper`].
pub const CLASSES: usize = 32;

/// Most bytes that one flow's classes and [`Doorkeeper`] take.
#[cfg(test)]
const MOST_HEAP: usize = CLASSES * 5 * 1024 + 4096;

/// Classes that are brought from memory before a message comes to them; a heartbeat's flow has few.
const PREFETCHED: usize = 4;

/// The same, of all flows that are asked for together.
const MOST_PREFETCHED: usize = 64;

/// Messages longer than this are data: only their time is noted. A poll's request may be as long.
pub const LARGE: u32 = 1024;

/// Longer messages are no heartbeats.
const LONGEST_BEAT: u32 = 256;

/// Two messages of a class closer than this are one, sent twice or in two parts.
const SAME: Nanos = 50 * MILLISECOND;

/// A reply comes within this time, and within an eighth of the gap between beats: else two timers that happen to have
/// the same period would look like question and answer.
const REPLY_WITHIN: Nanos = 500 * MILLISECOND;
const REPLY_SHARE: i64 = 8;
/// Where both sides send the very same bytes, an answer must come within this share of the gap: symmetric protocols
/// (AMQP, BGP) do that with two timers, echo protocols within a round trip.
const ECHO_SHARE: i64 = 50;

/// Phases of one class that are told apart: a message whose period changed.
const PHASES: usize = 4;

/// Gaps of two or more whole periods in a row that are a longer period: at 20 % loss, 1 in 15 000 runs of six is that.
const LOST_IN_A_ROW: u32 = 6;

/// A timer is looked for at every message of a class until it has so many gaps, then at every [`LOOK`]th.
const MANY: u32 = 16;
const LOOK: u32 = 4;

/// A lower bar where the message says itself that it is a heartbeat.
const CHANCE_IF_SAID: f64 = 0.05;

/// Beats after which a timer is relied on to go on, and after how many it is asked whether it has.
const RELIABLE: u64 = 12;
const ASKED: u64 = 4;

/// Lengths of TLS records that differ by no more than this many digits are the same reply.
const OPAQUE_WOBBLE: u32 = 8;

/// By what a class recognises its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// A text's shape, or length and first four bytes.
    Shape,
    /// Length alone.
    Length,
    /// The first two bytes.
    Prefix,
}

/// By what a message is recognised, from the narrowest to the widest.
const LIKENESSES: [Likeness; 3] = [Likeness::Shape, Likeness::Length, Likeness::Prefix];

/// A message's key under one likeness.
type Key = (u32, Likeness);

/// The keys of a class: one for each likeness under which its messages were the same so far. Most messages that recur are alike
/// in every way, so what is known of them is kept once, until a message tells their likenesses apart.
#[derive(Clone, Copy, Debug)]
struct Keys {
    of: [u32; LIKENESSES.len()],
    /// A bit for each likeness that there is a key of.
    present: u8,
    /// Whose messages they are of.
    from: Side,
}

impl Keys {
    fn add(&mut self, (key, likeness): Key) {
        self.of[likeness as usize] = key;
        self.present |= bit(likeness);
    }

    fn has(&self, (key, likeness): Key) -> bool {
        self.of[likeness as usize] == key && self.present & bit(likeness) != 0
    }

    fn count(&self) -> usize {
        self.present.count_ones() as usize
    }

    fn narrowest(&self) -> Likeness {
        LIKENESSES[self.present.trailing_zeros() as usize % LIKENESSES.len()]
    }

    /// The likenesses but the narrowest.
    fn wider(&self) -> u8 {
        self.present & !bit(self.narrowest())
    }

    /// The likenesses under which one of these is its key.
    fn shared(&self, keys: &[Key]) -> u8 {
        keys.iter().filter(|key| self.has(**key)).fold(0, |likenesses, key| likenesses | bit(key.1))
    }

    /// Those of some likenesses alone.
    fn only(&self, likenesses: u8) -> Keys {
        Keys { present: self.present & likenesses, ..*self }
    }
}

/// A likeness in [`Keys::present`].
fn bit(likeness: Likeness) -> u8 {
    1 << likeness as u8
}

/// One message: bytes of one side that belong together, as far as that shows.
#[derive(Clone, Copy, Debug)]
struct Message<'a> {
    time: Time,
    frame: u64,
    from: Side,
    bytes: &'a [u8],
    len: u32,
    /// Encrypted: only `len` means something.
    opaque: bool,
    /// A text's shape.
    shape: Option<u32>,
    /// A digest of what can be a beat of it; 0 of what is too large.
    digest: u32,
}

impl<'a> Message<'a> {
    fn new(chunk: &Chunk<'a>) -> Self {
        let Chunk { time, frame, from, bytes, len } = *chunk;
        if len > LARGE {
            return Message { time, frame, from, bytes, len, opaque: false, shape: None, digest: 0 };
        }
        let head = &bytes[..bytes.len().min(HEAD)];
        // A text that is cut off or longer than is looked at is told by its beginning.
        let shape = is_text(head).then(|| shape(head));
        let digest = digest(len, &bytes[..bytes.len().min(LONGEST_BEAT as usize)]);
        Message { time, frame, from, bytes, len, opaque: false, shape, digest }
    }
}

/// Remembers roughly which kinds of message were seen of late, in 2 KiB, once classes are pushed out: a busy flow brings
/// hundreds of kinds between two beats, and only one that recurs is worth a class.
#[derive(Debug)]
struct Doorkeeper(Box<[u16; 1024]>);

impl Doorkeeper {
    /// Notes `key`; whether it was there already.
    fn recurs(&mut self, key: u32) -> bool {
        let mixed = key.wrapping_mul(0x9e37_79b1);
        let slot = &mut self.0[(mixed >> 22) as usize];
        let mark = (mixed >> 6) as u16 | 1;
        std::mem::replace(slot, mark) == mark
    }
}

/// What followed the messages of a class from the other side.
#[derive(Clone, Debug, Default)]
struct Replies {
    /// The last message waits for a reply.
    waiting: bool,
    /// The first message after it was counted.
    asked: bool,
    /// The kind of message that most often came first (Boyer-Moore majority), and its lead.
    key: u32,
    lead: u32,
    /// Messages that drew that kind; that were followed by any kind.
    keyed: u32,
    any: u32,
    /// Replies that were data.
    large: u32,
    /// What the replies of that kind say. Mostly the class that they come to says the same, and the two share it.
    content: Content,
    /// Whether the present message is one of that kind.
    taking: Taking,
}

/// How a reply that counts comes into the content of the replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Taking {
    /// It has, or there is none.
    #[default]
    Done,
    /// It is yet to.
    Alone,
    /// With that of the class that it comes to.
    Shared,
}

/// Beats that make a steady timer known.
const FIRST_BEATS: usize = FEWEST + 1;

/// When and in which frame a beat came, and the reply to it.
#[derive(Clone, Copy, Debug)]
struct Beat {
    time: Time,
    frame: u64,
    replied: Moment,
    reply_frame: u64,
}

impl Beat {
    fn new(message: &Message<'_>) -> Self {
        Beat { time: message.time, frame: message.frame, replied: Moment::NEVER, reply_frame: 0 }
    }

    /// Takes a message of the other side: the first is the reply.
    fn reply(&mut self, message: &Message<'_>) {
        if self.replied == Moment::NEVER {
            (self.replied, self.reply_frame) = (Moment::at(message.time), message.frame);
        }
    }
}

/// A class whose message recurred.
#[derive(Clone, Debug)]
struct Detail {
    stage: Stage,
    content: Content,
    replies: Replies,
    /// Bursts of the other side before the class's second message, and before its last.
    peer_bursts: (u32, u32),
    /// Messages that repeated the other side's last message; that answered a class of the other side.
    echoes: u32,
    answers: u32,
    /// Its digest.
    last: u32,
    /// Gaps in a row that are not one period.
    off_beat: u32,
    /// Whether its beats are told: a heartbeat's are, as far as its first ones show.
    told: bool,
    /// Earlier phases, with other periods.
    past: Box<[Track]>,
}

/// Whether a class is known for its timer.
#[derive(Clone, Debug)]
enum Stage {
    /// Not yet: its gaps, and its latest beats, which are to be told once it is known for a heartbeat.
    Sought(Gaps, Vec<Beat>),
    /// It is.
    Known(Track),
}

#[derive(Clone, Debug)]
struct Class {
    keys: Keys,
    last: Time,
    so_far: SoFar,
}

/// What is known of a class's messages: `seen` may be beats, `crowded` came too close to the one before. Most never recur, and what
/// is known of those takes the place of what more would be.
#[derive(Clone, Debug)]
enum SoFar {
    /// One that may be a beat.
    Once { crowded: u32, first: Beat },
    /// More.
    Again {
        crowded: u32,
        seen: u32,
        last_gap: Gap,
        /// How often a gap was like the one before it, less how often not: what keeps a class when others need room.
        hits: i8,
        detail: Box<Detail>,
    },
}

/// The rhythm detector of one flow.
#[derive(Debug, Default)]
pub struct Rhythm {
    classes: Vec<Class>,
    rare: Option<Box<Rare>>,
    /// The time of the last large message, whose end may come in further segments.
    large: Both<Moment>,
    /// Digest of the last message.
    last: Both<u32>,
    /// Until when a message of this side may be a reply.
    reply_until: Both<Moment>,
    /// Whether any class has a track.
    tracks: bool,
}

/// What few flows need.
#[derive(Debug, Default)]
struct Rare {
    doorkeeper: Option<Doorkeeper>,
    records: Both<Option<Records>>,
}

/// What came before a message.
struct Before {
    /// Its gap, as the first of its kind.
    gap: Gap,
    peer_bursts: u32,
}

/// How a message stands to what was sent before.
#[derive(Clone, Copy, Default)]
struct Relation {
    digest: u32,
    /// It repeats the other side's last message.
    echoes: bool,
    /// It answers one.
    answers: bool,
    /// A narrower class holds most of the messages of the class that it comes to.
    held: bool,
}

impl Rhythm {
    /// Bytes on the heap.
    #[must_use]
    pub fn heap(&self) -> usize {
        let detail = |d: &Detail| {
            size_of::<Detail>()
                + match &d.stage {
                    Stage::Sought(gaps, beats) => gaps.heap() + beats.capacity() * size_of::<Beat>(),
                    Stage::Known(track) => track.heap(),
                }
                + d.content.heap()
                + d.replies.content.heap()
                + d.past.iter().map(|t| size_of::<Track>() + t.heap()).sum::<usize>()
        };
        let details = self.classes.iter().filter_map(Class::detail).map(detail).sum::<usize>();
        let rare = self.rare.as_ref().map_or(0, |rare| {
            let doorkeeper = if rare.doorkeeper.is_some() { size_of::<[u16; 1024]>() } else { 0 };
            size_of::<Rare>() + doorkeeper
        });
        self.classes.capacity() * size_of::<Class>() + details + rare
    }

    /// Asks for the first classes.
    #[inline]
    pub fn prefetch(&self) {
        self.classes.iter().take(PREFETCHED).for_each(prefetch);
    }

    /// Whether a message too large for a beat needs no more than its time noted.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.classes.is_empty()
    }

    /// Whether a message is known for its timer, or was.
    #[must_use]
    pub fn has_tracks(&self) -> bool {
        self.tracks
    }

    /// No message is to come: keeps what is known for its timer.
    pub fn close(&mut self) {
        self.classes.retain(Class::is_track);
        self.classes.shrink_to_fit();
        self.rare = None;
    }

    /// Takes the next bytes of a side. `activity` is as before them.
    pub fn data(&mut self, chunk: &Chunk<'_>, activity: &Activity, due: &mut Due, ear: &mut Ear) {
        let Chunk { time, frame, from, bytes, len } = *chunk;
        if begins_record(bytes) {
            self.rare.get_or_insert_default().records[from].get_or_insert_default();
        }
        let records = self.rare.as_mut().and_then(|rare| rare.records[from].take());
        // Most of a stream in full flow is neither a reply nor holds a beat.
        if len > LARGE && records.is_none() && !self.tracks && self.reply_until[from] < Moment::at(time) {
            self.large[from] = Moment::at(time);
            return;
        }
        let gap = activity.gap(from, time, f32::INFINITY);
        let before = Before { gap, peer_bursts: activity.bursts[from.peer()] };
        if let Some(mut records) = records {
            let head = &bytes[..bytes.len().min(32)];
            let cut = len.saturating_sub(bytes.len() as u32);
            records.push(bytes, cut, |len| {
                let message = Message { time, frame, from, bytes: head, len, opaque: true, shape: None, digest: len };
                self.message(message, &before, due, ear);
            });
            self.rare.get_or_insert_default().records[from] = Some(records);
        } else {
            self.message(Message::new(chunk), &before, due, ear);
        }
    }

    /// Bytes were not captured.
    pub fn gap(&mut self, from: Side) {
        if let Some(records) = self.rare.as_mut().and_then(|rare| rare.records[from].as_mut()) {
            records.gap();
        }
    }

    fn message(&mut self, message: Message<'_>, before: &Before, due: &mut Due, ear: &mut Ear) {
        let until = self.reply_until[message.from].get();
        let answers = until.is_some_and(|until| message.time <= until) && self.reply(&message, ear);
        self.sort(&message, answers, before, due, ear);
        if answers {
            self.take_reply(&message);
        }
    }

    /// Finds the classes of a message; `answers` is whether it is a reply of the kind expected.
    fn sort(&mut self, message: &Message<'_>, answers: bool, before: &Before, due: &mut Due, ear: &mut Ear) {
        let Message { time, from, len, opaque, digest, .. } = *message;
        if len > LARGE {
            self.large[from] = Moment::at(time);
            if self.tracks {
                self.embedded(message, before, ear);
            }
            return;
        }
        let (keys, count) = keys(message);
        let keys = &keys[..count];
        let echoes = !opaque && digest == self.last[from.peer()];
        let relation = Relation { digest, echoes, answers, held: false };
        self.last[from] = digest;
        // The message belongs to the heartbeat that is known for it, and to no other class.
        for &key in keys.iter().filter(|_| self.tracks) {
            let known = |c: &Class| c.keys.has(key) && c.is_track();
            if let Some(i) = self.classes.iter().position(known) {
                let previous = self.classes[i].last;
                self.observe(i, message, before, relation, due, ear);
                if self.classes.get(i).is_some_and(|c| known(c) && c.is_reliable()) {
                    self.drop_stale_shadows(keys, previous);
                }
                return;
            }
        }
        if self.tracks && self.embedded(message, before, ear) {
            return;
        }
        if self.large[from].get().is_some_and(|t| time.since(t) < SAME) {
            self.large[from] = Moment::at(time); // the end of something large
            return;
        }
        // From the narrowest to the widest class: the wider waits while a narrower holds as many of its messages.
        let mut narrower = 0;
        let mut fresh = None;
        let mut rest = keys;
        while let [key, wider @ ..] = rest {
            let Some(i) = self.classes.iter().position(|c| c.keys.has(*key)) else {
                fresh = self.admit(*key, fresh, message);
                rest = wider;
                continue;
            };
            fresh = None;
            let together = rest.iter().take_while(|key| self.classes[i].keys.has(**key)).count();
            let (these, wider) = rest.split_at(together);
            rest = wider;
            let i = self.part(i, these);
            let seen = self.classes[i].seen();
            let relation = Relation { held: narrower * 2 >= seen, ..relation };
            narrower = narrower.max(seen);
            if self.observe(i, message, before, relation, due, ear) {
                self.drop_shadows(from, time);
                return;
            }
        }
    }

    /// A new class for a kind of message first seen, or a further key of `fresh`, the one that was made for the same message
    /// just before, if there is room or it was seen before; where further keys go.
    fn admit(&mut self, key: Key, fresh: Option<usize>, message: &Message<'_>) -> Option<usize> {
        self.expect_reply(message, REPLY_WITHIN);
        let room = self.classes.iter().map(|c| c.keys.count()).sum::<usize>() < CLASSES;
        if !room {
            let doorkeeper = &mut self.rare.get_or_insert_default().doorkeeper;
            let doorkeeper = doorkeeper.get_or_insert_with(|| Doorkeeper(Box::new([0; 1024])));
            if !doorkeeper.recurs(key.0) {
                return None;
            }
        }
        if let Some(fresh) = fresh.filter(|_| room) {
            self.classes[fresh].keys.add(key);
            return Some(fresh);
        }
        let mut keys = Keys { of: [0; LIKENESSES.len()], present: 0, from: message.from };
        keys.add(key);
        let so_far = SoFar::Once { crowded: 0, first: Beat::new(message) };
        let class = Class { keys, last: message.time, so_far };
        if room {
            self.insert(self.classes.len(), class);
            return Some(self.classes.len() - 1);
        }
        self.part_all(0);
        let worst = self.classes.iter_mut().filter(|c| !c.is_track()).min_by_key(|c| (c.hits(), c.last));
        if let Some(worst) = worst {
            *worst = class;
        }
        None
    }

    fn insert(&mut self, at: usize, class: Class) {
        if self.classes.len() == self.classes.capacity() {
            // Many flows have one kind of message or two.
            self.classes.reserve_exact(1.max(self.classes.len() / 2));
        }
        self.classes.insert(at, class);
    }

    /// Parts class `i` so that of its keys it has `these` alone; its narrower ones go before it, its wider ones behind it. Where
    /// it is then.
    fn part(&mut self, i: usize, these: &[Key]) -> usize {
        let keys = self.classes[i].keys;
        let these = keys.only(keys.shared(these));
        let narrower = keys.present & (bit(these.narrowest()) - 1);
        self.part_off(i, keys.present & !these.present & !narrower, i + 1);
        self.part_off(i, narrower, i);
        i + usize::from(narrower != 0)
    }

    /// Parts the classes from the `i`th on, so that each may go on its own.
    fn part_all(&mut self, mut i: usize) {
        while i < self.classes.len() {
            self.part_off(i, self.classes[i].keys.wider(), i + 1);
            i += 1;
        }
    }

    /// Gives some likenesses of class `i`, if there are any, a class of their own that is put at `at`.
    fn part_off(&mut self, i: usize, likenesses: u8, at: usize) {
        if likenesses == 0 {
            return;
        }
        let class = &mut self.classes[i];
        let others = Class { keys: class.keys.only(likenesses), ..class.clone() };
        class.keys.present &= !likenesses;
        self.insert(at, others);
    }

    /// Takes a message of class `i`; whether the class is known for its timer now.
    fn observe(
        &mut self,
        i: usize,
        message: &Message<'_>,
        before: &Before,
        relation: Relation,
        due: &mut Due,
        ear: &mut Ear,
    ) -> bool {
        let class = &mut self.classes[i];
        let since = message.time.since(class.last);
        if since < SAME {
            class.last = message.time;
            class.crowd();
            return class.is_track();
        }
        let shares = relation.answers && !message.bytes.is_empty() && self.lend(i);
        let wider = self.classes[i].observe(message, before, relation, ear);
        if shares {
            self.share(i);
        }
        if let Some(wider) = wider {
            self.insert(i + 1, wider);
        }
        self.expect_reply(message, REPLY_WITHIN.min(since / REPLY_SHARE));
        let class = &self.classes[i];
        let is_track = class.is_track();
        self.tracks |= is_track;
        if let Some(track) = class.track() {
            *due = due.or_before(track.due());
            // What looked like a timer at first and does not go on so must not keep its messages from other classes.
            if !track.steady {
                // Of the last class, its widest likeness alone takes the place.
                self.part_all(self.classes.len() - 1);
                self.classes.swap_remove(i);
            }
        }
        is_track
    }

    fn expect_reply(&mut self, message: &Message<'_>, within: Nanos) {
        let until = &mut self.reply_until[message.from.peer()];
        *until = (*until).max(Moment::at(message.time.plus(within)));
    }

    /// Other classes of the same messages of `from` as the one that is now known are of no use. Those that are known come
    /// first, where most messages find them.
    fn drop_shadows(&mut self, from: Side, now: Time) {
        self.classes.retain(|c| c.is_track() || c.keys.from != from || c.last != now);
        self.classes.sort_by_key(|c| !c.is_track());
        self.classes.shrink_to_fit();
    }

    /// Wider classes of the same messages, which have seen none since before its last one, neither: the timer has gone on
    /// for so long that they will not be needed in its place.
    fn drop_stale_shadows(&mut self, keys: &[Key], previous: Time) {
        self.classes.retain_mut(|c| {
            if !c.is_track() && c.last < previous {
                c.keys.present &= !c.keys.shared(keys);
            }
            c.keys.count() > 0
        });
        self.classes.shrink_to_fit();
    }

    /// A known beat that came in one segment with data.
    fn embedded(&mut self, message: &Message<'_>, before: &Before, ear: &mut Ear) -> bool {
        let found = self.classes.iter().position(|c| c.is_due_in(message));
        if let Some(i) = found {
            let class = &mut self.classes[i];
            let (len, last) = class.detail().map_or((0, 0), |d| (d.content.len.0, d.last));
            let beat = Message { bytes: &[], len, ..*message };
            class.observe(&beat, before, Relation { digest: last, ..Relation::default() }, ear);
            class.last = message.time;
        }
        found.is_some()
    }

    /// A message that may be the reply to the other side's beats; whether it is of the kind expected.
    fn reply(&mut self, message: &Message<'_>, ear: &mut Ear) -> bool {
        // The first bytes of a binary reply often are its request's number.
        let key = if message.len > LARGE { 0 } else { message.shape.unwrap_or(message.len) };
        let mut answers = false;
        for class in self.classes.iter_mut().filter(|c| c.keys.from != message.from) {
            answers |= class.reply(message, key, ear);
        }
        answers
    }

    /// Before class `i` takes a reply: where what the replies say is what the class says so far, it is left to the class.
    fn lend(&mut self, i: usize) -> bool {
        let (before, rest) = self.classes.split_at_mut(i);
        let Some((class, after)) = rest.split_first_mut() else { return false };
        let none = Content::default();
        let content = class.detail().map_or(&none, |d| &d.content);
        let mut shares = false;
        for replies in before.iter_mut().chain(after).filter_map(Class::replies_taking) {
            if replies.content.is_one_with(content) {
                replies.content.release();
                replies.taking = Taking::Shared;
                shares = true;
            }
        }
        shares
    }

    /// After it: what the class says is what the replies say.
    fn share(&mut self, i: usize) {
        let (before, rest) = self.classes.split_at_mut(i);
        let Some((class, after)) = rest.split_first_mut() else { return };
        let Some(detail) = class.detail() else { return };
        for replies in before.iter_mut().chain(after).filter_map(Class::replies_taking) {
            if replies.taking == Taking::Shared {
                (replies.content, replies.taking) = (detail.content.clone(), Taking::Done);
            }
        }
    }

    /// What the replies say takes a reply that no class of its own has brought it.
    fn take_reply(&mut self, message: &Message<'_>) {
        for replies in self.classes.iter_mut().filter_map(Class::replies_taking) {
            replies.content.push(message.bytes, message.len, message.opaque);
            replies.taking = Taking::Done;
        }
    }

    /// Tells what fell due by `now`; gives when to ask again.
    pub fn tell_missed(&mut self, now: Time, activity: &Activity, ear: &mut Ear) -> Due {
        let mut due = Due::default();
        for detail in self.classes.iter_mut().filter_map(Class::detail_mut) {
            if let Stage::Known(track) = &mut detail.stage {
                track.tell_missed(now, activity, ear, detail.told);
                due = due.or_before(track.due());
            }
        }
        due
    }

    /// The heartbeats and polls found. `named` are those known by name, which are not told again; `any_pace` is whether
    /// an even pace alone may make a heartbeat.
    #[must_use]
    pub fn summaries(&self, now: Time, activity: &Activity, named: &[&Track], any_pace: bool) -> Vec<HeartbeatSummary> {
        if !self.tracks {
            return Vec::new();
        }
        let mut tracks: Vec<(&Class, &Detail, Cow<'_, Track>)> = Vec::new();
        for class in &self.classes {
            if let Some(detail) = class.detail()
                && let Some(track) = detail.track()
                && !detail.follows()
            {
                tracks.push((class, detail, track.latest()));
            }
        }
        tracks.sort_by_key(|(class, _, track)| (class.keys.narrowest(), track.first));
        let mut told: Vec<&Track> = Vec::new();
        let mut all = Vec::new();
        for (class, detail, track) in &tracks {
            let same = |other: &&Track| other.from == track.from && coincide(other, track);
            let answers = |other: &&Track| other.from != track.from && other.last_reply == Moment::at(track.last);
            if told.iter().chain(named).any(same) || named.iter().any(answers) || !track.steady {
                continue;
            }
            told.push(track);
            let Some(kind) = class.kind().filter(|_| any_pace || detail.content.says_heartbeat()) else { continue };
            let mode = detail.mode();
            let present: &Track = track;
            for phase in detail.past.iter().chain([present]) {
                let now = if std::ptr::eq(phase, present) { now } else { phase.last };
                let replies = if mode == Mode::RequestReply { phase.replies.into() } else { 0 };
                let told = phase.summary(now, activity, None, detail.content.sample());
                all.push(HeartbeatSummary { kind, mode, replies, ..told });
            }
        }
        all
    }
}

/// Asks for what is known of the first classes of each, then for where more of it will be put.
#[inline]
pub fn prefetch_parts<'a>(all: impl Iterator<Item = &'a Rhythm>) {
    let mut details = Few::<&Detail, MOST_PREFETCHED>::default();
    for class in all.flat_map(|rhythm| rhythm.classes.iter().take(PREFETCHED)) {
        let detail = class.detail();
        detail.into_iter().for_each(prefetch);
        details.push(detail);
    }
    details.iter().for_each(Detail::prefetch);
}

/// Whether two tracks of one side are one beat: parts of it, or its shadows. The same period, and always together.
fn coincide(a: &Track, b: &Track) -> bool {
    let (Some(p), Some(q)) = (period(a), period(b)) else { return false };
    let apart = a.last.since(b.last).abs().min(a.first.since(b.first).abs());
    (p / q - 1.0).abs() < 0.15 && apart < nanos(f64::from(p.min(q)) / 4.0)
}

fn period(track: &Track) -> Option<f32> {
    track.pulse.map(|p| p.period).or_else(|| track.gaps.interval(Clock::Beat).map(|i| i.median as f32))
}

/// A message's keys, from the narrowest likeness to the widest, and how many there are.
fn keys(message: &Message<'_>) -> ([Key; LIKENESSES.len()], usize) {
    let Message { bytes, len, opaque, from, shape, .. } = *message;
    let seed = (from as u32) << 31;
    let head = &bytes[..bytes.len().min(HEAD)];
    // Lengths as they are, for multiplied they spread evenly over the doorkeeper.
    let mut keys = [(0, Likeness::Shape); LIKENESSES.len()];
    let mut count = 0;
    let mut add = |key, likeness| {
        keys[count] = (key, likeness);
        count += 1;
    };
    if opaque {
        add(seed | len, Likeness::Length);
        return (keys, count);
    }
    if let Some(shape) = shape {
        add(digest(seed, &shape.to_be_bytes()), Likeness::Shape);
    } else {
        add(digest(seed ^ len, &head[..head.len().min(4)]), Likeness::Shape);
        if len <= LONGEST_BEAT {
            add(seed | len, Likeness::Length);
        }
    }
    if len > 2 && len <= LONGEST_BEAT && head.len() >= 2 {
        add(digest(seed, &head[..2]), Likeness::Prefix);
    }
    (keys, count)
}

/// Whether two gaps are alike, or one is twice the other.
fn alike(a: f32, b: f32) -> bool {
    fold(a, b, 0.35).or(fold(b, a, 0.35)).is_some_and(|k| k <= 2)
}

impl Class {
    fn detail(&self) -> Option<&Detail> {
        if let SoFar::Again { detail, .. } = &self.so_far { Some(detail) } else { None }
    }

    fn detail_mut(&mut self) -> Option<&mut Detail> {
        if let SoFar::Again { detail, .. } = &mut self.so_far { Some(detail) } else { None }
    }

    fn seen(&self) -> u32 {
        if let SoFar::Again { seen, .. } = self.so_far { seen } else { 1 }
    }

    fn hits(&self) -> i8 {
        if let SoFar::Again { hits, .. } = self.so_far { hits } else { 0 }
    }

    fn crowd(&mut self) {
        let (SoFar::Once { crowded, .. } | SoFar::Again { crowded, .. }) = &mut self.so_far;
        *crowded = crowded.saturating_add(1);
    }

    fn track(&self) -> Option<&Track> {
        self.detail().and_then(Detail::track)
    }

    fn is_track(&self) -> bool {
        self.track().is_some()
    }

    /// Whether its timer is to be relied on, asked every few beats.
    fn is_reliable(&self) -> bool {
        let count = self.detail().map_or(0, Detail::count);
        count >= RELIABLE && count.is_multiple_of(ASKED)
    }

    /// Takes the next message. Where it makes the class known for its timer, the class is known by its narrowest likeness, and
    /// what it was before under the others is given.
    fn observe(&mut self, message: &Message<'_>, before: &Before, relation: Relation, ear: &mut Ear) -> Option<Class> {
        let gap = Gap { beat: span(self.last, message.time), ..before.gap };
        let recurred = matches!(self.so_far, SoFar::Again { .. });
        if let SoFar::Once { crowded, first } = self.so_far {
            let detail = Box::new(Detail::new(first, before));
            self.so_far = SoFar::Again { crowded, seen: 1, last_gap: gap, hits: 0, detail };
        }
        let SoFar::Again { crowded, seen, last_gap, hits, detail } = &mut self.so_far else { return None };
        let (crowded, had) = (*crowded, *hits);
        // A known timer keeps its class without hits.
        if recurred && detail.track().is_none() {
            let idle = || alike(gap.by(Clock::Any), last_gap.by(Clock::Any)) && gap.by(Clock::Any) > SHORTEST;
            let hit = alike(gap.beat, last_gap.beat) || idle();
            *hits = (*hits + if hit { 1 } else { -1 }).clamp(-4, 8);
        }
        let mut pulse = None;
        let mut wider = None;
        if let Stage::Sought(gaps, _) = &mut detail.stage {
            let mark = gaps.mark();
            gaps.push(gap);
            // Once many gaps made no timer, one more hardly does.
            let few = gaps.seen() <= MANY || gaps.seen().is_multiple_of(LOOK);
            if few && *hits > 0 && !relation.held && crowded <= *seen {
                pulse = gaps.pulse(CHANCE_IF_SAID);
            }
            if pulse.is_some() && self.keys.count() > 1 {
                let keys = self.keys.only(self.keys.wider());
                let mut detail = detail.clone();
                if let Stage::Sought(gaps, _) = &mut detail.stage {
                    gaps.back_to(mark);
                }
                let so_far = SoFar::Again { crowded, seen: *seen, last_gap: *last_gap, hits: had, detail };
                wider = Some(Class { keys, last: self.last, so_far });
            }
        }
        self.last = message.time;
        *last_gap = gap;
        *seen = seen.saturating_add(1);
        detail.last = relation.digest;
        detail.peer_bursts.1 = before.peer_bursts;
        detail.echoes = detail.echoes.saturating_add(relation.echoes.into());
        detail.answers = detail.answers.saturating_add(relation.answers.into());
        if !message.bytes.is_empty() {
            detail.content.push(message.bytes, message.len, message.opaque);
        }
        detail.replies.waiting = true;
        detail.replies.asked = false;
        let Stage::Sought(gaps, beats) = &mut detail.stage else {
            detail.beat(message, gap);
            if ear.listens() && detail.count().is_power_of_two() {
                self.judge();
            }
            if self.is_told() {
                let interval = Some(nanos(f64::from(gap.beat)));
                self.tell(message.time, message.frame, EventKind::Heartbeat { protocol: None, interval }, ear);
            }
            return None;
        };
        if beats.len() > KEPT {
            beats.remove(0);
        }
        beats.push(Beat::new(message));
        let said = || self.keys.narrowest() == Likeness::Shape && detail.content.says_heartbeat();
        let pulse = pulse.filter(|pulse| pulse.chance <= CHANCE || said())?;
        let (gaps, beats) = (std::mem::take(gaps), std::mem::take(beats));
        detail.begin(self.keys.from, gaps, &beats, pulse);
        self.keys = self.keys.only(bit(self.keys.narrowest()));
        if ear.listens() {
            self.judge();
            self.tell_all(&beats, ear);
        }
        wider
    }

    /// Judges whether its messages are beats of a heartbeat and no replies.
    fn judge(&mut self) {
        let follows = self.detail().is_some_and(Detail::follows);
        let told = !follows && self.kind() == Some(BeatKind::Heartbeat);
        if let Some(detail) = self.detail_mut() {
            detail.told = told;
        }
    }

    /// Whether its beats and their replies are told.
    fn is_told(&self) -> bool {
        self.detail().is_some_and(|d| d.told)
    }

    /// Tells a beat or a reply, if they are told.
    fn tell(&self, time: Time, frame: u64, kind: EventKind, ear: &mut Ear) {
        if self.is_told() {
            ear.hear(Heard { time, frame: Some(frame), from: self.keys.from, kind });
        }
    }

    /// Tells the beats that made the class known.
    fn tell_all(&self, beats: &[Beat], ear: &mut Ear) {
        let mut last: Option<Time> = None;
        for beat in beats {
            let interval = last.map(|l| beat.time.since(l));
            last = Some(beat.time);
            self.tell(beat.time, beat.frame, EventKind::Heartbeat { protocol: None, interval }, ear);
            if let Some(time) = beat.replied.get() {
                self.tell_reply(time, beat.reply_frame, ear);
            }
        }
    }

    fn tell_reply(&self, time: Time, frame: u64, ear: &mut Ear) {
        if self.is_told() {
            let kind = EventKind::HeartbeatReply { protocol: None };
            ear.hear(Heard { time, frame: Some(frame), from: self.keys.from.peer(), kind });
        }
    }

    /// What its replies say, if the present message is yet to come into it.
    fn replies_taking(&mut self) -> Option<&mut Replies> {
        let replies = self.detail_mut().map(|d| &mut d.replies);
        replies.filter(|replies| replies.taking != Taking::Done)
    }

    /// A message of the other side; whether it is the reply expected.
    fn reply(&mut self, message: &Message<'_>, key: u32, ear: &mut Ear) -> bool {
        let last = self.last;
        let (detail, last_gap) = match &mut self.so_far {
            SoFar::Again { detail, last_gap, .. } => (detail, *last_gap),
            SoFar::Once { first, .. } => {
                if message.time.since(last) <= REPLY_WITHIN {
                    first.reply(message);
                }
                return false;
            }
        };
        let since = message.time.since(last);
        if !detail.replies.waiting || !(0..=REPLY_WITHIN).contains(&since) {
            return false;
        }
        let same = !message.opaque && message.digest == detail.last && detail.content.meaning() == Meaning::Constant;
        let share = if same { ECHO_SHARE } else { REPLY_SHARE };
        if since * share > (last_gap.beat * SECOND as f32) as Nanos {
            return false;
        }
        let replies = &mut detail.replies;
        let first = !replies.asked;
        if first {
            replies.asked = true;
            replies.any = replies.any.saturating_add(1);
            if replies.lead == 0 {
                (replies.key, replies.keyed, replies.content) = (key, 0, Content::default());
            }
            replies.lead =
                if key == replies.key { replies.lead.saturating_add(1) } else { replies.lead.saturating_sub(1) };
        }
        let counts = key == replies.key;
        if counts {
            replies.waiting = false;
            replies.keyed = replies.keyed.saturating_add(1);
            replies.taking = Taking::Alone;
        }
        if !(first || counts) {
            return false;
        }
        replies.large = replies.large.saturating_add((message.len > LARGE).into());
        match &mut detail.stage {
            Stage::Known(track) => {
                if first || track.last_reply < Moment::at(last) {
                    track.reply(message.time);
                    self.tell_reply(message.time, message.frame, ear);
                }
            }
            Stage::Sought(_, beats) => {
                if let Some(beat) = beats.last_mut() {
                    beat.reply(message);
                }
            }
        }
        counts
    }

    /// Whether a beat of this class is due and the message holds it: its end, its beginning, or anywhere in a small one.
    fn is_due_in(&self, message: &Message<'_>) -> bool {
        let Some(detail) = self.detail().filter(|_| self.keys.from == message.from) else { return false };
        let Some((_, period)) = detail.track().and_then(Track::timer) else { return false };
        let since = message.time.since(self.last) as f32 / SECOND as f32 / period;
        if !(0.6..3.0).contains(&since) {
            return false;
        }
        let Some(beat) = detail.content.constant().filter(|b| b.len() >= 4) else { return false };
        let bytes = message.bytes;
        bytes.starts_with(beat)
            || bytes.ends_with(beat)
            || message.len <= LARGE && bytes.windows(beat.len()).any(|w| w == beat)
    }

    /// What the class is, judged by what it says and what is answered; `None` if neither a heartbeat nor a poll.
    fn kind(&self) -> Option<BeatKind> {
        let detail = self.detail()?;
        let track = detail.track()?;
        let content = &detail.content;
        match content.poll() {
            Some(Part::Request) => return Some(BeatKind::Polling),
            Some(Part::Reply) => return None,
            None => {}
        }
        let says = content.says_heartbeat();
        let replies = &detail.replies;
        if !says && detail.mode() == Mode::RequestReply {
            let Replies { keyed, any, large, .. } = *replies;
            let one_kind = keyed >= any - any / 2;
            if large > any / 2 || !one_kind || replies.wander() && !replies.content.says_heartbeat() {
                return Some(BeatKind::Polling);
            }
        }
        if content.len.1 > LONGEST_BEAT || content.is_key() && track.pulse.is_some_and(|p| p.period < 2.0 * SHORTEST) {
            return None;
        }
        (says || content.meaning() != Meaning::Wandering).then_some(BeatKind::Heartbeat)
    }
}

impl Replies {
    /// Whether they bring content that varies.
    fn wander(&self) -> bool {
        let (least, most) = self.content.len;
        self.content.meaning() == Meaning::Wandering && (!self.content.is_opaque() || most - least > OPAQUE_WOBBLE)
    }
}

impl Detail {
    /// Of a class whose second message comes.
    fn new(first: Beat, before: &Before) -> Self {
        let mut beats = Vec::with_capacity(FIRST_BEATS);
        beats.push(first);
        Detail {
            stage: Stage::Sought(Gaps::default(), beats),
            content: Content::default(),
            replies: Replies::default(),
            peer_bursts: (before.peer_bursts, before.peer_bursts),
            echoes: 0,
            answers: 0,
            last: 0,
            off_beat: 0,
            told: false,
            past: Box::default(),
        }
    }

    /// Asks for where its next message will be put.
    #[inline]
    fn prefetch(&self) {
        match &self.stage {
            Stage::Sought(gaps, _) => gaps.prefetch(),
            Stage::Known(track) => track.gaps.prefetch(),
        }
        self.content.prefetch();
        self.replies.content.prefetch();
    }

    fn track(&self) -> Option<&Track> {
        if let Stage::Known(track) = &self.stage { Some(track) } else { None }
    }

    /// The class is known for its timer: its beats so far become a track.
    fn begin(&mut self, from: Side, gaps: Gaps, beats: &[Beat], pulse: Pulse) {
        let (Some(first), Some(last)) = (beats.first(), beats.last()) else { return };
        let mut track = Track::new(from, None, BeatKind::Heartbeat, Mode::OneWay, first.time);
        track.count = beats.len() as u32;
        track.last = last.time;
        beats.iter().filter_map(|b| b.replied.get()).for_each(|time| track.reply(time));
        track.gaps = gaps;
        track.len = self.content.len;
        track.begin(pulse);
        track.wait();
        self.stage = Stage::Known(track);
    }

    /// The next beat of a known timer; where its period has changed for good, a new phase begins.
    fn beat(&mut self, message: &Message<'_>, gap: Gap) {
        let Stage::Known(track) = &mut self.stage else { return };
        track.measure(message.len);
        let old = track.pulse;
        track.beat(message.time, gap);
        let Some(old) = old else { return };
        let on_beat = fold(gap.by(old.clock), old.period, 1.5 * old.tolerance.max(0.1)) == Some(1);
        self.off_beat = if on_beat { 0 } else { self.off_beat.saturating_add(1) };
        if self.off_beat <= FEWEST as u32 || track.gaps.seen() <= self.off_beat.saturating_add(2) {
            return;
        }
        let tail = track.gaps.tail(self.off_beat as usize);
        // Gaps of whole periods are lost beats first, a longer period only where so many in a row are not likely.
        let lost = |g: &Gap| fold(g.by(old.clock), old.period, old.tolerance.max(0.1)).is_some();
        if tail.seen() < LOST_IN_A_ROW && tail.last(KEPT).all(lost) {
            return;
        }
        let other = |p: &Pulse| (p.period / old.period - 1.0).abs() > 0.25 && p.share > 0.99;
        let Some(pulse) = tail.pulse(CHANCE).filter(other) else { return };
        let next = track.split(tail, old, pulse);
        let mut past = std::mem::take(&mut self.past).into_vec();
        past.push(std::mem::replace(track, next));
        if past.len() >= PHASES {
            past.remove(0);
        }
        self.past = past.into_boxed_slice();
        self.off_beat = 0;
    }

    /// Bursts of the other side while the class's messages came.
    fn heard_bursts(&self) -> u64 {
        u64::from(self.peer_bursts.1.wrapping_sub(self.peer_bursts.0))
    }

    /// Beats of all phases.
    fn count(&self) -> u64 {
        self.track().into_iter().chain(&self.past).map(|t| u64::from(t.count)).sum()
    }

    /// Whether the class's beats are answered: by one kind of reply, or by whatever the other side sends if that is
    /// little else.
    fn mode(&self) -> Mode {
        let (keyed, any) = (u64::from(self.replies.keyed), u64::from(self.replies.any));
        let count = self.count();
        let only = self.heard_bursts() * 2 <= any * 3 + 2;
        if keyed * 2 >= count || any * 2 >= count && only { Mode::RequestReply } else { Mode::OneWay }
    }

    /// Whether the class answers rather than beats: most of its messages came as replies to one class of the other side,
    /// or nearly each followed one of the other side's at once, and nearly each of those drew one.
    fn follows(&self) -> bool {
        let Some(track) = self.track() else { return false };
        if u64::from(self.answers) * 5 >= self.count() * 3 {
            return true;
        }
        let Some(pulse) = track.pulse else { return false };
        let symmetric =
            u64::from(self.echoes) * 2 > u64::from(track.count) && self.content.meaning() == Meaning::Constant;
        let share = if symmetric { ECHO_SHARE } else { REPLY_SHARE };
        let within = (REPLY_WITHIN as f32 / SECOND as f32).min(pulse.period / share as f32);
        let gaps = || track.gaps.last(KEPT);
        let prompt = gaps().filter(|g| g.heard <= within && g.heard <= g.sent).count();
        prompt * 5 >= gaps().count() * 4 && self.heard_bursts() * 2 <= self.count() * 3 + 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `count` messages made from their number, a millisecond to a second apart.
    fn flood(count: u32, message: impl Fn(u32) -> Vec<u8>) -> Rhythm {
        let (mut rhythm, mut activity, mut ear) = (Rhythm::default(), Activity::default(), Ear::new(true));
        let mut time = Time(0);
        for n in 0..count {
            let from = Side::BOTH[(n.wrapping_mul(0x9e37_79b1) >> 31) as usize];
            time = time.plus(MILLISECOND * Nanos::from(1 + n.wrapping_mul(0x85eb_ca6b) % 1000));
            let bytes = message(n);
            let chunk = Chunk { time, frame: n.into(), from, bytes: &bytes, len: bytes.len() as u32 };
            rhythm.data(&chunk, &activity, &mut Due::default(), &mut ear);
            activity.note(from, time);
            drop(ear.take());
        }
        rhythm
    }

    #[test]
    fn a_beat_that_goes_on_is_kept_under_one_likeness() {
        let (mut rhythm, mut activity, mut ear) = (Rhythm::default(), Activity::default(), Ear::new(true));
        let mut classes = Vec::new();
        for n in 0..16 {
            let time = Time(n * 5 * SECOND);
            let bytes = [0xb7, 3, 0, 1, 0xff, n as u8];
            let chunk = Chunk { time, frame: n as u64, from: Side::Client, bytes: &bytes, len: bytes.len() as u32 };
            rhythm.data(&chunk, &activity, &mut Due::default(), &mut ear);
            activity.note(Side::Client, time);
            classes.push(rhythm.classes.len());
        }
        // First all its likenesses as one, then the narrowest that is known and the wider ones.
        assert_eq!(classes[..FEWEST], [1; FEWEST]);
        assert_eq!(classes[FEWEST..RELIABLE as usize - 1], [2; RELIABLE as usize - 1 - FEWEST]);
        assert_eq!(classes[RELIABLE as usize - 1..], [1; 16 - RELIABLE as usize + 1]);
        assert!(rhythm.classes[0].is_reliable() && rhythm.heap() <= 2048, "{} bytes", rhythm.heap());
    }

    #[test]
    fn what_replies_say_is_kept_once_until_their_class_says_more() {
        let (mut rhythm, mut activity, mut ear) = (Rhythm::default(), Activity::default(), Ear::new(true));
        let mut say = |rhythm: &mut Rhythm, from, n: i64, at: Nanos| {
            let bytes = [0xb7, from as u8, 0, 1, 0xff, n as u8];
            let chunk = Chunk { time: Time(n * 5 * SECOND + at), frame: 1, from, bytes: &bytes, len: 6 };
            rhythm.data(&chunk, &activity, &mut Due::default(), &mut ear);
            activity.note(from, chunk.time);
        };
        let contents = |rhythm: &Rhythm| {
            let is = |c: &&Class, side| c.keys.from == side && c.is_track();
            let of = |side| rhythm.classes.iter().find(|c| is(c, side)).and_then(Class::detail).unwrap().clone();
            (of(Side::Client).replies.content, of(Side::Server).content)
        };
        for n in 0..8 {
            say(&mut rhythm, Side::Client, n, 0);
            say(&mut rhythm, Side::Server, n, 20 * MILLISECOND);
        }
        let (replies, class) = contents(&rhythm);
        assert!(replies.is_one_with(&class) && class.heap() > 0);
        say(&mut rhythm, Side::Server, 9, 2 * SECOND);
        let (then, class) = contents(&rhythm);
        assert!(then.is_one_with(&replies) && !then.is_one_with(&class), "what is no reply is not among them");
    }

    #[test]
    fn a_million_kinds_of_message_cost_no_more_than_stated() {
        for kind in 0..4u8 {
            let rhythm = flood(250_000, |n| match kind {
                0 => n.to_be_bytes().to_vec(),
                1 => format!("message {} of {n}", "abcdefghijklmnop".split_at((n % 16) as usize).1).into_bytes(),
                2 => vec![n as u8; 1 + (n % 200) as usize],
                _ => [&[23, 3, 3, 0, (n % 250) as u8 + 1][..], &vec![0; (n % 250) as usize + 1]].concat(),
            });
            assert!(rhythm.classes.len() <= CLASSES);
            assert!(size_of::<Class>() <= 64);
            assert!(rhythm.heap() <= MOST_HEAP, "{} bytes", rhythm.heap());
        }
    }
}
