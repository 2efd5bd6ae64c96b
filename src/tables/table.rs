//! One table: rows gathered into batches, batches into row groups, row groups into a file that is named when it is whole.

use std::borrow::Cow;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::Int64Type;
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::Error;
use crate::packet::Time;

/// Name and number of the tables' form, in each file's metadata.
const SCHEMA: &str = "hbsniff.tables/1";
/// Rows turned into columns at a time.
const BATCH: usize = 1024;
/// Rows that a reader can skip or hand to one of its threads at a time.
const GROUP: usize = 128 * 1024;
/// Bytes of such a group in memory before it is written.
const GROUP_BYTES: usize = 32 << 20;

/// What a row of the column comes from, by its type. An unknown is null.
pub(super) enum Cell<R> {
    Text(fn(&R) -> Option<Cow<'_, str>>),
    Count(fn(&R) -> Option<u64>),
    Number(fn(&R) -> Option<f64>),
    Moment(fn(&R) -> Option<Time>),
    Flag(fn(&R) -> Option<bool>),
    Words(fn(&R) -> Vec<&'static str>),
    Counts(fn(&R) -> Vec<u64>),
}

/// A column.
pub(super) struct Column<R>(pub(super) &'static str, pub(super) Cell<R>);

/// A count as engines take it: Spark knows no unsigned one.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// UTC to the microsecond, which is as fine as Spark's.
fn microseconds(time: Time) -> i64 {
    time.0.div_euclid(1000)
}

impl<R> Column<R> {
    fn field(&self) -> Field {
        let kind = match self.1 {
            Cell::Text(_) => DataType::Utf8,
            Cell::Count(_) => DataType::Int64,
            Cell::Number(_) => DataType::Float64,
            Cell::Moment(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Cell::Flag(_) => DataType::Boolean,
            Cell::Words(_) => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
            Cell::Counts(_) => DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true))),
        };
        Field::new(self.0, kind, true)
    }

    fn array(&self, rows: &[R]) -> ArrayRef {
        match self.1 {
            Cell::Text(of) => Arc::new(rows.iter().map(of).collect::<StringArray>()),
            Cell::Count(of) => Arc::new(rows.iter().map(|row| of(row).map(signed)).collect::<Int64Array>()),
            Cell::Number(of) => Arc::new(rows.iter().map(of).collect::<Float64Array>()),
            Cell::Moment(of) => {
                let moments = rows.iter().map(|row| of(row).map(microseconds));
                Arc::new(moments.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            Cell::Flag(of) => Arc::new(rows.iter().map(of).collect::<BooleanArray>()),
            Cell::Words(of) => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                rows.iter().for_each(|row| lists.append_value(of(row).into_iter().map(Some)));
                Arc::new(lists.finish())
            }
            Cell::Counts(of) => {
                let lists = rows.iter().map(|row| Some(of(row).into_iter().map(|count| Some(signed(count)))));
                Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))
            }
        }
    }
}

/// Where rows come from: the first two columns of every table.
pub(super) struct Origin {
    capture: String,
    host: Option<String>,
}

impl Origin {
    pub(super) fn new(capture: &str) -> Self {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        Origin { capture: capture.to_owned(), host }
    }

    fn fields() -> [Field; 2] {
        ["capture", "host"].map(|name| Field::new(name, DataType::Utf8, true))
    }

    fn arrays(&self, rows: usize) -> [ArrayRef; 2] {
        [Some(&self.capture), self.host.as_ref()].map(|text| {
            let repeated: StringArray = std::iter::repeat_n(text, rows).collect();
            Arc::new(repeated) as ArrayRef
        })
    }
}

/// A file under a name of its own until it is whole; gone if it does not become so.
pub(super) struct Part {
    part: PathBuf,
    whole: PathBuf,
    kept: bool,
}

impl Part {
    /// Gives it its name.
    pub(super) fn keep(mut self) -> Result<(), Error> {
        fs::rename(&self.part, &self.whole).map_err(|e| self.failed(e))?;
        self.kept = true;
        Ok(())
    }

    fn failed(&self, why: impl ToString) -> Error {
        Error { path: self.whole.clone(), why: why.to_string() }
    }

    /// What the file said, without the words that Parquet puts before it.
    fn not_written(&self, why: ParquetError) -> Error {
        match why {
            ParquetError::External(cause) => self.failed(cause),
            other => self.failed(other),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            // If even this fails, its name says that it is no whole file.
            let _ = fs::remove_file(&self.part);
        }
    }
}

/// A table that is being written.
pub(super) struct Table<R: 'static> {
    columns: &'static [Column<R>],
    origin: Arc<Origin>,
    schema: Arc<Schema>,
    rows: Vec<R>,
    writer: ArrowWriter<File>,
    part: Part,
}

impl<R> Table<R> {
    pub(super) fn create(
        folder: &Path,
        name: &str,
        columns: &'static [Column<R>],
        origin: &Arc<Origin>,
    ) -> Result<Self, Error> {
        let whole = folder.join(format!("{name}.parquet"));
        // Of this process alone: another may be writing tables into the same folder.
        let part = folder.join(format!("{name}.parquet.{}.part", std::process::id()));
        let part = Part { part, whole, kept: false };
        let fields = Origin::fields().into_iter().chain(columns.iter().map(Column::field));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let about = [("schema", SCHEMA), ("table", name)].map(|(k, v)| KeyValue::new(k.to_owned(), v.to_owned()));
        let properties = WriterProperties::builder()
            .set_created_by(concat!("hbsniff version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(about.to_vec()))
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP))
            .set_max_row_group_bytes(Some(GROUP_BYTES))
            .build();
        let file = File::create(&part.part).map_err(|e| part.failed(e))?;
        let writer =
            ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).map_err(|e| part.not_written(e))?;
        let (origin, rows) = (Arc::clone(origin), Vec::with_capacity(BATCH));
        Ok(Table { columns, origin, schema, rows, writer, part })
    }

    /// Adds a row.
    pub(super) fn add(&mut self, row: R) -> Result<(), Error> {
        self.rows.push(row);
        if self.rows.len() == BATCH { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Error> {
        let columns = self.columns.iter().map(|column| column.array(&self.rows));
        let arrays = self.origin.arrays(self.rows.len()).into_iter().chain(columns).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays).map_err(|e| self.part.failed(e))?;
        self.rows.clear();
        self.writer.write(&batch).map_err(|e| self.part.not_written(e))
    }

    /// Writes the rest; the file is whole then, and to be kept.
    pub(super) fn finish(mut self) -> Result<Part, Error> {
        self.write()?;
        self.writer.finish().map_err(|e| self.part.not_written(e))?;
        self.writer.inner().sync_all().map_err(|e| self.part.failed(e))?;
        Ok(self.part)
    }
}
