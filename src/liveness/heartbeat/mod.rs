//! Application heartbeats of one flow: by name where the protocol is known, by rhythm where it is not.
//!
//! Each side's bytes go first to the protocols' recognisers, then to the parser of the one that knew them; what it does
//! not claim goes to the rhythm detector. Both record their beats as `Track`s.
//!
//! Memory: a [`Heartbeats`] takes 152 bytes; add up to 5 KiB while a protocol is sought (at most 1 KiB of each side),
//! 1 to 2 KiB for each heartbeat, and for a flow of many kinds of small messages what `rhythm.rs` states. Make one at a
//! flow's first payload. A flow of large segments has none of it once its opening has been looked at, and one that is
//! over keeps its heartbeats alone.

mod content;
mod gaps;
mod polls;
pub mod protocols;
mod rhythm;
mod tls;
mod track;

use std::borrow::Cow;

use crate::event::EventKind;
use crate::flow::prefetch::{Few, prefetch};
use crate::packet::{MILLISECOND, Nanos, SECOND, Time};
use crate::summary::{BeatKind, Both, HeartbeatSummary, Mode, Side};
use content::{HEAD, says_heartbeat};
use gaps::{Clock, Gap};
use protocols::{OPENING_LIMIT, Opening, Parser, Recognition, Role, Sign, TABLE, excluded_by};
use rhythm::{LARGE, Rhythm};
use track::Track;

/// The next new payload bytes of one side, in stream order.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// When the segment that completed them was captured.
    pub time: Time,
    /// Its frame.
    pub frame: u64,
    /// Whose stream.
    pub from: Side,
    /// The bytes captured.
    pub bytes: &'a [u8],
    /// How many there are on the wire: more than `bytes` where the snaplen cut them.
    pub len: u32,
}

/// Something heard of a heartbeat, to become an event of the flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// The time of the packet it speaks of.
    pub time: Time,
    /// That packet's frame.
    pub frame: Option<u64>,
    /// Who sent the beat or the reply, or should have.
    pub from: Side,
    /// `Heartbeat`, `HeartbeatReply` or `HeartbeatMissed`.
    pub kind: EventKind,
}

/// Where it is heard, if anybody listens: if nobody does, none of what is only to be told is made.
#[derive(Debug, Default)]
pub struct Ear {
    listens: bool,
    heard: Vec<Heard>,
}

impl Ear {
    /// An ear that has heard nothing.
    #[must_use]
    pub fn new(listens: bool) -> Self {
        Ear { listens, heard: Vec::new() }
    }

    /// Somebody listens from now on, or nobody.
    #[inline]
    pub fn listen(&mut self, listens: bool) {
        self.listens = listens;
    }

    /// Whether somebody listens.
    #[inline]
    #[must_use]
    pub fn listens(&self) -> bool {
        self.listens
    }

    #[inline]
    fn hear(&mut self, what: Heard) {
        if self.listens {
            self.heard.push(what);
        }
    }

    /// What was heard since this was last asked.
    #[inline]
    pub fn take(&mut self) -> impl Iterator<Item = Heard> {
        self.heard.drain(..)
    }

    /// Whether nothing was.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heard.is_empty()
    }
}

/// Pieces of an opening that are remembered; a protocol not known by then stays unknown.
const OPENING_PIECES: usize = 64;

/// Pieces past [`OPENING_LIMIT`] after which nobody waits for what the other side may still say to them.
const UNKEPT_PIECES: usize = 8;

/// The table of protocols fits the bits that say which are excluded.
const ALL_EXCLUDED: u64 = u64::MAX >> (64 - TABLE.len());

/// Signs of a protocol that one chunk can give; a stream of nothing but pings is no heartbeat.
const MOST_SIGNS: usize = 256;

/// Named heartbeats of one flow: a protocol and what it carries, both sides.
const MOST_NAMED: usize = 8;

/// Protocols that carry messages of others, so that any heartbeat may be inside.
const CARRIERS: [&str; 2] = ["websocket", "tls"];

/// A named heartbeat whose median gap is shorter is no heartbeat: HTTP/2 implementations measure bandwidth with pings.
const SHORTEST_NAMED: f64 = 0.4;

/// A side that was silent for this long begins a new burst.
const BURST: Nanos = 500 * MILLISECOND;

/// When each side last sent payload, and how often it began to.
#[derive(Debug, Default)]
struct Activity {
    last: Both<Moment>,
    bursts: Both<u32>,
    speaker: Option<Side>,
}

impl Activity {
    fn note(&mut self, from: Side, time: Time) {
        if self.speaker != Some(from) || self.last(from).is_none_or(|last| time.since(last) > BURST) {
            self.bursts[from] = self.bursts[from].wrapping_add(1);
        }
        self.speaker = Some(from);
        self.last[from] = Moment::at(time);
    }

    /// What lies before a message of `from` that comes `beat` seconds after the last of its kind.
    fn gap(&self, from: Side, time: Time, beat: f32) -> Gap {
        let since = |side| self.last(side).map_or(f32::INFINITY, |last| span(last, time));
        Gap { beat, sent: since(from), heard: since(from.peer()) }
    }

    /// When a side last sent payload, if ever.
    fn last(&self, from: Side) -> Option<Time> {
        self.last[from].get()
    }
}

/// Seconds from `earlier` to `time`, at least 0.
fn span(earlier: Time, time: Time) -> f32 {
    time.since(earlier).max(0) as f32 / SECOND as f32
}

/// A time, or never, in the size of a time: a capture may hold a million of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(i64);

impl Default for Moment {
    fn default() -> Self {
        Self::NEVER
    }
}

impl Moment {
    const NEVER: Moment = Moment(i64::MIN);

    fn at(time: Time) -> Self {
        Moment(time.0.max(i64::MIN + 1))
    }

    fn get(self) -> Option<Time> {
        (self != Self::NEVER).then_some(Time(self.0))
    }
}

/// When a beat may have to be told as missed, if ever.
#[derive(Clone, Copy, Debug)]
struct Due(Time);

impl Default for Due {
    fn default() -> Self {
        Due(Time(i64::MAX))
    }
}

impl Due {
    fn or_before(self, other: Time) -> Self {
        Due(self.0.min(other))
    }

    fn has_come(self, now: Time) -> bool {
        self.0 <= now
    }
}

/// A part of the opening, as it came.
#[derive(Debug)]
struct Piece {
    time: Time,
    frame: u64,
    from: Side,
    /// How many of its bytes are kept.
    kept: u16,
    len: u32,
}

/// How far the search for a flow's protocol has come.
#[derive(Default)]
enum Search {
    /// None was found.
    #[default]
    Over,
    /// Nothing was seen yet.
    Unbegun,
    /// More bytes are needed.
    Going(Box<Seeking>),
    /// One was.
    Found(Box<Followed>),
}

impl Search {
    fn found(&self) -> Option<&Followed> {
        if let Search::Found(followed) = self { Some(followed) } else { None }
    }

    fn found_mut(&mut self) -> Option<&mut Followed> {
        if let Search::Found(followed) = self { Some(followed) } else { None }
    }
}

/// What is kept while a flow's protocol is sought.
#[derive(Debug, Default)]
struct Seeking {
    bytes: Both<Vec<u8>>,
    /// The first piece, mostly the only one, and what came behind it.
    first: Option<Piece>,
    more: Vec<Piece>,
    /// Pieces past [`OPENING_LIMIT`].
    unkept: usize,
    /// Bytes of both sides when the recognisers were last asked.
    asked: usize,
    /// The protocols that it is not, a bit for each place in the table.
    excluded: u64,
}

/// A protocol that was found, and its parser.
type Found = (&'static str, Box<dyn Parser>);

/// A protocol that is followed.
struct Followed {
    name: &'static str,
    /// `None` once the flow is over without a beat.
    parser: Option<Box<dyn Parser>>,
    named: Vec<Named>,
    declared: Vec<Declaration>,
}

/// A heartbeat that a parser names.
#[derive(Debug)]
struct Named {
    track: Track,
    /// First bytes of a beat.
    sample: Vec<u8>,
    declared_s: Option<f64>,
    /// Beats and replies not told yet; `None` once its pace is a heartbeat's, and then they are told at once.
    held: Option<Vec<Heard>>,
}

/// Bytes that a parser takes at most; the protocols' tests hold each to it.
const MOST_PARSER: usize = 1024;

/// Beats and replies held of a named heartbeat until its pace is known.
const MOST_HELD: usize = 8;

impl Named {
    /// Whether its beats come no faster than a heartbeat's. Of one-way beats several can be due at once while a session is set
    /// up (BGP's KEEPALIVE also confirms the OPEN): there a single gap is enough.
    fn is_paced(&self) -> bool {
        self.track.gaps.interval(Clock::Beat).is_some_and(|i| {
            let gap = if self.track.mode == Mode::OneWay { i.max } else { i.median };
            gap >= SHORTEST_NAMED
        })
    }

    /// Tells a beat or a reply, now or once the pace is known.
    fn tell(&mut self, what: Heard, ear: &mut Ear) {
        if self.track.kind != BeatKind::Heartbeat || !ear.listens() {
            return;
        }
        if self.held.is_none() {
            ear.hear(what);
            return;
        }
        let paced = self.is_paced();
        let Some(held) = &mut self.held else { return };
        if held.len() >= MOST_HELD {
            held.remove(0);
        }
        held.push(what);
        if paced {
            held.drain(..).for_each(|what| ear.hear(what));
            self.held = None;
        }
    }
}

/// A beat that a parser found.
struct Beat {
    protocol: &'static str,
    mode: Mode,
    kind: BeatKind,
    len: u32,
    sample: Vec<u8>,
}

/// An interval or timeout that a protocol's handshake announced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Declaration {
    /// The protocol.
    pub protocol: &'static str,
    /// Whose beats it governs; `None` for both sides'.
    pub sender: Option<Side>,
    /// The figure as the protocol states it, seconds.
    pub seconds: f64,
}

/// Everything known of one flow's heartbeats; bounded memory whatever the flow carries.
#[derive(Default)]
pub struct Heartbeats {
    ports: Both<u16>,
    from_start: bool,
    activity: Activity,
    search: Search,
    /// When the next beat may have to be told as missed.
    due: Due,
    rhythm: Rhythm,
    /// What is known at the end, which verdicts and report ask for again.
    last: Option<Box<(Time, Box<[HeartbeatSummary]>)>>,
}

impl Heartbeats {
    /// For a flow between these ports; `from_start` when its SYN was captured.
    #[must_use]
    pub fn new(ports: Both<u16>, from_start: bool) -> Self {
        Heartbeats { ports, from_start, search: Search::Unbegun, ..Self::default() }
    }

    /// Bytes on the heap; a parser counts as the largest that is allowed.
    #[must_use]
    pub fn heap(&self) -> usize {
        let search = match &self.search {
            Search::Over | Search::Unbegun => 0,
            Search::Going(seeking) => seeking.heap(),
            Search::Found(followed) => followed.heap(),
        };
        search + self.rhythm.heap()
    }

    /// Takes the next bytes of a stream.
    pub fn data(&mut self, chunk: Chunk<'_>, ear: &mut Ear) {
        if chunk.len == 0 {
            return;
        }
        self.advance(chunk.time, ear);
        let claimed = match &self.search {
            Search::Found(_) => self.parse(&chunk, ear),
            Search::Over => false,
            Search::Unbegun | Search::Going(_) => self.seek(&chunk, ear),
        };
        if !claimed {
            self.unclaimed(&chunk, ear);
        }
    }

    /// `len` bytes of `from`'s stream were not captured.
    pub fn gap(&mut self, from: Side, len: u64) {
        match &mut self.search {
            Search::Found(followed) => followed.gap(from, len),
            // What was seen of the opening no longer joins what comes.
            search => *search = Search::Over,
        }
        self.rhythm.gap(from);
    }

    /// Time has passed: beats that fell due by `now` and did not come are told.
    #[inline]
    pub fn advance(&mut self, now: Time, ear: &mut Ear) {
        if ear.listens() && self.due.has_come(now) {
            self.tell_missed(now, ear);
        }
    }

    fn tell_missed(&mut self, now: Time, ear: &mut Ear) {
        self.due = Due::default();
        for named in self.search.found_mut().into_iter().flat_map(|f| &mut f.named) {
            if named.held.is_none() {
                named.track.tell_missed(now, &self.activity, ear, true);
            }
            self.due = self.due.or_before(named.track.due());
        }
        let Due(due) = self.rhythm.tell_missed(now, &self.activity, ear);
        self.due = self.due.or_before(due);
    }

    /// The flow is over, and no first beat is to come: what was kept to find one goes. False if nothing is left.
    pub fn close(&mut self) -> bool {
        let named = match &mut self.search {
            Search::Found(followed) => {
                let named = !followed.named.is_empty();
                followed.parser = followed.parser.take().filter(|_| named);
                named
            }
            search => {
                *search = Search::Over;
                false
            }
        };
        self.rhythm.close();
        named || self.rhythm.has_tracks()
    }

    /// What the protocol's handshake announced, be there beats or not.
    #[must_use]
    pub fn declared(&self) -> &[Declaration] {
        self.search.found().map_or(&[], |f| &f.declared)
    }

    /// The protocol that the flow was recognised to speak.
    #[must_use]
    pub fn protocol(&self) -> Option<&'static str> {
        self.search.found().map(|f| f.name)
    }

    /// Nothing more will come before `now`: what is known then is kept at hand.
    pub fn settle(&mut self, now: Time) {
        let known = self.summaries(now).into_owned();
        self.last = (!known.is_empty()).then(|| Box::new((now, known.into_boxed_slice())));
    }

    /// Nothing more will come, and nobody asks for another moment than `now`: of all that was kept to find beats, what is
    /// known then is left.
    pub fn conclude(&mut self, now: Time) {
        if self.last.as_ref().is_none_or(|last| last.0 != now) {
            self.settle(now);
        }
        self.rhythm = Rhythm::default();
        match &mut self.search {
            Search::Found(followed) => (followed.parser, followed.named) = (None, Vec::new()),
            search => *search = Search::Over,
        }
    }

    /// What is known at time `now`, by first beat. `now` is the end of the flow, or of the capture while it is open:
    /// beats due by then and not come count as missed.
    #[must_use]
    pub fn summaries(&self, now: Time) -> Cow<'_, [HeartbeatSummary]> {
        match &self.last {
            Some(last) if last.0 == now => Cow::Borrowed(&last.1),
            _ => Cow::Owned(self.known(now)),
        }
    }

    fn known(&self, now: Time) -> Vec<HeartbeatSummary> {
        let named = self.search.found().map_or(&[][..], |f| &f.named);
        if named.is_empty() && !self.rhythm.has_tracks() {
            return Vec::new();
        }
        let tracks: Vec<&Track> = named.iter().map(|n| &n.track).collect();
        let mut all = self.rhythm.summaries(now, &self.activity, &tracks, self.any_pace());
        let paced = named.iter().filter(|n| n.is_paced());
        all.extend(paced.map(|n| n.track.latest().summary(now, &self.activity, n.declared_s, &n.sample)));
        all.sort_by_key(|s| s.first);
        all
    }

    /// Whether an even pace alone may make a heartbeat. Inside a protocol that has messages of its own it does not, and
    /// a message must say itself that it is one.
    fn any_pace(&self) -> bool {
        self.protocol().is_none_or(|name| CARRIERS.contains(&name))
    }

    /// Notes the time of bytes that no parser claimed, and looks for a rhythm in them.
    fn unclaimed(&mut self, chunk: &Chunk<'_>, ear: &mut Ear) {
        let may_beat = || self.any_pace() || says_heartbeat(&chunk.bytes[..chunk.bytes.len().min(HEAD)]);
        if !self.rhythm.is_idle() || chunk.len <= LARGE && may_beat() {
            self.rhythm.data(chunk, &self.activity, &mut self.due, ear);
        }
        self.activity.note(chunk.from, chunk.time);
    }

    /// Shows the opening to the recognisers; whether one knew it, and the chunk with what came before it was parsed.
    fn seek(&mut self, chunk: &Chunk<'_>, ear: &mut Ear) -> bool {
        let mut seeking = match std::mem::take(&mut self.search) {
            Search::Over | Search::Found(_) => return false,
            Search::Unbegun if chunk.bytes.is_empty() => Box::default(),
            Search::Unbegun => {
                // Most openings are known, or known for none, by their first bytes: these are copied only where they are not.
                let mut bytes = Both([&[][..]; 2]);
                bytes[chunk.from] = &chunk.bytes[..chunk.bytes.len().min(OPENING_LIMIT)];
                let mut excluded = excluded_by(chunk.bytes[0], chunk.from, self.from_start);
                let opening = Opening::new(self.ports, bytes, self.from_start);
                if let Some(found) = ask(&opening, &mut excluded) {
                    self.follow(found);
                    self.again(chunk, ear);
                    return true;
                }
                if excluded != ALL_EXCLUDED {
                    let mut seeking = Box::new(Seeking { excluded, ..Seeking::default() });
                    seeking.asked = seeking.keep(chunk);
                    self.search = Search::Going(seeking);
                }
                return false;
            }
            Search::Going(seeking) => seeking,
        };
        let Some(found) = seeking.take(chunk, self.ports, self.from_start) else {
            if !seeking.exhausted() {
                self.search = Search::Going(seeking);
            }
            return false;
        };
        self.follow(found);
        let last = seeking.pieces() - 1;
        let Seeking { bytes, first, more, .. } = *seeking;
        let mut at = Both([0usize; 2]);
        for (i, piece) in first.iter().chain(&more).enumerate() {
            let start = at[piece.from];
            at[piece.from] += usize::from(piece.kept);
            let kept = &bytes[piece.from][start..at[piece.from]];
            let bytes = if i == last { chunk.bytes } else { kept };
            self.again(&Chunk { time: piece.time, frame: piece.frame, from: piece.from, bytes, len: piece.len }, ear);
        }
        true
    }

    /// The protocol was found: the opening is gone through again, now by name, and what rhythm made of it is void.
    fn follow(&mut self, (name, parser): Found) {
        let followed = Followed { name, parser: Some(parser), named: Vec::new(), declared: Vec::new() };
        self.search = Search::Found(Box::new(followed));
        self.rhythm = Rhythm::default();
        self.activity = Activity::default();
    }

    /// A part of the opening, by name.
    fn again(&mut self, chunk: &Chunk<'_>, ear: &mut Ear) {
        if !self.parse(chunk, ear) {
            self.unclaimed(chunk, ear);
        }
    }

    /// Gives a chunk to the parser; whether it holds a beat or a reply.
    fn parse(&mut self, chunk: &Chunk<'_>, ear: &mut Ear) -> bool {
        let claimed = self.search.found_mut().is_some_and(|f| f.parse(chunk, &self.activity, ear));
        if claimed {
            self.activity.note(chunk.from, chunk.time);
            let named = self.search.found().into_iter().flat_map(|f| &f.named);
            self.due = named.fold(self.due, |due, n| due.or_before(n.track.due()));
        }
        claimed
    }
}

/// Asks for the parts of these that their next bytes will need, one pointer after the other.
#[inline]
pub fn prefetch_parts<const N: usize>(all: &Few<&Heartbeats, N>) {
    let mut sought = Few::<_, N>::default();
    for of in all.iter() {
        let seeking = if let Search::Going(seeking) = &of.search { Some(&**seeking) } else { None };
        seeking.into_iter().for_each(prefetch);
        of.search.found().into_iter().for_each(prefetch);
        sought.push(seeking);
        of.rhythm.prefetch();
    }
    sought.iter().for_each(Seeking::prefetch);
    rhythm::prefetch_parts(all.iter().map(|of| &of.rhythm));
}

impl Followed {
    fn heap(&self) -> usize {
        let named = self.named.iter().map(|n| {
            let held = n.held.as_ref().map_or(0, |h| h.capacity() * size_of::<Heard>());
            size_of::<Named>() + n.track.heap() + n.sample.capacity() + held
        });
        let parser = if self.parser.is_some() { MOST_PARSER } else { 0 };
        size_of::<Followed>() + parser + named.sum::<usize>() + self.declared.capacity() * size_of::<Declaration>()
    }

    fn gap(&mut self, from: Side, len: u64) {
        if let Some(parser) = &mut self.parser {
            parser.gap(from, len);
        }
    }

    /// Gives a chunk to the parser; whether it holds a beat or a reply.
    fn parse(&mut self, chunk: &Chunk<'_>, activity: &Activity, ear: &mut Ear) -> bool {
        let Some(parser) = &mut self.parser else { return false };
        let mut signs = Vec::new();
        parser.data(chunk.from, chunk.time, chunk.bytes, &mut signs);
        let cut = u64::from(chunk.len).saturating_sub(chunk.bytes.len() as u64);
        if cut > 0 {
            parser.gap(chunk.from, cut);
        }
        let mut claimed = false;
        for sign in signs.into_iter().take(MOST_SIGNS) {
            match sign {
                Sign::Beat { protocol, role: Role::Reply, .. } => {
                    claimed = true;
                    self.named_reply(protocol, chunk, ear);
                }
                Sign::Beat { protocol, role, kind, len, sample } => {
                    claimed = true;
                    let mode = if role == Role::Request { Mode::RequestReply } else { Mode::OneWay };
                    let beat = Beat { protocol, mode, kind, len, sample };
                    self.named_beat(beat, chunk, activity, ear);
                }
                Sign::Declared { protocol, sender, seconds } => self.declare(protocol, sender, seconds),
            }
        }
        claimed
    }

    fn named_beat(&mut self, beat: Beat, chunk: &Chunk<'_>, activity: &Activity, ear: &mut Ear) {
        let Chunk { time, frame, from, .. } = *chunk;
        let Beat { protocol, mode, kind, len, mut sample } = beat;
        let known = |n: &Named| n.track.from == from && n.track.protocol == Some(protocol) && n.track.kind == kind;
        let (at, interval) = if let Some(at) = self.named.iter().position(known) {
            let track = &mut self.named[at].track;
            let interval = time.since(track.last).max(0);
            let beat = span(track.last, time);
            track.beat(time, activity.gap(from, time, beat));
            if mode == Mode::RequestReply {
                track.mode = mode;
            }
            (at, Some(interval))
        } else if self.named.len() < MOST_NAMED {
            let track = Track::new(from, Some(protocol), kind, mode, time);
            sample.truncate(32);
            let governs = |d: &&Declaration| d.protocol == protocol && d.sender.is_none_or(|s| s == from);
            let declared_s = self.declared.iter().find(governs).map(|d| d.seconds);
            self.named.push(Named { track, sample, declared_s, held: Some(Vec::new()) });
            (self.named.len() - 1, None)
        } else {
            return;
        };
        self.named[at].track.measure(len);
        let kind = EventKind::Heartbeat { protocol: Some(protocol), interval };
        self.named[at].tell(Heard { time, frame: Some(frame), from, kind }, ear);
    }

    fn named_reply(&mut self, protocol: &'static str, chunk: &Chunk<'_>, ear: &mut Ear) {
        let Chunk { time, frame, from, .. } = *chunk;
        let asks = |n: &&mut Named| {
            n.track.from == from.peer() && n.track.protocol == Some(protocol) && n.track.mode == Mode::RequestReply
        };
        // A reply to an older request than the last, or to one before the capture, is none of a known beat's.
        let Some(named) = self.named.iter_mut().find(asks) else { return };
        named.track.reply(time);
        let kind = EventKind::HeartbeatReply { protocol: Some(protocol) };
        named.tell(Heard { time, frame: Some(frame), from, kind }, ear);
    }

    fn declare(&mut self, protocol: &'static str, sender: Option<Side>, seconds: f64) {
        let same = |d: &&mut Declaration| d.protocol == protocol && d.sender == sender;
        if let Some(declared) = self.declared.iter_mut().find(same) {
            declared.seconds = seconds;
        } else if self.declared.len() < MOST_NAMED {
            self.declared.push(Declaration { protocol, sender, seconds });
        }
        for n in &mut self.named {
            if n.track.protocol == Some(protocol) && sender.is_none_or(|s| s == n.track.from) {
                n.declared_s = Some(seconds);
            }
        }
    }
}

/// Shows an opening to the recognisers that have not said no yet; `excluded` takes those that do now.
fn ask(opening: &Opening<'_>, excluded: &mut u64) -> Option<Found> {
    let mut undecided = ALL_EXCLUDED & !*excluded;
    while undecided != 0 {
        let bit = undecided & undecided.wrapping_neg();
        undecided ^= bit;
        let protocol = &TABLE[bit.trailing_zeros() as usize];
        match (protocol.recognise)(opening) {
            Recognition::No => *excluded |= bit,
            Recognition::Undecided => {}
            Recognition::Yes(parser) => return Some((protocol.name, parser)),
        }
    }
    None
}

impl Seeking {
    fn heap(&self) -> usize {
        let bytes = self.bytes.0.iter().map(Vec::capacity).sum::<usize>();
        size_of::<Seeking>() + bytes + self.more.capacity() * size_of::<Piece>()
    }

    fn pieces(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    /// Asks for where the next piece will be put.
    #[inline]
    fn prefetch(&self) {
        self.bytes.0.iter().filter_map(|bytes| bytes.last()).for_each(prefetch);
        self.more.last().into_iter().for_each(prefetch);
    }

    /// Keeps what there is room for; how much that is.
    fn keep(&mut self, chunk: &Chunk<'_>) -> usize {
        let Chunk { time, frame, from, bytes, len } = *chunk;
        let kept = bytes.len().min(OPENING_LIMIT - self.bytes[from].len());
        // Most that are not known by their first pieces are known by the next.
        if self.bytes[from].capacity() - self.bytes[from].len() < kept {
            let more = kept.max(self.bytes[from].len() / 2);
            self.bytes[from].reserve_exact(more);
        }
        self.bytes[from].extend_from_slice(&bytes[..kept]);
        let piece = Piece { time, frame, from, kept: kept as u16, len };
        if self.first.is_none() {
            self.first = Some(piece);
        } else {
            if self.more.len() == self.more.capacity() {
                self.more.reserve_exact(2 + self.more.len() / 2);
            }
            self.more.push(piece);
        }
        self.unkept += usize::from(kept == 0);
        kept
    }

    /// Takes the next chunk; the protocol, once one knows the opening.
    fn take(&mut self, chunk: &Chunk<'_>, ports: Both<u16>, from_start: bool) -> Option<Found> {
        // The first of a side is copied only if it leaves something to wait for.
        let fresh = self.bytes[chunk.from].is_empty() && !chunk.bytes.is_empty();
        if !fresh && self.keep(chunk) == 0 {
            return None;
        }
        let mut bytes = Both(self.bytes.0.each_ref().map(Vec::as_slice));
        if fresh {
            bytes[chunk.from] = &chunk.bytes[..chunk.bytes.len().min(OPENING_LIMIT)];
        }
        // A little more of the same tells them little more.
        let have = bytes.0.iter().map(|bytes| bytes.len()).sum::<usize>();
        let full = bytes[chunk.from].len() >= OPENING_LIMIT;
        let pieces = self.pieces() + usize::from(fresh);
        let mut found = None;
        if have >= self.asked + self.asked / 4 || full || pieces >= OPENING_PIECES {
            self.asked = have;
            found = ask(&Opening::new(ports, bytes, from_start), &mut self.excluded);
        }
        if fresh && (found.is_some() || self.excluded != ALL_EXCLUDED) {
            self.keep(chunk);
        }
        found
    }

    /// Whether nothing more can come of it.
    fn exhausted(&self) -> bool {
        self.excluded == ALL_EXCLUDED
            || self.unkept >= UNKEPT_PIECES
            || self.pieces() >= OPENING_PIECES
            || self.bytes.0.iter().all(|b| b.len() >= OPENING_LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_of_large_segments_keeps_nothing() {
        let mut heartbeats = Heartbeats::new(Both([40_000, 9]), false);
        let mut ear = Ear::new(true);
        let bytes = [0xb7u8; 1448];
        for n in 0..200 {
            let chunk = Chunk { time: Time(n * MILLISECOND), frame: 1, from: Side::Server, bytes: &bytes, len: 1448 };
            heartbeats.data(chunk, &mut ear);
        }
        assert!(matches!(heartbeats.search, Search::Over) && heartbeats.rhythm.is_idle());
        assert!(size_of::<Heartbeats>() <= 152, "{}", size_of::<Heartbeats>());
    }
}
