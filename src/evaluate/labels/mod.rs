//! Label files: CQ500's `reads.csv`, RSNA 2019's `ID,Label` rows, and plain CSV with readers.

mod cq500;
mod plain;
mod rsna;
mod table;

pub use cq500::normal_id as cq500_id;
pub use rsna::CLASSES as RSNA_CLASSES;
pub(crate) use table::{Row, Table};

use crate::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

/// How a label file is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Told from the header.
    #[default]
    Auto,
    /// `name,Category,R1:ICH,…`: three readers, truth by their majority.
    Cq500,
    /// `ID,Label` with `ID_<sop>_<type>` rows: slices, six classes.
    Rsna,
    /// `id,label` and `reader:<name>` columns.
    Plain,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cq500" => Ok(Self::Cq500),
            "rsna" => Ok(Self::Rsna),
            "csv" => Ok(Self::Plain),
            _ => Err(format!("`{text}` is none of auto, cq500, rsna, csv")),
        }
    }
}

/// The truth about every case of a label file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels {
    /// The format it turned out to be.
    pub format: Format,
    /// Classes with a truth.
    pub classes: Vec<String>,
    /// Names of the readers, none where the file has none.
    pub readers: Vec<String>,
    /// By identifier.
    pub cases: BTreeMap<String, LabelledCase>,
}

/// One scan, or one slice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelledCase {
    /// Per class of [`Labels::classes`].
    pub truth: Vec<bool>,
    /// Per reader, per class.
    pub reads: Vec<Vec<bool>>,
}

impl Labels {
    /// Position of a class, under its own name or a data set's abbreviation for it.
    pub fn class_index(&self, class: &str) -> Option<usize> {
        let wanted = canonical_class(class);
        self.classes.iter().position(|c| *c == wanted)
    }
}

/// The model's names of CQ500's and RSNA's classes; others stay as they are.
pub fn canonical_class(name: &str) -> &str {
    match name {
        "ICH" => "any",
        "IPH" => "intraparenchymal",
        "IVH" => "intraventricular",
        "SDH" => "subdural",
        "EDH" => "epidural",
        "SAH" => "subarachnoid",
        other => other,
    }
}

/// Reads a label file.
///
/// # Errors
/// `io` when it cannot be read; `corrupt_file`, naming the line, for a missing column, a duplicate identifier, or a value that is no label.
pub fn read_labels(path: &Path, format: Format) -> Result<Labels> {
    let table = Table::open(path)?;
    let format = match format {
        Format::Auto => detect(&table).map_err(|e| e.in_file(path))?,
        chosen => chosen,
    };
    let read = match format {
        Format::Cq500 => cq500::read(table),
        Format::Rsna => rsna::read(table),
        Format::Plain | Format::Auto => plain::read(table),
    };
    let mut labels = read.map_err(|e| e.in_file(path))?;
    labels.format = format;
    if labels.cases.is_empty() {
        return Err(malformed("there are no labelled cases").in_file(path));
    }
    Ok(labels)
}

fn detect(table: &Table) -> Result<Format> {
    let has = |name: &str| table.column(name).is_some();
    if has("name") && table.headers().iter().any(|h| h.starts_with("R1:")) {
        Ok(Format::Cq500)
    } else if table.exact_column("ID").is_some() && table.exact_column("Label").is_some() {
        Ok(Format::Rsna)
    } else if has("id") {
        Ok(Format::Plain)
    } else {
        let message = format!(
            "line 1: the header `{}` is none of `name,Category,R1:ICH,…`, `ID,Label`, `id,label`",
            table.headers().join(",").chars().take(200).collect::<String>()
        );
        Err(malformed(message))
    }
}

/// A label file that cannot be believed.
pub(crate) fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::CorruptFile, message)
}

/// More than half of the reads; none on a tie or without reads.
pub(crate) fn majority(reads: impl IntoIterator<Item = bool>) -> Option<bool> {
    let balance: i64 = reads.into_iter().map(|r| if r { 1 } else { -1 }).sum();
    (balance != 0).then_some(balance > 0)
}
