//! Where ranges come from: what a model file of format 2 says of itself under `radnet.quantisation`.

use serde::Serialize;

/// The schema's name.
pub const SCHEMA: &str = "radnet-quantisation/1";

/// One quantisation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// When, as the caller says.
    pub date: String,
    /// Version of this library.
    pub radnet: &'static str,
    /// SHA-256 of the model file that was quantised.
    pub source_sha256: String,
    /// Where the ranges come from.
    pub ranges: Source,
}

/// Where ranges come from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Source {
    /// The means and variances of the model's norms; no scan.
    Norms {
        /// How many standard deviations on either side of the mean.
        deviations: f64,
    },
    /// The activations of scans.
    Scans {
        /// How many scans.
        scans: usize,
        /// How many of their slices.
        slices: usize,
        /// What a range reaches beyond the lowest and the highest activation, in their distance.
        margin: f64,
        /// How many standard deviations a range reaches at the least.
        deviations: f64,
    },
}
