//! The command line: what may be asked, and its help.

mod meter;
mod values;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ColorChoice, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::confine::Identity;
use crate::packet::{Address, Endpoint};
pub use meter::Meter;
pub use values::Net;

use crate::liveness::findings::FailOn;

/// `--version` tells what the build can do.
const LONG_VERSION: &str = match (cfg!(feature = "libpcap"), cfg!(feature = "parquet")) {
    (true, true) => {
        concat!(env!("CARGO_PKG_VERSION"), "\nfeatures: libpcap (capture filters, -i any), parquet (--parquet)")
    }
    (true, false) => concat!(env!("CARGO_PKG_VERSION"), "\nfeatures: libpcap (capture filters, -i any)"),
    (false, true) => concat!(env!("CARGO_PKG_VERSION"), "\nfeatures: parquet (--parquet)"),
    (false, false) => concat!(
        env!("CARGO_PKG_VERSION"),
        "\nfeatures: none (build with --features libpcap for capture filters and -i any, parquet for --parquet)"
    ),
};

const FEW_EXAMPLES: &str = "\
Examples:
  hbsniff trace.pcap                        who died, who noticed, how long it took
  hbsniff --port 5432 --all a.pcap b.pcap   every flow of a database, over two files
  hbsniff -i eth0 --duration 30m            watch an interface for half an hour, then report
  hbsniff --events -i eth0                  one line of JSON for each event, as it happens
  hbsniff explain keepalive_suppressed      what a word of the report means, and how to fix it

More options and examples: --help";

const EXAMPLES: &str = "\
Examples:
  hbsniff trace.pcap                            who died, who noticed, how long it took
  hbsniff --port 5432 --all day1.pcap day2.pcap.gz
                                                every flow of a database, over two files
  hbsniff --json trace.pcap | jq .summary       the same for scripts
  hbsniff -i eth0 --duration 30m                watch an interface for half an hour, then report
  hbsniff -i eth0 --events                      one line of JSON for each event, as it happens
  ssh host tcpdump -U -w - tcp | hbsniff -      watch another host
  hbsniff --fail-on dead-peer,unprotected ci.pcap
                                                a gate for tests: exit status 1 if something is wrong
  hbsniff -i eth0 --write evidence.pcapng       keep only the packets that matter, explained, for Wireshark
  hbsniff -i eth0 --metrics 127.0.0.1:9469      answer Prometheus while capturing
  hbsniff explain keepalive_suppressed          what a word of the report means, and how to fix it
  hbsniff --completions bash > /etc/bash_completion.d/hbsniff
  hbsniff --man > /usr/local/share/man/man1/hbsniff.1

Exit status: 0 analysed, 1 analysed and --fail-on matched, 2 could not be analysed.";

/// The client died: does the server know, when did it know, and would it know if it died now?
///
/// Reads a capture, or captures from an interface, and tells TCP keepalive probes from application heartbeats and from
/// what only looks like them: which settings are in force, where a dead peer was noticed and after how long, and which
/// connections nobody watches.
#[derive(Debug, Parser)]
#[command(name = "hbsniff", version, long_version = LONG_VERSION, after_help = FEW_EXAMPLES,
    after_long_help = EXAMPLES, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do instead of analysing.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Captures to read, in this order, as one: pcap or pcapng, also packed by gzip or zstd; - is standard input
    #[arg(value_name = "FILE", conflicts_with = "interface")]
    files: Vec<PathBuf>,

    /// The same, as tcpdump and tshark spell it
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["interface", "files"])]
    read: Vec<PathBuf>,

    /// Capture from this interface until Ctrl-C, --duration or --packets
    #[arg(short, long, value_name = "NAME")]
    pub interface: Option<String>,

    /// List the interfaces that can be captured from
    #[arg(short = 'D', long, exclusive = true)]
    pub list_interfaces: bool,

    /// Stop after this long: 90s, 5m, 1h30m; a number alone is seconds
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub duration: Option<Duration>,

    /// Stop after this many packets
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub packets: Option<u64>,

    /// Print the report as one JSON document
    #[arg(long, help_heading = "Output", conflicts_with = "events")]
    pub json: bool,

    /// Print each event as a line of JSON as soon as it is sure, and no report
    #[arg(long, help_heading = "Output")]
    pub events: bool,

    /// Print the JSON Schema of --json and --events
    #[arg(long, help_heading = "More", exclusive = true, hide_short_help = true)]
    pub schema: bool,

    /// Print the manual page
    #[arg(long, help_heading = "More", exclusive = true, hide_short_help = true)]
    pub man: bool,

    /// Print the completions for a shell
    #[arg(long, help_heading = "More", exclusive = true, hide_short_help = true, value_name = "SHELL")]
    pub completions: Option<Shell>,

    /// A table of idle timeouts of your own load balancers, NATs and proxies, added to the built-in one: TOML with
    /// `[[limit]]` name, limit_s, resets ("any" or "payload"), ends ("silent", "rst_next_sender", "rst_both", "fin"; may be
    /// left out), source
    #[arg(long, help_heading = "More", value_name = "FILE", hide_short_help = true)]
    pub limits: Option<PathBuf>,

    /// Tell of every flow in full, the healthy ones too
    #[arg(long, help_heading = "Output", conflicts_with_all = ["json", "events"])]
    pub all: bool,

    /// Write the packets that matter to this pcapng file, each with a comment that says what it is and why
    #[arg(long, help_heading = "Output", value_name = "FILE")]
    pub write: Option<PathBuf>,

    /// Write tables of flows, events and deaths into this folder, as Parquet files (needs a build with parquet)
    #[arg(long, help_heading = "Output", value_name = "FOLDER", hide_short_help = true, conflicts_with = "interface")]
    pub parquet: Option<PathBuf>,

    /// While capturing, answer Prometheus and other scrapers at this address and port, such as 127.0.0.1:9469, under
    /// /metrics
    #[arg(long, help_heading = "Output", value_name = "ADDRESS:PORT", hide_short_help = true,
        conflicts_with_all = ["files", "read"])]
    pub metrics: Option<SocketAddr>,

    /// Exit with status 1 if this is found: dead-peer, unprotected, or a finding's code such as half_open; several may
    /// be given, with commas between
    #[arg(long, help_heading = "Output", value_name = "WHAT", value_delimiter = ',')]
    pub fail_on: Vec<FailOn>,

    /// Threads that analyse files: 1 or 2 [default: 2 where there are two processors]
    #[arg(long, hide_short_help = true, help_heading = "Output", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2))]
    pub threads: Option<u8>,

    /// Keep to about this much memory, with K, M or G: beyond, the flows that tell least are let go, which the report says
    #[arg(long, hide_short_help = true, help_heading = "Output", value_name = "SIZE", value_parser = values::memory, default_value = "1G")]
    pub memory_limit: usize,

    /// When to use colours; NO_COLOR in the environment is heeded too
    #[arg(long, hide_short_help = true, help_heading = "Output", value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,

    /// Only flows with this address at either end
    #[arg(
        long,
        help_heading = "Flows (several of one kind: either; --port with the others: both)",
        value_name = "ADDRESS"
    )]
    pub host: Vec<IpAddr>,

    /// Only flows with an end in this network
    #[arg(
        long,
        help_heading = "Flows (several of one kind: either; --port with the others: both)",
        value_name = "CIDR"
    )]
    pub net: Vec<Net>,

    /// Only flows with this port at either end
    #[arg(
        long,
        help_heading = "Flows (several of one kind: either; --port with the others: both)",
        value_name = "NUMBER"
    )]
    pub port: Vec<u16>,

    /// Capture only what this expression of tcpdump's matches (needs a build with libpcap)
    #[arg(long, hide_short_help = true, help_heading = "Capture", value_name = "EXPRESSION", conflicts_with_all = ["files", "read"])]
    pub capture_filter: Option<String>,

    /// Keep at most this many bytes of each packet
    #[arg(long, hide_short_help = true, help_heading = "Capture", value_name = "BYTES", conflicts_with_all = ["files", "read"],
        value_parser = clap::value_parser!(u32).range(64..=262_144), default_value = "262144", hide_default_value = true)]
    pub snaplen: u32,

    /// The kernel's buffer, in KiB; larger if the report tells of dropped packets
    #[arg(long, hide_short_help = true, help_heading = "Capture", value_name = "KIB", conflicts_with_all = ["files", "read"],
        value_parser = clap::value_parser!(u32).range(64..=1_048_576), default_value = "8192")]
    pub buffer_size: u32,

    /// Once the capture has begun, go on as this user: root's default is nobody, and root stays root
    #[arg(long, hide_short_help = true, help_heading = "Capture", value_name = "NAME", conflicts_with_all = ["files", "read"])]
    pub user: Option<Identity>,

    /// See packets for other hosts too (the default)
    #[arg(long, hide_short_help = true, help_heading = "Capture", conflicts_with_all = ["files", "read"], overrides_with = "no_promiscuous")]
    promiscuous: bool,

    /// See only packets from and to this host
    #[arg(long, hide_short_help = true, help_heading = "Capture", conflicts_with_all = ["files", "read"], overrides_with = "promiscuous")]
    no_promiscuous: bool,
}

/// What can be done besides analysing.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a word of the report means, what to do about it, and where that is written
    Explain {
        /// A finding's code, a mechanism, an event, …; without one, all are listed
        word: Option<String>,
    },
}

impl Cli {
    /// Reads the process's arguments; on a mistake, or for `--help`, says so and ends the process.
    #[must_use]
    pub fn from_args() -> Self {
        let cli = Self::parse();
        let told = cli.command.is_some() || cli.man || cli.completions.is_some();
        let given = told || cli.list_interfaces || cli.schema || cli.interface.is_some() || !cli.sources().is_empty();
        if !given {
            let what = "nothing to analyse: give a capture FILE, - for standard input, or -i INTERFACE";
            Self::command().error(ErrorKind::MissingRequiredArgument, what).exit();
        }
        cli
    }

    /// The files to read, in order.
    #[must_use]
    pub fn sources(&self) -> &[PathBuf] {
        if self.read.is_empty() { &self.files } else { &self.read }
    }

    /// Whether an interface is to see packets for other hosts.
    #[must_use]
    pub fn promiscuous(&self) -> bool {
        !self.no_promiscuous
    }

    /// How many threads are to analyse files.
    #[must_use]
    pub fn threads(&self) -> usize {
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(available, usize::from).min(2)
    }

    /// Bytes that all flows together may take: the limit without what everything else takes, such as buffers, packets
    /// under way between threads and fragments that wait for others.
    #[must_use]
    pub fn memory_for_flows(&self) -> usize {
        const REST: usize = 40 << 20;
        self.memory_limit - REST
    }

    /// Whether a flow between two ends is wanted; `None` if every flow is.
    #[must_use]
    pub fn flow_filter(&self) -> Option<impl Fn(&Endpoint, &Endpoint) -> bool + Send + Sync + use<>> {
        if self.host.is_empty() && self.net.is_empty() && self.port.is_empty() {
            return None;
        }
        let hosts: Vec<Net> = self.host.iter().map(|&ip| Net::from(Address::from(ip))).collect();
        let nets = [hosts, self.net.clone()].concat();
        let ports = self.port.clone();
        Some(move |a: &Endpoint, b: &Endpoint| {
            (nets.is_empty() || nets.iter().any(|net| net.contains(a.address) || net.contains(b.address)))
                && (ports.is_empty() || ports.contains(&a.port) || ports.contains(&b.port))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(ip: &str, port: u16) -> Endpoint {
        Endpoint { address: Address::from(ip.parse::<IpAddr>().unwrap()), port }
    }

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn files_by_place_or_by_option() {
        let cli = Cli::try_parse_from(["hbsniff", "a", "b"]).unwrap();
        assert_eq!(cli.sources(), [PathBuf::from("a"), PathBuf::from("b")]);
        let cli = Cli::try_parse_from(["hbsniff", "-r", "a", "--read", "-"]).unwrap();
        assert_eq!(cli.sources(), [PathBuf::from("a"), PathBuf::from("-")]);
        assert!(Cli::try_parse_from(["hbsniff", "-r", "a", "b"]).is_err());
        assert!(Cli::try_parse_from(["hbsniff", "-i", "lo", "b"]).is_err());
        assert!(Cli::try_parse_from(["hbsniff", "a", "--snaplen", "96"]).is_err());
    }

    #[test]
    fn promiscuous_unless_told_otherwise() {
        let promiscuous =
            |args: &[&str]| Cli::try_parse_from([&["hbsniff", "-i", "lo"], args].concat()).unwrap().promiscuous();
        assert!(promiscuous(&[]));
        assert!(!promiscuous(&["--no-promiscuous"]));
        assert!(promiscuous(&["--no-promiscuous", "--promiscuous"]));
    }

    #[test]
    fn flows_are_narrowed_by_address_and_port() {
        let keep = |args: &[&str], a: &Endpoint, b: &Endpoint| {
            let filter = Cli::try_parse_from([&["hbsniff", "x"], args].concat()).unwrap().flow_filter();
            filter.is_none_or(|keep| keep(a, b))
        };
        let (a, b) = (end("10.0.0.1", 40000), end("192.168.1.2", 5432));
        assert!(keep(&[], &a, &b));
        assert!(keep(&["--host", "192.168.1.2"], &a, &b));
        assert!(!keep(&["--host", "192.168.1.3"], &a, &b));
        assert!(keep(&["--host", "192.168.1.3", "--net", "10.0.0.0/8"], &a, &b));
        assert!(keep(&["--port", "5432", "--port", "1"], &a, &b));
        assert!(keep(&["--host", "10.0.0.1", "--port", "5432"], &a, &b));
        assert!(!keep(&["--host", "10.0.0.1", "--port", "80"], &a, &b));
        let six = end("2001:db8::1", 80);
        assert!(keep(&["--net", "2001:db8::/32"], &six, &a));
        assert!(!keep(&["--net", "0.0.0.0/0"], &six, &end("fe80::1", 1)));
        assert!(keep(&["--net", "::/0"], &six, &six));
    }
}
