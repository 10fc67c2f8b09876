//! What is written can be read: DICOM series with their truth, and raw exports.

use std::collections::HashSet;

use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, open_file};
use radnet_phantom::dicom::Coding;
use radnet_phantom::export::export_scan;
use radnet_phantom::{BleedChoice, Kind, Scan, ScanTruth, Scanner, SeriesOptions, Settings, write_series, write_truth};

fn scan(scanner: Scanner) -> Scan {
    Scan::generate(&Settings {
        seed: 5,
        scanner: Some(scanner),
        bleed: BleedChoice::Of(Kind::Epidural),
        size: 64,
        max_slices: 7,
        ..Settings::default()
    })
}

fn numbers(object: &DefaultDicomObject, tag: dicom_core::Tag) -> Vec<f64> {
    object.element(tag).unwrap().to_multi_float64().unwrap()
}

/// Every scanner's files parse, their pixels and rescale give the scan's HU back, and positions are those of the truth.
#[test]
fn series_give_back_the_scan() {
    for scanner in Scanner::ALL {
        let dir = tempfile::tempdir().unwrap();
        let scan = scan(scanner);
        let truth = write_series(&scan, SeriesOptions::default(), dir.path()).unwrap();
        assert_eq!(truth.instances.len(), scan.slices.len());
        let padding = Coding::of(&scan).padding;
        for (slice, instance) in scan.slices.iter().zip(&truth.instances) {
            let object = open_file(dir.path().join(&instance.file)).unwrap();
            let signed = object.element(tags::PIXEL_REPRESENTATION).unwrap().to_int::<u16>().unwrap() == 1;
            let intercept = numbers(&object, tags::RESCALE_INTERCEPT)[0];
            let stored = object.element(tags::PIXEL_DATA).unwrap().to_multi_int::<u16>().unwrap();
            for (value, hu) in stored.iter().zip(&slice.hu) {
                if padding.is_some_and(|p| p as u16 == *value) {
                    continue;
                }
                let value = if signed { f64::from(*value as i16) } else { f64::from(*value) };
                assert_eq!(value + intercept, f64::from(*hu), "{scanner:?}");
            }
            let (o, p) = (numbers(&object, tags::IMAGE_ORIENTATION_PATIENT), numbers(&object, tags::IMAGE_POSITION_PATIENT));
            let normal = [o[1] * o[5] - o[2] * o[4], o[2] * o[3] - o[0] * o[5], o[0] * o[4] - o[1] * o[3]];
            let along: f64 = normal.iter().zip(&p).map(|(a, b)| a * b).sum();
            assert!((along - instance.position_mm).abs() < 1e-2);
        }
        assert!(truth.instances.windows(2).all(|w| w[0].position_mm < w[1].position_mm));
    }
}

/// Identifiers are valid, unique within a study, and those of another seed or other settings differ.
#[test]
fn identifiers_are_unique() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = HashSet::new();
    for (seed, scanner) in [(1, Scanner::Ge), (2, Scanner::Ge), (1, Scanner::Siemens)] {
        let scan = Scan::generate(&Settings { seed, scanner: Some(scanner), size: 32, max_slices: 3, ..Settings::default() });
        let truth = write_series(&scan, SeriesOptions::default(), dir.path()).unwrap();
        let uids = truth.instances.iter().map(|i| i.sop_instance_uid.clone()).chain([truth.study_instance_uid, truth.series_instance_uid]);
        for uid in uids {
            assert!(uid.starts_with("2.25.") && uid.len() <= 64 && !uid[5..].starts_with('0'), "{uid}");
            assert!(seen.insert(uid), "an identifier came twice");
        }
    }
}

/// The localizer says that it is one, the dose sheet that it is secondary, and nothing partial is left behind.
#[test]
fn extras_are_marked() {
    let dir = tempfile::tempdir().unwrap();
    let scan = scan(Scanner::Philips);
    write_series(&scan, SeriesOptions { localizer: true, junk: true }, dir.path()).unwrap();
    let kind = |name: &str| open_file(dir.path().join(name)).unwrap().element(tags::IMAGE_TYPE).unwrap().to_str().unwrap().to_string();
    assert!(kind("LOCALIZER").ends_with("LOCALIZER"));
    assert_eq!(kind("DOSE"), "DERIVED\\SECONDARY");
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), scan.slices.len() + 4);
    assert!(names.iter().all(|n| !n.starts_with(".partial")));
}

/// The truth folder holds the mask as NumPy reads it, and JSON that agrees with the scan.
#[test]
fn truth_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let scan = scan(Scanner::Toshiba);
    let truth = write_series(&scan, SeriesOptions::default(), &dir.path().join("series")).unwrap();
    write_truth(&scan, &truth, &dir.path().join("truth")).unwrap();
    let mask = std::fs::read(dir.path().join("truth/mask.npy")).unwrap();
    let header = usize::from(u16::from_le_bytes([mask[8], mask[9]]));
    assert_eq!((10 + header) % 64, 0);
    assert_eq!(mask[10 + header..], scan.slices.iter().flat_map(|s| s.mask.clone()).collect::<Vec<_>>());
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.path().join("truth/truth.json")).unwrap()).unwrap();
    assert_eq!(json["any"], scan.positive());
    assert_eq!(json["instances"].as_array().unwrap().len(), scan.slices.len());
}

/// An export holds what the scan holds, and replaces an earlier one whole.
#[test]
fn exports_hold_the_scan() {
    let dir = tempfile::tempdir().unwrap();
    let scan = scan(Scanner::Ge);
    export_scan(&scan, dir.path()).unwrap();
    export_scan(&scan, dir.path()).unwrap();
    let folder = dir.path().join("seed_00000005");
    let hu = std::fs::read(folder.join("hu.i16")).unwrap();
    let expected: Vec<u8> = scan.slices.iter().flat_map(|s| s.hu.iter().flat_map(|v| v.to_le_bytes())).collect();
    assert!(hu == expected);
    let meta: ScanTruth = serde_json::from_slice(&std::fs::read(folder.join("meta.json")).unwrap()).unwrap();
    assert_eq!(meta, ScanTruth::of(&scan));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
