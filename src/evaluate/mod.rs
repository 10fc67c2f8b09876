//! Judging a model on labelled scans: the statistics of a diagnostic accuracy study.

pub mod stats;
