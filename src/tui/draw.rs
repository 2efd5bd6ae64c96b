//! Draws the screen: the table of flows, the page of one flow, the help. Sixteen colours or none, eighty columns or more.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::app::{App, Overlay, Page};
use super::page;
use super::query::Group;
use super::strip::{self, Cell, Window};
use super::view::{Phase, Row, View};
use crate::packet::{Nanos, SECOND, Time, seconds};
use crate::phrase::{count, duration, printable};
use crate::report::model;
use crate::report::state::{State, Tone};
use crate::summary::{BeatKind, Side};

/// Columns of the state: `CLIENT SILENT`.
const STATE: usize = 13;
/// Columns of a span of time: `23h 59m`.
const SPAN: usize = 7;
/// Columns of the clock: `† 10 s`, `overdue`.
const CLOCK: usize = 8;
/// The least columns of the timelines.
const STRIP: usize = 11;
/// Columns of the rhythms in words, where the screen is as wide as `WIDE`.
const RHYTHM: usize = 30;
const WIDE: usize = 140;
/// Lines below the table about the flow under the cursor, where the screen has `TALL`.
const PREVIEW: u16 = 7;
const TALL: u16 = 20;

const KEYS: &[(&str, &str)] = &[
    ("↑↓ PgUp PgDn", "choose a flow; Home follows the first, whichever it is"),
    ("Enter", "the flow's page: verdicts, rhythm, events"),
    ("Tab, 1 to 7", "a group of flows: all, dead, silent, …"),
    ("/", "filter, such as: :5432 mqtt !dead  (! is not)"),
    ("s, r", "sort by another figure, in reverse"),
    ("p, Space", "pause; the analysis goes on"),
    ("+ -  ← →", "a shorter or longer timeline, earlier or later"),
    ("w", "write the report so far, as text and JSON, to this folder"),
    ("Esc, q", "back; q on the table ends, Ctrl-C anywhere"),
];
/// Columns of a key in the help.
const KEY: usize = 13;

/// How things look: with colours, or by brightness alone.
#[derive(Clone, Copy, Debug)]
pub struct Ink {
    color: bool,
}

impl Ink {
    /// With colours or without.
    #[must_use]
    pub fn new(color: bool) -> Self {
        Ink { color }
    }

    fn colored(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    /// What a tone says.
    #[must_use]
    pub fn tone(self, tone: Tone) -> Style {
        match tone {
            Tone::Bad => self.colored(Color::Red).bold(),
            Tone::Doubtful => self.colored(Color::Yellow),
            Tone::Good => self.colored(Color::Green),
        }
    }

    /// What stands back.
    fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn cell(self, cell: Cell) -> Style {
        match cell {
            Cell::Void | Cell::Quiet | Cell::Fin => self.faint(),
            Cell::Unheard | Cell::Unanswered | Cell::Missed | Cell::Reset | Cell::Dead => self.tone(Tone::Bad),
            Cell::Data => self.colored(Color::Blue),
            Cell::Reply | Cell::Beat => self.colored(Color::Cyan),
            Cell::Probe => self.tone(Tone::Good),
            Cell::WindowProbe | Cell::Resend => self.tone(Tone::Doubtful),
        }
    }
}

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, app: &mut App, ink: Ink) {
    let [title, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(frame.area());
    frame.render_widget(Paragraph::new(heading(app)).style(Style::new().reversed()), title);
    match app.page {
        Page::Table => table(frame, app, ink, body),
        Page::Flow { .. } => flow(frame, app, ink, body),
    }
    frame.render_widget(footer(app, ink), foot);
    if app.overlay == Overlay::Help {
        help(frame, app, ink);
    }
}

/// The first line: what is watched, and how far it is.
fn heading(app: &App) -> Line<'static> {
    let mut said = vec![format!(" hbsniff  {}", app.source)];
    if let Some(view) = &app.view {
        let clock = clock(app.now(), 8);
        said.push(match view.phase {
            Phase::Live if app.paused => format!("paused at {clock} UTC"),
            Phase::Live => format!("live, {clock} UTC"),
            Phase::Reading(Some(percent)) => format!("reading, {percent} %"),
            Phase::Reading(None) => "reading".into(),
            Phase::Ended => format!("ended at {clock} UTC"),
        });
        said.push(format!("{} packets", grouped(view.packets)));
        said.extend(view.dropped.filter(|n| *n > 0).map(|n| format!("{} dropped", grouped(n))));
        said.extend((view.let_go > 0).then(|| format!("{} flows let go", grouped(view.let_go))));
        said.extend((!view.warnings.is_empty()).then(|| count(view.warnings.len() as u64, "warning") + " (?)"));
    } else {
        said.push("waiting for packets".into());
    }
    Line::from(said.join(" · "))
}

/// The last line: a message, the filter being typed, or keys.
fn footer(app: &App, ink: Ink) -> Line<'static> {
    if app.overlay == Overlay::Filter {
        let hint = Span::styled("   Enter keeps it, Esc clears it", ink.faint());
        let typed = Span::raw(printable(&app.query.filter).into_owned());
        return Line::from(vec![Span::styled(" filter: ", Style::new().bold()), typed, Span::raw("▏"), hint]);
    }
    if let Some(message) = app.message() {
        return Line::styled(format!(" {message}"), Style::new().bold());
    }
    let keys: &[(&str, &str)] = match app.page {
        Page::Table => &[
            ("q", "quit"),
            ("Enter", "flow"),
            ("Tab", "group"),
            ("/", "filter"),
            ("s", "sort"),
            ("p", "pause"),
            ("w", "save"),
            ("?", "help"),
        ],
        Page::Flow { .. } => &[
            ("Esc", "back"),
            ("↑↓", "scroll"),
            ("n N", "next, previous flow"),
            ("+- ←→", "time"),
            ("w", "save"),
            ("?", "help"),
        ],
    };
    let spans = keys.iter().flat_map(|(key, what)| {
        [Span::styled(format!(" {key}"), Style::new().bold()), Span::styled(format!(" {what} "), ink.faint())]
    });
    Line::from(spans.collect::<Vec<_>>())
}

/// The groups with their counts, and the order.
fn groups(app: &App, view: &View, ink: Ink) -> Line<'static> {
    let mut spans = Vec::new();
    for group in Group::ALL {
        let number = view.counts.0[group as usize];
        let tone = match group {
            Group::Dead | Group::Silent if number > 0 => ink.tone(Tone::Bad),
            Group::Unwatched | Group::Check if number > 0 => ink.tone(Tone::Doubtful),
            _ if number == 0 => ink.faint(),
            _ => Style::new(),
        };
        let style = if group == app.query.group { tone.bold().reversed() } else { tone };
        let short = if group == Group::All { view.flows } else { number };
        spans.push(Span::styled(format!(" {} {} ", group.name(), short_number(short)), style));
    }
    let order = if app.query.reversed { ", reversed" } else { "" };
    spans.push(Span::styled(format!(" by {}{order}", app.query.sort.name()), ink.faint()));
    Line::from(spans)
}

/// What columns there are, and how wide.
struct Columns {
    ends: usize,
    rhythm: usize,
    strip: usize,
}

impl Columns {
    fn new(width: usize, rows: &[Row]) -> Self {
        let rhythm = if width >= WIDE { RHYTHM } else { 0 };
        let rest = width.saturating_sub(1 + STATE + 1 + 1 + SPAN + 1 + CLOCK + 1 + rhythm);
        let longest = rows.iter().map(|row| ends(row).chars().count()).max().unwrap_or(0).max(15);
        let ends = longest.min(rest.saturating_sub(STRIP + 1));
        Columns { ends, rhythm, strip: rest.saturating_sub(ends + 1) }
    }
}

fn table(frame: &mut Frame<'_>, app: &mut App, ink: Ink, area: Rect) {
    let preview = if area.height + 2 >= TALL { PREVIEW } else { 0 };
    let [tabs, head, body, below] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(preview),
    ])
    .areas(area);
    app.fit(body.height.into(), 0);
    let Some(view) = &app.view else { return };
    frame.render_widget(groups(app, view, ink), tabs);
    let from = app.top.min(view.rows.len());
    let shown = &view.rows[from..(from + usize::from(body.height)).min(view.rows.len())];
    let columns = Columns::new(area.width.into(), shown);
    let window = app.window();
    frame.render_widget(Line::styled(header(app, &columns), ink.faint().underlined()), head);
    let lines: Vec<Line<'_>> = shown
        .iter()
        .enumerate()
        .map(|(n, row)| line(app, ink, &columns, window, row, from + n == app.cursor()))
        .collect();
    if lines.is_empty() {
        let what = if view.flows == 0 { "No TCP connection so far." } else { "No flow like that." };
        frame.render_widget(Paragraph::new(format!("\n  {what}")), body);
    }
    frame.render_widget(Paragraph::new(lines), body);
    if preview > 0 {
        below_table(frame, app, view, ink, below);
    }
}

fn header(app: &App, columns: &Columns) -> String {
    let live = app.view.as_ref().is_some_and(|view| view.phase == Phase::Live);
    let from = if app.window().to != app.now() {
        ""
    } else if live {
        "now"
    } else {
        "end"
    };
    let span = app.span_name();
    let axis = columns.strip.saturating_sub(span.chars().count() + from.len());
    let strip = format!("{span}{:axis$}{from}", "");
    let rhythm =
        if columns.rhythm > 0 { format!("{:<width$}", "RHYTHM", width = columns.rhythm) } else { String::new() };
    format!(
        " {:<STATE$} {:<ends$} {:>SPAN$} {:>CLOCK$} {rhythm}{strip}",
        "STATE",
        "CLIENT, SERVER",
        "HEARD",
        "CLOCK",
        ends = columns.ends
    )
}

/// A flow in the table.
fn line(app: &App, ink: Ink, columns: &Columns, window: Window, row: &Row, chosen: bool) -> Line<'static> {
    let now = app.now();
    let over = Group::of(row.state) == Group::Over;
    let plain = if over { ink.faint() } else { Style::new() };
    let tone = match row.state {
        State::Reset | State::Closed => ink.faint(),
        state => ink.tone(state.tone()),
    };
    let mut spans = vec![
        Span::styled(if chosen { "▌" } else { " " }, Style::new().bold()),
        Span::styled(format!("{:<STATE$} ", row.state), tone),
        Span::styled(format!("{:<width$} ", shortened(row, columns.ends), width = columns.ends), plain),
        Span::styled(format!("{:>SPAN$} ", brief(now.since(row.heard()))), plain),
    ];
    let (said, style) = death_clock(row, now, ink);
    spans.push(Span::styled(format!("{said:>CLOCK$} "), style));
    if columns.rhythm > 0 {
        let words: String = rhythm(row).chars().take(columns.rhythm - 1).collect();
        spans.push(Span::styled(format!("{words:<width$}", width = columns.rhythm), plain));
    }
    spans.extend(strip_spans(row, None, window, now, columns.strip, ink));
    let line = Line::from(spans);
    if chosen { line.style(Style::new().bold()) } else { line }
}

/// The strip of a flow, equal cells together.
fn strip_spans(row: &Row, side: Option<Side>, window: Window, now: Time, width: usize, ink: Ink) -> Vec<Span<'static>> {
    let cells = strip::cells(row, side, window, now, width);
    let same = cells.chunk_by(|a, b| a == b);
    same.map(|run| Span::styled(run[0].symbol().repeat(run.len()), ink.cell(run[0]))).collect()
}

/// How long until somebody notices, or how long it took.
fn death_clock(row: &Row, now: Time, ink: Ink) -> (String, Style) {
    if let State::Dead(_) | State::BothGaveUp | State::Refused = row.state {
        let took = row.flow.deaths.iter().find_map(crate::summary::Death::detection);
        let exact = |span: Nanos| if span < 60 * SECOND { duration(seconds(span)) } else { brief(span) };
        return (took.map_or_else(|| "noticed".into(), |took| format!("† {}", exact(took))), ink.faint());
    }
    if Group::of(row.state) == Group::Over {
        return (String::new(), Style::new());
    }
    match row.deadline() {
        None => ("never".into(), ink.tone(Tone::Doubtful)),
        Some(deadline) => match deadline.at.since(now) {
            left if left < 0 => ("overdue".into(), ink.tone(Tone::Bad)),
            left if matches!(row.state, State::Silent(_)) => (brief(left), ink.tone(Tone::Bad)),
            left => (brief(left), Style::new()),
        },
    }
}

/// The flow under the cursor, in words.
fn below_table(frame: &mut Frame<'_>, app: &App, view: &View, ink: Ink, area: Rect) {
    let hidden = view.matching.saturating_sub(view.rows.len() as u64);
    let mut title = match app.row() {
        Some(row) => format!(" flow {} of {} ", row.flow.id, grouped(view.flows)),
        None => String::new(),
    };
    if !app.query.filter.is_empty() {
        title.push_str(&format!("─ {} match “{}” ", grouped(view.matching), printable(&app.query.filter)));
    }
    if hidden > 0 {
        title.push_str(&format!("─ {} more, by / ", grouped(hidden)));
    }
    if view.looked_at < view.flows {
        let percent = view.looked_at * 100 / view.flows.max(1);
        title.push_str(&format!("─ {percent} % looked at "));
    }
    let block = Block::new().borders(ratatui::widgets::Borders::TOP).border_style(ink.faint()).title(title);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    if let Some(row) = app.row() {
        let lines = page::words(row, view, app.now(), inside.width.into(), ink);
        frame.render_widget(Paragraph::new(lines), inside);
    }
}

/// The page of one flow.
fn flow(frame: &mut Frame<'_>, app: &mut App, ink: Ink, area: Rect) {
    let [head, lanes, body] =
        Layout::vertical([Constraint::Length(2), Constraint::Length(4), Constraint::Fill(1)]).areas(area);
    let Some((row, view)) = app.row().zip(app.view.as_ref()) else {
        frame.render_widget(Paragraph::new("\n  This flow is not there any more."), body);
        return;
    };
    let now = app.now();
    let (said, style) = death_clock(row, now, ink);
    let clock = match row.deadline() {
        Some(deadline) => format!("   the {} would notice a death in ", deadline.by.name()),
        None if said == "never" => "   a death would be noticed: ".into(),
        None if said.starts_with('†') => "   noticed after ".into(),
        None => String::new(),
    };
    frame.render_widget(
        Line::from(vec![
            Span::styled(format!(" {}", row.state), ink.tone(row.state.tone())),
            Span::styled(format!("   {}   flow {}", ends(row), row.flow.id), Style::new().bold()),
        ]),
        head,
    );
    let told = Line::from(vec![
        Span::raw(format!(" last heard {} ago{clock}", duration(seconds(rounded(now.since(row.heard())))))),
        Span::styled(said.trim_start_matches("† ").to_owned(), style),
    ]);
    frame.render_widget(told, Rect { y: head.y + 1, height: 1, ..head });
    let (window, width) = (app.window(), usize::from(area.width).saturating_sub(10));
    let lane = |side: Side| {
        let mut spans = vec![Span::styled(format!(" {:<8}", side.name()), Style::new().bold())];
        spans.extend(strip_spans(row, Some(side), window, now, width, ink));
        Line::from(spans)
    };
    let (from, to) = (clock_of(window.from), clock_of(window.to));
    let middle = format!("{} (+ −)", duration(seconds(window.span())));
    let space = width.saturating_sub(from.len() + to.len() + middle.chars().count());
    let axis =
        format!("{:9}{from}{:left$}{middle}{:right$}{to}", "", "", "", left = space / 2, right = space - space / 2);
    let lines = vec![lane(Side::Client), lane(Side::Server), Line::styled(axis, ink.faint()), Line::raw("")];
    frame.render_widget(Paragraph::new(lines), lanes);
    let mut lines = page::words(row, view, now, area.width.into(), ink);
    lines.extend(page::events(row, view, ink));
    let total = lines.len();
    app.fit(body.height.into(), total);
    let Page::Flow { scroll, .. } = app.page else { return };
    let shown: Vec<_> = lines.into_iter().skip(scroll).take(body.height.into()).collect();
    frame.render_widget(Paragraph::new(shown), body);
}

fn help(frame: &mut Frame<'_>, app: &App, ink: Ink) {
    let area = frame.area();
    let width = area.width.saturating_sub(2).min(84);
    let inner = usize::from(width).saturating_sub(4);
    let mut lines = Vec::new();
    let mut item = |key: &str, what: &str, style: Style| {
        for (n, part) in page::wrap(what, inner.saturating_sub(KEY + 1)).into_iter().enumerate() {
            let key = if n == 0 { key } else { "" };
            lines.push(Line::from(vec![Span::styled(format!(" {key:<KEY$} "), style), Span::raw(part)]));
        }
    };
    for (key, what) in KEYS {
        item(key, what, Style::new().bold());
    }
    item("→ ← ⇄ ╌", "noticing a death: the client would, the server, both, nobody", Style::new());
    item("HEARD", "how long nothing has been heard of a side that is watched", Style::new());
    item("CLOCK", "until that would be noticed, at worst; † how long it took", Style::new());
    let legend: [(&[Cell], &str); 5] = [
        (&[Cell::Probe, Cell::Unanswered], "keepalive probe answered, unanswered"),
        (&[Cell::Beat, Cell::Reply, Cell::Missed], "heartbeat, reply, one that did not come"),
        (&[Cell::Data, Cell::Resend, Cell::WindowProbe], "data, sent again; probe of a closed window"),
        (&[Cell::Quiet, Cell::Unheard], "nothing happened; nothing heard of a dead side"),
        (&[Cell::Fin, Cell::Reset, Cell::Dead], "closed, reset; a side took the other for dead"),
    ];
    for (cells, what) in legend {
        let mut spans = vec![Span::raw(" ")];
        spans.extend(cells.iter().map(|cell| Span::styled(format!("{} ", cell.symbol()), ink.cell(*cell))));
        spans.push(Span::raw(" ".repeat(KEY + 1 - 2 * cells.len())));
        spans.push(Span::raw(what));
        lines.push(Line::from(spans));
    }
    for warning in app.view.iter().flat_map(|view| &view.warnings) {
        for part in page::wrap(&format!("warning: {}", printable(warning)), inner) {
            lines.push(Line::styled(format!(" {part}"), ink.tone(Tone::Doubtful)));
        }
    }
    let height = (lines.len() as u16 + 2).min(area.height);
    let over = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    frame.render_widget(Clear, over);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" Help (any key closes it) ")), over);
}

/// Both ends and, between them, who watches whom.
fn ends(row: &Row) -> String {
    format!("{} {} {}", row.flow.ends[Side::Client], watch(row), row.flow.ends[Side::Server])
}

/// Who would notice the other's death.
fn watch(row: &Row) -> &'static str {
    match (row.watches(Side::Client), row.watches(Side::Server)) {
        (true, true) => "⇄",
        (true, false) => "→",
        (false, true) => "←",
        (false, false) => "╌",
    }
}

/// Both ends in so many columns; of what is too long, the beginnings of addresses go.
fn shortened(row: &Row, width: usize) -> String {
    let whole = ends(row);
    if whole.chars().count() <= width {
        return whole;
    }
    let cut = |end: String, to: usize| {
        let len = end.chars().count();
        if len <= to { end } else { format!("…{}", end.chars().skip(len + 1 - to.max(1)).collect::<String>()) }
    };
    let (client, server) = (row.flow.ends[Side::Client].to_string(), row.flow.ends[Side::Server].to_string());
    let room = width.saturating_sub(3);
    let for_client = room.saturating_sub(server.chars().count()).max(room / 2 - room / 10).min(room);
    let client = cut(client, for_client);
    let server = cut(server, room - client.chars().count().min(room));
    format!("{client} {} {server}", watch(row))
}

/// What comes regularly, in words: `keepalive 5 s, mqtt 60 s`.
fn rhythm(row: &Row) -> String {
    let flow = &row.flow;
    let probes = flow.keepalive.0.iter().flatten().map(|k| {
        let every = k.idle_s.or(k.interval_s).map(|s| format!(" {}", duration(s))).unwrap_or_default();
        format!("keepalive{every}")
    });
    let beats = flow.heartbeats.iter().map(|h| {
        let every = h.interval.map(|i| format!(" {}", duration(i.median))).unwrap_or_default();
        let name = h.protocol.unwrap_or(if h.kind == BeatKind::Heartbeat { "heartbeat" } else { "polling" });
        format!("{name}{every}")
    });
    let mut said: Vec<String> = probes.chain(beats).collect();
    said.dedup();
    said.join(", ")
}

/// A span in few columns: `9.3 s`, `59 s`, `5m 50s`, `2h 11m`, `3d 4h`; one that is negative is none.
#[must_use]
pub fn brief(span: Nanos) -> String {
    let tenths = span.max(0) / (SECOND / 10);
    let s = tenths / 10;
    match s {
        0..10 => format!("{}.{} s", s, tenths % 10),
        10..60 => format!("{s} s"),
        60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h {:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d {}h", s / 86_400, s / 3600 % 24),
    }
}

/// A span to the tenth of a second, so that words for it do not flicker.
fn rounded(span: Nanos) -> Nanos {
    span.max(0) / (SECOND / 10) * (SECOND / 10)
}

/// A number with its thousands apart.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|part| std::str::from_utf8(part).unwrap_or_default()).collect();
    parts.join(",")
}

/// A number in at most four columns.
fn short_number(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..1_000_000 => format!("{}k", n / 1000),
        _ => format!("{}M", n / 1_000_000),
    }
}

/// The first characters of a moment's time of day: 8 to the second, 12 to the millisecond.
#[must_use]
pub fn clock(at: Time, len: usize) -> String {
    let text = model::Time(at).to_string();
    text.split_once('T').map_or(text.as_str(), |(_, time)| time).chars().take(len).collect()
}

fn clock_of(at: Time) -> String {
    clock(at, 12)
}
