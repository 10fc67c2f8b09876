//! What else lies in the folder of a study: a localizer, a dose sheet.

use std::io;

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids as known};
use dicom_object::InMemDicomObject;

use crate::scan::Scan;

use super::Uids;
use super::image::{Builder, Place};

/// Rows of the localizer, one per mm from the top down.
const LOCALIZER_ROWS: usize = 256;

/// A lateral scout: mean density along the patient's left-right axis.
pub(super) fn localizer(scan: &Scan, uids: &Uids) -> io::Result<Vec<u8>> {
    let size = scan.settings.size;
    let top = Place::of(scan, scan.slices.len() - 1).origin[2] + 20.0;
    let heights: Vec<f64> = (0..scan.slices.len()).map(|i| Place::of(scan, i).origin[2]).collect();
    let mut values = vec![0u16; LOCALIZER_ROWS * size];
    for (row, line) in values.chunks_mut(size).enumerate() {
        let z = top - row as f64;
        let nearest = (0..heights.len()).min_by(|a, b| (heights[*a] - z).abs().total_cmp(&(heights[*b] - z).abs()));
        let Some(index) = nearest.filter(|&i| (heights[i] - z).abs() <= f64::from(scan.slices[i].plan.thickness_mm) * 2.0) else {
            continue;
        };
        for (y, v) in line.iter_mut().enumerate() {
            let hu = &scan.slices[index].hu[y * size..(y + 1) * size];
            let sum: i32 = hu.iter().map(|h| (i32::from(*h) + 1000).max(0)).sum();
            *v = (sum / size as i32).clamp(0, 4095) as u16;
        }
    }
    let mut set = Builder(InMemDicomObject::new_empty());
    let start = Place::of(scan, 0).origin;
    set.study(scan, uids)
        .frame(uids)
        .text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER")
        .text(tags::MODALITY, VR::CS, "CT")
        .text(tags::SERIES_DATE, VR::DA, "20200101")
        .text(tags::SERIES_TIME, VR::TM, "115900")
        .text(tags::SERIES_DESCRIPTION, VR::LO, "SCOUT")
        .text(tags::PATIENT_POSITION, VR::CS, "HFS")
        .text(tags::SERIES_INSTANCE_UID, VR::UI, &uids.derive("localizer series"))
        .text(tags::SERIES_NUMBER, VR::IS, "1")
        .text(tags::ACQUISITION_NUMBER, VR::IS, "1")
        .text(tags::INSTANCE_NUMBER, VR::IS, "1")
        .text(tags::SLICE_THICKNESS, VR::DS, "200")
        .text(tags::KVP, VR::DS, "120")
        .text(tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("0\\{:.4}\\{:.4}", start[1], top))
        .text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "0\\1\\0\\0\\0\\-1")
        .text(tags::PIXEL_SPACING, VR::DS, &format!("1\\{:.6}", scan.pixel_mm()))
        .text(tags::RESCALE_INTERCEPT, VR::DS, "-1000")
        .text(tags::RESCALE_SLOPE, VR::DS, "1")
        .text(tags::RESCALE_TYPE, VR::LO, "US");
    grey(&mut set, LOCALIZER_ROWS, size, 12, values);
    set.encode(known::CT_IMAGE_STORAGE, &uids.derive("localizer"))
}

/// A dose sheet: a secondary capture that calls itself CT.
pub(super) fn dose_sheet(scan: &Scan, uids: &Uids) -> io::Result<Vec<u8>> {
    let (rows, cols) = (64, 96);
    let values = (0..rows * cols).map(|i| if (i / cols) % 8 < 4 && (i % cols * 7 + i / cols / 8 * 5) % 11 < 6 { 255 } else { 0 }).collect();
    let mut set = Builder(InMemDicomObject::new_empty());
    set.study(scan, uids)
        .text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY")
        .text(tags::MODALITY, VR::CS, "CT")
        .text(tags::CONVERSION_TYPE, VR::CS, "WSD")
        .text(tags::SERIES_DATE, VR::DA, "20200101")
        .text(tags::SERIES_TIME, VR::TM, "120100")
        .text(tags::SERIES_DESCRIPTION, VR::LO, "DOSE REPORT")
        .text(tags::PATIENT_ORIENTATION, VR::CS, "")
        .text(tags::SERIES_INSTANCE_UID, VR::UI, &uids.derive("dose series"))
        .text(tags::SERIES_NUMBER, VR::IS, "999")
        .text(tags::INSTANCE_NUMBER, VR::IS, "1");
    grey(&mut set, rows, cols, 8, values);
    set.encode(known::SECONDARY_CAPTURE_IMAGE_STORAGE, &uids.derive("dose sheet"))
}

fn grey(set: &mut Builder, rows: usize, cols: usize, bits: u16, values: Vec<u16>) {
    set.short(tags::SAMPLES_PER_PIXEL, 1)
        .text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2")
        .short(tags::ROWS, rows as u16)
        .short(tags::COLUMNS, cols as u16)
        .short(tags::BITS_ALLOCATED, 16)
        .short(tags::BITS_STORED, bits)
        .short(tags::HIGH_BIT, bits - 1)
        .short(tags::PIXEL_REPRESENTATION, 0);
    set.0.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(values.into())));
}
