//! SSH: keepalives by their size and the silence before them, since all else is encrypted (RFC 4253 §6).
//!
//! OpenSSH's client sends the global request `keepalive@openssh.com`, its server the same or, while a channel is open, a
//! channel request of that name; either wants a reply and draws a failure (OpenSSH's `clientloop.c`, `serverloop.c`).
//! Which sizes request and reply have follows from the cipher and MAC. Unlike typing, a keepalive is sent only after
//! about an interval without anything from the peer, at least a second, and its reply is the next small packet. A size is
//! believed once that happened, so the first exchange is not told. OpenSSH's chaff against timing of keystrokes comes
//! each 20 ms and never after a silence.
//!
//! A message is taken to be a segment: senders write a keepalive on its own.

use super::frames::beat;
use super::{Opening, Parser, Recognition, Role, Sign, may_become};
use crate::packet::{MILLISECOND, Nanos, SECOND, Time};
use crate::summary::{Both, Side};

const NAME: &str = "ssh";
const PORTS: &[u16] = &[22];

/// Silence of the peer before a keepalive. Intervals are whole seconds, counted by a clock of whole seconds.
const SILENCE: Nanos = 900 * MILLISECOND;
/// How much longer than the quickest answer of its sender a reply may take: no person is as quick.
const HASTE: Nanos = 100 * MILLISECOND;
/// The longest that a reply may take in any case.
const REPLY: Nanos = 2 * SECOND;

/// Payloads of a request and its reply (RFC 4254 §4, §5.4). Global: type, name of 21 bytes with its length, want-reply;
/// failure is the type alone. Channel: with the channel's number, both ways.
const EXCHANGES: [(u32, u32); 2] = [(1 + 25 + 1, 1), (1 + 4 + 25 + 1, 1 + 4)];

/// How ciphers and MACs in use pack a payload: the multiple that padding fills up to, whether the length field counts
/// there, and the tag's or MAC's length.
const PACKINGS: [(u32, bool, u32); 12] = [
    // chacha20-poly1305@openssh.com and AES-GCM (RFC 5647).
    (8, false, 16),
    (16, false, 16),
    // AES with an encrypt-then-MAC of umac-64, sha1, sha2-256, sha2-512; umac-128 packs as AES-GCM.
    (16, false, 8),
    (16, false, 20),
    (16, false, 32),
    (16, false, 64),
    // The same with the MAC over the plain text.
    (16, true, 8),
    (16, true, 12),
    (16, true, 16),
    (16, true, 20),
    (16, true, 32),
    (16, true, 64),
];

/// Length on the wire of a payload: length field, padding length, payload, at least four bytes of padding (RFC 4253 §6).
fn packed(payload: u32, (multiple, with_length, tag): (u32, bool, u32)) -> u32 {
    let filled = if with_length { 4 } else { 0 } + 1 + payload + 4;
    filled.next_multiple_of(multiple) + if with_length { 0 } else { 4 } + tag
}

/// Whether lengths are those of a keepalive and, where there is one, its reply.
fn is_keepalive(request: u32, reply: Option<u32>) -> bool {
    PACKINGS.iter().any(|&packing| {
        EXCHANGES.iter().any(|&(asks, answers)| {
            packed(asks, packing) == request && reply.is_none_or(|reply| packed(answers, packing) == reply)
        })
    })
}

/// Recognises SSH by either banner (RFC 4253 §4.2), in mid-stream by its port.
pub fn recognise(opening: &Opening) -> Recognition {
    let banner = |bytes: &[u8]| bytes.starts_with(b"SSH-2.0-") || bytes.starts_with(b"SSH-1.99-");
    let midstream = !opening.from_start && opening.port_in(PORTS);
    if opening.bytes.0.into_iter().any(banner) || midstream {
        return Recognition::Yes(Box::new(Ssh::default()));
    }
    let maybe = |bytes: &[u8]| may_become(bytes, b"SSH-2.0-") || may_become(bytes, b"SSH-1.99-");
    if opening.bytes.0.into_iter().any(maybe) { Recognition::Undecided } else { Recognition::No }
}

/// What one side sent.
#[derive(Default)]
struct Half {
    /// When it was last heard.
    last: Option<Time>,
    /// Its quickest answer to the other side.
    quickest: Option<Nanos>,
    /// Lengths of its keepalive and the reply, once an exchange was seen.
    known: Option<(u32, u32)>,
    /// The message that may be a keepalive and awaits its reply: its length, when, and whether it was told.
    open: Option<(u32, Time, bool)>,
}

#[derive(Default)]
struct Ssh {
    halves: Both<Half>,
    /// Who sent last.
    speaker: Option<Side>,
}

impl Parser for Ssh {
    fn data(&mut self, from: Side, time: Time, bytes: &[u8], signs: &mut Vec<Sign>) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let turn = if self.speaker == Some(from.peer()) { self.halves[from.peer()].last } else { None };
        if let Some(taken) = turn.map(|turn| time.since(turn).max(0)) {
            let quickest = &mut self.halves[from].quickest;
            *quickest = Some(quickest.map_or(taken, |before| before.min(taken)));
        }
        self.speaker = Some(from);
        let limit = self.halves[from]
            .quickest
            .map_or(REPLY, |quickest| REPLY.min(quickest.saturating_mul(3).saturating_add(HASTE)));
        let peer = &mut self.halves[from.peer()];
        let quiet = peer.last.is_some_and(|last| time.since(last) >= SILENCE);
        if let Some((request, at, told)) = peer.open
            && is_keepalive(request, Some(len))
        {
            peer.open = None;
            if time.since(at) < limit {
                peer.known = Some((request, len));
                if told {
                    signs.push(beat(NAME, Role::Reply, len.into(), bytes));
                }
            }
        } else if let Some((_, _, false)) = peer.open {
            // Something else came back: no keepalive.
            peer.open = None;
        }
        let half = &mut self.halves[from];
        half.last = Some(time);
        if quiet && is_keepalive(len, None) {
            let told = half.known.is_some_and(|(request, _)| request == len);
            if told {
                signs.push(beat(NAME, Role::Request, len.into(), bytes));
            }
            half.open = Some((len, time, told));
        }
    }

    fn gap(&mut self, from: Side, _len: u64) {
        self.halves[from].open = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// Sizes as OpenSSH 9.2 sends them, by cipher and MAC; the first two also by the arithmetic of RFC 4253 §6.
    #[test]
    fn sizes_by_cipher() {
        for (request, reply) in [(52, 28), (60, 36), (52, 36), (68, 36), (44, 28), (68, 52), (80, 48)] {
            assert!(is_keepalive(request, Some(reply)), "{request} {reply}");
        }
        // A key and its echo with chacha20-poly1305: channel data of one byte, both ways.
        assert!(!is_keepalive(packed(10, PACKINGS[0]), None));
    }

    fn beats_of(script: &[(Side, f64, usize)]) -> Vec<(Side, Role)> {
        let mut ssh = Ssh::default();
        let mut beats = Vec::new();
        for &(from, seconds, len) in script {
            let mut signs = Vec::new();
            ssh.data(from, Time((seconds * 1e9) as i64), &vec![7; len], &mut signs);
            beats.extend(super::super::testing::beats(&signs.into_iter().map(|s| (from, s)).collect::<Vec<_>>()));
        }
        beats.into_iter().map(|(from, _, role)| (from, role)).collect()
    }

    #[test]
    fn an_exchange_after_silence_is_believed_the_second_time() {
        let script = [
            (Server, 0.0, 148),
            (Client, 3.0, 52),
            (Server, 3.01, 28),
            (Client, 6.0, 52),
            (Server, 6.01, 28),
            (Server, 8.0, 68),
            (Client, 10.0, 52),
            (Client, 13.0, 52),
        ];
        let (ask, answer) = ((Client, Role::Request), (Server, Role::Reply));
        assert_eq!(beats_of(&script), [ask, answer, ask, ask]);
    }

    #[test]
    fn typing_and_chaff_are_none() {
        let typing: Vec<_> = (0..40).map(|n| ([Client, Server][n % 2], n as f64 * 0.6, 36)).collect();
        assert_eq!(beats_of(&typing), []);
        let chaff: Vec<_> = (0..400).map(|n| ([Client, Server][n % 2], n as f64 * 0.01, [52, 28][n % 2])).collect();
        assert_eq!(beats_of(&chaff), []);
        // Lines of a dozen bytes, each answered by a person.
        let mut lines = vec![(Server, 0.0, 1000), (Client, 0.01, 1000)];
        lines.extend((0..40).map(|n| ([Client, Server][n % 2], 3.0 + n as f64, [52, 68][n % 2])));
        assert_eq!(beats_of(&lines), []);
    }

    #[test]
    fn by_its_banner_or_its_port() {
        let named = |opening| matches!(recognise(&opening), Recognition::Yes(_));
        let opening = |port, from_start, bytes| Opening::new(Both([50_000, port]), Both([b"", bytes]), from_start);
        assert!(named(opening(2222, true, b"SSH-2.0-OpenSSH_9.2\r\n")));
        assert!(named(opening(22, false, b"\x01\x02")));
        assert!(!named(opening(22, true, b"\x01\x02")));
        assert!(!named(opening(2222, false, b"\x01\x02")));
    }
}
