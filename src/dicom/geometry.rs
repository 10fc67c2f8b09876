//! Directions and positions of a slice in patient coordinates (LPS: +x left, +y posterior, +z superior).

use crate::{Error, ErrorKind};

/// How far ImageOrientationPatient may be from two orthogonal unit vectors: room for cosines written with two decimals.
const ORTHONORMAL_TOLERANCE: f64 = 0.02;
/// Largest difference of a cosine at which two slices still count as parallel (about 0.3 degrees).
const SAME_ORIENTATION: f64 = 0.005;
/// Below this |n_z| a slice is not axial.
const AXIAL_NZ: f64 = 0.7;

/// The directions of a slice: along a row, along a column, and the normal that points to superior.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frame {
    /// Direction of increasing column index.
    pub(super) row: [f64; 3],
    /// Direction of increasing row index.
    pub(super) col: [f64; 3],
    /// row × col, negated where its z is negative.
    pub(super) normal: [f64; 3],
}

impl Frame {
    /// Reads ImageOrientationPatient.
    ///
    /// # Errors
    /// `bad_geometry` when the values are not two orthogonal unit vectors.
    pub(super) fn new(orientation: &[f64; 6]) -> crate::Result<Self> {
        let [a, b, c, d, e, f] = *orientation;
        let (row, col) = ([a, b, c], [d, e, f]);
        let off = [norm(row) - 1.0, norm(col) - 1.0, dot(row, col)];
        // Written so that NaN fails.
        if !off.iter().all(|v| v.abs() <= ORTHONORMAL_TOLERANCE) {
            let message = format!("ImageOrientationPatient (0020,0037) {orientation:?} is not a pair of orthogonal unit vectors");
            return Err(Error::new(ErrorKind::BadGeometry, message));
        }
        let mut normal = cross(row, col);
        if normal[2] < 0.0 {
            normal = normal.map(|v| -v);
        }
        Ok(Self { row, col, normal })
    }

    /// Distance of a point along the normal, in mm.
    pub(super) fn position(&self, point: &[f64; 3]) -> f64 {
        dot(*point, self.normal)
    }

    /// Whether the slice is axial enough for the model.
    pub(super) fn is_axial(&self) -> bool {
        self.normal[2] >= AXIAL_NZ
    }

    /// Angle between the normal and the patient's long axis, in degrees.
    pub(super) fn tilt_deg(&self) -> f64 {
        angle_deg(self.normal, [0.0, 0.0, 1.0])
    }

    /// Whether both slices are parallel with the same in-plane directions.
    pub(super) fn same_orientation(&self, other: &Self) -> bool {
        let close = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= SAME_ORIENTATION);
        close(self.row, other.row) && close(self.col, other.col)
    }

    /// Whether the slices cut each other at more than about 78 degrees, as a scout cuts the scan it plans.
    pub(super) fn orthogonal_to(&self, other: &Self) -> bool {
        dot(self.normal, other.normal).abs() < 0.2
    }
}

/// Angle between two directions without regard to sign, in degrees; 0 when one of them has no length.
pub(super) fn angle_deg(a: [f64; 3], b: [f64; 3]) -> f64 {
    let length = norm(a) * norm(b);
    if length > 0.0 { (norm(cross(a, b)) / length).atan2(dot(a, b).abs() / length).to_degrees() } else { 0.0 }
}

pub(super) fn sub(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn norm(a: [f64; 3]) -> f64 {
    dot(a, a).sqrt()
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The normal always points to superior, so that feet-first and flipped series sort alike.
    #[test]
    fn normal_points_up() {
        for orientation in [[1., 0., 0., 0., 1., 0.], [-1., 0., 0., 0., 1., 0.], [0., 1., 0., 1., 0., 0.]] {
            assert_eq!(Frame::new(&orientation).unwrap().position(&[5.0, 6.0, 7.0]), 7.0);
        }
    }

    #[test]
    fn tilt_of_the_ge_head() {
        let frame = Frame::new(&[1.0, 0.0, 0.0, 0.0, 0.9483237, -0.3173047]).unwrap();
        assert!((frame.tilt_deg() - 18.5).abs() < 1e-3);
        assert!(frame.is_axial());
    }

    /// Zero, long, skew and non-finite vectors are refused; cosines with two decimals are not.
    #[test]
    fn nonsense_is_refused() {
        for bad in [[0.0; 6], [2., 0., 0., 0., 1., 0.], [1., 0., 0., 0.5, 0.866, 0.], [f64::NAN, 0., 0., 0., 1., 0.], [f64::INFINITY; 6]] {
            assert_eq!(Frame::new(&bad).unwrap_err().kind(), ErrorKind::BadGeometry, "{bad:?}");
        }
        assert!(Frame::new(&[1.0, 0.0, 0.0, 0.0, 0.95, -0.32]).is_ok());
    }
}
