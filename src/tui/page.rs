//! What there is to say of one flow: the report's words, wrapped, and its events.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::draw::{Ink, brief, clock};
use super::view::{Row, View};
use crate::packet::{Time, seconds};
use crate::phrase::{count, duration};
use crate::report::state::Tone;
use crate::report::text;
use crate::summary::{End, Side};
use crate::timeline::MarkKind;

/// Columns of the label before the words.
const LABEL: usize = 13;

/// The report's words about a flow, in lines of this width.
#[must_use]
pub fn words(row: &Row, view: &View, now: Time, width: usize, ink: Ink) -> Vec<Line<'static>> {
    let mut told = Vec::new();
    // Memory takes all that is written.
    let _ = text::particulars(&mut told, &row.flow, view.first.unwrap_or(row.flow.first), now);
    let mut lines = Vec::new();
    for line in String::from_utf8_lossy(&told).lines() {
        let line = line.strip_prefix("  ").unwrap_or(line);
        let (label, rest) = labelled(line);
        let style = match label.trim() {
            "dead peer" | "refused" | "error" => ink.tone(Tone::Bad),
            "warning" => ink.tone(Tone::Doubtful),
            _ => Style::new().bold(),
        };
        push(&mut lines, label, style, &rest.trim().replace("     ", "; "), width);
    }
    let of = |side: Side| {
        let traffic = &row.flow.traffic[side];
        let again = traffic.retransmissions;
        let again = if again > 0 { format!(", {again} sent again") } else { String::new() };
        format!("{} {}, {}{again}", side.name(), count(traffic.packets, "packet"), count(traffic.payload_bytes, "byte"))
    };
    let rtt = row.flow.rtt_s.map(|s| format!("; round trip {}", duration(s))).unwrap_or_default();
    let said = format!("{}; {}{rtt}", of(Side::Client), of(Side::Server));
    push(&mut lines, "traffic", Style::new().bold(), &said, width);
    lines
}

/// A line's label and its words; a line that goes on has no label.
fn labelled(line: &str) -> (&str, &str) {
    if let Some((who, then)) = line.strip_prefix("if the ").and_then(|line| line.split_once(" dies   ")) {
        return (if who == "client" { "client dies" } else { "server dies" }, then);
    }
    line.split_at_checked(LABEL).filter(|(label, _)| label.ends_with(' ')).unwrap_or(("", line))
}

fn push(lines: &mut Vec<Line<'static>>, label: &str, style: Style, words: &str, width: usize) {
    for (n, part) in wrap(words, width.saturating_sub(LABEL + 2)).into_iter().enumerate() {
        let label = if n == 0 { label } else { "" };
        lines.push(Line::from(vec![Span::styled(format!(" {label:<LABEL$}"), style), Span::raw(part)]));
    }
}

/// The events of a flow, in order of time.
#[must_use]
pub fn events(row: &Row, view: &View, ink: Ink) -> Vec<Line<'static>> {
    let start = view.first.unwrap_or(row.flow.first);
    let mut told: Vec<(Time, Line<'static>)> = Vec::new();
    let mut tell = |at: Time, frame: Option<u64>, from: Option<Side>, what: String, style: Style| {
        let frame = frame.map(|n| format!("frame {n}")).unwrap_or_default();
        let after = format!("+{}", brief(at.since(start)));
        let head = format!(" {}  {after:<8} {frame:<12} {:<7} ", clock(at, 12), from.map_or("", Side::name));
        told.push((at, Line::from(vec![Span::raw(head), Span::styled(what, style)])));
    };
    for mark in row.timeline.marks() {
        let answered = |yes: bool| if yes { "answered" } else { "unanswered" };
        let (what, tone) = match mark.kind {
            MarkKind::Probe { answered: a } => (format!("keepalive probe, {}", answered(a)), (!a).then_some(Tone::Bad)),
            MarkKind::ProbeAnswer => ("answers the probe".into(), None),
            MarkKind::WindowProbe { answered: a } => {
                (format!("probe of the closed window, {}", answered(a)), (!a).then_some(Tone::Doubtful))
            }
            MarkKind::WindowAnswer => ("answers the window probe".into(), None),
            MarkKind::Retransmission => ("sends bytes again".into(), Some(Tone::Doubtful)),
            MarkKind::Beat => ("heartbeat".into(), Some(Tone::Good)),
            MarkKind::Reply => ("reply to the heartbeat".into(), None),
            MarkKind::Missed => ("heartbeat did not come".into(), Some(Tone::Bad)),
            MarkKind::End(End::Rst) => ("resets the connection".into(), Some(Tone::Bad)),
            MarkKind::End(_) => ("closes".into(), None),
        };
        tell(mark.time, mark.frame, Some(mark.from), what, tone.map_or(Style::new(), |tone| ink.tone(tone)));
    }
    for side in Side::BOTH {
        for (from, to) in row.timeline.data(side) {
            let long = to.since(*from);
            let long = if long > 0 { format!(", for {}", duration(seconds(long))) } else { String::new() };
            tell(*from, None, Some(side), format!("data{long}"), Style::new());
        }
    }
    for death in &row.flow.deaths {
        if let (Some(at), Some(by)) = (death.detected_at, death.detected_by) {
            let what = format!("gives up: {}", death.mechanism.name());
            tell(at, None, Some(by), what, ink.tone(Tone::Bad));
        }
    }
    told.sort_by_key(|(at, _)| *at);
    let timeline = &row.timeline;
    let missing = match (timeline.left_out(), timeline.begins_late()) {
        (0, false) => String::new(),
        (0, true) => " (earlier ones are not kept)".into(),
        (n, _) => format!(" ({n} of the middle are not kept)"),
    };
    let title = format!(" Events, UTC{missing}");
    let head = [Line::raw(""), Line::styled(title, Style::new().bold().underlined())];
    head.into_iter().chain(told.into_iter().map(|(_, line)| line)).collect()
}

/// Breaks words into lines of at most so many columns; longer words are cut.
#[must_use]
pub fn wrap(words: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in words.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for part in letters.chunks(width) {
            if used > 0 && used + 1 + part.len() > width {
                lines.push(String::new());
                used = 0;
            }
            if let Some(line) = lines.last_mut() {
                if used > 0 {
                    line.push(' ');
                    used += 1;
                }
                line.extend(part);
                used += part.len();
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_and_long_ones_cut() {
        assert_eq!(wrap("one two three four", 9), ["one two", "three", "four"]);
        assert_eq!(wrap("0123456789abc", 8), ["01234567", "89abc"]);
        assert_eq!(wrap("", 9), [""]);
    }
}
