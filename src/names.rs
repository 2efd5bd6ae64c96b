//! Names for hosts and services, where somebody asked for them: from this system's files, from the capture itself, and
//! from DNS if that was asked for too.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::packet::Endpoint;
use crate::phrase::printable;

/// Where names may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sources {
    /// /etc/hosts, /etc/services and the capture's own name resolution blocks.
    Files,
    /// DNS as well.
    Dns,
}

/// How long DNS may take for all addresses together.
const PATIENCE: Duration = Duration::from_secs(3);
/// Addresses in the report that may be looked up, the same one counted each time.
const MOST: usize = 2048;
/// How many of them are looked up at a time.
const AT_A_TIME: usize = 8;

/// What hosts and services are called.
#[derive(Clone, Debug, Default)]
pub struct Names {
    hosts: HashMap<IpAddr, String>,
    services: HashMap<u16, String>,
    /// Whether DNS may be asked.
    dns: bool,
}

impl Names {
    /// What this system's files say. A file that is not there says nothing.
    #[must_use]
    pub fn of_system(sources: Sources) -> Self {
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        Names { dns: sources == Sources::Dns, ..Names::of(&read("/etc/hosts"), &read("/etc/services")) }
    }

    /// What files of these two kinds say, hosts(5) and services(5); of several names the first.
    fn of(hosts: &str, services: &str) -> Self {
        fn rows(text: &str) -> impl Iterator<Item = (&str, &str)> {
            text.lines().filter_map(|line| {
                let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
                Some((words.next()?, words.next()?))
            })
        }
        let mut names = Names::default();
        for (address, name) in rows(hosts) {
            if let Ok(address) = address.parse::<IpAddr>() {
                names.hosts.entry(address).or_insert_with(|| name.to_owned());
            }
        }
        for (name, port) in rows(services) {
            if let Some(port) = port.strip_suffix("/tcp").and_then(|port| port.parse().ok()) {
                names.services.entry(port).or_insert_with(|| name.to_owned());
            }
        }
        names
    }

    /// Takes what a capture says of its hosts, which knows better than this system.
    pub fn learn(&mut self, hosts: impl IntoIterator<Item = (IpAddr, String)>) {
        self.hosts.extend(hosts);
    }

    /// Whether an end's address has a name.
    #[must_use]
    pub fn knows(&self, end: &Endpoint) -> bool {
        self.hosts.contains_key(&end.address.ip())
    }

    /// An end as `host:port`, each by its name if it has one; only the port of a service is taken for a service's.
    #[must_use]
    pub fn end(&self, end: &Endpoint, is_service: bool) -> String {
        let host = match (self.hosts.get(&end.address.ip()), end.address.ip()) {
            (Some(name), _) => printable(name).into_owned(),
            (None, IpAddr::V6(ip)) => format!("[{ip}]"),
            (None, IpAddr::V4(ip)) => ip.to_string(),
        };
        match self.services.get(&end.port).filter(|_| is_service) {
            Some(service) => format!("{host}:{}", printable(service)),
            None => format!("{host}:{}", end.port),
        }
    }

    /// Asks DNS for those of these addresses that have no name, if it may be asked. What takes too long stays unnamed.
    pub fn ask(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        if self.dns {
            let unknown = addresses.into_iter().take(MOST).filter(|address| !self.hosts.contains_key(address));
            let unknown: BTreeSet<_> = unknown.collect();
            let found =
                look_up(unknown.into_iter().collect(), PATIENCE, |address| dns_lookup::lookup_addr(address).ok());
            self.hosts.extend(found);
        }
    }
}

/// Finds names by `find`, several at a time, until all are found or the time is up. A search that is under way then ends
/// with the process.
fn look_up(
    addresses: Vec<IpAddr>,
    patience: Duration,
    find: impl Fn(&IpAddr) -> Option<String> + Clone + Send + 'static,
) -> Vec<(IpAddr, String)> {
    let until = Instant::now() + patience;
    let (found, names) = mpsc::channel();
    let waiting = std::sync::Arc::new(Mutex::new(addresses));
    for _ in 0..AT_A_TIME {
        let (waiting, found, find) = (waiting.clone(), found.clone(), find.clone());
        thread::spawn(move || {
            let next = || waiting.lock().ok().and_then(|mut waiting| waiting.pop());
            while let Some(address) = next() {
                if let Some(name) = find(&address)
                    && found.send((address, name)).is_err()
                {
                    return;
                }
            }
        });
    }
    drop(found);
    let left = || until.saturating_duration_since(Instant::now());
    std::iter::from_fn(|| names.recv_timeout(left()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Address;

    fn end(ip: &str, port: u16) -> Endpoint {
        Endpoint { address: Address::from(ip.parse::<IpAddr>().unwrap()), port }
    }

    #[test]
    fn files_are_read_as_their_manual_pages_say() {
        let hosts =
            "# hosts\n10.0.0.1\tdb1 db1.example # the old one\n::1 localhost ip6-loopback\n10.0.0.1 other\nnonsense\n";
        let services = "postgresql 5432/tcp postgres\ndomain 53/udp\nssh\t22/tcp\n# x 1/tcp\n";
        let names = Names::of(hosts, services);
        assert_eq!(names.end(&end("10.0.0.1", 5432), true), "db1:postgresql");
        assert_eq!(names.end(&end("10.0.0.1", 5432), false), "db1:5432");
        assert_eq!(names.end(&end("10.0.0.2", 53), true), "10.0.0.2:53");
        assert_eq!(names.end(&end("::1", 22), true), "localhost:ssh");
        assert_eq!(names.end(&end("::2", 9), true), "[::2]:9");
    }

    #[test]
    fn the_capture_knows_better_and_its_names_are_escaped() {
        let mut names = Names::of("10.0.0.1 mine\n", "");
        names.learn([("10.0.0.1".parse().unwrap(), "its\u{1b}[2J".to_owned())]);
        assert_eq!(names.end(&end("10.0.0.1", 1), true), "its\\u{1b}[2J:1");
    }

    #[test]
    fn who_does_not_answer_in_time_stays_unnamed() {
        let addresses: Vec<IpAddr> = (1..=20).map(|n| [10, 0, 0, n].into()).collect();
        let found = look_up(addresses.clone(), Duration::from_secs(30), |ip| Some(format!("host-{ip}")));
        assert_eq!(found.len(), 20);
        let found = look_up(addresses, Duration::from_millis(50), |_| {
            thread::sleep(Duration::from_secs(3600));
            None
        });
        assert_eq!(found, []);
    }
}
