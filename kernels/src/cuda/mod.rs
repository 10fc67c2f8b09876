//! The CUDA kernels: what they take, how their weights are laid out, and how they are launched.
//!
//! [`Gpu`] and [`Stream`] are what a kernel runs on: the driver, or the emulation that the tests use. The modules named after kernel families
//! hold each kernel's arguments, its packed weights and its choice of tiles; their entry points check every span against its memory, so that
//! they are safe to call.

mod arguments;
pub mod attention;
pub mod dense;
pub mod driver;
pub mod element;
pub mod fragments;
pub mod functions;
pub mod gpu;
pub mod linear;
pub mod numbers;
pub mod packing;
pub mod prebuilt;
pub mod probe;
mod queue;
pub mod recurrent;
pub mod resample;
pub mod roofs;
pub mod segmentation;
pub mod selftest;
pub mod stem;
pub mod transition;

pub use arguments::Slices;
pub use driver::Driver;
pub use element::Element;
pub use gpu::{DeviceMemory, Gpu, GpuError, GpuErrorKind, GpuProperties, Graph, Launch, Span, Stream};
pub use queue::{Idle, Pinned, Queue, Recorded};
