//! Giving up what a live capture needs only to begin: root, capabilities, and the right to open anything more.
//!
//! What strangers send is then analysed by a process that can read its packets, write its outputs and do little else. Three
//! means, each of which holds without the others: an ordinary user without capabilities, Landlock (since Linux 5.13) and
//! a seccomp filter. What was opened before stays usable. Landlock and capabilities are a thread's own and pass on to
//! those that it starts, so this comes before any other thread is started.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use nix::unistd::{Gid, Uid, User, setgid, setgroups, setuid};

#[cfg(target_os = "linux")]
use linux as system;

/// The user that root becomes unless told otherwise.
const NOBODY: &str = "nobody";

/// What a run has to do after it was confined, beyond using what it has opened. By default nothing.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Folders in which it will make files, as the user that it has become.
    pub folders: Vec<PathBuf>,
    /// Whether it looks up which process a socket belongs to and how it is set, in /proc and by pidfd_getfd(2). This takes
    /// two capabilities and rules out Landlock, under which other processes cannot be looked at.
    pub processes: bool,
}

/// A user of this system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: String,
    uid: Uid,
    gid: Gid,
}

impl FromStr for Identity {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let user = match name.parse() {
            Ok(number) => User::from_uid(Uid::from_raw(number)),
            Err(_) => User::from_name(name),
        };
        match user.map_err(|e| e.desc().to_owned())? {
            Some(user) => Ok(Identity { name: user.name, uid: user.uid, gid: user.gid }),
            None => Err("there is no such user".to_owned()),
        }
    }
}

impl Identity {
    /// By convention the last but one of 16 bits, where the system has no list of users.
    fn nobody() -> Self {
        let id = 65_534;
        NOBODY.parse().unwrap_or(Identity { name: NOBODY.to_owned(), uid: Uid::from_raw(id), gid: Gid::from_raw(id) })
    }

    /// Becomes this user, in all threads (the C library sees to that).
    fn assume(&self) -> Result<(), Error> {
        let become_it = || {
            setgroups(&[self.gid])?;
            setgid(self.gid)?;
            setuid(self.uid)
        };
        become_it().map_err(|e| Error { name: self.name.clone(), why: e.desc() })
    }
}

/// Why a process could not become another user.
#[derive(Debug, thiserror::Error)]
#[error("cannot become user {name}: {why}")]
pub struct Error {
    name: String,
    why: &'static str,
}

/// How far Landlock holds a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landlock {
    /// In all that this program knows to forbid.
    Full,
    /// In what an older kernel knows to forbid: files, but not TCP ports (Linux 6.7) or signals (6.12).
    Partial,
    /// Not at all.
    None,
}

/// By what a process is held, as the kernel says once it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// The user that it runs as.
    pub user: String,
    /// Why it is still root, if nobody wanted that.
    pub still_root: Option<String>,
    /// Capabilities that it has still, by the kernel's names.
    pub capabilities: Vec<String>,
    /// Landlock.
    pub landlock: Landlock,
    /// Whether a seccomp filter forbids the calls that open anything.
    pub seccomp: bool,
}

impl Confinement {
    /// What somebody should do something about.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.still_root.as_ref().map(|why| format!("Analysed as root: {why}."))
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.user)?;
        match self.capabilities.as_slice() {
            [] => write!(f, ", no capabilities")?,
            kept => write!(f, ", {}", kept.join(", "))?,
        }
        match self.landlock {
            Landlock::Full => write!(f, ", Landlock")?,
            Landlock::Partial => write!(f, ", Landlock as far as this kernel has it")?,
            Landlock::None => {}
        }
        if self.seccomp { write!(f, ", seccomp") } else { Ok(()) }
    }
}

/// Gives up whatever can be given up. Root becomes `user`, or nobody; anyone else may be asked to become another user, but
/// is not able to.
///
/// # Errors
/// If the process cannot become `user`. Without one, what this system does not let a process give up is told only.
pub fn confine(user: Option<&Identity>, needs: &Needs) -> Result<Confinement, Error> {
    system::keep_capabilities(needs);
    let mut still_root = None;
    match user {
        Some(user) => user.assume()?,
        // A container may lack the right to become somebody else.
        None if Uid::effective().is_root() => still_root = Identity::nobody().assume().err().map(|e| e.to_string()),
        None => {}
    }
    let uid = Uid::effective();
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let capabilities = system::drop_capabilities(needs);
    let landlock = system::landlock(needs);
    let seccomp = system::seccomp(needs);
    Ok(Confinement { user, still_root, capabilities, landlock, seccomp })
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;

    use caps::{CapSet, Capability, CapsHashSet, securebits};
    use landlock::{
        ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
        path_beneath_rules,
    };
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

    use super::{Landlock, Needs};

    /// Calls that open a file by its name.
    const OPEN: &[i64] = &[
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_creat,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_open_by_handle_at,
    ];

    /// Calls that make a socket or reach one, start a program, or reach into other processes or the system.
    const REACH: &[i64] = &[
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_bind,
        libc::SYS_connect,
        libc::SYS_listen,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_kcmp,
        libc::SYS_io_uring_setup,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_kexec_load,
    ];

    /// The x32 ABI of x86-64 has the same calls under other numbers (__X32_SYSCALL_BIT, and execve and ptrace anew).
    #[cfg(target_arch = "x86_64")]
    fn x32(call: i64) -> i64 {
        0x4000_0000
            | match call {
                libc::SYS_execve => 520,
                libc::SYS_ptrace => 521,
                libc::SYS_process_vm_readv => 539,
                libc::SYS_process_vm_writev => 540,
                libc::SYS_kexec_load => 528,
                libc::SYS_execveat => 545,
                same => same,
            }
    }

    /// The capabilities that a run needs later.
    fn needed(needs: &Needs) -> CapsHashSet {
        let wanted = if needs.processes {
            [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH].into()
        } else {
            CapsHashSet::new()
        };
        let held = caps::read(None, CapSet::Permitted).unwrap_or_default();
        wanted.intersection(&held).copied().collect()
    }

    /// Sees to it that those capabilities outlive the change of the user.
    pub fn keep_capabilities(needs: &Needs) {
        // If it fails they are lost, which the report then says.
        let _ = needed(needs).is_empty() || securebits::set_keepcaps(true).is_ok();
    }

    /// Drops all others; gives those that the process is left with.
    pub fn drop_capabilities(needs: &Needs) -> Vec<String> {
        let kept = needed(needs);
        // What fails shows in what is left.
        let _ = caps::clear(None, CapSet::Ambient);
        let _ = caps::clear(None, CapSet::Inheritable);
        let _ = caps::set(None, CapSet::Effective, &kept);
        let _ = caps::set(None, CapSet::Permitted, &kept);
        let left = caps::read(None, CapSet::Permitted).unwrap_or_default();
        let mut names: Vec<_> = left.iter().map(Capability::to_string).collect();
        names.sort_unstable();
        names
    }

    /// No file may be opened but new ones in the given folders, and no TCP port or signal used.
    pub fn landlock(needs: &Needs) -> Landlock {
        if needs.processes {
            return Landlock::None;
        }
        let abi = ABI::V6;
        let make = AccessFs::MakeReg | AccessFs::WriteFile | AccessFs::Truncate;
        let restrict = || -> Result<_, RulesetError> {
            Ruleset::default()
                .handle_access(AccessFs::from_all(abi))?
                .handle_access(AccessNet::from_all(abi))?
                .scope(Scope::from_all(abi))?
                .create()?
                .add_rules(path_beneath_rules(&needs.folders, make))?
                .restrict_self()
        };
        match restrict().map(|status| status.ruleset) {
            Ok(RulesetStatus::FullyEnforced) => Landlock::Full,
            Ok(RulesetStatus::PartiallyEnforced) => Landlock::Partial,
            Ok(RulesetStatus::NotEnforced) | Err(_) => Landlock::None,
        }
    }

    /// The calls fail with EPERM, in all threads; whether the filter holds.
    pub fn seccomp(needs: &Needs) -> bool {
        let opens = !needs.folders.is_empty() || needs.processes;
        let forbidden = REACH.iter().chain(if opens { &[] } else { OPEN }).copied();
        let forbidden = forbidden.filter(|&call| call != libc::SYS_pidfd_getfd || !needs.processes);
        #[cfg(target_arch = "x86_64")]
        let forbidden = forbidden.flat_map(|call| [call, x32(call)]);
        let rules: BTreeMap<_, _> = forbidden.map(|call| (call, Vec::new())).collect();
        let apply = || {
            let refuse = SeccompAction::Errno(libc::EPERM as u32);
            let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?;
            let program: BpfProgram = filter.try_into()?;
            apply_filter_all_threads(&program).map_err(Box::<dyn std::error::Error>::from)
        };
        apply().is_ok()
    }
}

/// Other systems are not known to this program: there a user may be given up, and nothing else is.
#[cfg(not(target_os = "linux"))]
mod system {
    use super::{Landlock, Needs};

    pub fn keep_capabilities(_: &Needs) {}

    pub fn drop_capabilities(_: &Needs) -> Vec<String> {
        Vec::new()
    }

    pub fn landlock(_: &Needs) -> Landlock {
        Landlock::None
    }

    pub fn seccomp(_: &Needs) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_by_name_and_by_number() {
        let root: Identity = "root".parse().unwrap();
        assert_eq!("0".parse::<Identity>().unwrap(), root);
        assert_eq!((root.uid, root.gid), (Uid::from_raw(0), Gid::from_raw(0)));
        assert!("no-such-user-here".parse::<Identity>().unwrap_err().contains("no such user"));
    }

    #[test]
    fn what_holds_is_told_in_words() {
        let all = Confinement {
            user: "nobody".into(),
            still_root: None,
            capabilities: Vec::new(),
            landlock: Landlock::Full,
            seccomp: true,
        };
        assert_eq!(all.to_string(), "user nobody, no capabilities, Landlock, seccomp");
        assert_eq!(all.warning(), None);
        let little = Confinement {
            user: "root".into(),
            still_root: Some("cannot become user nobody: Operation not permitted".into()),
            capabilities: vec!["CAP_NET_RAW".into()],
            landlock: Landlock::None,
            seccomp: false,
        };
        assert_eq!(little.to_string(), "user root, CAP_NET_RAW");
        assert!(little.warning().unwrap().contains("as root: cannot become user nobody"));
    }
}
