//! DICOM series: discovery, order and geometry, pixels to Hounsfield units.

mod attributes;
mod codec;
mod container;
pub mod header;
mod hu;
pub mod limits;
mod prescan;
pub mod read;
mod syntax;
mod tags;
mod values;

pub use limits::Limits;
pub use read::{DecodedSlice, decode_slice, read_header};
