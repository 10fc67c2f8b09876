//! What a reader of the result should know about the series: never a refusal, always said.

use serde::Serialize;

/// The stable vocabulary of findings (spec: interface, "Finding codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FindingCode {
    /// Contrast medium was given; such series run only when named.
    Contrast,
    /// ImageType says DERIVED.
    Derived,
    /// Two slices at one position; one was kept.
    DuplicateSlice,
    /// The gantry was tilted against the table.
    GantryTilt,
    /// A localizer (scout) was dropped.
    LocalizerDropped,
    /// The pixels went through a lossy compression.
    Lossy,
    /// A step between slices is larger than 1.5 slice thicknesses.
    MissingSlice,
    /// Several orientations or matrix sizes in one series; the largest group was kept.
    MixedGeometry,
    /// Slice thickness changes inside the series.
    MixedThickness,
    /// PhotometricInterpretation is MONOCHROME1; values were read as HU all the same.
    Monochrome1,
    /// The images do not look like a head.
    NotHeadLike,
    /// Another series of the study was not used, and why.
    OtherSeries,
    /// PixelPaddingValue maps into tissue and was ignored.
    PaddingIgnored,
    /// Secondary captures (dose sheets and the like) were dropped.
    SecondaryDropped,
    /// The series has a single slice: no 3-D context.
    SingleSlice,
    /// Steps between slices differ by more than 1 %.
    UnevenSpacing,
    /// Values outside [-1024, 3071] HU were clamped.
    ValuesClamped,
}

impl FindingCode {
    /// The code written into results.
    pub fn code(self) -> &'static str {
        match self {
            Self::Contrast => "contrast",
            Self::Derived => "derived",
            Self::DuplicateSlice => "duplicate_slice",
            Self::GantryTilt => "gantry_tilt",
            Self::LocalizerDropped => "localizer_dropped",
            Self::Lossy => "lossy",
            Self::MissingSlice => "missing_slice",
            Self::MixedGeometry => "mixed_geometry",
            Self::MixedThickness => "mixed_thickness",
            Self::Monochrome1 => "monochrome1",
            Self::NotHeadLike => "not_head_like",
            Self::OtherSeries => "other_series",
            Self::PaddingIgnored => "padding_ignored",
            Self::SecondaryDropped => "secondary_dropped",
            Self::SingleSlice => "single_slice",
            Self::UnevenSpacing => "uneven_spacing",
            Self::ValuesClamped => "values_clamped",
        }
    }
}

impl Serialize for FindingCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// How much a finding matters for trust in the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// May change the result.
    Warning,
}

/// One finding; the message carries numbers and UIDs, never names or dates of a patient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The stable code.
    pub code: FindingCode,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence for a person.
    pub message: String,
}

impl Finding {
    /// A finding that is worth knowing.
    pub fn info(code: FindingCode, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Info, message: message.into() }
    }

    /// A finding that may change the result.
    pub fn warning(code: FindingCode, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Warning, message: message.into() }
    }
}
