//! The screen as a user meets it: keys in, a drawn terminal out.

use std::ops::Range;
use std::time::Duration;

use etherparse::PacketBuilder;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use super::app::{Act, App, Overlay, Page};
use super::board::{Board, SHOWN};
use super::draw::{Ink, draw};
use super::query::{Group, Query};
use super::view::{Counts, Phase, Row, View};
use crate::analyzer::{Analyzer, Options};
use crate::event::{Event, EventKind};
use crate::packet::{Frame, LinkType, SECOND};
use crate::sample::{self, START};
use crate::summary::{Both, Exposure, FlowSummary, NoticedBy, Side};
use crate::timeline::Timelines;

/// Healthy: the client would notice the server's death in five seconds.
fn watched(id: u64) -> FlowSummary {
    let mut flow = sample::quiet(id);
    flow.keepalive[Side::Client] = Some(sample::probes());
    let noticed = Exposure { noticed_by: NoticedBy::Keepalive, worst_case_s: Some(5.0), ..Exposure::default() };
    flow.exposure = Both([Exposure::default(), noticed]);
    flow
}

/// Ten seconds after the start: one flow dead, one watched and heard two seconds ago, many quiet ones.
fn view(query: &Query, phase: Phase) -> View {
    let mut timelines = Timelines::default();
    for s in [2, 4] {
        let kind = EventKind::KeepaliveProbe { probe_len: 0 };
        timelines.event(&Event {
            time: START.plus(s * SECOND),
            frame: Some(7),
            flow: 2,
            from: Some(Side::Client),
            kind,
        });
    }
    let heard = Both([Some(START.plus(8 * SECOND)), Some(START.plus(9 * SECOND))]);
    let flows = [sample::dead(), watched(2)].into_iter().chain((3..=60).map(sample::quiet));
    let mut counts = Counts::default();
    let mut rows: Vec<Row> = flows.map(|flow| Row::new(flow, Some(heard), timelines.of(2))).collect();
    rows.iter().for_each(|row| counts.add(row.state));
    rows.retain(|row| query.wants(&row.flow, row.state));
    rows.sort_by_key(|row| query.key(row));
    View {
        now: START.plus(10 * SECOND),
        first: Some(START),
        query: query.clone(),
        pinned: None,
        matching: rows.len() as u64,
        rows,
        counts,
        flows: 60,
        looked_at: 60,
        packets: 12_345,
        dropped: Some(3),
        let_go: 0,
        warnings: vec!["The clock\u{1b}[31m was set.".into()],
        phase,
    }
}

fn app(phase: Phase) -> App {
    let mut app = App::new("eth0\u{1b}]0;x\u{7}");
    app.show(view(&Query::default(), phase));
    app
}

fn press(app: &mut App, keys: &str) -> Vec<Act> {
    keys.chars()
        .map(|key| {
            let code = match key {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\u{1b}' => KeyCode::Esc,
                '↓' => KeyCode::Down,
                '↑' => KeyCode::Up,
                '⇟' => KeyCode::PageDown,
                key => KeyCode::Char(key),
            };
            let act = app.key(KeyEvent::new(code, KeyModifiers::NONE));
            // The analysis answers what is asked.
            app.show(view(&app.query, Phase::Live));
            act
        })
        .collect()
}

fn terminal(app: &mut App, width: u16, height: u16, color: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app, Ink::new(color))).unwrap();
    terminal
}

fn screen(app: &mut App, width: u16, height: u16) -> Vec<String> {
    let terminal = terminal(app, width, height, true);
    let cells = terminal.backend().buffer().content();
    cells.chunks(width.into()).map(|line| line.iter().map(|cell| cell.symbol()).collect()).collect()
}

#[test]
fn the_table_has_the_worst_first_with_state_watch_silence_and_clock() {
    let lines = screen(&mut app(Phase::Live), 80, 24);
    let all = lines.join("\n");
    assert!(lines[0].contains("live, 18:20:21 UTC") && lines[0].contains("12,345 packets"), "{all}");
    assert!(lines[0].contains("3 dropped"), "{all}");
    assert!(lines[1].contains("All 60") && lines[1].contains("Dead 1") && lines[1].contains("by worst"), "{all}");
    assert!(lines[3].contains("SERVER DEAD") && lines[3].contains("† 5.1 s"), "{all}");
    // Heard at 8 s and noticed within 5 s: 3 s are left at 10 s.
    let healthy = lines.iter().find(|line| line.contains(" ok ") && line.contains(" → ")).unwrap();
    assert!(healthy.contains("2.0 s") && healthy.contains("3.0 s"), "{all}");
    assert!(lines.iter().any(|line| line.contains(" ╌ ") && line.contains("never")), "{all}");
    assert!(all.contains("dead peer    client gave up on the server after 5.1 s of silence"), "{all}");
    assert!(lines[23].contains("q quit"), "{all}");
    assert!(!all.contains('\u{1b}') && all.contains("\\u{1b}"), "{all}");
}

#[test]
fn silences_grow_clocks_run_down_and_timelines_move_between_two_pictures() {
    let mut app = app(Phase::Live);
    let before = screen(&mut app, 100, 30);
    app.tick(Duration::from_secs(2));
    let after = screen(&mut app, 100, 30);
    let healthy =
        |lines: &[String]| lines.iter().find(|line| line.contains(" → ") && line.contains("ok")).unwrap().clone();
    assert!(healthy(&after).contains("4.0 s") && healthy(&after).contains("1.0 s"), "{}", healthy(&after));
    let probe = |lines: &[String]| healthy(lines).chars().position(|c| c == '○').unwrap();
    assert!(probe(&after) < probe(&before), "{}\n{}", healthy(&before), healthy(&after));
    app.tick(Duration::from_secs(4));
    let late = screen(&mut app, 100, 30);
    assert!(healthy(&late).contains("overdue"), "{}", healthy(&late));
}

#[test]
fn a_pause_holds_the_picture_and_ends_with_the_latest() {
    let mut app = app(Phase::Live);
    app.tick(Duration::from_secs(1));
    press(&mut app, "p");
    app.tick(Duration::from_secs(60));
    let mut later = view(&Query::default(), Phase::Live);
    later.packets = 99_999;
    app.show(later.clone());
    let lines = screen(&mut app, 80, 24);
    assert!(lines[0].contains("paused at 18:20:22") && lines[0].contains("12,345"), "{}", lines[0]);
    press(&mut app, "p");
    app.show(later);
    assert!(screen(&mut app, 80, 24)[0].contains("99,999"));
}

#[test]
fn keys_filter_group_sort_and_choose() {
    let mut app = app(Phase::Live);
    press(&mut app, "/keepalive !dead");
    assert_eq!(app.overlay, Overlay::Filter);
    assert_eq!(app.rows().len(), 1);
    assert!(screen(&mut app, 80, 24)[23].contains("filter: keepalive !dead"));
    press(&mut app, "\n");
    assert_eq!((app.overlay, app.query.filter.as_str()), (Overlay::None, "keepalive !dead"));
    press(&mut app, "\u{1b}");
    assert_eq!(app.rows().len(), 60);
    press(&mut app, "\t");
    assert_eq!((app.query.group, app.rows().len()), (Group::Dead, 1));
    press(&mut app, "6");
    assert_eq!((app.query.group, app.rows().len()), (Group::Ok, 59));
    press(&mut app, "1r");
    assert_eq!(app.rows().last().unwrap().flow.id, 1, "the worst is last now");
    press(&mut app, "rs");
    assert!(screen(&mut app, 100, 24)[1].contains("by longest silence"));
}

#[test]
fn the_cursor_follows_its_flow_and_stays_in_sight() {
    let mut app = app(Phase::Live);
    screen(&mut app, 80, 24);
    press(&mut app, "↓↓↓");
    assert_eq!(app.row().unwrap().flow.id, 4);
    press(&mut app, "s");
    assert_eq!(app.cursor(), 0, "another order begins at its top");
    press(&mut app, "↓⇟⇟⇟⇟⇟⇟⇟⇟");
    let lines = screen(&mut app, 80, 24);
    assert_eq!(app.cursor(), 59);
    assert!(lines.iter().any(|line| line.starts_with('▌')), "{lines:#?}");
    press(&mut app, "g↑");
    assert_eq!((app.cursor(), app.top), (0, 0));
}

#[test]
fn a_flow_has_a_page_with_its_events() {
    let mut app = app(Phase::Live);
    press(&mut app, "\n");
    assert_eq!(app.page, Page::Flow { id: 1, scroll: 0 });
    assert_eq!(app.pinned(), Some(1));
    let all = screen(&mut app, 80, 50).join("\n");
    for part in ["SERVER DEAD", "client ", "server ", "keepalive probe, unanswered", "frame 7", "traffic", "Events"] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(all.contains("gives up: keepalive_timeout"), "{all}");
    press(&mut app, "n");
    assert_eq!(app.pinned(), Some(2));
    press(&mut app, "⇟⇟");
    screen(&mut app, 80, 24);
    press(&mut app, "\u{1b}");
    assert_eq!(app.page, Page::Table);
    assert_eq!(app.row().unwrap().flow.id, 2);
}

#[test]
fn keys_save_help_and_quit() {
    let mut app = app(Phase::Live);
    assert_eq!(press(&mut app, "w"), [Act::Save]);
    app.say("saved report.json\u{1b}[0m");
    assert!(screen(&mut app, 80, 24)[23].contains("saved report.json\\u{1b}"));
    app.tick(Duration::from_secs(60));
    assert!(screen(&mut app, 80, 24)[23].contains("q quit"), "a message goes by itself");
    press(&mut app, "?");
    let help = screen(&mut app, 80, 24).join("\n");
    for part in ["Space", "write the report", "unanswered", "warning: The clock\\u{1b}[31m was set."] {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert_eq!(press(&mut app, "qq"), [Act::None, Act::Quit], "the first closes the help");
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    press(&mut app, "/");
    assert_eq!(app.key(interrupt), Act::Quit);
}

#[test]
fn no_terminal_is_too_small_and_no_state_too_early() {
    for (width, height) in [(1, 1), (10, 3), (20, 10), (40, 12), (80, 24), (150, 50), (400, 100)] {
        for keys in ["", "\n", "?", "/x", "-----------", "++++++++++"] {
            let mut app = app(Phase::Ended);
            press(&mut app, keys);
            screen(&mut app, width, height);
        }
        screen(&mut App::new("eth0"), width, height);
    }
}

#[test]
fn without_colours_nothing_is_coloured() {
    let colours = |color| {
        let terminal = terminal(&mut app(Phase::Live), 80, 24, color);
        terminal.backend().buffer().content().iter().filter(|cell| cell.fg != Color::Reset).count()
    };
    assert_eq!(colours(false), 0);
    assert!(colours(true) > 10);
}

/// An analyzer that has seen the first segment of so many flows.
fn many(flows: u32) -> Analyzer {
    let mut analyzer = Analyzer::new(Options::default());
    open(&mut analyzer, 0..flows);
    analyzer
}

/// Shows an analyzer the first segments of these flows.
fn open(analyzer: &mut Analyzer, flows: Range<u32>) {
    for n in flows {
        let client = (0x0a00_0000 + n).to_be_bytes();
        let packet = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(client, [192, 0, 2, 1], 64).tcp(40000, 80, n, 1000);
        let mut data = Vec::new();
        packet.syn().write(&mut data, &[]).unwrap();
        let (number, wire_len) = (u64::from(n) + 1, data.len() as u32);
        let frame = Frame { time: START, number, link: LinkType(1), interface: 0, wire_len, data: &data };
        analyzer.frames(&[frame], &mut None);
    }
}

#[test]
fn what_was_counted_while_packets_came_is_counted_anew_at_the_end() {
    let mut analyzer = many(1);
    let (mut board, timelines, query) = (Board::default(), Timelines::default(), Query::default());
    let mut count = |analyzer: &mut Analyzer, ended| {
        analyzer.look(START, |analysis| board.look(&analysis.flows, &timelines, &query, ended, || true));
        board.found().counts.0[Group::All as usize]
    };
    assert_eq!(count(&mut analyzer, false), 1);
    open(&mut analyzer, 1..3);
    assert_eq!(count(&mut analyzer, true), 3);
    assert_eq!(count(&mut analyzer, true), 3);
}

#[test]
fn a_picture_of_very_many_flows_is_small_and_costs_no_more_than_its_time() {
    const FLOWS: u32 = 5000;
    let mut analyzer = many(FLOWS);
    let (mut board, timelines) = (Board::default(), Timelines::default());
    let query = Query::default();
    // Something happens on the last flow: it must not wait until thousands of others were looked at.
    let last = u64::from(FLOWS);
    let kind = EventKind::PeerDead { ends: Both::default(), death: Box::new(sample::dead().deaths[0].clone()) };
    board.event(&Event { time: START, frame: None, flow: last, from: Some(Side::Client), kind });
    let mut looks = 0;
    loop {
        let mut asked = 0;
        let more = || {
            asked += 1;
            asked < 20
        };
        let rows = analyzer.look(START, |analysis| board.look(&analysis.flows, &timelines, &query, true, more));
        looks += 1;
        assert!(rows.len() <= SHOWN);
        if looks == 1 {
            assert!(rows.iter().any(|row| row.flow.id == last));
            assert!(board.looked_at().unwrap() < 500, "{:?}", board.looked_at());
        }
        if board.looked_at().is_none() {
            assert_eq!(rows.len(), SHOWN);
            break;
        }
    }
    // Twenty questions a look, sixteen flows a question.
    assert!(looks > 10 && looks < 40, "{looks}");
    assert_eq!(board.found().counts.0[Group::All as usize], u64::from(FLOWS));
    let query = Query { filter: "10.0.19.135".into(), ..query };
    let rows = analyzer.look(START, |analysis| board.look(&analysis.flows, &timelines, &query, true, || true));
    assert_eq!(rows.iter().map(|row| row.flow.id).collect::<Vec<_>>(), [last], "0x0a001387 is the 5000th");
}
