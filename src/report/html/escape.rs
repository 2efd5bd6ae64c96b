//! Text from anywhere as text of a page.

use std::fmt;

use crate::phrase::printable;

/// Shows a text so that HTML and XML read it back as it is, in elements and in quoted attributes; control characters,
/// which they forbid, are spelled out.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in printable(self.0).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // No characters (XML 1.0, 2.2).
                '\u{fffe}' | '\u{ffff}' => f.write_str("\u{fffd}")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_place() {
        let said = Escaped("<b a=\"x\" b='y'>&amp;\u{1b}\u{ffff} ü").to_string();
        assert_eq!(said, "&lt;b a=&quot;x&quot; b=&#39;y&#39;&gt;&amp;amp;\\u{1b}\u{fffd} ü");
    }
}
