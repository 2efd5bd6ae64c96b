//! What a person should know or change about a flow: few findings, each with its figures and its remedy, and none on a
//! flow that is well.

use std::borrow::Cow;
use std::str::FromStr;

use super::limits::{self, Limit};
use super::sockets;
use super::verdict::{Context, Sign, Words};
use crate::packet::{Nanos, SECOND, seconds};
use crate::phrase::{count, duration};
use crate::summary::{
    Basis, BeatKind, Death, End, Finding, FlowSummary, Ground, HeartbeatSummary, Mechanism, NoticedBy, Severity, Side,
};

/// Nobody would notice the death of either side.
pub const NO_LIVENESS: &str = "no_liveness";
/// Only one side would notice the other's death.
pub const ONE_SIDED_LIVENESS: &str = "one_sided_liveness";
/// A death was, or would be, noticed late.
pub const SLOW_DETECTION: &str = "slow_detection";
/// One side holds a connection that the other no longer knows.
pub const HALF_OPEN: &str = "half_open";
/// Data in flight kept the probes from being sent.
pub const KEEPALIVE_SUPPRESSED: &str = "keepalive_suppressed";
/// Probes are eaten on the way, or by the other stack; the peer lives.
pub const PROBES_UNANSWERED_DATA_ANSWERED: &str = "probes_unanswered_data_answered";
/// The longest silence exceeds a known middlebox's limit.
pub const IDLE_TIMEOUT_RISK: &str = "idle_timeout_risk";
/// The flow broke in a gap that fits a known limit.
pub const IDLE_TIMEOUT_HIT: &str = "idle_timeout_hit";
/// A side was silent for longer than its handshake announced.
pub const DECLARED_DIFFERS_FROM_OBSERVED: &str = "declared_differs_from_observed";
/// Beats failed to come.
pub const HEARTBEAT_IRREGULAR: &str = "heartbeat_irregular";
/// A side is alive, but not reading.
pub const PEER_STALLED: &str = "peer_stalled";
/// The capture holds segments more than once.
pub const CAPTURE_HAS_DUPLICATES: &str = "capture_has_duplicates";
/// The capture lacks segments that were sent.
pub const CAPTURE_HAS_GAPS: &str = "capture_has_gaps";

/// The kernel's account of a socket differs from what the wire shows.
pub const SOCKET_DIFFERS: &str = "socket_differs";

/// Every code there is.
pub const CODES: &[&str] = &[
    NO_LIVENESS,
    ONE_SIDED_LIVENESS,
    SLOW_DETECTION,
    HALF_OPEN,
    KEEPALIVE_SUPPRESSED,
    PROBES_UNANSWERED_DATA_ANSWERED,
    IDLE_TIMEOUT_RISK,
    IDLE_TIMEOUT_HIT,
    DECLARED_DIFFERS_FROM_OBSERVED,
    HEARTBEAT_IRREGULAR,
    PEER_STALLED,
    CAPTURE_HAS_DUPLICATES,
    CAPTURE_HAS_GAPS,
    SOCKET_DIFFERS,
];

/// A pause after which a connection needs watching: a minute is the time-out that servers and proxies commonly allow one
/// request (nginx' proxy_read_timeout, ELB); who pauses for longer is not waiting for an answer.
const WORTH_WATCHING: Nanos = 60 * SECOND;
/// A silence that common boxes on the way punish: four minutes (Azure), the shortest limit of those that nobody sees.
const WORTH_TELLING: Nanos = 240 * SECOND;
/// Detection is slow when it takes longer than the common middlebox remembers the connection (Azure 240 s, AWS 350 s).
const SLOW: f64 = 300.0;
/// Window probes that make a stall: Linux sends them after 0.2, 0.4, 0.8 s, so the third after more than a second.
const STALLED_PROBES: u64 = 3;
/// Probes without any answer that are no accident.
const UNANSWERED_PROBES: u64 = 3;
/// How much longer than announced a sender may be silent before it broke its word: jitter and coarse timers.
const ANNOUNCED_SHARE: f64 = 1.1;
/// The same, in addition, seconds.
const ANNOUNCED_SLACK: f64 = 1.0;
/// Share of beats that may be missing before the rhythm counts as irregular.
const MISSED_SHARE: f64 = 0.05;

/// Whether a finding says that a side could die and the other would never know.
#[must_use]
pub fn is_blindness(finding: &Finding) -> bool {
    finding.code == NO_LIVENESS || finding.code == ONE_SIDED_LIVENESS
}

/// Whether a side of this open flow could die and the other would never know.
#[must_use]
pub fn unprotected(flow: &FlowSummary) -> bool {
    flow.findings.iter().any(is_blindness)
}

/// What `--fail-on` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailOn {
    /// A side was taken for dead, or went dead unnoticed.
    DeadPeer,
    /// A side could die unnoticed.
    Unprotected,
    /// A finding, by its code.
    Finding(&'static str),
}

impl FromStr for FailOn {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let name = name.replace('-', "_");
        match name.as_str() {
            "dead_peer" => Ok(FailOn::DeadPeer),
            "unprotected" => Ok(FailOn::Unprotected),
            _ => {
                CODES.iter().find(|&&code| code == name).map(|&code| FailOn::Finding(code)).ok_or_else(|| {
                    format!("no such condition; there are dead-peer, unprotected and {}", CODES.join(", "))
                })
            }
        }
    }
}

impl FailOn {
    /// Whether a flow is such.
    #[must_use]
    pub fn matches(self, flow: &FlowSummary) -> bool {
        match self {
            FailOn::DeadPeer => !flow.deaths.is_empty(),
            FailOn::Unprotected => unprotected(flow),
            FailOn::Finding(code) => flow.findings.iter().any(|f| f.code == code),
        }
    }
}

/// The findings of a flow whose exposure is known, in the order of [`CODES`].
#[must_use]
pub fn of(flow: &FlowSummary, context: &Context, words: Words) -> Vec<Finding> {
    let mut found = Found { all: Vec::new(), words };
    unwatched(flow, &mut found);
    slow(flow, &mut found);
    half_open(flow, &mut found);
    suppressed(flow, &mut found);
    eaten(flow, context, &mut found);
    idle_risk(flow, &mut found);
    idle_hit(flow, context, &mut found);
    for h in flow.heartbeats.iter().filter(|h| h.kind == BeatKind::Heartbeat && flow.deaths.is_empty()) {
        late(h, context, &mut found);
    }
    for h in flow.heartbeats.iter().filter(|h| h.kind == BeatKind::Heartbeat && flow.deaths.is_empty()) {
        irregular(h, &mut found);
    }
    stalled(flow, &mut found);
    if context.duplicates > 0 {
        found.add(CAPTURE_HAS_DUPLICATES, Severity::Info, || {
            let copies = count(context.duplicates, "segment");
            format!("The capture holds {copies} of this flow more than once; the copies were left out.")
        });
    }
    if context.doubtful {
        found.add(CAPTURE_HAS_GAPS, Severity::Warning, || {
            "The capture lost packets while a side went unanswered: whether its peer was dead cannot be told. A larger \
             --buffer-size loses fewer."
        });
    }
    if context.missing_bytes > 0 {
        found.add(CAPTURE_HAS_GAPS, Severity::Info, || {
            let missing = count(context.missing_bytes, "byte");
            format!("{missing} were acknowledged that the capture does not hold: a silence may be the capture's.")
        });
    }
    for difference in sockets::differences(flow) {
        found.add(SOCKET_DIFFERS, Severity::Warning, || difference);
    }
    found.all
}

struct Found {
    all: Vec<Finding>,
    words: Words,
}

impl Found {
    fn add<M: Into<Cow<'static, str>>>(&mut self, code: &'static str, severity: Severity, message: impl FnOnce() -> M) {
        // Most flows have two findings at most, and there may be a million of them.
        if self.all.is_empty() {
            self.all = Vec::with_capacity(2);
        }
        self.all.push(Finding { code, severity, message: self.words.say(message) });
    }
}

/// Both sides were seen to send: an unanswered SYN is no connection, and of half a conversation nothing can be said.
fn both_speak(flow: &FlowSummary) -> bool {
    flow.traffic.0.iter().all(|t| t.packets > 0)
}

/// Flows that are open, were idle for long, and lack a watch on one side or both.
fn unwatched(flow: &FlowSummary, found: &mut Found) {
    let idle = flow.longest_payload_silence.max(flow.longest_silence);
    let watched_for_long = !flow.heartbeats.is_empty() && flow.last.since(flow.first) >= WORTH_WATCHING;
    let settled = flow.end != End::Open || !flow.deaths.is_empty() || !both_speak(flow);
    if settled || (idle < WORTH_WATCHING && !watched_for_long) {
        return;
    }
    let blind = |side: Side| flow.exposure[side].noticed_by == NoticedBy::None;
    match (blind(Side::Client), blind(Side::Server)) {
        (true, true) => {
            found.add(NO_LIVENESS, Severity::Warning, || {
                format!(
                    "Idle for up to {}, and neither side would learn of the other's death: turn on keepalive (SO_KEEPALIVE \
                     with TCP_KEEPIDLE, say, 60 s) or heartbeats that expect replies.",
                    duration(seconds(idle))
                )
            });
        }
        (true, false) => found.add(
            ONE_SIDED_LIVENESS,
            Severity::Warning,
            || "If the client died, the server would never know: turn on keepalive or heartbeats on the server too.",
        ),
        (false, true) => found.add(
            ONE_SIDED_LIVENESS,
            Severity::Warning,
            || "If the server died, the client would never know: turn on keepalive or heartbeats on the client too.",
        ),
        (false, false) => {}
    }
}

/// A death noticed late, or else a watch whose figures, as seen, make it late.
fn slow(flow: &FlowSummary, found: &mut Found) {
    for death in &flow.deaths {
        let Some(took) = death.detection().map(seconds).filter(|&s| s > SLOW) else {
            continue;
        };
        let remedy = match death.mechanism {
            Mechanism::KeepaliveTimeout | Mechanism::KeepaliveReset => {
                "shorten TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT"
            }
            Mechanism::RetransmissionTimeout | Mechanism::ZeroWindowTimeout => {
                "set TCP_USER_TIMEOUT (keepalive is no help here)"
            }
            Mechanism::HeartbeatTimeout => "shorten the heartbeat's interval or its patience",
            _ => "turn on keepalive or heartbeats",
        };
        found.add(SLOW_DETECTION, Severity::Warning, || {
            format!("The {} was dead for {} before anybody noticed: {remedy}.", death.dead.name(), duration(took))
        });
    }
    if flow.end != End::Open || !flow.deaths.is_empty() {
        return;
    }
    for side in Side::BOTH {
        let exposure = &flow.exposure[side];
        let keepalive = flow.keepalive[side.peer()].as_ref().filter(|_| exposure.noticed_by == NoticedBy::Keepalive);
        // The idle time alone is slow enough, whatever was assumed for the rest.
        let certain = exposure.basis != Ground::Assumed || keepalive.and_then(|k| k.idle_s).is_some_and(|s| s > SLOW);
        if let Some(worst) = exposure.worst_case_s.filter(|&s| s > SLOW && certain) {
            found.add(SLOW_DETECTION, Severity::Warning, || {
                let (dead, other, took) = (side.name(), side.peer().name(), duration(worst));
                format!("If the {dead} died, the {other} would take up to {took} to notice: shorten its timers.")
            });
        }
    }
}

/// A side that holds, or held, a connection that the other no longer knew.
fn half_open(flow: &FlowSummary, found: &mut Found) {
    for death in &flow.deaths {
        let (dead, other) = (death.dead.name(), death.dead.peer().name());
        match (death.mechanism, death.detected_at) {
            (Mechanism::Undetected, _) => {
                found.add(HALF_OPEN, Severity::Error, || {
                    format!("The {dead} is gone and the {other} still holds the connection: close it there.")
                });
            }
            (Mechanism::KeepaliveReset | Mechanism::ResetOnData, Some(at)) => {
                found.add(HALF_OPEN, Severity::Info, || {
                    let held = duration(seconds(at.since(death.last_heard.unwrap_or(flow.first))));
                    format!(
                        "The {other} held the connection for up to {held} after the {dead}, or a box on the way, had \
                         forgotten it."
                    )
                });
            }
            _ => {}
        }
    }
}

/// Keepalive was on, and yet the retransmission limit decided.
fn suppressed(flow: &FlowSummary, found: &mut Found) {
    // A reset at the end is the application's own, or another stack's; Linux ends in silence.
    let silent = |d: &&Death| d.mechanism == Mechanism::RetransmissionTimeout && d.basis != Basis::Observed;
    for death in flow.deaths.iter().filter(silent) {
        let Some(by) = death.detected_by.filter(|&by| flow.keepalive[by].is_some()) else { continue };
        let (by, dead) = (by.name(), death.dead.name());
        found.add(KEEPALIVE_SUPPRESSED, Severity::Warning, || {
            format!(
                "The {by}'s keepalive was on, but a kernel with data in flight sends no probes: only the retransmission \
                 limit tells it that the {dead} is dead. Set TCP_USER_TIMEOUT."
            )
        });
    }
}

/// Probes that are never answered by a peer that lives.
fn eaten(flow: &FlowSummary, context: &Context, found: &mut Found) {
    for side in Side::BOTH {
        let Some(k) = &flow.keepalive[side] else { continue };
        let alive = context.last_sent[side.peer()].is_some_and(|last| last > k.last);
        let took_for_dead = flow.deaths.iter().any(|d| d.detected_by == Some(side));
        if k.answered == 0 && k.probes >= UNANSWERED_PROBES && alive && !took_for_dead {
            found.add(PROBES_UNANSWERED_DATA_ANSWERED, Severity::Warning, || {
                let (who, other) = (side.name(), side.peer().name());
                format!(
                    "None of the {who}'s {} was answered, though the {other} sent later: its stack or a box on the way \
                     drops probes, and keepalive would end a healthy connection.",
                    count(k.probes, "probe")
                )
            });
        }
    }
}

/// Boxes named in a message; the others are counted.
const BOXES_NAMED: usize = 3;

fn boxes(limits: &[&Limit]) -> String {
    let named = |l: &&Limit| format!("{} ({} s)", l.name, l.limit_s);
    let mut said: Vec<String> = limits.iter().take(BOXES_NAMED).map(named).collect();
    let others = limits.len().saturating_sub(BOXES_NAMED);
    if others > 0 {
        said.push(format!("{others} more"));
    }
    said.join(", ")
}

/// Silences that would not survive behind a known box. The flow's own path has no such box, or it would have broken.
fn idle_risk(flow: &FlowSummary, found: &mut Found) {
    if flow.end != End::Open || !flow.deaths.is_empty() || !both_speak(flow) {
        return;
    }
    // Boxes that count payload only end TCP themselves: they matter to those who count on their probes.
    let probed = flow.keepalive.0.iter().any(Option::is_some);
    let payload =
        if probed && flow.longest_payload_silence >= WORTH_TELLING { flow.longest_payload_silence } else { 0 };
    let mut broken = limits::broken_by(flow.longest_silence, payload).peekable();
    if broken.peek().is_none() {
        return;
    }
    found.add(IDLE_TIMEOUT_RISK, Severity::Info, || {
        let silence = if flow.longest_silence > payload {
            format!("no packet for {}", duration(seconds(flow.longest_silence)))
        } else {
            format!("nothing but probes for {}", duration(seconds(payload)))
        };
        format!("With {silence}, this flow would break behind {}.", boxes(&broken.collect::<Vec<_>>()))
    });
}

/// A flow that broke in a silence that fits a known box.
fn idle_hit(flow: &FlowSummary, context: &Context, found: &mut Found) {
    let Some(broke) = &context.broke else { return };
    // A dead host is as silent as a box that forgot; that the connection was made anew at once speaks for the box.
    let replaced = flow.deaths.iter().any(|d| d.recovered_as.is_some());
    let fits = limits::fitting(broke);
    if fits.is_empty() || (broke.sign == Sign::Silence && !replaced) {
        return;
    }
    let gap = || {
        if broke.silence < broke.payload_silence {
            format!("{} without payload", duration(seconds(broke.payload_silence)))
        } else {
            format!("{} of silence", duration(seconds(broke.silence)))
        }
    };
    match broke.sign {
        // A close in good order harms nobody who expects it.
        Sign::Fin => found.add(IDLE_TIMEOUT_HIT, Severity::Info, || {
            format!("The {} closed the flow after {}, as these do: {}.", broke.by.name(), gap(), boxes(&fits))
        }),
        Sign::Reset | Sign::ResetOnSegment | Sign::Silence => found.add(IDLE_TIMEOUT_HIT, Severity::Warning, || {
            format!("The flow broke after {}, as behind {}: send something more often.", gap(), boxes(&fits))
        }),
    }
}

/// A sender that was silent for longer than its handshake announced.
fn late(h: &HeartbeatSummary, context: &Context, found: &mut Found) {
    let (Some(announced), Some(silent)) = (h.declared_s.filter(|&s| s > 0.0), context.longest_payload_gap[h.from])
    else {
        return;
    };
    let silent = seconds(silent);
    if silent > announced * ANNOUNCED_SHARE + ANNOUNCED_SLACK {
        found.add(DECLARED_DIFFERS_FROM_OBSERVED, Severity::Warning, || {
            format!(
                "The {} announced to send at least every {} ({}), and was silent for {}.",
                h.from.name(),
                duration(announced),
                h.protocol.unwrap_or("heartbeat"),
                duration(silent)
            )
        });
    }
}

/// Beats that did not come, more than now and then.
fn irregular(h: &HeartbeatSummary, found: &mut Found) {
    if h.missed > 1 && h.missed as f64 > MISSED_SHARE * h.count as f64 {
        found.add(HEARTBEAT_IRREGULAR, Severity::Warning, || {
            format!(
                "The {}'s {} heartbeat failed to come {}, and came {}.",
                h.from.name(),
                h.protocol.unwrap_or("nameless"),
                count(h.missed, "time"),
                count(h.count, "time")
            )
        });
    }
}

/// A receiver whose window stays closed.
fn stalled(flow: &FlowSummary, found: &mut Found) {
    for side in Side::BOTH {
        let probes = flow.zero_window_probes[side];
        let died = flow.deaths.iter().any(|d| d.dead == side.peer());
        if probes >= STALLED_PROBES && !died {
            found.add(PEER_STALLED, Severity::Warning, || {
                let (sender, reader) = (side.name(), side.peer().name());
                format!(
                    "The {reader} lives but does not read: its window was closed, and the {sender} probed it {}.",
                    count(probes, "time")
                )
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liveness::verdict::{Break, conclude};
    use crate::packet::Time;
    use crate::sample;

    fn codes(flow: &FlowSummary) -> Vec<&'static str> {
        flow.findings.iter().map(|f| f.code).collect()
    }

    fn concluded(mut flow: FlowSummary, context: Context) -> FlowSummary {
        let capture_end = flow.last.max(context.capture_end);
        conclude(&mut flow, &Context { capture_end, ..context });
        flow
    }

    /// A flow that was silent for `idle`.
    fn idle(idle: Nanos) -> FlowSummary {
        let mut flow = sample::quiet(1);
        flow.last = flow.first.plus(idle);
        (flow.longest_silence, flow.longest_payload_silence) = (idle, idle);
        flow
    }

    fn death(mechanism: Mechanism, after: Nanos) -> Death {
        Death {
            dead: Side::Server,
            detected_by: Some(Side::Client),
            mechanism,
            last_heard: Some(sample::START),
            detected_at: Some(sample::START.plus(after)),
            basis: Basis::Observed,
            uncertainty: 0,
            clock: None,
            recovered_as: None,
            outage: None,
            evidence: Vec::new(),
        }
    }

    #[test]
    fn a_short_flow_has_no_finding() {
        assert!(codes(&concluded(idle(30 * SECOND), Context::default())).is_empty());
        let mut closed = idle(3600 * SECOND);
        closed.end = End::Fin;
        assert!(codes(&concluded(closed, Context::default())).is_empty());
    }

    #[test]
    fn an_idle_flow_without_a_watch_is_found_and_one_with_a_prober_half() {
        let flow = concluded(idle(100 * SECOND), Context::default());
        assert_eq!(codes(&flow), [NO_LIVENESS]);
        assert!(unprotected(&flow));
        let mut flow = idle(300 * SECOND);
        flow.longest_silence = 2 * SECOND;
        flow.keepalive[Side::Client] = Some(sample::probes());
        // Probes do not count for the boxes that end TCP themselves.
        let flow = concluded(flow, Context::default());
        assert_eq!(codes(&flow), [ONE_SIDED_LIVENESS, IDLE_TIMEOUT_RISK]);
        assert!(flow.findings[1].message.starts_with("With nothing but probes for 5 min"), "{:?}", flow.findings[1]);
        let mut both = idle(50 * SECOND);
        both.keepalive = crate::summary::Both([Some(sample::probes()), Some(sample::probes())]);
        assert!(codes(&concluded(both, Context::default())).is_empty());
    }

    #[test]
    fn two_hours_are_slow() {
        let mut flow = idle(7200 * SECOND);
        let probes = crate::summary::KeepaliveSummary { idle_s: Some(7200.0), count: None, ..sample::probes() };
        flow.keepalive = crate::summary::Both([Some(probes.clone()), Some(probes)]);
        assert_eq!(codes(&concluded(flow, Context::default())), [SLOW_DETECTION, SLOW_DETECTION, IDLE_TIMEOUT_RISK]);
        let mut dead = idle(950 * SECOND);
        dead.end = End::DeadPeer;
        dead.keepalive[Side::Client] = Some(sample::probes());
        dead.deaths.push(Death { basis: Basis::Inferred, ..death(Mechanism::RetransmissionTimeout, 930 * SECOND) });
        assert_eq!(codes(&concluded(dead, Context::default())), [SLOW_DETECTION, KEEPALIVE_SUPPRESSED]);
    }

    #[test]
    fn a_reset_after_the_balancer_forgot() {
        let mut flow = idle(400 * SECOND);
        flow.end = End::DeadPeer;
        flow.deaths.push(death(Mechanism::ResetOnData, 400 * SECOND));
        let broke = Break {
            silence: 400 * SECOND,
            payload_silence: 400 * SECOND,
            survived: 300 * SECOND,
            payload_survived: 300 * SECOND,
            sign: Sign::ResetOnSegment,
            by: Side::Server,
        };
        let flow = concluded(flow, Context { broke: Some(broke), ..Context::default() });
        assert_eq!(codes(&flow), [SLOW_DETECTION, HALF_OPEN, IDLE_TIMEOUT_HIT]);
        let hit = &flow.findings[2].message;
        assert!(hit.contains("AWS Network Load Balancer (350 s)"), "{hit}");
        assert!(!hit.contains("Azure"), "240 s are refuted by the 300 s survived: {hit}");
    }

    #[test]
    fn silence_alone_is_no_middlebox() {
        let broke = Break {
            silence: 1000 * SECOND,
            payload_silence: 1000 * SECOND,
            survived: 0,
            payload_survived: 0,
            sign: Sign::Silence,
            by: Side::Client,
        };
        let mut flow = idle(1000 * SECOND);
        flow.deaths.push(death(Mechanism::RetransmissionTimeout, 1200 * SECOND));
        let context = Context { broke: Some(broke), ..Context::default() };
        assert!(!codes(&concluded(flow.clone(), context)).contains(&IDLE_TIMEOUT_HIT));
        flow.deaths[0].recovered_as = Some(2);
        assert!(codes(&concluded(flow, context)).contains(&IDLE_TIMEOUT_HIT));
    }

    #[test]
    fn eaten_probes_and_a_stalled_reader() {
        let mut flow = idle(30 * SECOND);
        let mut probes = sample::probes();
        probes.answered = 0;
        let later = Some(probes.last.plus(SECOND));
        flow.keepalive[Side::Client] = Some(probes);
        flow.zero_window_probes[Side::Server] = STALLED_PROBES;
        let mut context = Context::default();
        context.last_sent[Side::Server] = later;
        assert_eq!(codes(&concluded(flow, context)), [PROBES_UNANSWERED_DATA_ANSWERED, PEER_STALLED]);
    }

    #[test]
    fn a_broken_promise_and_missing_beats() {
        let mut flow = sample::dead();
        flow.deaths.clear();
        flow.heartbeats[0].missed = 5;
        let mut context = Context { capture_end: Time(0), ..Context::default() };
        context.longest_payload_gap[Side::Client] = Some(66 * SECOND);
        flow.findings.clear();
        let within = concluded(flow.clone(), context);
        assert_eq!(codes(&within), [HEARTBEAT_IRREGULAR], "66 s of 60 s: jitter");
        context.longest_payload_gap[Side::Client] = Some(90 * SECOND);
        assert_eq!(codes(&concluded(flow, context)), [DECLARED_DIFFERS_FROM_OBSERVED, HEARTBEAT_IRREGULAR]);
    }

    #[test]
    fn an_unanswered_syn_is_no_connection() {
        let mut flow = idle(3600 * SECOND);
        flow.traffic[Side::Server].packets = 0;
        assert!(codes(&concluded(flow, Context::default())).is_empty());
    }

    #[test]
    fn every_code_can_be_asked_for() {
        for code in CODES {
            assert_eq!(code.parse(), Ok(FailOn::Finding(code)));
        }
        assert_eq!("dead-peer".parse(), Ok(FailOn::DeadPeer));
        assert_eq!("half-open".parse(), Ok(FailOn::Finding("half_open")));
        assert!("dead".parse::<FailOn>().is_err());
    }
}
