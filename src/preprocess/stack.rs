//! A scan in the network's geometry, still in HU; windows are applied when a worker asks for a slice.

use super::geometry::Placement;
use super::resample::{axis_taps, resample_plane};
use crate::model::config::{Channel, Input};
use crate::observer::Observer;
use crate::tensor::{ChannelWindow, Extent, HuPlanes, SliceSource};
use crate::volume::HuVolume;
use crate::{Error, ErrorKind, Result};
use rayon::prelude::*;

/// Planes [slices, height, width] in HU with the channels to be cut from them.
#[derive(Clone, Debug)]
pub struct HuStack {
    planes: Vec<f32>,
    slices: usize,
    extent: Extent,
    channels: Vec<ChannelWindow>,
}

impl HuStack {
    /// Resamples every slice, in parallel on the current rayon pool.
    ///
    /// # Errors
    /// `bad_geometry` from [`Placement::new`]; `out_of_memory`; `cancelled`.
    pub fn new(volume: &HuVolume, input: &Input, observer: &dyn Observer) -> Result<Self> {
        let placement = Placement::new(input, volume.rows(), volume.cols(), volume.spacing_mm())?;
        let extent = placement.extent();
        let slices = volume.slices().len();
        let mut planes = Vec::new();
        let values = slices.saturating_mul(extent.area());
        planes.try_reserve_exact(values).map_err(|e| {
            let message = format!("{slices} slices of {}×{} do not fit in memory", extent.height, extent.width);
            Error::new(ErrorKind::OutOfMemory, message).caused_by(e)
        })?;
        planes.resize(values, 0.0f32);
        let filters = (axis_taps(placement.rows), axis_taps(placement.cols));
        planes.par_chunks_exact_mut(extent.area()).zip(volume.slices()).try_for_each(|(plane, slice)| {
            if observer.cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "cancelled while resampling"));
            }
            resample_plane(&slice.pixels, placement, (&filters.0, &filters.1), input.outside_hu as f32, plane);
            Ok(())
        })?;
        Ok(Self { planes, slices, extent, channels: channel_windows(input) })
    }

    /// The HU plane of one slice, [height, width].
    pub fn plane(&self, index: usize) -> &[f32] {
        &self.planes[index * self.extent.area()..][..self.extent.area()]
    }
}

/// x of every channel where there is only air, at the lowest HU there is.
pub fn air(input: &Input) -> Vec<f32> {
    let air = |window: &ChannelWindow| {
        let mut x = [0.0];
        apply(window, &[AIR_HU], &mut x);
        x[0]
    };
    channel_windows(input).iter().map(air).collect()
}

/// What makes each channel.
pub(super) fn channel_windows(input: &Input) -> Vec<ChannelWindow> {
    let channels = input.channels.iter().zip(&input.mean).zip(&input.std);
    channels.map(|((channel, &mean), &std)| transform(*channel, mean, std)).collect()
}

/// Nothing is read below it (rule 1 of the model format clamps there).
const AIR_HU: f32 = -1024.0;

fn transform(channel: Channel, mean: f64, std: f64) -> ChannelWindow {
    let window = channel.window;
    ChannelWindow { slice_offset: channel.slice_offset, low: window.level - window.width / 2.0, width: window.width, mean, std }
}

pub(super) fn apply(window: &ChannelWindow, plane: &[f32], dst: &mut [f32]) {
    for (x, &hu) in dst.iter_mut().zip(plane) {
        let v = ((f64::from(hu) - window.low) / window.width).clamp(0.0, 1.0);
        *x = ((v - window.mean) / window.std) as f32;
    }
}

impl SliceSource for HuStack {
    fn slices(&self) -> usize {
        self.slices
    }

    fn channels(&self) -> usize {
        self.channels.len()
    }

    fn extent(&self) -> Extent {
        self.extent
    }

    fn write_slice(&self, index: usize, dst: &mut [f32]) {
        let last = self.slices as i64 - 1;
        for (channel, plane) in self.channels.iter().zip(dst.chunks_exact_mut(self.extent.area())) {
            let neighbour = (index as i64).saturating_add(channel.slice_offset).clamp(0, last);
            apply(channel, self.plane(neighbour as usize), plane);
        }
    }

    fn hu(&self) -> Option<HuPlanes<'_>> {
        Some(HuPlanes { planes: &self.planes, windows: &self.channels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::Window;
    use crate::observer::Unobserved;
    use crate::volume::{HuPixels, HuSlice};

    fn volume(values: &[i16]) -> HuVolume {
        let slice =
            |&v| HuSlice { pixels: HuPixels::Int(vec![v; 40 * 40]), sop_instance_uid: None, instance_number: None, position_mm: None };
        HuVolume::new(values.iter().map(slice).collect(), 40, 40, None).unwrap()
    }

    fn input(channels: &[(i64, f64, f64)]) -> Input {
        let channels: Vec<_> =
            channels.iter().map(|&(slice_offset, level, width)| Channel { slice_offset, window: Window { level, width } }).collect();
        let n = channels.len();
        Input { size: [32, 33], spacing_mm: None, outside_hu: -1000.0, channels, mean: vec![0.25; n], std: vec![0.5; n] }
    }

    #[test]
    fn windows_clip_and_normalise() {
        let stack = HuStack::new(&volume(&[-5, 0, 20, 80, 200]), &input(&[(0, 40.0, 80.0)]), &Unobserved).unwrap();
        let mut out = vec![0.0; 32 * 33];
        for (slice, v) in [0.0, 0.0, 0.25, 1.0, 1.0].into_iter().enumerate() {
            stack.write_slice(slice, &mut out);
            assert!(out.iter().all(|&x| x == (v - 0.25) / 0.5), "slice {slice}: {} for {v}", out[0]);
        }
    }

    #[test]
    fn neighbours_are_clamped_to_the_series() {
        let offsets = [(-1, 500.0, 1000.0), (0, 500.0, 1000.0), (2, 500.0, 1000.0), (i64::MAX, 500.0, 1000.0), (i64::MIN, 500.0, 1000.0)];
        let stack = HuStack::new(&volume(&[100, 200, 300]), &input(&offsets), &Unobserved).unwrap();
        let mut out = vec![0.0; 5 * 32 * 33];
        stack.write_slice(1, &mut out);
        let seen: Vec<f32> = out.chunks_exact(32 * 33).map(|c| ((c[0] * 0.5 + 0.25) * 1000.0).round()).collect();
        assert_eq!(seen, [100.0, 200.0, 300.0, 300.0, 100.0]);
    }

    #[test]
    fn a_host_can_stop_it() {
        struct Stop;
        impl Observer for Stop {
            fn cancelled(&self) -> bool {
                true
            }
        }
        let error = HuStack::new(&volume(&[0]), &input(&[(0, 40.0, 80.0)]), &Stop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}
