//! One run: from a source through the analyzer to the output asked for.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{ColorChoice, CommandFactory};
use jiff::tz::TimeZone;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::analysis::Analysis;
use crate::analyzer::{BATCH, FlowFilter};
use crate::capture::{self, CaptureError, Files, LiveOptions, Progress, Source};
use crate::cli::{Cli, Command, ConfigError, Meter};
use crate::confine::{self, Confinement, Needs, confine};
use crate::engine::Engine;
use crate::event::{Event, Sink};
use crate::evidence::Evidence;
use crate::explain;
use crate::liveness::findings::FailOn;
use crate::liveness::limits;
use crate::metrics::{self, Metrics};
use crate::names::Names;
use crate::packet::Frame;
use crate::phrase::{count, printable, printable_lines};
use crate::report::events::Lines;
use crate::report::text::TextOptions;
use crate::report::{CaptureInfo, html, json, schema, text};
use crate::sockets::Watch;
use crate::tables::{self, Tables};
use crate::timeline::Timelines;
use crate::tui::{Phase, Screen, Tui};
use crate::whole::Whole;

/// How long packets that the kernel still holds are fetched after a live capture was told to stop.
const DRAIN: Duration = Duration::from_secs(1);

/// What a run that came to its end says to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing that `--fail-on` names.
    Clean,
    /// Something that `--fail-on` names.
    Failed,
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The input.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The output.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// The configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A word that means nothing here.
    #[error(transparent)]
    Unknown(#[from] explain::Unknown),
    /// A file to be written.
    #[error("cannot write {0}: {1}")]
    File(PathBuf, io::Error),
    /// The user's table of limits.
    #[error("{0}: {1}")]
    Limits(String, String),
    /// The user that a capture was to go on as.
    #[error("--user: {0}")]
    User(#[from] confine::Error),
    /// The tables of `--parquet`.
    #[error(transparent)]
    Tables(#[from] tables::Error),
    /// The address of `--metrics`.
    #[error("cannot answer scrapes at {0}: {1}")]
    Metrics(SocketAddr, io::Error),
    /// The process that asks the kernel.
    #[error("--sockets: cannot ask the kernel: {0}")]
    Sockets(io::Error),
    /// The screen.
    #[error("{0}")]
    Terminal(String),
    /// The system.
    #[error("cannot heed signals: {0}")]
    Signals(io::Error),
}

/// Does what the arguments ask.
///
/// # Errors
/// If the input or the output cannot be used. A reader of the output that went away is none.
pub fn run(cli: &Cli) -> Result<Verdict, RunError> {
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    if let Some(told) = tell(cli, &mut out) {
        heard(out.flush())?;
        return told.map(|()| Verdict::Clean);
    }
    if cli.schema {
        heard(schema::write(&mut out).and_then(|()| out.flush()))?;
        return Ok(Verdict::Clean);
    }
    if cli.list_interfaces {
        let all = capture::interfaces()?;
        heard(all.iter().try_for_each(|i| writeln!(out, "{i}")).and_then(|()| out.flush()))?;
        return Ok(Verdict::Clean);
    }
    let mut own_limits = cli.own_limits.clone();
    if let Some(path) = &cli.limits {
        let wrong = |e: String| RunError::Limits(printable(&path.display().to_string()).into_owned(), e);
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        own_limits.extend(limits::parse(&text).map_err(|e| wrong(e.to_string()))?);
    }
    limits::add(own_limits);
    // Before privileges and files go.
    let zone = cli.local.then(TimeZone::system);
    let mut names = cli.names.map(Names::of_system);
    let (analysis, info, page) = analyse(cli)?;
    // The process ends with the report: to free a million flows one by one first would only take time.
    let analysis = ManuallyDrop::new(analysis);
    if cli.json || cli.events {
        // The text tells them itself.
        for warning in info.warnings.iter().chain(&analysis.warnings) {
            complain(warning);
        }
        if let Some(dropped @ 1..) = info.dropped_by_kernel {
            complain(&format_args!("the kernel dropped {}: silences may be its doing", count(dropped, "packet")));
        }
    }
    if let Some(names) = &mut names {
        names.learn(info.names.iter().cloned());
    }
    let options = TextOptions { all: cli.all, color: color(cli.color), zone, names };
    let page = page.map_or(Ok(()), |page| page.write(&analysis, &info, &options));
    heard(if cli.page_to_stdout() {
        Ok(())
    } else if cli.json {
        json::write(&mut out, &analysis, &info)
    } else if cli.events || (cli.tui && !passes_by(cli)) {
        Ok(())
    } else {
        text::write(&mut out, &analysis, &info, &options)
    })?;
    heard(out.flush())?;
    page?;
    Ok(verdict(&cli.fail_on, &analysis))
}

/// What is told without anything to analyse, if such was asked.
fn tell(cli: &Cli, out: &mut impl Write) -> Option<Result<(), RunError>> {
    let result = match (&cli.command, cli.completions) {
        (Some(Command::Explain { word: Some(word) }), _) => match explain::explain(out, word) {
            Ok(Err(unknown)) => return Some(Err(unknown.into())),
            Ok(Ok(())) => Ok(()),
            Err(e) => Err(e),
        },
        (Some(Command::Explain { word: None }), _) => explain::list(out),
        (None, Some(shell)) => {
            // It may panic where it cannot write: so it writes to memory.
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hbsniff", &mut text);
            out.write_all(&text)
        }
        (None, None) if cli.man => clap_mangen::Man::new(Cli::command()).render(out),
        (None, None) => return None,
    };
    Some(heard(result))
}

/// Says something on standard error; if nobody listens there, nothing can be done about it.
pub fn complain(what: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "hbsniff: {}", printable_lines(&what.to_string()));
}

/// Reads the input to its end, or until it is told to stop.
fn analyse(cli: &Cli) -> Result<(Analysis, CaptureInfo, Option<Page>), RunError> {
    let stop = stop_on_signals().map_err(RunError::Signals)?;
    let endpoint = cli.metrics.map(listen).transpose()?;
    let mut source = open(cli)?;
    let live = cli.interface.is_some();
    let filter = || cli.flow_filter().map(|keep| Box::new(keep) as FlowFilter);
    // Events are told in the order of their packets, and a live capture leaves processors to others.
    let evidence =
        cli.write.as_deref().map(|path| evidence(path, cli.sources(), cli.memory_for_evidence())).transpose()?;
    let sockets = cli.sockets.then(Watch::start).transpose().map_err(RunError::Sockets)?;
    let page = cli.html.as_deref().map(|path| Page::open(path, cli)).transpose()?;
    let tables = cli.parquet.as_deref().map(|folder| Tables::create(folder, &sources(cli).join(", "))).transpose()?;
    // All is open by now, and no thread has been started yet.
    let screen = cli.tui.then(|| Screen::take(live)).transpose().map_err(RunError::Terminal)?;
    let needs = Needs { folders: Vec::from_iter(screen.as_ref().map(Screen::folder)), ..Needs::default() };
    let confinement = if live { Some(confine(cli.user.as_ref(), &needs)?) } else { None };
    let alone = live || cli.events || evidence.is_some() || tables.is_some() || screen.is_some() || page.is_some();
    let mut engine = Engine::new(if alone { 1 } else { cli.threads() }, cli.memory_for_flows(), filter);
    let metrics = endpoint.map(answer_scrapes).transpose()?;
    let tui = screen.map(|screen| screen.show(&seen(cli), color(cli.color), Arc::clone(&stop))).transpose();
    let tui = tui.map_err(RunError::Terminal)?;
    if tui.is_some() || page.is_some() {
        engine.tell_of_data();
    }
    let lines = Lines::new(io::stdout().lock());
    let mut told = Told { lines, wanted: cli.events, result: Ok(()), evidence, tables, metrics, sockets, tui, page };
    let shared = (cli.events || cli.tui) && io::stdout().is_terminal();
    let meter = Meter::new(source.size(), !live && !shared);

    let limit = cli.packets.unwrap_or(u64::MAX);
    let deadline = cli.duration.and_then(|d| Instant::now().checked_add(d));
    let mut warnings = Vec::new();
    let mut number = 0;
    let mut drain_until = None;
    loop {
        let progress = source.read(&mut |frames| {
            let wanted = frames.partition_point(|f| f.number <= limit);
            number = frames[..wanted].last().map_or(number, |f| f.number);
            told.frames(&frames[..wanted], &mut engine);
        });
        if let Some((since, until)) = source.lost() {
            engine.lost(since, until);
        }
        match progress {
            Ok(Progress::More) => {}
            Ok(Progress::Idle(_)) if drain_until.is_some() => break,
            Ok(Progress::Idle(now)) => told.hear(|sink| engine.advance(now, sink)),
            Ok(Progress::End) => break,
            Err(e) if live && number > 0 => {
                warnings.push(format!("{e}; what was captured before is analysed."));
                break;
            }
            Err(e) => return Err(e.into()),
        }
        told.flush();
        if let Some(metrics) = &mut told.metrics {
            metrics.update(engine.analyzer(), capture::now(), || source.dropped());
        }
        if let Some(tui) = &mut told.tui {
            let info = |source: &mut dyn Source| info(cli, source, &warnings, confinement.as_ref());
            serve(tui, passes_by(cli), live, &mut engine, &mut *source, info);
        }
        if told.failed() || number >= limit || drain_until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        meter.at(source.position(), number);
        let signalled = stop.load(Ordering::Relaxed) || told.tui.as_ref().is_some_and(Tui::left);
        if drain_until.is_none() && (signalled || deadline.is_some_and(|d| Instant::now() >= d)) {
            if !live {
                if signalled {
                    warnings.push(format!("Reading was interrupted after packet {number}; the rest is not analysed."));
                }
                break;
            }
            drain_until = Some(Instant::now() + DRAIN);
        }
    }
    drop(meter);

    // Only a live capture knows that time has passed since its last packet; one ended by --packets may have had more.
    let end = (live && number < limit).then(capture::now);
    let mut analysis = told.hear(|sink| engine.finish(end, sink));
    told.flush();
    if let Some(sockets) = told.sockets {
        let (known, warning) = sockets.finish();
        analysis.flows.know(known);
        warnings.extend(warning);
    }
    let tui = told.tui;
    heard(told.result)?;
    if let Some(tables) = told.tables {
        tables.finish(&analysis)?;
    }
    if let (Some(evidence), Some(path)) = (told.evidence, &cli.write) {
        let written = evidence.finish().map_err(|e| RunError::File(path.clone(), e))?;
        if written.late > 0 {
            let late = count(written.late, "packet");
            warnings.push(format!("{}: {late} had left memory before they were known to matter.", path.display()));
        }
    }
    warnings.extend(confinement.as_ref().and_then(Confinement::warning));
    let info = info(cli, &mut *source, &warnings, confinement.as_ref());
    if let Some(mut tui) = tui {
        tui.browse(&mut analysis, &info);
    }
    Ok((analysis, info, told.page))
}

/// What the report tells of the input so far, with what went wrong besides.
fn info(cli: &Cli, source: &mut dyn Source, warnings: &[String], confinement: Option<&Confinement>) -> CaptureInfo {
    CaptureInfo {
        link_types: source.link_types().into_iter().map(|link| link.name().into_owned()).collect(),
        dropped_by_kernel: source.dropped(),
        names: source.names(),
        warnings: [&source.warnings(), warnings].concat(),
        confinement: confinement.cloned(),
        sources: sources(cli),
    }
}

/// What is analysed, in a word for the screen.
fn seen(cli: &Cli) -> String {
    match (&cli.interface, cli.sources()) {
        (Some(interface), _) => interface.clone(),
        (None, [one]) => capture::name_of(one),
        (None, several) => count(several.len() as u64, "file"),
    }
}

/// Whether what is read is gone once it was read.
fn passes_by(cli: &Cli) -> bool {
    cli.interface.is_some() || cli.sources().iter().any(|path| path.as_os_str() == "-")
}

/// Answers what the screen asks.
fn serve(
    tui: &mut Tui,
    passes_by: bool,
    live: bool,
    engine: &mut Engine,
    source: &mut dyn Source,
    info: impl Fn(&mut dyn Source) -> CaptureInfo,
) {
    while let Some(ask) = tui.asked() {
        let Some(analyzer) = engine.alone() else { return };
        let now = analyzer.end(live.then(capture::now)).unwrap_or_default();
        let percent = || Some((u128::from(source.position()) * 100 / u128::from(source.size()?).max(1)).min(100) as u8);
        let phase = if passes_by { Phase::Live } else { Phase::Reading(percent()) };
        let info = info(source);
        analyzer.look(now, |analysis| tui.answer(&ask, now, phase, analysis, &info));
    }
}

/// The names of what is analysed.
fn sources(cli: &Cli) -> Vec<String> {
    match &cli.interface {
        Some(interface) => vec![interface.clone()],
        None => cli.sources().iter().map(|path| path.display().to_string()).collect(),
    }
}

/// What is analysed.
fn open(cli: &Cli) -> Result<Box<dyn Source>, CaptureError> {
    let Some(interface) = &cli.interface else { return Ok(Box::new(Files::new(cli.sources().to_vec())?)) };
    let live = capture::live(&LiveOptions {
        interface: interface.clone(),
        filter: cli.capture_filter.clone(),
        snaplen: cli.snaplen,
        buffer_size: cli.buffer_size * 1024,
        promiscuous: cli.promiscuous(),
    })?;
    let links: Vec<_> = live.link_types().into_iter().map(|link| link.name()).collect();
    complain(&format_args!("capturing on {interface} ({}); Ctrl-C ends it", links.join(", ")));
    Ok(live)
}

/// Opens the address of `--metrics`.
fn listen(address: SocketAddr) -> Result<metrics::Endpoint, RunError> {
    metrics::Endpoint::bind(address).map_err(|e| RunError::Metrics(address, e))
}

/// Begins to answer scrapes.
fn answer_scrapes(endpoint: metrics::Endpoint) -> Result<Metrics, RunError> {
    let address = endpoint.address();
    let metrics = Metrics::serve(endpoint).map_err(|e| RunError::Metrics(address, e))?;
    complain(&format_args!("metrics at http://{address}/metrics"));
    Ok(metrics)
}

/// Begins the file of `--write`, unless that is what is read.
fn evidence(path: &Path, sources: &[PathBuf], memory: usize) -> Result<Evidence, RunError> {
    let wrong = |e| RunError::File(path.to_owned(), e);
    not_read(path, sources)?;
    Evidence::new(File::create(path).map_err(wrong)?, memory).map_err(wrong)
}

/// What is read must not be written.
fn not_read(path: &Path, sources: &[PathBuf]) -> Result<(), RunError> {
    let place = |path: &Path| path.canonicalize().ok();
    if place(path).is_some_and(|target| sources.iter().any(|source| place(source).as_ref() == Some(&target))) {
        return Err(RunError::File(path.to_owned(), io::Error::other("it is being read")));
    }
    Ok(())
}

/// The page of `--html`.
struct Page {
    path: PathBuf,
    /// `None` for standard output.
    file: Option<Whole>,
    timelines: Timelines,
}

impl Page {
    fn open(path: &Path, cli: &Cli) -> Result<Self, RunError> {
        let file = if path == "-" {
            None
        } else {
            not_read(path, cli.sources())?;
            Some(Whole::open(path).map_err(|e| RunError::File(path.to_owned(), e))?)
        };
        let timelines = Timelines::within(cli.memory_for_timelines());
        Ok(Page { path: path.to_owned(), file, timelines })
    }

    /// The size of a page is bounded: it is made in memory and written at once.
    fn write(self, analysis: &Analysis, info: &CaptureInfo, options: &TextOptions) -> Result<(), RunError> {
        let mut page = Vec::new();
        html::write(&mut page, analysis, info, options, &self.timelines).map_err(RunError::Output)?;
        match self.file {
            Some(file) => file.write(&page, html::GUARD).map_err(|e| RunError::File(self.path, e)),
            None => heard(io::stdout().write_all(&page)),
        }
    }
}

/// Prints and counts events and collects evidence, until that fails.
struct Told<W> {
    lines: Lines<W>,
    wanted: bool,
    result: io::Result<()>,
    evidence: Option<Evidence>,
    tables: Option<Tables>,
    metrics: Option<Metrics>,
    sockets: Option<Watch>,
    tui: Option<Tui>,
    page: Option<Page>,
}

impl<W: Write> Told<W> {
    /// Has frames analysed; where evidence is wanted, in portions of which it holds the packets before their events.
    fn frames(&mut self, frames: &[Frame<'_>], engine: &mut Engine) {
        let portion = if self.evidence.is_some() { BATCH } else { frames.len().max(1) };
        for frames in frames.chunks(portion) {
            if let Some(evidence) = &mut self.evidence {
                evidence.keep(frames);
            }
            self.hear(|sink| engine.frames(frames, sink));
        }
    }

    /// Runs what tells events, with their receiver if anyone asks for them.
    fn hear<T>(&mut self, run: impl FnOnce(&mut Sink<'_>) -> T) -> T {
        // Named one by one, so that a further one is not forgotten here.
        let Told { wanted, evidence, tables, metrics, sockets, tui, page, lines: _, result: _ } = self;
        let asked = *wanted
            || evidence.is_some()
            || tables.is_some()
            || metrics.is_some()
            || sockets.is_some()
            || tui.is_some()
            || page.is_some();
        let mut tell = |event: &Event| self.tell(event);
        run(&mut if asked { Some(&mut tell) } else { None })
    }

    fn tell(&mut self, event: &Event) {
        if let Some(evidence) = &mut self.evidence {
            evidence.event(event);
        }
        if let Some(tables) = &mut self.tables {
            tables.event(event);
        }
        if let Some(metrics) = &self.metrics {
            metrics.event(event);
        }
        if let Some(sockets) = &mut self.sockets {
            sockets.event(event);
        }
        if let Some(tui) = &mut self.tui {
            tui.event(event);
        }
        if let Some(page) = &mut self.page {
            page.timelines.event(event);
        }
        if self.wanted && self.result.is_ok() {
            self.result = self.lines.tell(event);
        }
    }

    /// Whether going on makes no sense.
    fn failed(&self) -> bool {
        self.result.is_err() || self.tables.as_ref().is_some_and(Tables::failed)
    }

    /// Hands over what was told since the last time: after each portion of packets, so at once where they are live.
    fn flush(&mut self) {
        if self.wanted && self.result.is_ok() {
            self.result = self.lines.flush();
        }
        if let Some(evidence) = &mut self.evidence
            && self.result.is_ok()
        {
            self.result = evidence.flush();
        }
    }
}

/// A flag that the first SIGINT or SIGTERM sets; the second ends the process, with the status that shells give.
fn stop_on_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: at the first signal the flag is not yet set when the shutdown looks at it.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Takes a reader that has heard enough, such as `head`, for no error.
fn heard(result: io::Result<()>) -> Result<(), RunError> {
    match result {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(RunError::Output(e)),
        _ => Ok(()),
    }
}

fn verdict(fail_on: &[FailOn], analysis: &Analysis) -> Verdict {
    let failed = |part: &mut bool, _, flow: &_| *part |= fail_on.iter().any(|what| what.matches(flow));
    let failed = fail_on.iter().any(|what| analysis.let_go.matches(*what))
        || !fail_on.is_empty() && analysis.flows.count(|| false, failed).contains(&true);
    if failed { Verdict::Failed } else { Verdict::Clean }
}

/// Whether to colour the text (no-color.org: any non-empty NO_COLOR means no).
fn color(choice: ColorChoice) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => io::stdout().is_terminal() && !set("NO_COLOR") && !dumb,
    }
}
