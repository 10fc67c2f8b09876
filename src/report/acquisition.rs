//! How a scan was made, from its headers: what the results of a validation are broken down by. Nothing about the patient.

use crate::dicom::Series;

/// The scanner and its settings; null where the headers do not say.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Acquisition {
    /// (0008,0070).
    pub manufacturer: Option<String>,
    /// (0018,1210), its values joined by a backslash.
    pub kernel: Option<String>,
    /// (0018,0050), the median over the slices.
    pub thickness_mm: Option<f64>,
    /// (0018,1120), else the angle of the slices' normal against the long axis; never negative.
    pub tilt_deg: Option<f64>,
}

/// Longer text is no name of a manufacturer or kernel.
const MAX_CHARACTERS: usize = 64;

impl Acquisition {
    /// What the headers of a series say.
    pub fn of(series: &Series) -> Self {
        let headers = series.headers();
        let first = headers.first();
        let mut thickness: Vec<f64> = headers.iter().filter_map(|h| h.slice_thickness_mm).filter(|t| t.is_finite() && *t > 0.0).collect();
        thickness.sort_by(f64::total_cmp);
        let said = headers.iter().filter_map(|h| h.gantry_tilt_deg).find(|t| t.is_finite());
        let seen = first.and_then(|h| h.image_orientation).and_then(|o| tilt_of_rows_and_columns(&o));
        Self {
            manufacturer: first.and_then(|h| text(&h.manufacturer)),
            kernel: first.and_then(|h| text(&h.convolution_kernel.join("\\"))),
            thickness_mm: thickness.get(thickness.len().saturating_sub(1) / 2).copied(),
            tilt_deg: said.or(seen).map(f64::abs),
        }
    }
}

fn text(value: &str) -> Option<String> {
    let value: String = value.trim().chars().take(MAX_CHARACTERS).collect();
    Some(value).filter(|v| !v.is_empty())
}

/// Degrees between the normal of the plane and the long axis.
fn tilt_of_rows_and_columns(o: &[f64; 6]) -> Option<f64> {
    let normal = [o[1] * o[5] - o[2] * o[4], o[2] * o[3] - o[0] * o[5], o[0] * o[4] - o[1] * o[3]];
    let degrees = normal[0].hypot(normal[1]).atan2(normal[2].abs()).to_degrees();
    degrees.is_finite().then_some(degrees)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tilt_is_the_normals() {
        let (sin, cos) = 18.5_f64.to_radians().sin_cos();
        assert!((tilt_of_rows_and_columns(&[1.0, 0.0, 0.0, 0.0, cos, -sin]).unwrap() - 18.5).abs() < 1e-9);
        assert_eq!(tilt_of_rows_and_columns(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]), Some(0.0));
        assert_eq!(tilt_of_rows_and_columns(&[f64::NAN; 6]), None);
    }

    #[test]
    fn text_is_trimmed_and_bounded() {
        assert_eq!(text("  GE "), Some("GE".to_owned()));
        assert_eq!(text("  "), None);
        assert_eq!(text(&"x".repeat(200)).unwrap().len(), MAX_CHARACTERS);
    }
}
