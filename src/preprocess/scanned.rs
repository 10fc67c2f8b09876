//! A scan as it was stored, for devices that resample and window it themselves.

use super::geometry::Placement;
use super::resample::{axis_taps, resample_plane};
use super::stack::{apply, channel_windows};
use crate::Result;
use crate::model::config::Input;
use crate::tensor::{ChannelWindow, Extent, ScannedSlices, SliceSource};
use crate::volume::{HuPixels, HuVolume};

/// Slices of a volume in whole HU, with everything that makes the network's input of them.
#[derive(Debug)]
pub struct ScannedStack<'v> {
    volume: &'v HuVolume,
    placement: Placement,
    outside_hu: f32,
    scanned: ScannedSlices<'v>,
}

impl<'v> ScannedStack<'v> {
    /// None when a slice has fractional HU.
    ///
    /// # Errors
    /// `bad_geometry` from [`Placement::new`].
    pub fn new(volume: &'v HuVolume, input: &Input) -> Result<Option<Self>> {
        let placement = Placement::new(input, volume.rows(), volume.cols(), volume.spacing_mm())?;
        let whole = |slice: &'v crate::volume::HuSlice| match &slice.pixels {
            HuPixels::Int(pixels) => Some(&pixels[..]),
            HuPixels::Float(_) => None,
        };
        let Some(slices) = volume.slices().iter().map(whole).collect::<Option<Vec<_>>>() else { return Ok(None) };
        let scanned = ScannedSlices {
            slices,
            source: Extent { height: volume.rows(), width: volume.cols() },
            row_taps: axis_taps(placement.rows),
            column_taps: axis_taps(placement.cols),
            outside_hu: input.outside_hu as f32,
            windows: channel_windows(input),
        };
        Ok(Some(Self { volume, placement, outside_hu: input.outside_hu as f32, scanned }))
    }
}

impl SliceSource for ScannedStack<'_> {
    fn slices(&self) -> usize {
        self.volume.slices().len()
    }

    fn channels(&self) -> usize {
        self.scanned.windows.len()
    }

    fn extent(&self) -> Extent {
        self.placement.extent()
    }

    fn write_slice(&self, index: usize, dst: &mut [f32]) {
        let last = self.slices() as i64 - 1;
        let mut plane = vec![0.0; self.extent().area()];
        let mut at = None;
        let filters = (&self.scanned.row_taps, &self.scanned.column_taps);
        for (window, channel) in self.scanned.windows.iter().zip(dst.chunks_exact_mut(plane.len().max(1))) {
            let ChannelWindow { slice_offset, .. } = *window;
            let neighbour = (index as i64).saturating_add(slice_offset).clamp(0, last) as usize;
            if at != Some(neighbour) {
                resample_plane(&self.volume.slices()[neighbour].pixels, self.placement, filters, self.outside_hu, &mut plane);
                at = Some(neighbour);
            }
            apply(window, &plane, channel);
        }
    }

    fn scanned(&self) -> Option<&ScannedSlices<'_>> {
        Some(&self.scanned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::{Channel, Window};
    use crate::observer::Unobserved;
    use crate::preprocess::HuStack;
    use crate::volume::HuSlice;

    fn volume(pixels: impl Fn(usize) -> HuPixels) -> HuVolume {
        let slice = |i| HuSlice { pixels: pixels(i), sop_instance_uid: None, instance_number: None, position_mm: None };
        HuVolume::new((0..3).map(slice).collect(), 20, 24, Some([0.5, 0.6])).unwrap()
    }

    /// The same channels as the stack that was resampled beforehand, neighbours and padding included.
    #[test]
    fn slices_are_those_of_the_stack() {
        let channel = |slice_offset| Channel { slice_offset, window: Window { level: 40.0, width: 80.0 } };
        let channels = [-1, 0, 0, 2].map(channel).to_vec();
        let input = Input { size: [40, 33], spacing_mm: Some(0.4), outside_hu: -1000.0, channels, mean: vec![0.1; 4], std: vec![0.5; 4] };
        let volume = volume(|i| HuPixels::Int((0..480).map(|p| ((p * 7 + i * 31) % 300) as i16 - 100).collect()));
        let stack = HuStack::new(&volume, &input, &Unobserved).unwrap();
        let scanned = ScannedStack::new(&volume, &input).unwrap().expect("whole HU");
        let (mut expected, mut got) = (vec![0.0; 4 * 40 * 33], vec![0.0; 4 * 40 * 33]);
        for slice in 0..3 {
            stack.write_slice(slice, &mut expected);
            scanned.write_slice(slice, &mut got);
            assert_eq!(got, expected, "slice {slice}");
        }
    }

    #[test]
    fn fractional_units_are_left_to_the_host() {
        let input = Input {
            size: [32, 32],
            spacing_mm: None,
            outside_hu: -1000.0,
            channels: vec![Channel { slice_offset: 0, window: Window { level: 40.0, width: 80.0 } }],
            mean: vec![0.0],
            std: vec![1.0],
        };
        assert!(ScannedStack::new(&volume(|_| HuPixels::Float(vec![0.5; 480])), &input).unwrap().is_none());
    }
}
