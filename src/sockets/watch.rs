//! The analysing process's side of the helper: starting it, waking it when something happens, and fetching what it found.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::helper::NAME;
use super::{Found, Sockets};
use crate::event::{Event, EventKind};
use crate::phrase::count;

/// How long the helper's last look at a busy host may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The helper is not woken more often.
const PAUSE: Duration = Duration::from_secs(1);
/// More than the helper's table can take.
const LONGEST: u64 = 64 << 20;

/// A helper at work.
#[derive(Debug)]
pub struct Watch {
    helper: Child,
    woken: Option<Instant>,
}

impl Watch {
    /// Starts the helper. What it may do is what this process may do now.
    ///
    /// # Errors
    /// If the system cannot start a process.
    pub fn start() -> io::Result<Self> {
        let helper = Command::new("/proc/self/exe")
            .arg0(NAME)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C is for this process, which then ends the helper.
            .process_group(0)
            .spawn()?;
        if let Some(pipe) = &helper.stdin {
            // Packets do not wait for a helper that is busy.
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Watch { helper, woken: None })
    }

    /// Something happened: if sockets may look different now, the helper has a look.
    pub fn event(&mut self, event: &Event) {
        let telling = !matches!(event.kind, EventKind::Heartbeat { .. } | EventKind::HeartbeatReply { .. });
        if telling && self.woken.is_none_or(|at| at.elapsed() >= PAUSE) {
            self.woken = Some(Instant::now());
            // A helper that is gone is found out in the end.
            let _ = self.helper.stdin.as_mut().map(|pipe| pipe.write(b"!"));
        }
    }

    /// Has it look once more and fetches all that it found, with what there is to say about it.
    #[must_use]
    pub fn finish(mut self) -> (Sockets, Option<String>) {
        drop(self.helper.stdin.take());
        let found = self.fetch().unwrap_or_else(|e| Found { trouble: Some(e.to_string()), ..Found::default() });
        let warning = match (found.trouble, found.left_out) {
            (Some(trouble), _) if found.sockets.is_empty() => {
                Some(format!("The kernel's sockets are not known: {trouble}."))
            }
            (Some(trouble), _) => Some(format!("The kernel's sockets are not known to the end: {trouble}.")),
            (None, 0) => None,
            (None, n) => Some(format!("{} of this host were too many to remember.", count(n, "socket"))),
        };
        (Sockets::from(found.sockets), warning)
    }

    fn fetch(&mut self) -> io::Result<Found> {
        let Some(mut pipe) = self.helper.stdout.take() else { return Ok(Found::default()) };
        let until = Instant::now() + PATIENCE;
        let mut text = Vec::new();
        let mut portion = [0; 16 * 1024];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            if poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the helper did not answer in time"));
            }
            match pipe.read(&mut portion)? {
                0 => break,
                n => text.extend_from_slice(&portion[..n]),
            }
            if text.len() as u64 > LONGEST {
                return Err(io::Error::other("the helper does not come to an end"));
            }
        }
        // It has closed its output, which is the last that it does.
        self.helper.wait()?;
        if text.is_empty() {
            return Err(io::Error::other("the helper ended without a word"));
        }
        serde_json::from_slice(&text).map_err(io::Error::other)
    }
}
