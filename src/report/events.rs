//! `--events`: one JSON object a line, as soon as each verdict is sure.

use std::io::{self, Write};

use super::model::EventLine;
use crate::event::Event;

/// Writes one event as one line.
///
/// # Errors
/// What `out` says.
pub fn write_line(out: &mut impl Write, event: &Event) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &EventLine::from(event))?;
    out.write_all(b"\n")
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
        write_line(&mut out, &event).unwrap();
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
        let told = line(EventKind::PeerDead(Box::new(sample::dead().deaths[0].clone())));
        assert_eq!(told["event"], "peer_dead");
        for (key, value) in document["flows"][0]["deaths"][0].as_object().unwrap() {
            assert_eq!(&told[key], value, "{key}");
        }
    }
}
