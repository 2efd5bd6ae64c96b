//! `--html`: the report as one page that needs nothing else, neither network nor script: the answer first, then the flows
//! that matter, worst first, each as a timeline to scale and in words.
//!
//! The page is valid both as HTML and as XML. Its size is bounded, whatever the capture: so many flows are drawn, so many
//! more are listed, and it says how many there are besides.

mod chart;
mod escape;

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::CaptureInfo;
use super::state::{State, Tone};
use super::text::{self, Group, Groups, Noticed, Text, TextOptions};
use crate::analysis::{Analysis, Flows};
use crate::explain::{Place, TERMS};
use crate::packet::{Nanos, seconds};
use crate::phrase::{count, duration};
use crate::summary::{Basis, Death, End, FlowSummary, Severity, Side};
use crate::timeline::{Timeline, Timelines};
use chart::{Chart, Kind, Scale};
use escape::Escaped;

/// Flows that are drawn: with a dead peer, with a warning, on which a side could die unnoticed, watched, and others.
const DRAWN: [usize; 5] = [24, 10, 6, 4, 2];
/// Flows that are listed besides, in a line each.
const LISTED: [usize; 5] = [200, 100, 100, 50, 0];
/// Lines of a flow's list of events: its last ones, for there the verdict is.
const ROWS: usize = 60;

const STYLE: &str = include_str!("style.css");

/// What a page begins with until all of it is written: a comment that does not end, so that half a page shows nothing.
pub const GUARD: &[u8] = b"<!-- This report was not written to its end.      ";

/// Nothing is loaded and nothing runs, and the browser sees to it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Writes the page.
///
/// # Errors
/// What `out` says.
pub fn write(
    out: &mut impl Write,
    analysis: &Analysis,
    info: &CaptureInfo,
    options: &TextOptions,
    timelines: &Timelines,
) -> io::Result<()> {
    let groups = Groups::new(analysis, std::array::from_fn(|i| DRAWN[i] + LISTED[i]), badness);
    let (mut nowhere, words) = (io::sink(), BTreeSet::new());
    let text = Text::new(&mut nowhere, analysis, options, &groups);
    let mut page = Page { out, timelines, text, words };
    page.head(&groups, analysis, info)?;
    let dead_title = match groups.noticed.refused {
        0 => "A peer was dead",
        n if n == groups.dead.count => "The connection was refused",
        _ => "A peer was dead or refused the connection",
    };
    let sections = [
        (&groups.dead, dead_title, "with a dead peer"),
        (&groups.warned, "Something to change", "with a warning"),
        (&groups.blind, "Nobody would notice", "on which a side could die and the other would never know"),
        (&groups.healthy, "Watched", "that are watched"),
        (&groups.plain, "Nothing to tell", "with nothing to tell"),
    ];
    let places = sections.iter().zip(DRAWN).flat_map(|((group, ..), n)| group.places().take(n));
    let drawn: Vec<FlowSummary> = places.map(|place| analysis.flows.tell(place)).collect();
    page.contents(&drawn)?;
    page.legend(&drawn)?;
    let mut rest = drawn.as_slice();
    for ((group, title, kind), n) in sections.into_iter().zip(DRAWN) {
        let (drawn, others) = rest.split_at(group.places().len().min(n));
        page.section(group, &analysis.flows, drawn, title, kind)?;
        rest = others;
    }
    page.glossary()?;
    writeln!(
        page.out,
        "</main>\n<footer><p>Written by hbsniff {}.</p></footer>\n</body>\n</html>",
        env!("CARGO_PKG_VERSION")
    )
}

/// How bad a flow is among those of its group: first what nobody had noticed, then what took longest to be; without a
/// death, errors before warnings, and the longest silence first.
fn badness(flow: &FlowSummary) -> Nanos {
    const UNNOTICED: Nanos = Nanos::MAX / 2;
    let death = |d: &Death| match d.basis {
        _ if d.detected_by.is_none() => Nanos::MAX,
        Basis::CaptureEnded => UNNOTICED,
        _ => d.detection().unwrap_or(0).min(UNNOTICED - 1),
    };
    let silence = flow.longest_payload_silence.clamp(0, UNNOTICED - 1);
    let finding = if severity(flow) == Some(Severity::Error) { UNNOTICED } else { 0 };
    flow.deaths.iter().map(death).max().unwrap_or(silence + finding)
}

fn severity(flow: &FlowSummary) -> Option<Severity> {
    flow.findings.iter().map(|f| f.severity).max()
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Bad => "bad",
        Tone::Doubtful => "doubtful",
        Tone::Good => "good",
    }
}

struct Page<'a, W> {
    out: &'a mut W,
    timelines: &'a Timelines,
    /// Only its words: it writes nowhere.
    text: Text<'a, io::Sink>,
    /// Words that the page uses and explains at its end; whether each is a finding's, else it is a mechanism's.
    words: BTreeSet<(&'static str, bool)>,
}

impl<W: Write> Page<'_, W> {
    fn head(&mut self, groups: &Groups, analysis: &Analysis, info: &CaptureInfo) -> io::Result<()> {
        let (tone, answer) = self.text.answer(groups);
        let answer = Escaped(&answer);
        writeln!(
            self.out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{}\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n\
             <title>{answer}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{}\
             <header>\n<h1 class=\"{}\">{answer}</h1>\n<p>{}</p>",
            Escaped(POLICY),
            chart::SYMBOLS,
            class(tone),
            Escaped(&self.text.read(analysis, &groups.sum, info))
        )?;
        for warning in text::warnings(analysis, info) {
            writeln!(self.out, "<p class=\"doubtful\"><strong>Warning:</strong> {}</p>", Escaped(&warning))?;
        }
        if let Some(held) = text::confined(info) {
            writeln!(self.out, "<p>{}</p>", Escaped(&text::capital(&held)))?;
        }
        writeln!(self.out, "</header>\n<main>")?;
        let sum = &groups.sum;
        let figures = [
            (sum.flows, if sum.flows == 1 { "connection" } else { "connections" }),
            (sum.dead_peers, "with a dead peer"),
            (sum.unprotected, "unprotected"),
            (sum.with_keepalive, "with keepalive"),
            (sum.with_heartbeat, "with heartbeats"),
        ];
        writeln!(self.out, "<ul class=\"figures\" aria-label=\"In figures\">")?;
        for (n, what) in figures {
            writeln!(self.out, "<li><strong>{n}</strong> {what}</li>")?;
        }
        writeln!(self.out, "</ul>")?;
        if groups.dead.count > 1 {
            self.mechanisms(groups)?;
        }
        Ok(())
    }

    /// How deaths were noticed.
    fn mechanisms(&mut self, groups: &Groups) -> io::Result<()> {
        writeln!(
            self.out,
            "<table>\n<caption>How dead peers were noticed</caption>\n<thead><tr><th scope=\"col\">by</th>\
             <th scope=\"col\" class=\"number\">deaths</th><th scope=\"col\">noticed after</th></tr></thead>\n<tbody>"
        )?;
        for (&mechanism, Noticed { deaths, times, least, most, open, .. }) in &groups.mechanisms {
            let [least, most] = [least, most].map(|span| duration(seconds(*span)));
            let after = match times {
                0 if *open > 0 => "not before the capture ended".to_owned(),
                0 => "not known".to_owned(),
                1 => least,
                _ if least == most => least,
                _ => format!("{least} to {most}"),
            };
            let open = match (times, open) {
                (0, _) | (_, 0) => String::new(),
                _ => format!("; {open} not before the capture ended"),
            };
            let word = self.word(mechanism, Place::Mechanism);
            writeln!(self.out, "<tr><td>{word}</td><td class=\"number\">{deaths}</td><td>{after}{open}</td></tr>")?;
        }
        writeln!(self.out, "</tbody>\n</table>")
    }

    /// The flows drawn, as links.
    fn contents(&mut self, drawn: &[FlowSummary]) -> io::Result<()> {
        if drawn.len() < 3 {
            return Ok(());
        }
        writeln!(self.out, "<nav aria-labelledby=\"contents\">\n<h2 id=\"contents\">Drawn on this page</h2>\n<ol>")?;
        for flow in drawn {
            let state = State::of(flow);
            writeln!(
                self.out,
                "<li><a href=\"#flow-{}\">{}</a> <span class=\"state {}\">{state}</span></li>",
                flow.id,
                Escaped(&self.text.ends(flow)),
                class(state.tone())
            )?;
        }
        writeln!(self.out, "</ol>\n</nav>")
    }

    /// What the pictures are made of, as far as it occurs.
    fn legend(&mut self, drawn: &[FlowSummary]) -> io::Result<()> {
        let marks = || drawn.iter().filter_map(|flow| self.timelines.of(flow.id)).flat_map(Timeline::marks);
        let used: BTreeSet<&str> = marks().map(|mark| Kind::of(mark.kind).id).collect();
        if drawn.is_empty() {
            return Ok(());
        }
        writeln!(
            self.out,
            "<details class=\"legend\" open=\"open\">\n<summary>What the pictures show</summary>\n<ul>"
        )?;
        for kind in chart::KINDS.iter().rev().filter(|kind| used.contains(kind.id)) {
            let symbol = format!("<use href=\"#m-{}\" x=\"9\" y=\"9\"/>", kind.id);
            self.explained(&symbol, kind.name)?;
        }
        let has = |what: &dyn Fn(&FlowSummary) -> bool| drawn.iter().any(what);
        let died = has(&|f| !f.deaths.is_empty());
        let unsure = has(&|f| f.deaths.iter().any(|d| d.uncertainty > 0));
        let thinned = has(&|f| self.timelines.of(f.id).is_some_and(|t| t.gap().is_some()));
        for ((shape, what), shown) in chart::BANDS.into_iter().zip([true, true, died, died, unsure, thinned]) {
            if shown {
                self.explained(shape, what)?;
            }
        }
        writeln!(
            self.out,
            "</ul>\n<p>Each side's doings stand on its own line, and time runs to scale, counted from the connection's \
             first packet. A mark tells its time and frame when pointed at, and below each picture the same stands as a \
             list.</p>\n</details>"
        )
    }

    /// A line of the legend.
    fn explained(&mut self, shape: &str, what: &str) -> io::Result<()> {
        writeln!(self.out, "<li><svg width=\"18\" height=\"18\" aria-hidden=\"true\">{shape}</svg> {what}</li>")
    }

    fn section(
        &mut self,
        group: &Group,
        flows: &Flows,
        drawn: &[FlowSummary],
        title: &str,
        kind: &str,
    ) -> io::Result<()> {
        if group.count == 0 {
            return Ok(());
        }
        writeln!(self.out, "<section>\n<h2>{title} <small>{}</small></h2>", count(group.count, "flow"))?;
        drawn.iter().try_for_each(|flow| self.flow(flow))?;
        let listed = group.places().skip(drawn.len());
        if let n @ 1.. = listed.len() {
            let which = if n + drawn.len() == group.count as usize {
                format!("{n} more {kind}")
            } else {
                format!("The next {n} {kind}")
            };
            writeln!(self.out, "<details>\n<summary>{which}, in a line each</summary>\n<ul class=\"listed\">")?;
            for place in listed {
                let flow = &flows.tell(place);
                let state = State::of(flow);
                writeln!(
                    self.out,
                    "<li id=\"flow-{}\">{} <span class=\"state {}\">{state}</span> <small>flow {}</small> {}</li>",
                    flow.id,
                    Escaped(&self.text.ends(flow)),
                    class(state.tone()),
                    flow.id,
                    Escaped(&self.brief(flow))
                )?;
            }
            writeln!(self.out, "</ul>\n</details>")?;
        }
        let hidden = group.count - group.places().len() as u64;
        if hidden > 0 {
            let codes = group.hidden_codes(flows);
            let are = if hidden == 1 { "is" } else { "are" };
            let codes = if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) };
            writeln!(
                self.out,
                "<p class=\"rest\">{hidden} more {kind}{} {are} not on this page: <code>hbsniff --all</code> or \
                 <code>--json</code> tells of all.</p>",
                Escaped(&codes)
            )?;
        }
        writeln!(self.out, "</section>")
    }

    /// A flow in a line.
    fn brief(&self, flow: &FlowSummary) -> String {
        let deaths: Vec<String> = flow.deaths.iter().map(|d| text::capital(&self.text.verdict(d))).collect();
        if !deaths.is_empty() {
            return deaths.join("; ") + ".";
        }
        let worst = flow.findings.iter().filter(|f| f.severity >= Severity::Warning).max_by_key(|f| f.severity);
        worst.map_or_else(|| watches(flow).join("; "), |finding| finding.message.to_string())
    }

    fn flow(&mut self, flow: &FlowSummary) -> io::Result<()> {
        let id = flow.id;
        let state = State::of(flow);
        let packets: u64 = flow.traffic.0.iter().map(|t| t.packets).sum();
        let lasted = self.text.age(flow);
        writeln!(
            self.out,
            "<article id=\"flow-{id}\" aria-labelledby=\"name-{id}\">\n<h3 id=\"name-{id}\">{} \
             <span class=\"state {}\">{state}</span></h3>\n<p class=\"meta\">flow {id}, {}, {lasted}</p>",
            Escaped(&self.text.ends(flow)),
            class(state.tone()),
            count(packets, "packet")
        )?;
        let (timelines, let_go) = (self.timelines, Timeline::default());
        let timeline = timelines.of(id).unwrap_or(&let_go);
        for death in &flow.deaths {
            self.death(flow, death, timeline)?;
        }
        self.pictures(flow, timeline)?;
        self.findings(flow)?;
        self.facts(flow)?;
        self.events(flow, timeline)?;
        writeln!(self.out, "</article>")
    }

    fn death(&mut self, flow: &FlowSummary, death: &Death, timeline: &Timeline) -> io::Result<()> {
        // Counted from the flow's first packet, as in its picture.
        let start = std::mem::replace(&mut self.text.start, flow.first);
        let (said, circumstances) = self.text.death(flow, death);
        let said =
            if death.detected_by.is_some() { format!("The {said}.") } else { format!("{}.", text::capital(&said)) };
        writeln!(self.out, "<p class=\"verdict\">{}</p>", Escaped(&said))?;
        let mut more = String::new();
        if let Some((heard, first)) = chart::cut(death, timeline) {
            let (dead, other) = (death.dead.name(), death.dead.peer().name());
            let heard = self.text.moment(heard);
            more = match first {
                Some(first) if death.detected_at == Some(first) => {
                    format!("The {dead} was last heard at {heard}. ")
                }
                Some(first) => format!(
                    "The {dead} fell silent between {heard}, when it was last heard, and {}, when the {other} sent the \
                     first packet that it left unanswered. ",
                    self.text.moment(first)
                ),
                None => format!("The {dead} was last heard at {heard}; nothing was sent to it since. "),
            };
        }
        self.text.start = start;
        let rest: Vec<&str> =
            circumstances.iter().map(String::as_str).filter(|c| !c.starts_with("last heard")).collect();
        let rest = if rest.is_empty() { String::new() } else { format!("Verdict {}. ", rest.join("; ")) };
        let word = self.word(death.mechanism.name(), Place::Mechanism);
        writeln!(self.out, "<p class=\"circumstances\">{}{}{word}</p>", Escaped(&more), Escaped(&rest))
    }

    fn pictures(&mut self, flow: &FlowSummary, timeline: &Timeline) -> io::Result<()> {
        let whole = Scale::whole(flow, timeline, self.text.end);
        let mut hidden = 0;
        for (n, scale) in [Some(whole), whole.closer(flow)].into_iter().flatten().enumerate() {
            let id = format!("chart-{}-{n}", flow.id);
            if n > 0 {
                writeln!(self.out, "<p class=\"meta\">The last {} of interest from nearby:</p>", scale.length())?;
            }
            let title = chart::in_words(flow, timeline, scale);
            let clocks = [scale.from, scale.to].map(|at| self.text.clock(at));
            hidden = Chart { flow, timeline, scale, clocks, id: &id, title: &title }.draw(self.out)?;
        }
        let mut left_out = Vec::new();
        if timeline.begins_late() || self.timelines.of(flow.id).is_none() {
            left_out.push("Earlier marks of this connection were let go for the sake of others.".to_owned());
        }
        if let (n @ 1.., Some((from, to))) = (timeline.left_out(), timeline.gap()) {
            let [from, to] = [from, to].map(|at| duration(seconds(at.since(flow.first))));
            left_out.push(format!("{} between {from} and {to} were left out.", count(n, "mark")));
        }
        if hidden > 0 {
            left_out.push(format!("{} not drawn, for they would hide others.", count(hidden, "mark")));
        }
        let pause = Side::BOTH.map(|side| timeline.closed_pauses(side)).into_iter().max().unwrap_or_default();
        if pause > 0 {
            left_out.push(format!("Pauses of data up to {} are not shown.", duration(seconds(pause))));
        }
        if left_out.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "<p class=\"meta\">{}</p>", left_out.join(" "))
    }

    fn findings(&mut self, flow: &FlowSummary) -> io::Result<()> {
        if flow.findings.is_empty() {
            return Ok(());
        }
        let mut findings: Vec<_> = flow.findings.iter().collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        writeln!(self.out, "<h4>What to know and to change</h4>\n<ul class=\"findings\">")?;
        for finding in findings {
            let (tone, label) = match finding.severity {
                Severity::Info => (Tone::Good, "Note"),
                Severity::Warning => (Tone::Doubtful, "Warning"),
                Severity::Error => (Tone::Bad, "Error"),
            };
            let word = self.word(finding.code, Place::Finding);
            writeln!(
                self.out,
                "<li><strong class=\"{}\">{label}:</strong> {} {word}</li>",
                class(tone),
                Escaped(&finding.message)
            )?;
        }
        writeln!(self.out, "</ul>")
    }

    /// Who watches, and what would become of the flow if a side died.
    fn facts(&mut self, flow: &FlowSummary) -> io::Result<()> {
        let mut facts: Vec<(String, String)> = Vec::new();
        for side in Side::BOTH {
            if let Some(keepalive) = &flow.keepalive[side] {
                let probes = count(keepalive.probes, "probe");
                let said = format!("{}; {probes}, {} answered", text::settings(keepalive), keepalive.answered);
                facts.push((format!("keepalive of the {}", side.name()), said));
            }
        }
        for beat in &flow.heartbeats {
            facts.push((text::kind(beat.kind).to_owned(), format!("{}; {}", text::rhythm(beat), text::beats(beat))));
        }
        for side in Side::BOTH {
            if let n @ 1.. = flow.zero_window_probes[side] {
                let (by, of) = (side.name(), side.peer().name());
                facts.push(("window".into(), format!("the {by} probed the {of}'s closed window {}", count(n, "time"))));
            }
        }
        if matches!(flow.end, End::Open | End::DeadPeer) {
            for side in Side::BOTH.into_iter().filter(|&s| flow.deaths.iter().all(|d| d.dead != s)) {
                facts.push((format!("if the {} dies", side.name()), text::exposed(flow, side)));
            }
        }
        if facts.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "<dl>")?;
        for (label, said) in facts {
            writeln!(self.out, "<dt>{}</dt><dd>{}</dd>", Escaped(&label), Escaped(&said))?;
        }
        writeln!(self.out, "</dl>")
    }

    /// The picture as a list.
    fn events(&mut self, flow: &FlowSummary, timeline: &Timeline) -> io::Result<()> {
        let marks = timeline.marks();
        if marks.is_empty() {
            return Ok(());
        }
        let shown = &marks[marks.len().saturating_sub(ROWS)..];
        let all = marks.len() as u64 + timeline.left_out();
        let which = if shown.len() as u64 == all {
            count(all, "event")
        } else {
            format!("The last {} of {all} events", shown.len())
        };
        writeln!(
            self.out,
            "<details>\n<summary>{which} in words</summary>\n<table>\n<thead><tr><th scope=\"col\" \
             class=\"number\">after</th><th scope=\"col\" class=\"number\">frame</th><th scope=\"col\">side</th><th \
             scope=\"col\">what</th></tr></thead>\n<tbody>"
        )?;
        for mark in shown {
            let frame = mark.frame.map(|n| n.to_string()).unwrap_or_default();
            writeln!(
                self.out,
                "<tr><td class=\"number\">{}</td><td class=\"number\">{frame}</td><td>{}</td><td>{}</td></tr>",
                duration(seconds(mark.time.since(flow.first))),
                mark.from.name(),
                Kind::of(mark.kind).name
            )?;
        }
        writeln!(self.out, "</tbody>\n</table>\n</details>")
    }

    /// A word of the report, with a link to what it means.
    fn word(&mut self, word: &'static str, place: Place) -> String {
        self.words.insert((word, place == Place::Finding));
        format!("<a class=\"word\" href=\"#word-{word}\">{word}</a>")
    }

    fn glossary(&mut self) -> io::Result<()> {
        if self.words.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "<section class=\"glossary\">\n<h2>What the words mean, and what to do</h2>")?;
        let place = |finding: bool| if finding { Place::Finding } else { Place::Mechanism };
        for (word, finding) in &self.words {
            let Some(term) = TERMS.iter().find(|t| t.word == *word && t.place == place(*finding)) else { continue };
            writeln!(self.out, "<h3 id=\"word-{word}\">{word}</h3>\n<p>{}</p>", Escaped(term.means))?;
            if !term.remedy.is_empty() {
                writeln!(self.out, "<p><strong>What to do:</strong> {}</p>", Escaped(term.remedy))?;
            }
            writeln!(self.out, "<p class=\"meta\">See {}.</p>", Escaped(&term.sources.join("; ")))?;
        }
        writeln!(self.out, "</section>")
    }
}

/// Who watches, in short.
fn watches(flow: &FlowSummary) -> Vec<String> {
    let keepalive = |side: Side| {
        let settings = flow.keepalive[side].as_ref().map(text::settings)?;
        Some(format!("{} keepalive {settings}", side.name()))
    };
    let beats = flow.heartbeats.iter().map(|h| format!("{} {}", text::kind(h.kind), text::rhythm(h)));
    Side::BOTH.into_iter().filter_map(keepalive).chain(beats).collect()
}
