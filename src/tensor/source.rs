//! The network's input, one slice at a time.

use super::{AxisTaps, Extent};

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

    /// The same slices as they were stored, for devices that resample them too; none when the host did.
    fn scanned(&self) -> Option<&ScannedSlices<'_>> {
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

/// The slices of a scan in whole HU at the size of the scan, and what makes planes and then channels of them.
#[derive(Clone, Debug)]
pub struct ScannedSlices<'a> {
    /// [height, width] each, row-major.
    pub slices: Vec<&'a [i16]>,
    /// Size of a slice.
    pub source: Extent,
    /// For every row of a plane.
    pub row_taps: AxisTaps,
    /// For every column of a plane.
    pub column_taps: AxisTaps,
    /// What padding is, in HU.
    pub outside_hu: f32,
    /// One for each channel.
    pub windows: Vec<ChannelWindow>,
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
