//! What a confined process can still do. Each test runs itself again as a process of its own, since there is no way back
//! from being confined; as root it sees the change of the user too.
#![cfg(target_os = "linux")]

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::parent_id;
use std::path::Path;
use std::process::Command;

use hbsniff::confine::{Confinement, Landlock, Needs, confine};

/// Set in the process of its own to the folder it may use.
const FOLDER: &str = "HBSNIFF_TEST_FOLDER";

/// Runs `story` in a process of its own, with a folder in which anyone may make files.
fn alone(test: &str, story: fn(&Path)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return story(Path::new(&folder));
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("a folder for anyone");
    let me = std::env::current_exe().expect("this program");
    let output = Command::new(me).args(["--exact", test, "--nocapture"]).env(FOLDER, folder.path()).output();
    let output = output.expect("this program runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let _ = said.lines().filter(|l| l.contains("SKIPPED")).try_for_each(|l| writeln!(io::stderr(), "{l}"));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Confines this process; `None`, with a word about it, where the kernel cannot.
fn confined(needs: &Needs) -> Option<Confinement> {
    let held = confine(None, needs).expect("nobody asked for a user");
    if !held.seccomp || (held.landlock == Landlock::None && !needs.processes) {
        println!("test of confinement SKIPPED: this kernel gives only: {held}");
        return None;
    }
    Some(held)
}

fn denied<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|e| e.kind() == ErrorKind::PermissionDenied)
}

fn nothing_can_be_reached(folder: &Path) {
    assert!(denied(UdpSocket::bind("127.0.0.1:0")));
    assert!(denied(TcpListener::bind("127.0.0.1:0")));
    assert!(denied(TcpStream::connect("127.0.0.1:9")));
    assert!(denied(UnixListener::bind(folder.join("socket"))));
    assert!(denied(UnixStream::pair()));
    assert!(denied(Command::new("/proc/self/exe").arg("--list").status()));
}

fn what_is_open_can_be_used(folder: &Path) {
    let mut before = File::create_new(folder.join("before")).expect("a file");
    let mut exe = File::open("/proc/self/exe").expect("this program");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut near = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    let Some(held) = confined(&Needs::default()) else { return };
    assert_eq!(held.capabilities, [""; 0]);
    assert_ne!(held.user, "root");

    before.write_all(b"evidence").expect("an open file is written");
    exe.read_exact(&mut [0; 4]).expect("an open file is read");
    let (mut far, _) = listener.accept().expect("an open port is served");
    near.write_all(b"metrics").expect("an open connection is used");
    far.read_exact(&mut [0; 7]).expect("an open connection is used");
}

#[test]
fn what_is_open_can_be_used_and_nothing_opened() {
    alone("what_is_open_can_be_used_and_nothing_opened", |folder| {
        what_is_open_can_be_used(folder);
        if !denied(File::open("/proc/self/status")) {
            return; // said already
        }
        let folder = folder.to_owned();
        let attempts = move || {
            assert!(denied(File::open("/etc/hostname")));
            assert!(denied(File::open("/dev/null")));
            assert!(denied(fs::read_dir("/")));
            assert!(denied(File::create(folder.join("after"))));
            assert!(denied(fs::remove_file(folder.join("before"))));
            nothing_can_be_reached(&folder);
        };
        attempts();
        std::thread::spawn(attempts).join().expect("the same in a thread that is started later");
    });
}

#[test]
fn only_new_files_in_a_given_folder() {
    alone("only_new_files_in_a_given_folder", |folder| {
        let elsewhere = tempfile::tempdir_in(folder).expect("another folder");
        let reports = folder.join("reports");
        fs::create_dir(&reports).expect("a folder");
        fs::set_permissions(&reports, Permissions::from_mode(0o777)).expect("a folder for anyone");
        if confined(&Needs { folders: vec![reports.clone()], ..Needs::default() }).is_none() {
            return;
        }
        fs::write(reports.join("report"), "dead").expect("a report");
        assert!(denied(fs::read(reports.join("report"))));
        assert!(denied(fs::write(elsewhere.path().join("report"), "dead")));
        assert!(denied(fs::read("/proc/self/status")));
        nothing_can_be_reached(&reports);
    });
}

#[test]
fn other_processes_can_be_looked_at_where_needed() {
    alone("other_processes_can_be_looked_at_where_needed", |folder| {
        let other = format!("/proc/{}/fd/0", parent_id());
        assert!(fs::read_link(&other).is_ok());
        let Some(held) = confined(&Needs { processes: true, ..Needs::default() }) else { return };
        if held.capabilities.len() == 2 {
            assert!(fs::read_link(&other).is_ok(), "{held}");
        }
        nothing_can_be_reached(folder);
    });
}
