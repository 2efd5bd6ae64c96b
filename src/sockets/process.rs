//! From a socket to the processes that have it open, and from there to its options: /proc and pidfd_getfd(2).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::{Process, Settings};

/// A process and the number under which it has a socket open.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) process: Process,
    fd: RawFd,
}

/// The owners of sockets with these inodes, as far as they may be known. A socket that several processes share, as
/// servers that fork do, is the first one's.
pub(super) fn owners(mut wanted: Vec<u32>) -> HashMap<u32, Owner> {
    wanted.sort_unstable();
    let mut found = HashMap::new();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if found.len() == wanted.len() {
            break;
        }
        let folder = Path::new("/proc").join(pid.to_string());
        let mut name = None;
        // A process may end at any moment, and others' may not be looked at.
        for entry in fs::read_dir(folder.join("fd")).into_iter().flatten().flatten() {
            let Some(inode) = socket_inode(&entry.path()).filter(|inode| wanted.binary_search(inode).is_ok()) else {
                continue;
            };
            let Some(fd) = entry.file_name().to_str().and_then(|fd| fd.parse().ok()) else { continue };
            let name = name.get_or_insert_with(|| {
                let name = fs::read(folder.join("comm")).unwrap_or_default();
                String::from_utf8_lossy(&name).trim_end().to_owned()
            });
            found.entry(inode).or_insert_with(|| Owner { process: Process { pid, name: name.clone() }, fd });
        }
    }
    found
}

/// The inode of a socket, from the link that a descriptor is in /proc: `socket:[4711]`.
fn socket_inode(link: &Path) -> Option<u32> {
    let target = fs::read_link(link).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Reads the options of a socket through a descriptor of its owner's, which is taken for that moment only; nothing is
/// changed on it.
pub(super) fn settings(owner: &Owner, inode: u32) -> io::Result<Settings> {
    let pid = i32::try_from(owner.process.pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let socket = File::from(pidfd_getfd(process, owner.fd, PidfdGetfdFlags::empty())?);
    // The number may be another file's by now.
    if socket.metadata()?.ino() != u64::from(inode) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let seconds = |span: Duration| u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
    Ok(Settings {
        keepalive: sockopt::socket_keepalive(&socket)?,
        idle_s: seconds(sockopt::tcp_keepidle(&socket)?),
        interval_s: seconds(sockopt::tcp_keepintvl(&socket)?),
        count: sockopt::tcp_keepcnt(&socket)?,
        user_timeout_ms: sockopt::tcp_user_timeout(&socket)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn one_s_own_socket_is_found_with_its_options() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        sockopt::set_socket_keepalive(&socket, true).unwrap();
        sockopt::set_tcp_keepidle(&socket, Duration::from_secs(42)).unwrap();
        sockopt::set_tcp_keepcnt(&socket, 3).unwrap();
        sockopt::set_tcp_user_timeout(&socket, 1500).unwrap();
        let inode = socket_inode(&Path::new("/proc/self/fd").join(socket.as_raw_fd().to_string())).unwrap();
        let owner = owners(vec![inode]).remove(&inode).unwrap();
        assert_eq!(owner.process.pid, std::process::id());
        assert!(settings(&owner, inode + 1).is_err(), "another file has the number");
        match settings(&owner, inode) {
            Ok(s) => assert_eq!((s.keepalive, s.idle_s, s.count, s.user_timeout_ms), (true, 42, 3, 1500)),
            // Linux before 5.6, or a container that forbids it.
            Err(e) => eprintln!("SKIPPED: descriptors cannot be taken: {e}"),
        }
    }
}
