//! Turning a slice so that columns run to the patient's left and rows to posterior: flips and a transpose, never interpolation.

use super::geometry::Frame;
use crate::volume::HuPixels;
use crate::{Error, ErrorKind};

/// Where an axis is this close to the diagonal, the digits of its cosines do not decide: it follows the other axis.
const TIE: f64 = 1e-3;

/// The turn from stored pixels to the model's axes. Applied as: transpose first, then the flips of the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    transpose: bool,
    flip_rows: bool,
    flip_cols: bool,
}

impl Turn {
    /// The turn for a slice with these directions: each in-plane axis goes to whichever of x and y it is closest to.
    ///
    /// # Errors
    /// `bad_geometry` when both go to the same one, which a steeply oblique slice can do.
    pub(super) fn new(frame: &Frame) -> crate::Result<Self> {
        let (row, col) = (frame.row, frame.col);
        let row_lead = row[0].abs() - row[1].abs();
        let col_lead = col[1].abs() - col[0].abs();
        let (mut row_to_x, mut col_to_y) = (row_lead >= 0.0, col_lead >= 0.0);
        if row_lead.abs() < TIE {
            row_to_x = col_lead >= 0.0;
        } else if col_lead.abs() < TIE {
            col_to_y = row_lead >= 0.0;
        }
        match (row_to_x, col_to_y) {
            (true, true) => Ok(Self { transpose: false, flip_rows: col[1] < 0.0, flip_cols: row[0] < 0.0 }),
            (false, false) => Ok(Self { transpose: true, flip_rows: row[1] < 0.0, flip_cols: col[0] < 0.0 }),
            _ => {
                let message = format!("rows {row:?} and columns {col:?} are both closest to the same body axis");
                Err(Error::new(ErrorKind::BadGeometry, message))
            }
        }
    }

    /// A pair [along rows, along columns] (matrix or spacing) of the stored slice, as the turned slice has it.
    pub(super) fn pair<T: Copy>(&self, [y, x]: [T; 2]) -> [T; 2] {
        if self.transpose { [x, y] } else { [y, x] }
    }

    /// Turns a stored slice of `rows × cols`.
    pub(super) fn apply(&self, pixels: HuPixels, rows: usize, cols: usize) -> HuPixels {
        if *self == Self::default() {
            return pixels;
        }
        match pixels {
            HuPixels::Int(v) => HuPixels::Int(self.turn(&v, rows, cols)),
            HuPixels::Float(v) => HuPixels::Float(self.turn(&v, rows, cols)),
        }
    }

    fn turn<T: Copy>(&self, src: &[T], rows: usize, cols: usize) -> Vec<T> {
        let [out_rows, out_cols] = self.pair([rows, cols]);
        let mut out = Vec::with_capacity(src.len());
        for r in 0..out_rows {
            let r = if self.flip_rows { out_rows - 1 - r } else { r };
            // Index of the row's first pixel in the stored slice, and the stride to the next.
            let (start, stride) = if self.transpose { (r, cols) } else { (r * cols, 1) };
            let line = (0..out_cols).map(|c| src[start + c * stride]);
            if self.flip_cols { out.extend(line.rev()) } else { out.extend(line) }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every one of the 48 signed axis permutations: those whose normal is ±z (16 by sign of all three, 8 by what a DICOM slice can say)
    /// turn into left/posterior order, checked by walking each stored pixel to its place in the body; the others are not axial.
    #[test]
    fn every_axis_orientation() {
        let axes = |i: usize, s: f64| std::array::from_fn::<f64, 3, _>(|k| if k == i { s } else { 0.0 });
        let mut axial = 0;
        for (i, j) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
            for (si, sj) in [(1., 1.), (1., -1.), (-1., 1.), (-1., -1.)] {
                let (row, col) = (axes(i, si), axes(j, sj));
                let frame = Frame::new(&[row[0], row[1], row[2], col[0], col[1], col[2]]).unwrap();
                assert_eq!(frame.is_axial(), i != 2 && j != 2);
                if frame.is_axial() {
                    axial += 1;
                    against_the_body(&frame);
                }
            }
        }
        assert_eq!(axial, 8);
    }

    /// Each pixel's value is its number; after the turn, x must grow along columns and y along rows.
    fn against_the_body(frame: &Frame) {
        let (rows, cols, [sy, sx]) = (3, 5, [0.4, 0.7]);
        let turn = Turn::new(frame).unwrap();
        let stored = HuPixels::Int((0..15).collect());
        let turned = turn.apply(stored, rows, cols);
        let [out_rows, out_cols] = turn.pair([rows, cols]);
        let [out_sy, out_sx] = turn.pair([sy, sx]);
        let place = |number: usize| {
            let (r, c) = ((number / cols) as f64 * sy, (number % cols) as f64 * sx);
            [frame.row[0] * c + frame.col[0] * r, frame.row[1] * c + frame.col[1] * r]
        };
        let origin = place(turned.hu(0) as usize);
        for r in 0..out_rows {
            for c in 0..out_cols {
                let at = place(turned.hu(r * out_cols + c) as usize);
                assert!((at[0] - origin[0] - c as f64 * out_sx).abs() < 1e-12, "{frame:?}");
                assert!((at[1] - origin[1] - r as f64 * out_sy).abs() < 1e-12, "{frame:?}");
            }
        }
    }

    /// A head turned in its holder by up to 44 degrees keeps its axes; past 45 it is transposed.
    #[test]
    fn oblique_in_plane_goes_to_the_closest_axis() {
        for (degrees, transpose) in
            [(0.0, false), (44.0, false), (46.0, true), (-44.0, false), (-46.0, true), (134.0, true), (136.0, false)]
        {
            let (s, c) = f64::sin_cos(f64::to_radians(degrees));
            let turn = Turn::new(&Frame::new(&[c, s, 0.0, -s, c, 0.0]).unwrap()).unwrap();
            assert_eq!(turn.transpose, transpose, "{degrees}");
        }
    }

    /// At 45 degrees the rounding of cosines may not turn a readable slice into an error.
    #[test]
    fn a_diagonal_slice_is_readable() {
        let h = std::f64::consts::FRAC_1_SQRT_2;
        let near = [h, h - 1e-4, h + 1e-4];
        for (a, b, c, d) in near.iter().flat_map(|a| near.iter().flat_map(move |b| near.map(|c| (*a, *b, c, h)))) {
            assert!(Turn::new(&Frame::new(&[a, b, 0.0, -c, d, 0.0]).unwrap()).is_ok());
        }
        assert_eq!(Turn::new(&Frame::new(&[h, h, 0.0, -h, h, 0.0]).unwrap()).unwrap(), Turn::default());
    }

    /// Axial by its normal, yet both in-plane axes lean to y: turned by 45 degrees in the plane and tilted by 44 about y.
    #[test]
    fn two_axes_to_one_are_refused() {
        let (s, c) = f64::sin_cos(f64::to_radians(44.0));
        let h = std::f64::consts::FRAC_1_SQRT_2;
        let frame = Frame::new(&[h * c, h, -h * s, -h * c, h, h * s]).unwrap();
        assert!(frame.is_axial());
        assert_eq!(Turn::new(&frame).unwrap_err().kind(), ErrorKind::BadGeometry);
    }

    #[test]
    fn an_upright_slice_is_moved_not_copied() {
        let pixels = vec![1_i16, 2, 3, 4];
        let address = pixels.as_ptr();
        let HuPixels::Int(out) = Turn::default().apply(HuPixels::Int(pixels), 2, 2) else { panic!("kept as integers") };
        assert_eq!(out.as_ptr(), address);
    }
}
