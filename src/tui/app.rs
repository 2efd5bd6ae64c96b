//! What is on the screen and what keys do to it. It reads no clock and no terminal: time, views and keys are given to it.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::query::{Group, Query};
use super::strip::Window;
use super::view::{Phase, Row, View};
use crate::packet::{Nanos, SECOND, Time};
use crate::phrase::{duration, printable};

/// Lengths of the timelines' window, seconds, that `+` and `-` step through; beyond the last, all of the capture.
const SPANS: [i64; 9] = [10, 30, 60, 300, 900, 3600, 3 * 3600, 12 * 3600, 24 * 3600];
/// The window of a live capture at first: a minute.
const MINUTE: usize = 2;
/// The longest filter that can be typed, characters.
const FILTER: usize = 120;
/// How long a message stays.
const MESSAGE: Duration = Duration::from_secs(8);

/// What the screen shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// All flows.
    Table,
    /// One flow, from this line on.
    Flow {
        /// Its id.
        id: u64,
        /// Lines scrolled past.
        scroll: usize,
    },
}

/// What lies over the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// Nothing.
    None,
    /// The keys.
    Help,
    /// The filter is being typed.
    Filter,
}

/// What a key asks of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    None,
    /// To end the run.
    Quit,
    /// To write the report to a file.
    Save,
}

/// The state of the screen.
#[derive(Debug)]
pub struct App {
    /// The source, as the user named it.
    pub source: String,
    /// What is asked for.
    pub query: Query,
    /// The last picture of the capture.
    pub view: Option<View>,
    /// What is shown.
    pub page: Page,
    /// What lies over it.
    pub overlay: Overlay,
    /// The flow under the cursor; `None` is the first, whichever that is.
    pub selected: Option<u64>,
    /// Rows of the table scrolled past.
    pub top: usize,
    /// Whether the picture stands still.
    pub paused: bool,
    /// A message for the last line, and until when it stays.
    message: Option<(String, Duration)>,
    /// The length of the timelines' window in [`SPANS`]; `None` until somebody chose.
    span: Option<usize>,
    /// How far the window's end lies before now.
    back: Nanos,
    /// Rows that fit into the table, and lines of a flow's page, as last drawn.
    fits: usize,
    /// Lines of a flow's page.
    lines: usize,
    /// When the view came, and now.
    came: Duration,
    time: Duration,
}

impl App {
    /// The screen before the first picture has come.
    #[must_use]
    pub fn new(source: &str) -> Self {
        App {
            source: printable(source).into_owned(),
            query: Query::default(),
            view: None,
            page: Page::Table,
            overlay: Overlay::None,
            selected: None,
            top: 0,
            paused: false,
            message: None,
            span: None,
            back: 0,
            fits: 1,
            lines: 0,
            came: Duration::ZERO,
            time: Duration::ZERO,
        }
    }

    /// So much time has passed since the start.
    pub fn tick(&mut self, time: Duration) {
        self.time = time;
        self.message.take_if(|(_, until)| *until <= time);
    }

    /// A new picture has come. While paused, only one that answers another question is shown.
    pub fn show(&mut self, view: View) {
        if self.paused && self.view.as_ref().is_some_and(|shown| shown.query == view.query) {
            return;
        }
        self.view = Some(view);
        self.came = self.time;
    }

    /// Says something on the last line.
    pub fn say(&mut self, message: &str) {
        self.message = Some((printable(message).into_owned(), self.time + MESSAGE));
    }

    /// What the last line says.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_ref().map(|(message, _)| message.as_str())
    }

    /// The flow that must be among what is asked for.
    #[must_use]
    pub fn pinned(&self) -> Option<u64> {
        match self.page {
            Page::Flow { id, .. } => Some(id),
            Page::Table => None,
        }
    }

    /// The present moment of what is shown. On a live capture it goes on between two pictures.
    #[must_use]
    pub fn now(&self) -> Time {
        let Some(view) = &self.view else { return Time::default() };
        let since = if view.phase == Phase::Live && !self.paused { self.time - self.came } else { Duration::ZERO };
        view.now.plus(Nanos::try_from(since.as_nanos()).unwrap_or(0))
    }

    /// The rows of the table.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        self.view.as_ref().map_or(&[], |view| &view.rows)
    }

    /// The place of the cursor among the rows.
    #[must_use]
    pub fn cursor(&self) -> usize {
        let place = |id| self.rows().iter().position(|row| row.flow.id == id);
        self.selected.and_then(place).unwrap_or(0)
    }

    /// The flow of the page, or under the cursor.
    #[must_use]
    pub fn row(&self) -> Option<&Row> {
        match self.page {
            Page::Table => self.rows().get(self.cursor()),
            Page::Flow { id, .. } => {
                let pinned = self.view.as_ref().and_then(|view| view.pinned.as_ref()).filter(|row| row.flow.id == id);
                pinned.or_else(|| self.rows().iter().find(|row| row.flow.id == id))
            }
        }
    }

    /// The stretch of time that the timelines show.
    #[must_use]
    pub fn window(&self) -> Window {
        let now = self.now();
        let to = now.plus(-self.back);
        match self.span().map(|span| SPANS[span]) {
            Some(seconds) => Window { from: to.plus(-seconds * SECOND), to },
            None => Window { from: self.view.as_ref().and_then(|view| view.first).unwrap_or(now).min(to), to },
        }
    }

    /// The window's length in words.
    #[must_use]
    pub fn span_name(&self) -> String {
        self.span().map_or_else(|| "all".into(), |span| duration(SPANS[span] as f64))
    }

    /// The window's length as a place in [`SPANS`]; `None` is all of the capture.
    fn span(&self) -> Option<usize> {
        let live = self.view.as_ref().is_none_or(|view| view.phase == Phase::Live);
        let span = self.span.unwrap_or(if live { MINUTE } else { SPANS.len() });
        (span < SPANS.len()).then_some(span)
    }

    /// Keeps the cursor in sight where so many rows fit, and the scrolling within so many lines.
    pub fn fit(&mut self, rows: usize, lines: usize) {
        (self.fits, self.lines) = (rows.max(1), lines);
        let (cursor, len) = (self.cursor(), self.rows().len());
        self.top = self.top.clamp((cursor + 1).saturating_sub(self.fits), cursor).min(len.saturating_sub(1));
        if let Page::Flow { scroll, .. } = &mut self.page {
            *scroll = (*scroll).min(lines.saturating_sub(rows));
        }
    }

    /// A key was pressed.
    pub fn key(&mut self, key: KeyEvent) -> Act {
        if key.kind == KeyEventKind::Release {
            return Act::None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Act::Quit,
                _ => Act::None,
            };
        }
        match self.overlay {
            Overlay::Filter => self.key_of_filter(key.code),
            Overlay::Help => self.overlay = Overlay::None,
            Overlay::None => return self.key_of_page(key.code),
        }
        Act::None
    }

    fn key_of_filter(&mut self, code: KeyCode) {
        let filter = &mut self.query.filter;
        match code {
            KeyCode::Char(c) if !c.is_control() && filter.chars().count() < FILTER => filter.push(c),
            KeyCode::Backspace => drop(filter.pop()),
            KeyCode::Enter => self.overlay = Overlay::None,
            KeyCode::Esc => {
                filter.clear();
                self.overlay = Overlay::None;
            }
            _ => return,
        }
        self.first();
    }

    fn key_of_page(&mut self, code: KeyCode) -> Act {
        let page = self.fits as isize;
        match code {
            KeyCode::Char('w') => return Act::Save,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.overlay = Overlay::Help,
            KeyCode::Char('p' | ' ') => self.pause(),
            KeyCode::Char('+' | '=') => self.zoom(-1),
            KeyCode::Char('-') => self.zoom(1),
            KeyCode::Left | KeyCode::Char(',') => self.pan(1),
            KeyCode::Right | KeyCode::Char('.') => self.pan(-1),
            KeyCode::Up | KeyCode::Char('k') => self.by(-1),
            KeyCode::Down | KeyCode::Char('j') => self.by(1),
            KeyCode::PageUp => self.by(-page),
            KeyCode::PageDown => self.by(page),
            KeyCode::Home | KeyCode::Char('g') => self.first(),
            KeyCode::End | KeyCode::Char('G') => self.by(isize::MAX),
            _ => match self.page {
                Page::Table => return self.key_of_table(code),
                Page::Flow { .. } => match code {
                    KeyCode::Esc | KeyCode::Enter | KeyCode::Backspace | KeyCode::Char('q') => self.page = Page::Table,
                    KeyCode::Char('n') => self.neighbour(1),
                    KeyCode::Char('N') => self.neighbour(-1),
                    _ => {}
                },
            },
        }
        Act::None
    }

    fn key_of_table(&mut self, code: KeyCode) -> Act {
        match code {
            KeyCode::Char('q') => return Act::Quit,
            KeyCode::Char('/') => self.overlay = Overlay::Filter,
            KeyCode::Enter => {
                if let Some(id) = self.row().map(|row| row.flow.id) {
                    self.selected = Some(id);
                    self.page = Page::Flow { id, scroll: 0 };
                }
            }
            KeyCode::Char('s') => {
                self.query.sort = self.query.sort.next();
                self.first();
            }
            KeyCode::Char('r') => {
                self.query.reversed = !self.query.reversed;
                self.first();
            }
            KeyCode::Tab => self.group(self.query.group.step(1)),
            KeyCode::BackTab => self.group(self.query.group.step(Group::ALL.len() - 1)),
            KeyCode::Char(digit @ '1'..='7') => self.group(Group::ALL[digit as usize - '1' as usize]),
            KeyCode::Esc => {
                self.query.filter.clear();
                self.group(Group::All);
            }
            _ => {}
        }
        Act::None
    }

    fn group(&mut self, group: Group) {
        self.query.group = group;
        self.first();
    }

    fn pause(&mut self) {
        let now = self.now();
        self.paused = !self.paused;
        if let (true, Some(view)) = (self.paused, &mut self.view) {
            view.now = now;
        }
    }

    /// To the first row or line, and to stay there.
    fn first(&mut self) {
        match &mut self.page {
            Page::Table => (self.selected, self.top) = (None, 0),
            Page::Flow { scroll, .. } => *scroll = 0,
        }
    }

    /// So many rows or lines on.
    fn by(&mut self, steps: isize) {
        match &mut self.page {
            Page::Flow { scroll, .. } => {
                *scroll = scroll.saturating_add_signed(steps).min(self.lines.saturating_sub(self.fits));
            }
            Page::Table => {
                let last = self.rows().len().saturating_sub(1);
                let to = self.cursor().saturating_add_signed(steps).min(last);
                self.selected = self.rows().get(to).map(|row| row.flow.id);
            }
        }
    }

    /// To the page of a flow that stands so many rows further.
    fn neighbour(&mut self, steps: isize) {
        self.page = Page::Table;
        self.by(steps);
        if let Some(id) = self.row().map(|row| row.flow.id) {
            self.page = Page::Flow { id, scroll: 0 };
        }
    }

    fn zoom(&mut self, steps: isize) {
        let span = self.span().unwrap_or(SPANS.len());
        self.span = Some(span.saturating_add_signed(steps).min(SPANS.len()));
        if self.span().is_none() {
            self.back = 0;
        }
    }

    /// Moves the window by a quarter into the past; with -1, back again.
    fn pan(&mut self, steps: i64) {
        let quarter = self.window().span() / 4;
        self.back = self.back.saturating_add(steps * quarter).max(0);
    }
}
