//! From headers to an ordered scan: grouping, order, and every finding that geometry and tags give reason for.

#[path = "series/support.rs"]
mod support;

use radnet::dicom::DiscoverOptions;
use radnet::dicom::{arrange, header::SliceHeader};
use radnet::{FindingCode, Severity};
use std::path::Path;
use support::*;

/// Whatever order files come in, whatever their names and instance numbers say, the scan is the same.
#[test]
fn shuffled_input_gives_the_same_scan() {
    let mut dice = Dice(1);
    let tilted = [1.0, 0.0, 0.0, 0.0, 0.9483237, -0.3173047];
    let mut images = with(stack("1.2.3", 40), |h| h.image_orientation = Some(tilted));
    // Instance numbers run against the positions, two are missing, one slice is doubled, one is of another matrix.
    images.iter_mut().enumerate().for_each(|(i, h)| h.instance_number = Some(100 - i as i64));
    images[5].instance_number = None;
    images[9].instance_number = None;
    let mut twin = images[20].clone();
    twin.sop_instance_uid = "1.2.3.999".into();
    images.push(twin);
    let mut odd = images[3].clone();
    odd.rows = 32;
    images.push(odd);
    let uids = |images: Vec<SliceHeader>| {
        let series = read(images);
        let uids: Vec<String> = series.headers().iter().map(|h| h.sop_instance_uid.clone()).collect();
        (uids, heights(&series), series.findings().to_vec())
    };
    let expected = uids(images.clone());
    assert!(expected.1.is_sorted());
    for _ in 0..50 {
        dice.shuffle(&mut images);
        assert_eq!(uids(images.clone()), expected);
    }
}

/// A regular scan has nothing to say.
#[test]
fn a_clean_scan_has_no_findings() {
    let series = read(stack("1.2.3", 20));
    assert_eq!(series.findings(), []);
    assert_eq!(heights(&series), (0..20).map(|i| f64::from(i) * 5.0).collect::<Vec<_>>());
    assert_eq!((series.study_instance_uid(), series.series_instance_uid(), series.matrix()), ("1.2", "1.2.3", [64, 64]));
}

/// Feet first, seen from above, or with rows up: position always grows towards superior, and equals IPP · n.
#[test]
fn order_is_inferior_to_superior_for_every_axial_orientation() {
    for (i, j) in [(0, 1), (1, 0)] {
        for (si, sj) in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)] {
            let mut orientation = [0.0; 6];
            orientation[i] = si;
            orientation[3 + j] = sj;
            let series = read(with(stack("1.2.3", 7), |h| h.image_orientation = Some(orientation)));
            assert_eq!(heights(&series), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0], "{orientation:?}");
        }
    }
}

#[test]
fn a_transpose_swaps_the_matrix() {
    let images = with(stack("1.2.3", 3), |h| {
        h.image_orientation = Some([0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
        (h.rows, h.cols) = (48, 64);
    });
    assert_eq!(read(images).matrix(), [64, 48]);
}

#[test]
fn orientations_that_are_not_axial() {
    for orientation in [SAGITTAL, CORONAL] {
        let (code, message) = refusal(with(stack("1.2.3", 5), |h| h.image_orientation = Some(orientation)));
        assert_eq!(code, "not_axial");
        assert!(message.contains("1.2.3") && message.contains("90 degrees"), "{message}");
    }
    // |n_z| = 0.7 is the border: cos 45.57 degrees.
    for (degrees, usable) in [(45.5_f64, true), (45.7, false)] {
        let (s, c) = degrees.to_radians().sin_cos();
        let result = outcome(with(stack("1.2.3", 5), |h| h.image_orientation = Some([1.0, 0.0, 0.0, 0.0, c, s]))).result;
        assert_eq!(result.is_ok(), usable, "{degrees}");
    }
}

#[test]
fn geometry_that_makes_no_sense_names_the_tag() {
    type Damage = fn(&mut SliceHeader);
    let cases: [(&str, Damage); 6] = [
        ("(0020,0037)", |h| h.image_orientation = None),
        ("(0020,0037)", |h| h.image_orientation = Some([0.0; 6])),
        ("(0020,0037)", |h| h.image_orientation = Some([1.0, 0.0, 0.0, 0.7, 0.7, 0.0])),
        ("(0020,0037)", |h| h.image_orientation = Some([f64::NAN; 6])),
        ("(0020,0032)", |h| h.image_position = None),
        ("(0020,0032)", |h| h.image_position = Some([0.0, f64::INFINITY, 0.0])),
    ];
    for (tag, damage) in cases {
        // All slices, and one slice among good ones: it cannot be placed and must not vanish.
        let mut one = stack("1.2.3", 6);
        damage(&mut one[2]);
        for images in [with(stack("1.2.3", 6), damage), one] {
            let (code, message) = refusal(images);
            assert_eq!(code, "bad_geometry");
            assert!(message.contains(tag), "{message}");
        }
    }
}

/// A slice that is alone needs no position, but an orientation.
#[test]
fn a_single_slice() {
    let series = read(stack("1.2.3", 1));
    assert_eq!(codes(&series), [FindingCode::SingleSlice]);
    let series = read(with(stack("1.2.3", 1), |h| h.image_position = None));
    assert_eq!(series.positions_mm(), [None]);
    assert!(said(&series, FindingCode::SingleSlice).1.contains("no position"));
    assert_eq!(refusal(with(stack("1.2.3", 1), |h| h.image_orientation = None)).0, "bad_geometry");
}

/// Within 0.01 mm the lowest (InstanceNumber, SOP UID) stays; beyond, both do. A slice without a number comes last.
#[test]
fn duplicates() {
    let kept = |positions: &[f64], numbers: &[Option<i64>]| {
        let mut images = at("1.2.3", positions);
        images.iter_mut().zip(numbers).for_each(|(h, n)| h.instance_number = *n);
        let series = read(images);
        (series.headers().iter().map(|h| h.instance_number).collect::<Vec<_>>(), codes(&series).contains(&FindingCode::DuplicateSlice))
    };
    assert_eq!(kept(&[0.0, 5.0, 5.01, 10.0], &[Some(1), Some(9), Some(3), Some(4)]), (vec![Some(1), Some(3), Some(4)], true));
    assert_eq!(kept(&[0.0, 5.0, 5.02, 10.0], &[Some(1), Some(9), Some(3), Some(4)]).0.len(), 4);
    assert_eq!(kept(&[0.0, 5.0, 5.0, 10.0], &[Some(1), None, Some(3), Some(4)]), (vec![Some(1), Some(3), Some(4)], true));
    // Three in one place count as two dropped, and the same number falls back on the UID.
    let mut images = at("1.2.3", &[0.0, 5.0, 5.0, 5.0, 10.0]);
    for (h, uid) in images[1..4].iter_mut().zip(["1.2.3.c", "1.2.3.a", "1.2.3.b"]) {
        (h.instance_number, h.sop_instance_uid) = (Some(2), uid.into());
    }
    let series = read(images);
    assert_eq!(series.headers()[1].sop_instance_uid, "1.2.3.a");
    let (severity, message) = said(&series, FindingCode::DuplicateSlice);
    assert!(severity == Severity::Warning && message.starts_with("2 images"), "{message}");
}

/// The same object twice is a copy, not a conflict.
#[test]
fn copies_of_a_file_are_harmless() {
    let mut images = stack("1.2.3", 4);
    images.extend(stack("1.2.3", 4));
    let series = read(images);
    assert_eq!(series.headers().len(), 4);
    assert_eq!(said(&series, FindingCode::DuplicateSlice).0, Severity::Info);
}

/// A step above 1.5 × the larger thickness is a gap, other steps more than 1 % apart are uneven; each has its border.
#[test]
fn gaps_and_uneven_steps() {
    use FindingCode::{MissingSlice, UnevenSpacing};
    let found = |positions: &[f64]| codes(&read(at("1.2.3", positions)));
    assert_eq!(found(&[0.0, 5.0, 10.0, 20.0, 25.0]), [MissingSlice]);
    assert_eq!(found(&[0.0, 5.0, 10.0, 17.5, 22.5]), [UnevenSpacing]);
    assert_eq!(found(&[0.0, 5.0, 10.0, 17.51, 22.51]), [MissingSlice]);
    assert_eq!(found(&[0.0, 5.0, 10.05]), []);
    assert_eq!(found(&[0.0, 5.0, 10.06]), [UnevenSpacing]);
    assert_eq!(found(&[0.0, 5.0, 9.0, 19.0]), [MissingSlice, UnevenSpacing]);
    // The larger of the two thicknesses decides.
    let mut images = at("1.2.3", &[0.0, 5.0, 13.0]);
    images[2].slice_thickness_mm = Some(6.0);
    assert_eq!(codes(&read(images)), [UnevenSpacing, FindingCode::MixedThickness]);
    // Without thickness the typical step stands in.
    let unknown = |positions: &[f64]| codes(&read(with(at("1.2.3", positions), |h| h.slice_thickness_mm = None)));
    assert_eq!(unknown(&[0.0, 3.0, 6.0, 9.0, 18.0]), [MissingSlice]);
    assert_eq!(unknown(&[0.0, 3.0, 6.0, 9.0]), []);
    // Zero and NaN are no thickness.
    let nonsense = with(at("1.2.3", &[0.0, 3.0, 6.0]), |h| h.slice_thickness_mm = Some(f64::NAN));
    assert_eq!(codes(&read(nonsense)), []);
}

#[test]
fn thickness_changes() {
    let mut images = stack("1.2.3", 4);
    images[3].slice_thickness_mm = Some(5.04);
    assert_eq!(codes(&read(images.clone())), []);
    images[3].slice_thickness_mm = Some(4.0);
    assert!(said(&read(images), FindingCode::MixedThickness).1.contains("4 to 5 mm"));
}

/// The largest group stays, the rest is counted; a scout among the slices is told by its angle.
#[test]
fn mixed_geometry() {
    let mut images = stack("1.2.3", 8);
    images[6].rows = 128;
    images[7].image_orientation = Some([1.0, 0.0, 0.0, 0.0, 0.95, -0.3122]);
    let series = read(images);
    assert_eq!(series.headers().len(), 6);
    assert!(said(&series, FindingCode::MixedGeometry).1.starts_with("2 images"));

    let mut images = stack("1.2.3", 8);
    images.push(slice("1.2.3", 99, 0.0));
    images[8].image_orientation = Some(SAGITTAL);
    let series = read(images);
    assert_eq!((codes(&series), series.headers().len()), (vec![FindingCode::LocalizerDropped], 8));

    // An image of another matrix that says no geometry is a stray, too.
    let mut images = stack("1.2.3", 8);
    images[7].rows = 600;
    images[7].image_orientation = None;
    assert_eq!(codes(&read(images)), [FindingCode::MixedGeometry]);

    // Cosines written with fewer digits on some slices are the same orientation.
    let mut images = with(stack("1.2.3", 8), |h| h.image_orientation = Some([1.0, 0.0, 0.0, 0.0, 0.9483237, -0.3173047]));
    images[4].image_orientation = Some([1.0, 0.0, 0.0, 0.0, 0.948, -0.317]);
    assert_eq!(read(images).headers().len(), 8);

    // Equal groups: an axial one stays.
    let mut images = stack("1.2.3", 4);
    images[..2].iter_mut().for_each(|h| h.image_orientation = Some(CORONAL));
    assert_eq!(heights(&read(images)), [10.0, 15.0]);
}

/// A file set with an orientation for each image is refused, not compared quadratically.
#[test]
fn hundreds_of_orientations() {
    let mut images = stack("1.2.3", 500);
    for (i, h) in images.iter_mut().enumerate() {
        let (s, c) = (i as f64 * 0.01).sin_cos();
        h.image_orientation = Some([c, s, 0.0, -s, c, 0.0]);
    }
    assert_eq!(refusal(images).0, "bad_geometry");
}

#[test]
fn spacing_that_changes_inside_a_series() {
    let mut images = stack("1.2.3", 5);
    images[4].pixel_spacing_mm = Some([0.6, 0.6]);
    let series = read(images.clone());
    assert_eq!((codes(&series), series.headers().len()), (vec![FindingCode::MixedGeometry], 5));
    images[4].pixel_spacing_mm = None;
    assert!(said(&read(images), FindingCode::MixedGeometry).1.contains("missing on 1 of 5"));
    assert_eq!(codes(&read(with(stack("1.2.3", 5), |h| h.pixel_spacing_mm = None))), []);
}

/// Tilt comes from geometry; the tag is compared without its sign.
#[test]
fn gantry_tilt() {
    let tilted = |tag: Option<f64>| {
        with(stack("1.2.3", 5), |h| {
            h.image_orientation = Some([1.0, 0.0, 0.0, 0.0, 0.9483237, -0.3173047]);
            h.gantry_tilt_deg = tag;
        })
    };
    for tag in [Some(18.5), Some(-18.5), None] {
        let (severity, message) = said(&read(tilted(tag)), FindingCode::GantryTilt);
        assert!(severity == Severity::Info && message.contains("18.5 degrees") && message.contains("sheared"), "{message}");
    }
    let (severity, message) = said(&read(tilted(Some(10.0))), FindingCode::GantryTilt);
    assert!(severity == Severity::Warning && message.contains("says 10"), "{message}");
    // Only the tag speaks of tilt.
    let (severity, message) = said(&read(with(stack("1.2.3", 5), |h| h.gantry_tilt_deg = Some(15.0))), FindingCode::GantryTilt);
    assert!(severity == Severity::Warning && message.contains("not tilted"), "{message}");
    assert_eq!(codes(&read(with(stack("1.2.3", 5), |h| h.gantry_tilt_deg = Some(0.0)))), []);
    // Stacked along the normal: an oblique reformat, not sheared.
    let mut images = tilted(None);
    for (i, h) in images.iter_mut().enumerate() {
        h.image_position = Some([0.0, 0.3173047 * 5.0 * i as f64, 0.9483237 * 5.0 * i as f64]);
    }
    assert!(said(&read(images), FindingCode::GantryTilt).1.contains("along their normal"));
}

#[test]
fn origin_of_the_images() {
    let derived = with(stack("1.2.3", 5), |h| h.image_type[0] = "DERIVED".into());
    assert_eq!(codes(&read(derived)), [FindingCode::Derived]);
    let mut lossy = stack("1.2.3", 5);
    lossy[0].lossy = true;
    assert!(said(&read(lossy), FindingCode::Lossy).1.contains("1 of 5"));
}

#[test]
fn a_scan_that_is_too_large_is_refused_before_it_is_read() {
    let options = DiscoverOptions { max_volume_pixels: 5 * 64 * 64, ..DiscoverOptions::default() };
    let result = |n| arrange(Path::new("here"), stack("1.2.3", n), &options).remove(0).result;
    assert!(result(5).is_ok());
    let error = result(6).unwrap_err();
    assert_eq!(error.kind().code(), "too_large");
    let overflow = with(stack("1.2.3", 2), |h| (h.rows, h.cols) = (usize::MAX, usize::MAX));
    assert_eq!(refusal(overflow).0, "too_large");
}

/// Findings and errors of a series must not carry free text of the files, which may hold a name.
#[test]
fn free_text_is_not_repeated() {
    let secret = "DOE^JANE";
    let spoil = |h: &mut SliceHeader| {
        h.series_description = format!("{secret} C+ BONE");
        h.body_part = secret.into();
        h.manufacturer = secret.into();
    };
    let mut images = with(stack("1.2.4", 5), spoil);
    images.extend(with(stack("1.2.5", 5), |h| {
        spoil(h);
        h.image_orientation = None;
    }));
    assert!(!refusal(images.clone()).1.contains(secret));
    images.extend(stack("1.2.3", 5));
    let series = read(images);
    assert!(series.findings().iter().all(|f| !f.message.contains(secret)), "{:?}", series.findings());
}
