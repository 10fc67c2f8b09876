//! The pictures and arrays of a small made-up scan.

use super::*;
use crate::model::config::{Channel, Window};
use crate::report::{ClassScore, PerClass, SliceResult, Timing};
use crate::volume::{HuPixels, HuSlice};
use std::sync::Arc;

const SLICES: usize = 9;

fn input(spacing_mm: Option<f64>) -> Input {
    let channel = Channel { slice_offset: 0, window: Window { level: 40.0, width: 80.0 } };
    Input { size: [64, 64], spacing_mm, outside_hu: -1000.0, channels: vec![channel], mean: vec![0.0], std: vec![1.0] }
}

/// A skull ring, brain and, on the middle slices, a bleed towards the patient's left.
fn volume() -> HuVolume {
    let (rows, cols) = (160, 128);
    let hu = |slice: usize, i: usize| {
        let (y, x) = ((i / cols) as f64 - 80.0, (i % cols) as f64 - 64.0);
        let r = (y / 72.0).hypot(x / 56.0);
        let bleed = (y + 10.0).hypot(x - 22.0) < 12.0 && (3..6).contains(&slice);
        match r {
            r if r > 1.0 => -1000,
            r if r > 0.92 => 900,
            _ if bleed => 70,
            _ => 32 + (i % 7) as i16,
        }
    };
    let slice = |s: usize| HuSlice {
        pixels: HuPixels::Int((0..rows * cols).map(|i| hu(s, i)).collect()),
        sop_instance_uid: Some(format!("1.2.{s}")),
        instance_number: Some(s as i64 + 1),
        position_mm: Some(s as f64 * 5.0 - 20.0),
    };
    HuVolume::new((0..SLICES).map(slice).collect(), rows, cols, Some([1.0, 1.0])).unwrap()
}

fn maps() -> ScanMaps {
    let blob = |n: usize, slice: usize| {
        let cell = move |i: usize| {
            let (y, x) = ((i / n) as f32 / n as f32 - 0.44, (i % n) as f32 / n as f32 - 0.67);
            if (3..6).contains(&slice) { (-(y * y + x * x) * 120.0).exp() } else { 0.02 }
        };
        (0..n * n).map(cell).collect::<Vec<f32>>()
    };
    ScanMaps {
        attention_extent: Some(Extent { height: 8, width: 8 }),
        attention: (0..SLICES).map(|s| [blob(8, s), blob(8, s)].concat()).collect(),
        segmentation_blocks: vec![1, 2],
        segmentation: (0..SLICES).map(|s| [vec![0.0; 64 * 64], blob(64, s)].concat()).collect(),
    }
}

fn study() -> StudyOk {
    let classes: Vec<Arc<str>> = vec!["any".into()];
    let slice = |index: usize| {
        let p = if (3..6).contains(&index) { 0.91 } else { 0.03 };
        SliceResult {
            index,
            sop_instance_uid: Some(format!("1.2.{index}")),
            instance_number: Some(index as i64 + 1),
            position_mm: Some(index as f64 * 5.0 - 20.0),
            probability: PerClass::new(&classes, [p]),
            logit: PerClass::new(&classes, [0.0]),
        }
    };
    StudyOk {
        study_instance_uid: None,
        series_instance_uid: Some("1.2.840.1".into()),
        source: "made up".into(),
        acquisition: crate::report::Acquisition::default(),
        scan: PerClass::new(&classes, [ClassScore { score: 0.91, positive: true, threshold: 0.5 }]),
        slices: (0..SLICES).map(slice).collect(),
        findings: Vec::new(),
        timing_ms: Timing::default(),
        maps: None,
    }
}

/// Every file is there under a name of its own, and nothing else.
#[test]
fn writes_every_file_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = MapWriter::new(&folder.path().join("new/maps")).unwrap();
    let first = writer.write(&volume(), &study(), &maps(), &input(None)).unwrap();
    let second = writer.write(&volume(), &study(), &maps(), &input(None)).unwrap();
    assert_eq!(first.overlays[3], "1.2.840.1_slice-003.png");
    assert_eq!(second.contact_sheet, "1.2.840.1-2_contact-sheet.png");
    let names = fs::read_dir(folder.path().join("new/maps")).unwrap().count();
    assert_eq!(names, 2 * (SLICES + 4));
    let attention = fs::read(folder.path().join("new/maps").join(first.attention.unwrap())).unwrap();
    assert_eq!(attention.len(), 128 + 4 * SLICES * 2 * 64);
}

/// A UID from a hostile file stays inside the folder.
#[test]
fn names_are_safe() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = MapWriter::new(folder.path()).unwrap();
    assert_eq!(writer.stem(Some("../../etc/passwd")), "_.._etc_passwd");
    assert_eq!(writer.stem(Some("...")), "series");
    assert_eq!(writer.stem(None), "series-2");
    assert!(writer.stem(Some(&"9".repeat(5000))).len() <= 64);
}

/// Heat is drawn where the map is hot and leaves the rest of the brain grey; outside the network's input there is none.
#[test]
fn heat_lies_where_the_map_is_hot() {
    let (volume, study, maps) = (volume(), study(), maps());
    let view = ScanView::new(&volume, &study, &maps, &input(None)).unwrap();
    let plain = view.panel(4, None, 160);
    let hot = view.panel(4, Some(&view.heats[0]), 160);
    assert_eq!((hot.height, hot.width), (160, 128));
    assert_ne!(plain.at(70, 86), hot.at(70, 86));
    assert_eq!(plain.at(70, 30), hot.at(70, 30));
    assert_eq!(view.panel(0, Some(&view.heats[0]), 160), view.panel(0, None, 160));
    let cropped = ScanView::new(&volume, &study, &maps, &input(Some(0.5))).unwrap();
    let (plain, hot) = (cropped.panel(4, None, 160), cropped.panel(4, Some(&cropped.heats[0]), 160));
    assert_eq!(plain.at(10, 64), hot.at(10, 64));
}

/// A model without maps still gets pictures.
#[test]
fn no_maps_still_draw() {
    let (volume, study) = (volume(), study());
    let view = ScanView::new(&volume, &study, &ScanMaps::default(), &input(None)).unwrap();
    assert!(view.heats.is_empty());
    assert_eq!(view.overlay(0).height, 512 + 56);
    assert!(view.contact_sheet().width > 100);
}
