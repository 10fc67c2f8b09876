//! Label files: CQ500's `reads.csv`, RSNA 2019's `ID,Label` rows, and plain CSV with readers.

mod cq500;
mod plain;
mod rsna;
mod table;

pub use rsna::CLASSES as RSNA_CLASSES;
pub(crate) use table::{Row, Table, clip};

use crate::{Error, ErrorKind, Result};
use std::borrow::Cow;
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
    /// Classes with a truth; a plain file has one without a name of its own, which stands for whichever class is judged.
    pub classes: Vec<String>,
    /// Names of the readers, none where the file has none.
    pub readers: Vec<String>,
    /// Sorted by identifier, each once.
    pub cases: Vec<LabelledCase>,
    /// Rows that said again what an earlier row had said, and were taken once.
    pub repeated_rows: usize,
}

/// One scan, or one slice; a bit per class of [`Labels::classes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledCase {
    /// As the label file names it; CQ500's folder names in the form of its label file.
    pub id: Box<str>,
    truth: u64,
    /// Per reader.
    reads: Box<[u64]>,
    /// The file's own label contradicts the majority of its readers.
    pub against_majority: bool,
}

/// A bit each.
const MAX_CLASSES: usize = 64;

impl LabelledCase {
    /// The truth about a class, by its position in [`Labels::classes`].
    pub fn truth(&self, class: usize) -> bool {
        self.truth >> class & 1 == 1
    }

    /// What a reader said of a class, by their positions in [`Labels::readers`] and [`Labels::classes`].
    pub fn read(&self, reader: usize, class: usize) -> bool {
        self.reads[reader] >> class & 1 == 1
    }
}

impl Labels {
    /// Position of a class, under its own name or a data set's abbreviation for it.
    ///
    /// # Errors
    /// `corrupt_file`, naming the classes that are there.
    pub fn column(&self, class: &str) -> Result<usize> {
        if self.format == Format::Plain {
            return Ok(0);
        }
        let wanted = canonical_class(class);
        let found = self.classes.iter().position(|c| c == wanted);
        found.ok_or_else(|| malformed(format!("the labels have no class `{class}`, only {}", self.classes.join(", "))))
    }

    /// The case of an identifier.
    pub fn case(&self, id: &str) -> Option<&LabelledCase> {
        self.cases.binary_search_by(|c| (*c.id).cmp(id)).ok().map(|at| &self.cases[at])
    }
}

/// Sorts the cases by identifier; the identifier that is there twice is an error that names the line of its second row.
fn sorted(mut cases: Vec<(LabelledCase, u64)>) -> Result<Vec<LabelledCase>> {
    cases.sort_by(|(a, line_a), (b, line_b)| a.id.cmp(&b.id).then(line_a.cmp(line_b)));
    if let Some([first, second]) = cases.array_windows().find(|[(a, _), (b, _)]| a.id == b.id) {
        return Err(malformed(format!("line {}: `{}` was there before, on line {}", second.1, second.0.id, first.1)));
    }
    Ok(cases.into_iter().map(|(case, _)| case).collect())
}

/// Bit `i` is the `i`th value.
fn mask(values: impl IntoIterator<Item = Result<bool>>) -> Result<u64> {
    values.into_iter().enumerate().try_fold(0, |mask, (i, value)| Ok(mask | u64::from(value?) << i))
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

/// The identifier by which labels and scores meet: names of CQ500's scans in one form, others as they are.
pub(crate) fn case_id(name: &str) -> Cow<'_, str> {
    cq500::normal_id(name)
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
        let header = table.header_line();
        let message = format!("line 1: the header `{header}` is none of `name,Category,R1:ICH,…`, `ID,Label`, `id,label`");
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
