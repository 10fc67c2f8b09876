//! From a scan in Hounsfield units to the network's input (spec: model, rules 3 and 4).
//!
//! `HuVolume` → [`HuStack`] (geometry: resample, crop, pad; one plane per slice) → windowed channels, made per slice on demand by
//! whichever worker needs them. A windowed scan is therefore never held in memory; [`ScanTensor`] is for hosts that already have one.

mod geometry;
mod resample;
mod scanned;
mod stack;
mod tensor;

pub use geometry::{AxisMap, Placement};
pub use resample::{axis_taps, resample_plane};
pub use scanned::ScannedStack;
pub use stack::{HuStack, air};
pub use tensor::ScanTensor;
