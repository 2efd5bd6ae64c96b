//! The timers behind the figures: which stack or program a keepalive setting is of, and which timer a give-up fits.

use super::rules;
use super::verdict::Context;
use crate::packet::seconds;
use crate::phrase::{decimal, duration};
use crate::summary::{Basis, BeatKind, Death, FlowSummary, KeepaliveSummary, Mechanism, Side};

/// Linux' initial and least retransmission timeout, seconds (TCP_RTO_MIN, include/net/tcp.h).
const RTO_MIN: f64 = 0.2;
/// Linux' greatest retransmission timeout, seconds (TCP_RTO_MAX, include/net/tcp.h; since 6.15 also a sysctl).
const RTO_MAX: f64 = 120.0;
/// Linux' default of net.ipv4.tcp_retries2.
pub const TCP_RETRIES2: u32 = 15;

/// How long Linux resends data before it gives up with `tcp_retries2` at `retries`, seconds: timeouts that double from
/// RTO_MIN up to RTO_MAX (`tcp_model_timeout`, net/ipv4/tcp_timer.c; 15 gives the 924.6 s of ip-sysctl). It gives up at the
/// first real timeout past that, so a little later.
#[must_use]
pub fn resend_limit(retries: u32) -> f64 {
    // The exponent up to which doubling stays below the greatest timeout: ilog2(120 / 0.2) = 9.
    let doublings = (RTO_MAX / RTO_MIN).log2().floor() as u32;
    let doubled = |n: u32| (2f64.powi(n as i32 + 1) - 1.0) * RTO_MIN;
    if retries <= doublings { doubled(retries) } else { doubled(doublings) + f64::from(retries - doublings) * RTO_MAX }
}

/// The `tcp_retries2` that fits data given up on `elapsed` seconds after it was first sent; `None` below 1 and above 30.
#[must_use]
pub fn retries2(elapsed: f64) -> Option<u32> {
    // The kernel counts from the first resend, which is a timeout after the first sending.
    let resending = elapsed - RTO_MIN;
    let fits = |n: &u32| {
        let limit = resend_limit(*n);
        // At the first timeout past the limit: each is as long as all before it together, but for the first.
        resending >= 0.999 * limit && resending <= limit + RTO_MAX.min(limit + 5.0 * RTO_MIN)
    };
    (1..=30).rev().find(fits)
}

/// A keepalive setting that a stack or a program is known to use.
struct Setting {
    name: &'static str,
    /// Bytes of garbage in a probe, where that is part of the sign.
    probe_len: Option<u8>,
    /// TCP_KEEPIDLE; `None` where the user chooses it.
    idle: Option<f64>,
    interval: f64,
    count: u32,
}

const fn setting(name: &'static str, probe_len: Option<u8>, idle: Option<f64>, interval: f64, count: u32) -> Setting {
    Setting { name, probe_len, idle, interval, count }
}

/// Defaults of stacks and of programs. Some stacks took over Linux' figures and shape (lwIP, gVisor); nothing in the probes
/// tells them apart, and the name is that of the origin.
const SETTINGS: &[Setting] = &[
    // net/ipv4/tcp.c and include/net/tcp.h.
    setting("Linux", Some(0), Some(7200.0), 75.0, 9),
    // sys/netinet/tcp_timer.h; bsd/netinet/tcp_timer.h.
    setting("FreeBSD or macOS", Some(0), Some(7200.0), 75.0, 8),
    // SIO_KEEPALIVE_VALS: ten probes; a second apart; the idle time is the user's, two hours by default.
    setting("Windows", Some(1), None, 1.0, 10),
    // FreeRTOSIPConfigDefaults.h, FreeRTOS_TCP_Transmission.c.
    setting("FreeRTOS+TCP", Some(0), Some(20.0), 3.0, 4),
    // golang net/dial.go.
    setting("Go", None, Some(15.0), 15.0, 9),
    // uv_tcp_keepalive: Node.js and others; the idle time is the user's.
    setting("libuv", Some(0), None, 1.0, 10),
    // curl's tool, lib/url.c.
    setting("curl", None, Some(60.0), 60.0, 9),
    // redis.conf tcp-keepalive 300: a third of it, three times (anet.c).
    setting("Redis", None, Some(300.0), 100.0, 3),
    // Lettuce SocketOptions.
    setting("Lettuce", None, Some(13.0), 13.0, 3),
    // Elasticsearch and OpenSearch lower Linux' idle time to 300 s (NetUtils).
    setting("Elasticsearch", Some(0), Some(300.0), 75.0, 9),
    // Microsoft.Data.SqlClient SniTcpHandle, the count being Linux'.
    setting("SqlClient", Some(0), Some(30.0), 1.0, 9),
];

/// The stack or program whose setting these probes fit, if exactly one does. A single figure fits many, so two must be
/// known.
#[must_use]
pub fn stack(k: &KeepaliveSummary) -> Option<&'static str> {
    let known = [k.idle_s.is_some(), k.interval_s.is_some(), k.count.is_some()];
    if known.iter().filter(|&&k| k).count() < 2 {
        return None;
    }
    let mut fits = SETTINGS.iter().filter(|s| {
        s.probe_len.is_none_or(|len| len == k.probe_len)
            && s.idle.is_none_or(|idle| k.idle_s.is_none_or(|i| i == idle))
            && k.interval_s.is_none_or(|i| i == s.interval)
            && k.count.is_none_or(|n| n == s.count)
    });
    let one = fits.next()?;
    fits.next().is_none().then_some(one.name)
}

/// The timer that a death fits, in words: `Linux keepalive 7200/75/9 = 2 h 11 min 15 s`.
#[must_use]
pub fn of_death(flow: &FlowSummary, death: &Death, context: &Context) -> Option<String> {
    let by = death.detected_by?;
    let detection = seconds(death.detection()?);
    match death.mechanism {
        Mechanism::KeepaliveTimeout => {
            let k = flow.keepalive[by].as_ref()?;
            let (idle, interval, count) = (k.idle_s?, k.interval_s?, k.count?);
            let origin = k.stack.map(|s| format!("{s} ")).unwrap_or_default();
            Some(format!(
                "{origin}keepalive {}/{}/{count} = {}",
                decimal(idle, 3),
                decimal(interval, 3),
                duration(idle + interval * f64::from(count))
            ))
        }
        // A reset here is not the kernel's: Linux ends in silence.
        Mechanism::RetransmissionTimeout if death.basis == Basis::Inferred => {
            let quiet = context.broke.map_or(0.0, |b| seconds(b.silence));
            let n = retries2(detection - quiet)?;
            let name = if n == TCP_RETRIES2 { "Linux' default tcp_retries2" } else { "tcp_retries2" };
            Some(format!("{name} = {n}, {} at least", duration(resend_limit(n))))
        }
        Mechanism::HeartbeatTimeout => heartbeat_clock(flow, by, detection),
        _ => None,
    }
}

/// How far a heartbeat's give-up may lie from its rule: sweeps and jitter.
const RULE_SHARE: f64 = 0.2;

fn heartbeat_clock(flow: &FlowSummary, by: Side, detection: f64) -> Option<String> {
    let beats = || flow.heartbeats.iter().filter(|h| h.kind == BeatKind::Heartbeat);
    let ruled = beats()
        .filter_map(|h| rules::patience(h, by))
        .find(|p| (detection - p.seconds).abs() <= RULE_SHARE * p.seconds && p.words != rules::UNKNOWN);
    if let Some(rule) = ruled {
        return Some(format!("{}: {}", rule.words, duration(rule.seconds)));
    }
    let every = beats().filter_map(|h| h.interval).map(|i| i.median).min_by(f64::total_cmp)?;
    Some(format!("{} intervals of the heartbeat of {}", decimal(detection / every, 1), duration(every)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_kernel_s_own_figures() {
        // Documentation/networking/ip-sysctl.rst: 15 retries, 924.6 s.
        assert!((resend_limit(15) - 924.6).abs() < 1e-9);
        // 0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 6.4.
        assert!((resend_limit(5) - 12.6).abs() < 1e-9);
        // The doubling reaches 102.4 s; the next would be 204.8 and is cut to 120.
        assert!((resend_limit(9) - 204.6).abs() < 1e-9);
        assert!((resend_limit(10) - 324.6).abs() < 1e-9);
    }

    #[test]
    fn a_give_up_finds_its_retries() {
        // Timeouts of 208 ms doubled: six of them end after 13.1 s, the first past 12.6 s.
        assert_eq!(retries2(0.208 * 63.0), Some(5));
        // The default as people meet it: "15 minutes", 927 s to a good 1000 s.
        for elapsed in [926.0, 940.0, 1000.0, 1040.0] {
            assert_eq!(retries2(elapsed), Some(15), "{elapsed}");
        }
        assert_eq!(retries2(0.3), None);
        assert_eq!(retries2(100_000.0), None);
    }

    #[test]
    fn two_figures_name_a_stack_and_one_does_not() {
        let probes = |len, idle, interval, count| KeepaliveSummary {
            probe_len: len,
            idle_s: idle,
            interval_s: interval,
            count,
            ..sample::probes()
        };
        assert_eq!(stack(&probes(0, Some(7200.0), Some(75.0), Some(9))), Some("Linux"));
        assert_eq!(stack(&probes(0, Some(7200.0), Some(75.0), None)), None, "Linux and FreeBSD both fit");
        assert_eq!(stack(&probes(0, Some(15.0), Some(15.0), None)), Some("Go"));
        assert_eq!(stack(&probes(0, Some(15.0), None, None)), None);
        assert_eq!(stack(&probes(1, Some(7200.0), Some(1.0), Some(10))), Some("Windows"));
        assert_eq!(stack(&probes(0, Some(7200.0), Some(1.0), Some(10))), Some("libuv"), "a program's choice on Unix");
        assert_eq!(stack(&probes(0, Some(2.0), Some(1.0), Some(3))), None);
    }
}
