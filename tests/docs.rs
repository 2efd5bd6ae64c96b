//! The documents say what is so: commands print what is shown, sums come out, tables agree with the data they repeat, and
//! the map of the modules is whole.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::markdown::{links_exist, options_exist, path, read, shows_what_is_printed};
use hbsniff::liveness::limits::{self, Ends, Resets};

/// The pages of docs/, the questions and what they share.
fn pages() -> Vec<String> {
    let entries = fs::read_dir(path("docs")).expect("docs/");
    let names = entries.map(|e| e.expect("an entry").file_name().into_string().expect("a name in UTF-8"));
    let mut pages: Vec<_> = names.filter(|n| n.ends_with(".md")).map(|n| format!("docs/{n}")).collect();
    pages.sort();
    pages
}

/// The documents for those who change the program.
const FOR_CONTRIBUTORS: [&str; 3] = ["ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];

/// What the shell prints where `hbsniff` is the built program; `None` where jq is wanted and not installed.
#[cfg(unix)]
fn shell(command: &str) -> Option<String> {
    let installed = Command::new("jq").arg("--version").output().is_ok_and(|o| o.status.success());
    if command.contains("| jq") && !installed {
        eprintln!("not compared, for there is no jq: hbsniff {command}");
        return None;
    }
    let script = format!("hbsniff() {{ '{}' \"$@\"; }}\nhbsniff {command}", env!("CARGO_BIN_EXE_hbsniff"));
    let output = Command::new("sh").args(["-c", &script]).current_dir(path("")).output().expect("a shell");
    assert!(output.status.success(), "hbsniff {command}: {output:?}");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

/// `UPDATE_DOCS=1 cargo test --test docs` writes the outputs as they are now.
#[test]
#[cfg(unix)]
fn every_output_shown_is_what_is_printed() {
    let mut questions = 0;
    for page in pages() {
        let shown = shows_what_is_printed(&page, "hbsniff ", "UPDATE_DOCS", shell);
        let question = read(&page).lines().next().is_some_and(|title| title.ends_with('?'));
        assert!(shown > 0 || !question, "{page} shows nothing");
        questions += usize::from(question);
    }
    assert_eq!(questions, 5);
}

#[test]
fn every_option_and_every_file_exists() {
    for document in pages().iter().map(String::as_str).chain(FOR_CONTRIBUTORS) {
        options_exist(document);
        links_exist(document);
        for rest in read(document).split("hbsniff explain ").skip(1) {
            let word = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
            let known = word == "WORD" || hbsniff::explain::TERMS.iter().any(|term| term.word == word);
            assert!(known, "{document}: hbsniff explain {word}");
        }
    }
}

#[test]
fn the_index_leads_to_every_page_and_the_readme_to_the_index() {
    let index = read("docs/README.md");
    for page in pages().iter().filter_map(|page| page.strip_prefix("docs/")).filter(|&page| page != "README.md") {
        assert!(index.contains(&format!("]({page})")), "{page}");
    }
    for document in FOR_CONTRIBUTORS.iter().chain(&["docs/README.md"]) {
        assert!(read("README.md").contains(&format!("]({document})")), "{document}");
    }
}

/// A sum such as `7200 + 9 × 75`.
fn sum(terms: &str) -> Option<f64> {
    let product = |term: &str| {
        let mut factors = term.split(" × ").map(|factor| {
            let mut parts = factor.trim().split(" / ").map(|n| n.parse::<f64>().ok());
            let first = parts.next()??;
            parts.try_fold(first, |quotient, by| Some(quotient / by?))
        });
        factors.try_fold(1.0, |product, factor| Some(product * factor?))
    };
    terms.split(" + ").map(product).sum()
}

/// Every sum in backticks, `terms = result`, comes out.
#[test]
fn sums_come_out() {
    let mut sums = 0;
    for page in pages() {
        let text = read(&page);
        for span in text.split('`').skip(1).step_by(2).filter(|span| span.starts_with(|c: char| c.is_ascii_digit())) {
            let Some((terms, result)) = span.split_once(" = ") else { continue };
            let (computed, said) = (sum(terms), result.parse::<f64>().ok());
            let right = computed.zip(said).is_some_and(|(computed, said)| (computed - said).abs() < 0.05);
            assert!(right, "{page}: {span}, which is {computed:?}");
            sums += 1;
        }
    }
    assert!(sums >= 8, "{sums}");
}

/// The rows of the tables of a page, by cells; headings and rules too.
fn rows(page: &str) -> Vec<Vec<String>> {
    let text = read(page);
    let table = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    table.map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// A figure in front of its unit.
fn figure(cell: &str) -> Option<f64> {
    cell.split(' ').next()?.parse().ok()
}

/// Linux' `tcp_model_timeout()`: so many retransmissions and one timeout more, doubled from 0.2 s up to 120 s.
#[test]
fn the_retransmission_limits_are_those_of_linux() {
    let rows = rows("docs/why-15-minutes.md");
    let limits: Vec<_> = rows.iter().filter_map(|row| Some((figure(&row[0])?, figure(&row[1])?))).collect();
    assert!(limits.len() >= 5 && limits.contains(&(15.0, 924.6)), "{limits:?}");
    for (retries, said) in limits {
        let computed: f64 = (0..=retries as i32).map(|n| (0.2 * 2f64.powi(n)).min(120.0)).sum();
        assert!((computed - said).abs() < 1e-6, "tcp_retries2 = {retries}: {computed} s");
    }
}

/// What the page says of the cure, by the application's own account.
#[test]
fn the_user_timeout_ended_it_when_the_page_says() {
    let folder = path("fixtures/question_user_timeout_instead");
    let truth = fs::read_to_string(folder.join("truth.json")).expect("truth.json");
    let truth: serde_json::Value = serde_json::from_str(&truth).expect("JSON");
    let events = common::stdout(&["--events", &folder.join("capture.pcap").to_string_lossy()], b"");
    let events = common::events(&events);
    // The request is resent for the first time 0.2 s after it was sent (RFC 6298, Linux' least timeout).
    let resent = events.iter().find(|e| e["event"] == "retransmission").and_then(|e| common::epoch(&e["time"]));
    let ended = truth["flows"][0]["deaths"][0]["detected_at"].as_f64();
    let took = ended.zip(resent).map(|(ended, resent)| ended - (resent - 0.2)).expect("both moments");
    assert!(read("docs/why-15-minutes.md").contains(&format!("error {took:.1} s after its request")), "{took}");
}

#[test]
fn the_costs_are_segments_times_their_length() {
    const BARE: f64 = 14.0 + 20.0 + 20.0 + 12.0;
    let mut checked = 0;
    for row in rows("docs/what-heartbeats-cost.md") {
        let Some((what, every)) = row[0].split_once(", every ") else { continue };
        let an_hour = 3600.0 / figure(every).expect("seconds");
        let payload = what.strip_prefix("heartbeat of ").and_then(figure);
        let (packets, bytes) = payload.map_or((2.0, 2.0 * BARE), |len| (3.0, 3.0 * BARE + 2.0 * len));
        assert_eq!(figure(&row[1]), Some(packets * an_hour), "{row:?}");
        assert_eq!(figure(&row[2]), Some(bytes * an_hour), "{row:?}");
        checked += 1;
    }
    assert!(checked >= 6, "{checked}");
}

#[test]
fn the_idle_timeouts_are_those_of_the_table() {
    let page = "docs/which-interval.md";
    let mut checked = 0;
    for row in rows(page).iter().filter(|row| row.len() == 4 && row[1].ends_with(" s")) {
        let known = limits::known().iter().find(|limit| limit.name == row[0]).unwrap_or_else(|| panic!("{row:?}"));
        assert_eq!(figure(&row[1]), Some(known.limit_s), "{row:?}");
        let counts = match known.resets {
            Resets::Any => "packets",
            Resets::Payload => "payload",
        };
        let then = match known.ends {
            Some(Ends::Silent) => "silence",
            Some(Ends::RstNextSender) => "reset to the next sender",
            Some(Ends::RstBoth) => "reset to both",
            Some(Ends::Fin) => "FIN",
            None => "",
        };
        assert_eq!((row[2].as_str(), row[3].as_str()), (counts, then), "{row:?}");
        checked += 1;
    }
    assert!(checked >= 10, "{checked}");
    // The two figures that the advice rests on.
    let text = read(page).replace('\n', " ");
    for (resets, said) in
        [(Resets::Any, "shortest default known is"), (Resets::Payload, "and the shortest default known is")]
    {
        let shortest = limits::known().iter().filter(|limit| limit.resets == resets).map(|limit| limit.limit_s);
        let shortest = shortest.fold(f64::INFINITY, f64::min);
        assert!(text.contains(&format!("{said} {shortest} s")), "{said} {shortest} s");
    }
}

/// Every module of `src/` by the path that its document gives it: `flow`, `report/text.rs`.
#[test]
fn the_map_of_the_modules_is_whole() {
    let text = read("ARCHITECTURE.md");
    let code: BTreeSet<&str> = text.split('`').skip(1).step_by(2).collect();
    for named in code.iter().filter(|name| name.ends_with(".rs") || name.ends_with('/')) {
        let there = ["", "src/"].iter().any(|root| path(&format!("{root}{named}")).exists());
        assert!(there, "ARCHITECTURE.md names {named}, which is not there");
    }
    for entry in fs::read_dir(path("src")).expect("src/") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        let name = if entry.path().is_dir() { format!("{name}/") } else { name };
        assert!(code.contains(name.as_str()), "ARCHITECTURE.md lacks a line for src/{name}: `{name}`");
    }
}

/// The sources under a folder of `src/`, or the one file.
fn sources(place: PathBuf) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place];
    }
    let entries = fs::read_dir(&place).unwrap_or_else(|e| panic!("{}: {e}", place.display()));
    entries.flat_map(|entry| sources(entry.expect("an entry").path())).collect()
}

/// The core asks no clock, does no I/O, starts no thread, and each part knows only those before it.
#[test]
fn the_core_keeps_to_what_is_said_of_it() {
    const WORLD: [&str; 6] = ["Instant::", "SystemTime", "std::fs", "std::io", "std::thread", "std::env"];
    let parts = [
        (&["packet.rs", "clock.rs", "event.rs", "summary.rs"][..], &["decode", "flow", "liveness"][..]),
        (&["decode"], &["flow", "liveness"]),
        (&["flow"], &["decode", "liveness"]),
        (&["liveness"], &["decode"]),
    ];
    for (part, unknown) in parts {
        let outside = ["analyzer", "capture", "cli", "engine", "report", "run", "watch"];
        let modules = unknown.iter().chain(&outside).map(|module| format!("crate::{module}::"));
        let forbidden: Vec<_> = WORLD.map(str::to_owned).into_iter().chain(modules).collect();
        for file in part.iter().flat_map(|name| sources(path("src").join(name))) {
            let text = fs::read_to_string(&file).expect("a source");
            for word in &forbidden {
                assert!(!text.contains(word.as_str()), "{}: {word}", file.display());
            }
        }
    }
}

#[test]
fn the_changelog_keeps_its_form() {
    let text = read("CHANGELOG.md");
    assert!(text.contains("keepachangelog.com") && text.contains("\n## [Unreleased]\n"));
    const KINDS: [&str; 6] = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    for kind in text.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(KINDS.contains(&kind), "{kind}");
    }
}
