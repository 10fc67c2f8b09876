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

/// Where one row or column of a picture lies between the rows or columns of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tap {
    low: usize,
    high: usize,
    /// How much of `high`.
    share: f32,
    /// Whether it lies on the image and not beyond its border.
    inside: bool,
}

impl Tap {
    /// Linear interpolation at `position` among `n` centres at 0, 1, 2 ...; clamped at the border.
    pub fn new(position: f64, n: usize) -> Self {
        let inside = position >= -0.5 && position <= n as f64 - 0.5;
        let clamped = position.clamp(0.0, (n - 1) as f64);
        let low = clamped as usize;
        Self { low, high: (low + 1).min(n - 1), share: (clamped - low as f64) as f32, inside }
    }

    /// The rows or columns of a map of `cells` over an input of `n` pixels, where the input is at `position`.
    pub fn on_map(position: f64, n: usize, cells: usize) -> Self {
        Self::new((position + 0.5) * (cells as f64 / n as f64) - 0.5, cells)
    }
}

/// Row-major values with their width.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    /// The values.
    pub values: &'a [f32],
    /// Values per row.
    pub width: usize,
}

impl Plane<'_> {
    /// Bilinear between the four neighbours.
    pub fn at(&self, row: Tap, col: Tap) -> f32 {
        let along = |r: usize| {
            let line = &self.values[r * self.width..][..self.width];
            line[col.low] + (line[col.high] - line[col.low]) * col.share
        };
        let (top, bottom) = (along(row.low), along(row.high));
        top + (bottom - top) * row.share
    }

    /// The same, or `None` beyond the border.
    pub fn inside(&self, row: Tap, col: Tap) -> Option<f32> {
        (row.inside && col.inside).then(|| self.at(row, col))
    }
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

    /// A map's cells' centres are exact, values between them linear, and nothing is drawn outside the input.
    #[test]
    fn maps_are_sampled_at_cell_centres() {
        let plane = Plane { values: &[0.0, 1.0, 2.0, 3.0], width: 2 };
        let at = |y: f64, x: f64| plane.inside(Tap::on_map(y, 32, 2), Tap::on_map(x, 32, 2));
        assert_eq!([at(7.5, 7.5), at(23.5, 7.5), at(15.5, 15.5), at(31.5, 31.5)], [Some(0.0), Some(2.0), Some(1.5), Some(3.0)]);
        assert_eq!([at(31.6, 0.0), at(0.0, -0.6)], [None, None]);
    }
}
