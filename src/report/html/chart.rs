//! A flow's timeline as a picture: SVG inside the page, as wide as the page, to scale in time.
//!
//! Places along the line of time are percentages, so that the picture fits a phone and letters keep their size; symbols
//! are defined once and used by name.

use std::io::{self, Write};

use super::escape::Escaped;
use crate::packet::{Nanos, Time, nanos, seconds};
use crate::phrase::{count, duration};
use crate::report::state::is_refusal;
use crate::report::text::Clock;
use crate::summary::{Death, End, FlowSummary, Side};
use crate::timeline::{Mark, MarkKind, Timeline};

/// Marks drawn in one picture; where there are more, those that lie closest to others are left out.
const MAX_DRAWN: usize = 240;
/// Marks of one kind closer together than this, percent, would hide each other.
const APART: f64 = 0.4;
/// The least width of a stretch, percent.
const SEEN: f64 = 0.15;
/// Deaths whose moments are named in a picture: a flow has at most one for each side.
const NAMED_DEATHS: usize = 2;
/// Up to so many spans between the ticks of the axis.
const TICKS: i64 = 8;

/// Heights: of a row of words, and below those rows of each side's line, the axis and the end.
const ROW: u32 = 18;
const LANES: [u32; 2] = [34, 82];
const AXIS: u32 = 106;
const BOTTOM: u32 = 142;

/// All kinds of marks; those that say most are drawn last, on top.
pub const KINDS: [Kind; 11] = [
    Kind { mark: MarkKind::ProbeAnswer, id: "answer", name: "answer to a keepalive probe" },
    Kind { mark: MarkKind::WindowAnswer, id: "window-answer", name: "answer to a probe of the window" },
    Kind { mark: MarkKind::Reply, id: "reply", name: "reply to a heartbeat" },
    Kind { mark: MarkKind::Probe { answered: true }, id: "probe", name: "keepalive probe, answered" },
    Kind { mark: MarkKind::Beat, id: "beat", name: "heartbeat" },
    Kind { mark: MarkKind::WindowProbe { answered: true }, id: "window", name: "probe of a closed window, answered" },
    Kind {
        mark: MarkKind::WindowProbe { answered: false },
        id: "window-lost",
        name: "probe of a closed window, unanswered",
    },
    Kind { mark: MarkKind::Retransmission, id: "resend", name: "retransmission" },
    Kind { mark: MarkKind::Missed, id: "missed", name: "heartbeat that did not come" },
    Kind { mark: MarkKind::Probe { answered: false }, id: "lost", name: "keepalive probe, unanswered" },
    Kind { mark: MarkKind::End(End::Open), id: "end", name: "end of the connection" },
];

/// A kind of mark as it is drawn and named.
pub struct Kind {
    mark: MarkKind,
    /// Its symbol.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
}

impl Kind {
    /// The kind of a mark.
    pub fn of(kind: MarkKind) -> &'static Kind {
        let like = |k: &&Kind| match kind {
            MarkKind::End(_) => matches!(k.mark, MarkKind::End(_)),
            other => k.mark == other,
        };
        KINDS.iter().find(like).unwrap_or(&KINDS[0])
    }
}

/// What the pictures share, once in a page: kinds differ by shape, not by colour alone.
pub const SYMBOLS: &str = "<svg class=\"symbols\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>\n\
<g id=\"m-answer\"><circle r=\"2.5\" class=\"answer\"/></g>\n\
<g id=\"m-window-answer\"><path d=\"M-2.5 -2.5h5v5h-5z\" class=\"window\"/></g>\n\
<g id=\"m-reply\"><path d=\"M0 -4.5l4 4.5l-4 4.5l-4 -4.5z\" class=\"reply\"/></g>\n\
<g id=\"m-probe\"><circle r=\"5\" class=\"probe\"/></g>\n\
<g id=\"m-beat\"><path d=\"M0 -6.5l5.5 6.5l-5.5 6.5l-5.5 -6.5z\" class=\"beat\"/></g>\n\
<g id=\"m-window\"><path d=\"M-4.5 -4.5h9v9h-9z\" class=\"window-probe\"/></g>\n\
<g id=\"m-window-lost\"><path d=\"M-4.5 -4.5h9v9h-9z\" class=\"window-probe\"/>\
<path d=\"M-4.5 -4.5l9 9m0 -9l-9 9\" class=\"window-cross\"/></g>\n\
<g id=\"m-resend\"><path d=\"M0 -6.5l6 11h-12z\" class=\"resend\"/></g>\n\
<g id=\"m-missed\"><path d=\"M0 -7.5l6.5 7.5l-6.5 7.5l-6.5 -7.5z\" class=\"missed\"/></g>\n\
<g id=\"m-lost\"><circle r=\"6\" class=\"lost\"/><path d=\"M-3 -3l6 6m0 -6l-6 6\" class=\"cross\"/></g>\n\
<g id=\"m-end\"><path d=\"M0 -9v18\" class=\"end\"/></g>\n\
<pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<path d=\"M0 0v6\" class=\"hatch\"/></pattern>\n\
<filter id=\"paper\" x=\"-2%\" y=\"0\" width=\"104%\" height=\"1\"><feFlood class=\"paper\"/>\
<feComposite in=\"SourceGraphic\"/></filter>\n\
</defs></svg>\n";

/// The words of the legend that are no marks: a shape of 18 by 18, and what it means.
pub const BANDS: [(&str, &str); 6] = [
    ("<rect class=\"life\" x=\"0\" y=\"8\" width=\"18\" height=\"2\"/>", "the connection, while it lasted"),
    ("<rect class=\"data\" x=\"2\" y=\"5\" width=\"14\" height=\"8\"/>", "data"),
    ("<rect class=\"silence\" width=\"18\" height=\"18\"/>", "the dead side was silent, and the other did not know it"),
    (
        "<rect class=\"cut\" width=\"18\" height=\"18\"/>",
        "it fell silent somewhere in here: from last heard to the first packet left unanswered",
    ),
    (
        "<rect class=\"doubt\" x=\"1\" y=\"1\" width=\"16\" height=\"16\"/>",
        "how far the computed moment of the verdict can be off",
    ),
    ("<rect class=\"gap\" width=\"18\" height=\"18\"/>", "marks left out"),
];

/// A stretch of time as a line of 100 percent.
#[derive(Clone, Copy)]
pub struct Scale {
    /// The first moment.
    pub from: Time,
    /// The last.
    pub to: Time,
}

impl Scale {
    /// From a flow's first packet to all that is known of it.
    pub fn whole(flow: &FlowSummary, timeline: &Timeline, capture_end: Time) -> Self {
        let mut to = timeline.marks().last().map_or(flow.last, |m| m.time.max(flow.last));
        if flow.end == End::Open || flow.deaths.iter().any(|d| d.detected_at.is_none()) {
            to = to.max(capture_end);
        }
        for death in &flow.deaths {
            to = to.max(death.detected_at.map_or(to, |at| at.plus(death.uncertainty)));
        }
        Scale { from: flow.first, to: to.max(flow.first.plus(1)) }
    }

    /// The last death from nearby, if in this picture it is too narrow to be seen.
    pub fn closer(self, flow: &FlowSummary) -> Option<Scale> {
        const NARROW: Nanos = 6;
        let death = flow.deaths.last()?;
        let (heard, at) = (death.last_heard?, death.detected_at.unwrap_or(self.to));
        let span = at.since(heard).saturating_add(death.uncertainty);
        let from = heard.plus(-span / 2).max(self.from);
        let to = at.plus(death.uncertainty).plus(span / 4).min(self.to);
        (span > 0 && span < self.span() / NARROW && to > from).then_some(Scale { from, to })
    }

    fn span(self) -> Nanos {
        self.to.since(self.from).max(1)
    }

    /// Its length in words.
    pub fn length(self) -> String {
        duration(seconds(self.span()))
    }

    fn x(self, at: Time) -> f64 {
        (at.since(self.from) as f64 / self.span() as f64).clamp(0.0, 1.0) * 100.0
    }

    fn shows(self, at: Time) -> bool {
        (self.from..=self.to).contains(&at)
    }

    /// A round span between ticks.
    fn step(self) -> Nanos {
        const ROUND: [i64; 21] = [
            1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800,
            432_000, 864_000,
        ];
        let wanted = seconds(self.span()) / TICKS as f64;
        let decimal = |unit: f64| {
            let power = 10f64.powf((wanted / unit).log10().floor());
            [1.0, 2.0, 5.0, 10.0].map(|n| n * power * unit).into_iter().find(|s| *s >= wanted).unwrap_or(wanted)
        };
        let round = || ROUND.into_iter().map(|s| s as f64).find(|s| *s >= wanted);
        let step = if wanted <= 1.0 { decimal(1.0) } else { round().unwrap_or_else(|| decimal(86_400.0)) };
        nanos(step).max(1)
    }
}

/// After which moments a side fell silent: when it was last heard, and the first packet that it left unanswered, if one
/// was sent to it.
pub fn cut(death: &Death, timeline: &Timeline) -> Option<(Time, Option<Time>)> {
    let heard = death.last_heard?;
    let other = death.dead.peer();
    let asks = |m: &&Mark| {
        use MarkKind::{Beat, Probe, Retransmission, WindowProbe};
        m.from == other
            && m.time > heard
            && matches!(m.kind, Probe { answered: false } | WindowProbe { answered: false } | Retransmission | Beat)
    };
    let asked = timeline.marks().iter().find(asks).map(|m| m.time);
    let sent = timeline.data(other).iter().find(|(first, _)| *first > heard).map(|(first, _)| *first);
    let first = asked.into_iter().chain(sent).chain(death.detected_at).min();
    // A clock that stepped back may set the verdict before the moment it rests on.
    Some((heard, first.filter(|at| *at > heard)))
}

/// A moment with a line and words of its own row.
struct Moment {
    x: f64,
    class: &'static str,
    words: String,
    when: String,
}

/// A flow's picture.
pub struct Chart<'a> {
    /// The flow.
    pub flow: &'a FlowSummary,
    /// Its marks.
    pub timeline: &'a Timeline,
    /// What it shows of time.
    pub scale: Scale,
    /// Its first and last moment as a clock shows them.
    pub clocks: [Clock; 2],
    /// Sets the names inside it apart from those of other pictures.
    pub id: &'a str,
    /// The picture in a sentence or two.
    pub title: &'a str,
}

impl Chart<'_> {
    /// Draws it; gives the number of marks in its span that are not drawn, for they would have hidden others.
    ///
    /// # Errors
    /// What `out` says.
    pub fn draw(&self, out: &mut impl Write) -> io::Result<u64> {
        let moments = self.moments();
        let top = moments.len() as u32 * ROW;
        let (lanes, axis) = (LANES.map(|y| y + top), AXIS + top);
        let id = self.id;
        writeln!(
            out,
            "<svg class=\"chart\" height=\"{}\" role=\"img\" aria-labelledby=\"{id}-title\">\n\
             <title id=\"{id}-title\">{}</title>",
            BOTTOM + top,
            Escaped(self.title)
        )?;
        self.bands(out, top, axis)?;
        self.axis(out, top, axis)?;
        for (side, y) in Side::BOTH.into_iter().zip(lanes) {
            self.lane(out, side, y)?;
        }
        let hidden = self.marks(out, lanes)?;
        for (row, moment) in moments.iter().enumerate() {
            moment.draw(out, row as u32 * ROW, axis)?;
        }
        writeln!(out, "</svg>")?;
        Ok(hidden)
    }

    fn band(
        &self,
        out: &mut impl Write,
        class: &str,
        (from, to): (Time, Time),
        (y, end): (u32, u32),
    ) -> io::Result<()> {
        if to < self.scale.from || from > self.scale.to {
            return Ok(());
        }
        let (a, b) = (self.scale.x(from), self.scale.x(to));
        let height = end.saturating_sub(y);
        // What has no extent must still be seen.
        let width = (b - a).max(SEEN);
        writeln!(out, "<rect class=\"{class}\" x=\"{a:.2}%\" y=\"{y}\" width=\"{width:.2}%\" height=\"{height}\"/>")
    }

    fn bands(&self, out: &mut impl Write, top: u32, axis: u32) -> io::Result<()> {
        let lanes = (top + 4, axis);
        if let Some(gap) = self.timeline.gap() {
            self.band(out, "gap", gap, lanes)?;
        }
        for death in self.flow.deaths.iter().take(NAMED_DEATHS) {
            let until = death.detected_at.unwrap_or(self.scale.to);
            if let Some(heard) = death.last_heard {
                self.band(out, "silence", (heard, until), lanes)?;
            }
            if let Some((heard, Some(first))) = cut(death, self.timeline) {
                self.band(out, "cut", (heard, first), lanes)?;
            }
            if let (Some(at), 1..) = (death.detected_at, death.uncertainty) {
                self.band(out, "doubt", (at.plus(-death.uncertainty), at.plus(death.uncertainty)), lanes)?;
            }
        }
        Ok(())
    }

    fn axis(&self, out: &mut impl Write, top: u32, axis: u32) -> io::Result<()> {
        let (step, first) = (self.scale.step(), self.flow.first);
        let offset = self.scale.from.since(first);
        let from = offset.div_euclid(step) + i64::from(offset.rem_euclid(step) > 0);
        for n in from..=from.saturating_add(TICKS + 1) {
            let at = first.plus(n.saturating_mul(step));
            if at > self.scale.to {
                break;
            }
            let x = self.scale.x(at);
            let (anchor, dx) = anchor_at_ends(x);
            let odd = if n % 2 == 0 { "tick" } else { "tick odd" };
            writeln!(
                out,
                "<line class=\"grid\" x1=\"{x:.2}%\" y1=\"{}\" x2=\"{x:.2}%\" y2=\"{}\"/>\
                 <text class=\"{odd}\" x=\"{x:.2}%\" y=\"{}\" dx=\"{dx}\" text-anchor=\"{anchor}\">{}</text>",
                top + 4,
                axis + 4,
                axis + 18,
                duration(seconds(n.saturating_mul(step)))
            )?;
        }
        let [begin, end] = &self.clocks;
        let end_date = if begin.date == end.date { String::new() } else { format!("{} ", end.date) };
        writeln!(
            out,
            "<line class=\"axis\" x1=\"0%\" y1=\"{axis}\" x2=\"100%\" y2=\"{axis}\"/>\n\
             <text class=\"clock\" x=\"0%\" y=\"{y}\">{} {}</text>\
             <text class=\"clock\" x=\"100%\" y=\"{y}\" text-anchor=\"end\">{end_date}{} {}</text>",
            begin.date,
            begin.time,
            end.time,
            Escaped(&end.zone),
            y = axis + 33
        )
    }

    /// A side's name, life and data.
    fn lane(&self, out: &mut impl Write, side: Side, y: u32) -> io::Result<()> {
        let end = &self.flow.ends[side];
        writeln!(out, "<text class=\"lane\" x=\"0%\" y=\"{}\">{} {end}</text>", y - 14, side.name())?;
        let last = if self.flow.end == End::Open { self.flow.last.max(self.scale.to) } else { self.flow.last };
        self.band(out, "life", (self.flow.first, last), (y - 1, y + 1))?;
        for &stretch in self.timeline.data(side) {
            self.band(out, "data", stretch, (y - 5, y + 5))?;
        }
        Ok(())
    }

    fn marks(&self, out: &mut impl Write, lanes: [u32; 2]) -> io::Result<u64> {
        let shown: Vec<&Mark> = self.timeline.marks().iter().filter(|m| self.scale.shows(m.time)).collect();
        let mut apart = APART;
        let drawn = loop {
            let drawn = self.apart(&shown, apart);
            if drawn.len() <= MAX_DRAWN {
                break drawn;
            }
            apart *= 1.5;
        };
        for (mark, kind) in &drawn {
            let (x, y) = (self.scale.x(mark.time), lanes[mark.from as usize]);
            let frame = mark.frame.map(|n| format!(", frame {n}")).unwrap_or_default();
            let after = duration(seconds(mark.time.since(self.flow.first)));
            writeln!(
                out,
                "<use href=\"#m-{}\" x=\"{x:.2}%\" y=\"{y}\"><title>{after}, {}: {}{frame}</title></use>",
                kind.id,
                mark.from.name(),
                kind.name
            )?;
        }
        Ok((shown.len() - drawn.len()) as u64)
    }

    /// The marks of which none lies closer than this to another of its kind on its line, those to draw on top last.
    fn apart<'m>(&self, marks: &[&'m Mark], apart: f64) -> Vec<(&'m Mark, &'static Kind)> {
        let mut kept = Vec::new();
        for kind in &KINDS {
            let mut last = [f64::NEG_INFINITY; 2];
            for mark in marks.iter().copied().filter(|m| std::ptr::eq(Kind::of(m.kind), kind)) {
                let x = self.scale.x(mark.time);
                let last = &mut last[mark.from as usize];
                if x - *last >= apart {
                    *last = x;
                    kept.push((mark, kind));
                }
            }
        }
        kept
    }

    /// The moments of the deaths; those to the right come in upper rows, so that their lines cross no other's words.
    fn moments(&self) -> Vec<Moment> {
        let mut moments = Vec::new();
        let mut add = |at: Time, class, words: String, timed: bool| {
            if self.scale.shows(at) {
                let after = format!(" at {}", duration(seconds(at.since(self.flow.first))));
                let when = if timed { after } else { String::new() };
                moments.push(Moment { x: self.scale.x(at), class, words, when });
            }
        };
        for death in self.flow.deaths.iter().take(NAMED_DEATHS) {
            let dead = death.dead.name();
            match (death.detected_by, death.detected_at) {
                (Some(by), Some(at)) => add(at, "verdict", verdict(by, death), true),
                (Some(by), None) => add(self.scale.to, "verdict", format!("{} still trying", by.name()), false),
                (None, _) => add(self.scale.to, "verdict", "nobody has noticed".into(), false),
            }
            if let Some((heard, first)) = cut(death, self.timeline) {
                if let Some(first) = first.filter(|at| death.detected_at != Some(*at)) {
                    add(first, "unanswered", "first unanswered".into(), true);
                }
                add(heard, "heard", format!("{dead} last heard"), true);
            }
        }
        moments.sort_by(|a, b| b.x.total_cmp(&a.x));
        moments
    }
}

fn verdict(by: Side, death: &Death) -> String {
    let (by, dead) = (by.name(), death.dead.name());
    match death.mechanism {
        mechanism if is_refusal(mechanism) => format!("{by} is refused"),
        _ => format!("{by} gives up on {dead}"),
    }
}

impl Moment {
    fn draw(&self, out: &mut impl Write, y: u32, axis: u32) -> io::Result<()> {
        let Moment { x, class, words, when } = self;
        let (anchor, dx) = if *x > 50.0 { ("end", -5) } else { ("start", 5) };
        writeln!(
            out,
            "<text class=\"moment {class}\" x=\"{x:.2}%\" y=\"{}\" dx=\"{dx}\" text-anchor=\"{anchor}\">{words}<tspan \
             class=\"when\">{when}</tspan></text>\
             <line class=\"{class}\" x1=\"{x:.2}%\" y1=\"{}\" x2=\"{x:.2}%\" y2=\"{axis}\"/>",
            y + 13,
            y + 2
        )
    }
}

/// How a tick's words stand so that they do not leave the picture.
fn anchor_at_ends(x: f64) -> (&'static str, i32) {
    match x {
        x if x < 4.0 => ("start", 0),
        x if x > 96.0 => ("end", 0),
        _ => ("middle", 0),
    }
}

/// What a picture shows, for those who do not see it.
pub fn in_words(flow: &FlowSummary, timeline: &Timeline, scale: Scale) -> String {
    let mut said = format!("Timeline of flow {}, {}.", flow.id, scale.length());
    for side in Side::BOTH {
        let mut parts = Vec::new();
        let stretches = timeline.data(side).iter().filter(|(a, b)| *b >= scale.from && *a <= scale.to).count();
        if stretches > 0 {
            parts.push(format!("data at {}", count(stretches as u64, "time")));
        }
        for kind in &KINDS {
            let is = |m: &&Mark| m.from == side && scale.shows(m.time) && std::ptr::eq(Kind::of(m.kind), kind);
            match timeline.marks().iter().filter(is).count() {
                0 => {}
                1 => parts.push(kind.name.to_owned()),
                n => parts.push(format!("{n} × {}", kind.name)),
            }
        }
        if !parts.is_empty() {
            said.push_str(&format!(" {}: {}.", side.name(), parts.join("; ")));
        }
    }
    said
}
