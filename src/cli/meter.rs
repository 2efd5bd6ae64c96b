//! A bar on the terminal for long reads: how far, how fast, how long still.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Nothing is shown for reads that are over sooner.
const GRACE: Duration = Duration::from_secs(1);

/// Shows how far the reading of files is, on standard error and only if that is a terminal.
pub struct Meter {
    bar: Option<ProgressBar>,
    size: Option<u64>,
    started: Instant,
}

impl Meter {
    /// For `size` bytes, where that is known. Not `wanted` shows nothing, ever.
    #[must_use]
    pub fn new(size: Option<u64>, wanted: bool) -> Self {
        let started = Instant::now();
        let bar = (wanted && stderr().is_terminal())
            .then(|| ProgressBar::with_draw_target(size, ProgressDrawTarget::hidden()));
        Meter { bar, size, started }
    }

    /// So many bytes and packets have been read.
    pub fn at(&self, position: u64, packets: u64) {
        let Some(bar) = &self.bar else { return };
        let elapsed = self.started.elapsed();
        if elapsed < GRACE {
            return;
        }
        if bar.is_hidden() {
            let template = match self.size {
                Some(_) => "{bar:30} {percent:>3}%  {msg}, {eta} left",
                None => "{spinner} {bytes}  {msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            // The rate counts from the start, not from the first drawing.
            bar.set_elapsed(elapsed);
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        }
        let rate = packets as f64 / elapsed.as_secs_f64();
        bar.set_message(format!("{} packets, {}/s", HumanCount(packets), HumanCount(rate as u64)));
        bar.set_position(position);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
