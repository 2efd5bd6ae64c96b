//! `--metrics`: what a live run has found so far, for Prometheus and whatever else reads OpenMetrics.
//!
//! Counters follow the events as they are told. Gauges over all flows come from a survey that looks at some of them at a
//! time, so that neither a million flows nor a scrape holds up capturing. Every label has a fixed set of values.

mod memory;
mod server;
mod survey;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::FEATURES;
use crate::analysis::Skipped;
use crate::analyzer::{Analyzer, SoFar};
use crate::capture;
use crate::event::{Event, EventKind};
use crate::liveness::findings::CODES;
use crate::packet::{Time, seconds};
use crate::summary::{Death, End, Mechanism, NoticedBy, Side};
use survey::{Survey, Tally};

/// How often the figures are brought up to date.
const PERIOD: Duration = Duration::from_millis(100);
/// Upper bounds of detection times, seconds: the tighter ones for heartbeats and short keepalives, 1000 for the 924.6 s
/// after which Linux gives up on data in flight, 8000 for the 7875 s of its default keepalive.
const DETECTION: [f64; 15] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0];
/// The label `protocol` of heartbeats that are known by their rhythm alone.
const UNKNOWN: &str = "unknown";

type Labels<const N: usize> = [(&'static str, &'static str); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;
type Histograms = Family<Labels<1>, Histogram, fn() -> Histogram>;
type Moment = Gauge<f64, AtomicU64>;

/// The metrics of one run.
pub struct Metrics {
    registry: Arc<Registry>,
    found: Found,
    progress: Progress,
    flows: Flows,
    survey: Survey,
    due: Instant,
}

/// Where scrapes will be answered, and what a process that gives up its rights must have opened before.
pub struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
    metrics: Metrics,
}

impl Endpoint {
    /// Listens.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        Ok(Endpoint { listener, address, metrics: Metrics::default() })
    }

    /// Where: for port 0, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The features that are in, divided by commas.
static FEATURES_IN: LazyLock<String> = LazyLock::new(|| {
    let names: Vec<_> = FEATURES.iter().filter(|(_, is_in, _)| *is_in).map(|(name, ..)| *name).collect();
    names.join(",")
});

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let process = registry.sub_registry_with_prefix("process");
        let start: Moment = add_in(Unit::Seconds, process, "start_time", "When the run began, in Unix time");
        start.set(seconds(capture::now().0));
        let resident = add_in(Unit::Bytes, process, "resident_memory", "Memory of the process that is in RAM");
        let ours = registry.sub_registry_with_prefix("hbsniff");
        // A gauge, as is the custom, rather than OpenMetrics' info, which the older text format does not know.
        let build: Gauges<2> = add(ours, "build_info", "What is running");
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION")), ("features", &FEATURES_IN)]).set(1);
        let (found, progress, flows) = (Found::new(ours), Progress::new(ours, resident), Flows::new(ours));
        Metrics { registry: Arc::new(registry), found, progress, flows, survey: Survey::default(), due: Instant::now() }
    }
}

impl Metrics {
    /// Answers scrapes from now on, on a thread of its own, until the process ends.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn serve(endpoint: Endpoint) -> io::Result<Self> {
        let Endpoint { listener, metrics, .. } = endpoint;
        let registry = Arc::clone(&metrics.registry);
        server::start(listener, move || page(&registry))?;
        Ok(metrics)
    }

    /// What a scrape gets.
    #[must_use]
    pub fn page(&self) -> String {
        page(&self.registry)
    }

    /// Counts an event.
    pub fn event(&self, event: &Event) {
        self.found.event(event);
    }

    /// Brings the other figures up to date, if it is time; to be called after each portion of packets. `dropped` is asked
    /// only then for the packets that the kernel dropped.
    pub fn update(&mut self, analyzer: &Analyzer, now: Time, dropped: impl FnOnce() -> Option<u64>) {
        let clock = Instant::now();
        if clock < self.due {
            return;
        }
        self.due = clock + PERIOD;
        self.progress.set(&analyzer.so_far(), dropped());
        if let Some(tally) = self.survey.go_on(analyzer, now) {
            self.flows.set(&tally, now);
        }
    }
}

fn page(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string fails only if a metric does, and none of these can.
    let _ = encode(&mut text, registry);
    text
}

/// Registers a metric that counts things.
fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// Registers a metric whose figures have a unit, which becomes the end of its name.
fn add_in<M: Metric + Clone + Default>(unit: Unit, registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register_with_unit(name, help, unit, metric.clone());
    metric
}

/// Brings a counter up to a figure that was counted elsewhere.
fn raise(counter: &Counter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

fn gauge(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// Counted by events.
struct Found {
    opened: Counter,
    ended: Counters<1>,
    dead_peers: Counters<2>,
    detection: Histograms,
    probes: Counter,
    answers: Counter,
    window_probes: Counter,
    retransmissions: Counter,
    heartbeats: Counters<1>,
    replies: Counters<1>,
    missed: Counters<1>,
}

impl Found {
    fn new(r: &mut Registry) -> Self {
        let detection: Histograms = Family::new_with_constructor(|| Histogram::new(DETECTION));
        let help = "From last hearing a dead peer to taking it for dead, for those that were";
        r.register_with_unit("detection", help, Unit::Seconds, detection.clone());
        let found = Found {
            opened: add(r, "flows_opened", "TCP connections seen"),
            ended: add(r, "flows_ended", "TCP connections that ended, by how"),
            dead_peers: add(
                r,
                "dead_peers",
                "Peers that were taken for dead, or went dead unnoticed, by how it was noticed and who died",
            ),
            detection,
            probes: add(r, "keepalive_probes", "Kernel keepalive probes"),
            answers: add(r, "keepalive_answers", "Kernel keepalive probes that were answered"),
            window_probes: add(r, "zero_window_probes", "Probes of a closed window"),
            retransmissions: add(r, "retransmissions", "Segments with bytes that were sent before"),
            heartbeats: add(r, "heartbeats", "Application heartbeats, by protocol"),
            replies: add(r, "heartbeat_replies", "Replies to application heartbeats, by protocol"),
            missed: add(r, "heartbeats_missed", "Application heartbeats that were due and did not come"),
        };
        // What has not happened yet is 0, so that its first time is an increase.
        for mechanism in Mechanism::ALL {
            _ = found.detection.get_or_create(&[("mechanism", mechanism.name())]);
            for dead in Side::BOTH {
                _ = found.dead_peers.get_or_create(&[("mechanism", mechanism.name()), ("dead", dead.name())]);
            }
        }
        for end in [End::Fin, End::Rst, End::DeadPeer] {
            _ = found.ended.get_or_create(&[("end", end.name())]);
        }
        found
    }

    fn event(&self, event: &Event) {
        match &event.kind {
            EventKind::FlowStart { .. } => _ = self.opened.inc(),
            EventKind::FlowEnd(end) => _ = self.ended.get_or_create(&[("end", end.name())]).inc(),
            EventKind::KeepaliveProbe { .. } => _ = self.probes.inc(),
            EventKind::KeepaliveAck { .. } => _ = self.answers.inc(),
            EventKind::ZeroWindowProbe => _ = self.window_probes.inc(),
            EventKind::ZeroWindowAck | EventKind::Data { .. } => {}
            EventKind::Retransmission => _ = self.retransmissions.inc(),
            EventKind::Heartbeat { protocol, .. } => self.beat(&self.heartbeats, protocol),
            EventKind::HeartbeatReply { protocol } => self.beat(&self.replies, protocol),
            EventKind::HeartbeatMissed { protocol } => self.beat(&self.missed, protocol),
            EventKind::PeerDead { death, .. } => self.death(death),
        }
    }

    fn beat(&self, counted: &Counters<1>, protocol: &Option<&'static str>) {
        let protocol = [("protocol", protocol.unwrap_or(UNKNOWN))];
        for family in [&self.heartbeats, &self.replies, &self.missed] {
            _ = family.get_or_create(&protocol);
        }
        counted.get_or_create(&protocol).inc();
    }

    fn death(&self, death: &Death) {
        let mechanism = ("mechanism", death.mechanism.name());
        self.dead_peers.get_or_create(&[mechanism, ("dead", death.dead.name())]).inc();
        if let Some(span) = death.detection() {
            self.detection.get_or_create(&[mechanism]).observe(seconds(span));
        }
    }
}

/// How far the run is and what it takes.
struct Progress {
    packets: Counter,
    bytes: Counter,
    segments: Counter,
    skipped: Counters<1>,
    dropped: Counter,
    last_packet: Moment,
    tracked: Gauge,
    let_go: Counter,
    flow_memory: Gauge,
    flow_limit: Gauge,
    resident: Gauge,
    memory: memory::Resident,
}

impl Progress {
    fn new(r: &mut Registry, resident: Gauge) -> Self {
        let last = "Time of the last packet, in Unix time; 0 before the first";
        let taken = "Memory that the flows take, roughly";
        let limit = "Memory that the flows may take before the least interesting are let go";
        Progress {
            packets: add(r, "packets", "Packets captured"),
            bytes: add_in(Unit::Bytes, r, "captured", "Bytes of the packets captured, as on the wire"),
            segments: add(r, "tcp_segments", "TCP segments among the packets captured"),
            skipped: add(r, "skipped_packets", "Packets that were not analysed, by reason"),
            dropped: add(r, "dropped_packets", "Packets that the kernel dropped for want of buffer"),
            last_packet: add_in(Unit::Seconds, r, "last_packet_timestamp", last),
            tracked: add(r, "tracked_flows", "TCP connections in memory, those that ended included"),
            let_go: add(r, "flows_let_go", "TCP connections forgotten for want of memory"),
            flow_memory: add_in(Unit::Bytes, r, "flow_memory", taken),
            flow_limit: add_in(Unit::Bytes, r, "flow_memory_limit", limit),
            resident,
            memory: memory::Resident::open(),
        }
    }

    fn set(&self, so_far: &SoFar<'_>, dropped: Option<u64>) {
        let a = so_far.analysis;
        raise(&self.packets, a.packets);
        raise(&self.bytes, a.bytes);
        raise(&self.segments, a.tcp_segments);
        // Taken apart, so that none is forgotten.
        let Skipped { not_tcp, malformed, truncated, fragments, duplicates } = a.skipped;
        for (reason, count) in [
            ("not_tcp", not_tcp),
            ("malformed", malformed),
            ("truncated", truncated),
            ("fragments", fragments),
            ("duplicates", duplicates),
        ] {
            raise(&self.skipped.get_or_create(&[("reason", reason)]), count);
        }
        raise(&self.dropped, dropped.unwrap_or(0));
        self.last_packet.set(a.last_packet.map_or(0.0, |last| seconds(last.0)));
        self.tracked.set(gauge(so_far.flows));
        raise(&self.let_go, so_far.let_go.totals.flows);
        self.flow_memory.set(gauge(so_far.memory));
        self.flow_limit.set(gauge(so_far.memory_limit.unwrap_or(0)));
        if let Some(bytes) = self.memory.bytes() {
            self.resident.set(gauge(bytes));
        }
    }
}

/// The open flows, as the last survey found them.
struct Flows {
    open: Gauge,
    unprotected: Gauge,
    with_keepalive: Gauge,
    with_heartbeat: Gauge,
    exposed: Gauges<2>,
    findings: Gauges<1>,
    surveyed: Moment,
}

impl Flows {
    fn new(r: &mut Registry) -> Self {
        let unprotected = "Open connections, idle long enough to matter, in which a side could die unnoticed";
        let exposed = "Open connections by what would notice the silent death of which side";
        let surveyed = "When the figures of open connections were last counted, in Unix time; 0 before the first time";
        Flows {
            open: add(r, "open_flows", "TCP connections that have not ended"),
            unprotected: add(r, "unprotected_flows", unprotected),
            with_keepalive: add(r, "keepalive_flows", "Open connections on which a side sent a keepalive probe"),
            with_heartbeat: add(r, "heartbeat_flows", "Open connections that carry an application heartbeat"),
            exposed: add(r, "exposed_flows", exposed),
            findings: add(r, "finding_flows", "Open connections by finding, as hbsniff explain tells of them"),
            surveyed: add_in(Unit::Seconds, r, "survey_timestamp", surveyed),
        }
    }

    fn set(&self, tally: &Tally, now: Time) {
        self.open.set(gauge(tally.totals.flows));
        self.unprotected.set(gauge(tally.totals.unprotected));
        self.with_keepalive.set(gauge(tally.totals.with_keepalive));
        self.with_heartbeat.set(gauge(tally.totals.with_heartbeat));
        for dies in Side::BOTH {
            for (by, count) in NoticedBy::ALL.into_iter().zip(tally.exposed[dies]) {
                self.exposed.get_or_create(&[("dies", dies.name()), ("noticed_by", by.name())]).set(gauge(count));
            }
        }
        for (code, count) in CODES.iter().zip(tally.findings) {
            self.findings.get_or_create(&[("code", code)]).set(gauge(count));
        }
        self.surveyed.set(seconds(now.0));
    }
}
