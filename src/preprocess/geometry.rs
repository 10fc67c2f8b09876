//! Where the pixels of a slice land in the network's input.

use crate::model::config::Input;
use crate::tensor::Extent;
use crate::{Error, ErrorKind, Result};

/// Resampling of one axis: `source` pixels become `resized`, of which the network sees `size` from `offset` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AxisMap {
    /// Pixels of the slice.
    pub source: usize,
    /// Pixels after resizing.
    pub resized: usize,
    /// First resized pixel of the input; negative means padding before it.
    pub offset: i64,
    /// Pixels of the network's input.
    pub size: usize,
}

impl AxisMap {
    /// The resized pixel under input pixel `index`, or none where the input is padding.
    pub fn resized_index(self, index: usize) -> Option<usize> {
        let at = index as i64 + self.offset;
        (0..self.resized as i64).contains(&at).then_some(at as usize)
    }
}

/// Both axes of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Rows.
    pub rows: AxisMap,
    /// Columns.
    pub cols: AxisMap,
}

/// More resized pixels than this along one axis mean a spacing that no scanner writes.
const MAX_RESIZED: f64 = 65_536.0;

impl Placement {
    /// The placement of a `rows × cols` slice whose pixels are `spacing_mm` = [between rows, between columns] apart.
    ///
    /// Without `input.spacing_mm` the whole slice is resized to the input. With it, to max(1, ⌊n · spacing / s + ½⌋) pixels,
    /// then centre-cropped or padded, offset ⌊(n − size) / 2⌋.
    ///
    /// # Errors
    /// `bad_geometry` when the model asks for a spacing and the slice has none, or one that cannot be resampled.
    pub fn new(input: &Input, rows: usize, cols: usize, spacing_mm: Option<[f64; 2]>) -> Result<Self> {
        let [height, width] = input.size;
        let Some(target) = input.spacing_mm else {
            let whole = |source, size| AxisMap { source, resized: size, offset: 0, size };
            return Ok(Self { rows: whole(rows, height), cols: whole(cols, width) });
        };
        let Some([row_mm, col_mm]) = spacing_mm else {
            let message = format!("PixelSpacing (0028,0030) is missing and the model resamples to {target} mm");
            return Err(Error::new(ErrorKind::BadGeometry, message));
        };
        let axis = |source: usize, mm: f64, size: usize| {
            let resized = (source as f64 * mm / target + 0.5).floor().max(1.0);
            if resized.is_nan() || resized > MAX_RESIZED {
                let message =
                    format!("PixelSpacing {mm} mm over {source} pixels makes {resized} pixels of {target} mm, more than {MAX_RESIZED}");
                return Err(Error::new(ErrorKind::BadGeometry, message));
            }
            let resized = resized as usize;
            let offset = (resized as i64 - size as i64).div_euclid(2);
            Ok(AxisMap { source, resized, offset, size })
        };
        Ok(Self { rows: axis(rows, row_mm, height)?, cols: axis(cols, col_mm, width)? })
    }

    /// The network's input.
    pub fn extent(self) -> Extent {
        Extent { height: self.rows.size, width: self.cols.size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::{Channel, Window};

    fn input(size: [usize; 2], spacing_mm: Option<f64>) -> Input {
        let channels = vec![Channel { slice_offset: 0, window: Window { level: 40.0, width: 80.0 } }];
        Input { size, spacing_mm, outside_hu: -1000.0, channels, mean: vec![0.0], std: vec![1.0] }
    }

    #[test]
    fn without_a_spacing_the_whole_slice_is_resized() {
        let p = Placement::new(&input([40, 33], None), 512, 100, None).unwrap();
        assert_eq!((p.rows.resized, p.rows.offset, p.cols.resized, p.cols.offset), (40, 0, 33, 0));
    }

    #[test]
    fn odd_differences_floor_towards_minus_infinity() {
        // 100 px of 0.5 mm at 1 mm: 50 px into 33 → offset ⌊17/2⌋ = 8; into 53 → ⌊−3/2⌋ = −2.
        let p = Placement::new(&input([33, 53], Some(1.0)), 100, 100, Some([0.5, 0.5])).unwrap();
        assert_eq!((p.rows.resized, p.rows.offset), (50, 8));
        assert_eq!((p.cols.resized, p.cols.offset), (50, -2));
        assert_eq!(p.cols.resized_index(1), None);
        assert_eq!(p.cols.resized_index(2), Some(0));
        assert_eq!(p.cols.resized_index(51), Some(49));
        assert_eq!(p.cols.resized_index(52), None);
    }

    #[test]
    fn halves_round_up_and_at_least_one_pixel_stays() {
        let p = Placement::new(&input([32, 32], Some(2.0)), 5, 1, Some([1.0, 0.1])).unwrap();
        assert_eq!((p.rows.resized, p.cols.resized), (3, 1));
    }

    #[test]
    fn a_missing_or_absurd_spacing_is_named() {
        let missing = Placement::new(&input([32, 32], Some(1.0)), 64, 64, None).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::BadGeometry);
        assert!(missing.message().contains("(0028,0030)"));
        let absurd = Placement::new(&input([32, 32], Some(1e-9)), 64, 64, Some([1.0, 1.0])).unwrap_err();
        assert!(absurd.message().contains("1 mm over 64 pixels"), "{absurd}");
    }
}
