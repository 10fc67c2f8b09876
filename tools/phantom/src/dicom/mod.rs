//! Writes a scan as a DICOM series of CT images, with its truth in another folder.

mod coding;
mod extras;
mod image;
mod uid;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::export::ScanTruth;
use crate::rng::Rng;
use crate::scan::Scan;
use crate::scanner::Scanner;

pub use coding::Coding;
pub use uid::Uids;

/// What to write beside the slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeriesOptions {
    /// A lateral localizer, as a series of its own in the same study.
    pub localizer: bool,
    /// A dose sheet, a text file and a file that is no image.
    pub junk: bool,
}

/// One file of a written series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceTruth {
    /// Slice from inferior.
    pub index: usize,
    /// SOP instance UID.
    pub sop_instance_uid: String,
    /// InstanceNumber.
    pub instance_number: u32,
    /// File name.
    pub file: String,
    /// ImagePositionPatient · slice normal, mm.
    pub position_mm: f64,
}

/// `truth.json` of a written series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesTruth {
    /// Study instance UID.
    pub study_instance_uid: String,
    /// Series instance UID.
    pub series_instance_uid: String,
    /// Files, inferior to superior.
    pub instances: Vec<InstanceTruth>,
    /// What is known of the scan.
    #[serde(flatten)]
    pub scan: ScanTruth,
}

/// Writes the series into `dir` (made if missing). Each file appears whole or not at all.
///
/// # Errors
/// What the file system or the DICOM encoder reports.
pub fn write_series(scan: &Scan, options: SeriesOptions, dir: &Path) -> io::Result<SeriesTruth> {
    fs::create_dir_all(dir)?;
    let uids = Uids::of(scan);
    let coding = Coding::of(scan);
    let names = file_names(scan, &uids);
    let count = scan.slices.len();
    let mut instances = Vec::with_capacity(count);
    for (index, file) in names.into_iter().enumerate() {
        let from_top = matches!(scan.plan.scanner, Scanner::Philips | Scanner::Toshiba);
        let instance_number = if from_top { count - index } else { index + 1 } as u32;
        let place = image::Place::of(scan, index);
        let bytes = image::encode(scan, index, &place, &coding, &uids, instance_number)?;
        write_whole(&dir.join(&file), &bytes)?;
        instances.push(InstanceTruth { index, sop_instance_uid: uids.instance(index), instance_number, file, position_mm: place.along() });
    }
    if options.localizer {
        write_whole(&dir.join("LOCALIZER"), &extras::localizer(scan, &uids)?)?;
    }
    if options.junk {
        write_whole(&dir.join("DOSE"), &extras::dose_sheet(scan, &uids)?)?;
        write_whole(&dir.join("DIRFILE"), b"IMAGES 1 2 3\n")?;
        write_whole(&dir.join("notes.txt"), b"This is a text file between the images.\n")?;
    }
    Ok(SeriesTruth { study_instance_uid: uids.study(), series_instance_uid: uids.series(), instances, scan: ScanTruth::of(scan) })
}

/// Writes `truth.json` and `mask.npy` ([slices, rows, columns], uint8) into `dir` (made if missing).
///
/// # Errors
/// What the file system reports.
pub fn write_truth(scan: &Scan, truth: &SeriesTruth, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut json = serde_json::to_vec_pretty(truth).map_err(io::Error::other)?;
    json.push(b'\n');
    write_whole(&dir.join("truth.json"), &json)?;
    write_whole(&dir.join("mask.npy"), &npy(scan))
}

/// NumPy's format, version 1: a header padded to 64 bytes, then the values.
fn npy(scan: &Scan) -> Vec<u8> {
    let n = scan.settings.size;
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({}, {n}, {n}), }}", scan.slices.len());
    let padded = (10 + header.len() + 1).next_multiple_of(64);
    header.push_str(&" ".repeat(padded - 11 - header.len()));
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend_from_slice(&(header.len() as u16).to_le_bytes());
    out.extend_from_slice(header.as_bytes());
    scan.slices.iter().for_each(|s| out.extend_from_slice(&s.mask));
    out
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut partial = tempfile::Builder::new().prefix(".partial-").tempfile_in(dir)?;
    partial.write_all(bytes)?;
    partial.persist(path)?;
    Ok(())
}

/// File names in the scanner's habit, inferior to superior.
fn file_names(scan: &Scan, uids: &Uids) -> Vec<String> {
    let count = scan.slices.len();
    match scan.plan.scanner {
        Scanner::Ge => (0..count).map(|i| format!("{:02}.dcm", i + 1)).collect(),
        Scanner::Siemens => (0..count).map(|i| format!("IM-0001-{:04}.dcm", i + 1)).collect(),
        Scanner::Toshiba => (0..count).map(|i| format!("{}.dcm", uids.instance(i))).collect(),
        Scanner::Philips => {
            let mut order: Vec<usize> = (1..=count).collect();
            let mut rng = Rng::new(scan.settings.seed, "file names");
            for i in (1..count).rev() {
                order.swap(i, rng.below(i + 1));
            }
            order.into_iter().map(|k| format!("I{}0", k)).collect()
        }
    }
}
