//! One opaque error type for the whole library; its kind is the stable code that results carry.

use std::fmt;
use std::path::{Path, PathBuf};

/// What went wrong, in the stable vocabulary of the result format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The geometry of a series cannot be made sense of.
    BadGeometry,
    /// A model file breaks the format.
    BadModel,
    /// RescaleSlope or RescaleIntercept is missing or not a number.
    BadRescale,
    /// The host asked for the work to stop.
    Cancelled,
    /// A file is damaged or contradicts itself.
    CorruptFile,
    /// The compute device is missing, failed, or cannot do what was asked.
    Device,
    /// The operating system refused a read or write.
    Io,
    /// Nothing readable was found.
    NoImages,
    /// The study holds CT, but no series that can be used.
    NoUsableSeries,
    /// The slices are not axial.
    NotAxial,
    /// The study holds no CT images.
    NotCt,
    /// An allocation was refused.
    OutOfMemory,
    /// The input exceeds a stated limit.
    TooLarge,
    /// The pixel data is in an encoding that this build does not read.
    UnsupportedTransferSyntax,
}

impl ErrorKind {
    /// The code written into results.
    pub fn code(self) -> &'static str {
        match self {
            Self::BadGeometry => "bad_geometry",
            Self::BadModel => "bad_model",
            Self::BadRescale => "bad_rescale",
            Self::Cancelled => "cancelled",
            Self::CorruptFile => "corrupt_file",
            Self::Device => "device",
            Self::Io => "io",
            Self::NoImages => "no_images",
            Self::NoUsableSeries => "no_usable_series",
            Self::NotAxial => "not_axial",
            Self::NotCt => "not_ct",
            Self::OutOfMemory => "out_of_memory",
            Self::TooLarge => "too_large",
            Self::UnsupportedTransferSyntax => "unsupported_transfer_syntax",
        }
    }
}

/// An error with its kind, a sentence that names the offending tag, tensor or value, and the file where there is one.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    path: Option<PathBuf>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The library's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `message` is one sentence without a final stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), path: None, source: None }))
    }

    /// Names the file the error came from, unless a deeper layer already did.
    #[must_use]
    pub fn in_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.path.get_or_insert_with(|| path.into());
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// An I/O error with the file it happened on.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, source.to_string()).in_file(path).caused_by(source)
    }

    /// The stable kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file, where one is to blame.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The sentence, without the file.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.0.path {
            write!(f, "{}: ", path.display())?;
        }
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|s| &**s as &(dyn std::error::Error + 'static))
    }
}
