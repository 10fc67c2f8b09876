//! Judging a model on labelled scans: the statistics of a diagnostic accuracy study.
//!
//! [`labels::read_labels`] gives the truth, [`Scores`] what the model said, [`evaluate`] the judgement; [`join`] gives the paired cases to
//! who wants to do their own sums.

mod join;
pub mod labels;
mod readers;
mod reading;
mod scores;
pub mod stats;
mod subgroups;

pub use join::{Cases, join};
pub use readers::{Pairwise, ReaderKappa, ReaderSummary};
pub use reading::{Evaluation, Options, SCHEMA, evaluate};
pub use scores::{Acquisition, FailedResult, IdKind, ModelIdentity, Scores, for_each_document};
pub use subgroups::{Subgroup, Subgroups};
