//! From the pixels of a slice to the positions of the network's maps (spec: model, rule 3, read backwards).

use crate::Result;
use crate::model::config::Input;
use crate::preprocess::{AxisMap, Placement};
use crate::tensor::Extent;
use crate::volume::HuVolume;

/// Where the network's input lies on the slices of one scan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Per axis.
    pub placement: Placement,
}

impl Frame {
    /// The frame in which `volume` goes through a network with this input.
    ///
    /// # Errors
    /// `bad_geometry`, as pre-processing would.
    pub fn new(volume: &HuVolume, input: &Input) -> Result<Self> {
        Ok(Self { placement: Placement::new(input, volume.rows(), volume.cols(), volume.spacing_mm())? })
    }

    /// The network's input.
    pub fn input(&self) -> Extent {
        self.placement.extent()
    }

    /// The slice.
    pub fn slice(&self) -> Extent {
        Extent { height: self.placement.rows.source, width: self.placement.cols.source }
    }

    /// Position on the network's input, in its pixels, of a position on the slice; centres of pixels are whole numbers.
    pub fn to_input(&self, [y, x]: [f64; 2]) -> [f64; 2] {
        let along = |v: f64, a: AxisMap| (v + 0.5) * (a.resized as f64 / a.source as f64) - a.offset as f64 - 0.5;
        [along(y, self.placement.rows), along(x, self.placement.cols)]
    }
}

/// One map of the network, sampled anywhere on its input.
#[derive(Clone, Copy, Debug)]
pub struct InputMap<'a> {
    /// Row-major values.
    pub values: &'a [f32],
    /// Their extent.
    pub extent: Extent,
}

impl InputMap<'_> {
    /// The value at a position of the network's input, bilinear between the map's cells; `None` outside the input.
    pub fn at(&self, [y, x]: [f64; 2], input: Extent) -> Option<f32> {
        let inside = |v: f64, n: usize| v >= -0.5 && v <= n as f64 - 0.5;
        if !inside(y, input.height) || !inside(x, input.width) {
            return None;
        }
        let scale = |v: f64, to: usize, from: usize| (v + 0.5) * (to as f64 / from as f64) - 0.5;
        let at = [scale(y, self.extent.height, input.height), scale(x, self.extent.width, input.width)];
        Some(bilinear(at, self.extent, |i| self.values[i]))
    }
}

/// Bilinear interpolation of row-major values, clamped at the border.
pub fn bilinear([y, x]: [f64; 2], extent: Extent, value: impl Fn(usize) -> f32) -> f32 {
    let split = |v: f64, n: usize| {
        let v = v.clamp(0.0, (n - 1) as f64);
        let low = v as usize;
        (low, (low + 1).min(n - 1), (v - low as f64) as f32)
    };
    let (y0, y1, fy) = split(y, extent.height);
    let (x0, x1, fx) = split(x, extent.width);
    let row = |y: usize| {
        let (a, b) = (value(y * extent.width + x0), value(y * extent.width + x1));
        a + (b - a) * fx
    };
    let (top, bottom) = (row(y0), row(y1));
    top + (bottom - top) * fy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::{Channel, Window};
    use crate::volume::{HuPixels, HuSlice};

    fn frame(rows: usize, cols: usize, size: [usize; 2], spacing_mm: Option<f64>) -> Frame {
        let slice =
            HuSlice { pixels: HuPixels::Int(vec![0; rows * cols]), sop_instance_uid: None, instance_number: None, position_mm: None };
        let volume = HuVolume::new(vec![slice], rows, cols, Some([0.5, 1.0])).unwrap();
        let channel = Channel { slice_offset: 0, window: Window { level: 40.0, width: 80.0 } };
        let input = Input { size, spacing_mm, outside_hu: -1000.0, channels: vec![channel], mean: vec![0.0], std: vec![1.0] };
        Frame::new(&volume, &input).unwrap()
    }

    /// Whole-slice resize: corners of the slice are corners of the input.
    #[test]
    fn corners_meet_corners() {
        let frame = frame(100, 60, [32, 48], None);
        assert_eq!(frame.to_input([-0.5, -0.5]), [-0.5, -0.5]);
        assert_eq!(frame.to_input([99.5, 59.5]), [31.5, 47.5]);
    }

    /// 100 rows of 0.5 mm at 2 mm are 25, padded to 40 from −8 (floor of −7.5); 61 columns of 1 mm are 31 (30.5 + ½), cropped to 30 from 0.
    #[test]
    fn spacing_crops_and_pads_like_rule_3() {
        let frame = frame(100, 61, [40, 30], Some(2.0));
        assert_eq!((frame.slice(), frame.input()), (Extent { height: 100, width: 61 }, Extent { height: 40, width: 30 }));
        assert_eq!(frame.to_input([-0.5, -0.5]), [7.5, -0.5]);
    }

    /// A map is constant where it is constant, its cells' centres are exact, and nothing is drawn outside the input.
    #[test]
    fn maps_are_sampled_at_cell_centres() {
        let map = InputMap { values: &[0.0, 1.0, 2.0, 3.0], extent: Extent { height: 2, width: 2 } };
        let input = Extent { height: 32, width: 32 };
        assert_eq!(map.at([7.5, 7.5], input), Some(0.0));
        assert_eq!(map.at([23.5, 7.5], input), Some(2.0));
        assert_eq!(map.at([15.5, 15.5], input), Some(1.5));
        assert_eq!(map.at([31.5, 31.5], input), Some(3.0));
        assert_eq!(map.at([31.6, 0.0], input), None);
    }
}
