//! `--parquet`: flows, events and deaths as tables that DuckDB, Spark and their like read as they are.
//!
//! Each capture is analysed where it lies; an engine that exists joins the tables. Every row says of which capture and
//! host it is. Rows are written in groups of bounded size as they come, into files that get their names only when all are
//! whole.

#[cfg(feature = "parquet")]
mod columns;
#[cfg(feature = "parquet")]
mod table;

#[cfg(feature = "parquet")]
pub use whole::Tables;

#[cfg(not(feature = "parquet"))]
pub use none::Tables;

/// Why tables could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {why}", path.display())]
pub struct Error {
    path: std::path::PathBuf,
    why: String,
}

#[cfg(feature = "parquet")]
mod whole {
    use std::path::Path;
    use std::sync::Arc;

    use super::Error;
    use super::columns::{DEATHS, DeathRow, EVENTS, FLOWS};
    use super::table::{Origin, Table};
    use crate::analysis::Analysis;
    use crate::event::{Event, EventKind};
    use crate::summary::FlowSummary;

    /// The tables of a run.
    pub struct Tables {
        flows: Table<FlowSummary>,
        events: Table<Event>,
        deaths: Table<DeathRow>,
        result: Result<(), Error>,
    }

    impl Tables {
        /// Begins the tables of the capture called `capture` in a folder, which is made if it is not there.
        ///
        /// # Errors
        /// If files cannot be made there.
        pub fn create(folder: &Path, capture: &str) -> Result<Self, Error> {
            let failed = |e: std::io::Error| Error { path: folder.to_owned(), why: e.to_string() };
            std::fs::create_dir_all(folder).map_err(failed)?;
            let origin = Arc::new(Origin::new(capture));
            Ok(Tables {
                flows: Table::create(folder, "flows", FLOWS, &origin)?,
                events: Table::create(folder, "events", EVENTS, &origin)?,
                deaths: Table::create(folder, "deaths", DEATHS, &origin)?,
                result: Ok(()),
            })
        }

        /// Takes an event.
        pub fn event(&mut self, event: &Event) {
            if self.result.is_ok() && !matches!(event.kind, EventKind::Data { .. }) {
                self.result = self.events.add(event.clone());
            }
        }

        /// Whether something could not be written, which [`Tables::finish`] says.
        #[must_use]
        pub fn failed(&self) -> bool {
            self.result.is_err()
        }

        /// Writes the flows of an analysis and their deaths, and gives the files their names.
        ///
        /// # Errors
        /// If anything could not be written since the beginning. What is not whole does not stay.
        pub fn finish(mut self, analysis: &Analysis) -> Result<(), Error> {
            self.result?;
            for flow in analysis.flows.iter() {
                for death in &flow.deaths {
                    let (flow, first, ends) = (flow.id, flow.first, flow.ends);
                    self.deaths.add(DeathRow { flow, first, ends, death: death.clone() })?;
                }
                self.flows.add(flow)?;
            }
            let whole = [self.flows.finish()?, self.events.finish()?, self.deaths.finish()?];
            whole.into_iter().try_for_each(|file| file.keep())
        }
    }
}

#[cfg(not(feature = "parquet"))]
mod none {
    use std::path::Path;

    use super::Error;
    use crate::analysis::Analysis;
    use crate::event::Event;

    /// The tables of a run, of which this build has none.
    pub enum Tables {}

    impl Tables {
        /// Says what is missing.
        ///
        /// # Errors
        /// Always.
        pub fn create(folder: &Path, _: &str) -> Result<Self, Error> {
            let why = "this needs a build with Parquet: cargo build --features parquet".to_owned();
            Err(Error { path: folder.to_owned(), why })
        }

        /// Takes an event.
        pub fn event(&mut self, _: &Event) {
            match *self {}
        }

        /// Whether something could not be written.
        #[must_use]
        pub fn failed(&self) -> bool {
            match *self {}
        }

        /// Writes what is there at the end.
        ///
        /// # Errors
        /// None.
        pub fn finish(self, _: &Analysis) -> Result<(), Error> {
            match self {}
        }
    }
}
