//! A minimal writer of CT slices: explicit VR little endian, 16 bit.
#![allow(unreachable_pub, reason = "a module of test binaries")]

use std::path::Path;

/// What a slice says; the default is an upright axial slice of 64×64 whose pixels all hold its number.
pub struct Dicom<'a> {
    pub series: &'a str,
    pub number: i64,
    pub position: [f64; 3],
    pub orientation: [f64; 6],
    pub spacing: [f64; 2],
    pub rows: usize,
    pub cols: usize,
    /// As many numbers as pixels; an empty vector is filled with the slice's number.
    pub pixels: Option<Vec<i16>>,
    pub slope: &'a str,
}

impl Default for Dicom<'_> {
    fn default() -> Self {
        Self {
            series: "1.2.3",
            number: 1,
            position: [0.0; 3],
            orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            spacing: [0.5, 0.5],
            rows: 64,
            cols: 64,
            pixels: Some(Vec::new()),
            slope: "1",
        }
    }
}

pub fn write(path: &Path, d: &Dicom) {
    let class = "1.2.840.10008.5.1.4.1.1.2";
    let object = format!("{}.{}", d.series, d.number);
    let numbers = |v: &[f64]| v.iter().map(f64::to_string).collect::<Vec<_>>().join("\\");
    let mut meta = Vec::new();
    text(&mut meta, (0x0002, 0x0002), "UI", class);
    text(&mut meta, (0x0002, 0x0003), "UI", &object);
    text(&mut meta, (0x0002, 0x0010), "UI", "1.2.840.10008.1.2.1");
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    element(&mut out, (0x0002, 0x0000), "UL", &(meta.len() as u32).to_le_bytes());
    out.extend(meta);
    text(&mut out, (0x0008, 0x0008), "CS", "ORIGINAL\\PRIMARY\\AXIAL");
    text(&mut out, (0x0008, 0x0016), "UI", class);
    text(&mut out, (0x0008, 0x0018), "UI", &object);
    text(&mut out, (0x0008, 0x0060), "CS", "CT");
    text(&mut out, (0x0018, 0x0050), "DS", "5");
    text(&mut out, (0x0020, 0x000D), "UI", "1.2");
    text(&mut out, (0x0020, 0x000E), "UI", d.series);
    text(&mut out, (0x0020, 0x0013), "IS", &d.number.to_string());
    text(&mut out, (0x0020, 0x0032), "DS", &numbers(&d.position));
    text(&mut out, (0x0020, 0x0037), "DS", &numbers(&d.orientation));
    if let Some(pixels) = &d.pixels {
        let word = |out: &mut Vec<u8>, tag, v: u16| element(out, tag, "US", &v.to_le_bytes());
        word(&mut out, (0x0028, 0x0002), 1);
        text(&mut out, (0x0028, 0x0004), "CS", "MONOCHROME2");
        word(&mut out, (0x0028, 0x0010), d.rows as u16);
        word(&mut out, (0x0028, 0x0011), d.cols as u16);
        text(&mut out, (0x0028, 0x0030), "DS", &numbers(&d.spacing));
        word(&mut out, (0x0028, 0x0100), 16);
        word(&mut out, (0x0028, 0x0101), 16);
        word(&mut out, (0x0028, 0x0102), 15);
        word(&mut out, (0x0028, 0x0103), 1);
        text(&mut out, (0x0028, 0x1052), "DS", "0");
        text(&mut out, (0x0028, 0x1053), "DS", d.slope);
        let filled = vec![d.number as i16; d.rows * d.cols];
        let pixels = if pixels.is_empty() { &filled } else { pixels };
        assert_eq!(pixels.len(), d.rows * d.cols);
        let bytes: Vec<u8> = pixels.iter().flat_map(|v| v.to_le_bytes()).collect();
        out.extend([0xE0, 0x7F, 0x10, 0x00, b'O', b'W', 0, 0]);
        out.extend((bytes.len() as u32).to_le_bytes());
        out.extend(bytes);
    }
    std::fs::write(path, out).unwrap();
}

fn text(out: &mut Vec<u8>, tag: (u16, u16), vr: &str, value: &str) {
    let mut bytes = value.as_bytes().to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(if vr == "UI" { 0 } else { b' ' });
    }
    element(out, tag, vr, &bytes);
}

fn element(out: &mut Vec<u8>, tag: (u16, u16), vr: &str, value: &[u8]) {
    out.extend(tag.0.to_le_bytes());
    out.extend(tag.1.to_le_bytes());
    out.extend(vr.as_bytes());
    out.extend((value.len() as u16).to_le_bytes());
    out.extend(value);
}
