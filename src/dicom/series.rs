//! A series that is ready to be read: its slices in order, and the turn that brings them to the model's axes.

use super::decode_slice;
use super::header::SliceHeader;
use super::headlike;
use super::limits::Limits;
use super::orient::Turn;
use crate::volume::{HuPixels, HuSlice, HuVolume};
use crate::{Error, ErrorKind, Finding, Observer, Result};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// An axial CT series, validated by its headers; the pixels are read by [`Series::read`].
#[derive(Clone, Debug)]
pub struct Series {
    pub(super) source: PathBuf,
    pub(super) headers: Vec<SliceHeader>,
    pub(super) positions_mm: Vec<Option<f64>>,
    pub(super) turn: Turn,
    /// As stored: [between rows, between columns].
    pub(super) pixel_spacing_mm: Option<[f64; 2]>,
    pub(super) findings: Vec<Finding>,
    pub(super) limits: Limits,
}

/// A series in Hounsfield units, with everything there is to say about it.
#[derive(Clone, Debug)]
pub struct DecodedSeries {
    /// The scan, inferior to superior, in the model's axes.
    pub volume: HuVolume,
    /// Findings of the headers, of the pixels and of the image as a whole, each code once or a few times.
    pub findings: Vec<Finding>,
}

impl Series {
    /// The slices, inferior to superior.
    pub fn headers(&self) -> &[SliceHeader] {
        &self.headers
    }

    /// Position of each slice along the normal, in mm; none for a slice that is alone and does not say.
    pub fn positions_mm(&self) -> &[Option<f64>] {
        &self.positions_mm
    }

    /// (0020,000D).
    pub fn study_instance_uid(&self) -> &str {
        self.headers.first().map_or("", |h| &h.study_instance_uid)
    }

    /// (0020,000E).
    pub fn series_instance_uid(&self) -> &str {
        self.headers.first().map_or("", |h| &h.series_instance_uid)
    }

    /// The PATH the series was found under.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// What the headers give reason to say, including about the series that were not used.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// [rows, columns] of the volume that [`Series::read`] gives.
    pub fn matrix(&self) -> [usize; 2] {
        self.headers.first().map_or([0, 0], |h| self.turn.pair([h.rows, h.cols]))
    }

    /// Decodes every slice on `pool`, turns it to the model's axes and checks whether the images look like a head.
    ///
    /// # Errors
    /// That of the lowest slice that cannot be decoded, naming its file: a scan with a slice left out would be incomplete without saying so.
    /// `cancelled` when the observer asks for it.
    pub fn read(&self, pool: &rayon::ThreadPool, observer: &dyn Observer) -> Result<DecodedSeries> {
        let total = self.headers.len();
        let done = AtomicUsize::new(0);
        // Slices above the lowest failure need not be decoded, and the error does not depend on timing.
        let lowest_failure = AtomicUsize::new(usize::MAX);
        let decode = |(index, header): (usize, &SliceHeader)| -> Option<Result<(HuSlice, Vec<Finding>)>> {
            if index > lowest_failure.load(Ordering::Relaxed) || observer.cancelled() {
                return None;
            }
            let slice = self.slice(index, header);
            match &slice {
                Err(_) => {
                    lowest_failure.fetch_min(index, Ordering::Relaxed);
                }
                Ok(_) => observer.slices_decoded(done.fetch_add(1, Ordering::Relaxed) + 1, total),
            }
            Some(slice)
        };
        let decoded: Vec<_> = pool.install(|| self.headers.par_iter().enumerate().with_max_len(1).map(decode).collect());
        let mut slices = Vec::with_capacity(total);
        let mut per_slice = Vec::new();
        for result in decoded {
            let (slice, findings) = result.ok_or_else(|| Error::new(ErrorKind::Cancelled, "reading the series was cancelled"))??;
            slices.push(slice);
            per_slice.extend(findings);
        }
        let [rows, cols] = self.matrix();
        let volume = HuVolume::new(slices, rows, cols, self.pixel_spacing_mm.map(|s| self.turn.pair(s)))?;
        let mut findings = self.findings.clone();
        per_slice.retain(|f| !self.findings.iter().any(|said| said.code == f.code));
        findings.extend(merged(per_slice, total));
        findings.extend(headlike::check(&volume, pool));
        Ok(DecodedSeries { volume, findings })
    }

    fn slice(&self, index: usize, header: &SliceHeader) -> Result<(HuSlice, Vec<Finding>)> {
        let decoded = decode_slice(header, &self.limits).map_err(|e| header.blame(e))?;
        let pixels: HuPixels = decoded.pixels;
        if Some(pixels.len()) != header.rows.checked_mul(header.cols) {
            let message = format!("{} pixels were decoded, not {}×{}", pixels.len(), header.rows, header.cols);
            return Err(header.blame(Error::new(ErrorKind::CorruptFile, message)));
        }
        let slice = HuSlice {
            pixels: self.turn.apply(pixels, header.rows, header.cols),
            sop_instance_uid: Some(header.sop_instance_uid.clone()).filter(|uid| !uid.is_empty()),
            instance_number: header.instance_number,
            position_mm: self.positions_mm[index],
        };
        Ok((slice, decoded.findings))
    }
}

/// Findings of single slices, one for each code and severity: the first one's words, and how many slices share it.
fn merged(per_slice: Vec<Finding>, total: usize) -> Vec<Finding> {
    let mut out: Vec<(Finding, usize)> = Vec::new();
    for finding in per_slice {
        match out.iter_mut().find(|(f, _)| f.code == finding.code && f.severity == finding.severity) {
            Some((_, n)) => *n += 1,
            None => out.push((finding, 1)),
        }
    }
    let say = |(mut finding, n): (Finding, usize)| {
        if total > 1 {
            finding.message = format!("{} ({n} of {total} slices)", finding.message);
        }
        finding
    };
    out.into_iter().map(say).collect()
}
