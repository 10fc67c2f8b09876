//! What a run says to the outside: the result document (JSON), pictures and arrays of the maps, the HTML report, the model's card.
//!
//! Nothing here prints; every function returns text or bytes, or writes the file that it was given, whole or not at all.

mod acquisition;
pub mod atomic;
pub mod card;
pub mod result;

#[cfg(feature = "render")]
mod chart;
#[cfg(feature = "render")]
pub mod evaluation;
#[cfg(feature = "render")]
pub mod html;
#[cfg(feature = "render")]
pub mod lines;
#[cfg(feature = "render")]
pub mod maps;

pub use acquisition::Acquisition;
pub use result::{
    ClassScore, EngineInfo, ErrorInfo, ModelInfo, PerClass, RunReport, SliceResult, StudyError, StudyOk, StudyResult, Timing,
};
