//! Where the network looked: overlays per slice, a contact sheet of the scan, and the raw maps as NumPy arrays.

pub mod canvas;
pub mod colour;
pub mod contact;
pub mod frame;
pub mod npy;
pub mod overlay;
mod write;

pub use overlay::{Heat, ScanView, Tint};
pub use write::MapWriter;
