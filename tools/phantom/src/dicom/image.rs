//! One CT image as a DICOM file.

use std::io;

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids as known};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use crate::math::V3;
use crate::rng::Rng;
use crate::scan::Scan;

use super::{Coding, Uids};

/// Where a slice lies in the patient's coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    /// Middle of the first pixel.
    pub(super) origin: [f64; 3],
    /// Direction of rows (increasing column).
    pub(super) row: V3,
    /// Direction of columns (increasing row).
    pub(super) col: V3,
    /// Slice normal.
    pub(super) normal: V3,
}

impl Place {
    /// The head lies somewhere on the table: its centre's patient coordinates follow from the seed.
    pub(super) fn of(scan: &Scan, index: usize) -> Self {
        let mut rng = Rng::new(scan.settings.seed, "table");
        let table = [0.0, f64::from(rng.range(-40.0, 10.0).round()), f64::from(rng.range(-300.0, 300.0).round())];
        let [row, col, normal] = scan.plan.axes();
        let middle = scan.plan.slice_middle(&scan.slices[index].plan);
        let half = (scan.settings.size as f32 - 1.0) / 2.0 * scan.pixel_mm();
        let corner = middle - row * half - col * half;
        let origin = [f64::from(corner.x) + table[0], f64::from(corner.y) + table[1], f64::from(corner.z) + table[2]];
        Self { origin: origin.map(|v| (v * 1e4).round() / 1e4), row, col, normal }
    }

    /// Distance along the slice normal.
    pub(super) fn along(&self) -> f64 {
        self.origin[0] * f64::from(self.normal.x) + self.origin[1] * f64::from(self.normal.y) + self.origin[2] * f64::from(self.normal.z)
    }
}

/// A data set under construction.
pub(super) struct Builder(pub(super) InMemDicomObject);

impl Builder {
    /// Sets a text element; `\` separates values.
    pub(super) fn text(&mut self, tag: Tag, vr: VR, value: &str) -> &mut Self {
        self.0.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
        self
    }

    /// Sets an element of 16-bit unsigned type.
    pub(super) fn short(&mut self, tag: Tag, value: u16) -> &mut Self {
        self.0.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
        self
    }

    /// Patient, study and equipment, which all files of a study share.
    pub(super) fn study(&mut self, scan: &Scan, uids: &Uids) -> &mut Self {
        let scanner = scan.plan.scanner.name();
        self.text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100")
            .text(tags::STUDY_DATE, VR::DA, "20200101")
            .text(tags::STUDY_TIME, VR::TM, "120000")
            .text(tags::ACCESSION_NUMBER, VR::SH, "")
            .text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "")
            .text(tags::STUDY_DESCRIPTION, VR::LO, "SYNTHETIC HEAD PHANTOM")
            .text(tags::MANUFACTURER, VR::LO, &format!("RADnet phantom ({scanner}-like)"))
            .text(tags::MANUFACTURER_MODEL_NAME, VR::LO, "radnet-phantom")
            .text(tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION"))
            .text(tags::PATIENT_NAME, VR::PN, "PHANTOM")
            .text(tags::PATIENT_ID, VR::LO, &format!("PHANTOM-{}", scan.settings.seed))
            .text(tags::PATIENT_BIRTH_DATE, VR::DA, "")
            .text(tags::PATIENT_SEX, VR::CS, "O")
            .text(tags::PATIENT_AGE, VR::AS, &format!("{:03}Y", scan.age.round() as u32))
            .text(tags::STUDY_INSTANCE_UID, VR::UI, &uids.study())
            .text(tags::STUDY_ID, VR::SH, "1")
            .text(tags::BODY_PART_EXAMINED, VR::CS, "HEAD")
    }

    /// The frame of reference that images of the head share.
    pub(super) fn frame(&mut self, uids: &Uids) -> &mut Self {
        self.text(tags::FRAME_OF_REFERENCE_UID, VR::UI, &uids.frame()).text(tags::POSITION_REFERENCE_INDICATOR, VR::LO, "OM")
    }

    /// Encodes the data set as an explicit little-endian file.
    pub(super) fn encode(self, class: &str, instance: &str) -> io::Result<Vec<u8>> {
        let Builder(mut object) = self;
        object.put(DataElement::new(tags::SOP_CLASS_UID, VR::UI, PrimitiveValue::from(class)));
        object.put(DataElement::new(tags::SOP_INSTANCE_UID, VR::UI, PrimitiveValue::from(instance)));
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(class)
            .media_storage_sop_instance_uid(instance)
            .transfer_syntax(known::EXPLICIT_VR_LITTLE_ENDIAN)
            .build()
            .map_err(io::Error::other)?;
        let mut bytes = Vec::new();
        object.with_exact_meta(meta).write_all(&mut bytes).map_err(io::Error::other)?;
        Ok(bytes)
    }
}

/// Encodes one slice.
pub(super) fn encode(scan: &Scan, index: usize, place: &Place, coding: &Coding, uids: &Uids, number: u32) -> io::Result<Vec<u8>> {
    let mut set = Builder(InMemDicomObject::new_empty());
    set.study(scan, uids).frame(uids);
    series(&mut set, scan, uids);
    acquisition(&mut set, scan, index, place, number);
    pixels(&mut set, scan, index, coding);
    set.encode(known::CT_IMAGE_STORAGE, &uids.instance(index))
}

fn series(set: &mut Builder, scan: &Scan, uids: &Uids) {
    set.text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL")
        .text(tags::SERIES_DATE, VR::DA, "20200101")
        .text(tags::SERIES_TIME, VR::TM, "120000")
        .text(tags::MODALITY, VR::CS, "CT")
        .text(tags::SERIES_DESCRIPTION, VR::LO, &format!("HEAD WITHOUT CONTRAST {}", scan.plan.kernel))
        .text(tags::PROTOCOL_NAME, VR::LO, "HEAD")
        .text(tags::PATIENT_POSITION, VR::CS, "HFS")
        .text(tags::SERIES_INSTANCE_UID, VR::UI, &uids.series())
        .text(tags::SERIES_NUMBER, VR::IS, "2");
}

fn acquisition(set: &mut Builder, scan: &Scan, index: usize, place: &Place, number: u32) {
    let plan = &scan.plan;
    let triple = |v: [f64; 3]| format!("{:.4}\\{:.4}\\{:.4}", v[0], v[1], v[2]);
    let (r, c) = (place.row, place.col);
    let direction = format!("{:.7}\\{:.7}\\{:.7}\\{:.7}\\{:.7}\\{:.7}", r.x, r.y, r.z, c.x, c.y, c.z).replace("-0.0000000", "0.0000000");
    set.text(tags::CONTENT_DATE, VR::DA, "20200101")
        .text(tags::CONTENT_TIME, VR::TM, "120000")
        .text(tags::ACQUISITION_NUMBER, VR::IS, "1")
        .text(tags::INSTANCE_NUMBER, VR::IS, &number.to_string())
        .text(tags::SLICE_THICKNESS, VR::DS, &format!("{:.2}", scan.slices[index].plan.thickness_mm))
        .text(tags::KVP, VR::DS, "120")
        .text(tags::DATA_COLLECTION_DIAMETER, VR::DS, "500")
        .text(tags::RECONSTRUCTION_DIAMETER, VR::DS, &format!("{:.1}", plan.fov_mm))
        .text(tags::GANTRY_DETECTOR_TILT, VR::DS, &format!("{:.1}", plan.tilt_deg))
        .text(tags::EXPOSURE_TIME, VR::IS, "1000")
        .text(tags::X_RAY_TUBE_CURRENT, VR::IS, "300")
        .text(tags::EXPOSURE, VR::IS, "300")
        .text(tags::CONVOLUTION_KERNEL, VR::SH, plan.kernel)
        .text(tags::IMAGE_POSITION_PATIENT, VR::DS, &triple(place.origin))
        .text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, &direction)
        .text(tags::SLICE_LOCATION, VR::DS, &format!("{:.3}", place.along()));
}

fn pixels(set: &mut Builder, scan: &Scan, index: usize, coding: &Coding) {
    let size = scan.settings.size;
    let spacing = format!("{0:.6}\\{0:.6}", scan.pixel_mm());
    set.short(tags::SAMPLES_PER_PIXEL, 1)
        .text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2")
        .short(tags::ROWS, size as u16)
        .short(tags::COLUMNS, size as u16)
        .text(tags::PIXEL_SPACING, VR::DS, &spacing)
        .short(tags::BITS_ALLOCATED, 16)
        .short(tags::BITS_STORED, coding.bits_stored)
        .short(tags::HIGH_BIT, coding.bits_stored - 1)
        .short(tags::PIXEL_REPRESENTATION, u16::from(coding.signed))
        .text(tags::BURNED_IN_ANNOTATION, VR::CS, "NO")
        .text(tags::WINDOW_CENTER, VR::DS, "40")
        .text(tags::WINDOW_WIDTH, VR::DS, "80")
        .text(tags::RESCALE_INTERCEPT, VR::DS, &coding.intercept.to_string())
        .text(tags::RESCALE_SLOPE, VR::DS, "1")
        .text(tags::RESCALE_TYPE, VR::LO, "HU");
    if let Some(padding) = coding.padding {
        set.0.put(DataElement::new(tags::PIXEL_PADDING_VALUE, VR::SS, PrimitiveValue::from(padding)));
    }
    let words = coding.stored(&scan.slices[index].hu, size);
    set.0.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(words.into())));
}
