//! `hbsniff explain WORD`: what a word of the report means, what to do about it, and where that is written.

mod terms;

use std::io::{self, Write};

pub use terms::TERMS;

/// Where in the report a word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The code of a finding.
    Finding,
    /// The mechanism of a death.
    Mechanism,
    /// What would notice a death (`noticed_by`).
    Exposure,
    /// How sure a figure is (`basis`).
    Basis,
    /// An event of `--events`.
    Event,
}

impl Place {
    /// All, in the order in which they are listed.
    pub const ALL: [Place; 5] = [Place::Finding, Place::Mechanism, Place::Exposure, Place::Basis, Place::Event];

    /// As in a heading.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Place::Finding => "finding",
            Place::Mechanism => "mechanism of a death",
            Place::Exposure => "what would notice a death",
            Place::Basis => "how sure a figure is",
            Place::Event => "event",
        }
    }
}

/// A word of the report.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// The word itself.
    pub word: &'static str,
    /// Where it stands; one word may stand in several places.
    pub place: Place,
    /// What it means, and how hbsniff knows.
    pub means: &'static str,
    /// What to do about it; empty where there is nothing to do.
    pub remedy: &'static str,
    /// RFCs, kernel functions and manual pages that say so.
    pub sources: &'static [&'static str],
}

/// No such word.
#[derive(Debug, thiserror::Error)]
#[error("nothing is called {word:?}{}; there are {}",
    nearest.map(|n| format!(", did you mean {n}?")).unwrap_or_default(),
    TERMS.iter().map(|t| t.word).collect::<Vec<_>>().join(", "))]
pub struct Unknown {
    word: String,
    nearest: Option<&'static str>,
}

/// Columns of the text.
const WIDTH: usize = 88;

/// Writes all that is known of a word; case does not matter, nor whether parts are joined by `-` or `_`.
///
/// # Errors
/// If there is no such word: inside, with the nearest one. What `out` says: outside.
pub fn explain(out: &mut impl Write, word: &str) -> io::Result<Result<(), Unknown>> {
    let wanted = word.to_ascii_lowercase().replace('-', "_");
    let mut found = TERMS.iter().filter(|t| t.word == wanted).peekable();
    if found.peek().is_none() {
        return Ok(Err(Unknown { word: word.chars().take(WIDTH).collect(), nearest: nearest(&wanted) }));
    }
    for (i, term) in found.enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{} ({})", term.word, term.place.name())?;
        paragraph(out, "", term.means)?;
        if !term.remedy.is_empty() {
            paragraph(out, "What to do: ", term.remedy)?;
        }
        writeln!(out)?;
        for source in term.sources {
            writeln!(out, "  see {source}")?;
        }
    }
    Ok(Ok(()))
}

/// Writes which words there are.
///
/// # Errors
/// What `out` says.
pub fn list(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "hbsniff explain WORD, where WORD is one of")?;
    for place in Place::ALL {
        let words: Vec<&str> = TERMS.iter().filter(|t| t.place == place).map(|t| t.word).collect();
        writeln!(out, "\n{}:", place.name())?;
        words.iter().try_for_each(|word| writeln!(out, "  {word}"))?;
    }
    Ok(())
}

fn paragraph(out: &mut impl Write, lead: &str, text: &str) -> io::Result<()> {
    writeln!(out)?;
    let mut column = 0;
    for word in lead.split_whitespace().chain(text.split_whitespace()) {
        let length = word.chars().count();
        if column == 0 {
            write!(out, "  {word}")?;
            column = 2 + length;
        } else if column + 1 + length > WIDTH {
            write!(out, "\n  {word}")?;
            column = 2 + length;
        } else {
            write!(out, " {word}")?;
            column += 1 + length;
        }
    }
    writeln!(out)
}

/// The word that needs the fewest changes to become this one, if they are few; or one with such a part.
fn nearest(wanted: &str) -> Option<&'static str> {
    // Longer than any word there is: no typing error.
    if wanted.len() > 64 {
        return None;
    }
    let changes = |part: &str| Some(distance(wanted, part)).filter(|d| *d <= part.len() / 3);
    let whole = TERMS.iter().filter_map(|t| Some((changes(t.word)?, t.word)));
    let parts = TERMS.iter().flat_map(|t| t.word.split('_').filter_map(|part| Some((changes(part)?, t.word))));
    whole.min().or_else(|| parts.min()).map(|(_, word)| word)
}

/// Insertions, deletions and replacements that make one of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liveness::findings::CODES;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn words(place: Place) -> Vec<&'static str> {
        TERMS.iter().filter(|t| t.place == place).map(|t| t.word).collect()
    }

    fn explained(word: &str) -> String {
        let mut out = Vec::new();
        explain(&mut out, word).unwrap().unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The words of one kind that the schema has: it is generated from the types that are written, so it knows all.
    fn in_schema(schema: &Value, kind: &str) -> BTreeSet<String> {
        let kind = &schema["$defs"][kind];
        let words = match kind["oneOf"].as_array() {
            Some(options) => {
                options.iter().map(|o| o.pointer("/properties/event").unwrap_or(o)["const"].clone()).collect()
            }
            None => kind["properties"]["code"]["examples"].as_array().unwrap().clone(),
        };
        words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn every_word_of_the_schema_is_explained_and_no_other() {
        let schema = crate::report::schema::schema();
        for (place, kinds) in [
            (Place::Finding, &["Finding"][..]),
            (Place::Mechanism, &["Mechanism"]),
            (Place::Exposure, &["NoticedBy"]),
            (Place::Basis, &["Basis", "Ground"]),
            (Place::Event, &["EventLine"]),
        ] {
            let explained: BTreeSet<_> = words(place).into_iter().map(str::to_owned).collect();
            let known: BTreeSet<_> = kinds.iter().flat_map(|kind| in_schema(&schema, kind)).collect();
            assert_eq!(explained, known, "{place:?}");
        }
        assert_eq!(words(Place::Finding), CODES, "in this order");
    }

    #[test]
    fn each_text_is_whole() {
        for term in TERMS {
            assert!(term.means.ends_with(['.', '?']) && !term.sources.is_empty(), "{}", term.word);
            assert!(term.remedy.is_empty() || term.remedy.ends_with('.'), "{}", term.word);
            assert!(term.place != Place::Finding || !term.remedy.is_empty(), "{}", term.word);
            assert!(explained(term.word).lines().all(|l| l.starts_with("  see ") || l.chars().count() <= WIDTH));
        }
    }

    #[test]
    fn spelling_is_forgiven() {
        assert!(explained("Half-Open").starts_with("half_open (finding)"));
        assert_eq!(nearest("halfopen"), Some("half_open"));
        assert_eq!(nearest("keepalive_timout"), Some("keepalive_timeout"));
        assert_eq!(nearest("suppresed"), Some("keepalive_suppressed"));
        assert_eq!(nearest("xyzzy"), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        let both = explained("heartbeat");
        assert!(both.contains("(event)") && both.contains("(what would notice a death)"), "{both}");
    }
}
