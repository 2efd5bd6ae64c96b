//! In place of the live view, in a build without it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::analysis::Analysis;
use crate::event::Event;
use crate::packet::Time;
use crate::report::CaptureInfo;

/// What the capture is doing.
pub enum Phase {
    /// Packets come from an interface or a pipe.
    Live,
    /// A file is being read: so many percent of it, where its size is known.
    Reading(Option<u8>),
}

/// What a screen asks.
pub enum Ask {}

/// The terminal, which is not taken.
pub enum Screen {}

#[allow(missing_docs)]
impl Screen {
    /// Says so.
    ///
    /// # Errors
    /// Always.
    pub fn take(_: bool) -> Result<Self, String> {
        Err("this build has no --tui; it needs one with --features tui, which is the default".into())
    }

    #[must_use]
    pub fn folder(&self) -> PathBuf {
        match *self {}
    }

    #[allow(clippy::missing_errors_doc)]
    pub fn show(self, _: &str, _: bool, _: Arc<AtomicBool>) -> Result<Tui, String> {
        match self {}
    }
}

/// The screen: there is none.
pub enum Tui {}

#[allow(missing_docs)]
impl Tui {
    pub fn event(&mut self, _: &Event) {
        match *self {}
    }

    #[must_use]
    pub fn left(&self) -> bool {
        match *self {}
    }

    #[must_use]
    pub fn asked(&self) -> Option<Ask> {
        match *self {}
    }

    pub fn answer(&mut self, _: &Ask, _: Time, _: Phase, _: &mut Analysis, _: &CaptureInfo) {
        match *self {}
    }

    pub fn browse(&mut self, _: &mut Analysis, _: &CaptureInfo) {
        match *self {}
    }
}
