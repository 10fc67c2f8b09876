//! Which series of a study is read, why, and what a study without one says.

#[path = "series/support.rs"]
mod support;

use radnet::dicom::header::SliceHeader;
use radnet::dicom::{DiscoverOptions, SeriesState, StudyOutcome, arrange, choice_rules};
use radnet::{FindingCode, Severity};
use std::path::Path;
use support::*;

fn kernel(name: &'static str, thickness: f64) -> impl Fn(&mut SliceHeader) {
    move |h| {
        h.convolution_kernel = vec![name.into()];
        h.slice_thickness_mm = Some(thickness);
    }
}

fn study(series: Vec<Vec<SliceHeader>>) -> StudyOutcome {
    outcome(series.into_iter().flatten().collect())
}

fn chosen(outcome: &StudyOutcome) -> &str {
    outcome.result.as_ref().expect("a series is chosen").series_instance_uid()
}

fn reason(outcome: &StudyOutcome, series: &str) -> String {
    outcome.series.iter().find(|s| s.series_instance_uid == series).expect("the series is listed").reason.clone()
}

/// Each rule, with everything that a later rule would prefer given to the other series: the earlier rule must win.
#[test]
fn each_rule_beats_the_ones_after_it() {
    let part = |text: &'static str| move |h: &mut SliceHeader| h.body_part = text.into();
    let contenders: Vec<(&str, Vec<SliceHeader>, Vec<SliceHeader>)> = vec![
        ("another part", with(with(stack("1.2.9", 20), kernel("BONE", 9.0)), |h| h.image_type[0] = "DERIVED".into()), {
            with(stack("1.2.1", 20), part("CHEST"))
        }),
        ("fragment", with(stack("1.2.9", 30), kernel("BONE", 9.0)), with(stack("1.2.1", 2), kernel("SOFT", 5.0))),
        ("ORIGINAL", with(stack("1.2.9", 20), kernel("BONE", 5.0)), {
            with(with(stack("1.2.1", 20), kernel("SOFT", 5.0)), |h| h.image_type[0] = "DERIVED".into())
        }),
        ("kernel", with(stack("1.2.9", 20), kernel("H31s", 1.0)), with(stack("1.2.1", 20), kernel("H60s", 5.0))),
        ("2.5 to 5 mm", stack("1.2.9", 20), with(with(stack("1.2.1", 40), kernel("", 1.0)), part("HEAD"))),
        ("labelled as a head", with(stack("1.2.9", 20), part("BRAIN")), stack("1.2.1", 30)),
        ("more of the body", stack("1.2.9", 20), with(stack("1.2.1", 20), |h| h.image_position.as_mut().unwrap()[2] *= 0.5)),
        ("more slices", at("1.2.9", &[0.0, 2.5, 5.0, 7.5, 10.0]), at("1.2.1", &[0.0, 5.0, 10.0])),
        ("series number", with(stack("1.2.9", 20), |h| h.series_number = Some(1)), with(stack("1.2.1", 20), |h| h.series_number = Some(2))),
        ("UID", with(stack("1.2.1", 20), |h| h.series_number = None), with(stack("1.2.9", 20), |h| h.series_number = None)),
    ];
    assert_eq!(contenders.len(), choice_rules().count());
    for ((words, winner, loser), rule) in contenders.into_iter().zip(choice_rules()) {
        assert!(rule.contains(words), "{rule} is not the rule tried by {words}");
        let (wins, loses) = (winner[0].series_instance_uid.clone(), loser[0].series_instance_uid.clone());
        for order in [vec![winner.clone(), loser.clone()], vec![loser, winner]] {
            let outcome = study(order);
            assert_eq!(chosen(&outcome), wins, "{words}");
            assert!(reason(&outcome, &loses).contains(words), "{words}: {}", reason(&outcome, &loses));
        }
    }
}

/// A usual study: scout, 5 mm brain, 0.625 mm brain, bone, dose sheet, coronal reformat, contrast phase, MR.
#[test]
fn a_usual_study() {
    let outcome = study(vec![
        with(stack("1.2.1", 2), |h| h.image_type[2] = "LOCALIZER".into()),
        with(stack("1.2.4", 60), kernel("STANDARD", 0.625)),
        with(stack("1.2.2", 30), kernel("STANDARD", 5.0)),
        with(stack("1.2.3", 30), kernel("BONEPLUS", 5.0)),
        with(stack("1.2.5", 1), |h| h.image_type = vec!["DERIVED".into(), "SECONDARY".into()]),
        with(stack("1.2.6", 30), |h| h.image_orientation = Some(CORONAL)),
        with(stack("1.2.7", 30), |h| h.contrast = true),
        with(stack("1.2.8", 30), |h| h.modality = "MR".into()),
    ]);
    assert_eq!(chosen(&outcome), "1.2.2");
    let series = outcome.result.as_ref().unwrap();
    let expected = [
        ("1.2.1", SeriesState::Localizer, FindingCode::LocalizerDropped, "localizers"),
        ("1.2.3", SeriesState::NotChosen, FindingCode::OtherSeries, "soft-tissue kernel"),
        ("1.2.4", SeriesState::NotChosen, FindingCode::OtherSeries, "2.5 to 5 mm"),
        ("1.2.5", SeriesState::OnlyWhenNamed, FindingCode::SecondaryDropped, "SECONDARY"),
        ("1.2.6", SeriesState::Unusable, FindingCode::OtherSeries, "not axial"),
        ("1.2.7", SeriesState::OnlyWhenNamed, FindingCode::OtherSeries, "contrast"),
        ("1.2.8", SeriesState::NotCt, FindingCode::OtherSeries, "MR"),
    ];
    assert_eq!(series.findings().len(), expected.len(), "{:?}", series.findings());
    for (uid, state, code, words) in expected {
        let summary = outcome.series.iter().find(|s| s.series_instance_uid == uid).unwrap();
        assert_eq!(summary.state, state, "{uid}");
        let finding = series.findings().iter().find(|f| f.message.contains(&format!("series {uid} "))).unwrap();
        assert_eq!((finding.code, finding.severity), (code, Severity::Info), "{uid}");
        assert!(finding.message.contains(words), "{}", finding.message);
    }
}

/// `--series` overrules every preference, reads contrast and secondary series, and says so.
#[test]
fn a_named_series() {
    let images = || -> Vec<SliceHeader> {
        let contrast = with(stack("1.2.3", 10), |h| h.contrast = true);
        let secondary = with(stack("1.2.4", 10), |h| h.image_type[1] = "SECONDARY".into());
        let scout = with(stack("1.2.5", 1), |h| h.image_type[2] = "LOCALIZER".into());
        [stack("1.2.2", 10), contrast, secondary, scout].concat()
    };
    let named = outcome_named(images(), Some("1.2.3"));
    assert_eq!(chosen(&named), "1.2.3");
    let series = named.result.unwrap();
    assert!(codes(&series).contains(&FindingCode::Contrast));
    assert!(series.findings().iter().any(|f| f.message.contains("1.2.2") && f.message.contains("another series was named")));
    assert_eq!(chosen(&outcome_named(images(), Some("1.2.4"))), "1.2.4");
    let error = outcome_named(images(), Some("1.2.5")).result.unwrap_err();
    assert_eq!(error.kind().code(), "no_usable_series");
    assert!(error.to_string().contains("localizers"));
    // One that is not there: the error names those that are.
    let error = outcome_named(images(), Some("1.2.77")).result.unwrap_err();
    assert_eq!(error.kind().code(), "no_usable_series");
    for uid in ["1.2.77", "1.2.2", "1.2.3", "1.2.4", "1.2.5"] {
        assert!(error.to_string().contains(uid), "{error}");
    }
}

/// Only the study that holds the named series gives a result.
#[test]
fn a_named_series_among_several_studies() {
    let other = with(stack("1.3.2", 10), |h| h.study_instance_uid = "1.3".into());
    let images: Vec<SliceHeader> = [stack("1.2.2", 10), other].concat();
    let options = DiscoverOptions { series: Some("1.3.2".into()), ..DiscoverOptions::default() };
    let outcomes = arrange(Path::new("here"), images.clone(), &options);
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].study_instance_uid.as_deref(), Some("1.3"));
    assert_eq!(arrange(Path::new("here"), images, &DiscoverOptions::default()).len(), 2);
}

#[test]
fn studies_without_a_usable_series() {
    let mr = with(stack("1.2.1", 5), |h| h.modality = "MR".into());
    let (code, message) = refusal(mr.clone());
    assert!(code == "not_ct" && message.contains("MR"), "{message}");

    let scout = with(stack("1.2.2", 1), |h| h.image_type[2] = "LOCALIZER".into());
    assert_eq!(refusal(scout.clone()).0, "no_usable_series");

    let contrast = with(stack("1.2.3", 5), |h| h.series_description = "HEAD C+".into());
    let (code, message) = refusal(contrast.clone());
    assert!(code == "no_usable_series" && message.contains("contrast"), "{message}");

    let secondary = with(stack("1.2.4", 5), |h| h.image_type[1] = "SECONDARY".into());
    assert_eq!(refusal(secondary.clone()).0, "no_usable_series");

    // Plain series that fail alike give their own code, whatever else lies beside them; different failures are listed.
    let coronal = with(stack("1.2.5", 5), |h| h.image_orientation = Some(CORONAL));
    let sagittal = with(stack("1.2.6", 5), |h| h.image_orientation = Some(SAGITTAL));
    assert_eq!(refusal([mr.clone(), scout, secondary, coronal.clone(), sagittal].concat()).0, "not_axial");
    let unplaced = with(stack("1.2.7", 5), |h| h.image_position = None);
    let (code, message) = refusal([mr, coronal, unplaced, contrast].concat());
    assert_eq!(code, "no_usable_series");
    for words in ["1.2.5", "not axial", "1.2.7", "ImagePositionPatient", "1.2.3", "contrast"] {
        assert!(message.contains(words), "{message}");
    }
}

/// Localizers and screen captures inside a series are dropped from it, colour too.
#[test]
fn images_dropped_inside_a_series() {
    let mut images = stack("1.2.3", 10);
    images[0].image_type[2] = "LOCALIZER".into();
    images[1].image_type[1] = "SECONDARY".into();
    images[2].sop_class_uid = "1.2.840.10008.5.1.4.1.1.7".into();
    images[3].pixels.samples_per_pixel = 3;
    let series = read(images);
    assert_eq!((series.headers().len(), codes(&series)), (6, vec![FindingCode::LocalizerDropped, FindingCode::SecondaryDropped]));
    assert!(said(&series, FindingCode::SecondaryDropped).1.starts_with("3 images"));
    let (code, message) = refusal(with(stack("1.2.3", 3), |h| h.pixels.samples_per_pixel = 3));
    assert!(code == "no_usable_series" && message.contains("colour"), "{message}");
}

/// A modality that is empty falls back on the class; multi-frame objects are refused by name.
#[test]
fn odd_objects() {
    assert_eq!(read(with(stack("1.2.3", 3), |h| h.modality.clear())).headers().len(), 3);
    let other_class = with(stack("1.2.3", 3), |h| {
        h.modality.clear();
        h.sop_class_uid = "1.2.840.10008.5.1.4.1.1.4".into();
    });
    assert_eq!(refusal(other_class).0, "not_ct");
    assert!(refusal(with(stack("1.2.3", 3), |h| h.frames = 2)).1.contains("multi-frame"));
}

/// Hundreds of series do not make hundreds of findings.
#[test]
fn many_series_are_counted() {
    let images: Vec<SliceHeader> = (1..=100).flat_map(|i| stack(&format!("1.2.{i}"), 2)).collect();
    let outcome = outcome(images);
    assert_eq!((chosen(&outcome), outcome.series.len()), ("1.2.1", 100));
    let findings = outcome.result.as_ref().unwrap().findings();
    assert!(findings.len() < 30 && findings.last().unwrap().message.starts_with("79 more"), "{findings:?}");
}
