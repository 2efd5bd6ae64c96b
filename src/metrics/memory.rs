//! Memory of this process, as the kernel tells it.

#[cfg(target_os = "linux")]
use std::{fs::File, os::unix::fs::FileExt};

/// The resident set, where the system tells it in a file.
pub(super) struct Resident {
    /// Opened once: a process that has confined itself may open nothing.
    #[cfg(target_os = "linux")]
    status: Option<File>,
}

#[cfg(target_os = "linux")]
impl Resident {
    pub(super) fn open() -> Self {
        Resident { status: File::open("/proc/self/status").ok() }
    }

    /// Bytes, by VmRSS of proc_pid_status(5).
    pub(super) fn bytes(&self) -> Option<u64> {
        let mut text = [0; 4096];
        let len = self.status.as_ref()?.read_at(&mut text, 0).ok()?;
        let line = str::from_utf8(&text[..len]).ok()?.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        kibibytes.checked_mul(1024)
    }
}

#[cfg(not(target_os = "linux"))]
impl Resident {
    pub(super) fn open() -> Self {
        Resident {}
    }

    pub(super) fn bytes(&self) -> Option<u64> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_seen() {
        let resident = Resident::open();
        let before = resident.bytes().unwrap();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = resident.bytes().unwrap();
        assert!(after >= before + (60 << 20) && after < before + (1 << 30), "{before} {after} {}", block.len());
    }
}
