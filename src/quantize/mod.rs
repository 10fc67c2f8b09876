//! 8-bit models: the ranges that codes stand for, taken from a model's norms or from scans, and a new model file that carries them.
//!
//! The new file is of format 2: every tensor of the old one byte for byte, and the tensors `quant.…` beside them (`weights/quant.rs` lists
//! them). In other precisions than int8 it gives the same bits as the old file. [`Comparison`] says what int8 changes.

mod compare;
mod observe;
mod plain;
mod record;
mod rewrite;

pub use compare::{AucChange, ClassChange, Collector, Comparison, Flip};
pub use observe::{MARGIN, Observed};
pub use record::{Record, SCHEMA, Source};
pub use rewrite::{Change, next_version, quantised};
