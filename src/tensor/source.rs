//! The network's input, one slice at a time.

use super::Extent;

/// The windowed slices of a scan, inferior to superior, made on demand.
pub trait SliceSource: Sync {
    /// Number of slices, at least 1.
    fn slices(&self) -> usize;
    /// Channels of every slice.
    fn channels(&self) -> usize;
    /// Height and width of every slice.
    fn extent(&self) -> Extent;
    /// Writes slice `index` as [channels, height, width], row-major. Called from several threads.
    fn write_slice(&self, index: usize, dst: &mut [f32]);
}
