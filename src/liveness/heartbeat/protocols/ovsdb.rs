//! OVSDB (RFC 7047 §4.1.11): "echo" requests over JSON-RPC, from either side, answered with the same parameters.

use super::frames::beat;
use super::{OPENING_LIMIT, Opening, Parser, Recognition, Role, Sign};
use crate::packet::Time;
use crate::summary::{Both, Side};

const PORTS: &[u16] = &[6640, 6641, 6642];
/// Bytes kept of each message; an echo is shorter.
const HEAD: usize = 160;
/// Methods that nobody else has.
const METHODS: [&str; 5] = ["list_dbs", "get_schema", "monitor_cond", "monitor_cond_since", "get_server_id"];

/// Cuts one side's stream into JSON objects.
#[derive(Clone)]
struct Objects {
    head: [u8; HEAD],
    len: u64,
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// Bytes were missed: until a segment starts as a message does, nothing is read.
    lost: bool,
}

impl Default for Objects {
    fn default() -> Self {
        Objects { head: [0; HEAD], len: 0, depth: 0, in_string: false, escaped: false, lost: false }
    }
}

impl Objects {
    fn push(&mut self, bytes: &[u8], mut on_object: impl FnMut(&[u8], u64)) {
        if self.lost {
            if !starts_message(bytes) {
                return;
            }
            *self = Self::default();
        }
        for &byte in bytes {
            if self.depth == 0 && byte != b'{' {
                // White space may stand between objects, nothing else.
                self.lost |= !byte.is_ascii_whitespace();
                if self.lost {
                    return;
                }
                continue;
            }
            if let Some(place) = usize::try_from(self.len).ok().and_then(|at| self.head.get_mut(at)) {
                *place = byte;
            }
            self.len += 1;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let kept = HEAD.min(usize::try_from(self.len).unwrap_or(HEAD));
                        on_object(&self.head[..kept], self.len);
                        *self = Self::default();
                    }
                }
                _ => {}
            }
        }
    }
}

fn starts_message(bytes: &[u8]) -> bool {
    ["{\"id\":", "{\"method\":", "{\"params\":", "{\"error\":", "{\"result\":"]
        .iter()
        .any(|start| bytes.starts_with(start.as_bytes()))
}

/// Whether `text` has this member, with or without a space before its value.
fn has(text: &str, name: &str, value: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let rest = text[at + name.len()..].strip_prefix("\":").unwrap_or_default();
        text[..at].ends_with('"') && rest.trim_start().starts_with(value)
    })
}

/// Recognises OVSDB by a JSON-RPC message on its ports, or by one of its own methods, or an echo with the id "echo".
pub fn recognise(opening: &Opening) -> Recognition {
    if opening.bytes.0.iter().any(|stream| stream.first().is_some_and(|&b| b != b'{')) {
        return Recognition::No;
    }
    let texts = opening.bytes.0.map(String::from_utf8_lossy);
    let known_port = opening.port_in(PORTS);
    let fits = texts.iter().any(|text| {
        let echo = has(text, "method", "\"echo\"") && has(text, "id", "\"echo\"");
        let own = METHODS.iter().any(|method| has(text, "method", &format!("\"{method}\"")));
        echo || own || known_port && (has(text, "method", "\"") || has(text, "result", ""))
    });
    match fits {
        true => Recognition::Yes(Box::new(Ovsdb::default())),
        false if opening.bytes.0.iter().any(|stream| stream.len() >= OPENING_LIMIT) => Recognition::No,
        false => Recognition::Undecided,
    }
}

#[derive(Default)]
struct Ovsdb {
    streams: Both<Objects>,
    /// Who is to answer an echo.
    asked: Both<bool>,
}

impl Parser for Ovsdb {
    fn data(&mut self, from: Side, _time: Time, bytes: &[u8], signs: &mut Vec<Sign>) {
        let Ovsdb { streams, asked } = self;
        streams[from].push(bytes, |object, len| {
            if len > HEAD as u64 {
                return;
            }
            let text = String::from_utf8_lossy(object);
            if has(&text, "method", "\"echo\"") {
                asked[from.peer()] = true;
                signs.push(beat("ovsdb", Role::Request, len, object));
            } else if asked[from] && has(&text, "result", "[") && has(&text, "error", "null") {
                asked[from] = false;
                signs.push(beat("ovsdb", Role::Reply, len, object));
            }
        });
    }

    fn gap(&mut self, from: Side, _len: u64) {
        self.streams[from].lost = true;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// Messages as Open vSwitch writes them (lib/jsonrpc.c), with RFC 7047's members.
    #[test]
    fn echoes_from_either_side() {
        let turns: Turns = &[
            (Client, br#"{"id":0,"method":"list_dbs","params":[]}"#),
            (Server, br#"{"id":0,"result":["Open_vSwitch","}{\"]"],"error":null}"#),
            (Server, br#"{"id":"echo","method":"echo","params":[]}"#),
            (Client, br#"{"id":"echo","result":[],"error":null}"#),
            (Client, br#"{"method": "echo", "params": [], "id": "echo"}"#),
            (Server, br#"{"error":null,"id":"echo","result":[]}"#),
        ];
        let roles: Vec<_> =
            beats(&signs(recognise, 40_000, turns)).into_iter().map(|(side, _, role)| (side, role)).collect();
        let expected = [(Client, Role::Reply), (Client, Role::Request), (Server, Role::Request), (Server, Role::Reply)];
        assert_eq!(roles, expected);
        assert_eq!(beats(&signs_midstream(recognise, 6640, &turns[2..])).len(), 4);
    }

    #[test]
    fn other_json_is_not_ovsdb() {
        assert_eq!(signs(recognise, 40_000, &[(Client, br#"{"id":1,"method":"echo","params":["a"]}"#)]), []);
    }
}
