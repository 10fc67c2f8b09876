//! The checks of the CUDA kernels, written once against [`radnet_kernels::cuda::Gpu`]: the tests run them on the emulation, and the program
//! `radnet-gpu` runs them on a device.
//!
//! Every check compares with an oracle in f64 that carries its own error bound ([`suite::support::Bounded`]); no tolerance is guessed.

pub mod launches;
pub mod paper;
pub mod scans;
pub mod suite;
