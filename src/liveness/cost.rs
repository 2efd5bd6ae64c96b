//! What the watching costs on the wire: probes, heartbeats, their replies and acknowledgements.

use crate::liveness::verdict::Context;
use crate::packet::seconds;
use crate::summary::{BeatKind, Both, Cost, End, FlowSummary, Mode, Side};

/// Length of a segment without payload where none was seen: Ethernet, IP and TCP headers and the timestamp option.
const BARE_V4: u32 = 14 + 20 + 20 + 12;
/// The same over IPv6.
const BARE_V6: u32 = 14 + 40 + 20 + 12;
/// Flows shorter than this, seconds, are not extrapolated to an hour.
const SHORTEST: f64 = 1.0;

/// Packets and bytes an hour that each side sends to watch and to be watched, at the rate seen over the flow's life.
///
/// An estimate: an answer to a probe is one bare segment; of a heartbeat, a one-way beat draws one bare acknowledgement, and
/// a reply is as long as its request and is acknowledged by a bare segment. `None` where nothing watches.
#[must_use]
pub fn of(flow: &FlowSummary, context: &Context) -> Option<Both<Cost>> {
    let end = if flow.end == End::Open { flow.last.max(context.capture_end) } else { flow.last };
    let life = seconds(end.since(flow.first));
    if life < SHORTEST {
        return None;
    }
    let v6 = flow.ends[Side::Client].address.ip().is_ipv6();
    let bare = f64::from(context.bare_segment.unwrap_or(if v6 { BARE_V6 } else { BARE_V4 }));
    // Packets and bytes of each side.
    let mut sent = Both([(0.0, 0.0); 2]);
    let mut add = |side: Side, packets: u64, each: f64| {
        sent[side].0 += packets as f64;
        sent[side].1 += packets as f64 * each;
    };
    for side in Side::BOTH {
        if let Some(k) = &flow.keepalive[side] {
            add(side, k.probes, bare + f64::from(k.probe_len));
            add(side.peer(), k.answered, bare);
        }
    }
    for h in flow.heartbeats.iter().filter(|h| h.kind == BeatKind::Heartbeat) {
        let beat = bare + f64::midpoint(h.payload_len.0.into(), h.payload_len.1.into());
        add(h.from, h.count, beat);
        match h.mode {
            Mode::OneWay => add(h.from.peer(), h.count, bare),
            Mode::RequestReply => {
                add(h.from.peer(), h.replies, beat);
                add(h.from, h.replies, bare);
            }
        }
    }
    if sent.0.iter().all(|s| s.0 == 0.0) {
        return None;
    }
    let hours = life / 3600.0;
    Some(Both(sent.0.map(|(packets, bytes)| Cost { packets_per_hour: packets / hours, bytes_per_hour: bytes / hours })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::SECOND;
    use crate::sample;

    #[test]
    fn nothing_costs_nothing() {
        assert_eq!(of(&sample::quiet(1), &Context::default()), None);
    }

    #[test]
    fn a_probe_costs_the_prober_and_its_answer_the_peer() {
        let mut flow = sample::quiet(1);
        flow.last = flow.first.plus(3600 * SECOND);
        let mut probes = sample::probes();
        (probes.probes, probes.answered, probes.probe_len) = (48, 48, 1);
        flow.keepalive[Side::Server] = Some(probes);
        let cost = of(&flow, &Context::default()).unwrap();
        assert_eq!(cost[Side::Server], Cost { packets_per_hour: 48.0, bytes_per_hour: 48.0 * 67.0 });
        assert_eq!(cost[Side::Client], Cost { packets_per_hour: 48.0, bytes_per_hour: 48.0 * 66.0 });
    }

    #[test]
    fn a_request_and_its_reply_are_three_packets() {
        let mut flow = sample::dead();
        flow.keepalive = Both::default();
        flow.last = flow.first.plus(3600 * SECOND);
        (flow.heartbeats[0].count, flow.heartbeats[0].replies) = (60, 60);
        let cost = of(&flow, &Context { bare_segment: Some(54), ..Context::default() }).unwrap();
        assert_eq!(cost[Side::Client], Cost { packets_per_hour: 120.0, bytes_per_hour: 60.0 * (56.0 + 54.0) });
        assert_eq!(cost[Side::Server], Cost { packets_per_hour: 60.0, bytes_per_hour: 60.0 * 56.0 });
    }
}
