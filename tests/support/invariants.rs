//! What must hold whatever the packets say: events (those of data too) and report tell the same, and no span is
//! negative.

use hbsniff::analysis::Analysis;
use hbsniff::event::{Event, EventKind};
use hbsniff::summary::{Basis, Death, FlowSummary, Mechanism, Side, Spread};

/// The first thing that does not hold.
pub fn broken(events: &[Event], analysis: &Analysis) -> Option<String> {
    analysis.flows.iter().find_map(|flow| {
        let of_flow: Vec<&Event> = events.iter().filter(|e| e.flow == flow.id).collect();
        disagreement(&of_flow, &flow)
            .or_else(|| nonsense(&of_flow, &flow))
            .map(|what| format!("flow {}: {what}", flow.id))
    })
}

fn disagreement(events: &[&Event], flow: &FlowSummary) -> Option<String> {
    let count = |side: Side, wanted: fn(&EventKind) -> bool| {
        events.iter().filter(|e| e.from == Some(side) && wanted(&e.kind)).count() as u64
    };
    let mut pairs = Vec::new();
    for side in Side::BOTH {
        let probes = flow.keepalive[side].as_ref();
        let name = side.name();
        let told = count(side, |k| matches!(k, EventKind::KeepaliveProbe { .. }));
        pairs.push((format!("probes of the {name}"), told, probes.map_or(0, |k| k.probes)));
        let told = count(side.peer(), |k| matches!(k, EventKind::KeepaliveAck { .. }));
        pairs.push((format!("answers to the {name}"), told, probes.map_or(0, |k| k.answered)));
        let told = count(side, |k| *k == EventKind::ZeroWindowProbe);
        pairs.push((format!("window probes of the {name}"), told, flow.zero_window_probes[side]));
        let told = count(side, |k| *k == EventKind::Retransmission);
        pairs.push((format!("resends of the {name}"), told, flow.traffic[side].retransmissions));
        let bytes = events.iter().filter(|e| e.from == Some(side)).map(|e| data(&e.kind)).sum();
        pairs.push((format!("bytes of the {name}"), bytes, flow.traffic[side].payload_bytes));
    }
    let starts = events.iter().filter(|e| matches!(e.kind, EventKind::FlowStart { .. })).count() as u64;
    pairs.push(("beginnings".to_string(), starts, 1));
    let ends: Vec<_> = events.iter().filter(|e| matches!(e.kind, EventKind::FlowEnd(_))).collect();
    pairs.push(("ends".to_string(), ends.len() as u64, 1));
    if let Some((what, told, reported)) = pairs.into_iter().find(|(_, told, reported)| told != reported) {
        return Some(format!("{what}: {told} in the events, {reported} in the report"));
    }
    if ends[0].kind != EventKind::FlowEnd(flow.end) {
        return Some(format!("the events say {:?}, the report says end {:?}", ends[0].kind, flow.end));
    }
    // What only the whole capture tells is added to a death afterwards: its clock, and what replaced the flow.
    let plain = |d: &Death| Death { clock: None, recovered_as: None, outage: None, ..d.clone() };
    let mut told: Vec<Death> = events.iter().filter_map(|e| dead(&e.kind)).map(plain).collect();
    let reported: Vec<Death> = flow.deaths.iter().filter(|d| d.mechanism != Mechanism::Undetected).map(plain).collect();
    // A moment that was computed is taken back when the side sends again, and told anew if it seems to fall silent again.
    told.retain(|d| d.basis != Basis::Inferred || reported.contains(d));
    told.dedup();
    (told != reported).then(|| format!("deaths in the events {told:?}, in the report {reported:?}"))
}

/// Bytes of new payload.
fn data(kind: &EventKind) -> u64 {
    match kind {
        EventKind::Data { bytes } => *bytes,
        _ => 0,
    }
}

fn dead(kind: &EventKind) -> Option<&Death> {
    match kind {
        EventKind::PeerDead { death, .. } => Some(death),
        _ => None,
    }
}

fn nonsense(events: &[&Event], flow: &FlowSummary) -> Option<String> {
    let mut spans = vec![
        ("flow", flow.last.since(flow.first) as f64),
        ("rtt_s", flow.rtt_s.unwrap_or(0.0)),
        ("longest_silence", flow.longest_silence as f64),
        ("longest_payload_silence", flow.longest_payload_silence as f64),
    ];
    for d in &flow.deaths {
        let steps = d.evidence.windows(2).map(|pair| pair[1] as f64 - pair[0] as f64);
        spans.extend(steps.map(|step| ("from one frame of the evidence to the next", step)));
        spans.push(("detection", d.detection().unwrap_or(0) as f64));
        spans.push(("uncertainty", d.uncertainty as f64));
        spans.push(("outage", d.outage.unwrap_or(0) as f64));
    }
    let mut spread = |name, s: Option<Spread>| {
        if let Some(s) = s {
            spans.extend([(name, s.min), (name, s.median - s.min), (name, s.max - s.median)]);
        }
    };
    for k in flow.keepalive.0.iter().flatten() {
        spread("observed idle", k.observed_idle);
        spread("observed interval", k.observed_interval);
    }
    for h in &flow.heartbeats {
        spread("interval", h.interval.map(|i| Spread { median: i.median, min: i.min, max: i.max }));
    }
    for k in flow.keepalive.0.iter().flatten() {
        spans.push(("keepalive rtt_s", k.rtt_s.unwrap_or(0.0)));
        spans.push(("keepalive idle_s", k.idle_s.unwrap_or(0.0)));
        spans.push(("keepalive interval_s", k.interval_s.unwrap_or(0.0)));
        spans.push(("unanswered", k.probes as f64 - k.answered as f64));
    }
    for e in &flow.exposure.0 {
        spans.push(("worst case", e.worst_case_s.unwrap_or(0.0)));
    }
    for c in flow.cost.iter().flat_map(|c| &c.0) {
        spans.extend([("packets an hour", c.packets_per_hour), ("bytes an hour", c.bytes_per_hour)]);
    }
    for e in events {
        match &e.kind {
            EventKind::KeepaliveAck { rtt } => spans.push(("an answer's rtt", *rtt as f64)),
            EventKind::Heartbeat { interval: Some(i), .. } => spans.push(("a beat's interval", *i as f64)),
            _ => {}
        }
    }
    spans.into_iter().find(|(_, n)| !(n.is_finite() && *n >= 0.0)).map(|(name, n)| format!("{name} is {n}"))
}
