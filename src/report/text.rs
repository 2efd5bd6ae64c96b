//! The text for people: the answer in the first line, then the dead, then what nobody watches, then the healthy.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::CaptureInfo;
use super::model::Summary;
use super::state::{State, Tone, is_refusal};
use crate::analysis::{Analysis, Flows, Place};
use crate::liveness::findings;
use crate::names::Names;
use crate::packet::{Nanos, Time, seconds};
use crate::phrase::{count, duration, printable};
use crate::sockets::{self, Socket, TimerKind};
use crate::summary::{
    Basis, BeatKind, Death, End, FlowSummary, HeartbeatSummary, KeepaliveSummary, Mechanism, Mode, NoticedBy, Severity,
    Side,
};

/// How the text is to be.
#[derive(Clone, Debug, Default)]
pub struct TextOptions {
    /// Every flow, in full. Otherwise each group shows its first flows and counts the others.
    pub all: bool,
    /// With a terminal's colours.
    pub color: bool,
    /// Where the clock hangs that tells times; `None` is UTC.
    pub zone: Option<TimeZone>,
    /// What to call hosts and services; `None` leaves them numbers.
    pub names: Option<Names>,
}

/// Flows with a dead peer told in full without [`TextOptions::all`]: the pattern is clear by then.
const DEAD_SHOWN: usize = 20;
/// Flows with a warning told in full without [`TextOptions::all`].
const WARNED_SHOWN: usize = 10;
/// Flows on which a side could die unnoticed that get a line without [`TextOptions::all`].
const BLIND_SHOWN: usize = 10;
/// Watched flows that get a line without [`TextOptions::all`].
const HEALTHY_SHOWN: usize = 20;

/// What to do about flows on which a side could die unnoticed.
const REMEDY: &str =
    "  To notice, a side needs keepalive (SO_KEEPALIVE, TCP_KEEPIDLE of, say, 60 s) or a heartbeat that is answered.";

/// Writes the report as text.
///
/// # Errors
/// What `out` says.
pub fn write(out: &mut impl Write, analysis: &Analysis, info: &CaptureInfo, options: &TextOptions) -> io::Result<()> {
    let limit = |n: usize| if options.all { usize::MAX } else { n };
    let limits = [DEAD_SHOWN, WARNED_SHOWN, BLIND_SHOWN, HEALTHY_SHOWN, 0].map(limit);
    let groups = Groups::new(analysis, limits, |_| 0);
    let mut text = Text::new(out, analysis, options, &groups);
    text.headline(&groups)?;
    text.capture(analysis, &groups.sum, info)?;
    for (group, name) in [(&groups.dead, "with a dead peer"), (&groups.warned, "with a warning")] {
        text.blocks(group)?;
        text.rest(group, name)?;
    }
    if options.all {
        return [&groups.blind, &groups.healthy, &groups.plain].into_iter().try_for_each(|group| text.blocks(group));
    }
    text.lines(&groups.blind)?;
    text.rest(&groups.blind, "of the kind")?;
    if groups.blind.count > 0 {
        writeln!(text.out, "{REMEDY}")?;
    }
    text.lines(&groups.healthy)?;
    text.rest(&groups.healthy, "that are watched")?;
    match groups.plain.count {
        0 => Ok(()),
        n => writeln!(text.out, "\n{} with nothing to tell (--all shows every flow)", count(n, "flow")),
    }
}

/// Writes what there is to say of one flow, without colours, as of `end`; relative times count from `start`.
///
/// # Errors
/// What `out` says.
pub fn particulars(out: &mut impl Write, flow: &FlowSummary, start: Time, end: Time) -> io::Result<()> {
    let (options, flows) = (&TextOptions::default(), &Flows::default());
    Text { out, options, names: None, flows, start, end }.particulars(flow)
}

/// The flows by what they ask of the reader, gathered in one pass over all of them.
pub(super) struct Groups {
    pub sum: Summary,
    /// With a dead peer.
    pub dead: Group,
    /// With a warning of another kind.
    pub warned: Group,
    /// A side could die unnoticed.
    pub blind: Group,
    /// With a watch.
    pub healthy: Group,
    /// The rest.
    pub plain: Group,
    pub noticed: Noticed,
    /// Deaths by mechanism.
    pub mechanisms: BTreeMap<&'static str, Noticed>,
    rank: fn(&FlowSummary) -> Nanos,
}

/// Flows of one kind: the first ones are shown, by falling rank and then in order of first packet, and all are counted.
pub(super) struct Group {
    limit: usize,
    shown: Vec<(Reverse<Nanos>, Place)>,
    pub count: u64,
    /// Warnings on them by code, where not all are shown.
    codes: BTreeMap<&'static str, u64>,
}

/// Deaths in figures.
#[derive(Clone, Copy, Default)]
pub(super) struct Noticed {
    pub deaths: u64,
    /// Those of which it is known after how long they were noticed, and the bounds of that.
    pub times: u64,
    pub least: Nanos,
    pub most: Nanos,
    /// Deaths that nobody had noticed when the capture ended.
    pub open: u64,
    /// Flows of which nothing was told but a refusal.
    pub refused: u64,
}

impl Group {
    fn new(limit: usize) -> Self {
        Group { limit, shown: Vec::new(), count: 0, codes: BTreeMap::new() }
    }

    fn add(&mut self, place: Place, flow: &FlowSummary, rank: Nanos) {
        self.count += 1;
        let key = (Reverse(rank), place);
        let at = match self.shown.last() {
            Some(last) if *last > key => self.shown.partition_point(|other| *other < key),
            _ => self.shown.len(),
        };
        if at < self.limit {
            self.shown.insert(at, key);
            self.shown.truncate(self.limit);
        }
        if self.limit < usize::MAX {
            codes_of(flow).for_each(|code| *self.codes.entry(code).or_default() += 1);
        }
    }

    /// The flows to show.
    pub fn places(&self) -> impl ExactSizeIterator<Item = Place> + '_ {
        self.shown.iter().map(|(_, place)| *place)
    }

    /// The warnings, by code, on those that are not shown.
    pub fn hidden_codes(&self, flows: &Flows) -> Vec<String> {
        let mut codes = self.codes.clone();
        for place in self.places() {
            codes_of(&flows.tell(place)).for_each(|code| *codes.entry(code).or_default() -= 1);
        }
        codes.iter().filter(|(_, n)| **n > 0).map(|(code, n)| format!("{code} {n}")).collect()
    }

    /// Adds those that another thread counted.
    fn include(&mut self, other: Group) {
        self.count += other.count;
        self.shown.extend(other.shown);
        self.shown.sort_unstable();
        self.shown.truncate(self.limit);
        for (code, n) in other.codes {
            *self.codes.entry(code).or_default() += n;
        }
    }
}

/// The codes of a flow's warnings.
fn codes_of(flow: &FlowSummary) -> impl Iterator<Item = &'static str> + '_ {
    flow.findings.iter().filter(|f| f.severity >= Severity::Warning).map(|f| f.code)
}

impl Noticed {
    fn add(&mut self, death: &Death) {
        self.deaths += 1;
        self.open += u64::from(death.detected_at.is_none());
        if let Some(took) = death.detection() {
            self.least = if self.times == 0 { took } else { self.least.min(took) };
            self.most = self.most.max(took);
            self.times += 1;
        }
    }

    fn include(&mut self, other: Noticed) {
        let Noticed { deaths, times, least, most, open, refused } = other;
        self.least = match (self.times, times) {
            (_, 0) => self.least,
            (0, _) => least,
            _ => self.least.min(least),
        };
        self.most = self.most.max(most);
        self.deaths += deaths;
        self.times += times;
        self.open += open;
        self.refused += refused;
    }
}

impl Groups {
    /// The flows that are told of one by one.
    fn shown(&self) -> impl Iterator<Item = Place> + '_ {
        let groups = [&self.dead, &self.warned, &self.blind, &self.healthy, &self.plain];
        groups.into_iter().flat_map(Group::places)
    }

    /// At most so many to show of each group, those of the greatest rank first.
    pub fn new(analysis: &Analysis, limits: [usize; 5], rank: fn(&FlowSummary) -> Nanos) -> Self {
        let none = || {
            let [dead, warned, blind, healthy, plain] = limits.map(Group::new);
            let (sum, noticed, mechanisms) = (Summary::default(), Noticed::default(), BTreeMap::new());
            Groups { sum, dead, warned, blind, healthy, plain, noticed, mechanisms, rank }
        };
        let mut groups = Groups { sum: analysis.let_go.totals, ..none() };
        analysis.flows.count(none, Groups::add).into_iter().for_each(|part| groups.include(part));
        groups
    }

    fn add(&mut self, place: Place, flow: &FlowSummary) {
        self.sum.add(flow);
        for death in &flow.deaths {
            self.noticed.add(death);
            self.mechanisms.entry(death.mechanism.name()).or_default().add(death);
        }
        let rank = (self.rank)(flow);
        let group = if !flow.deaths.is_empty() {
            self.noticed.refused += u64::from(flow.deaths.iter().all(|d| is_refusal(d.mechanism)));
            &mut self.dead
        } else if flow.findings.iter().any(|f| f.severity >= Severity::Warning && !findings::is_blindness(f)) {
            &mut self.warned
        } else if findings::unprotected(flow) {
            &mut self.blind
        } else if flow.keepalive.0.iter().any(Option::is_some)
            || !flow.heartbeats.is_empty()
            || flow.sockets.0.iter().flatten().any(|socket| socket.keepalive() == Some(true))
        {
            &mut self.healthy
        } else {
            &mut self.plain
        };
        group.add(place, flow, rank);
    }

    /// Adds what another thread counted.
    fn include(&mut self, other: Groups) {
        let Groups { sum, dead, warned, blind, healthy, plain, noticed, mechanisms, rank: _ } = other;
        self.sum.include(&sum);
        self.dead.include(dead);
        self.warned.include(warned);
        self.blind.include(blind);
        self.healthy.include(healthy);
        self.plain.include(plain);
        self.noticed.include(noticed);
        for (mechanism, noticed) in mechanisms {
            self.mechanisms.entry(mechanism).or_default().include(noticed);
        }
    }
}

pub(super) struct Text<'w, W> {
    out: &'w mut W,
    options: &'w TextOptions,
    names: Option<Names>,
    flows: &'w Flows,
    /// Relative times count from here, as Wireshark's do.
    pub start: Time,
    pub end: Time,
}

impl<'w, W: Write> Text<'w, W> {
    /// Words for the flows of a capture, of which `groups` are shown.
    pub fn new(out: &'w mut W, analysis: &'w Analysis, options: &'w TextOptions, groups: &Groups) -> Self {
        let flows = &analysis.flows;
        let start = analysis.first_packet.unwrap_or_default();
        let end = analysis.last_packet.unwrap_or(start);
        let mut names = options.names.clone();
        if let Some(names) = &mut names {
            let shown = groups.shown().map(|place| flows.tell(place));
            names.ask(shown.flat_map(|flow| flow.ends.0.map(|end| end.address.ip())));
        }
        Text { out, options, names, flows, start, end }
    }
}

impl<W: Write> Text<'_, W> {
    /// The answer.
    fn headline(&mut self, groups: &Groups) -> io::Result<()> {
        let (tone, said) = self.answer(groups);
        let said = self.paint(tone, &said);
        writeln!(self.out, "{said}")
    }

    /// The same in words, and what they say to the eye.
    pub fn answer(&self, groups: &Groups) -> (Tone, String) {
        let flows = groups.sum.flows;
        let all = count(flows, "flow");
        match groups.dead.shown.as_slice() {
            [] if flows == 0 => (Tone::Doubtful, "No TCP connection in this capture.".to_owned()),
            [] => {
                let (blind, warned) = (groups.sum.unprotected, groups.warned.count);
                let but = [
                    (blind, format!("on {blind} a side could die and nobody would know")),
                    (warned, format!("{warned} with a warning")),
                ];
                let but: String = but.iter().filter(|(n, _)| *n > 0).map(|(_, what)| format!("; {what}")).collect();
                let tone = if but.is_empty() { Tone::Good } else { Tone::Doubtful };
                (tone, format!("No dead peer on {all}{but}."))
            }
            [(_, place)] => {
                let flow = &self.flows.tell(*place);
                let said: Vec<String> = flow.deaths.iter().map(|d| self.verdict(d)).collect();
                let of = if flows == 1 { String::new() } else { format!(", one of {all}") };
                (Tone::Bad, capital(&format!("{} ({}{of}).", said.join("; "), self.ends(flow))))
            }
            _ => (Tone::Bad, many_dead(groups)),
        }
    }

    /// One death in a clause.
    pub fn verdict(&self, d: &Death) -> String {
        let dead = d.dead.name();
        let silent = |to: Time| silence(d, self.start, to);
        match (d.detected_by, d.detected_at) {
            (Some(by), Some(at)) if is_refusal(d.mechanism) => format!(
                "the {} was refused {} after last hearing the {dead}, {}",
                by.name(),
                silent(at),
                noticed_by(d.mechanism)
            ),
            (Some(by), Some(at)) => format!(
                "the {} took the {dead} for dead {} after last hearing it, {}",
                by.name(),
                silent(at),
                noticed_by(d.mechanism)
            ),
            (Some(by), None) => format!(
                "the {dead} fell silent, and {} later, when the capture ended, the {} was still trying",
                silent(self.end),
                by.name()
            ),
            (None, _) => {
                format!("the {dead} is dead, and nobody had noticed when the capture ended {} later", silent(self.end))
            }
        }
    }

    /// What was read, and what was wrong with it.
    fn capture(&mut self, analysis: &Analysis, sum: &Summary, info: &CaptureInfo) -> io::Result<()> {
        let read = self.read(analysis, sum, info);
        writeln!(self.out, "{read}")?;
        for warning in warnings(analysis, info) {
            self.label(Tone::Doubtful, "", "warning:")?;
            writeln!(self.out, " {warning}")?;
        }
        if let Some(held) = confined(info) {
            writeln!(self.out, "{held}")?;
        }
        Ok(())
    }

    /// What was read, in a line.
    pub fn read(&self, analysis: &Analysis, sum: &Summary, info: &CaptureInfo) -> String {
        let sources: Vec<_> = info.sources.iter().map(|s| printable(s)).collect();
        let source = match sources.as_slice() {
            [] => String::new(),
            [one] => format!("{one}: "),
            [first, .., last] => format!("{} files, {first} to {last}: ", sources.len()),
        };
        let mut said = format!("{source}{}, {}", count(sum.flows, "flow"), count(analysis.packets, "packet"));
        if let (Some(first), Some(last)) = (analysis.first_packet, analysis.last_packet) {
            let (from, to) = (self.clock(first), self.clock(last));
            let to_zone = to.zone;
            let to = if from.date == to.date { to.time } else { format!("{} {}", to.date, to.time) };
            let span = duration(seconds(last.since(first)));
            let zone = if from.zone == to_zone { String::new() } else { format!(" {}", from.zone) };
            said.push_str(&format!(", {} {}{zone} to {to} {to_zone} ({span})", from.date, from.time));
        }
        for (n, what) in [(sum.with_keepalive, "keepalive"), (sum.with_heartbeat, "heartbeats")] {
            if n > 0 {
                said.push_str(&format!("; {what} on {n}"));
            }
        }
        said
    }

    fn blocks(&mut self, group: &Group) -> io::Result<()> {
        group.places().try_for_each(|place| self.block(&self.flows.tell(place)))
    }

    fn lines(&mut self, group: &Group) -> io::Result<()> {
        if group.count > 0 {
            writeln!(self.out)?;
        }
        group.places().try_for_each(|place| self.line(&self.flows.tell(place)))
    }

    /// What of a group was not shown, by finding.
    fn rest(&mut self, group: &Group, what: &str) -> io::Result<()> {
        let hidden = group.count - group.shown.len() as u64;
        if hidden == 0 {
            return Ok(());
        }
        let codes = group.hidden_codes(self.flows);
        let codes = if codes.is_empty() { String::new() } else { format!(": {}", codes.join(", ")) };
        writeln!(self.out, "… and {hidden} more {what}{codes}")
    }

    /// A flow in full.
    fn block(&mut self, flow: &FlowSummary) -> io::Result<()> {
        let state = State::of(flow);
        writeln!(self.out)?;
        write!(self.out, "{}   {}   ", self.ends(flow), self.age(flow))?;
        self.label(state.tone(), "", &state.to_string())?;
        writeln!(self.out, "   flow {}", flow.id)?;
        if self.names.as_ref().is_some_and(|names| flow.ends.0.iter().any(|end| names.knows(end))) {
            writeln!(self.out, "  addresses    {} → {}", flow.ends[Side::Client], flow.ends[Side::Server])?;
        }
        self.particulars(flow)
    }

    /// What there is to say of a flow.
    fn particulars(&mut self, flow: &FlowSummary) -> io::Result<()> {
        for death in &flow.deaths {
            let label = if is_refusal(death.mechanism) { "refused" } else { "dead peer" };
            self.label(Tone::Bad, "  ", label)?;
            let (said, circumstances) = self.death(flow, death);
            writeln!(self.out, "{:width$}{said}", "", width = 13 - label.len())?;
            if !circumstances.is_empty() {
                writeln!(self.out, "{:15}{}", "", circumstances.join("; "))?;
            }
        }
        for side in Side::BOTH {
            if let Some(keepalive) = &flow.keepalive[side] {
                let answered = format!("{}, {} answered", count(keepalive.probes, "probe"), keepalive.answered);
                writeln!(self.out, "  keepalive    {} probes: {}     {answered}", side.name(), settings(keepalive))?;
            }
        }
        for side in Side::BOTH {
            if let Some(socket) = &flow.sockets[side] {
                writeln!(self.out, "  socket       {}", self.socket(side, socket))?;
            }
        }
        for beat in &flow.heartbeats {
            writeln!(self.out, "  {:<12} {}     {}", kind(beat.kind), rhythm(beat), beats(beat))?;
        }
        for side in Side::BOTH {
            if let n @ 1.. = flow.zero_window_probes[side] {
                let (by, of) = (side.name(), side.peer().name());
                writeln!(self.out, "  window       the {by} probed the {of}'s closed window {}", count(n, "time"))?;
            }
        }
        if matches!(flow.end, End::Open | End::DeadPeer) {
            for side in Side::BOTH.into_iter().filter(|&s| flow.deaths.iter().all(|d| d.dead != s)) {
                writeln!(self.out, "  if the {} dies   {}", side.name(), exposed(flow, side))?;
            }
        }
        for finding in flow.findings.iter().filter(|f| !findings::is_blindness(f)) {
            let (tone, label) = match finding.severity {
                Severity::Info => (Tone::Good, "note"),
                Severity::Warning => (Tone::Doubtful, "warning"),
                Severity::Error => (Tone::Bad, "error"),
            };
            self.label(tone, "  ", label)?;
            writeln!(self.out, "{:width$}{}  [{}]", "", finding.message, finding.code, width = 13 - label.len())?;
        }
        Ok(())
    }

    /// A flow that is well, or only unwatched, in a line.
    fn line(&mut self, flow: &FlowSummary) -> io::Result<()> {
        let mut said = Vec::new();
        for side in Side::BOTH {
            if let Some(k) = &flow.keepalive[side] {
                let answered = if k.unanswered() == 0 {
                    format!("{} answered", count(k.probes, "probe"))
                } else {
                    format!("{} of {} answered", k.answered, count(k.probes, "probe"))
                };
                said.push(format!("{} keepalive {}, {answered}", side.name(), settings(k)));
            }
        }
        said.extend(flow.heartbeats.iter().map(|h| format!("{} {}", kind(h.kind), rhythm(h))));
        for side in Side::BOTH {
            said.extend(flow.sockets[side].iter().map(|socket| self.socket(side, socket)));
        }
        if findings::unprotected(flow) {
            let idle = duration(seconds(flow.longest_payload_silence.max(flow.longest_silence)));
            let blind = |dead: Side| flow.exposure[dead].noticed_by == NoticedBy::None;
            said.push(match Side::BOTH.map(blind) {
                [true, true] => format!("idle for up to {idle}; neither side would notice the other's death"),
                [true, false] => "the server would never notice the client's death".into(),
                _ => "the client would never notice the server's death".into(),
            });
        }
        let state = State::of(flow);
        write!(self.out, "{}   {}   ", self.ends(flow), self.age(flow))?;
        self.label(state.tone(), "", &state.to_string())?;
        writeln!(self.out, "   {}", said.join("; "))
    }

    /// How long the flow lasted; while it is open, until the capture's end, for it was there all the while.
    pub fn age(&self, flow: &FlowSummary) -> String {
        let end = if flow.end == End::Open { flow.last.max(self.end) } else { flow.last };
        duration(seconds(end.since(flow.first)))
    }

    /// One death, and its circumstances.
    pub fn death(&self, flow: &FlowSummary, d: &Death) -> (String, Vec<String>) {
        let (dead, silent) = (d.dead.name(), |to: Time| silence(d, flow.first, to));
        let heard =
            d.last_heard.map_or("not heard in this capture".into(), |t| format!("last heard at {}", self.moment(t)));
        let mut circumstances = Vec::new();
        let said = match (d.detected_by, d.detected_at) {
            (Some(by), Some(at)) => {
                let how = if is_refusal(d.mechanism) {
                    "learned that the connection was gone at the"
                } else {
                    "gave up on the"
                };
                let about = match d.uncertainty {
                    0 => String::new(),
                    off => format!(", give or take {}", duration(seconds(off))),
                };
                circumstances.push(format!("at {}{about}", self.moment(at)));
                format!("{} {how} {dead} after {} of silence: {}", by.name(), silent(at), why(flow, d, by))
            }
            (Some(by), None) => {
                circumstances.push(heard);
                let after = silent(self.end);
                format!(
                    "{} was still trying to reach the {dead} after {after} of silence: {}",
                    by.name(),
                    why(flow, d, by)
                )
            }
            (None, _) => {
                circumstances.push(heard);
                format!("{dead} silent for {} when the capture ended, and nobody had noticed", silent(self.end))
            }
        };
        if let Some(clock) = &d.clock {
            // The option shows on no packet, and few systems have another tcp_retries2 than the default.
            let or = if clock.starts_with("tcp_retries2") { ", or a shorter TCP_USER_TIMEOUT" } else { "" };
            circumstances.push(format!("fits {clock}{or}"));
        }
        if let Some(id) = d.recovered_as {
            let after = d.outage.map(|s| format!(" after {}", duration(seconds(s)))).unwrap_or_default();
            circumstances.push(format!("replaced by flow {id}{after}"));
        }
        (said + &frames(&d.evidence), circumstances)
    }

    /// What this host's kernel says of one end.
    pub fn socket(&self, side: Side, socket: &Socket) -> String {
        let owner = socket.process.as_ref();
        let owner =
            owner.map_or_else(|| format!("uid {}", socket.uid), |p| format!("{} (pid {})", printable(&p.name), p.pid));
        let mut said = vec![format!("{} is {owner}", side.name())];
        match (&socket.settings, socket.keepalive()) {
            (Some(s), Some(true)) => {
                let (idle, every) = (duration(s.idle_s.into()), duration(s.interval_s.into()));
                let tries = if s.count == 1 { "1 try".to_owned() } else { format!("{} tries", s.count) };
                said.push(format!("keepalive set to idle {idle}, every {every}, {tries}"));
            }
            (None, Some(true)) => said.push("keepalive on".into()),
            (_, Some(false)) => said.push("keepalive off".into()),
            (_, None) => {}
        }
        if let Some(timeout) = socket.settings.map(|s| s.user_timeout_ms).filter(|&ms| ms > 0) {
            said.push(format!("TCP_USER_TIMEOUT {}", duration(f64::from(timeout) / 1e3)));
        }
        if let Some(timer) = socket.timer {
            let name = match timer.kind {
                TimerKind::Retransmission => "retransmission",
                TimerKind::Keepalive => "keepalive",
                TimerKind::ZeroWindowProbe => "window probe",
            };
            said.push(format!("{name} timer goes off in {}", duration(timer.expires_ms as f64 / 1e3)));
        }
        if self.end.since(Time(socket.last_seen)) > 2 * sockets::PERIOD {
            said.push(format!("last seen at {}", self.moment(Time(socket.last_seen))));
        }
        said.join(", ")
    }

    /// The two ends, by name where names are wanted.
    pub fn ends(&self, flow: &FlowSummary) -> String {
        let (client, server) = (&flow.ends[Side::Client], &flow.ends[Side::Server]);
        match &self.names {
            Some(names) => format!("{} → {}", names.end(client, false), names.end(server, true)),
            None => format!("{client} → {server}"),
        }
    }

    /// As the clock shows it and from the capture's start.
    pub fn moment(&self, at: Time) -> String {
        let (clock, first) = (self.clock(at), self.clock(self.start));
        let date = if clock.date == first.date { String::new() } else { format!("{} ", clock.date) };
        format!("{date}{} (+{})", clock.time, duration(seconds(at.since(self.start))))
    }

    pub fn clock(&self, at: Time) -> Clock {
        let zone = self.options.zone.clone().unwrap_or(TimeZone::UTC);
        let at = Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or_default();
        let t = zone.to_datetime(at);
        Clock {
            date: format!("{}-{:02}-{:02}", t.year(), t.month(), t.day()),
            time: format!("{:02}:{:02}:{:02}.{:03}", t.hour(), t.minute(), t.second(), t.millisecond()),
            zone: zone.to_offset_info(at).abbreviation().to_owned(),
        }
    }

    fn label(&mut self, tone: Tone, indent: &str, label: &str) -> io::Result<()> {
        let painted = self.paint(tone, label);
        write!(self.out, "{indent}{painted}")
    }

    fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.options.color => return text.to_owned(),
            Tone::Bad => "1;31",
            Tone::Doubtful => "33",
            Tone::Good => "32",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// What was wrong with what was read, in sentences.
pub(super) fn warnings(analysis: &Analysis, info: &CaptureInfo) -> Vec<String> {
    let dropped = info.dropped_by_kernel.filter(|n| *n > 0);
    let dropped = dropped.map(|n| format!("the kernel dropped {}: silences may be its doing", count(n, "packet")));
    let others = info.warnings.iter().chain(&analysis.warnings).map(|w| printable(w).into_owned());
    dropped.into_iter().chain(others).collect()
}

/// What a live capture could not have done.
pub(super) fn confined(info: &CaptureInfo) -> Option<String> {
    info.confinement.as_ref().map(|held| format!("confined: {}", printable(&held.to_string())))
}

/// More than one flow with a dead peer, in figures.
fn many_dead(groups: &Groups) -> String {
    let Noticed { times, least, most, open, refused, .. } = groups.noticed;
    let noticed = match times {
        0 => String::new(),
        1 => format!("; once noticed, after {}", duration(seconds(least))),
        _ => format!("; noticed {times} times, after {} to {}", duration(seconds(least)), duration(seconds(most))),
    };
    let open = if open == 0 { String::new() } else { format!("; {open} not noticed before the capture ended") };
    let what = match refused {
        0 => "A peer was dead",
        n if n == groups.dead.count => "A reset refused the connection",
        _ => "A peer was dead or refused the connection",
    };
    format!("{what} on {} of {}{noticed}{open}.", groups.dead.count, count(groups.sum.flows, "flow"))
}

/// A moment as a clock shows it, to the millisecond.
pub(super) struct Clock {
    pub date: String,
    pub time: String,
    /// The clock's zone, as `UTC` or `CET`.
    pub zone: String,
}

pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// How a death was noticed, to follow a comma.
fn noticed_by(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::KeepaliveTimeout => "by keepalive probes",
        Mechanism::KeepaliveReset => "by a reset that answered its keepalive probe",
        Mechanism::RetransmissionTimeout => "by data that was never acknowledged",
        Mechanism::ZeroWindowTimeout => "by window probes that were never answered",
        Mechanism::HeartbeatTimeout => "by an overdue heartbeat",
        Mechanism::ResetOnData => "by a reset that answered its data",
        Mechanism::IcmpUnreachable => "by an ICMP error",
        Mechanism::Undetected => "by nothing",
    }
}

/// What a detector saw, to follow a colon.
fn why(flow: &FlowSummary, d: &Death, by: Side) -> String {
    let reset = if d.basis == Basis::Observed { ", then RST" } else { "" };
    match d.mechanism {
        Mechanism::KeepaliveTimeout => {
            let count = flow.keepalive[by].as_ref().and_then(|k| k.count);
            let probes = count.map_or("keepalive probes".into(), |n| self::count(n.into(), "keepalive probe"));
            // The capture may show answers that were lost behind it.
            let seen = flow.keepalive[by].as_ref().is_some_and(|k| count.is_some_and(|n| k.unanswered() < n.into()));
            let unanswered = if seen { "without an answer that reached it" } else { "unanswered" };
            format!("{probes} {unanswered}{reset}")
        }
        Mechanism::KeepaliveReset => "its keepalive probe was answered by RST".into(),
        Mechanism::RetransmissionTimeout => {
            let resent = self::count(flow.traffic[by].retransmissions, "retransmission");
            format!("its data was never acknowledged, {resent}{reset}")
        }
        Mechanism::ZeroWindowTimeout => format!("its window probes went unanswered{reset}"),
        Mechanism::HeartbeatTimeout => "a heartbeat was overdue, then it closed".into(),
        Mechanism::ResetOnData => "its data was answered by RST".into(),
        Mechanism::IcmpUnreachable => "an ICMP error said that it cannot be reached".into(),
        Mechanism::Undetected => "nothing told it".into(),
    }
}

/// `(frame 30)`, `(frames 27 to 30)`, `(frames 3, 9, 12)`.
fn frames(evidence: &[u64]) -> String {
    match evidence {
        [] => String::new(),
        [one] => format!(" (frame {one})"),
        [first, .., last] if last.checked_sub(*first) == Some(evidence.len() as u64 - 1) => {
            format!(" (frames {first} to {last})")
        }
        several => {
            let numbers: Vec<String> = several.iter().map(u64::to_string).collect();
            format!(" (frames {})", numbers.join(", "))
        }
    }
}

pub(super) fn settings(k: &KeepaliveSummary) -> String {
    let known = [
        k.idle_s.map(|s| format!("idle {}", duration(s))),
        k.interval_s.map(|s| format!("every {}", duration(s))),
        k.count.map(|n| if n == 1 { "1 try".to_owned() } else { format!("{n} tries") }),
    ];
    let mut said: Vec<String> = known.into_iter().flatten().collect();
    if said.is_empty() {
        said.push("settings unknown".into());
    }
    let stack = k.stack.map(|s| format!(" (fits {s})")).unwrap_or_default();
    format!("{}{stack}", said.join(", "))
}

pub(super) fn kind(kind: BeatKind) -> &'static str {
    match kind {
        BeatKind::Heartbeat => "heartbeat",
        BeatKind::Polling => "polling",
    }
}

pub(super) fn rhythm(h: &HeartbeatSummary) -> String {
    let name = h.protocol.unwrap_or("unnamed");
    let every = h.interval.map(|i| format!(" every {}", duration(i.median))).unwrap_or_default();
    let declared = h.declared_s.map(|s| format!(" (announced {})", duration(s))).unwrap_or_default();
    let mode = match h.mode {
        Mode::OneWay => "one way",
        Mode::RequestReply => "answered",
    };
    format!("{} {name}{every}{declared}, {mode}", h.from.name())
}

pub(super) fn beats(h: &HeartbeatSummary) -> String {
    let mut said = count(h.count, "beat");
    if h.mode == Mode::RequestReply {
        said.push_str(&format!(
            ", {}",
            if h.replies == 1 { "1 reply".into() } else { format!("{} replies", h.replies) }
        ));
    }
    if h.missed > 0 {
        said.push_str(&format!(", {} missed", h.missed));
    }
    said
}

/// What would become of the flow if `side` died.
pub(super) fn exposed(flow: &FlowSummary, side: Side) -> String {
    let exposure = &flow.exposure[side];
    let other = side.peer().name();
    let how = match exposure.noticed_by {
        NoticedBy::None => "",
        NoticedBy::Keepalive => ", by keepalive",
        NoticedBy::Heartbeat => ", by heartbeat",
        NoticedBy::Retransmission => ", by retransmission",
    };
    let when = match exposure.worst_case_s {
        Some(s) => format!(" within {}", duration(s)),
        None => String::new(),
    };
    let knows = if exposure.noticed_by == NoticedBy::None { "never knows" } else { "knows" };
    // A note is a sentence of its own about the same side.
    let note = exposure.note.trim_end_matches('.');
    let note = note.strip_prefix(&format!("The {other} ")).map_or_else(|| note.to_owned(), |rest| format!("it {rest}"));
    let note = if note.is_empty() { note } else { format!(": {note}") };
    format!("the {other} {knows}{when}{how}{note}")
}

/// How long the dead side had not been heard; where the capture holds nothing of it, at least since `start`.
fn silence(d: &Death, start: Time, to: Time) -> String {
    match d.last_heard {
        Some(heard) => duration(seconds(to.since(heard))),
        None => format!("at least {}", duration(seconds(to.since(start)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn text(analysis: &Analysis, info: &CaptureInfo, options: TextOptions) -> String {
        let mut out = Vec::new();
        write(&mut out, analysis, info, &options).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_first_line_answers() {
        let (analysis, info) = sample::analysis();
        let text = text(&analysis, &info, TextOptions::default());
        assert_eq!(
            text.lines().next().unwrap(),
            "The client took the server for dead 5.1 s after last hearing it, by keepalive probes \
             (10.9.0.1:48796 → 10.9.0.2:5000, one of 2 flows)."
        );
        assert!(text.contains("SERVER DEAD"), "{text}");
        assert!(text.contains("3 keepalive probes unanswered, then RST (frames 27 to 30)"), "{text}");
        assert!(text.contains("at 18:20:20.423 (+9.3 s)"), "{text}");
        assert!(text.contains("idle 2 s, every 1 s, 3 tries     5 probes, 2 answered"), "{text}");
        assert!(text.contains("if the client dies"), "{text}");
        assert!(!text.contains("if the server dies"), "it is dead already: {text}");
    }

    #[test]
    fn a_refusal_is_no_death() {
        let mut flow = sample::dead();
        flow.deaths[0].mechanism = Mechanism::KeepaliveReset;
        let told = |flows: Vec<FlowSummary>| {
            text(
                &Analysis { flows: flows.into(), ..Analysis::default() },
                &CaptureInfo::default(),
                TextOptions::default(),
            )
        };
        let one = told(vec![flow.clone()]);
        assert!(
            one.starts_with("The client was refused 5.1 s after last hearing the server, by a reset that"),
            "{one}"
        );
        assert!(
            one.contains("   REFUSED   flow 1\n  refused      client learned that the connection was gone"),
            "{one}"
        );
        assert!(!one.contains("dead peer") && !one.contains("SERVER DEAD"), "{one}");
        let two = told(vec![flow.clone(), flow.clone()]);
        assert!(two.starts_with("A reset refused the connection on 2 of 2 flows; noticed 2 times"), "{two}");
        let mixed = told(vec![flow, sample::dead()]);
        assert!(mixed.starts_with("A peer was dead or refused the connection on 2 of 2 flows"), "{mixed}");
    }

    #[test]
    fn an_answer_in_the_capture_did_not_always_arrive() {
        let mut flow = sample::dead();
        if let Some(probes) = &mut flow.keepalive[Side::Client] {
            (probes.count, probes.probes, probes.answered) = (Some(3), 5, 5);
        }
        let analysis = Analysis { flows: vec![flow].into(), ..Analysis::default() };
        let text = text(&analysis, &CaptureInfo::default(), TextOptions::default());
        assert!(text.contains("3 keepalive probes without an answer that reached it, then RST"), "{text}");
    }

    #[test]
    fn what_is_many_is_counted() {
        let mut flows: Vec<_> = (1..=200).map(sample::quiet).collect();
        let analysis = Analysis { flows: flows.clone().into(), ..Analysis::default() };
        let short = text(&analysis, &CaptureInfo::default(), TextOptions::default());
        assert!(short.contains("200 flows with nothing to tell"), "{short}");
        assert!(short.lines().count() < 10, "{short}");
        for flow in &mut flows {
            flow.keepalive[Side::Client] = Some(sample::probes());
        }
        let analysis = Analysis { flows: flows.into(), ..Analysis::default() };
        let short = text(&analysis, &CaptureInfo::default(), TextOptions::default());
        assert!(short.contains("… and 180 more that are watched"), "{short}");
        let long = text(&analysis, &CaptureInfo::default(), TextOptions { all: true, ..TextOptions::default() });
        assert_eq!(long.matches(" → ").count(), 200);
    }

    #[test]
    fn what_nobody_watches_is_told_in_a_line() {
        let mut flow = sample::quiet(1);
        flow.longest_payload_silence = 7200 * crate::packet::SECOND;
        crate::liveness::verdict::conclude(&mut flow, &crate::liveness::verdict::Context::default());
        let analysis = Analysis { flows: vec![flow].into(), ..Analysis::default() };
        let text = text(&analysis, &CaptureInfo::default(), TextOptions::default());
        assert!(text.starts_with("No dead peer on 1 flow; on 1 a side could die and nobody would know."), "{text}");
        assert!(text.contains("UNWATCHED   idle for up to 2 h; neither side would notice the other's death"), "{text}");
        assert!(text.contains("SO_KEEPALIVE"), "{text}");
    }

    /// Rules as in POSIX, so that the test needs no zone files: the sample begins at 18:20:11 UTC on 2026-11-22.
    #[test]
    fn times_are_told_by_the_clock_asked_for() {
        let (analysis, info) = sample::analysis();
        let zone = Some(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap());
        let local = text(&analysis, &info, TextOptions { zone, ..TextOptions::default() });
        assert!(local.contains("2026-11-22 19:20:11.123 to ") && local.contains(" CET ("), "{local}");
        assert!(local.contains("at 19:20:20.423 (+9.3 s)"), "{local}");
        let utc = text(&analysis, &info, TextOptions::default());
        assert!(utc.contains("2026-11-22 18:20:11.123 to ") && utc.contains(" UTC ("), "{utc}");
    }

    #[test]
    fn names_stand_for_addresses_where_they_are_wanted() {
        let (analysis, info) = sample::analysis();
        let mut names = Names::default();
        names.learn([("10.9.0.2".parse().unwrap(), "db1".to_owned())]);
        let named = text(&analysis, &info, TextOptions { names: Some(names), ..TextOptions::default() });
        assert!(named.contains("(10.9.0.1:48796 → db1:5000, one of 2 flows)"), "{named}");
        assert!(named.contains("\n10.9.0.1:48796 → db1:5000   9.3 s"), "{named}");
        assert!(named.contains("  addresses    10.9.0.1:48796 → 10.9.0.2:5000\n"), "{named}");
    }

    #[test]
    fn colour_only_when_told_and_nothing_else_escapes() {
        let (analysis, mut info) = sample::analysis();
        info.sources = vec!["a\u{1b}]0;x\u{7}.pcap".into()];
        let plain = text(&analysis, &info, TextOptions::default());
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
        let colored = text(&analysis, &info, TextOptions { all: true, color: true, ..TextOptions::default() });
        assert!(colored.contains("\u{1b}[1;31m"));
    }
}
