//! `--tui`: the flows on the terminal, as they are this moment, worst first.
//!
//! The analysis stays where it is and knows nothing of terminals. Between two portions of packets it answers what the
//! screen asks: `board` picks the few flows to show, however many there are, and `view` is the picture handed over.
//! A thread of its own has the terminal (`screen`): keys change the state of the screen (`app`), and `draw` shows it.

mod app;
mod board;
mod draw;
mod page;
mod query;
mod save;
mod screen;
mod strip;
#[cfg(test)]
mod tests;
mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::app::App;
use self::board::Board;
use self::draw::Ink;
pub use self::screen::Ask;
use self::screen::{Canvas, Ends, Told};
pub use self::view::Phase;
use self::view::View;
use crate::analysis::Analysis;
use crate::event::Event;
use crate::packet::Time;
use crate::report::CaptureInfo;
use crate::timeline::Timelines;

/// For how long flows are looked at for one picture while packets come: some per cent of a processor.
const WHILE_LIVE: Duration = Duration::from_millis(10);
/// The same while there is nothing else to do.
const WHILE_ENDED: Duration = Duration::from_millis(80);

/// How soon it is noticed that the user has left.
const ATTENTION: Duration = Duration::from_millis(50);

/// The terminal, taken and not yet shown anything.
pub struct Screen {
    /// `None` once it is shown.
    canvas: Option<Canvas>,
    folder: PathBuf,
}

impl Screen {
    /// Takes the terminal; of a `live` capture, before it gives up the right to open things.
    ///
    /// # Errors
    /// If there is no terminal, in words that say what to do.
    pub fn take(live: bool) -> Result<Self, String> {
        let canvas = Some(screen::take(live)?);
        // Without the name of the current folder, files can still be written there.
        Ok(Screen { canvas, folder: std::env::current_dir().unwrap_or_else(|_| ".".into()) })
    }

    /// The folder in which reports will be saved.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// Begins to show; `source` names what is analysed, `stop` is set when a signal ends the run.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn show(mut self, source: &str, color: bool, stop: Arc<AtomicBool>) -> Result<Tui, String> {
        let Some(canvas) = self.canvas.take() else { return Err("--tui: the terminal is in use".into()) };
        let (asks_sender, asks) = channel();
        let (told, told_receiver) = channel();
        let ends = Ends { stop, ..Ends::default() };
        let (app, theirs) = (App::new(source), ends.clone());
        let thread = thread::Builder::new().name("screen".into());
        let thread = thread
            .spawn(move || screen::show(canvas, app, Ink::new(color), &asks_sender, &told_receiver, &theirs))
            .map_err(|e| {
                screen::give_back();
                format!("--tui cannot start: {e}")
            })?;
        Ok(Tui {
            asks,
            told,
            ends,
            thread: Some(thread),
            board: Board::default(),
            timelines: Timelines::default(),
            folder: std::mem::take(&mut self.folder),
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.canvas.is_some() {
            screen::give_back();
        }
    }
}

/// The screen, as the analysis sees it.
pub struct Tui {
    asks: Receiver<Ask>,
    told: Sender<Told>,
    ends: Ends,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    board: Board,
    timelines: Timelines,
    folder: PathBuf,
}

impl Tui {
    /// Takes note of an event.
    pub fn event(&mut self, event: &Event) {
        self.timelines.event(event);
        self.board.event(event);
    }

    /// Whether the user wants to leave. Once that was asked, the screen knows that it was heard.
    #[must_use]
    pub fn left(&self) -> bool {
        let left = self.ends.quit.load(Ordering::SeqCst);
        if left {
            self.ends.known.store(true, Ordering::SeqCst);
        }
        left
    }

    /// What the screen asks, if it does.
    #[must_use]
    pub fn asked(&self) -> Option<Ask> {
        self.asks.try_recv().ok()
    }

    /// Answers, from what is known at `now`.
    pub fn answer(&mut self, ask: &Ask, now: Time, phase: Phase, analysis: &mut Analysis, info: &CaptureInfo) {
        let answer = match ask {
            Ask::Save => {
                analysis.flows.find_replacements();
                Told::Said(save::save(&self.folder, now, analysis, info))
            }
            Ask::View(query, pinned) => {
                let ended = phase == Phase::Ended;
                let until = Instant::now() + if ended { WHILE_ENDED } else { WHILE_LIVE };
                let more = || Instant::now() < until;
                let rows = self.board.look(&analysis.flows, &self.timelines, query, ended, more);
                let found = self.board.found();
                let flows = analysis.flows.len() as u64;
                Told::View(Box::new(View {
                    now,
                    first: analysis.first_packet,
                    query: query.clone(),
                    rows,
                    pinned: pinned.and_then(|id| Board::one(&analysis.flows, &self.timelines, id)),
                    matching: found.matching,
                    counts: found.counts,
                    flows,
                    looked_at: self.board.looked_at().unwrap_or(flows),
                    packets: analysis.packets,
                    dropped: info.dropped_by_kernel,
                    let_go: analysis.let_go.totals.flows,
                    warnings: info.warnings.iter().chain(&analysis.warnings).cloned().collect(),
                    phase,
                }))
            }
        };
        // It fails only where the screen has ended, and then nobody wants the answer.
        let _ = self.told.send(answer);
    }

    /// Answers about a capture that has ended until the user leaves.
    pub fn browse(&mut self, analysis: &mut Analysis, info: &CaptureInfo) {
        let end = analysis.flows.as_of().max(analysis.last_packet).unwrap_or_default();
        while !self.left() {
            match self.asks.recv_timeout(ATTENTION) {
                Ok(ask) => self.answer(&ask, end, Phase::Ended, analysis, info),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

impl Drop for Tui {
    /// Waits until the terminal is given back.
    fn drop(&mut self) {
        self.ends.known.store(true, Ordering::SeqCst);
        self.ends.quit.store(true, Ordering::SeqCst);
        // Without its sender the screen ends.
        self.told = channel().0;
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
