//! The process that asks the kernel about sockets, so that the one that reads packets need not have the right to.
//!
//! It reads nothing that comes from the wire: a byte on standard input wakes it, and the end of standard input has it look
//! a last time, write what it found as JSON and end. Before anything else it gives up what it does not need: it becomes an
//! ordinary user that may look at other processes, no more.

use std::collections::HashMap;
use std::io::{self, Write, stdin, stdout};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::kernel::{Kernel, Listed};
use super::process::{self, Owner};
use super::{Found, PERIOD, Socket};
use crate::capture;
use crate::confine::{Needs, confine};

/// What the process is called; being started by this name makes it the helper.
pub(super) const NAME: &str = "hbsniff-sockets";

/// Sockets that are remembered; at this many, those that are gone are let go, and then new ones are not taken.
const MAX_SOCKETS: usize = 65_536;
/// Of the time that passes, a look may take one part in this many: a host with a million sockets is looked at less often.
const SHARE: u32 = 20;
/// Options are read of this many sockets at each look, those first that have waited longest.
const SETTINGS_A_LOOK: usize = 1_000;
/// How often the owner of a socket is looked for: it may be another user's, and then never be found.
const TRIES: u8 = 3;

/// Whether this process is to be the helper.
#[must_use]
pub fn is_meant() -> bool {
    std::env::args_os().next().is_some_and(|name| name == NAME)
}

/// Is the helper, to its end.
#[must_use]
pub fn main() -> ExitCode {
    let found = match watch() {
        Ok(found) => found,
        Err(e) => Found { trouble: Some(e.to_string()), ..Found::default() },
    };
    let told = serde_json::to_vec(&found).map_err(io::Error::from).and_then(|json| stdout().lock().write_all(&json));
    if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn watch() -> io::Result<Found> {
    let mut kernel = Kernel::new()?;
    confine(None, &Needs { processes: true, ..Needs::default() }).map_err(io::Error::other)?;
    let mut table = Table::default();
    let period = Duration::from_nanos(PERIOD.unsigned_abs());
    loop {
        let began = Instant::now();
        // What was found before a failure is not lost by it.
        if let Err(e) = table.look(&mut kernel) {
            return Ok(table.told(Some(e.to_string())));
        }
        let took = began.elapsed();
        let pause = (took * SHARE).max(Duration::from_secs(1));
        if ended(pause, pause.max(period))? {
            let trouble = table.look(&mut kernel).err().map(|e| e.to_string());
            return Ok(table.told(trouble));
        }
    }
}

/// Waits for the end of standard input, but no longer than `most`, and if it is woken no longer than `least`. Whether the
/// end has come.
fn ended(least: Duration, most: Duration) -> io::Result<bool> {
    let (began, mut wait) = (Instant::now(), most);
    loop {
        let left = wait.saturating_sub(began.elapsed());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        if left.is_zero() || poll(&mut [PollFd::new(stdin().as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
            return Ok(false);
        }
        if rustix::io::read(stdin(), &mut [0; 256])? == 0 {
            return Ok(true);
        }
        wait = least;
    }
}

/// The sockets seen so far.
#[derive(Default)]
struct Table {
    known: HashMap<[u8; 8], Known>,
    /// How often was looked.
    looks: u64,
    left_out: u64,
}

struct Known {
    socket: Socket,
    inode: u32,
    owner: Option<Owner>,
    /// How often the owner was looked for in vain.
    tries: u8,
    /// The look at which the socket was last there.
    there: u64,
    /// The look at which its options were last read.
    read: u64,
}

impl Table {
    fn look(&mut self, kernel: &mut Kernel) -> io::Result<()> {
        self.looks += 1;
        let now = capture::now().0;
        let mut too_many = 0;
        kernel.list(&mut |listed| too_many += u64::from(!self.take(listed, now)))?;
        self.left_out = self.left_out.max(too_many);
        self.find_owners();
        self.read_settings();
        Ok(())
    }

    /// Takes what the kernel says of one socket; false if there is no room for it.
    fn take(&mut self, listed: Listed, now: i64) -> bool {
        let looks = self.looks;
        if !self.known.contains_key(&listed.cookie) && self.known.len() >= MAX_SOCKETS {
            // A look is taken from the first socket to the last: what was not there at the one before is gone.
            self.known.retain(|_, known| known.there + 1 >= looks);
            if self.known.len() >= MAX_SOCKETS {
                return false;
            }
        }
        let Listed { cookie, local, remote, uid, inode, timer, unanswered } = listed;
        let known = self.known.entry(cookie).or_insert_with(|| Known {
            socket: Socket {
                local,
                remote,
                first_seen: now,
                last_seen: now,
                uid,
                process: None,
                timer,
                unanswered,
                most_unanswered: 0,
                settings: None,
            },
            inode,
            owner: None,
            tries: 0,
            there: looks,
            read: 0,
        });
        let socket = &mut known.socket;
        (socket.last_seen, socket.timer, socket.unanswered) = (now, timer, unanswered);
        socket.most_unanswered = socket.most_unanswered.max(unanswered);
        // One that was closed and still sends has no inode any more; whose it was remains known.
        (known.inode, known.there) = (inode, looks);
        true
    }

    fn find_owners(&mut self) {
        let looks = self.looks;
        let unknown = |k: &Known| k.there == looks && k.inode != 0 && k.owner.is_none() && k.tries < TRIES;
        let wanted: Vec<u32> = self.known.values().filter(|k| unknown(k)).map(|k| k.inode).collect();
        if wanted.is_empty() {
            return;
        }
        let mut owners = process::owners(wanted);
        for known in self.known.values_mut().filter(|k| unknown(k)) {
            known.tries += 1;
            known.owner = owners.remove(&known.inode);
            known.socket.process = known.owner.as_ref().map(|owner| owner.process.clone());
        }
    }

    fn read_settings(&mut self) {
        let looks = self.looks;
        let open = |k: &&mut Known| k.there == looks && k.inode != 0 && k.owner.is_some();
        let mut open: Vec<_> = self.known.values_mut().filter(open).collect();
        open.sort_unstable_by_key(|known| known.read);
        for known in open.into_iter().take(SETTINGS_A_LOOK) {
            known.read = looks;
            let Some(owner) = &known.owner else { continue };
            match process::settings(owner, known.inode) {
                Ok(settings) => known.socket.settings = Some(settings),
                // Another process may have it by now.
                Err(e) if e.kind() == io::ErrorKind::NotFound && known.tries < TRIES => known.owner = None,
                Err(_) => {}
            }
        }
    }

    fn told(self, trouble: Option<String>) -> Found {
        let sockets = self.known.into_values().map(|known| known.socket).collect();
        Found { sockets, left_out: self.left_out, trouble }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(number: u64) -> Listed {
        Listed {
            cookie: number.to_ne_bytes(),
            local: ([10, 0, 0, 1], 80).into(),
            remote: ([10, 0, 0, 2], 40_000).into(),
            uid: 0,
            inode: 0,
            timer: None,
            unanswered: 0,
        }
    }

    #[test]
    fn at_the_limit_those_that_are_gone_go_first_and_then_new_ones_are_not_taken() {
        let mut table = Table { looks: 1, ..Table::default() };
        let most = MAX_SOCKETS as u64;
        assert!((0..most).all(|n| table.take(listed(n), 1)));
        assert!(!table.take(listed(most), 1), "all are there");
        assert!(table.take(listed(7), 1), "this one is known");
        table.looks = 3;
        assert!((0..9).all(|n| table.take(listed(n), 3)));
        assert!(table.take(listed(most), 3));
        assert_eq!(table.known.len(), 10);
        assert_eq!(table.told(None).sockets.len(), 10);
    }

    #[test]
    fn what_was_seen_before_is_kept() {
        let mut table = Table { looks: 1, ..Table::default() };
        table.take(Listed { unanswered: 4, ..listed(1) }, 10);
        table.looks = 2;
        table.take(listed(1), 20);
        let found = table.told(None).sockets.remove(0);
        assert_eq!((found.first_seen, found.last_seen), (10, 20));
        assert_eq!((found.unanswered, found.most_unanswered), (0, 4));
    }
}
