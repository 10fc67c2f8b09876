//! The parts of the program.

pub(crate) mod checks;
pub(crate) mod fixtures;
pub(crate) mod parity;
pub(crate) mod report;
pub(crate) mod roofs;
pub(crate) mod run;
pub(crate) mod starts;
pub(crate) mod table;
pub(crate) mod times;

/// An error's words, with the file it is about.
pub(crate) fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
