//! Judging a model on labelled scans: the statistics of a diagnostic accuracy study.

pub mod labels;
mod reading;
mod scores;
pub mod stats;

pub use reading::{Evaluation, Options, Pairwise, ReaderKappa, ReaderSummary, evaluate};
pub use scores::{IdKind, Scores};
