//! Every transfer syntax gives pydicom's Hounsfield units: the committed synthetic slices always, and with `RADNET_TRANSCODED` set to a
//! folder that tools/transcode/transcode.py has filled, a real slice and foreign files too.

use radnet::dicom::header::FileContent;
use radnet::dicom::{Limits, decode_slice, read_header};
use radnet::{ErrorKind, HuPixels};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Case {
    file: String,
    hu: String,
    /// Largest |ΔHU|: 0 for lossless; for lossy codecs what two decoders' roundings may differ by.
    tolerance: f32,
    transfer_syntax: String,
    note: String,
}

/// A NumPy file of version 1 with little-endian int16 or float32.
fn read_npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let header_end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..header_end]).unwrap();
    let data = &bytes[header_end..];
    if header.contains("'<i2'") {
        data.as_chunks().0.iter().map(|b| f32::from(i16::from_le_bytes(*b))).collect()
    } else {
        assert!(header.contains("'<f4'"), "{}: {header}", path.display());
        data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }
}

fn decode(path: &Path) -> radnet::Result<HuPixels> {
    let limits = Limits::default();
    match read_header(path, &limits) {
        FileContent::Image(header) => decode_slice(&header, &limits).map(|slice| slice.pixels),
        FileContent::NotAnImage(what) => panic!("{} is taken for {what}", path.display()),
        FileContent::Broken(error) => Err(error),
    }
}

/// The largest difference, or what went wrong.
fn compare(folder: &Path, case: &Case) -> Result<f32, String> {
    let pixels = decode(&folder.join(&case.file)).map_err(|e| format!("{}: {e}", e.kind().code()))?;
    let expected = read_npy(&folder.join(&case.hu));
    if pixels.len() != expected.len() {
        return Err(format!("{} pixels where {} belong", pixels.len(), expected.len()));
    }
    let worst = expected.iter().enumerate().map(|(i, e)| (pixels.hu(i) - e).abs()).fold(0.0, f32::max);
    if worst > case.tolerance { Err(format!("differs by {worst} HU, allowed {}", case.tolerance)) } else { Ok(worst) }
}

fn check_folder(folder: &Path) -> usize {
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    let mut worst: BTreeMap<&str, (usize, f32)> = BTreeMap::new();
    let mut failures = Vec::new();
    for case in &cases {
        match compare(folder, case) {
            Ok(difference) => {
                let row = worst.entry(&case.transfer_syntax).or_default();
                *row = (row.0 + 1, row.1.max(difference));
            }
            Err(what) => failures.push(format!("{} ({}, {}): {what}", case.file, case.transfer_syntax, case.note)),
        }
    }
    for (syntax, (files, difference)) in worst {
        eprintln!("{syntax:<24} {files:>3} files, largest |ΔHU| {difference}");
    }
    assert!(failures.is_empty(), "{} of {} files:\n{}", failures.len(), cases.len(), failures.join("\n"));
    cases.len()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/transfer")
}

#[test]
fn synthetic_slices_in_every_syntax() {
    assert!(check_folder(&fixtures()) >= 60);
}

#[test]
fn transcoded_slices_when_they_are_there() {
    match std::env::var_os("RADNET_TRANSCODED") {
        Some(folder) => drop(check_folder(Path::new(&folder))),
        None => eprintln!("skipped: RADNET_TRANSCODED names no folder filled by tools/transcode/transcode.py"),
    }
}

/// What is known by name but not read says so: UID and name, not "corrupt".
#[test]
fn unread_syntaxes_are_refused_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(fixtures().join("u12-j2k90.dcm")).unwrap();
    let at = bytes.windows(22).position(|w| w == b"1.2.840.10008.1.2.4.90").unwrap();
    for (uid, name) in
        [("1.2.840.10008.1.2.4.80", "JPEG-LS"), ("1.2.840.10008.1.2.4.92", "JPEG 2000 Part 2"), ("1.2.840.10008.1.2.4.99", "unknown")]
    {
        let mut other = bytes.clone();
        other[at..at + 22].copy_from_slice(uid.as_bytes());
        let path = scratch.path().join("slice.dcm");
        std::fs::write(&path, &other).unwrap();
        let error = decode(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedTransferSyntax);
        assert!(error.message().contains(uid) && error.message().contains(name), "{error}");
        assert_eq!(error.path(), Some(path.as_path()));
    }
}
