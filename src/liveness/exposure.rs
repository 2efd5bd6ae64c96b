//! If a side died silently now, would the other know, by what, and after how long at worst?

use std::borrow::Cow;

use super::clocks::{self, TCP_RETRIES2};
use super::rules;
use super::verdict::{Context, Words};
use crate::packet::{Nanos, seconds};
use crate::phrase::{count, duration};
use crate::sockets::Settings;
use crate::summary::{
    BeatKind, Both, Exposure, FlowSummary, Ground, HeartbeatSummary, KeepaliveSummary, NoticedBy, Side,
};

/// Linux' defaults, where a figure of a Linux-like prober was not seen: idle, interval (seconds), count.
const LINUX: (f64, f64, u32) = (7200.0, 75.0, 9);
/// Windows' defaults, where the probes carry a byte.
const WINDOWS: (f64, f64, u32) = (7200.0, 1.0, 10);
/// How many of a side's longest pauses must fit into a flow before the side counts as sending regularly.
const REGULAR: i64 = 4;

/// For each side: what if it died.
#[must_use]
pub fn of(flow: &FlowSummary, context: &Context, words: Words) -> Both<Exposure> {
    Both(Side::BOTH.map(|dead| by_other(flow, context, dead.peer(), words)))
}

/// What `watcher` would notice of the other's death: the quickest of what it has.
fn by_other(flow: &FlowSummary, context: &Context, watcher: Side, words: Words) -> Exposure {
    let seen = flow.keepalive[watcher].as_ref().map(|k| by_keepalive(k, watcher, words));
    let settings = flow.sockets[watcher].as_ref().and_then(|socket| socket.settings);
    let keepalive = match settings.filter(|s| s.keepalive) {
        // What the wire has shown in full needs no other witness.
        Some(settings) if seen.as_ref().is_none_or(|e| e.basis != Ground::Observed) => {
            Some(by_socket(&settings, watcher, seen.is_some(), words))
        }
        _ => seen,
    };
    let heartbeat = flow.heartbeats.iter().filter_map(|h| by_heartbeat(h, watcher, words));
    let data = by_data(flow, context, watcher, settings.map_or(0, |s| s.user_timeout_ms), words);
    let worst = |e: &Exposure| e.worst_case_s.unwrap_or(f64::INFINITY);
    let quickest = keepalive.into_iter().chain(heartbeat).chain(data).min_by(|a, b| worst(a).total_cmp(&worst(b)));
    quickest.unwrap_or(Exposure {
        noticed_by: NoticedBy::None,
        worst_case_s: None,
        basis: Ground::Observed,
        note: Cow::Borrowed(match watcher {
            Side::Client => "The client sends no probe and no regular data, and expects no heartbeat.",
            Side::Server => "The server sends no probe and no regular data, and expects no heartbeat.",
        }),
    })
}

/// Probes after an idle time, and so many intervals until the last went unanswered.
fn by_keepalive(k: &KeepaliveSummary, watcher: Side, words: Words) -> Exposure {
    let (stack, (idle, interval, tries)) = if k.probe_len == 1 { ("Windows", WINDOWS) } else { ("Linux", LINUX) };
    let known = k.idle_s.is_some() && k.interval_s.is_some() && k.count.is_some();
    let (idle, interval) = (k.idle_s.unwrap_or(idle), k.interval_s.unwrap_or(interval));
    let tries = k.count.unwrap_or(tries);
    let note = || {
        let unseen =
            [("idle time", k.idle_s.is_none()), ("interval", k.interval_s.is_none()), ("count", k.count.is_none())];
        let unseen: Vec<_> = unseen.into_iter().filter(|(_, unseen)| *unseen).map(|(name, _)| name).collect();
        let origin = match unseen.as_slice() {
            [] => String::new(),
            names => format!("; the {} assumed as {stack} has by default", names.join(" and ")),
        };
        let (who, idle_for, every) = (watcher.name(), duration(idle), duration(interval));
        let probes = count(tries.into(), "probe");
        format!("The {who} sends {probes} after {idle_for} of silence, one every {every}{origin}.")
    };
    Exposure {
        noticed_by: NoticedBy::Keepalive,
        worst_case_s: Some(idle + interval * f64::from(tries)),
        basis: if known { Ground::Observed } else { Ground::Assumed },
        note: words.say(note),
    }
}

/// Probes as the socket is set to send them, whether or not one was seen.
fn by_socket(settings: &Settings, watcher: Side, seen: bool, words: Words) -> Exposure {
    let note = || {
        let who = watcher.name();
        let (idle, every) = (duration(settings.idle_s.into()), duration(settings.interval_s.into()));
        let until = match settings.user_timeout_ms {
            0 => format!("up to {}", count(settings.count.into(), "probe")),
            timeout => format!("probes until its TCP_USER_TIMEOUT of {} is over", duration(f64::from(timeout) / 1e3)),
        };
        let unseen = if seen { "" } else { "; none has shown yet" };
        format!("The {who} sends {until} after {idle} of silence, one every {every}, as its socket is set{unseen}.")
    };
    Exposure {
        noticed_by: NoticedBy::Keepalive,
        worst_case_s: Some(settings.patience()),
        basis: Ground::Declared,
        note: words.say(note),
    }
}

/// A beat or a reply that does not come.
fn by_heartbeat(h: &HeartbeatSummary, watcher: Side, words: Words) -> Option<Exposure> {
    // A poll that goes unanswered is data in flight; that its sender also minds a missing answer is not known.
    let patience = rules::patience(h, watcher).filter(|_| h.kind == BeatKind::Heartbeat)?;
    let (who, name) = (watcher.name(), h.protocol.unwrap_or("nameless"));
    let missed = if h.from == watcher { "reply" } else { "beat" };
    let doubt = match patience.ground {
        Ground::Assumed => "; that it acts upon that is assumed",
        Ground::Observed | Ground::Declared => "",
    };
    Some(Exposure {
        noticed_by: NoticedBy::Heartbeat,
        worst_case_s: Some(patience.seconds),
        basis: patience.ground,
        note: words.say(|| format!("The {who} misses a {missed} of the {name} heartbeat ({}){doubt}.", patience.words)),
    })
}

/// Data that is never acknowledged, if the watcher goes on sending at the pace it kept.
fn by_data(
    flow: &FlowSummary,
    context: &Context,
    watcher: Side,
    user_timeout_ms: u32,
    words: Words,
) -> Option<Exposure> {
    let (limit, basis, origin) = match user_timeout_ms {
        0 => (clocks::resend_limit(TCP_RETRIES2), Ground::Assumed, "; tcp_retries2 assumed as Linux has by default"),
        timeout => (f64::from(timeout) / 1e3, Ground::Declared, ", its TCP_USER_TIMEOUT"),
    };
    let beats = flow.heartbeats.iter().filter(|h| h.from == watcher).filter_map(|h| h.interval).map(|i| i.max);
    let pause = beats.chain(unasked(flow, context, watcher)).min_by(f64::total_cmp)?;
    let who = watcher.name();
    Some(Exposure {
        noticed_by: NoticedBy::Retransmission,
        worst_case_s: Some(pause + limit),
        basis,
        note: words.say(|| {
            format!(
                "The {who} sends data at least every {} and resends it for {}{origin}.",
                duration(pause),
                duration(limit)
            )
        }),
    })
}

/// The longest pause, seconds, of a side that sends regularly and unasked. A server's replies end with the requests; its data
/// is its own where it went on through a silence of the client.
fn unasked(flow: &FlowSummary, context: &Context, side: Side) -> Option<f64> {
    let pause = context.longest_payload_gap[side]?;
    let many = |span: Nanos| pause > 0 && pause.saturating_mul(REGULAR) <= span;
    let lifetime = flow.last.max(context.capture_end).since(flow.first);
    let own = side == Side::Client || context.longest_payload_gap[side.peer()].is_none_or(many);
    (own && many(lifetime)).then(|| seconds(pause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::SECOND;
    use crate::sample;
    use crate::summary::{Interval, Mode};

    fn exposed(flow: &FlowSummary, context: &Context) -> Both<Exposure> {
        of(flow, context, Words::Said)
    }

    #[test]
    fn a_prober_notices_after_idle_and_all_its_probes() {
        let mut flow = sample::quiet(1);
        flow.keepalive[Side::Client] = Some(sample::probes());
        let exposure = exposed(&flow, &Context::default());
        let if_server_dies = &exposure[Side::Server];
        assert_eq!(if_server_dies.noticed_by, NoticedBy::Keepalive);
        assert_eq!(if_server_dies.worst_case_s, Some(2.0 + 1.0 * 3.0));
        assert_eq!(if_server_dies.basis, Ground::Observed);
        assert_eq!(exposure[Side::Client].noticed_by, NoticedBy::None);
        assert_eq!(exposure[Side::Client].worst_case_s, None);
    }

    #[test]
    fn what_was_not_seen_is_the_stack_s_default_and_said_to_be() {
        let mut flow = sample::quiet(1);
        let answered = KeepaliveSummary { idle_s: Some(7200.0), interval_s: None, count: None, ..sample::probes() };
        flow.keepalive[Side::Server] = Some(answered.clone());
        let exposure = exposed(&flow, &Context::default());
        // 7200 + 9 × 75 = 7875 s = 2 h 11 min 15 s.
        assert_eq!(exposure[Side::Client].worst_case_s, Some(7875.0));
        assert_eq!(exposure[Side::Client].basis, Ground::Assumed);
        assert!(exposure[Side::Client].note.contains("the interval and count assumed as Linux has by default"));
        flow.keepalive[Side::Server] = Some(KeepaliveSummary { probe_len: 1, ..answered });
        assert_eq!(exposed(&flow, &Context::default())[Side::Client].worst_case_s, Some(7210.0), "Windows");
    }

    #[test]
    fn a_socket_s_own_settings_count_where_the_wire_has_not_shown_them() {
        let mut flow = sample::quiet(1);
        flow.sockets[Side::Client] = Some(Box::new(sample::socket(true)));
        flow.sockets[Side::Server] = Some(Box::new(sample::socket(false)));
        let exposure = exposed(&flow, &Context::default());
        let if_server_dies = &exposure[Side::Server];
        assert_eq!((if_server_dies.noticed_by, if_server_dies.basis), (NoticedBy::Keepalive, Ground::Declared));
        assert_eq!(if_server_dies.worst_case_s, Some(60.0 + 6.0 * 10.0));
        assert!(if_server_dies.note.contains("none has shown yet"), "{}", if_server_dies.note);
        assert_eq!(exposure[Side::Client].noticed_by, NoticedBy::None);
        flow.keepalive[Side::Client] = Some(sample::probes());
        assert_eq!(exposed(&flow, &Context::default())[Side::Server].basis, Ground::Observed, "all was seen");
    }

    #[test]
    fn the_quickest_of_several_counts() {
        let mut flow = sample::dead();
        flow.keepalive[Side::Client] = Some(KeepaliveSummary { idle_s: Some(300.0), ..sample::probes() });
        let exposure = exposed(&flow, &Context::default());
        // The client misses PINGRESP after two intervals of 60 s, before 303 s; the server PINGREQ after 1.5 keep alives.
        assert_eq!(
            (exposure[Side::Server].noticed_by, exposure[Side::Server].worst_case_s),
            (NoticedBy::Heartbeat, Some(120.0))
        );
        assert_eq!(
            (exposure[Side::Client].noticed_by, exposure[Side::Client].worst_case_s),
            (NoticedBy::Heartbeat, Some(90.0))
        );
        assert_eq!(exposure[Side::Client].basis, Ground::Declared);
    }

    #[test]
    fn regular_data_notices_by_retransmission_and_a_pause_does_not() {
        let flow = sample::quiet(1);
        let mut context = Context { capture_end: flow.last, ..Context::default() };
        context.longest_payload_gap[Side::Client] = Some(5 * SECOND);
        context.longest_payload_gap[Side::Server] = Some(50 * SECOND);
        let exposure = exposed(&flow, &context);
        assert_eq!(exposure[Side::Server].noticed_by, NoticedBy::Retransmission);
        assert_eq!(exposure[Side::Server].worst_case_s, Some(5.0 + 924.6));
        assert_eq!(exposure[Side::Client].noticed_by, NoticedBy::None, "it may never send again");
    }

    #[test]
    fn replies_end_with_the_requests_and_a_stream_does_not() {
        let flow = sample::quiet(1);
        let mut context = Context { capture_end: flow.last, ..Context::default() };
        context.longest_payload_gap = Both([Some(5 * SECOND), Some(5 * SECOND)]);
        assert_eq!(exposed(&flow, &context)[Side::Client].noticed_by, NoticedBy::None, "the server only answers");
        context.longest_payload_gap[Side::Client] = Some(50 * SECOND);
        assert_eq!(exposed(&flow, &context)[Side::Client].noticed_by, NoticedBy::Retransmission, "it streams");
    }

    #[test]
    fn a_poll_is_no_watch() {
        let mut flow = sample::dead();
        flow.heartbeats[0].kind = BeatKind::Polling;
        flow.heartbeats[0].mode = Mode::RequestReply;
        flow.heartbeats[0].interval = Some(Interval { median: 1.0, min: 1.0, max: 1.0, mad: 0.0 });
        flow.keepalive = Both::default();
        let exposure = exposed(&flow, &Context::default());
        // The poll itself is data in flight, which its sender resends.
        assert_eq!(exposure[Side::Server].noticed_by, NoticedBy::Retransmission);
        assert_eq!(exposure[Side::Server].worst_case_s, Some(1.0 + 924.6));
        assert_eq!(exposure[Side::Client].noticed_by, NoticedBy::None);
    }
}
