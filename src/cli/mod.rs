//! The command line: what may be asked, and its help.

mod config;
mod meter;
mod values;

use std::ffi::OsString;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use config::Config;
pub use config::ConfigError;

use crate::FEATURES;
use crate::confine::Identity;
use crate::liveness::findings::FailOn;
use crate::liveness::limits::Limit;
use crate::names::Sources;
use crate::packet::{Address, Endpoint};
use crate::phrase::{harmless, printable_lines};
use crate::timeline::Timelines;
pub use meter::Meter;
pub use values::Net;

/// The version with the features that are in (`+`) and those that are not (`-`).
fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let features: Vec<_> = FEATURES.iter().map(|(name, on, _)| format!("{}{name}", sign(*on))).collect();
        format!("{} ({})", env!("CARGO_PKG_VERSION"), features.join(" "))
    });
    &VERSION
}

/// The same, and what each feature gives.
fn long_version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let features = FEATURES.iter().map(|(name, on, gives)| format!("\n{}{name}: {gives}", sign(*on)));
        version().to_owned() + &features.collect::<String>()
    });
    &VERSION
}

fn sign(on: bool) -> char {
    if on { '+' } else { '-' }
}

const USAGE: &str = "\
hbsniff [OPTIONS] FILE...
       hbsniff [OPTIONS] -i INTERFACE
       hbsniff explain [WORD]";

/// How the help is laid out: what it is for, how to call it, examples, options.
const LAYOUT: &str = "{about-with-newline}\n{usage-heading} {usage}{after-help}\n\n{all-args}";

const FEW_EXAMPLES: &str = "\
Examples:
  hbsniff trace.pcap                   who died, who noticed, how long it took
  hbsniff --port 5432 --all a.pcap     every flow of a database, in full
  hbsniff -i eth0 --duration 30m       watch an interface, then report
  hbsniff explain keepalive_suppressed what a word of the report means";

const EXAMPLES: &str = "\
Examples:
  hbsniff trace.pcap
      who died, who noticed, how long it took
  hbsniff --port 5432 --all day1.pcap day2.pcap.gz
      every flow of a database, over two files
  hbsniff --json trace.pcap | jq .summary
      the same for scripts
  hbsniff -i eth0 --duration 30m
      watch an interface for half an hour, then report
  hbsniff -i eth0 --tui
      the same on the screen, as it happens, worst first
  hbsniff -i eth0 --events
      one line of JSON for each event, as it happens
  ssh host tcpdump -U -w - tcp | hbsniff -
      watch another host
  sudo hbsniff -i eth0 --sockets
      the same with processes and their sockets' settings, as ss -o shows them
  hbsniff --fail-on dead-peer,unprotected ci.pcap
      a gate for tests: exit status 1 if something is wrong
  hbsniff -i eth0 --write evidence.pcapng
      keep only the packets that matter, explained, for Wireshark
  hbsniff -i eth0 --metrics 127.0.0.1:9469
      answer Prometheus while capturing
  hbsniff --html report.html trace.pcap
      the report as a page, with a timeline of each flow that matters
  hbsniff explain keepalive_suppressed
      what a word of the report means, and how to fix it
  hbsniff --completions bash > /etc/bash_completion.d/hbsniff
  hbsniff --man > /usr/local/share/man/man1/hbsniff.1

Configuration file:
  $XDG_CONFIG_HOME/hbsniff/config.toml (that is ~/.config/hbsniff/config.toml),
  or else /etc/hbsniff.toml. It has options as they are called here, without
  the dashes, and rows for the table of idle timeouts as in --limits; the
  command line wins.
      memory-limit = \"512M\"
      local = true
      port = [5432, 6379]
      [[limit]]
      name = \"our own NAT\"
      limit_s = 600
      resets = \"any\"
      source = \"the network team's wiki\"

Exit status: 0 analysed, 1 analysed and --fail-on matched, 2 could not be analysed.";

/// The client died: does the server know, when did it, and would it now?
///
/// Reads a capture, or captures from an interface, and tells TCP keepalive probes from application heartbeats and from
/// what only looks like them: which settings are in force, where a dead peer was noticed and after how long, and which
/// connections nobody watches.
#[derive(Debug, Parser)]
#[command(name = "hbsniff", version = version(), long_version = long_version(), override_usage = USAGE,
    help_template = LAYOUT, after_help = FEW_EXAMPLES, after_long_help = EXAMPLES, disable_help_flag = true,
    disable_version_flag = true,
    args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do instead of analysing.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Captures to read, in this order, as one: pcap or pcapng, also packed by gzip or zstd; - is standard input
    #[arg(value_name = "FILE", conflicts_with = "interface", hide_short_help = true)]
    files: Vec<PathBuf>,

    /// Capture from this interface until Ctrl-C
    ///
    /// Or until --duration or --packets say so.
    #[arg(short, long, value_name = "NAME")]
    pub interface: Option<String>,

    /// Stop after this long: 90s, 5m, 1h30m, or seconds
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub duration: Option<Duration>,

    /// Only flows with this port; also --host, --net
    ///
    /// At either end. Several of one kind: either; --port with --host or --net: both.
    #[arg(long, value_name = "NUMBER")]
    pub port: Vec<u16>,

    /// Tell of every flow in full, the healthy ones too
    #[arg(long, conflicts_with_all = ["json", "events"])]
    pub all: bool,

    /// Print the report as one JSON document
    #[arg(long, conflicts_with = "events")]
    pub json: bool,

    /// Print each event as JSON as soon as it is sure
    ///
    /// One on a line, and no report.
    #[arg(long)]
    pub events: bool,

    /// Show the flows on the terminal, as they are now
    ///
    /// Worst first; there, ? lists the keys.
    #[arg(long, conflicts_with_all = ["json", "events"])]
    pub tui: bool,

    /// Write the packets that matter, for Wireshark
    ///
    /// To this pcapng file, each with a comment that says what it is and why.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,

    /// Write tables of flows, events and deaths into this folder
    ///
    /// As Parquet files; needs a build with parquet.
    #[arg(long, help_heading = "Input", value_name = "FOLDER", hide_short_help = true, conflicts_with = "interface")]
    pub parquet: Option<PathBuf>,

    /// While capturing, answer Prometheus and other scrapers at this address
    ///
    /// And port, such as 127.0.0.1:9469, under /metrics.
    #[arg(long, help_heading = "Capture", value_name = "ADDRESS:PORT", hide_short_help = true,
        conflicts_with_all = ["files", "read"])]
    pub metrics: Option<SocketAddr>,

    /// Write the report as a page, with timelines
    ///
    /// One file that needs nothing else; - is standard output, instead of the text.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub html: Option<PathBuf>,

    /// Exit with 1 for dead-peer, unprotected, a finding
    ///
    /// A finding is named by its code, such as half_open. Several may be given, with commas between.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub fail_on: Vec<FailOn>,

    /// All options and more examples (-h, --help: this)
    #[arg(long, action = ArgAction::HelpLong)]
    help_all: Option<bool>,

    /// Print version
    #[arg(short = 'V', long, hide_short_help = true, action = ArgAction::Version)]
    version: Option<bool>,

    /// Print one screen of help
    #[arg(short, long, hide_short_help = true, action = ArgAction::HelpShort)]
    help: Option<bool>,

    /// The same as FILE, as tcpdump and tshark spell it
    #[arg(short, long, help_heading = "Input", value_name = "FILE", conflicts_with_all = ["interface", "files"], hide_short_help = true)]
    read: Vec<PathBuf>,

    /// List the interfaces that can be captured from
    #[arg(short = 'D', long, help_heading = "Input", exclusive = true, hide_short_help = true)]
    pub list_interfaces: bool,

    /// Stop after this many packets
    #[arg(long, help_heading = "Input", value_name = "N", value_parser = clap::value_parser!(u64).range(1..), hide_short_help = true)]
    pub packets: Option<u64>,

    /// Only flows with this address at either end
    #[arg(long, help_heading = "Input", value_name = "ADDRESS", hide_short_help = true)]
    pub host: Vec<IpAddr>,

    /// Only flows with an end in this network
    #[arg(long, help_heading = "Input", value_name = "CIDR", hide_short_help = true)]
    pub net: Vec<Net>,

    /// Threads that analyse files: 1 or 2 [default: 2 where there are two processors]
    #[arg(long, hide_short_help = true, help_heading = "Input", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2))]
    pub threads: Option<u8>,

    /// Keep to about this much memory, with K, M or G: beyond, the flows that tell least are let go, which the report says
    #[arg(long, hide_short_help = true, help_heading = "Input", value_name = "SIZE", value_parser = values::memory, default_value = "1G")]
    pub memory_limit: usize,

    /// Times in local time (TZ, or the system's zone)
    ///
    /// In the text; JSON is always UTC.
    #[arg(long, hide_short_help = true, help_heading = "Text", overrides_with = "utc")]
    pub local: bool,

    /// Times in UTC (the default)
    #[arg(long, hide_short_help = true, help_heading = "Text", overrides_with = "local")]
    utc: bool,

    /// Names for hosts and services in place of numbers
    ///
    /// From /etc/hosts, /etc/services and the name resolution blocks of pcapng; with `--names=dns` from DNS too, for a few
    /// seconds, which a live capture, being confined, cannot ask. In the text; JSON has numbers always.
    #[arg(long, hide_short_help = true, help_heading = "Text", value_name = "SOURCES", num_args = 0..=1,
        require_equals = true, default_missing_value = "files")]
    pub names: Option<Sources>,

    /// When to use colours; NO_COLOR in the environment is heeded too
    #[arg(long, hide_short_help = true, help_heading = "Text", value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,

    /// Capture only what this expression of tcpdump's matches (needs a build with libpcap)
    #[arg(long, hide_short_help = true, help_heading = "Capture", value_name = "EXPRESSION", conflicts_with_all = ["files", "read"])]
    pub capture_filter: Option<String>,

    /// Keep at most this many bytes of each packet
    #[arg(long, hide_short_help = true, help_heading = "Capture", value_name = "BYTES", conflicts_with_all = ["files", "read"],
        value_parser = clap::value_parser!(u32).range(64..=262_144), default_value = "262144", hide_default_value = true)]
    pub snaplen: u32,

    /// The kernel's buffer, in KiB; larger if the report tells of dropped packets
    #[arg(long, hide_short_help = true, help_heading = "Capture", value_name = "KIB", conflicts_with_all = ["files", "read"],
        value_parser = clap::value_parser!(u32).range(64..=1_048_576), default_value = "32768")]
    pub buffer_size: u32,

    /// Ask this host's kernel too: whose the sockets are, and how their keepalive is set
    ///
    /// A helper process asks, which may look at other processes and does nothing else; as root it sees all of them, else
    /// the user's own. Differences to what the packets show are findings. Sockets of this network namespace only.
    #[arg(long, hide_short_help = true, help_heading = "Capture", conflicts_with_all = ["files", "read"])]
    pub sockets: bool,

    /// Once the capture has begun, go on as this user: root's default is nobody, and root stays root
    #[arg(long, hide_short_help = true, help_heading = "Capture", value_name = "NAME", conflicts_with_all = ["files", "read"])]
    pub user: Option<Identity>,

    /// See packets for other hosts too (the default)
    #[arg(long, hide_short_help = true, help_heading = "Capture", conflicts_with_all = ["files", "read"], overrides_with = "no_promiscuous")]
    promiscuous: bool,

    /// See only packets from and to this host
    #[arg(long, hide_short_help = true, help_heading = "Capture", conflicts_with_all = ["files", "read"], overrides_with = "promiscuous")]
    no_promiscuous: bool,

    /// Read defaults for these options from this file
    ///
    /// Instead of from the places named under Configuration file; so does the environment's HBSNIFF_CONFIG.
    #[arg(long, help_heading = "More", value_name = "FILE", hide_short_help = true)]
    config: Option<PathBuf>,

    /// Read no configuration file
    #[arg(long, help_heading = "More", hide_short_help = true, conflicts_with = "config")]
    no_config: bool,

    /// A table of idle timeouts of your own load balancers, NATs and proxies, added to the built-in one
    ///
    /// TOML with `[[limit]]` name, limit_s, resets ("any" or "payload"), ends ("silent", "rst_next_sender", "rst_both",
    /// "fin"; may be left out), source.
    #[arg(long, help_heading = "More", value_name = "FILE", hide_short_help = true)]
    pub limits: Option<PathBuf>,

    /// Rows for that table from the configuration file.
    #[arg(skip)]
    pub own_limits: Vec<Limit>,

    /// Print the JSON Schema of --json and --events
    #[arg(long, help_heading = "More", exclusive = true, hide_short_help = true)]
    pub schema: bool,

    /// Print the manual page
    #[arg(long, help_heading = "More", exclusive = true, hide_short_help = true)]
    pub man: bool,

    /// Print the completions for a shell
    #[arg(long, help_heading = "More", exclusive = true, hide_short_help = true, value_name = "SHELL")]
    pub completions: Option<Shell>,
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

/// Says what is wrong with the arguments, or the help, and ends the process. It repeats arguments, which may be names of
/// files that a stranger chose.
fn complain(mistake: &clap::Error) -> ! {
    let rude = |arg: OsString| !arg.to_string_lossy().chars().all(harmless);
    if std::env::args_os().any(rude) {
        let _ = write!(std::io::stderr(), "{}", printable_lines(&mistake.to_string()));
        std::process::exit(mistake.exit_code());
    }
    mistake.exit()
}

impl Cli {
    /// Reads the process's arguments and the configuration file; on a mistake in the arguments, or for `--help`, says so
    /// and ends the process.
    ///
    /// # Errors
    /// If the configuration file cannot be used.
    pub fn from_args() -> Result<Self, ConfigError> {
        // The usage line tells of it already.
        let command = Self::command().mut_subcommand("explain", |explain| explain.hide(true));
        let args: Vec<_> = std::env::args_os().collect();
        let given = command.clone().try_get_matches_from(&args).unwrap_or_else(|mistake| complain(&mistake));
        let (args, own_limits) = match Config::find(&given, &command)? {
            Some(config) => (config.before(&args, &given, &command), config.limits),
            None => (args, Vec::new()),
        };
        let matches = command.clone().try_get_matches_from(args).unwrap_or_else(|mistake| complain(&mistake));
        let cli = Cli { own_limits, ..Self::from_arg_matches(&matches).unwrap_or_else(|mistake| complain(&mistake)) };
        if cli.page_to_stdout() && (cli.json || cli.events || cli.tui) {
            let what = "--html - takes standard output, which --json, --events and --tui need";
            Self::command().error(ErrorKind::ArgumentConflict, what).exit();
        }
        let told = cli.command.is_some() || cli.man || cli.completions.is_some();
        let given = told || cli.list_interfaces || cli.schema || cli.interface.is_some() || !cli.sources().is_empty();
        if !given {
            let what = "nothing to analyse: give a capture FILE, - for standard input, or -i INTERFACE";
            Self::command().error(ErrorKind::MissingRequiredArgument, what).exit();
        }
        if cli.interface.is_some() && cli.names == Some(Sources::Dns) {
            let what = "a live capture is confined and cannot ask DNS: use --names, or --write a file and read that";
            Self::command().error(ErrorKind::ArgumentConflict, what).exit();
        }
        Ok(cli)
    }

    /// The files to read, in order.
    #[must_use]
    pub fn sources(&self) -> &[PathBuf] {
        if self.read.is_empty() { &self.files } else { &self.read }
    }

    /// Whether the page goes to standard output, in place of the text.
    #[must_use]
    pub fn page_to_stdout(&self) -> bool {
        self.html.as_deref().is_some_and(|path| path == "-")
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
        self.memory() - self.memory_for_timelines()
    }

    /// Bytes that the flows' timelines may take: some of what there is, where the page needs them.
    #[must_use]
    pub fn memory_for_timelines(&self) -> usize {
        if self.html.is_some() { (self.memory() / 4).min(Timelines::MOST_BYTES) } else { 0 }
    }

    fn memory(&self) -> usize {
        const REST: usize = 40 << 20;
        self.memory_limit - REST - self.memory_for_evidence()
    }

    /// Bytes that the packets and flows which `--write` keeps in mind may take.
    #[must_use]
    pub fn memory_for_evidence(&self) -> usize {
        if self.write.is_some() { (self.memory_limit / 8).min(128 << 20) } else { 0 }
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
    fn help_fits_a_terminal_of_old() {
        let help = Cli::command().mut_subcommand("explain", |c| c.hide(true)).term_width(80).render_help().to_string();
        // One line is for the prompt.
        assert!(help.lines().count() < 24 && help.lines().all(|line| line.chars().count() <= 80), "{help}");
        assert!(help.contains("Examples:") && help.contains("--help-all"), "{help}");
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
