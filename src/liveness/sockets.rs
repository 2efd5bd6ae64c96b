//! Where the kernel's own account of a socket differs from what its packets show.

use crate::packet::seconds;
use crate::phrase::{count, duration};
use crate::sockets::{Settings, Socket};
use crate::summary::{FlowSummary, KeepaliveSummary, Side};

/// How much longer than its idle time a socket may be silent before a probe is missed, seconds: timers are coarse.
const LATE: f64 = 2.0;
/// Timers measured on the wire are told in whole seconds.
const ROUNDED: f64 = 0.5;
/// Probes that the kernel holds for unanswered. One may just be under way.
const HELD_UNANSWERED: u32 = 2;

/// The differences at both ends, in sentences.
pub(super) fn differences(flow: &FlowSummary) -> Vec<String> {
    Side::BOTH
        .iter()
        .filter_map(|&side| Some((side, flow.sockets[side].as_deref()?)))
        .flat_map(|(side, socket)| at(flow, side, socket))
        .collect()
}

fn at(flow: &FlowSummary, side: Side, socket: &Socket) -> Vec<String> {
    let seen = flow.keepalive[side].as_ref();
    let mut out = Vec::new();
    match (&socket.settings, seen) {
        (Some(s), Some(k)) if s.keepalive => out.extend(other_settings(side, s, k)),
        (Some(_), Some(k)) => out.push(format!(
            "The {}'s socket has keepalive turned off, and yet {} came from its side: it was turned off since, or something \
             on the way probes in its name.",
            side.name(),
            count(k.probes, "probe")
        )),
        (Some(s), None) if s.keepalive => out.extend(missing_probes(flow, side, s)),
        _ => {}
    }
    if let Some(k) = seen
        && socket.most_unanswered >= HELD_UNANSWERED
        && k.unanswered() == 0
        && flow.zero_window_probes[side] == 0
    {
        out.push(format!(
            "The {}'s kernel held {} for unanswered at one time, though the capture shows an answer to each: something \
             between the capture and the socket, such as a firewall of this host, drops the answers.",
            side.name(),
            count(socket.most_unanswered.into(), "probe")
        ));
    }
    out
}

/// Settings other than those that the probes show.
fn other_settings(side: Side, s: &Settings, k: &KeepaliveSummary) -> Option<String> {
    let differs = |option: &str, set: u32, shown: Option<f64>| {
        let shown = shown.filter(|shown| (f64::from(set) - shown).abs() > ROUNDED)?;
        Some(format!("{option} {} where the probes show {}", duration(set.into()), duration(shown)))
    };
    // The user timeout decides in place of the count.
    let tries = k.count.filter(|&n| n != s.count && s.user_timeout_ms == 0);
    let tries = tries.map(|n| format!("TCP_KEEPCNT {} where the probes show {n}", s.count));
    let all =
        [differs("TCP_KEEPIDLE", s.idle_s, k.idle_s), differs("TCP_KEEPINTVL", s.interval_s, k.interval_s), tries];
    let all: Vec<_> = all.into_iter().flatten().collect();
    (!all.is_empty()).then(|| {
        format!(
            "The {}'s socket has {}: it was set anew since, or something on the way probes in its name.",
            side.name(),
            all.join(", ")
        )
    })
}

/// A silence in which a probe was due, none seen, and nothing in flight that would have kept it back.
fn missing_probes(flow: &FlowSummary, side: Side, s: &Settings) -> Option<String> {
    let resent = flow.traffic[side].retransmissions > 0 || flow.zero_window_probes[side] > 0;
    let silent = seconds(flow.longest_silence);
    let due = silent > f64::from(s.idle_s) + LATE && !resent && flow.deaths.is_empty();
    due.then(|| {
        format!(
            "The {}'s socket has keepalive on with TCP_KEEPIDLE {}, but there was no probe in a silence of {}: keepalive was \
             turned on later, or the capture does not see its probes.",
            side.name(),
            duration(s.idle_s.into()),
            duration(silent)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::SECOND;
    use crate::sample;

    /// The client probes after 2 s, every second, three times; its socket has these settings.
    fn said(settings: Settings) -> Vec<String> {
        let mut flow = sample::dead();
        flow.sockets[Side::Client] = Some(Box::new(Socket { settings: Some(settings), ..sample::socket(true) }));
        differences(&flow)
    }

    #[test]
    fn settings_are_compared_with_what_the_probes_show() {
        let same = Settings { keepalive: true, idle_s: 2, interval_s: 1, count: 3, user_timeout_ms: 0 };
        assert_eq!(said(same), Vec::<String>::new());
        let other = said(Settings { idle_s: 60, count: 5, ..same });
        assert!(other[0].contains("TCP_KEEPIDLE 1 min where the probes show 2 s"), "{other:?}");
        assert!(other[0].contains("TCP_KEEPCNT 5 where the probes show 3"), "{other:?}");
        assert!(!other[0].contains("TCP_KEEPINTVL"), "{other:?}");
        assert_eq!(said(Settings { count: 5, user_timeout_ms: 5_000, ..same }), Vec::<String>::new());
        assert!(said(Settings { keepalive: false, ..same })[0].contains("turned off"));
    }

    #[test]
    fn a_probe_that_should_have_come_is_missed() {
        let mut flow = sample::quiet(1);
        flow.sockets[Side::Client] = Some(Box::new(sample::socket(true)));
        flow.longest_silence = 50 * SECOND;
        assert!(differences(&flow).is_empty(), "idle is 60 s");
        flow.longest_silence = 70 * SECOND;
        assert!(differences(&flow)[0].contains("no probe in a silence of 1 min 10 s"));
        flow.sockets[Side::Client] = Some(Box::new(sample::socket(false)));
        assert!(differences(&flow).is_empty());
    }

    #[test]
    fn answers_that_do_not_reach_the_socket_are_told() {
        let mut flow = sample::quiet(1);
        flow.keepalive[Side::Client] = Some(KeepaliveSummary { probes: 4, answered: 4, ..sample::probes() });
        let settings = Settings { keepalive: true, idle_s: 2, interval_s: 1, count: 3, user_timeout_ms: 0 };
        let socket = Socket { settings: Some(settings), most_unanswered: 2, ..sample::socket(true) };
        flow.sockets[Side::Client] = Some(Box::new(socket));
        assert!(differences(&flow)[0].contains("held 2 probes for unanswered"));
    }
}
