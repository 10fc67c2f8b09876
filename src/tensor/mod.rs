//! Shapes and sources of image data, shared by everything that touches a map: the bottom of the import order.

mod source;
mod taps;

pub use source::{ChannelWindow, HuPlanes, ScannedSlices, SliceSource};
pub use taps::AxisTaps;

/// Height and width of a map, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Extent {
    /// Number of positions.
    pub fn area(self) -> usize {
        self.height * self.width
    }
}
