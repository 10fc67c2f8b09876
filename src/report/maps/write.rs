//! The files of `--maps`.

use super::npy;
use super::overlay::ScanView;
use crate::backend::ScanMaps;
use crate::model::config::Input;
use crate::report::result::{MapFiles, to_json};
use crate::report::{StudyOk, atomic};
use crate::tensor::Extent;
use crate::volume::HuVolume;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Writes the maps of several studies into one folder, with names that never meet.
#[derive(Debug)]
pub struct MapWriter {
    folder: PathBuf,
    taken: HashSet<String>,
}

/// What the arrays mean: `geometry.json`.
#[derive(serde::Serialize)]
struct Geometry<'a> {
    schema: &'static str,
    series_instance_uid: Option<&'a str>,
    sop_instance_uids: Vec<Option<&'a str>>,
    slice: [usize; 2],
    spacing_mm: Option<[f64; 2]>,
    resized: [usize; 2],
    offset: [i64; 2],
    input: [usize; 2],
    attention: Option<[usize; 2]>,
    segmentation_blocks: &'a [usize],
}

impl MapWriter {
    /// Makes the folder where it is missing.
    ///
    /// # Errors
    /// `io`, naming the folder.
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        atomic::check_writable(&folder.join("contact-sheet.png"))?;
        Ok(Self { folder: folder.to_path_buf(), taken: HashSet::new() })
    }

    /// Draws and writes one study's maps on the current rayon pool, each file whole or not at all.
    ///
    /// # Errors
    /// `io`, naming the file; `bad_geometry`, as pre-processing would.
    pub fn write(&mut self, volume: &HuVolume, study: &StudyOk, maps: &ScanMaps, input: &Input) -> Result<MapFiles> {
        let stem = self.stem(study.series_instance_uid.as_deref());
        let view = ScanView::new(volume, study, maps, input)?;
        let digits = (study.slices.len().max(2) - 1).to_string().len().max(3);
        let files = MapFiles {
            contact_sheet: format!("{stem}_contact-sheet.png"),
            overlays: (0..study.slices.len()).map(|i| format!("{stem}_slice-{i:0digits$}.png")).collect(),
            attention: (!maps.attention.is_empty()).then(|| format!("{stem}_attention.npy")),
            segmentation: (!maps.segmentation.is_empty()).then(|| format!("{stem}_segmentation.npy")),
            geometry: format!("{stem}_geometry.json"),
        };
        files.overlays.par_iter().enumerate().try_for_each(|(i, name)| self.put(name, &view.overlay(i).to_png()?))?;
        self.put(&files.contact_sheet, &view.contact_sheet().to_png()?)?;
        if let (Some(name), Some(extent)) = (&files.attention, maps.attention_extent) {
            self.put(name, &array(&maps.attention, extent.height, extent.width))?;
        }
        if let Some(name) = &files.segmentation {
            self.put(name, &array(&maps.segmentation, input.size[0], input.size[1]))?;
        }
        self.put(&files.geometry, &to_json(&geometry(&view, maps))?)?;
        Ok(files)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        atomic::write(&self.folder.join(name), bytes)
    }

    /// The series UID as a file name; a second series of that name gets a number.
    fn stem(&mut self, uid: Option<&str>) -> String {
        let safe = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
        let name: String = uid.unwrap_or("series").chars().take(64).map(safe).collect();
        let name = name.trim_start_matches('.');
        let name = if name.is_empty() { "series" } else { name };
        let mut stem = name.to_owned();
        let mut number = 2;
        while !self.taken.insert(stem.clone()) {
            stem = format!("{name}-{number}");
            number += 1;
        }
        stem
    }
}

fn array(slices: &[Vec<f32>], height: usize, width: usize) -> Vec<u8> {
    let heads = slices[0].len() / (height * width);
    npy::encode(&[slices.len(), heads, height, width], slices.iter().map(Vec::as_slice))
}

fn geometry<'a>(view: &ScanView<'a>, maps: &'a ScanMaps) -> Geometry<'a> {
    let sides = |e: Extent| [e.height, e.width];
    let (rows, cols) = (view.frame.placement.rows, view.frame.placement.cols);
    Geometry {
        schema: "radnet-maps/1",
        series_instance_uid: view.study.series_instance_uid.as_deref(),
        sop_instance_uids: view.study.slices.iter().map(|s| s.sop_instance_uid.as_deref()).collect(),
        slice: sides(view.frame.slice()),
        spacing_mm: view.volume.spacing_mm(),
        resized: [rows.resized, cols.resized],
        offset: [rows.offset, cols.offset],
        input: sides(view.frame.input()),
        attention: maps.attention_extent.map(sides),
        segmentation_blocks: &maps.segmentation_blocks,
    }
}

#[cfg(test)]
mod tests;
