//! DICOM files: slices of every transfer syntax, mutated in elements, nesting, fragments, codestreams and bytes.

mod bomb;
mod layout;
mod mutate;

use crate::drive::Outcome;
use crate::rng::Rng;
use layout::File;
use mutate::{mutate_bytes, mutate_file};
use radnet::HuPixels;
use radnet::dicom::header::{FileContent, SliceHeader};
use radnet::dicom::{Limits, decode_slice, read_header};
use std::path::{Path, PathBuf};

/// The slices of tests/transfer_syntaxes.rs.
const SLICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/transfer");

/// The fuzz target with the files it starts from, and the file it writes each input to.
pub(crate) struct Target {
    starts: Vec<File>,
    scratch: tempfile::TempDir,
    limits: Limits,
}

impl Target {
    /// The committed slices and those in `files`.
    pub(crate) fn new(files: &[PathBuf]) -> Result<Self, String> {
        let folder = std::fs::read_dir(SLICES).map_err(|e| format!("{SLICES}: {e}"))?;
        let mut paths: Vec<PathBuf> =
            folder.filter_map(|f| Some(f.ok()?.path())).filter(|p| p.extension().is_some_and(|e| e == "dcm")).collect();
        paths.sort();
        paths.extend_from_slice(files);
        let mut starts = Vec::new();
        for path in &paths {
            let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
            starts.push(File::split(&bytes).ok_or_else(|| format!("{}: not a valid start", path.display()))?);
        }
        // In memory where the system has such a place: overwriting a file on disk waits for the disk, every time.
        let memory = Path::new("/dev/shm");
        let scratch = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.map_err(|e| e.to_string())?;
        Ok(Self { starts, scratch, limits: Limits::default() })
    }

    /// Mutates one start by `seed` and reads it to the pixels.
    pub(crate) fn run(&self, seed: u64) -> Outcome {
        let rng = &mut Rng::new(seed);
        let mut file = rng.pick(&self.starts).clone();
        for _ in 0..=rng.below(3) {
            mutate_file(&mut file, rng);
        }
        let mut bytes = file.join();
        if rng.chance(30) {
            mutate_bytes(&mut bytes, rng);
        }
        let path = self.scratch.path().join("slice.dcm");
        std::fs::write(&path, &bytes).map_err(|e| e.to_string())?;
        self.read(&path)
    }

    fn read(&self, path: &Path) -> Outcome {
        let error = match read_header(path, &self.limits) {
            FileContent::NotAnImage("") => return Err("ignored without a reason".to_owned()),
            FileContent::NotAnImage(_) => return Ok("not an image"),
            FileContent::Broken(error) => error,
            FileContent::Image(header) => match decode_slice(&header, &self.limits) {
                Ok(slice) => return keeps_its_promises(&header, &slice.pixels).map(|()| "accepted"),
                Err(error) => error,
            },
        };
        if error.message().is_empty() || error.path() != Some(path) {
            return Err(format!("an error without a message or without its file: {error:?}"));
        }
        if error.message().contains("decoder failed") {
            return Err(format!("a panic inside a decoder, stopped at its last wall: {}", error.message()));
        }
        Ok(error.kind().code())
    }
}

/// What every accepted slice must be: complete, and in the range of the model format.
fn keeps_its_promises(header: &SliceHeader, pixels: &HuPixels) -> Result<(), String> {
    if pixels.len() != header.rows * header.cols {
        return Err(format!("{} pixels of {}×{}", pixels.len(), header.rows, header.cols));
    }
    match (0..pixels.len()).map(|i| pixels.hu(i)).find(|hu| !(-1024.0..=3071.0).contains(hu)) {
        Some(hu) => Err(format!("a pixel of {hu} HU")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_is_accepted_as_it_is() {
        let target = Target::new(&[]).unwrap();
        let path = target.scratch.path().join("slice.dcm");
        for file in &target.starts {
            std::fs::write(&path, file.join()).unwrap();
            assert_eq!(target.read(&path), Ok("accepted"));
        }
    }
}
