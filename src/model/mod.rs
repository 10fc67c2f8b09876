//! What a model file says: its configuration, and the short list of fused steps that follow from it.

pub mod config;
pub(crate) mod json;
pub mod network;
pub mod quantisation;

pub use config::Config;
pub use network::{Extent, Network, Step};
pub use quantisation::Quantisation;
