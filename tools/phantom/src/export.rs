//! Raw arrays for training: `hu.i16`, `mask.u8` and `meta.json` per scan.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::lesions::Kind;
use crate::scan::{MIN_LABEL_AREA_MM2, Scan};

/// One slice in `meta.json` and in truth files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SliceTruth {
    /// Place in the series, from inferior; with gaps where only a sample of the slices was rendered.
    pub index: usize,
    /// Distance along the slice normal from the head's centre, mm.
    pub position_mm: f32,
    /// Thickness, mm.
    pub thickness_mm: f32,
    /// Whether any type is labelled.
    pub any: bool,
    /// Labelled types.
    pub types: Vec<Kind>,
    /// Mask area per type in mm², codes 1 to 5.
    pub area_mm2: [f32; 5],
}

/// `meta.json`: all that is known of a scan but its arrays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScanTruth {
    /// `radnet-phantom/1`.
    pub format: String,
    /// Seed.
    pub seed: u64,
    /// Whether it comes from the held-out distribution.
    pub shift: bool,
    /// [slices, rows, columns] of both arrays.
    pub shape: [usize; 3],
    /// [rows, columns] spacing, mm.
    pub pixel_spacing_mm: [f32; 2],
    /// Scanner whose habits the series follows.
    pub scanner: String,
    /// Kernel name.
    pub kernel: String,
    /// Gantry tilt in degrees.
    pub tilt_deg: f32,
    /// Age in years.
    pub age: f32,
    /// Names of the mask's codes, from 1.
    pub codes: [Kind; 5],
    /// Area from which a slice is labelled.
    pub min_label_area_mm2: f32,
    /// Whether any rendered slice is labelled.
    pub any: bool,
    /// Types labelled in any rendered slice.
    pub types: Vec<Kind>,
    /// Per slice, inferior to superior.
    pub slices: Vec<SliceTruth>,
}

impl ScanTruth {
    /// The truth of a generated scan.
    pub fn of(scan: &Scan) -> Self {
        let slices: Vec<SliceTruth> = scan
            .slices
            .iter()
            .map(|s| {
                let types: Vec<Kind> = s.labels().collect();
                SliceTruth {
                    index: s.index,
                    position_mm: s.plan.along_mm,
                    thickness_mm: s.plan.thickness_mm,
                    any: !types.is_empty(),
                    types,
                    area_mm2: s.area_mm2,
                }
            })
            .collect();
        let types = Kind::ALL.into_iter().filter(|k| slices.iter().any(|s| s.types.contains(k))).collect::<Vec<_>>();
        Self {
            format: "radnet-phantom/1".into(),
            seed: scan.settings.seed,
            shift: scan.settings.shift,
            shape: [scan.slices.len(), scan.settings.size, scan.settings.size],
            pixel_spacing_mm: [scan.pixel_mm(); 2],
            scanner: scan.plan.scanner.name().into(),
            kernel: scan.plan.kernel.into(),
            tilt_deg: scan.plan.tilt_deg,
            age: scan.age.round(),
            codes: Kind::ALL,
            min_label_area_mm2: MIN_LABEL_AREA_MM2,
            any: !types.is_empty(),
            types,
            slices,
        }
    }
}

/// Writes `hu.i16` (little endian), `mask.u8` and `meta.json` of a scan into `dir/seed_NNNNNNNN`; the folder appears complete or not at all.
///
/// # Errors
/// What the file system reports; an existing folder of that name is replaced.
pub fn export_scan(scan: &Scan, dir: &Path) -> io::Result<()> {
    let name = format!("seed_{:08}", scan.settings.seed);
    let partial = tempfile::Builder::new().prefix(".partial-").tempdir_in(dir)?;
    let hu: Vec<u8> = scan.slices.iter().flat_map(|s| s.hu.iter().flat_map(|v| v.to_le_bytes())).collect();
    let mask: Vec<u8> = scan.slices.iter().flat_map(|s| s.mask.iter().copied()).collect();
    fs::write(partial.path().join("hu.i16"), hu)?;
    fs::write(partial.path().join("mask.u8"), mask)?;
    let mut meta = fs::File::create(partial.path().join("meta.json"))?;
    serde_json::to_writer_pretty(&mut meta, &ScanTruth::of(scan)).map_err(io::Error::other)?;
    meta.write_all(b"\n")?;
    let target = dir.join(name);
    match fs::remove_dir_all(&target) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fs::rename(partial.keep(), target)
}
