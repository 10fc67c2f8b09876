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

    /// The same slices before windowing, for devices that apply the windows themselves; none when the host made the channels.
    fn hu(&self) -> Option<HuPlanes<'_>> {
        None
    }
}

/// The slices of a scan in HU, and what makes channels of them.
#[derive(Clone, Copy, Debug)]
pub struct HuPlanes<'a> {
    /// [slices, height, width].
    pub planes: &'a [f32],
    /// One for each channel.
    pub windows: &'a [ChannelWindow],
}

/// x = (clip((hu − low) / width, 0, 1) − mean) / std of the slice at an offset, which is clamped to the series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelWindow {
    /// Slices towards superior.
    pub slice_offset: i64,
    /// Lower edge, in HU.
    pub low: f64,
    /// Width, in HU.
    pub width: f64,
    /// Subtracted from the clipped value.
    pub mean: f64,
    /// Divides the rest.
    pub std: f64,
}
