//! What the program is built of is written down: every dependency, and every place that is unsafe, has its line in
//! docs/dependencies.md.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a table has a line about it.
fn has_line(document: &str, name: &str) -> bool {
    document.lines().any(|line| line.strip_prefix(&format!("| `{name}` | ")).is_some_and(|why| why.len() > 10))
}

fn document() -> String {
    fs::read_to_string(root().join("docs/dependencies.md")).unwrap()
}

#[test]
fn every_dependency_is_justified() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&manifest).unwrap();
    let tables = |of: &toml::Table| -> Vec<String> {
        let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
        kinds.iter().filter_map(|kind| of.get(*kind)?.as_table()).flat_map(|t| t.keys().cloned()).collect()
    };
    let mut names = tables(&manifest);
    for target in manifest.get("target").and_then(|t| t.as_table()).into_iter().flat_map(|t| t.values()) {
        names.extend(tables(target.as_table().unwrap()));
    }
    assert!(names.len() > 10, "{names:?}");
    let document = document();
    let missing: Vec<_> = names.iter().filter(|name| !has_line(&document, name)).collect();
    assert!(missing.is_empty(), "without a line in docs/dependencies.md: {missing:?}");
}

#[test]
fn every_place_that_is_unsafe_is_listed() {
    let mut folders = vec![root().join("src")];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    let document = document();
    for path in files.iter().filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let allows = fs::read_to_string(path).unwrap().contains("allow(unsafe_code)");
        assert_eq!(
            allows,
            has_line(&document, &name),
            "{name} allows unsafe code: {allows}; docs/dependencies.md differs"
        );
    }
}
