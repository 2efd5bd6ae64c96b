//! A day on which nothing happens but keepalive: a live capture learns the time every second, nobody is taken for dead, every
//! probe is known for one, and memory stays what it was.
#![allow(clippy::unwrap_used)]

mod support;

use hbsniff::analyzer::{Analyzer, Options};
use hbsniff::event::{Event, EventKind};
use hbsniff::packet::{Flags, Frame, LinkType, MILLISECOND, SECOND, Time};
use hbsniff::summary::{End, Side};
use support::frames::{Host, Tcp};

const FLOWS: u16 = 500;
const START: Time = Time(1_767_225_600 * SECOND);
const DAY: i64 = 86_400;
/// Linux' default for TCP_KEEPIDLE.
const IDLE: i64 = 7200;
const CLIENT_ISN: u32 = 1000;
const SERVER_ISN: u32 = 2000;

struct Live {
    analyzer: Analyzer,
    now: Time,
    frames: u64,
    /// Probes, answers, and anything else that is told of a flow once it is open.
    told: (u64, u64, Vec<Event>),
}

impl Live {
    fn tell(told: &mut (u64, u64, Vec<Event>), event: &Event) {
        match event.kind {
            EventKind::KeepaliveProbe { .. } => told.0 += 1,
            EventKind::KeepaliveAck { .. } => told.1 += 1,
            EventKind::FlowStart { .. } => {}
            _ => told.2.push(event.clone()),
        }
    }

    /// Seconds pass, each of them told.
    fn wait(&mut self, until: Time) {
        while self.now.plus(SECOND) < until {
            self.now = self.now.plus(SECOND);
            self.analyzer.advance(self.now, &mut Some(&mut |e| Self::tell(&mut self.told, e)));
        }
        self.now = until;
    }

    fn segment(&mut self, time: Time, flow: u16, from: Side, flags: u8, [seq, ack]: [u32; 2]) {
        let mut ends = [Host { number: 1, port: 10_000 + flow }, Host { number: 2, port: 5432 }];
        if from == Side::Server {
            ends.reverse();
        }
        self.frames += 1;
        let tcp = Tcp {
            from: ends[0],
            to: ends[1],
            seq,
            ack,
            flags,
            window: 64_240,
            timestamps: None,
            window_scale: None,
            payload: Vec::new(),
            ip_id: self.frames as u16,
            v6: false,
        };
        let data = &tcp.frame()[..];
        let frame =
            Frame { time, number: self.frames, link: LinkType(1), interface: 0, wire_len: data.len() as u32, data };
        self.analyzer.frames(&[frame], &mut Some(&mut |e| Self::tell(&mut self.told, e)));
    }
}

/// Memory that this process uses, bytes, where the system tells.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse::<usize>();
    Some(kib.ok()? * 1024)
}

#[test]
fn a_day_of_keepalive_and_nothing_else() {
    let analyzer = Analyzer::new(Options::default());
    let mut live = Live { analyzer, now: START, frames: 0, told: (0, 0, Vec::new()) };
    let [client, server] = [CLIENT_ISN + 1, SERVER_ISN + 1];
    let place = |flow: u16| START.plus(i64::from(flow) * MILLISECOND);
    for flow in 0..FLOWS {
        live.segment(place(flow), flow, Side::Client, Flags::SYN, [CLIENT_ISN, 0]);
        live.segment(place(flow), flow, Side::Server, Flags::SYN | Flags::ACK, [SERVER_ISN, client]);
        live.segment(place(flow), flow, Side::Client, Flags::ACK, [client, server]);
    }
    // A probe comes so long after the last answer (net/ipv4/tcp_timer.c, tcp_keepalive_timer); 11 fit in a day of 12 × 2 h.
    let mut before = None;
    for probe in 1..DAY / IDLE {
        let round = probe * IDLE * SECOND;
        live.wait(START.plus(round));
        for flow in 0..FLOWS {
            let time = place(flow).plus(round);
            live.segment(time, flow, Side::Client, Flags::ACK, [client - 1, server]);
            live.segment(time, flow, Side::Server, Flags::ACK, [server, client]);
        }
        if probe == 3 {
            before = resident();
        }
    }
    live.wait(START.plus(DAY * SECOND));
    let probes = u64::from(FLOWS) * 11;
    assert_eq!(live.told, (probes, probes, Vec::new()), "no death, no resend, nothing else");
    if let (Some(before), Some(after)) = (before, resident()) {
        assert!(after < before + (1 << 20), "memory grew from {before} to {after} bytes");
    }
    let analysis = live.analyzer.finish(Some(live.now), &mut None);
    assert_eq!(analysis.flows.len(), usize::from(FLOWS));
    for flow in analysis.flows.iter() {
        assert_eq!((flow.end, flow.deaths.len()), (End::Open, 0));
        let keepalive = flow.keepalive[Side::Client].as_ref().unwrap();
        assert_eq!((keepalive.probes, keepalive.answered, keepalive.idle_s), (11, 11, Some(7200.0)));
    }
}
