//! `--write`: the packets that matter, each with a comment that says what it is and why.
//!
//! An event may speak of a packet that went by earlier (a probe is known by its answer, a heartbeat by its rhythm). So the
//! last packets are kept; events put notes on them; and when a packet leaves, it is written if it has a note. That way the
//! packets stay in order, and hours of capture need bounded memory.

mod pcapng;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;

use crate::event::{Event, EventKind};
use crate::packet::{Endpoint, Frame, LinkType, Nanos, Time, seconds};
use crate::phrase::{count, duration};
use crate::summary::{Basis, Both, Death, End, Mechanism, Side};
use pcapng::{MAX_SECTION_COMMENT, Packet, Writer};

/// Bytes of packets that are kept for events to come, at most; more look no further back than anybody needs.
const MAX_KEPT: usize = 64 << 20;
/// Bytes that a kept packet needs besides its data.
const OVERHEAD: usize = 160;
/// Bytes of each packet that are written: headers, and a heartbeat as a whole.
const SNAPLEN: usize = 256;
/// Flows whose names, first packets and unanswered probes are remembered, at most; the oldest are forgotten.
const MAX_FLOWS: usize = 1 << 16;
/// Bytes that such a flow may need: its first packet, and [`MAX_RUN`] probes of both sides.
const FLOW_COST: usize = 3 << 10;
/// Unanswered probes that are numbered; TCP_KEEPCNT is at most 127.
const MAX_RUN: usize = 128;
/// Notes on one packet.
const MAX_NOTES: usize = 8;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Packets written.
    pub packets: u64,
    /// Notes on packets that had left memory before they were known to matter.
    pub late: u64,
}

/// A packet that may come to matter.
#[derive(Debug)]
struct Kept {
    number: u64,
    time: Time,
    link: LinkType,
    interface: u32,
    wire_len: u32,
    data: Box<[u8]>,
    flow: u64,
    /// Whether it is its flow's first.
    opens: bool,
    notes: Vec<Note>,
}

/// What a packet is.
#[derive(Debug)]
enum Note {
    /// A keepalive probe, the `nth` since the last answer, and what became of it.
    Probe { by: Side, nth: usize, of: Option<usize>, answered: Option<Nanos> },
    /// Anything else.
    Said(String),
}

#[derive(Debug)]
struct Flow {
    ends: Both<Endpoint>,
    /// Its first packet's number.
    first: u64,
    /// That packet, once it has left the others without a note.
    opener: Option<Kept>,
    /// Whether a packet of it matters.
    concerned: bool,
    /// Frames of the probes since the last answer, by who sent them.
    unanswered: Both<Vec<u64>>,
}

/// The evidence of a run.
#[derive(Debug)]
pub struct Evidence {
    out: Writer,
    kept: VecDeque<Kept>,
    bytes: usize,
    max_kept: usize,
    max_flows: usize,
    flows: HashMap<u64, Flow>,
    order: VecDeque<u64>,
    names: String,
    concerned: u64,
    written: Written,
    result: io::Result<()>,
}

impl Evidence {
    /// Begins a file. Packets and flows that may come to matter take `memory` bytes at most.
    ///
    /// # Errors
    /// What the file says.
    pub fn new(file: File, memory: usize) -> io::Result<Self> {
        Ok(Evidence {
            out: Writer::new(file, "Evidence by hbsniff; its names were not yet written when this was read.")?,
            kept: VecDeque::new(),
            bytes: 0,
            max_kept: MAX_KEPT.min(memory / 2),
            max_flows: MAX_FLOWS.min(memory / 2 / FLOW_COST),
            flows: HashMap::new(),
            order: VecDeque::new(),
            names: String::new(),
            concerned: 0,
            written: Written::default(),
            result: Ok(()),
        })
    }

    /// Keeps packets, before the events that speak of them.
    pub fn keep(&mut self, frames: &[Frame<'_>]) {
        for frame in frames {
            let data: Box<[u8]> = frame.data[..frame.data.len().min(SNAPLEN)].into();
            self.bytes += data.len() + OVERHEAD;
            let Frame { number, time, link, interface, wire_len, .. } = *frame;
            let (flow, opens, notes) = (0, false, Vec::new());
            self.kept.push_back(Kept { number, time, link, interface, wire_len, data, flow, opens, notes });
        }
        while self.bytes > self.max_kept {
            self.release();
        }
    }

    /// Takes note of an event.
    pub fn event(&mut self, event: &Event) {
        let (flow, at) = (event.flow, event.frame);
        let who = event.from.map_or("", Side::name);
        let peer = event.from.map_or("", |side| side.peer().name());
        let name = |protocol: &Option<&'static str>| protocol.map(|p| format!("{p} ")).unwrap_or_default();
        match &event.kind {
            EventKind::FlowStart { ends } => self.start(flow, at.unwrap_or_default(), *ends),
            EventKind::FlowEnd(end) => {
                let known = self.flows.get(&flow).is_some_and(|f| f.concerned);
                if let (Some(at), true) = (at, known) {
                    self.say(flow, at, ending(*end).into());
                }
            }
            EventKind::KeepaliveProbe { .. } => {
                if let (Some(at), Some(by)) = (at, event.from) {
                    self.probe(flow, at, by);
                }
            }
            EventKind::KeepaliveAck { rtt } => {
                if let (Some(at), Some(from)) = (at, event.from) {
                    self.answer(flow, at, from, *rtt);
                }
            }
            EventKind::ZeroWindowProbe => {
                self.say_at(flow, at, || format!("the {who} probes the {peer}'s closed window"))
            }
            EventKind::ZeroWindowAck => {
                self.say_at(flow, at, || format!("the {who} answers the probe of its window"));
            }
            EventKind::Retransmission => {
                self.say_at(flow, at, || format!("retransmission by the {who}: bytes that it sent before"));
            }
            EventKind::Heartbeat { protocol, interval } => self.say_at(flow, at, || {
                let after = interval.map(|i| format!(", {} after the last", duration(seconds(i)))).unwrap_or_default();
                format!("{}heartbeat of the {who}{after}", name(protocol))
            }),
            EventKind::HeartbeatReply { protocol } => {
                self.say_at(flow, at, || format!("the {who} replies to the {}heartbeat", name(protocol)));
            }
            EventKind::HeartbeatMissed { .. } | EventKind::Data { .. } => {}
            EventKind::PeerDead { death, .. } => self.death(flow, death),
        }
    }

    /// Hands over what was written; in a live capture, after each portion of packets.
    ///
    /// # Errors
    /// What the file said since the beginning.
    pub fn flush(&mut self) -> io::Result<()> {
        std::mem::replace(&mut self.result, Ok(()))?;
        self.out.flush()
    }

    /// Writes the rest.
    ///
    /// # Errors
    /// What the file says.
    pub fn finish(mut self) -> io::Result<Written> {
        self.order.clear();
        // Nothing more will come: a probe without an answer has none.
        for flow in self.flows.values_mut() {
            flow.unanswered = Both::default();
        }
        while !self.kept.is_empty() {
            self.release();
        }
        self.result?;
        let what = format!("Evidence of {}, chosen by hbsniff.", count(self.concerned, "flow"));
        let hidden = self.concerned.saturating_sub(self.names.lines().count() as u64);
        let more = if hidden > 0 { format!("… and {hidden} more\n") } else { String::new() };
        self.out.finish(&format!("{what}\n{}{more}", self.names))?;
        Ok(self.written)
    }

    fn start(&mut self, id: u64, first: u64, ends: Both<Endpoint>) {
        if self.order.len() >= self.max_flows
            && let Some(oldest) = self.order.pop_front()
        {
            self.flows.remove(&oldest);
        }
        self.order.push_back(id);
        let flow = Flow { ends, first, opener: None, concerned: false, unanswered: Both::default() };
        self.flows.insert(id, flow);
        if let Some(kept) = find(&mut self.kept, first) {
            (kept.flow, kept.opens) = (id, true);
        }
    }

    fn probe(&mut self, flow: u64, at: u64, by: Side) {
        let mut nth = 1;
        if let Some(known) = self.flows.get_mut(&flow) {
            let run = &mut known.unanswered[by];
            if run.len() < MAX_RUN {
                run.push(at);
            }
            nth = run.len();
        }
        self.note(flow, at, Note::Probe { by, nth, of: None, answered: None });
    }

    fn answer(&mut self, flow: u64, at: u64, from: Side, rtt: Nanos) {
        let prober = from.peer();
        let asked = self.flows.get_mut(&flow).and_then(|f| std::mem::take(&mut f.unanswered[prober]).pop());
        if let Some(probe) = asked.and_then(|asked| find(&mut self.kept, asked)) {
            for note in &mut probe.notes {
                if let Note::Probe { answered, .. } = note {
                    *answered = Some(rtt);
                }
            }
        }
        let which = asked.map(|n| format!(" in frame {n}")).unwrap_or_default();
        let after = duration(seconds(rtt));
        self.say(flow, at, format!("the {} answers the keepalive probe{which} after {after}", from.name()));
    }

    fn death(&mut self, flow: u64, death: &Death) {
        let dead = death.dead.name();
        if let Some(by) = death.detected_by.filter(|_| death.mechanism == Mechanism::KeepaliveTimeout) {
            let run = self.flows.get_mut(&flow).map(|f| std::mem::take(&mut f.unanswered[by])).unwrap_or_default();
            for number in &run {
                for note in find(&mut self.kept, *number).iter_mut().flat_map(|kept| &mut kept.notes) {
                    if let Note::Probe { of, .. } = note {
                        *of = Some(run.len());
                    }
                }
            }
        }
        let mechanism = death.mechanism.name();
        let after =
            death.detection().map(|s| format!(" after {} of silence", duration(seconds(s)))).unwrap_or_default();
        let last = death.evidence.last().copied().filter(|_| death.basis == Basis::Observed);
        for &at in &death.evidence {
            let told = |note: &Note| matches!(note, Note::Probe { .. });
            match death.detected_by {
                Some(by) if Some(at) == last => {
                    let by = by.name();
                    self.say(
                        flow,
                        at,
                        format!("here the {by} learns or decides that the {dead} is dead{after} ({mechanism})"),
                    );
                }
                _ if find(&mut self.kept, at).is_some_and(|kept| kept.notes.iter().any(told)) => {}
                _ => self.say(flow, at, format!("evidence that the {dead} is dead ({mechanism})")),
            }
        }
    }

    fn say_at(&mut self, flow: u64, at: Option<u64>, what: impl FnOnce() -> String) {
        if let Some(at) = at {
            self.say(flow, at, what());
        }
    }

    fn say(&mut self, flow: u64, at: u64, what: String) {
        self.note(flow, at, Note::Said(what));
    }

    fn note(&mut self, flow: u64, at: u64, note: Note) {
        self.concern(flow);
        match find(&mut self.kept, at) {
            Some(kept) => {
                kept.flow = flow;
                if kept.notes.len() < MAX_NOTES {
                    kept.notes.push(note);
                }
            }
            None => self.written.late += 1,
        }
    }

    /// The first packet of a flow of which another matters, matters too.
    fn concern(&mut self, id: u64) {
        let Some(flow) = self.flows.get_mut(&id).filter(|f| !f.concerned) else { return };
        flow.concerned = true;
        self.concerned += 1;
        let name = name(id, flow);
        if self.names.len() + name.len() < MAX_SECTION_COMMENT - 128 {
            self.names.push_str(&name);
            self.names.push('\n');
        }
        let said = Note::Said(format!("first packet of {name}"));
        if let Some(mut opener) = flow.opener.take() {
            opener.notes.push(said);
            self.write(&opener);
        } else if let Some(kept) = find(&mut self.kept, flow.first) {
            kept.notes.insert(0, said);
        }
    }

    /// Lets the oldest packet go: to the file if it matters.
    fn release(&mut self) {
        let Some(kept) = self.kept.pop_front() else { return };
        self.bytes = self.bytes.saturating_sub(kept.data.len() + OVERHEAD);
        if !kept.notes.is_empty() {
            self.write(&kept);
        } else if kept.opens
            && let Some(flow) = self.flows.get_mut(&kept.flow).filter(|f| !f.concerned)
        {
            flow.opener = Some(kept);
        }
    }

    fn write(&mut self, kept: &Kept) {
        if self.result.is_err() {
            return;
        }
        let waits = |by: &Side| self.flows.get(&kept.flow).is_some_and(|f| f.unanswered[*by].contains(&kept.number));
        let notes: Vec<String> = kept.notes.iter().map(|note| note.text(waits)).collect();
        let comment = format!("flow {}: {}", kept.flow, notes.join("; "));
        let Kept { time, link, interface, wire_len, ref data, .. } = *kept;
        self.result = self.out.packet(&Packet { time, link, interface, wire_len, data, comment: &comment });
        self.written.packets += 1;
    }
}

impl Note {
    /// `waits`: whether an answer to a probe of this side may still come.
    fn text(&self, waits: impl Fn(&Side) -> bool) -> String {
        match self {
            Note::Said(what) => what.clone(),
            Note::Probe { by, nth, of, answered } => {
                let total = of.map(|n| format!(" of {n}")).unwrap_or_default();
                let which = if *nth == 1 && of.is_none() && answered.is_some() {
                    String::new()
                } else {
                    format!(" {nth}{total}")
                };
                let became = match answered {
                    Some(rtt) => format!("answered after {}", duration(seconds(*rtt))),
                    None if waits(by) => "not answered so far".into(),
                    None => "unanswered".into(),
                };
                format!("keepalive probe{which} of the {}, {became}", by.name())
            }
        }
    }
}

/// A kept packet by its number; numbers grow.
fn find(kept: &mut VecDeque<Kept>, number: u64) -> Option<&mut Kept> {
    let at = kept.binary_search_by_key(&number, |k| k.number).ok()?;
    kept.get_mut(at)
}

fn name(id: u64, flow: &Flow) -> String {
    format!("flow {id}: {} → {}", flow.ends[Side::Client], flow.ends[Side::Server])
}

fn ending(end: End) -> &'static str {
    match end {
        End::Fin => "with this both sides have closed",
        End::Rst => "this reset ends the flow",
        End::DeadPeer => "this ends the flow: a side took the other for dead",
        End::Open => "the capture ends here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::SECOND;

    fn frame(number: u64, data: &[u8]) -> Frame<'_> {
        let time = Time(number as i64 * SECOND);
        Frame { time, number, link: LinkType(1), interface: 0, wire_len: data.len() as u32, data }
    }

    fn event(frame: u64, flow: u64, from: Side, kind: EventKind) -> Event {
        Event { time: Time(0), frame: Some(frame), flow, from: Some(from), kind }
    }

    #[test]
    fn memory_is_bounded_and_what_came_too_late_is_counted() {
        let file = tempfile::tempfile().unwrap();
        let mut evidence = Evidence::new(file, usize::MAX).unwrap();
        evidence.max_kept = 10 * (OVERHEAD + 60);
        let start = EventKind::FlowStart { ends: Both::default() };
        for n in 1..=100 {
            evidence.keep(&[frame(n, &[0; 60])]);
            if n == 1 {
                evidence.event(&event(1, 1, Side::Client, start.clone()));
            }
        }
        assert_eq!(evidence.kept.len(), 10);
        evidence.event(&event(20, 1, Side::Client, EventKind::Retransmission));
        evidence.event(&event(95, 1, Side::Client, EventKind::Retransmission));
        // The flow's first packet was put aside; packet 20 was not.
        assert_eq!(evidence.finish().unwrap(), Written { packets: 2, late: 1 });
    }

    #[test]
    fn flows_are_bounded() {
        let mut evidence = Evidence::new(tempfile::tempfile().unwrap(), usize::MAX).unwrap();
        for id in 1..=MAX_FLOWS as u64 + 10 {
            evidence.event(&event(0, id, Side::Client, EventKind::FlowStart { ends: Both::default() }));
        }
        assert_eq!((evidence.flows.len(), evidence.order.len()), (MAX_FLOWS, MAX_FLOWS));
        assert!(!evidence.flows.contains_key(&10) && evidence.flows.contains_key(&11));
    }
}
