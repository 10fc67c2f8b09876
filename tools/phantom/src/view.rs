//! Contact sheets for people: brain or bone window, outlines of the masks.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use crate::scan::Scan;

/// Colours of the outlines by mask code: none, epidural, intraparenchymal, intraventricular, subarachnoid, subdural.
const COLOURS: [[u8; 3]; 6] = [[0, 0, 0], [255, 160, 0], [255, 60, 60], [90, 170, 255], [90, 255, 120], [255, 110, 255]];

/// How to draw a sheet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Middle of the window, HU.
    pub level: f32,
    /// Width of the window, HU.
    pub width: f32,
    /// Images per row.
    pub columns: usize,
    /// Whether to outline the masks.
    pub outline: bool,
}

impl Default for View {
    fn default() -> Self {
        Self { level: 40.0, width: 80.0, columns: 7, outline: true }
    }
}

/// Writes all slices of a scan as one PNG, inferior first.
///
/// # Errors
/// What the file system or the encoder reports.
pub fn write_sheet(scan: &Scan, view: &View, path: &Path) -> io::Result<()> {
    let n = scan.settings.size;
    let rows = scan.slices.len().div_ceil(view.columns);
    let (width, height) = (view.columns * n, rows * n);
    let mut pixels = vec![0u8; width * height * 3];
    for (index, slice) in scan.slices.iter().enumerate() {
        let (top, left) = (index / view.columns * n, index % view.columns * n);
        for i in 0..n {
            for j in 0..n {
                let grey = ((f32::from(slice.hu[i * n + j]) - view.level) / view.width + 0.5).clamp(0.0, 1.0) * 255.0;
                let colour = outline(&slice.mask, n, i, j).filter(|_| view.outline).unwrap_or([grey as u8; 3]);
                let at = ((top + i) * width + left + j) * 3;
                pixels[at..at + 3].copy_from_slice(&colour);
            }
        }
    }
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(io::Error::other)?;
    writer.write_image_data(&pixels).map_err(io::Error::other)?;
    writer.finish().map_err(io::Error::other)
}

/// The colour of a pixel just outside a mask.
fn outline(mask: &[u8], n: usize, i: usize, j: usize) -> Option<[u8; 3]> {
    if mask[i * n + j] != 0 {
        return None;
    }
    let neighbours =
        [(i > 0).then(|| (i - 1, j)), (i + 1 < n).then_some((i + 1, j)), (j > 0).then(|| (i, j - 1)), (j + 1 < n).then_some((i, j + 1))];
    neighbours.into_iter().flatten().map(|(a, b)| mask[a * n + b]).find(|c| *c != 0).map(|c| COLOURS[usize::from(c).min(5)])
}
