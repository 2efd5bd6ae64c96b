//! The interfaces that can be captured from.

use std::fmt;

use super::CaptureError;
use crate::phrase::printable;

/// An interface of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The name that `-i` takes.
    pub name: String,
    /// Whether it is up.
    pub up: bool,
    /// Its IP addresses, as text.
    pub addresses: Vec<String>,
    /// What it is, where the system says.
    pub description: String,
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<15} {:<4}", printable(&self.name), if self.up { "up" } else { "down" })?;
        if !self.addresses.is_empty() {
            write!(f, " {}", self.addresses.join(", "))?;
        }
        if !self.description.is_empty() {
            write!(f, " ({})", printable(&self.description))?;
        }
        Ok(())
    }
}

/// Lists the interfaces of this machine.
///
/// # Errors
/// The system's, if it cannot tell.
#[cfg(feature = "libpcap")]
pub fn interfaces() -> Result<Vec<Interface>, CaptureError> {
    let devices =
        pcap::Device::list().map_err(|e| CaptureError::Unusable(format!("the interfaces cannot be listed: {e}")))?;
    let interface = |d: pcap::Device| Interface {
        up: d.flags.is_up(),
        addresses: d.addresses.iter().map(|a| a.addr.to_string()).collect(),
        description: d.desc.unwrap_or_default(),
        name: d.name,
    };
    Ok(devices.into_iter().map(interface).collect())
}

/// Lists the interfaces of this machine.
///
/// # Errors
/// The system's, if it cannot tell.
#[cfg(not(feature = "libpcap"))]
pub fn interfaces() -> Result<Vec<Interface>, CaptureError> {
    let interface = |i: pnet::datalink::NetworkInterface| Interface {
        up: i.is_up(),
        addresses: i.ips.iter().map(|a| a.ip().to_string()).collect(),
        description: i.description,
        name: i.name,
    };
    Ok(pnet::datalink::interfaces().into_iter().map(interface).collect())
}
