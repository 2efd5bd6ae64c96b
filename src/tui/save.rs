//! The report so far, written to files beside each other: as text and as JSON.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::analysis::Analysis;
use crate::packet::Time;
use crate::phrase::count;
use crate::report::text::TextOptions;
use crate::report::{CaptureInfo, json, model, text};

/// Names tried for one moment: somebody may press the key twice within a second.
const TRIES: usize = 100;

/// Writes both reports into a directory under a name with the moment; gives what to tell the user.
#[must_use]
pub fn save(directory: &Path, now: Time, analysis: &Analysis, info: &CaptureInfo) -> String {
    match write(directory, now, analysis, info) {
        Ok(path) => {
            let flows = count(analysis.flows.len() as u64, "flow");
            format!("saved {} and .txt ({flows})", path.display())
        }
        Err((path, e)) => {
            let user = info.confinement.as_ref().filter(|_| e.kind() == io::ErrorKind::PermissionDenied);
            let user =
                user.map(|c| format!(", for the capture goes on as user {} (--user)", c.user)).unwrap_or_default();
            format!("cannot write {}: {e}{user}", path.display())
        }
    }
}

fn write(
    directory: &Path,
    now: Time,
    analysis: &Analysis,
    info: &CaptureInfo,
) -> Result<PathBuf, (PathBuf, io::Error)> {
    let (json_path, json_file, text_path, text_file) = create(directory, now)?;
    let options = TextOptions { all: true, ..TextOptions::default() };
    whole(&json_path, json_file, |out| json::write(out, analysis, info))?;
    whole(&text_path, text_file, |out| text::write(out, analysis, info, &options))?;
    Ok(json_path)
}

/// New files of one name that is free for both.
fn create(directory: &Path, now: Time) -> Result<(PathBuf, File, PathBuf, File), (PathBuf, io::Error)> {
    let moment: String =
        model::Time(now).to_string().chars().take(19).map(|c| if c == ':' { '-' } else { c }).collect();
    let new = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
    for attempt in 1..=TRIES {
        let again = if attempt == 1 { String::new() } else { format!("-{attempt}") };
        let path = |kind: &str| directory.join(format!("hbsniff-{moment}Z{again}.{kind}"));
        let (json, text) = (path("json"), path("txt"));
        match new(&json) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err((json, e)),
            Ok(file) => match new(&text) {
                Ok(other) => return Ok((json, file, text, other)),
                Err(e) => {
                    let _ = std::fs::remove_file(&json);
                    if e.kind() != io::ErrorKind::AlreadyExists {
                        return Err((text, e));
                    }
                }
            },
        }
    }
    Err((directory.to_owned(), io::ErrorKind::AlreadyExists.into()))
}

/// Writes a file; if that fails, no half of it is left. Where the process may not remove files, it is left empty.
fn whole(
    path: &Path,
    file: File,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), (PathBuf, io::Error)> {
    let mut out = BufWriter::new(file);
    write(&mut out).and_then(|()| out.flush()).map_err(|e| {
        // Not dropped: that would try to write what is left.
        let (file, _) = out.into_parts();
        let _ = file.set_len(0).and_then(|()| std::fs::remove_file(path));
        (path.to_owned(), e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{self, START};

    #[test]
    fn both_reports_are_written_and_nothing_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let (analysis, info) = sample::analysis();
        for _ in 0..2 {
            let said = save(directory.path(), START, &analysis, &info);
            assert!(said.contains("saved ") && said.contains("2 flows"), "{said}");
        }
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        for name in ["hbsniff-2026-11-22T18-20-11Z", "hbsniff-2026-11-22T18-20-11Z-2"] {
            let document: serde_json::Value = serde_json::from_str(&read(&format!("{name}.json"))).unwrap();
            assert_eq!(document["summary"]["dead_peers"], 1);
            assert!(read(&format!("{name}.txt")).contains("SERVER DEAD"));
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_told() {
        let (analysis, info) = sample::analysis();
        let said = save(Path::new("/nonexistent/here"), START, &analysis, &info);
        assert!(said.starts_with("cannot write /nonexistent/here/hbsniff-"), "{said}");
    }
}
