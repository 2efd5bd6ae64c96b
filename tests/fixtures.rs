//! The built program against captures recorded from real kernels: what it says must be what the kernels' counters, the
//! sockets' errors and the applications' own accounts said (`truth.json` beside each capture).

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use common::{endpoint, epoch, peer};
use serde_json::Value;

const SIDES: [&str; 2] = ["client", "server"];

/// A fixture and what the program said of it.
struct Case {
    name: String,
    file: PathBuf,
    truth: Value,
    report: Value,
    events: Vec<Value>,
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut folders: Vec<_> = fs::read_dir(&root).expect("fixtures/").map(|e| e.expect("an entry").path()).collect();
    folders.retain(|f| f.join("truth.json").exists());
    folders.sort();
    assert!(folders.len() > 40, "only {} fixtures in {}", folders.len(), root.display());
    folders.iter().map(|folder| load(folder)).collect()
});

fn load(folder: &Path) -> Case {
    let text = fs::read_to_string(folder.join("truth.json")).expect("truth.json");
    let truth: Value = serde_json::from_str(&text).expect("truth.json is JSON");
    let file = folder.join(truth["capture"]["file"].as_str().expect("the capture's name"));
    let events = common::events(&common::stdout(&["--events", &file.to_string_lossy()], b""));
    let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
    Case { name, report: common::report(&file), file, truth, events }
}

impl Case {
    /// Each true flow with the reported one; a missing one is a miss of [`flows_are_found`], not of every test.
    fn flows(&self) -> impl Iterator<Item = (&Value, &Value)> {
        list(&self.truth["flows"]).iter().zip(list(&self.report["flows"]))
    }

    fn has_start(&self) -> bool {
        self.truth["capture"]["from_start"] == true
    }

    /// Whether the file shows all that `side` sent.
    fn shows(&self, side: &str) -> bool {
        self.truth["capture"]["hidden_after_cut"] != side
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Collects what is wrong in all fixtures, so that a failure tells the whole picture.
#[derive(Default)]
struct Misses(Vec<String>);

impl Misses {
    fn expect(&mut self, holds: bool, case: &Case, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(format!("{}: {}", case.name, what()));
        }
    }
}

impl Drop for Misses {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || self.0.is_empty(), "{} misses\n  {}", self.0.len(), self.0.join("\n  "));
    }
}

#[test]
fn flows_are_found() {
    let mut misses = Misses::default();
    for case in CASES.iter() {
        let (want, got) = (list(&case.truth["flows"]), list(&case.report["flows"]));
        misses.expect(want.len() == got.len(), case, || format!("{} flows, reported {}", want.len(), got.len()));
        for (want, got) in case.flows() {
            for side in SIDES {
                misses.expect(endpoint(&got[side]) == want[side], case, || {
                    format!("{side} is {}, reported {}", want[side], endpoint(&got[side]))
                });
            }
            let handshake = if case.has_start() { "full" } else { "none" };
            misses.expect(got["handshake"] == handshake, case, || format!("handshake {}", got["handshake"]));
            misses.expect(got["end"] == want["end"], case, || format!("end {}, reported {}", want["end"], got["end"]));
        }
    }
}

#[test]
fn the_capture_is_described() {
    let mut misses = Misses::default();
    for case in CASES.iter() {
        let (want, got) = (&case.truth["capture"], &case.report["capture"]);
        misses.expect(got["link_types"] == want["link_types"], case, || format!("link types {}", got["link_types"]));
        let duplicates = got["skipped"]["duplicates"].as_u64().unwrap_or(0);
        misses.expect((duplicates > 0) == (want["duplicated"] == true), case, || format!("{duplicates} duplicates"));
        let told = case.flows().any(|(_, f)| finding(f, "capture_has_duplicates"));
        misses.expect(told == (want["duplicated"] == true), case, || format!("capture_has_duplicates: {told}"));
        misses.expect(list(&got["warnings"]).is_empty(), case, || format!("warnings {}", got["warnings"]));
        misses.expect(got["skipped"]["malformed"] == 0, case, || format!("malformed {}", got["skipped"]["malformed"]));
    }
}

fn finding(flow: &Value, code: &str) -> bool {
    list(&flow["findings"]).iter().any(|f| f["code"] == code)
}

/// TcpExtTCPKeepAlive counts what a host sent; the file must show as many, and none for a host that sent none.
#[test]
fn keepalive_probes_are_those_that_the_kernel_counted() {
    let mut misses = Misses::default();
    for case in CASES.iter() {
        for (want, got) in case.flows() {
            for side in SIDES {
                let sent = want["keepalive"][side]["probes"].as_u64().unwrap_or(0);
                let seen = got["keepalive"][side]["probes"].as_u64().unwrap_or(0);
                let right = if case.shows(side) { seen == sent } else { seen <= sent };
                misses.expect(right, case, || format!("{side} sent {sent} probes, reported {seen}"));
            }
        }
    }
}

/// TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT as the sockets had them: what is said is right, and what shows is said.
#[test]
fn keepalive_settings_are_those_of_the_sockets() {
    let mut misses = Misses::default();
    for case in CASES.iter() {
        for (want, got) in case.flows() {
            for side in SIDES {
                let (set, told) = (&want["keepalive"][side], &got["keepalive"][side]);
                if told.is_null() || set["idle_s"].is_null() {
                    continue;
                }
                for key in ["idle_s", "interval_s", "count"] {
                    if key == "count" && !set["user_timeout_s"].is_null() {
                        continue; // TCP_USER_TIMEOUT decides how many go unanswered
                    }
                    let right = told[key].is_null() || told[key].as_f64() == set[key].as_f64();
                    misses.expect(right, case, || format!("{side} {key} {}, reported {}", set[key], told[key]));
                }
                let enough = told["probes"].as_u64() >= Some(3) && case.has_start();
                misses.expect(!enough || !told["idle_s"].is_null(), case, || format!("{side} idle_s not told"));
                let gave_up = list(&want["deaths"])
                    .iter()
                    .any(|d| d["mechanism"] == "keepalive_timeout" && d["detected_by"] == side && case.shows(side));
                for key in ["interval_s", "count"] {
                    misses.expect(!gave_up || !told[key].is_null(), case, || format!("{side} {key} not told"));
                }
            }
        }
    }
}

/// TcpExtTCPWinProbe: a probe of a closed window has the shape of a keepalive probe and is none.
#[test]
fn window_probes_are_those_that_the_kernel_counted() {
    let mut misses = Misses::default();
    for case in CASES.iter() {
        for (want, got) in case.flows() {
            for side in SIDES {
                let (sent, seen) = (&want["zero_window_probes"][side], &got["zero_window_probes"][side]);
                misses.expect(sent == seen, case, || format!("{side} sent {sent} window probes, reported {seen}"));
            }
        }
    }
}

/// TcpRetransSegs: one-byte retransmissions too have the shape of a keepalive probe.
#[test]
fn retransmissions_are_those_that_the_kernel_counted() {
    let mut misses = Misses::default();
    for case in CASES.iter() {
        for (want, got) in case.flows() {
            for side in SIDES.into_iter().filter(|side| case.shows(side)) {
                let (sent, seen) = (&want["retransmissions"][side], &got["traffic"][side]["retransmissions"]);
                misses.expect(sent == seen, case, || format!("{side} resent {sent} segments, reported {seen}"));
            }
        }
    }
}

#[test]
fn heartbeats_are_those_that_the_application_sent() {
    let mut misses = Misses::default();
    for case in CASES.iter() {
        for (want, got) in case.flows() {
            let mut unexpected: Vec<_> = list(&got["heartbeats"]).iter().filter(|h| h["kind"] == "heartbeat").collect();
            for beat in list(&want["heartbeats"]) {
                let interval = beat["interval_s"].as_f64().expect("an interval");
                let place = unexpected.iter().position(|h| {
                    let median = h["interval_s"]["median"].as_f64().unwrap_or(0.0);
                    h["from"] == beat["from"] && (median - interval).abs() <= (0.1 * interval).max(0.3)
                });
                let all: Vec<_> = unexpected.iter().map(|h| (&h["from"], &h["protocol"], &h["interval_s"])).collect();
                misses.expect(place.is_some(), case, || {
                    format!("no beat of {} every {interval} s in {all:?}", beat["from"])
                });
                let Some(place) = place else { continue };
                let told = unexpected.remove(place);
                for key in ["protocol", "mode"] {
                    misses.expect(told[key] == beat[key], case, || {
                        format!("beat's {key} {}, reported {}", beat[key], told[key])
                    });
                }
                let trigger = told["trigger"] == beat["trigger"] || told["trigger"] == "undetermined";
                misses.expect(trigger, case, || {
                    format!("beat's trigger {}, reported {}", beat["trigger"], told["trigger"])
                });
                if let Some(declared) = beat["declared_s"].as_f64() {
                    misses.expect(told["declared_s"] == declared, case, || {
                        format!("declared {declared}, reported {}", told["declared_s"])
                    });
                }
                // Behind a cut, beats queue up behind the first that is not acknowledged and never leave.
                let hidden = if list(&want["deaths"]).is_empty() { 0 } else { 2 };
                for (key, sent) in [("count", &beat["sent"]), ("replies", &beat["replies"])] {
                    let (Some(sent), seen) = (sent.as_u64(), told[key].as_u64().unwrap_or(0)) else { continue };
                    let right = (sent.saturating_sub(hidden)..=sent).contains(&seen);
                    misses.expect(right, case, || format!("beat's {key} {sent}, reported {seen}"));
                }
            }
            let extra: Vec<_> = unexpected.iter().map(|h| (&h["from"], &h["protocol"], &h["interval_s"])).collect();
            misses.expect(extra.is_empty(), case, || format!("false heartbeats {extra:?}"));
        }
    }
}

/// Who died, who noticed, how and when: by the errno of the socket, or by the application that gave up.
#[test]
fn deaths_are_those_that_the_sockets_told() {
    let mut misses = Misses::default();
    for case in CASES.iter() {
        for (want, got) in case.flows() {
            let told = list(&got["deaths"]);
            for death in list(&want["deaths"]) {
                let found = told.iter().find(|d| d["detected_by"] == death["detected_by"]);
                misses.expect(found.is_some(), case, || format!("the {} noticed, not reported", death["detected_by"]));
                let Some(found) = found else { continue };
                misses.expect(found["dead"] == death["dead"], case, || format!("dead {}", found["dead"]));
                let also = list(&death["shown_as"]).contains(&found["mechanism"]);
                let right = found["mechanism"] == death["mechanism"] || also;
                misses.expect(right, case, || format!("{}, reported {}", death["mechanism"], found["mechanism"]));
                moment(&mut misses, case, death, found);
            }
            let extra: Vec<_> = told
                .iter()
                .filter(|d| !list(&want["deaths"]).iter().any(|w| w["detected_by"] == d["detected_by"]))
                .map(|d| (&d["dead"], &d["mechanism"], &d["basis"]))
                .collect();
            misses.expect(extra.is_empty(), case, || format!("false deaths {extra:?}"));
        }
    }
}

fn moment(misses: &mut Misses, case: &Case, death: &Value, found: &Value) {
    let cut = death["cut_at"].as_f64().expect("the time of the cut");
    let heard = epoch(&found["last_heard"]);
    if death["still_acknowledges"] == true {
        // The process is dead or stuck, its kernel is not.
    } else if case.truth["capture"]["heard_in_file"] == false {
        misses.expect(heard.is_none(), case, || format!("last heard {}", found["last_heard"]));
    } else {
        misses.expect(heard.is_some_and(|t| t <= cut + 0.05), case, || {
            format!("last heard {:.3} s after the cut", heard.unwrap_or(f64::NAN) - cut)
        });
    }
    misses.expect(found["basis"] == death["basis"], case, || {
        format!("basis {}, reported {}", death["basis"], found["basis"])
    });
    let uncertainty = found["uncertainty_s"].as_f64().unwrap_or(f64::NAN);
    let (at, true_at) = (epoch(&found["detected_at"]), death["detected_at"].as_f64());
    match (at, true_at) {
        (None, None) => {}
        (Some(at), Some(true_at)) => {
            // The socket's error is read a little after the packet. An inferred moment may be off by what it says, and must
            // not say so much that it says nothing. TCP_USER_TIMEOUT shows on no packet: it ends a silence before the next
            // doubling that tcp_retries2 would have waited for.
            let observed = found["basis"] == "observed";
            let silence = true_at - heard.unwrap_or(true_at);
            let allowed = match observed {
                true => 0.1,
                false if death["user_timeout"] == true => silence,
                false => uncertainty.max(0.3),
            };
            misses.expect((at - true_at).abs() <= allowed, case, || {
                format!("detected {:+.3} s off, said ±{uncertainty}", at - true_at)
            });
            let modest = if observed { uncertainty == 0.0 } else { uncertainty <= 0.35 * silence.max(2.0) };
            misses.expect(modest, case, || format!("uncertainty {uncertainty} s of {silence:.1} s"));
            let span = found["detection_s"].as_f64();
            let right = match (heard, span) {
                (Some(heard), Some(span)) => (span - (at - heard)).abs() < 1e-3,
                (heard, span) => heard.is_none() && span.is_none(),
            };
            misses.expect(right, case, || format!("detection_s {span:?}"));
        }
        _ => misses.expect(false, case, || format!("detected_at {true_at:?}, reported {at:?}")),
    }
}

#[test]
fn a_new_connection_is_told_as_the_recovery() {
    let mut misses = Misses::default();
    for case in CASES.iter() {
        for (want, got) in case.flows().filter(|(want, _)| !want["recovered_as"].is_null()) {
            let death = &got["deaths"][0];
            misses.expect(death["recovered_as"] == want["recovered_as"], case, || format!("{}", death["recovered_as"]));
            misses.expect(death["outage_s"].as_f64() > death["detection_s"].as_f64(), case, || {
                format!("outage {}", death["outage_s"])
            });
        }
    }
}

/// On a connection where all that could notice is keepalive, it is what would notice; where there is none, nothing would.
#[test]
fn exposure_names_what_would_notice() {
    let mut misses = Misses::default();
    for case in CASES.iter() {
        for (want, got) in case.flows() {
            let quiet = list(&want["deaths"]).is_empty() && list(&want["heartbeats"]).is_empty();
            let stalled = SIDES.iter().any(|s| want["zero_window_probes"][s] != 0);
            if !quiet || stalled || want["end"] != "open" {
                continue;
            }
            for side in SIDES {
                let probes = want["keepalive"][peer(side)]["probes"].as_u64().unwrap_or(0);
                let told = &got["exposure"][format!("{side}_dies")]["noticed_by"];
                let right = if probes > 0 { told == "keepalive" } else { told == "none" || told == "retransmission" };
                misses.expect(right, case, || format!("if the {side} dies: {told}"));
            }
        }
    }
}

/// What a person should change. Small talk on connections of a few seconds is worth no finding, so these captures are
/// stretched: every second of them becomes a minute.
#[test]
fn findings_name_the_trouble() {
    let mut misses = Misses::default();
    let folder = tempfile::tempdir().expect("a folder");
    for (name, code) in [
        ("nobody_watches", "no_liveness"),
        ("keepalive_healthy_client", "one_sided_liveness"),
        ("keepalive_suppressed", "keepalive_suppressed"),
        ("zero_window_stuck_reader", "peer_stalled"),
        ("server_reboot_keepalive_reset", "half_open"),
    ] {
        let case = CASES.iter().find(|c| c.name == name).expect(name);
        let file = folder.path().join(name);
        fs::write(&file, stretched(fs::read(&case.file).expect("the capture"), 60)).expect("written");
        let report = common::report(&file);
        let found = list(&report["flows"]).iter().any(|flow| finding(flow, code));
        misses.expect(found, case, || format!("no {code} in {}", report["flows"][0]["findings"]));
    }
}

/// What the thread of each `question_` fixture asked (its `truth.json` names the thread), answered where a hurried reader
/// looks: in the first three lines.
#[test]
fn questions_are_answered_in_three_lines() {
    let never_acknowledged = "by data that was never acknowledged";
    let answers: &[(&str, &[&str])] = &[
        (
            "question_balancer_resets_idle",
            &["client was refused 5.1 s", "by a reset that answered its keepalive probe"],
        ),
        ("question_doubling_delays", &["client was refused 4 s", "by a reset that answered its data"]),
        ("question_exactly_two_hours", &["server for dead 8.2 s", "by keepalive probes"]),
        ("question_fifteen_minutes", &["server for dead 14 s", never_acknowledged, "keepalive on 1"]),
        ("question_idle_connection_blocks", &["server for dead 18.5 s", never_acknowledged]),
        ("question_is_keepalive_working", &["No dead peer", "keepalive on 1"]),
        ("question_keepalive_holds_the_mapping", &["No dead peer", "keepalive on 1"]),
        ("question_keepalive_useless_at_the_pooler", &["server for dead", never_acknowledged, "keepalive on 1"]),
        ("question_sessions_of_the_dead", &["on 3 a side could die and nobody would know"]),
        ("question_slow_or_dead", &["The client fell silent", "the server was still trying"]),
        ("question_user_timeout_instead", &["server for dead", never_acknowledged, "keepalive on 1"]),
    ];
    let asked = CASES.iter().filter(|c| c.name.starts_with("question_")).map(|c| c.name.as_str());
    assert!(asked.eq(answers.iter().map(|(name, _)| *name)), "a question without an answer");
    let mut misses = Misses::default();
    for (name, words) in answers {
        let case = CASES.iter().find(|c| c.name == *name).expect(name);
        let thread = case.truth["what"].as_str().is_some_and(|what| what.contains("Asked in github.com/"));
        misses.expect(thread, case, || "names no thread".to_owned());
        // The sessions are a few seconds old, too young to be found fault with: a second becomes a minute.
        let factor = if *name == "question_sessions_of_the_dead" { 60 } else { 1 };
        let capture = stretched(fs::read(&case.file).expect("the capture"), factor);
        let text = common::stdout(&["-"], &capture);
        let top = text.lines().take(3).collect::<Vec<_>>().join("\n");
        for word in *words {
            misses.expect(top.contains(word), case, || format!("no {word:?} in\n{top}"));
        }
    }
}

/// A little-endian pcap file of microseconds whose packets come `factor` times as far apart.
fn stretched(mut pcap: Vec<u8>, factor: u64) -> Vec<u8> {
    let word = |bytes: &[u8], at: usize| u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes")));
    let (mut at, mut first) = (24, None);
    while at < pcap.len() {
        let time = word(&pcap, at) * 1_000_000 + word(&pcap, at + 4);
        let first = *first.get_or_insert(time);
        let later = first + (time - first) * factor;
        pcap[at..at + 4].copy_from_slice(&((later / 1_000_000) as u32).to_le_bytes());
        pcap[at + 4..at + 8].copy_from_slice(&((later % 1_000_000) as u32).to_le_bytes());
        at += 16 + word(&pcap, at + 8) as usize;
    }
    pcap
}

/// The report is made from the events: they must add up to it.
#[test]
fn events_agree_with_the_report() {
    let mut misses = Misses::default();
    for case in CASES.iter() {
        let packets = case.report["capture"]["packets"].as_u64();
        for event in &case.events {
            let valid =
                epoch(&event["time"]).is_some() && (event["frame"].is_null() || event["frame"].as_u64() <= packets);
            misses.expect(valid, case, || format!("{event}"));
        }
        for flow in list(&case.report["flows"]) {
            let of = |kind: &str| -> Vec<&Value> {
                case.events.iter().filter(|e| e["event"] == kind && e["flow"] == flow["id"]).collect()
            };
            let mut same = |kind: &str, side: Option<&str>, want: u64| {
                let got = of(kind).iter().filter(|e| side.is_none_or(|s| e["from"] == s)).count() as u64;
                misses.expect(got == want, case, || format!("{want} {kind} of {side:?}, {got} events"));
            };
            let number = |value: &Value| value.as_u64().unwrap_or(0);
            same("flow_start", None, 1);
            same("flow_end", None, 1);
            for side in SIDES {
                let keepalive = &flow["keepalive"][side];
                same("keepalive_probe", Some(side), number(&keepalive["probes"]));
                same("keepalive_ack", Some(peer(side)), number(&keepalive["answered"]));
                same("zero_window_probe", Some(side), number(&flow["zero_window_probes"][side]));
                same("retransmission", Some(side), number(&flow["traffic"][side]["retransmissions"]));
            }
            same("peer_dead", None, list(&flow["deaths"]).len() as u64);
            for beat in list(&flow["heartbeats"]) {
                // A request that came once has its event, but makes no heartbeat.
                let told = |kind: &str, from: &str| {
                    let alike = |e: &&&Value| e["from"] == from && e["protocol"] == beat["protocol"];
                    of(kind).iter().filter(alike).count() as u64
                };
                let from = beat["from"].as_str().unwrap_or("?");
                for (key, got) in [
                    ("count", told("heartbeat", from)),
                    ("replies", told("heartbeat_reply", peer(from))),
                    ("missed", told("heartbeat_missed", from)),
                ] {
                    misses.expect(beat[key] == got, case, || format!("{from}'s {key} {}, {got} events", beat[key]));
                }
            }
            let end = of("flow_end").first().map(|e| e["end"].clone());
            misses.expect(end.as_ref() == Some(&flow["end"]), case, || format!("flow_end {end:?}"));
            for (event, death) in of("peer_dead").iter().zip(list(&flow["deaths"])) {
                for key in ["dead", "detected_by", "mechanism", "last_heard", "detected_at", "basis"] {
                    misses.expect(event[key] == death[key], case, || format!("peer_dead's {key} {}", event[key]));
                }
            }
        }
    }
}

/// A pipe gives the same verdicts as the file.
#[test]
fn standard_input_reads_like_a_file() {
    for case in CASES.iter().filter(|c| c.name.starts_with("view_")) {
        let bytes = fs::read(&case.file).expect("the capture");
        let mut piped: Value = serde_json::from_str(&common::stdout(&["--json", "-"], &bytes)).expect("JSON");
        piped["capture"]["sources"] = case.report["capture"]["sources"].clone();
        assert_eq!(piped, case.report, "{}", case.name);
    }
}

/// The views are one story seen from many places: the same probes, beats and verdict.
#[test]
fn every_view_tells_the_same_story() {
    let story = |case: &Case| {
        let flow = &case.report["flows"][0];
        let probes = (flow["keepalive"]["client"]["probes"].clone(), flow["keepalive"]["client"]["idle_s"].clone());
        let death = (flow["deaths"][0]["mechanism"].clone(), flow["deaths"][0]["detected_by"].clone());
        (probes, flow["heartbeats"][0]["count"].clone(), death)
    };
    let client = CASES.iter().find(|c| c.name == "view_client").expect("view_client");
    for case in CASES.iter().filter(|c| c.truth["flows"] == client.truth["flows"]) {
        assert_eq!(story(case), story(client), "{}", case.name);
    }
}
