//! DICOM series: discovery, order and geometry, pixels to Hounsfield units.

pub mod header;
