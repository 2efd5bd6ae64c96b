//! `--events`: one JSON object a line, as soon as each verdict is sure.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::Serializer;

use super::json::OneLine;
use super::model::EventLine;
use crate::event::Event;

/// What Linux writes to a pipe at once or not at all (PIPE_BUF, pipe(7)).
const WHOLE: usize = 4096;

/// Gathers lines and hands on whole ones only, so that a process killed at any moment leaves no half of one in a pipe.
pub struct Lines<W> {
    out: W,
    held: Vec<u8>,
}

impl<W: Write> Lines<W> {
    /// Lines for `out`, which must not gather bytes itself.
    pub fn new(out: W) -> Self {
        Lines { out, held: Vec::with_capacity(2 * WHOLE) }
    }

    /// Adds one event as one line, if it is of those that have one.
    ///
    /// # Errors
    /// What `out` says.
    pub fn tell(&mut self, event: &Event) -> io::Result<()> {
        let Some(line) = EventLine::new(event) else { return Ok(()) };
        let before = self.held.len();
        line.serialize(&mut Serializer::with_formatter(&mut self.held, OneLine))?;
        self.held.push(b'\n');
        if self.held.len() > WHOLE {
            self.out.write_all(&self.held[..before])?;
            self.held.drain(..before);
        }
        Ok(())
    }

    /// Hands on what is held.
    ///
    /// # Errors
    /// What `out` says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.held)?;
        self.held.clear();
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;
    use crate::packet::{MILLISECOND, Time};
    use crate::sample;
    use crate::summary::Side;
    use serde_json::{Value, json};

    fn line(kind: EventKind) -> Value {
        let event = Event { time: Time(0), frame: Some(3), flow: 1, from: Some(Side::Client), kind };
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        lines.tell(&event).unwrap();
        lines.flush().unwrap();
        assert_eq!(out.iter().filter(|&&b| b == b'\n').count(), 1);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn an_event_is_flat() {
        assert_eq!(
            line(EventKind::KeepaliveAck { rtt: 250 * MILLISECOND }),
            json!({ "event": "keepalive_ack", "time": "1970-01-01T00:00:00.000000000Z", "frame": 3, "flow": 1,
                    "from": "client", "rtt_s": 0.25 })
        );
        assert_eq!(line(EventKind::ZeroWindowProbe)["event"], "zero_window_probe");
        let beat = line(EventKind::Heartbeat { protocol: None, interval: None });
        assert_eq!((&beat["protocol"], &beat["interval_s"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn a_dead_peer_carries_the_report_s_death() {
        let (analysis, info) = sample::analysis();
        let mut document = Vec::new();
        crate::report::json::write(&mut document, &analysis, &info).unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        let dead = sample::dead();
        let told = line(EventKind::PeerDead { ends: dead.ends, death: Box::new(dead.deaths[0].clone()) });
        assert_eq!(told["event"], "peer_dead");
        for (key, value) in document["flows"][0]["deaths"][0].as_object().unwrap() {
            assert_eq!(&told[key], value, "{key}");
        }
        assert_eq!(told["client"], json!({ "address": "10.9.0.1", "port": 48796 }));
        assert_eq!(told["server"], json!({ "address": "10.9.0.2", "port": 5000 }));
    }

    /// What was written, call by call.
    #[derive(Default)]
    struct Calls(Vec<Vec<u8>>);

    impl Write for Calls {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_write_is_of_whole_lines_and_fits_a_pipe() {
        let mut calls = Calls::default();
        let mut lines = Lines::new(&mut calls);
        for frame in 0..1000 {
            let kind = EventKind::ZeroWindowProbe;
            lines.tell(&Event { time: Time(0), frame: Some(frame), flow: 1, from: None, kind }).unwrap();
        }
        lines.flush().unwrap();
        assert!(calls.0.iter().all(|call| call.len() <= WHOLE && call.last() == Some(&b'\n')));
        assert_eq!(calls.0.concat().iter().filter(|&&b| b == b'\n').count(), 1000);
        assert!(calls.0.len() < 50, "{} writes", calls.0.len());
    }
}
