//! What `--metrics` says of real captures, in which form, and that the dashboard, the alerts and the unit file fit it.
//!
//! promtool (Debian's package prometheus) and systemd-analyze judge these files too; without them the tests say so.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hbsniff::analyzer::{Analyzer, Options};
use hbsniff::capture::{Files, Progress, Source};
use hbsniff::event::{Event, EventKind};
use hbsniff::metrics::Metrics;
use hbsniff::packet::Time;
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The metrics of a fixture, as they stand after its last packet.
fn metrics(fixture: &str) -> String {
    let file = root().join("fixtures").join(fixture).join("capture.pcap");
    let mut source = Files::new(vec![file]).expect("the fixture");
    let mut metrics = Metrics::default();
    let mut analyzer = Analyzer::new(Options::default());
    let mut last = Time::default();
    loop {
        let progress = source.read(&mut |frames| {
            last = frames.last().map_or(last, |frame| frame.time);
            analyzer.frames(frames, &mut Some(&mut |event| metrics.event(event)));
        });
        if progress.expect("a capture") == Progress::End {
            break;
        }
    }
    metrics.update(&analyzer, last, || Some(7));
    metrics.page()
}

/// A metric family of a page.
#[derive(Default)]
struct Family {
    kind: String,
    unit: Option<String>,
    samples: BTreeMap<String, f64>,
}

/// Reads a page as strictly as OpenMetrics 1.0 puts it: descriptors before samples, each family whole and once, samples'
/// names with the suffixes of their type, no series twice, and an end.
fn families(page: &str) -> BTreeMap<String, Family> {
    let name_is_fine = |name: &str| {
        let mut letters = name.chars();
        letters.next().is_some_and(|c| c.is_ascii_lowercase()) && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let body = page.strip_suffix("# EOF\n").expect("it ends as a whole");
    for line in body.lines() {
        if let Some(descriptor) = line.strip_prefix("# ") {
            let (what, rest) = descriptor.split_once(' ').expect("a descriptor");
            let (name, words) = rest.split_once(' ').expect("a name");
            assert!(name_is_fine(name), "{line}");
            if name != current {
                assert!(!families.contains_key(name), "{name} comes twice");
                current = name.to_owned();
            }
            let family = families.entry(current.clone()).or_default();
            assert!(family.samples.is_empty(), "{line} comes after samples");
            match what {
                "HELP" => assert!(words.ends_with('.') && words.len() > 10, "{line}"),
                "TYPE" => family.kind = words.to_owned(),
                "UNIT" => family.unit = Some(words.to_owned()),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a sample");
        let name = series.split('{').next().unwrap_or_default();
        let family = families.get_mut(&current).expect("a family");
        let suffixes: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_count", "_sum"],
            other => panic!("{current} is of type {other}"),
        };
        let suffix = name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} among {current}"));
        assert!(suffixes.contains(&suffix), "{line}");
        if let Some(unit) = &family.unit {
            assert!(current.ends_with(&format!("_{unit}")), "{current} is in {unit}");
        }
        let labels = series.split_once('{').and_then(|(_, labels)| labels.strip_suffix("\"}"));
        for label in labels.into_iter().flat_map(|labels| labels.split("\",")) {
            let (key, value) = label.split_once("=\"").expect("a label");
            assert!(name_is_fine(key) && !value.contains('"'), "{line}");
        }
        let value: f64 = value.parse().expect("a number");
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert!(family.samples.insert(series.to_owned(), value).is_none(), "{line} comes twice");
    }
    families
}

/// The sum of all samples of this name whose labels have all these.
fn sum(page: &str, name: &str, labels: &[&str]) -> f64 {
    let of = |series: &str| series.split('{').next() == Some(name) && labels.iter().all(|l| series.contains(l));
    let families = families(page);
    let samples = families.values().flat_map(|f| &f.samples).filter(|(series, _)| of(series));
    samples.map(|(_, value)| value).sum()
}

/// The figures of the fixture's truth, which the kernels' counters and the sockets' errors gave.
#[test]
fn a_death_by_keepalive_is_counted_with_its_probes_and_its_time() {
    let page = metrics("keepalive_cut_server_detects");
    let truth = fs::read_to_string(root().join("fixtures/keepalive_cut_server_detects/truth.json")).expect("truth");
    let truth: Value = serde_json::from_str(&truth).expect("JSON");
    let flow = &truth["flows"][0];
    let probes = flow["keepalive"]["server"]["probes"].as_f64().expect("probes");
    let unanswered = flow["keepalive"]["server"]["count"].as_f64().expect("count");
    assert_eq!(sum(&page, "hbsniff_keepalive_probes_total", &[]), probes);
    assert_eq!(sum(&page, "hbsniff_keepalive_answers_total", &[]), probes - unanswered);
    assert_eq!(sum(&page, "hbsniff_dead_peers_total", &[]), 1.0);
    let labels = ["mechanism=\"keepalive_timeout\"", "dead=\"client\""];
    assert_eq!(sum(&page, "hbsniff_dead_peers_total", &labels), 1.0);
    assert_eq!(sum(&page, "hbsniff_flows_ended_total", &["end=\"dead_peer\""]), 1.0);
    assert_eq!(sum(&page, "hbsniff_open_flows", &[]), 0.0);
    // Keepalive 2/1/4: 6 s after the last answer.
    let seconds = |labels: &[&str]| sum(&page, "hbsniff_detection_seconds_bucket", labels);
    let keepalive = "mechanism=\"keepalive_timeout\"";
    assert_eq!((seconds(&[keepalive, "le=\"5.0\""]), seconds(&[keepalive, "le=\"10.0\""])), (0.0, 1.0));
    assert_eq!(sum(&page, "hbsniff_detection_seconds_count", &[]), 1.0);
    assert_eq!(sum(&page, "hbsniff_dropped_packets_total", &[]), 7.0);
}

#[test]
fn open_connections_are_surveyed() {
    let page = metrics("nobody_watches");
    assert_eq!(sum(&page, "hbsniff_open_flows", &[]), 1.0);
    for side in ["dies=\"client\"", "dies=\"server\""] {
        assert_eq!(sum(&page, "hbsniff_exposed_flows", &[side, "noticed_by=\"none\""]), 1.0);
        assert_eq!(sum(&page, "hbsniff_exposed_flows", &[side]), 1.0);
    }
    let page = metrics("keepalive_healthy_both");
    assert_eq!(sum(&page, "hbsniff_keepalive_flows", &[]), 1.0);
    assert_eq!(sum(&page, "hbsniff_exposed_flows", &["noticed_by=\"keepalive\""]), 2.0);
    let page = metrics("program_redis_replication");
    assert!(sum(&page, "hbsniff_heartbeats_total", &["protocol=\"redis\""]) > 0.0);
}

/// What is counted by events is what the report counts in the end.
#[test]
fn counters_agree_with_the_report() {
    for folder in fs::read_dir(root().join("fixtures")).expect("fixtures/") {
        let folder = folder.expect("an entry").path();
        let file = folder.join("capture.pcap");
        if !file.exists() {
            continue;
        }
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let page = metrics(&name);
        let report = common::report(&file);
        let count = |what: &str| report["summary"][what].as_f64().expect("a count");
        assert_eq!(sum(&page, "hbsniff_packets_total", &[]), report["capture"]["packets"].as_f64().expect("packets"));
        assert_eq!(sum(&page, "hbsniff_flows_opened_total", &[]), count("flows"), "{name}");
        assert_eq!(sum(&page, "hbsniff_keepalive_probes_total", &[]), count("keepalive_probes"), "{name}");
        assert_eq!(sum(&page, "hbsniff_keepalive_answers_total", &[]), count("keepalive_acks"), "{name}");
        assert_eq!(sum(&page, "hbsniff_zero_window_probes_total", &[]), count("zero_window_probes"), "{name}");
        // The report leaves out what turned out to be polling.
        assert!(sum(&page, "hbsniff_heartbeats_total", &[]) >= count("heartbeats"), "{name}");
        // A capture's end decides on the peers that are still being tried for.
        assert!(sum(&page, "hbsniff_dead_peers_total", &[]) <= count("dead_peers") * 2.0, "{name}");
    }
}

/// A page on which every metric has a sample.
fn full_page() -> String {
    let metrics = Metrics::default();
    for kind in
        [EventKind::Heartbeat { protocol: Some("mqtt"), interval: None }, EventKind::HeartbeatReply { protocol: None }]
    {
        metrics.event(&Event { time: Time(0), frame: None, flow: 1, from: None, kind });
    }
    let mut metrics = metrics;
    metrics.update(&Analyzer::new(Options::default()), Time(0), || None);
    metrics.page()
}

#[test]
fn labels_are_few() {
    let page = full_page();
    let series: usize = families(&page).values().map(|f| f.samples.len()).sum();
    assert!(series < 300, "{series} series");
}

/// The names of metrics in a text, whatever else it is.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|w| w.starts_with("hbsniff_") || w.starts_with("process_")).collect()
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_exist_and_the_dashboard_for_all() {
    let page = full_page();
    let known: BTreeSet<_> = families(&page)
        .values()
        .flat_map(|f| f.samples.keys())
        .map(|series| series.split('{').next().unwrap_or_default().to_owned())
        .collect();
    let read = |file: &str| fs::read_to_string(root().join("contrib").join(file)).expect("a file of contrib/");
    let dashboard: Value = serde_json::from_str(&read("grafana/hbsniff.json")).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let asked: Vec<&str> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().expect("targets"))
        .map(|target| target["expr"].as_str().expect("an expression"))
        .collect();
    let asked = asked.join("\n");
    let document = fs::read_to_string(root().join("docs/fleet.md")).expect("the document");
    for text in [&asked, &read("prometheus/hbsniff.rules.yml"), &read("prometheus/hbsniff.test.yml"), &document] {
        for name in named(text) {
            assert!(known.contains(name), "{name}");
        }
    }
    let shown = named(&asked);
    // What other figures contain, or only alerts and the list of instances ask for.
    let not_drawn = [
        "hbsniff_build_info",
        "hbsniff_detection_seconds_count",
        "hbsniff_detection_seconds_sum",
        "hbsniff_last_packet_timestamp_seconds",
        "hbsniff_survey_timestamp_seconds",
        "process_start_time_seconds",
    ];
    for name in &known {
        assert!(shown.contains(name.as_str()) || not_drawn.contains(&name.as_str()), "{name} is on no panel");
    }
}

#[test]
fn the_build_tells_its_features() {
    let page = Metrics::default().page();
    let build = page.lines().find(|line| line.starts_with("hbsniff_build_info{")).expect("what is running");
    for (feature, is_in) in
        [("tui", cfg!(feature = "tui")), ("libpcap", cfg!(feature = "libpcap")), ("parquet", cfg!(feature = "parquet"))]
    {
        assert_eq!(build.contains(feature), is_in, "{build}");
    }
}

/// What Grafana needs of a dashboard: panels of different ids that do not lie on each other, and a data source.
#[test]
fn the_dashboard_is_laid_out() {
    let text = fs::read_to_string(root().join("contrib/grafana/hbsniff.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    assert!(dashboard["uid"].is_string() && dashboard["title"].is_string() && dashboard["schemaVersion"].is_u64());
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64()), "{title}");
        assert!(panel["description"].as_str().is_some_and(|d| d.ends_with('.')), "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
        assert!(place("x") + place("w") <= 24, "{title}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{title} lies on another panel");
            }
        }
        for target in panel["targets"].as_array().expect("targets") {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
    let variables: Vec<_> = dashboard["templating"]["list"].as_array().expect("variables").iter().collect();
    assert!(variables.iter().any(|v| v["name"] == "datasource" && v["type"] == "datasource"));
}

/// Runs a tool on some input; `None`, and a word about it, where it is missing.
fn tool(name: &str, args: &[&str], folder: &Path, input: &str) -> Option<(bool, String)> {
    let mut command = Command::new(name);
    command.args(args).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        // Not eprintln!, which the test harness keeps to itself.
        let _ = writeln!(io::stderr(), "SKIPPED: {name} is not installed");
        return None;
    };
    let mut stdin = child.stdin.take().expect("its standard input");
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Some((output.status.success(), said))
}

#[test]
fn promtool_finds_no_fault_with_alerts_and_their_tests() {
    let folder = root().join("contrib/prometheus");
    for args in [["check", "rules", "hbsniff.rules.yml"], ["test", "rules", "hbsniff.test.yml"]] {
        let Some((fine, said)) = tool("promtool", &args, &folder, "") else { return };
        assert!(fine, "{said}");
    }
}

#[test]
fn systemd_finds_no_fault_with_the_unit() {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = fs::read_to_string(root().join("contrib/systemd/hbsniff@.service")).expect("the unit");
    let unit = unit.replace("/usr/local/bin/hbsniff", env!("CARGO_BIN_EXE_hbsniff"));
    fs::write(folder.path().join("hbsniff@eth0.service"), unit).expect("a copy");
    let args = ["verify", "--man=no", "./hbsniff@eth0.service"];
    let Some((fine, said)) = tool("systemd-analyze", &args, folder.path(), "") else { return };
    assert!(fine && said.is_empty(), "{said}");
}

#[test]
fn a_run_on_files_has_no_metrics() {
    let output = common::hbsniff(&["--metrics", "127.0.0.1:0", "x.pcap"], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--metrics"));
    let output = common::hbsniff(&["-i", "lo", "--metrics", "here"], b"");
    assert_eq!(output.status.code(), Some(2));
}
