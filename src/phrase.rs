//! How figures are said to people, in reports and findings alike.

use std::borrow::Cow;

/// A span as people say it: `250 ms`, `9.3 s`, `5 min 50 s`, `2 h 11 min 15 s`, `3 d 4 h`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    let sign = if seconds < 0.0 { "-" } else { "" };
    let s = seconds.abs();
    if s == 0.0 {
        return "0 s".into();
    }
    // Bounds lie where the smaller unit would round up to a whole larger one.
    if s < 0.000_999_5 {
        return format!("{sign}{:.0} µs", s * 1e6);
    }
    if s < 0.009_95 {
        return format!("{sign}{} ms", decimal(s * 1e3, 1));
    }
    if s < 0.999_5 {
        return format!("{sign}{:.0} ms", s * 1e3);
    }
    if s < 59.95 {
        return format!("{sign}{} s", decimal(s, 1));
    }
    let whole = s.round() as u64;
    let (d, h, min, sec) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    let parts = match (d, h) {
        (0, 0) => [(min, "min"), (sec, "s"), (0, "")],
        (0, _) => [(h, "h"), (min, "min"), (sec, "s")],
        _ => [(d, "d"), (h, "h"), (min, "min")],
    };
    let said: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    format!("{sign}{}", said.join(" "))
}

/// A number with at most `places` decimals and no trailing zeros.
#[must_use]
pub fn decimal(x: f64, places: usize) -> String {
    let text = format!("{x:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// `1 flow`, `2 flows`: the noun with an s unless there is one.
#[must_use]
pub fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Whether a character cannot drive a terminal: no control character, and none of the marks that turn the direction of what
/// follows (Unicode UAX 9).
#[must_use]
pub fn harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text from outside (file names, names of interfaces, messages) with what could drive a terminal made visible. Whatever is
/// shown to people and was not written by this program goes through here.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if harmless(c) { out.push(c) } else { out.extend(c.escape_default()) }
    }
    Cow::Owned(out)
}

/// The same for a message of several lines.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_as_people_say_them() {
        for (seconds, said) in [
            (0.0, "0 s"),
            (0.000_25, "250 µs"),
            (0.000_999_9, "1 ms"),
            (0.0045, "4.5 ms"),
            (0.25, "250 ms"),
            (0.999_9, "1 s"),
            (2.0, "2 s"),
            (9.3, "9.3 s"),
            (59.96, "1 min"),
            (75.0, "1 min 15 s"),
            (350.0, "5 min 50 s"),
            (3599.6, "1 h"),
            (7875.0, "2 h 11 min 15 s"),
            (432_000.0, "5 d"),
            (277_500.0, "3 d 5 h 5 min"),
            (-1.5, "-1.5 s"),
        ] {
            assert_eq!(duration(seconds), said, "{seconds}");
        }
    }

    #[test]
    fn nothing_from_outside_drives_the_terminal() {
        assert_eq!(printable("büro→a b.pcap"), "büro→a b.pcap");
        assert_eq!(printable("a\u{1b}[31m\n\u{202e}"), "a\\u{1b}[31m\\n\\u{202e}");
    }
}
