//! RADnet: hemorrhage detection in head CT (arXiv 1710.04934) as a native inference engine. Not a medical device.

#![deny(unsafe_code)]

pub mod backend;
pub mod calibrate;
pub mod decision;
pub mod dicom;
pub mod engine;
pub mod error;
pub mod evaluate;
pub mod finding;
pub mod model;
pub mod observer;
pub mod plan;
pub mod preprocess;
pub mod quantize;
pub mod report;
pub mod session;
pub mod tensor;
pub mod threads;
pub mod volume;
pub mod weights;

pub use engine::{Device, Engine, EngineBuilder, Precision};
pub use error::{Error, ErrorKind, Result};
pub use finding::{Finding, FindingCode, Severity};
pub use model::Config;
pub use observer::{Observer, Unobserved};
pub use session::{Prediction, PredictionMaps, Session, SlicePrediction};
pub use volume::{HuPixels, HuSlice, HuVolume};
pub use weights::Model;
