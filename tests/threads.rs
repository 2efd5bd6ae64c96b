//! What is printed does not depend on how many threads analysed the capture.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::pcap::{ACK, Pcap, SYN, reply, segment, with};

/// The captures of all fixtures.
fn captures() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")).unwrap() {
        let folder = folder.unwrap().path();
        if folder.is_dir() {
            let files = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path());
            found.extend(files.filter(|f| f.to_string_lossy().contains(".pcap")));
        }
    }
    found.sort();
    found
}

fn printed(threads: &str, form: &str, files: &[PathBuf]) -> String {
    let options = ["--threads", threads, form];
    common::stdout(&options.into_iter().chain(files.iter().map(|file| file.to_str().unwrap())).collect::<Vec<_>>(), b"")
}

#[test]
fn one_thread_and_two_say_the_same() {
    let captures = captures();
    assert!(captures.len() > 20, "the fixtures are not there");
    for capture in &captures {
        let files = std::slice::from_ref(capture);
        assert_eq!(printed("1", "--json", files), printed("2", "--json", files), "{}", capture.display());
    }
    // All at once: flows of all kinds side by side, and a clock that jumps from file to file.
    assert!(printed("1", "--json", &captures) == printed("2", "--json", &captures), "all captures at once");
    assert!(printed("1", "--all", &captures) == printed("2", "--all", &captures), "all captures at once");
}

/// Of so many flows that each thread often waits for the other.
#[test]
fn it_does_not_matter_who_waits_for_whom() {
    const CLIENTS: u32 = 1500;
    let mut pcap = Pcap::new();
    let mut at = 0;
    let mut add = |packet: &[u8]| {
        // The clock steps back now and then.
        at += if packet[15] == 99 { -50_000_000 } else { 1_000_000 };
        pcap.packet(at, packet);
    };
    for client in 0..CLIENTS {
        add(&segment(client, SYN, 0, 0));
        add(&reply(client, SYN | ACK, 0, 1));
        add(&segment(client, ACK, 1, 1));
    }
    for beat in 0..20 {
        for client in 0..CLIENTS {
            // A third dies early, and the server probes them, or resends, to the end.
            let lives = client % 3 > 0 || beat < 5;
            if client % 2 == 0 {
                add(&reply(client, ACK, 0, 1));
                if lives {
                    add(&segment(client, ACK, 1, 1));
                }
            } else if lives {
                add(&with(segment(client, ACK, 1 + 4 * beat, 1 + 4 * beat), b"ping"));
                add(&with(reply(client, ACK, 1 + 4 * beat, 5 + 4 * beat), b"pong"));
            } else {
                add(&with(reply(client, ACK, 21, 21), b"gone"));
            }
        }
    }
    let said = |threads| common::stdout(&["--threads", threads, "--json", "-"], pcap.bytes());
    let alone = said("1");
    assert!(alone.contains("\"dead_peers\":500,"));
    for _ in 0..3 {
        assert!(said("2") == alone);
    }
}
