//! The analysis on one thread or two.
//!
//! With two, the flows are divided by the hash of their ends. The thread that reads the capture decodes all of it, takes its
//! share at once and hands copies of the other segments on; what comes out does not depend on how many threads there were.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use crate::analysis::Analysis;
use crate::analyzer::{Analyzer, FlowFilter, Handed, Options, Share};
use crate::event::Sink;
use crate::packet::{Frame, Segment, Time};

/// Of 256 parts of all flows, those that the reading thread takes: reading, decoding and copying is the rest of its work.
const READER_SHARE: u32 = 84;
/// Segments handed over at a time.
const PARCEL: usize = 1024;
/// Bytes of their payload that make a parcel full before.
const PARCEL_BYTES: usize = 256 * 1024;
/// Parcels on their way: enough to even out flows that come in bursts.
const UNDER_WAY: usize = 8;

/// Analyses a capture.
pub enum Engine {
    /// On this thread.
    Alone(Box<Analyzer>),
    /// On this thread and another.
    Together(Box<Analyzer>, Helper),
}

/// The other thread, as the reading one sees it.
pub struct Helper {
    parcel: Parcel,
    parcels: SyncSender<Parcel>,
    empty: Receiver<Parcel>,
    thread: JoinHandle<Analyzer>,
}

/// What belongs to the other thread's flows, with payloads apart.
#[derive(Default)]
struct Parcel {
    handed: Vec<Packed>,
    bytes: Vec<u8>,
    /// When the capture ends, in the last parcel.
    end: Option<Option<Time>>,
}

/// Something handed over whose payload ends at `end` in the parcel, where the next one's begins.
struct Packed {
    handed: Handed<Segment<'static>>,
    end: u32,
}

impl Engine {
    /// An engine of so many threads, 1 or 2, for the flows that `filter` keeps, which may take `memory` bytes in all.
    #[must_use]
    pub fn new(threads: usize, memory: usize, filter: impl Fn() -> Option<FlowFilter>) -> Self {
        let options = |share, memory| Options { filter: filter(), share, memory: Some(memory) };
        if threads < 2 {
            return Engine::Alone(Box::new(Analyzer::new(options(None, memory))));
        }
        let border = READER_SHARE << 24;
        let mine = Share { from: 0, to: border - 1 };
        let my_memory = memory / 256 * READER_SHARE as usize;
        let theirs = Share { from: border, to: u32::MAX };
        let helper = Helper::new(options(Some(theirs), memory - my_memory));
        Engine::Together(Box::new(Analyzer::new(options(Some(mine), my_memory))), helper)
    }

    /// Tells of data too; before the first frame.
    pub fn tell_of_data(&mut self) {
        if let Engine::Alone(analyzer) = self {
            analyzer.tell_of_data();
        }
    }

    /// Takes the next frames. Events come from one thread only; with two there are none.
    pub fn frames(&mut self, frames: &[Frame<'_>], sink: &mut Sink<'_>) {
        match self {
            Engine::Alone(analyzer) => analyzer.frames(frames, sink),
            Engine::Together(analyzer, helper) => {
                analyzer.frames_and_others(frames, &mut |handed| helper.hand_over(handed), &mut None);
            }
        }
    }

    /// The analyzer of the thread that reads; with one thread, the whole analysis.
    #[must_use]
    pub fn analyzer(&self) -> &Analyzer {
        let (Engine::Alone(analyzer) | Engine::Together(analyzer, _)) = self;
        analyzer
    }

    /// The capture lost packets at some moments between these two.
    pub fn lost(&mut self, since: Time, until: Time) {
        if let Engine::Alone(analyzer) = self {
            analyzer.lost(since, until);
        }
    }

    /// Time has passed without a frame.
    pub fn advance(&mut self, now: Time, sink: &mut Sink<'_>) {
        if let Engine::Alone(analyzer) = self {
            analyzer.advance(now, sink);
        }
    }

    /// The analyzer whose events are told; `None` with two threads, which tell none.
    pub fn alone(&mut self) -> Option<&mut Analyzer> {
        match self {
            Engine::Alone(analyzer) => Some(analyzer),
            Engine::Together(..) => None,
        }
    }

    /// The capture ended; `now` is its last moment where that is later than the last frame.
    pub fn finish(self, now: Option<Time>, sink: &mut Sink<'_>) -> Analysis {
        match self {
            Engine::Alone(analyzer) => analyzer.finish(now, sink),
            Engine::Together(mut analyzer, helper) => {
                let end = analyzer.end(now);
                let theirs = helper.finish(end);
                analyzer.settle(end, &mut None);
                // A thread that panicked has taken its flows with it: so does this one then.
                let theirs = theirs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                Analyzer::merge(vec![*analyzer, theirs], end)
            }
        }
    }
}

impl Helper {
    fn new(options: Options) -> Self {
        let (parcels, arrived) = sync_channel::<Parcel>(UNDER_WAY);
        let (returned, empty) = sync_channel(UNDER_WAY + 1);
        let thread = thread::spawn(move || {
            let mut analyzer = Analyzer::new(options);
            for mut parcel in arrived {
                analyzer.handed(parcel.open());
                if let Some(end) = parcel.end {
                    analyzer.settle(end, &mut None);
                }
                parcel.clear();
                // Nobody waits for empty parcels at the end.
                let (Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) = returned.try_send(parcel);
            }
            analyzer
        });
        Helper { parcel: Parcel::default(), parcels, empty, thread }
    }

    fn hand_over(&mut self, handed: Handed<&Segment<'_>>) {
        self.parcel.pack(handed);
        if self.parcel.handed.len() >= PARCEL || self.parcel.bytes.len() >= PARCEL_BYTES {
            self.send();
        }
    }

    fn send(&mut self) {
        let next = self.empty.try_recv().unwrap_or_default();
        // It fails only if the other thread panicked, which is found out when it is joined.
        let _ = self.parcels.send(std::mem::replace(&mut self.parcel, next));
    }

    fn finish(mut self, end: Option<Time>) -> JoinHandle<Analyzer> {
        self.parcel.end = Some(end);
        self.send();
        self.thread
    }
}

impl Parcel {
    #[inline]
    fn pack(&mut self, handed: Handed<&Segment<'_>>) {
        if let Handed::Segment(_, segment) = &handed {
            self.bytes.extend_from_slice(segment.payload);
        }
        let end = self.bytes.len() as u32;
        self.handed.push(Packed { handed: handed.map(|segment| Segment { payload: &[], ..*segment }), end });
    }

    /// What was packed, as it was.
    fn open(&self) -> impl Iterator<Item = Handed<Segment<'_>>> {
        let mut start = 0;
        self.handed.iter().map(move |Packed { handed, end }| {
            let payload = &self.bytes[start..*end as usize];
            start = *end as usize;
            handed.as_ref().map(|segment| Segment { payload, ..*segment })
        })
    }

    fn clear(&mut self) {
        self.handed.clear();
        self.bytes.clear();
    }
}
