//! What is printed does not depend on how many threads analysed the capture.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The captures of all fixtures.
fn captures() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")).unwrap() {
        let folder = folder.unwrap().path();
        if folder.is_dir() {
            let files = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path());
            found.extend(files.filter(|f| f.to_string_lossy().contains(".pcap")));
        }
    }
    found.sort();
    found
}

fn printed(threads: &str, form: &str, files: &[PathBuf]) -> Vec<u8> {
    let out =
        Command::new(env!("CARGO_BIN_EXE_hbsniff")).args(["--threads", threads, form]).args(files).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

#[test]
fn one_thread_and_two_say_the_same() {
    let captures = captures();
    assert!(captures.len() > 20, "the fixtures are not there");
    for capture in &captures {
        let files = std::slice::from_ref(capture);
        assert_eq!(printed("1", "--json", files), printed("2", "--json", files), "{}", capture.display());
    }
    // All at once: flows of all kinds side by side, and a clock that jumps from file to file.
    assert!(printed("1", "--json", &captures) == printed("2", "--json", &captures), "all captures at once");
    assert!(printed("1", "--all", &captures) == printed("2", "--all", &captures), "all captures at once");
}
