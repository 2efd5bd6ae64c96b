//! `--html`: the page is well-formed, loads nothing, says what the report says, stays small, and in a browser nothing
//! overlaps or leaves the screen (skipped, with a message, where there is no chromium).
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::pcap::{ACK, Pcap, SYN, reply, segment, with};
use roxmltree::{Document, Node, ParsingOptions};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name).join("capture.pcap")
}

fn page(captures: &[PathBuf]) -> String {
    let names: Vec<_> = captures.iter().map(|c| c.to_string_lossy()).collect();
    let args: Vec<&str> = ["--html", "-"].into_iter().chain(names.iter().map(|n| n.as_ref())).collect();
    common::stdout(&args, b"")
}

/// The page as XML, which no unclosed tag and no stray `<` survives.
fn parse(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).unwrap_or_else(|e| panic!("{e}"))
}

fn elements<'a, 'd>(doc: &'a Document<'d>, name: &str) -> Vec<Node<'a, 'd>> {
    doc.descendants().filter(|n| n.has_tag_name(name)).collect()
}

fn text(node: Node<'_, '_>) -> String {
    node.descendants().filter_map(|n| n.text().filter(|_| n.is_text())).collect()
}

/// Captures of every way to die, and of flows that live.
fn captures() -> Vec<PathBuf> {
    [
        "keepalive_cut_client_detects",
        "question_fifteen_minutes",
        "program_mqtt",
        "heartbeat_cut_request_reply",
        "heartbeat_hung_process",
        "server_reboot_keepalive_reset",
        "zero_window_host_dies",
        "icmp_unreachable_data",
        "view_ipv6",
        "nobody_watches",
        "keepalive_healthy_both",
        "program_websocket",
    ]
    .map(fixture)
    .to_vec()
}

#[test]
fn a_page_is_whole_and_needs_nothing_else() {
    for captures in captures().chunks(1).chain([captures().as_slice()]) {
        let page = page(captures);
        let doc = parse(&page);
        let ids: Vec<_> = doc.descendants().filter_map(|n| n.attribute("id")).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id stands twice");
        for node in doc.descendants().filter(Node::is_element) {
            assert!(!matches!(node.tag_name().name(), "script" | "link" | "img" | "iframe" | "object" | "base"));
            for attribute in node.attributes() {
                assert!(!matches!(attribute.name(), "src" | "srcset" | "data" | "action"), "{attribute:?}");
                if attribute.name() == "href" {
                    let target = attribute.value().strip_prefix('#').expect("a place on the page");
                    assert!(ids.contains(&target), "nothing is called {target}");
                }
                if attribute.name() == "aria-labelledby" {
                    assert!(ids.contains(&attribute.value()), "{attribute:?}");
                }
            }
        }
        for style in elements(&doc, "style") {
            let style = text(style);
            assert!(!style.contains("@import") && style.matches("url(").count() == style.matches("url(#").count());
        }
        // A comment that does not end hides a page that was not written to its end: nothing may end it.
        assert!(!page.contains("-->") && !page.contains("--!>"));
        assert_eq!(page, self::page(captures), "another run gives another page");
    }
}

#[test]
fn a_page_can_be_read_aloud() {
    let page = page(&captures());
    let doc = parse(&page);
    assert_eq!(elements(&doc, "html")[0].attribute("lang"), Some("en"));
    assert_eq!(elements(&doc, "h1").len(), 1);
    assert_eq!(elements(&doc, "main").len(), 1);
    // No level of heading is left out on the way down.
    let level = |n: &Node<'_, '_>| n.tag_name().name().strip_prefix('h').and_then(|l| l.parse::<u32>().ok());
    let levels: Vec<u32> = doc.descendants().filter_map(|n| level(&n)).collect();
    assert!(levels.windows(2).all(|w| w[1] <= w[0] + 1), "{levels:?}");
    // Every picture has a title in words, or is hidden because words beside it say the same.
    for svg in elements(&doc, "svg") {
        let title = svg.children().find(|n| n.has_tag_name("title"));
        let hidden = svg.attribute("aria-hidden") == Some("true");
        assert!(hidden || (svg.attribute("role") == Some("img") && title.is_some_and(|t| text(t).len() > 20)));
    }
    for th in elements(&doc, "th") {
        assert_eq!(th.attribute("scope"), Some("col"));
    }
}

/// Marks of a kind in a flow's first picture.
fn marks(article: Node<'_, '_>, id: &str) -> u64 {
    let chart = article.descendants().find(|n| n.attribute("class") == Some("chart")).expect("a picture");
    let wanted = format!("#m-{id}");
    chart.descendants().filter(|n| n.attribute("href") == Some(&wanted)).count() as u64
}

#[test]
fn a_page_says_what_the_report_says() {
    for capture in captures() {
        let report = common::report(&capture);
        let page = page(std::slice::from_ref(&capture));
        let doc = parse(&page);
        for flow in report["flows"].as_array().unwrap() {
            let id = format!("flow-{}", flow["id"]);
            let article = doc.descendants().find(|n| n.attribute("id") == Some(&id));
            let Some(article) = article else {
                assert_eq!(flow["deaths"].as_array().unwrap().len(), 0, "{capture:?}: {id} is not drawn");
                continue;
            };
            let said = text(article);
            let ends = format!("{} → {}", common::endpoint(&flow["client"]), common::endpoint(&flow["server"]));
            assert!(said.contains(&ends), "{capture:?}: {ends} is not in {said}");
            for death in flow["deaths"].as_array().unwrap() {
                assert!(said.contains(death["mechanism"].as_str().unwrap()), "{capture:?}");
                let clock = death["clock"].as_str();
                assert!(clock.is_none_or(|clock| said.contains(clock)), "{capture:?}: {clock:?}");
            }
            for finding in flow["findings"].as_array().unwrap() {
                assert!(said.contains(finding["message"].as_str().unwrap()), "{capture:?}");
                let code = finding["code"].as_str().unwrap();
                assert!(said.contains(code) && page.contains(&format!("id=\"word-{code}\"")));
            }
            // These captures are short: no mark is so close to another that it is left out.
            let sum = |key: &str| -> u64 {
                ["client", "server"].iter().filter_map(|side| flow["keepalive"][side][key].as_u64()).sum()
            };
            assert_eq!(marks(article, "probe"), sum("answered"), "{capture:?}");
            assert_eq!(marks(article, "answer"), sum("answered"), "{capture:?}");
            assert_eq!(marks(article, "lost"), sum("unanswered"), "{capture:?}");
        }
    }
}

/// By the fixture's truth: cut after the answer to the second probe; three probes unanswered, then the reset.
#[test]
fn the_moments_of_a_death_stand_in_their_order() {
    let page = page(&[fixture("keepalive_cut_client_detects")]);
    let doc = parse(&page);
    let place = |class: &str| -> f64 {
        let line = elements(&doc, "line").into_iter().find(|n| n.attribute("class") == Some(class)).expect(class);
        line.attribute("x1").unwrap().trim_end_matches('%').parse().unwrap()
    };
    let x = |n: Node<'_, '_>| n.attribute("x").unwrap().trim_end_matches('%').parse::<f64>().unwrap();
    let lost: Vec<f64> =
        elements(&doc, "use").into_iter().filter(|n| n.attribute("href") == Some("#m-lost")).skip(1).map(x).collect();
    let (heard, first, verdict) = (place("heard"), place("unanswered"), place("verdict"));
    assert_eq!(lost.len(), 3);
    assert!(heard < first && first == lost[0] && lost[2] < verdict, "{heard} {first} {lost:?} {verdict}");
    // To scale: keepalive 2/1/3 probes after two seconds and then each second, and gives up a second after the last.
    let second = (verdict - heard) / 5.0;
    for (n, at) in [(2.0, lost[0]), (3.0, lost[1]), (4.0, lost[2])] {
        assert!((at - heard - n * second).abs() < second / 10.0, "{n} s: {at}");
    }
}

/// So many clients whose server falls silent after the handshake: each resends its data in vain.
fn silent(clients: u32) -> Pcap {
    const MS: i64 = 1_000_000;
    let mut packets = Vec::new();
    for client in 0..clients {
        let start = i64::from(client) * MS;
        packets.push((start, segment(client, SYN, 1, 0)));
        packets.push((start + MS / 2, reply(client, SYN | ACK, 1, 2)));
        packets.push((start + MS, segment(client, ACK, 2, 2)));
        for doubling in 0..8 {
            let at = start + 2 * MS + 200 * MS * ((1 << doubling) - 1);
            packets.push((at, with(segment(client, ACK, 2, 2), b"<&\"'>")));
        }
    }
    packets.sort();
    let mut pcap = Pcap::new();
    packets.iter().for_each(|(at, packet)| pcap.packet(*at, packet));
    pcap
}

#[test]
fn ten_thousand_dead_flows_make_a_small_page_that_says_what_it_leaves_out() {
    let page = common::stdout(&["--html", "-", "-"], silent(10_000).bytes());
    assert!(page.len() < 1 << 20, "{} bytes", page.len());
    let doc = parse(&page);
    let drawn = elements(&doc, "article").len();
    let listed: usize = elements(&doc, "ul")
        .into_iter()
        .filter(|n| n.attribute("class") == Some("listed"))
        .map(|ul| ul.children().filter(Node::is_element).count())
        .sum();
    assert!(drawn >= 20 && listed >= 100, "{drawn} drawn, {listed} listed");
    assert!(page.contains(&format!("{} more with a dead peer", 10_000 - drawn - listed)));
}

#[test]
fn what_comes_from_outside_stays_text() {
    let dir = tempfile::tempdir().unwrap();
    let name = "<script>alert('1')</script> & \"x\".pcap";
    fs::copy(fixture("keystrokes"), dir.path().join(name.replace('/', "∕"))).unwrap();
    let file = dir.path().join(name.replace('/', "∕"));
    let page = page(&[file]);
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    assert!(elements(&parse(&page), "p").into_iter().any(|p| text(p).contains("<script>alert('1')")));
}

#[test]
fn a_page_is_written_beside_the_text_and_only_where_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let (file, capture) = (dir.path().join("report.html"), fixture("nobody_watches"));
    let (name, capture) = (file.to_string_lossy(), capture.to_string_lossy());
    fs::write(&file, "an older page, which is longer ".repeat(10_000)).unwrap();
    assert_eq!(common::stdout(&["--html", &name, &capture], b""), common::stdout(&[&capture], b""));
    assert_eq!(fs::read_to_string(&file).unwrap(), page(&[fixture("nobody_watches")]));

    let fails = |args: &[&str], why: &str| {
        let output = common::hbsniff(args, b"");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    };
    fails(&["--html", "-", "--json", &capture], "--html -");
    fails(&["--html", "/no/such/folder/a.html", &capture], "/no/such/folder/a.html");
    let copy = dir.path().join("a.pcap");
    fs::copy(fixture("keystrokes"), &copy).unwrap();
    fails(&["--html", &copy.to_string_lossy(), &copy.to_string_lossy()], "it is being read");
    assert_eq!(fs::read(&copy).unwrap(), fs::read(fixture("keystrokes")).unwrap());
}

/// A limit on the size of files stands for the end of the disk.
#[test]
#[cfg(target_os = "linux")]
fn half_a_page_shows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (file, capture) = (dir.path().join("report.html"), fixture("nobody_watches"));
    let script = r#"trap '' XFSZ; exec prlimit --fsize=5000 "$1" --html "$2" "$3""#;
    let output = Command::new("sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_hbsniff")])
        .args([&file, &capture])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("cannot write") && stderr.contains("report.html"), "{stderr}");
    // The text is not lost.
    assert_eq!(String::from_utf8(output.stdout).unwrap(), common::stdout(&[&capture.to_string_lossy()], b""));
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.starts_with("<!--") && !written.contains("-->"), "{written}");
}

/// Measures a page in a browser: what overlaps, and what leaves the screen; `None` without a browser.
fn measure(page: &str, width: u32) -> Option<String> {
    const SCRIPT: &str = r#"
        const wrong = [];
        const frame = document.querySelector('iframe'), page = frame.contentDocument;
        const root = page.documentElement;
        if (root.scrollWidth > root.clientWidth) wrong.push('wider than the screen: ' + root.scrollWidth);
        page.querySelectorAll('svg.chart').forEach(svg => {
            const seen = [...svg.querySelectorAll(':scope > text')].map(t => [t, t.getBoundingClientRect()])
                .filter(([, box]) => box.width > 0);
            seen.forEach(([text, a], i) => {
                if (a.left < 0 || a.right > root.clientWidth) wrong.push('off the screen: ' + text.textContent);
                seen.slice(i + 1).forEach(([other, b]) => {
                    // Boxes of letters have some air above and below.
                    if (a.left < b.right && b.left < a.right && a.top + 3 < b.bottom && b.top + 3 < a.bottom)
                        wrong.push(text.textContent + ' on ' + other.textContent);
                });
            });
        });
        const charts = page.querySelectorAll('svg.chart').length, marks = page.querySelectorAll('.chart use').length;
        document.body.textContent = '[[' + [charts, marks, ...wrong].join('; ') + ']]';
    "#;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("frame.html");
    let source = page.replace('&', "&amp;").replace('"', "&quot;");
    let frame = format!(
        "<meta charset=\"utf-8\"><iframe style=\"border:0;width:{width}px;height:1000px\" srcdoc=\"{source}\"></iframe>\
         <script>onload = () => {{ {SCRIPT} }};</script>"
    );
    fs::write(&file, frame).unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--window-size=1400,1200"])
        .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: no chromium");
        return None;
    };
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = dom.split("[[").nth(1).and_then(|rest| rest.split("]]").next());
    let Some(said) = said else {
        eprintln!("skipped: chromium did not run: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    };
    Some(said.to_owned())
}

#[test]
fn in_a_browser_nothing_overlaps_and_nothing_leaves_the_screen() {
    let page = page(&captures());
    let doc = parse(&page);
    let charts: Vec<_> = doc.descendants().filter(|n| n.attribute("class") == Some("chart")).collect();
    let marks: usize = charts.iter().map(|c| c.descendants().filter(|n| n.has_tag_name("use")).count()).sum();
    // Seen to find what is wrong: words that all begin at their place run into others and off the screen.
    let wrong = page.replace("text-anchor=\"end\"", "").replace("text-anchor=\"middle\"", "");
    let Some(said) = measure(&wrong, 360) else { return };
    assert!(said.contains("off the screen: ") && said.contains(" on "), "{said}");
    for width in [360, 800, 1200] {
        let Some(said) = measure(&page, width) else { return };
        assert_eq!(said, format!("{}; {marks}", charts.len()), "at {width} pixels");
    }
}
