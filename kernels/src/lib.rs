//! The kernels of RADnet: every SIMD intrinsic of the project lives in this crate, and nothing about DICOM or models does.
