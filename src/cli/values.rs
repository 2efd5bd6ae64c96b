//! Values of options, read from text.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use crate::packet::Address;

/// A network of addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    prefix: u128,
    mask: u128,
}

impl Net {
    /// Whether the address lies in it.
    #[must_use]
    pub fn contains(&self, address: Address) -> bool {
        address.number() & self.mask == self.prefix
    }
}

impl From<Address> for Net {
    fn from(address: Address) -> Self {
        Net { prefix: address.number(), mask: u128::MAX }
    }
}

impl FromStr for Net {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (ip, length) = s.split_once('/').ok_or("write it as ADDRESS/LENGTH, such as 10.0.0.0/8")?;
        let ip: IpAddr = ip.parse().map_err(|_| format!("{ip} is no IP address"))?;
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let length: u32 = length.parse().ok().filter(|&l| l <= width).ok_or(format!("the length is 0 to {width}"))?;
        // IPv4 lies in the last 32 bits; all of IPv6 may be asked for by ::/0, but that is not meant to be IPv4 too.
        let mask = u128::MAX.checked_shl(width - length).unwrap_or(0);
        Ok(Net { prefix: Address::from(ip).number() & mask, mask })
    }
}

/// A span of time: a number of seconds, or numbers with units as in `1h30m`.
pub(super) fn duration(s: &str) -> Result<Duration, String> {
    let seconds = s.parse::<f64>().ok().map(Duration::try_from_secs_f64);
    let span = match seconds {
        Some(seconds) => seconds.ok(),
        None => s.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok()),
    };
    span.filter(|d| !d.is_zero()).ok_or_else(|| "write it as 90s, 5m, 1h30m, or a number of seconds".to_owned())
}

/// The least `--memory-limit`, bytes.
const LEAST_MEMORY: usize = 64 << 20;

/// An amount of memory: a number with K, M or G, each 1024 times the one before, or of bytes.
pub(super) fn memory(s: &str) -> Result<usize, String> {
    let s = s.trim_end_matches("iB");
    let (number, shift) = match s.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']) {
        Some(number) if s.ends_with(['k', 'K']) => (number, 10),
        Some(number) if s.ends_with(['m', 'M']) => (number, 20),
        Some(number) => (number, 30),
        None => (s, 0),
    };
    let bytes = number.parse::<usize>().ok().and_then(|n| n.checked_mul(1 << shift));
    let bytes = bytes.ok_or_else(|| "write it as 512M, 2G, or a number of bytes".to_owned())?;
    if bytes < LEAST_MEMORY { Err("64M is the least".to_owned()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory() {
        assert_eq!(memory("64M"), Ok(64 << 20));
        assert_eq!(memory("2G"), Ok(2 << 30));
        assert_eq!(memory("2GiB"), Ok(2 << 30));
        assert_eq!(memory("1048576k"), Ok(1 << 30));
        assert_eq!(memory("100000000"), Ok(100_000_000));
        for bad in ["", "G", "-1G", "63M", "1.5G", "much", "99999999999G"] {
            assert!(memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        for bad in ["", "0", "0s", "-3", "-3s", "soon", "inf", "1e300"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nets() {
        let in_net =
            |net: &str, ip: &str| net.parse::<Net>().unwrap().contains(Address::from(ip.parse::<IpAddr>().unwrap()));
        assert!(in_net("10.0.0.0/8", "10.255.0.1"));
        assert!(!in_net("10.0.0.0/8", "11.0.0.1"));
        assert!(in_net("10.1.2.3/8", "10.9.9.9"));
        assert!(in_net("10.1.2.3/32", "10.1.2.3"));
        assert!(in_net("0.0.0.0/0", "1.2.3.4"));
        assert!(!in_net("0.0.0.0/0", "::1"));
        for bad in ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "x/8", "::/129", "/"] {
            assert!(bad.parse::<Net>().is_err(), "{bad}");
        }
    }
}
