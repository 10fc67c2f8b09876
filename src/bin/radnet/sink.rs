//! Where a document goes: a file, whole or not at all, or standard output.

use crate::console::Output;
use radnet::Result;
use radnet::report::atomic;
use std::path::PathBuf;

/// The value of `--json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sink {
    /// `-`: standard output carries the document and nothing else.
    Stdout,
    /// A file.
    File(PathBuf),
}

impl Sink {
    /// `-` or a path.
    pub(crate) fn new(value: PathBuf) -> Self {
        if value.as_os_str() == "-" { Self::Stdout } else { Self::File(value) }
    }

    /// Finds out before the long work whether the file can be written.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Stdout => Ok(()),
            Self::File(path) => atomic::check_writable(path),
        }
    }

    /// Writes the document.
    pub(crate) fn put(&self, document: &[u8], output: &mut Output) -> Result<()> {
        match self {
            Self::Stdout => {
                output.write(document);
                Ok(())
            }
            Self::File(path) => atomic::write(path, document),
        }
    }
}
