//! DICOM series: discovery, order and geometry, pixels to Hounsfield units.
//!
//! The way of a scan: PATHs → files (`walk`) → [`SliceHeader`](header::SliceHeader)s ([`read`]) → studies and series (`discover`, `study`)
//! → parallel slices of one matrix (`group`) → slices in order (`order`) → findings (`quality`) → the series to read (`choose`)
//! → an upright [`HuVolume`](crate::HuVolume) (`series`, `orient`) → does it look like a head (`headlike`).

mod attributes;
mod choose;
mod codec;
mod container;
mod discover;
mod geometry;
mod group;
pub mod header;
mod headlike;
mod hints;
mod hu;
mod inspection;
pub mod limits;
mod order;
mod orient;
mod prescan;
mod quality;
pub mod read;
mod series;
mod study;
mod summary;
mod syntax;
mod tags;
mod values;
mod walk;

pub use choose::choice_rules;
pub use discover::{DiscoverOptions, Discovery, discover};
pub use inspection::{Inspection, Problem, SourceInspection, StudyInspection};
pub use limits::Limits;
pub use read::{DecodedSlice, decode_slice, read_header};
pub use series::{DecodedSeries, Series};
pub use study::{StudyOutcome, arrange};
pub use summary::{SeriesState, SeriesSummary};
