//! A file that nobody takes for whole until it is.
//!
//! It is opened when a run begins, so that a path that cannot be written is told before hours of capture, and so that the
//! end needs no privilege; what it held before stays until then. A new file under another name, renamed at the end, would
//! need the right to write to the folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

/// A file to be written at once at the end.
#[derive(Debug)]
pub struct Whole(File);

impl Whole {
    /// Opens or makes the file, and leaves what it holds.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().write(true).create(true).truncate(false).open(path).map(Whole)
    }

    /// Writes the file. Until all of it is there, it begins with `guard` instead of as many of its own bytes, which must
    /// make readers take it for broken or empty.
    ///
    /// # Errors
    /// What the system says; the file then begins with the guard, or is empty.
    pub fn write(mut self, content: &[u8], guard: &[u8]) -> io::Result<()> {
        let file = &mut self.0;
        if !file.metadata()?.is_file() {
            return file.write_all(content);
        }
        let begin = guard.len().min(content.len());
        file.set_len(0)?;
        file.write_all(&guard[..begin])?;
        file.write_all(&content[begin..])?;
        file.sync_data()?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&content[..begin])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_was_there_stays_until_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "old and rather long").unwrap();
        let whole = Whole::open(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old and rather long");
        whole.write(b"new content", b"<!--").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new content");
        Whole::open(&path).unwrap().write(b"n", b"<!--").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"n");
    }
}
