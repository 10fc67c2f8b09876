//! Synthetic head CT: analytic anatomy with hemorrhages, imaged like a scanner would, with exact truth.
//!
//! Everything follows from a seed, on any machine and with any number of threads. Phantoms serve tests, training and demonstration; they are not patients and
//! prove nothing about patients.

pub mod anatomy;
pub mod dicom;
pub mod export;
pub mod head;
pub mod lesions;
pub mod math;
pub mod noise;
pub mod physics;
pub mod rng;
pub mod scan;
pub mod scanner;
pub mod view;

pub use dicom::{SeriesOptions, SeriesTruth, write_series, write_truth};
pub use export::{ScanTruth, SliceTruth};
pub use lesions::Kind;
pub use scan::{BleedChoice, MIN_LABEL_AREA_MM2, Scan, Settings, Slice};
pub use scanner::Scanner;
