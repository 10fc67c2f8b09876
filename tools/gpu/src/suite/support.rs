//! What the cases share: a workbench on a device, numbers from a seed, and values that carry their error bound.

mod bounded;
mod random;
mod workbench;

pub use bounded::{Accumulation, Bounded, Checked, compare};
pub use random::Random;
pub use workbench::Workbench;
