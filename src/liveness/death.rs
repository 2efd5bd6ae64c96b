//! Who took whom for dead, by which mechanism, and when.
//!
//! Each side is judged as a detector by what it can have heard, not by what the capture shows: on the far side of a cut
//! every probe may look answered. Where a packet marks the moment (an RST, a FIN) it is observed; where a stack gives up in
//! silence it is computed from the pace of its resends.

use super::keepalive::{ANSWER, Probes};
use super::losses::Losses;
use super::window::WindowProbes;
use super::{Liveness, Resends, rules};
use crate::flow::connection::{Connection, Known};
use crate::packet::{MILLISECOND, Nanos, SECOND, Segment, Time, seconds};
use crate::summary::{Basis, BeatKind, Death, Handshake, HeartbeatSummary, Mechanism, Mode, Side};

/// Resends of the same bytes, or unanswered window probes, that raise a suspicion: a lost segment alone is resent once or
/// twice (a tail loss probe and a timeout), the third says that nothing comes back.
pub const SUSPICIOUS: u32 = 3;
/// The longest retransmission timeout (Linux TCP_RTO_MAX).
const RTO_MAX: Nanos = 120 * SECOND;
/// A peer's beat is overdue after this many of its intervals: jitter and idle timers stay below (the tick of a heartbeat
/// that is checked every half interval comes up to 1.5 intervals late and is then sent, not given up on).
const OVERDUE_INTERVALS: f64 = 1.4;
/// Beats from which an interval is believed: three gaps that agree.
const STEADY: u64 = 4;
/// A request is overdue when its reply has taken this long and far longer than replies take on this flow.
const OVERDUE_REPLY: Nanos = SECOND / 2;

/// A death without what is filled in later: clock, replacement.
fn death(
    by: Option<Side>,
    dead: Side,
    mechanism: Mechanism,
    last_heard: Option<Time>,
    at: Option<Time>,
    basis: Basis,
) -> Death {
    Death {
        dead,
        detected_by: by,
        mechanism,
        last_heard,
        detected_at: at,
        basis,
        uncertainty: 0,
        clock: None,
        recovered_as: None,
        outage: None,
        evidence: Vec::new(),
    }
}

/// How late a retransmission timer may fire (2.4 % was seen on Linux 6.18 for spans of 0.2 to 7 s), and a little for the path.
fn slack(span: Nanos) -> Nanos {
    span / 32 + 250 * MILLISECOND
}

/// Judges a segment that resets the connection, by the state before it.
#[must_use]
pub fn on_reset(c: &Connection, l: &Liveness, from: Side, s: &Segment<'_>) -> Option<Death> {
    let me = &c.half[from];
    if me.known.has(Known::RESET) || (c.handshake() == Handshake::Partial && c.segments() <= 2) {
        return None;
    }
    refusal(c, l, from, s).or_else(|| own_act(c, l, from, s.time, Some(s.frame)))
}

/// A reset that answers a segment: its sender knows no such connection (RFC 9293 §3.10.7.1: SEQ=SEG.ACK, no ACK).
fn refusal(c: &Connection, l: &Liveness, from: Side, s: &Segment<'_>) -> Option<Death> {
    let (me, by) = (&c.half[from], from.peer());
    let provoker = &c.half[by];
    let provoked =
        !s.flags.ack() && s.seq == me.una && provoker.last >= me.last && s.time.since(provoker.last) <= ANSWER;
    if !provoked || provoker.closing() {
        return None;
    }
    // A side that wrote to a socket which the other had closed is refused, and nobody is dead.
    let closed = me.known.has(Known::FIN);
    let (mechanism, frame) = if let Some(p) = l.probes(by).filter(|p| p.last == provoker.last) {
        (Mechanism::KeepaliveReset, Some(p.last_frame()))
    } else if !closed && (provoker.last_data == provoker.last || l.resends(by).is_some_and(|r| r.last == provoker.last))
    {
        (Mechanism::ResetOnData, l.resends(by).map(|r| r.last_frame))
    } else if l.window(by).is_some_and(|window| window.last == provoker.last) {
        (Mechanism::ResetOnData, None)
    } else {
        return None;
    };
    let mut d = death(Some(by), from, mechanism, c.last_heard(by), Some(s.time), Basis::Observed);
    d.evidence.extend(frame.filter(|f| *f != 0));
    d.evidence.push(s.frame);
    Some(d)
}

/// A reset or FIN that a side sent of its own accord: did it give up on its peer?
fn own_act(c: &Connection, l: &Liveness, by: Side, at: Time, frame: Option<u64>) -> Option<Death> {
    let heard = c.last_heard(by);
    let dead = by.peer();
    let observed = |mechanism, evidence: &[u64]| {
        let mut d = death(Some(by), dead, mechanism, heard, Some(at), Basis::Observed);
        d.evidence.extend_from_slice(evidence);
        d.evidence.extend(frame);
        Some(d)
    };
    if let Some(p) = unanswered_probes(c, l, by, at) {
        return observed(Mechanism::KeepaliveTimeout, &[p.run_frame(), p.last_frame()]);
    }
    if let Some(d) = heartbeat_overdue(c, l, by, at, None, frame) {
        return Some(d);
    }
    if let Some(w) = l.window(by).filter(|w| w.unanswered >= SUSPICIOUS) {
        return observed(Mechanism::ZeroWindowTimeout, &[w.run_frame, w.last_frame]);
    }
    if let Some(r) = l.resends(by).filter(|r| r.count >= SUSPICIOUS && c.half[by].in_flight() && r.sent == c.flight(by))
    {
        return observed(Mechanism::RetransmissionTimeout, &[r.first_frame, r.last_frame]);
    }
    None
}

/// The probes that `by` has sent since it last heard its peer, if it waited an interval after the last.
fn unanswered_probes<'l>(c: &Connection, l: &'l Liveness, by: Side, at: Time) -> Option<&'l Probes> {
    let p = l.probes(by)?;
    let unheard = c.last_heard(by).is_none_or(|h| h <= p.last);
    let waited = p.least_interval().is_none_or(|i| at.since(p.last) >= i / 10 * 9);
    (unheard && !p.data_since() && waited).then_some(p)
}

/// Whether `by` closed because its peer's beat or reply was overdue. A silence counts from `whole_since` on, if given.
#[must_use]
pub fn heartbeat_overdue(
    c: &Connection,
    l: &Liveness,
    by: Side,
    at: Time,
    whole_since: Option<Time>,
    frame: Option<u64>,
) -> Option<Death> {
    let dead = by.peer();
    if c.half[dead].closing() {
        return None;
    }
    let heard = c.last_heard(by).unwrap_or(c.first);
    let beats = steady(l, at)?;
    let overdue = beats.iter().any(|h| overdue(c, h, by, heard, whole_since, at))
        && !beats.iter().any(|h| had_stopped(c, h, by, at));
    overdue.then(|| {
        let mut d = death(Some(by), dead, Mechanism::HeartbeatTimeout, Some(heard), Some(at), Basis::Observed);
        d.evidence.extend(frame);
        d
    })
}

fn overdue(c: &Connection, h: &HeartbeatSummary, by: Side, heard: Time, whole_since: Option<Time>, at: Time) -> bool {
    let Some(interval) = h.interval.map(|i| crate::packet::nanos(i.median)).filter(|m| *m > 0) else { return false };
    let intervals = (OVERDUE_INTERVALS * interval as f64) as Nanos;
    // A rule of the protocol may be stricter, such as a hold time of 1.25 intervals.
    let ruled = rules::patience(h, by).map_or(intervals, |p| crate::packet::nanos(p.seconds) / 50 * 49);
    let late = |since: Time| at.since(from_whole(since, whole_since)) > intervals.min(ruled);
    if h.from == by {
        // Its own requests go unanswered.
        let overdue_reply = OVERDUE_REPLY.max(c.rtt.saturating_mul(20));
        unanswered(h)
            && (at.since(h.last) >= overdue_reply && from_whole(h.last, whole_since) == h.last
                || h.last_reply.is_some_and(late))
    } else {
        // The peer's beats stay away, and so does everything else that could stand for them.
        late(h.last.min(heard)) && late(c.half[h.from].last_data.min(heard.max(h.last.min(heard))))
    }
}

/// From when on a silence since `since` counts: where the capture lost packets, from when it was whole again.
fn from_whole(since: Time, whole_since: Option<Time>) -> Time {
    whole_since.map_or(since, |whole| since.max(whole))
}

/// Whether the last request drew no reply, though requests do.
fn unanswered(h: &HeartbeatSummary) -> bool {
    h.mode == Mode::RequestReply && h.replies > 0 && h.last_reply.is_none_or(|r| r < h.last)
}

/// Heartbeats with enough beats for their interval to be believed, or whose protocol announced it.
fn steady(l: &Liveness, at: Time) -> Option<Vec<HeartbeatSummary>> {
    let mut beats = l.known_heartbeats()?.summaries(at).into_owned();
    beats.retain(|h| h.kind == BeatKind::Heartbeat && (h.count >= STEADY || h.declared_s.is_some()));
    Some(beats)
}

/// Whether `by` had stopped its own beats before: then the conversation was over, and its end needs no dead peer. A request
/// of a known protocol that waits for its reply holds the next one back; a nameless one says so only while it is in flight.
fn had_stopped(c: &Connection, h: &HeartbeatSummary, by: Side, at: Time) -> bool {
    let interval = h.interval.map_or(0, |i| crate::packet::nanos(i.median));
    let waits = unanswered(h) && (h.protocol.is_some() || c.half[by].in_flight());
    h.from == by && !waits && at.since(h.last) as f64 > OVERDUE_INTERVALS * interval as f64
}

/// Judges a side's first FIN, by the state before it. `behind` is when the side last resent bytes, if the FIN comes with
/// bytes that were sent before: it then waited behind them, and the moment lies between.
#[must_use]
pub fn on_fin(c: &Connection, l: &Liveness, by: Side, s: &Segment<'_>, behind: Option<Time>) -> Option<Death> {
    if c.half[by].closing() {
        return None;
    }
    let mut d = heartbeat_overdue(c, l, by, s.time, None, Some(s.frame))?;
    if let Some(before) = behind {
        let half = s.time.since(before) / 2;
        d.detected_at = Some(before.plus(half));
        d.uncertainty = half;
        d.basis = Basis::Inferred;
    }
    Some(d)
}

/// When the retransmission timer goes off next.
fn next_timeout(r: &Resends) -> Nanos {
    if r.at_ceiling { r.gap } else { (2 * r.timeout).min(RTO_MAX.max(r.gap)) }
}

/// What a side that was trying has come to by `now`; `ended` when the capture ends there. `None` while it may still be
/// trying, has nothing to try, or has spoken when it should have given up.
#[must_use]
pub fn by_silence(c: &Connection, l: &Liveness, by: Side, now: Time, ended: bool) -> Option<Death> {
    let (mechanism, gave_up, next, evidence) = giving_up(c, l, by)?;
    let (dead, heard) = (by.peer(), c.last_heard(by));
    let mut d = if now.since(gave_up) > slack(next) {
        let mut d = death(Some(by), dead, mechanism, heard, Some(gave_up), Basis::Inferred);
        d.uncertainty = slack(next);
        d
    } else if ended {
        death(Some(by), dead, mechanism, heard, None, Basis::CaptureEnded)
    } else {
        return None;
    };
    d.evidence.extend_from_slice(&evidence);
    // The first ICMP error may come after the last resend.
    d.evidence.sort_unstable();
    d.evidence.dedup();
    Some(d)
}

/// A side whose beats had come at an even pace and that nothing at all has come from for long, while the other neither
/// closed nor tries to reach it: at the capture's end nobody has noticed. The silence counts from `whole_since` on, if given.
#[must_use]
pub fn unnoticed(c: &Connection, l: &Liveness, dead: Side, now: Time, whole_since: Option<Time>) -> Option<Death> {
    if c.closing() || l.deaths().iter().any(|d| d.dead == dead) {
        return None;
    }
    let silence = now.since(from_whole(c.half[dead].last, whole_since));
    let missed = |h: &HeartbeatSummary| {
        let interval = h.interval.map_or(0.0, |i| i.median);
        let patience = rules::patience(h, dead.peer()).map_or(0.0, |p| p.seconds);
        let expected = h.from == dead && interval > 0.0 && (h.protocol.is_some() || h.count >= 2 * STEADY);
        expected && seconds(silence) > (rules::MISSED_ASSUMED * interval + interval / 2.0).max(patience)
    };
    if !steady(l, now)?.iter().any(missed) {
        return None;
    }
    let heard = c.last_heard(dead.peer());
    Some(death(None, dead, Mechanism::Undetected, heard, None, Basis::CaptureEnded))
}

/// Whether packets that the capture lost may tell another story than this death of which it is sure at `at`. Of probes and
/// resends, two in a row and all that should have followed must lie where nothing was lost; what comes at a pace must have
/// stayed away for long enough since something last was.
#[must_use]
pub fn doubtful(c: &Connection, l: &Liveness, d: &Death, at: Time, lost: &Losses) -> bool {
    let Some(whole_since) = lost.whole_since(at) else { return false };
    let by = d.dead.peer();
    let last_but_one = match d.mechanism {
        Mechanism::KeepaliveTimeout => l.probes(by).map(Probes::before_last),
        Mechanism::RetransmissionTimeout | Mechanism::IcmpUnreachable => l.resends(by).map(Resends::before_last),
        Mechanism::ZeroWindowTimeout => l.window(by).map(WindowProbes::before_last),
        Mechanism::HeartbeatTimeout => return heartbeat_overdue(c, l, by, at, Some(whole_since), None).is_none(),
        Mechanism::Undetected => return unnoticed(c, l, d.dead, at, Some(whole_since)).is_none(),
        Mechanism::KeepaliveReset | Mechanism::ResetOnData => return false,
    };
    let sure = d.detected_at.map_or(at, |given_up| given_up.plus(d.uncertainty));
    last_but_one.is_some_and(|from| lost.between(from, sure))
}

/// When silence will have lasted long enough to say that `by` gave up.
#[must_use]
pub fn due(c: &Connection, l: &Liveness, by: Side) -> Option<Time> {
    let (_, gave_up, next, _) = giving_up(c, l, by)?;
    Some(gave_up.plus(slack(next) + 1))
}

/// What a side is trying, when it will have given up, how long after its last try that is, and the frames. `None` where it
/// tries nothing, or has spoken since.
fn giving_up(c: &Connection, l: &Liveness, by: Side) -> Option<(Mechanism, Time, Nanos, [u64; 2])> {
    let (me, peer) = (&c.half[by], &c.half[by.peer()]);
    if me.known.has(Known::RESET) || peer.known.has(Known::RESET) {
        return None;
    }
    let (mechanism, last, next, evidence) = trying(c, l, by)?;
    let gave_up = last.plus(next);
    (me.last <= gave_up).then_some((mechanism, gave_up, next, evidence))
}

/// What a side is trying, when it last tried, when it would again, and the frames.
fn trying(c: &Connection, l: &Liveness, by: Side) -> Option<(Mechanism, Time, Nanos, [u64; 2])> {
    let me = &c.half[by];
    if let Some(r) = l.resends(by).filter(|r| stuck(c, by, r)) {
        let unreachable = l.unreachable(by).filter(|u| u.last >= r.sent);
        let next = next_timeout(r);
        return Some(match unreachable {
            Some(u) => {
                let next = if u.shortens && u.last >= r.last { r.timeout } else { next };
                (Mechanism::IcmpUnreachable, r.last, next, [u.first_frame, r.last_frame])
            }
            None => (Mechanism::RetransmissionTimeout, r.last, next, [r.first_frame, r.last_frame]),
        });
    }
    if let Some(w) = l.window(by).filter(|w| w.outstanding && w.unanswered >= SUSPICIOUS && w.gap > 0) {
        return Some((Mechanism::ZeroWindowTimeout, w.last, w.gap, [w.run_frame, w.last_frame]));
    }
    let p = l.probes(by)?;
    let unheard = c.last_heard(by).is_none_or(|h| h <= p.last);
    let answered = !p.outstanding() || p.answered_by_data().is_some();
    if !unheard || c.hears_unseen(by) || answered || p.data_since() || me.last > p.last || p.run() < 2 {
        return None;
    }
    Some((Mechanism::KeepaliveTimeout, p.last, p.next()?, [p.run_frame(), p.last_frame()]))
}

/// Whether resends of data (not of a bare FIN or SYN) bring nothing back.
fn stuck(c: &Connection, by: Side, r: &Resends) -> bool {
    let me = &c.half[by];
    r.count >= SUSPICIOUS
        && r.gap > 0
        && r.last >= r.sent
        && me.in_flight()
        && r.sent == c.flight(by)
        && me.known.has(Known::PAYLOAD)
        && !(me.known.has(Known::FIN) && me.nxt == me.una.wrapping_add(1))
}
