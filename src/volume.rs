//! A scan in Hounsfield units: slices from inferior to superior, columns towards the patient's left, rows towards posterior.

/// Pixels of one slice, row-major, in HU within [-1024, 3071].
///
/// CT values are nearly always whole numbers; those are kept in 16 bits. A fractional rescale keeps float32.
#[derive(Clone, Debug, PartialEq)]
pub enum HuPixels {
    /// Whole Hounsfield units.
    Int(Vec<i16>),
    /// Fractional Hounsfield units.
    Float(Vec<f32>),
}

impl HuPixels {
    /// Number of pixels.
    pub fn len(&self) -> usize {
        match self {
            Self::Int(v) => v.len(),
            Self::Float(v) => v.len(),
        }
    }

    /// Whether there are no pixels.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The HU value at a row-major index.
    pub fn hu(&self, index: usize) -> f32 {
        match self {
            Self::Int(v) => f32::from(v[index]),
            Self::Float(v) => v[index],
        }
    }
}

/// One slice with what a result says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct HuSlice {
    /// `rows × cols` values, row-major.
    pub pixels: HuPixels,
    /// SOP instance UID, where the slice came from DICOM.
    pub sop_instance_uid: Option<String>,
    /// InstanceNumber, where present.
    pub instance_number: Option<i64>,
    /// ImagePositionPatient · slice normal, in mm.
    pub position_mm: Option<f64>,
}

/// A scan: at least one slice, all of `rows × cols`, inferior to superior.
#[derive(Clone, Debug, PartialEq)]
pub struct HuVolume {
    slices: Vec<HuSlice>,
    rows: usize,
    cols: usize,
    spacing_mm: Option<[f64; 2]>,
}

impl HuVolume {
    /// `spacing_mm` is [between rows (y), between columns (x)].
    ///
    /// # Errors
    /// `bad_geometry` when there is no slice, a side is 0, a slice has another number of pixels, or a spacing is not positive and finite.
    pub fn new(slices: Vec<HuSlice>, rows: usize, cols: usize, spacing_mm: Option<[f64; 2]>) -> crate::Result<Self> {
        let bad = |m: String| Err(crate::Error::new(crate::ErrorKind::BadGeometry, m));
        if slices.is_empty() || rows == 0 || cols == 0 {
            return bad(format!("a volume needs at least one pixel: {} slices of {rows}×{cols}", slices.len()));
        }
        if let Some((i, s)) = slices.iter().enumerate().find(|(_, s)| Some(s.pixels.len()) != rows.checked_mul(cols)) {
            return bad(format!("slice {i} has {} pixels, not {rows}×{cols}", s.pixels.len()));
        }
        if let Some(s) = spacing_mm.filter(|s| s.iter().any(|v| !(v.is_finite() && *v > 0.0))) {
            return bad(format!("pixel spacing {s:?} mm is not positive"));
        }
        Ok(Self { slices, rows, cols, spacing_mm })
    }

    /// The slices, inferior to superior.
    pub fn slices(&self) -> &[HuSlice] {
        &self.slices
    }

    /// Rows of each slice.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of each slice.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Distance in mm between [rows, columns], where known.
    pub fn spacing_mm(&self) -> Option<[f64; 2]> {
        self.spacing_mm
    }
}
