//! What a live view shows of a capture that goes on is what the report would say if it ended there.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use hbsniff::analysis::Analysis;
use hbsniff::analyzer::{Analyzer, Options};
use hbsniff::capture::{Files, Progress, Source};
use hbsniff::report::{CaptureInfo, json};
use serde_json::Value;

fn document(analysis: &Analysis) -> Value {
    let mut text = Vec::new();
    json::write(&mut text, analysis, &CaptureInfo::default()).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn a_look_in_between_tells_what_the_end_would() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let files = fixtures.read_dir().unwrap().flatten().flat_map(|dir| dir.path().read_dir()).flatten().flatten();
    let captures = files.map(|file| file.path()).filter(|path| path.to_string_lossy().contains("capture.pcap"));
    let mut seen = 0;
    for path in captures {
        let mut analyzer = Analyzer::new(Options::default());
        let mut source = Files::new(vec![path.clone()]).unwrap();
        while source.read(&mut |frames| analyzer.frames(frames, &mut None)).unwrap() != Progress::End {}
        let end = analyzer.end(None).unwrap();
        let so_far = analyzer.look(end, |analysis| {
            analysis.flows.find_replacements();
            document(analysis)
        });
        let told = document(&analyzer.finish(None, &mut None));
        assert_eq!(so_far, told, "{}", path.display());
        seen += 1;
    }
    assert!(seen > 80, "{seen}");
}
