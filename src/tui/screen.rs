//! The terminal: taken, drawn on, given back on every way out; and the thread that waits for keys.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};

use super::app::{Act, App};
use super::draw::{Ink, draw};
use super::query::Query;
use super::view::{Phase, View};

/// How long the screen stands still at most while time goes on.
const FRAME: Duration = Duration::from_millis(100);
/// How long keys are waited for before messages are looked at.
const KEYS: Duration = Duration::from_millis(40);
/// Between two pictures of a capture that goes on.
const PICTURE: Duration = Duration::from_millis(200);
/// How long the input is waited for silently after the screen was left.
const PATIENCE: Duration = Duration::from_millis(700);

/// Whether the terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Held while something is written to the terminal.
static WRITING: Mutex<()> = Mutex::new(());

/// What the screen asks of the analysis.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// A picture: the flows of this query, and this flow besides.
    View(Query, Option<u64>),
    /// The report, written to a file.
    Save,
}

/// What the analysis tells the screen.
#[derive(Debug)]
pub enum Told {
    /// A picture.
    View(Box<View>),
    /// Something to say on the last line.
    Said(String),
}

/// The terminal that is drawn on.
pub type Canvas = Terminal<CrosstermBackend<BufWriter<File>>>;

/// A handle of its own for standard output, whose lock is held by who prints the report.
fn output() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Takes the terminal; `live` says that nothing can be opened any more once the capture has begun.
///
/// # Errors
/// If there is none, in words that say what to do.
pub fn take(live: bool) -> Result<Canvas, String> {
    if !io::stdout().is_terminal() {
        return Err("--tui needs a terminal, and standard output is none; without --tui the report is printed".into());
    }
    if live && !io::stdin().is_terminal() {
        return Err("--tui needs a terminal, and standard input is none".into());
    }
    if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        return Err("--tui needs a terminal that can move its cursor; TERM is not set, or dumb".into());
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
    });
    let taken = output().and_then(|mut out| {
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        execute!(out, EnterAlternateScreen, Hide)?;
        // Makes what waits for keys now, while files and sockets can still be opened.
        event::poll(Duration::ZERO)?;
        Terminal::new(CrosstermBackend::new(BufWriter::new(out)))
    });
    taken.map_err(|e| {
        give_back();
        format!("--tui cannot use this terminal: {e}")
    })
}

/// Gives the terminal back as it was found; does nothing where it was not taken.
pub fn give_back() {
    // Whoever panicked while drawing holds the lock for good: so it is not waited for without end.
    let mut held = WRITING.try_lock();
    for _ in 0..50 {
        if held.is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(4));
        held = WRITING.try_lock();
    }
    if TAKEN.swap(false, Ordering::SeqCst) {
        // Nothing can be done where this fails: the terminal is gone.
        let _ = output().and_then(|mut out| execute!(out, LeaveAlternateScreen, Show));
        let _ = disable_raw_mode();
    }
}

/// Flags by which screen and analysis tell each other that they end.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// A signal came, or the analysis is done with the screen.
    pub stop: Arc<AtomicBool>,
    /// The user wants to leave.
    pub quit: Arc<AtomicBool>,
    /// The analysis knows that.
    pub known: Arc<AtomicBool>,
}

/// Shows the screen until the user or the analysis ends it, and gives the terminal back.
///
/// # Errors
/// What the terminal says.
pub fn show(
    mut canvas: Canvas,
    mut app: App,
    ink: Ink,
    asks: &Sender<Ask>,
    told: &Receiver<Told>,
    ends: &Ends,
) -> io::Result<()> {
    let result = converse(&mut canvas, &mut app, ink, asks, told, ends);
    ends.quit.store(true, Ordering::SeqCst);
    give_back();
    let left = Instant::now();
    while !ends.known.load(Ordering::SeqCst) {
        if left.elapsed() > PATIENCE {
            let _ = writeln!(io::stderr(), "hbsniff: waiting for what is being read; Ctrl-C ends that too");
            break;
        }
        thread::sleep(KEYS);
    }
    result
}

fn converse(
    canvas: &mut Canvas,
    app: &mut App,
    ink: Ink,
    asks: &Sender<Ask>,
    told: &Receiver<Told>,
    ends: &Ends,
) -> io::Result<()> {
    let start = Instant::now();
    let mut asked: Option<Ask> = None;
    let mut waiting = false;
    let (mut asked_at, mut drawn_at) = (Duration::ZERO, None::<Duration>);
    let mut changed = true;
    loop {
        let time = start.elapsed();
        app.tick(time);
        loop {
            match told.try_recv() {
                Ok(Told::View(view)) => {
                    waiting = false;
                    app.show(*view);
                }
                Ok(Told::Said(message)) => app.say(&message),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
            changed = true;
        }
        if ends.stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        let goes_on = app.view.as_ref().is_none_or(|view| view.phase != Phase::Ended || view.looked_at < view.flows);
        let ask = Ask::View(app.query.clone(), app.pinned());
        let due = asked.as_ref() != Some(&ask) || (goes_on && !app.paused && time - asked_at >= PICTURE);
        if due && !waiting {
            if asks.send(ask.clone()).is_err() {
                return Ok(());
            }
            (asked, asked_at, waiting) = (Some(ask), time, true);
        }
        let still = drawn_at.map_or(Duration::MAX, |at| time - at);
        // A message goes by itself.
        if changed || still >= FRAME && (goes_on && !app.paused || app.message().is_some() || still >= 10 * FRAME) {
            let _writing = WRITING.lock();
            if !TAKEN.load(Ordering::SeqCst) {
                return Ok(());
            }
            canvas.draw(|frame| draw(frame, app, ink))?;
            (drawn_at, changed) = (Some(time), false);
        }
        let mut wait = KEYS;
        while event::poll(wait)? {
            wait = Duration::ZERO;
            changed = true;
            let Event::Key(key) = event::read()? else { continue };
            match app.key(key) {
                Act::None => {}
                Act::Quit => return Ok(()),
                Act::Save => {
                    app.say("writing the report …");
                    if asks.send(Ask::Save).is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }
}
