//! Flows and an analysis with something of everything, for tests.

use crate::analysis::Analysis;
use crate::packet::{Address, Endpoint, MILLISECOND, SECOND, Time};
use crate::report::CaptureInfo;
use crate::sockets::{Process, Settings, Socket, Timer, TimerKind};
use crate::summary::*;

/// 2026-11-22T18:20:11.123456789Z.
pub const START: Time = Time(1_795_371_611_123_456_789);

/// A flow with nothing on it, from `START` on for a minute.
pub fn quiet(id: u64) -> FlowSummary {
    let end = |last, port| Endpoint { address: Address::v4([10, 9, 0, last]), port };
    FlowSummary {
        id,
        ends: Both([end(1, 48796), end(2, 5000)]),
        handshake: Handshake::Full,
        first: START,
        last: START.plus(60 * SECOND),
        end: End::Open,
        traffic: Both([Traffic { packets: 3, payload_bytes: 10, retransmissions: 0 }; 2]),
        rtt_s: Some(0.000_25),
        longest_silence: 50 * SECOND,
        longest_payload_silence: 55 * SECOND,
        keepalive: Both::default(),
        zero_window_probes: Both::default(),
        heartbeats: Vec::new(),
        deaths: Vec::new(),
        sockets: Both::default(),
        exposure: Both([Exposure::default(), Exposure::default()]),
        cost: None,
        findings: Vec::new(),
    }
}

/// The client's probes of idle 2, interval 1, count 3: two answered, then three not.
pub fn probes() -> KeepaliveSummary {
    KeepaliveSummary {
        probes: 5,
        answered: 2,
        probe_len: 0,
        first: START.plus(2 * SECOND),
        last: START.plus(8 * SECOND),
        idle_s: Some(2.0),
        interval_s: Some(1.0),
        count: Some(3),
        observed_idle: Some(Spread { median: 2.016, min: 2.012, max: 2.02 }),
        observed_interval: Some(Spread { median: 1.024, min: 1.024, max: 1.024 }),
        stack: None,
        rtt_s: Some(0.000_3),
    }
}

/// A socket of idle 60, interval 10, count 6, with keepalive on or not.
pub fn socket(keepalive: bool) -> Socket {
    Socket {
        local: ([10, 9, 0, 1], 48796).into(),
        remote: ([10, 9, 0, 2], 5000).into(),
        first_seen: START.0,
        last_seen: START.0,
        uid: 1000,
        process: Some(Process { pid: 4242, name: "worker".into() }),
        timer: keepalive.then_some(Timer { kind: TimerKind::Keepalive, expires_ms: 12_000 }),
        unanswered: 0,
        most_unanswered: 0,
        settings: Some(Settings { keepalive, idle_s: 60, interval_s: 10, count: 6, user_timeout_ms: 0 }),
    }
}

/// A dead peer noticed by keepalive, with an MQTT heartbeat.
pub fn dead() -> FlowSummary {
    let mut dead = quiet(1);
    dead.end = End::DeadPeer;
    dead.last = START.plus(9_300 * MILLISECOND);
    dead.keepalive[Side::Client] = Some(probes());
    dead.heartbeats.push(HeartbeatSummary {
        from: Side::Client,
        protocol: Some("mqtt"),
        kind: BeatKind::Heartbeat,
        mode: Mode::RequestReply,
        trigger: Trigger::Idle,
        declared_s: Some(60.0),
        count: 2,
        replies: 1,
        missed: 0,
        payload_len: (2, 2),
        sample: vec![0xc0, 0],
        interval: Some(Interval { median: 60.0, min: 59.9, max: 60.1, mad: 0.05 }),
        confidence: 0.98,
        first: START,
        last: START.plus(SECOND),
        last_reply: Some(START),
    });
    dead.deaths.push(Death {
        dead: Side::Server,
        detected_by: Some(Side::Client),
        mechanism: Mechanism::KeepaliveTimeout,
        last_heard: Some(START.plus(4_212 * MILLISECOND)),
        detected_at: Some(START.plus(9_300 * MILLISECOND)),
        basis: Basis::Observed,
        uncertainty: 0,
        clock: Some("TCP keepalive 2/1/3".into()),
        recovered_as: Some(2),
        outage: Some(6 * SECOND),
        evidence: vec![27, 28, 29, 30],
    });
    dead.cost = Some(Both([Cost { packets_per_hour: 1800.0, bytes_per_hour: 118_800.0 }; 2]));
    dead.findings.push(Finding {
        code: "one_sided_liveness",
        severity: Severity::Warning,
        message: "One side.".into(),
    });
    dead
}

/// That one and a quiet flow.
pub fn analysis() -> (Analysis, CaptureInfo) {
    let analysis = Analysis {
        packets: 40,
        bytes: 4000,
        tcp_segments: 38,
        first_packet: Some(START),
        last_packet: Some(START.plus(60 * SECOND)),
        flows: vec![dead(), quiet(2)].into(),
        ..Analysis::default()
    };
    let info = CaptureInfo { sources: vec!["a.pcap".into()], link_types: vec!["EN10MB".into()], ..Default::default() };
    (analysis, info)
}
