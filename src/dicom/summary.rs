//! What is known of a series before its pixels are read: for the choice among series, and for `radnet inspect`.

use super::group::rank;
use super::header::SliceHeader;
use super::hints::{self, BodyPart, Kernel};
use super::order::Stack;
use super::quality::{median, range, steps_mm, thickness_mm};
use crate::Finding;
use serde::Serialize;
use std::collections::BTreeSet;

/// What became of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SeriesState {
    /// It is the one that is read.
    Chosen,
    /// It could be read; another one was preferred.
    NotChosen,
    /// It could be read, but only when named: contrast medium was given, or its images are SECONDARY.
    OnlyWhenNamed,
    /// It holds only localizers.
    Localizer,
    /// It is not CT.
    NotCt,
    /// It cannot be used.
    Unusable,
}

/// One series, whether it is used or not. Text comes from the files as it stands there.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SeriesSummary {
    /// (0020,000E).
    pub series_instance_uid: String,
    /// (0020,0011).
    pub series_number: Option<i64>,
    /// What became of it.
    pub state: SeriesState,
    /// Why it was chosen or not; empty for the only one there was.
    pub reason: String,
    /// The stable code of the error, for an unusable one.
    pub error_code: Option<&'static str>,
    /// (0008,0060).
    pub modality: String,
    /// (0008,103E): a person's words; show it to who asked, put it into no log.
    pub description: String,
    /// (0018,0015).
    pub body_part: String,
    /// (0018,1210) values.
    pub convolution_kernel: Vec<String>,
    /// (0008,0008) values of the first image.
    pub image_type: Vec<String>,
    /// (0008,0070).
    pub manufacturer: String,
    /// (0002,0010), each once.
    pub transfer_syntax_uids: BTreeSet<String>,
    /// Images found.
    pub images: usize,
    /// Slices left after localizers, duplicates and strays were dropped.
    pub slices: usize,
    /// Rows of the stored slices.
    pub rows: usize,
    /// Columns of the stored slices.
    pub cols: usize,
    /// (0028,0030) [between rows, between columns] as stored.
    pub pixel_spacing_mm: Option<[f64; 2]>,
    /// [smallest, largest].
    pub slice_thickness_mm: Option<[f64; 2]>,
    /// [smallest, largest] distance between neighbours along the normal.
    pub step_mm: Option<[f64; 2]>,
    /// [lowest, highest] position along the normal.
    pub range_mm: Option<[f64; 2]>,
    /// Length of body covered: from the lowest to the highest position, and one slice.
    pub coverage_mm: Option<f64>,
    /// Unit direction of the slices' normal, towards superior.
    pub normal: Option<[f64; 3]>,
    /// Angle of the normal against the long axis.
    pub tilt_deg: Option<f64>,
    /// What its headers give reason to say.
    pub findings: Vec<Finding>,
    #[serde(skip)]
    pub(super) choice: ChoiceFacts,
}

/// What only the choice looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChoiceFacts {
    pub(super) body_part: BodyPart,
    pub(super) kernel: Kernel,
    pub(super) derived: bool,
    pub(super) thickness_mm: Option<f64>,
}

impl SeriesSummary {
    /// What the headers say without any order; `images` is not empty.
    pub(super) fn of_images(images: &[SliceHeader]) -> Self {
        let first = images.iter().min_by(|a, b| rank(a).cmp(&rank(b))).expect("a series is made from at least one image");
        Self {
            series_instance_uid: first.series_instance_uid.clone(),
            series_number: first.series_number,
            state: SeriesState::NotChosen,
            reason: String::new(),
            error_code: None,
            modality: first.modality.clone(),
            description: first.series_description.clone(),
            body_part: first.body_part.clone(),
            convolution_kernel: first.convolution_kernel.clone(),
            image_type: first.image_type.clone(),
            manufacturer: first.manufacturer.clone(),
            transfer_syntax_uids: images.iter().map(|h| h.transfer_syntax_uid.clone()).collect(),
            images: images.len(),
            slices: 0,
            rows: first.rows,
            cols: first.cols,
            pixel_spacing_mm: first.pixel_spacing_mm,
            slice_thickness_mm: range(images.iter().filter_map(thickness_mm)).map(|(a, b)| [a, b]),
            step_mm: None,
            range_mm: None,
            coverage_mm: None,
            normal: None,
            tilt_deg: None,
            findings: Vec::new(),
            choice: ChoiceFacts {
                body_part: hints::body_part(first),
                kernel: hints::kernel(first),
                derived: hints::is_derived(first),
                thickness_mm: median(images.iter().filter_map(thickness_mm)),
            },
        }
    }

    /// Adds what is known once the slices are in order.
    pub(super) fn with_stack(mut self, stack: &Stack, pixel_spacing_mm: Option<[f64; 2]>) -> Self {
        let first = &stack.headers[0];
        let steps = steps_mm(stack);
        self.slices = stack.headers.len();
        (self.rows, self.cols) = (first.rows, first.cols);
        self.pixel_spacing_mm = pixel_spacing_mm;
        self.slice_thickness_mm = range(stack.headers.iter().filter_map(thickness_mm)).map(|(a, b)| [a, b]);
        self.step_mm = range(steps.iter().copied()).map(|(a, b)| [a, b]);
        self.range_mm = range(stack.positions_mm.iter().copied().flatten()).map(|(a, b)| [a, b]);
        self.choice.thickness_mm = median(stack.headers.iter().filter_map(thickness_mm)).or(median(steps.into_iter()));
        self.choice.derived = stack.headers.iter().any(hints::is_derived);
        self.coverage_mm = self.range_mm.map(|[a, b]| b - a + self.choice.thickness_mm.unwrap_or(0.0));
        let n = stack.frame.normal;
        let length = n.iter().map(|v| v * v).sum::<f64>().sqrt();
        self.normal = Some(n.map(|v| v / length));
        self.tilt_deg = Some(stack.frame.tilt_deg());
        self
    }

    /// "series 1.2.3 (number 4, 28 slices of 5 mm)".
    pub(super) fn label(&self) -> String {
        let mut details = Vec::new();
        if let Some(number) = self.series_number {
            details.push(format!("number {number}"));
        }
        let thickness =
            self.choice.thickness_mm.map(|t| format!(" of {t:.4}")).map(|t| t.trim_end_matches('0').trim_end_matches('.').to_owned());
        match thickness {
            Some(t) if self.slices > 0 => details.push(format!("{} slice{}{t} mm", self.slices, if self.slices == 1 { "" } else { "s" })),
            _ => details.push(super::group::images(self.images)),
        }
        let uid = if self.series_instance_uid.is_empty() { "without a UID" } else { &self.series_instance_uid };
        format!("series {uid} ({})", details.join(", "))
    }
}
