//! A command on a terminal of its own, as util-linux' `script` gives it: keys in, the screen out.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long is waited for what must appear.
const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal with a command on it.
pub struct Terminal {
    script: Child,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Runs a shell's command line in this directory; `None`, said on standard error, where there is no `script`.
    pub fn run(mut script: Command, directory: &Path, rows: u16, columns: u16, line: &str) -> Option<Terminal> {
        let line = format!("stty rows {rows} cols {columns}; {line}");
        script.args(["script", "-q", "-e", "-c", &line, "/dev/null"]).current_dir(directory);
        script.env("TERM", "xterm-256color").env("SHELL", "/bin/sh").env_remove("NO_COLOR");
        let mut script = match script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Ok(script) => script,
            Err(e) => {
                let _ = writeln!(std::io::stderr(), "test on a terminal SKIPPED: script: {e}");
                return None;
            }
        };
        let size = |n: u16| n.try_into().expect("rows and columns");
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size(rows), size(columns), 0)));
        let (shown, mut out) = (Arc::clone(&screen), script.stdout.take().expect("its output"));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut bytes) {
                shown.lock().expect("the screen").process(&bytes[..n]);
            }
        });
        Some(Terminal { script, screen })
    }

    /// What it shows now.
    pub fn shown(&self) -> String {
        self.screen.lock().expect("the screen").screen().contents()
    }

    /// Whether a program has taken the whole screen.
    pub fn taken(&self) -> bool {
        self.screen.lock().expect("the screen").screen().alternate_screen()
    }

    /// Waits until the screen is such; gives it.
    pub fn wait(&self, what: &str, such: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let shown = self.shown();
            if such(&shown) {
                return shown;
            }
            assert!(start.elapsed() < PATIENCE, "{what} does not appear:\n{shown}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        let keyboard = self.script.stdin.as_mut().expect("its keyboard");
        keyboard.write_all(keys.as_bytes()).and_then(|()| keyboard.flush()).expect("keys");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
