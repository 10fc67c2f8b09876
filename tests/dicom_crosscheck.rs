//! Our bounded header reader against `dicom-object`, an independent one, on every shipped DICOM file that it can open.

use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, OpenFileOptions, Tag};
use radnet::dicom::header::{FileContent, SliceHeader};
use radnet::dicom::{Limits, read_header};
use std::path::{Path, PathBuf};

fn dicom_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            dicom_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "dcm") {
            into.push(path);
        }
    }
    into.sort();
}

fn text(object: &DefaultDicomObject, tag: Tag) -> Option<String> {
    let value = object.element_opt(tag).unwrap()?.to_str().unwrap();
    Some(value.trim_matches(['\0', ' ']).to_owned()).filter(|t| !t.is_empty())
}

fn numbers<const N: usize>(object: &DefaultDicomObject, tag: Tag) -> Option<[f64; N]> {
    object.element_opt(tag).unwrap()?.to_multi_float64().ok()?.try_into().ok()
}

fn compare(ours: &SliceHeader, theirs: &DefaultDicomObject, path: &Path) {
    let name = path.display();
    let integer = |tag| theirs.element_opt(tag).unwrap().map(|e| e.to_int::<i64>().unwrap());
    assert_eq!(Some(ours.sop_instance_uid.clone()).filter(|u| !u.is_empty()), text(theirs, tags::SOP_INSTANCE_UID), "{name}");
    assert_eq!(Some(ours.series_instance_uid.clone()).filter(|u| !u.is_empty()), text(theirs, tags::SERIES_INSTANCE_UID), "{name}");
    assert_eq!(Some(ours.study_instance_uid.clone()).filter(|u| !u.is_empty()), text(theirs, tags::STUDY_INSTANCE_UID), "{name}");
    assert_eq!(ours.transfer_syntax_uid, theirs.meta().transfer_syntax().trim_end_matches('\0'), "{name}");
    assert_eq!((Some(ours.rows as i64), Some(ours.cols as i64)), (integer(tags::ROWS), integer(tags::COLUMNS)), "{name}");
    let format = &ours.pixels;
    assert_eq!(Some(i64::from(format.bits_allocated)), integer(tags::BITS_ALLOCATED), "{name}");
    assert_eq!(Some(i64::from(format.bits_stored)), integer(tags::BITS_STORED), "{name}");
    assert_eq!(Some(i64::from(format.signed)), integer(tags::PIXEL_REPRESENTATION), "{name}");
    assert_eq!(ours.image_position, numbers(theirs, tags::IMAGE_POSITION_PATIENT), "{name}");
    assert_eq!(ours.image_orientation, numbers(theirs, tags::IMAGE_ORIENTATION_PATIENT), "{name}");
    assert_eq!(ours.pixel_spacing_mm, numbers(theirs, tags::PIXEL_SPACING), "{name}");
    let rescale = format.rescale.as_ref().ok().map(|r| ([r.slope], [r.intercept]));
    assert_eq!(rescale.map(|r| r.0), numbers(theirs, tags::RESCALE_SLOPE), "{name}");
    assert_eq!(rescale.map(|r| r.1), numbers(theirs, tags::RESCALE_INTERCEPT), "{name}");
}

#[test]
fn headers_equal_those_of_dicom_object() {
    let mut files = Vec::new();
    dicom_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"), &mut files);
    let mut compared = 0;
    for path in &files {
        let FileContent::Image(ours) = read_header(path, &Limits::default()) else { continue };
        // Deflated and compressed syntaxes that its build here leaves out are passed over.
        let Ok(theirs) = OpenFileOptions::new().read_until(tags::PIXEL_DATA).open_file(path) else { continue };
        compare(&ours, &theirs, path);
        compared += 1;
    }
    assert!(compared > 80, "only {compared} of {} files were compared", files.len());
}
