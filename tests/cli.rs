//! The program as its users meet it: what it prints where, and its exit status.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::command as hbsniff;
use common::pcap::{ACK, Pcap, SYN, reply, segment};

/// The user without rights, on every Linux.
const NOBODY: u32 = 65_534;
/// Nanoseconds.
const SECOND: i64 = 1_000_000_000;

fn run(args: &[&str]) -> Output {
    hbsniff().args(args).output().unwrap()
}

/// Status, standard output, standard error.
fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn error(args: &[&str]) -> String {
    let (status, stdout, stderr) = told(&run(args));
    assert_eq!((status, stdout.as_str()), (2, ""), "{args:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

/// Packets a second apart.
fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut pcap = Pcap::new();
    for (second, packet) in (0..).zip(packets) {
        pcap.packet(second * SECOND, packet);
    }
    pcap.take()
}

/// A connection that is set up and nothing more.
fn handshake() -> Vec<Vec<u8>> {
    vec![segment(1, SYN, 99, 0), reply(1, SYN | ACK, 199, 100), segment(1, ACK, 100, 200)]
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Dir(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path: PathBuf = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn usage_errors_are_2_and_help_is_0() {
    assert!(error(&[]).contains("nothing to analyse"));
    error(&["--no-such-option"]);
    error(&["x.pcap", "--port", "70000"]);
    error(&["x.pcap", "--net", "10.0.0.0"]);
    error(&["x.pcap", "--fail-on", "rain"]);
    error(&["x.pcap", "--json", "--events"]);
    error(&["x.pcap", "-i", "lo"]);
    error(&["x.pcap", "--packets", "0"]);
    for (option, word) in [("--help", "--fail-on"), ("--help-all", "--memory-limit"), ("-h", "--help-all")] {
        let (status, stdout, _) = told(&run(&[option]));
        assert!(status == 0 && stdout.contains("Examples:") && stdout.contains(word), "{stdout}");
    }
    let (status, stdout, _) = told(&run(&["--version"]));
    assert_eq!(status, 0);
    assert!(stdout.contains(env!("CARGO_PKG_VERSION")), "{stdout}");
    let sign = if cfg!(feature = "libpcap") { '+' } else { '-' };
    assert!(stdout.contains(&format!("{sign}libpcap")), "{stdout}");
}

#[test]
fn schema_is_json() {
    let (status, stdout, _) = told(&run(&["--schema"]));
    assert_eq!(status, 0);
    assert!(serde_json::from_str::<serde_json::Value>(&stdout).unwrap().is_object());
}

#[test]
fn unusable_input_is_2_and_says_why() {
    let dir = Dir::new();
    let missing = dir.0.path().join("missing.pcap");
    assert!(error(&[missing.to_str().unwrap()]).contains("missing.pcap"));
    assert!(error(&[dir.0.path().to_str().unwrap()]).contains("directory"));
    assert!(error(&[&dir.file("empty", b"")]).contains("empty"));
    assert!(error(&[&dir.file("text", b"hello, world\n")]).contains("text"));
    assert!(error(&[&dir.file("json", b"{\"a\": [1, 2]}")]).contains("JSON"));
    assert!(error(&[env!("CARGO_BIN_EXE_hbsniff")]).contains("ELF"));
    assert!(error(&[&dir.file("half", &pcap(&handshake())[..20])]).contains("cut short"));
    // One bad name among good ones is told at once.
    let good = dir.file("good.pcap", &pcap(&handshake()));
    assert!(error(&[&good, missing.to_str().unwrap()]).contains("missing.pcap"));
}

#[test]
fn a_damaged_file_is_analysed_as_far_as_it_goes() {
    let dir = Dir::new();
    let whole = pcap(&handshake());
    let cut = dir.file("cut.pcap", &whole[..whole.len() - 5]);
    let (status, stdout, stderr) = told(&run(&["--json", &cut]));
    assert_eq!(status, 0, "{stderr}");
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["capture"]["packets"], 2);
    assert_eq!(report["capture"]["link_types"], serde_json::json!(["RAW"]));
    let warning = report["capture"]["warnings"][0].as_str().unwrap();
    assert!(warning.contains("cut.pcap") && warning.contains("after frame 2"), "{warning}");
    assert!(stderr.contains("after frame 2"), "{stderr}");
}

#[test]
fn what_may_not_be_read_is_2_and_says_so() {
    let dir = Dir::new();
    let secret = dir.file("secret.pcap", &pcap(&handshake()));
    let mode = |path: &str, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&secret, 0o000);
    mode(dir.0.path().to_str().unwrap(), 0o755);
    let mut command = hbsniff();
    // Nor may its home be looked into, where a configuration might be.
    let home = dir.0.path().join("home");
    fs::create_dir(&home).unwrap();
    mode(home.to_str().unwrap(), 0o000);
    command.env_remove("HBSNIFF_CONFIG").env("HOME", home).arg(&secret);
    if fs::File::open(&secret).is_ok() {
        command.uid(NOBODY); // root may read everything
    }
    let Ok(output) = command.output() else { return eprintln!("skipped: nobody may not run the program here") };
    let (status, stdout, stderr) = told(&output);
    assert_eq!((status, stdout.as_str()), (2, ""), "{stderr}");
    assert!(stderr.contains("secret.pcap") && stderr.contains("ermission denied"), "{stderr}");
}

#[test]
fn a_packed_file_cut_at_any_byte_gives_what_came_before() {
    let dir = Dir::new();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(&pcap(&handshake())).unwrap();
    let packed = packer.finish().unwrap();
    let mut most = 0;
    for cut in 0..=packed.len() {
        let (status, stdout, stderr) = told(&run(&["--json", &dir.file("cut.pcap.gz", &packed[..cut])]));
        assert!(!stderr.contains("panicked"), "cut at {cut}: {stderr}");
        if status == 2 {
            assert!(stdout.is_empty() && stderr.contains("cut.pcap.gz"), "cut at {cut}: {stderr}");
            continue;
        }
        let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        let packets = report["capture"]["packets"].as_u64().unwrap();
        assert!(packets >= most, "cut at {cut}: {packets} packets");
        most = packets;
        let warnings = report["capture"]["warnings"].as_array().unwrap();
        assert_eq!(warnings.is_empty(), cut == packed.len(), "cut at {cut}: {warnings:?}");
    }
    assert_eq!(most, 3);
}

#[test]
fn a_file_that_still_grows_is_read_as_far_as_it_is_written() {
    let dir = Dir::new();
    let whole = pcap(&handshake());
    let path = dir.file("growing.pcap", b"");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let mut packets = Vec::new();
    for part in whole.chunks(whole.len() / 7) {
        file.write_all(part).unwrap();
        let (_, stdout, stderr) = told(&run(&["--json", &path]));
        assert!(!stderr.contains("panicked"), "{stderr}");
        if let Ok(report) = serde_json::from_str::<serde_json::Value>(&stdout) {
            packets.push(report["capture"]["packets"].as_u64().unwrap());
        }
    }
    assert!(packets.is_sorted() && packets.last() == Some(&3), "{packets:?}");
}

#[test]
fn a_capture_without_packets_is_no_error() {
    let dir = Dir::new();
    let (status, stdout, _) = told(&run(&["--json", &dir.file("none.pcap", &pcap(&[]))]));
    assert_eq!(status, 0);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["capture"]["packets"], 0);
    assert!(report["capture"]["first_packet"].is_null());
}

#[test]
fn several_files_and_standard_input_are_one_capture() {
    let dir = Dir::new();
    let packets = handshake();
    let first = dir.file("1.pcap", &pcap(&packets[..1]));
    let mut child = hbsniff()
        .args(["--json", "-r", &first, "-r", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&pcap(&packets[1..])).unwrap();
    let (status, stdout, _) = told(&child.wait_with_output().unwrap());
    assert_eq!(status, 0);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["capture"]["packets"], 3);
    assert_eq!(report["capture"]["sources"], serde_json::json!([first, "-"]));
}

#[test]
fn packets_limits_what_is_read() {
    let dir = Dir::new();
    let file = dir.file("a.pcap", &pcap(&handshake()));
    let (status, stdout, _) = told(&run(&["--json", "--packets", "2", &file]));
    assert_eq!(status, 0);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stdout).unwrap()["capture"]["packets"], 2);
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let dir = Dir::new();
    let file = dir.file("a.pcap", &pcap(&handshake()));
    for mode in [&["--json"][..], &["--events"], &["--all"], &["--schema"]] {
        let mut command = hbsniff();
        command.args(mode).stdout(Stdio::piped()).stderr(Stdio::piped());
        if mode != ["--schema"] {
            command.arg(&file);
        }
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""), "{mode:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_2() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: there is no /dev/full");
        return;
    }
    let dir = Dir::new();
    let file = dir.file("a.pcap", &pcap(&handshake()));
    for mode in ["--json", "--all"] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = hbsniff().args([mode, &file]).stdout(full).output().unwrap();
        let (status, _, stderr) = told(&output);
        assert_eq!(status, 2);
        assert!(stderr.contains("cannot write"), "{stderr}");
    }
}

/// Waits for the end, but not for ever.
fn ended(child: &mut Child) -> Option<i32> {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    None
}

#[test]
fn a_pipe_is_read_as_it_comes_and_a_signal_ends_it_well() {
    let mut child = hbsniff()
        .args(["--events", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let bytes = pcap(&handshake());
    pipe.write_all(&bytes[..bytes.len() - 5]).unwrap();
    pipe.flush().unwrap();
    // The first event comes while the pipe is open and quiet; by then the handlers are in place.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("flow_start"), "{first}");
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert_eq!(ended(&mut child), Some(0));
    assert!(lines.any(|line| line.unwrap().contains("flow_end")));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(stderr.contains("interrupted after packet 2"), "{stderr}");
    drop(pipe);
}

#[test]
fn an_unknown_interface_is_2() {
    let stderr = error(&["-i", "no-such-if0"]);
    assert!(stderr.contains("no-such-if0"), "{stderr}");
}

#[cfg(not(feature = "libpcap"))]
#[test]
fn what_needs_libpcap_says_so() {
    for args in [&["-i", "any"][..], &["-i", "lo", "--capture-filter", "tcp"]] {
        assert!(error(args).contains("--features libpcap"));
    }
}

#[test]
fn a_word_is_explained_and_an_unknown_one_is_2() {
    let (status, stdout, stderr) = told(&run(&["explain", "keepalive_suppressed"]));
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(stdout.contains("TCP_USER_TIMEOUT") && stdout.contains("tcp_retries2"), "{stdout}");
    let (status, stdout, _) = told(&run(&["explain"]));
    assert!(status == 0 && stdout.contains("  half_open\n"), "{stdout}");
    let stderr = error(&["explain", "half_opne"]);
    assert!(stderr.contains("did you mean half_open?"), "{stderr}");
}

#[test]
fn manual_and_completions_know_the_options() {
    let (status, manual, _) = told(&run(&["--man"]));
    assert!(status == 0 && manual.contains(".TH hbsniff 1") && manual.contains("fail\\-on"), "{manual}");
    for shell in ["bash", "zsh", "fish"] {
        let (status, completions, _) = told(&run(&["--completions", shell]));
        assert!(status == 0 && completions.contains("fail-on") && completions.contains("explain"), "{completions}");
    }
}

#[test]
fn a_configuration_gives_defaults_and_says_where_it_is_wrong() {
    let dir = Dir::new();
    let capture = dir.file("a.pcap", &pcap(&handshake()));
    let config = dir.file("config.toml", b"json = true\n");
    let run = |args: &[&str], set: &dyn Fn(&mut Command)| {
        let mut command = hbsniff();
        set(command.args(args));
        told(&command.output().unwrap())
    };
    let is_json = |(status, stdout, stderr): (i32, String, String)| {
        assert_eq!((status, stderr.as_str()), (0, ""));
        stdout.starts_with('{')
    };
    assert!(is_json(run(&["--config", &config, &capture], &|_| ())));
    assert!(is_json(run(&[&capture], &|c| {
        c.env("HBSNIFF_CONFIG", &config);
    })));
    assert!(!is_json(run(&["--no-config", &capture], &|c| {
        c.env("HBSNIFF_CONFIG", &config);
    })));
    assert!(!is_json(run(&["--config", &config, "--all", &capture], &|_| ())), "the command line wins");
    let home = dir.0.path().join("xdg");
    fs::create_dir_all(home.join("hbsniff")).unwrap();
    fs::copy(&config, home.join("hbsniff/config.toml")).unwrap();
    assert!(is_json(run(&[&capture], &|c| {
        c.env_remove("HBSNIFF_CONFIG").env("XDG_CONFIG_HOME", &home);
    })));

    let stderr = error(&["--config", &dir.file("bad.toml", b"\nprot = 5432\n"), &capture]);
    assert!(["bad.toml", "line 2", "prot", "did you mean port?"].iter().all(|w| stderr.contains(w)), "{stderr}");
    assert!(error(&["--config", "/nowhere.toml", &capture]).contains("/nowhere.toml"));
    let (status, ..) = run(&["--help"], &|c| {
        c.env("HBSNIFF_CONFIG", "/nowhere.toml");
    });
    assert_eq!(status, 0, "what analyses nothing needs no configuration");
}

#[test]
fn limits_of_one_s_own_are_added() {
    let dir = Dir::new();
    let mut capture = Pcap::new();
    for packet in handshake() {
        capture.packet(0, &packet);
    }
    capture.packet(45 * SECOND, &segment(1, ACK, 100, 200));
    let capture = dir.file("a.pcap", capture.bytes());
    let row = "[[limit]]\nname = \"our own NAT\"\nlimit_s = 40\nresets = \"any\"\nsource = \"the wiki\"\n";
    let (status, stdout, stderr) = told(&run(&["--all", "--limits", &dir.file("ours.toml", row.as_bytes()), &capture]));
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(stdout.contains("our own NAT (40 s)"), "{stdout}");
    let stderr = error(&["--limits", &dir.file("bad.toml", b"[[limit]]\nname = 1\n"), &capture]);
    assert!(stderr.contains("bad.toml"), "{stderr}");
}
