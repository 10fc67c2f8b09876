//! The kernels of RADnet: every SIMD intrinsic of the project lives in this crate, and nothing about DICOM or models does.
//!
//! Everything public is safe: entry points check the lengths of the slices they are given. [`isa`] and [`integers`] hold the proof tokens, [`cpu`] the fp32
//! kernels, [`select`] says which of them this machine runs and why not the others.

// Register tiles are addressed by row and column; an iterator per axis hides which operand moves.
#![allow(clippy::needless_range_loop)]

pub mod buffer;
pub mod cpu;
pub mod cuda;
pub mod integers;
pub mod isa;
pub mod packed_cache;
pub mod parallel;
pub mod select;

pub use buffer::Buffer;
pub use integers::Integers;
pub use isa::Isa;
