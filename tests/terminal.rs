//! Whatever a stranger puts into packets, a file's metadata or its name: none of it drives the terminal that shows it.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Output;

use common::pcap::{ACK, Pcap, SYN, reply, segment, with};

/// Titles, colours, a bell, backspaces, C1's CSI, DEL, marks that turn the direction, what is no UTF-8 at all.
const RUDE: &[u8] = b"a\x1b]0;owned\x07\x1b[2J\x08\x7f\xc2\x9b31m\xe2\x80\xae\xe2\x81\xa6\xd8\x9c\xff\xfe\r|";

/// No byte or character that drives a terminal, besides the end of a line.
fn tame(what: &str, output: &Output) {
    for shown in [&output.stdout, &output.stderr] {
        let text = std::str::from_utf8(shown).unwrap_or_else(|e| panic!("{what}: {e}"));
        let turns = |c: char| matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let rude = text.chars().find(|&c| c != '\n' && (c < ' ' || ('\u{7f}'..='\u{9f}').contains(&c) || turns(c)));
        assert_eq!(rude, None, "{what}: {text:?}");
    }
}

fn run(args: &[&OsStr]) -> Output {
    common::command().args(args).output().unwrap()
}

/// Conversations of protocols in which text from the wire is parsed, with rude text in it, over and over as heartbeats are.
fn packets() -> Vec<(i64, Vec<u8>)> {
    let rude = |before: &[u8], after: &[u8]| [before, RUDE, after].concat();
    let tls = {
        // A ClientHello whose server name (RFC 6066 §3) is rude.
        let name =
            [&[0, 0, (RUDE.len() + 5) as u8][..], &[0, (RUDE.len() + 3) as u8, 0, 0, RUDE.len() as u8], RUDE].concat();
        let extensions = [&[0, 0][..], &name[1..]].concat();
        let hello = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0, 0, extensions.len() as u8], &extensions].concat();
        let message = [&[1, 0, 0, hello.len() as u8][..], &hello].concat();
        [&[22, 3, 1, 0, message.len() as u8][..], &message].concat()
    };
    let talks: Vec<(u16, Vec<u8>, Vec<u8>)> = vec![
        (6667, rude(b"NICK x\r\nUSER ", b"\r\nPING :x\r\n"), rude(b":", b" 001 x :hello\r\n")),
        (4222, rude(b"INFO {\"server_id\":\"", b"\"}\r\nPING\r\n"), b"PONG\r\n".to_vec()),
        (
            80,
            rude(b"GET /", b" HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"),
            rude(b"HTTP/1.1 101 ", b"\r\n\r\n"),
        ),
        (5060, rude(b"OPTIONS sip:", b" SIP/2.0\r\n\r\n"), b"SIP/2.0 200 OK\r\n\r\n".to_vec()),
        (22, rude(b"SSH-2.0-", b"\r\n"), rude(b"SSH-2.0-", b"\r\n")),
        (443, tls, vec![22, 3, 3, 0, 0]),
        (9999, rude(b"heartbeat ", b"\n"), rude(b"alive ", b"\n")),
        (61613, rude(b"CONNECT\nheart-beat:1000,1000\nhost:", b"\n\n\0"), rude(b"CONNECTED\nsession:", b"\n\n\0")),
    ];
    let mut out = Vec::new();
    for (number, (port, ask, answer)) in (1..).zip(talks) {
        let mut at = i64::from(number) * 1_000;
        let (mut client, mut server) = (1u32, 1u32);
        let to = |mut s: Vec<u8>, at: usize| {
            s[at..at + 2].copy_from_slice(&port.to_be_bytes());
            s
        };
        out.push((at, to(segment(number, SYN, 0, 0), 22)));
        out.push((at + 1, to(reply(number, SYN | ACK, 0, 1), 20)));
        for _ in 0..8 {
            at += 2_000_000_000;
            out.push((at, to(with(segment(number, ACK, client, server), &ask), 22)));
            client += ask.len() as u32;
            out.push((at + 1_000, to(with(reply(number, ACK, server, client), &answer), 20)));
            server += answer.len() as u32;
        }
    }
    out.sort_by_key(|(at, _)| *at);
    out
}

fn pcap() -> Vec<u8> {
    let mut pcap = Pcap::new();
    packets().iter().for_each(|(at, packet)| pcap.packet(*at, packet));
    pcap.bytes().to_vec()
}

/// The same as pcapng with rude strings in every option that holds text, and in a name resolution block.
fn pcapng() -> Vec<u8> {
    let mut out = Vec::new();
    let mut block = |kind: u32, fixed: &[u8], options: &[u16]| {
        let mut body = fixed.to_vec();
        for code in options {
            body.extend(code.to_le_bytes());
            body.extend((RUDE.len() as u16).to_le_bytes());
            body.extend(RUDE);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        body.extend([0; 4]);
        let len = (body.len() as u32 + 12).to_le_bytes();
        out.extend([&kind.to_le_bytes()[..], &len, &body, &len].concat());
    };
    // Comment, hardware, system, application; interface: comment, name, description, hardware, system.
    let head = [&0x1a2b_3c4du32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    block(0x0a0d_0d0a, &head, &[1, 2, 3, 4]);
    block(1, &[101, 0, 0, 0, 0, 0, 0, 0], &[1, 2, 3, 15, 12]);
    let mut names = vec![1, 0, (4 + RUDE.len() + 1) as u8, 0, 10, 0, 0, 1];
    names.extend(RUDE);
    names.resize((names.len() + 1).next_multiple_of(4), 0);
    block(4, &names, &[1]);
    for (at, packet) in packets() {
        let micros = (1_700_000_000_000_000 + at / 1000) as u64;
        let len = packet.len() as u32;
        let fields = [0, (micros >> 32) as u32, micros as u32, len, len];
        let mut fixed: Vec<u8> = fields.iter().flat_map(|v| v.to_le_bytes()).collect();
        fixed.extend(packet);
        fixed.resize(fixed.len().next_multiple_of(4), 0);
        block(6, &fixed, &[1]);
    }
    // A damaged block, so that there is a warning with the name of the file.
    out.extend([6, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    out
}

/// The comments of a little-endian pcapng file's packets (draft-ietf-opsawg-pcapng §4.3).
fn comments(file: &[u8]) -> Vec<String> {
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let (mut rest, mut out) = (file, Vec::new());
    while !rest.is_empty() {
        let (block, more) = rest.split_at(word(rest, 4));
        rest = more;
        let options = (word(block, 0) == 6).then(|| &block[28 + word(block, 20).next_multiple_of(4)..]);
        if let Some([1, 0, low, high, text @ ..]) = options {
            out.push(String::from_utf8(text[..usize::from(u16::from_le_bytes([*low, *high]))].to_vec()).unwrap());
        }
    }
    out
}

#[test]
fn a_rude_capture_under_a_rude_name_is_told_tamely_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let rude: Vec<u8> = RUDE.iter().copied().filter(|&b| b != b'/').collect();
    for (suffix, bytes) in [(".pcap", pcap()), (".pcapng", pcapng())] {
        let path = dir.path().join(OsStr::from_bytes(&[&rude, suffix.as_bytes()].concat()));
        fs::write(&path, bytes).unwrap();
        let evidence = dir.path().join(OsStr::from_bytes(&[&rude[..], b".out"].concat()));
        for form in [&["--all"][..], &["--json"], &["--events"], &[]] {
            let mut args: Vec<&OsStr> = form.iter().map(OsStr::new).collect();
            args.extend([path.as_os_str(), OsStr::new("--write"), evidence.as_os_str()]);
            let output = run(&args);
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(output.stdout.len() > 500, "{form:?}");
            tame(&format!("{suffix} {form:?}"), &output);
        }
        // What Wireshark shows of the evidence.
        let comments = comments(&fs::read(&evidence).unwrap());
        assert!(comments.len() > 5, "{comments:?}");
        assert!(comments.iter().flat_map(|c| c.chars()).all(|c| c >= ' ' && c != '\u{7f}'), "{comments:?}");
    }
}

#[test]
fn errors_about_rude_names_are_tame() {
    let dir = tempfile::tempdir().unwrap();
    let rude = OsStr::from_bytes(RUDE);
    let place = dir.path().join(rude);
    let missing = place.as_os_str();
    let option = OsStr::from_bytes(b"--\x1b[31mevil\xc2\x9b");
    let good = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/keystrokes/capture.pcap");
    let folder = place.join("out.pcapng");
    for args in [
        &[missing][..],
        &[OsStr::new("-i"), OsStr::from_bytes(&RUDE[..12])],
        &[OsStr::new("explain"), OsStr::from_bytes(&RUDE[..20])],
        &[OsStr::new("--limits"), missing, good.as_os_str()],
        &[OsStr::new("--write"), folder.as_os_str(), good.as_os_str()],
        &[option],
        &[OsStr::new("--host"), OsStr::from_bytes(&RUDE[..20]), good.as_os_str()],
        &[OsStr::new("--fail-on"), rude, good.as_os_str()],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
        tame(&format!("{args:?}"), &output);
    }
    for (name, bytes) in [("empty", &b""[..]), ("rude", RUDE), ("text", b"hello\n")] {
        let path = dir.path().join(OsStr::from_bytes(&[RUDE, name.as_bytes()].concat()));
        fs::write(&path, bytes).unwrap();
        let output = run(&[path.as_os_str()]);
        assert_eq!(output.status.code(), Some(2));
        tame(name, &output);
    }
}
