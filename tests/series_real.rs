//! The real series in `shared/data`, where it is there: what a radiographer would say of them.

use radnet::dicom::{DecodedSeries, DiscoverOptions, SeriesState, StudyOutcome, discover};
use radnet::{FindingCode, Unobserved};
use std::path::{Path, PathBuf};

fn data(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("RADNET_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = shared.join("data/dcm_qa_ct").join(name);
    if !path.is_dir() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn pool() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()
}

fn find(path: &Path) -> StudyOutcome {
    let mut outcomes = discover(&[path], &DiscoverOptions::default(), &pool(), &Unobserved).unwrap().outcomes;
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    outcomes.remove(0)
}

fn read(outcome: StudyOutcome) -> (DecodedSeries, Vec<FindingCode>) {
    let decoded = outcome.result.unwrap().read(&pool(), &Unobserved).unwrap();
    let codes = decoded.findings.iter().map(|f| f.code).collect();
    (decoded, codes)
}

/// 28 slices, 4 mm below and 7 mm above, the step between the two parts 1.08 mm, tilted by 18.5 degrees.
#[test]
fn ge_head() {
    let Some(path) = data("GE") else { return };
    let (decoded, codes) = read(find(&path));
    let slices = decoded.volume.slices();
    assert_eq!((slices.len(), decoded.volume.rows(), decoded.volume.cols()), (28, 512, 512));
    let numbers: Vec<i64> = slices.iter().map(|s| s.instance_number.unwrap()).collect();
    assert_eq!(numbers, (1..=28).collect::<Vec<_>>());
    let positions: Vec<f64> = slices.iter().map(|s| s.position_mm.unwrap()).collect();
    let expected = -123.5404569 * 0.3173047 + 5.8360586 * 0.9483237;
    assert!((positions[0] - expected).abs() < 1e-6, "{}", positions[0]);
    assert!(positions.is_sorted());
    assert!((positions[14] - positions[13] - 1.081).abs() < 1e-3);
    assert_eq!(codes, [FindingCode::UnevenSpacing, FindingCode::MixedThickness, FindingCode::GantryTilt]);
    assert!(decoded.findings[2].message.contains("18.5 degrees"));
}

/// A skull phantom: 28 slices of S2010, file names that do not sort in slice order, a localizer, and DIRFILE junk.
#[test]
fn philips_head_phantom() {
    let Some(path) = data("Philips") else { return };
    let outcome = find(&path);
    assert_eq!(outcome.series.iter().filter(|s| s.state == SeriesState::Localizer).count(), 1);
    let series = outcome.result.as_ref().unwrap();
    assert!(series.headers().iter().all(|h| h.path.parent().unwrap().ends_with("S2010")));
    let (decoded, codes) = read(outcome);
    let numbers: Vec<i64> = decoded.volume.slices().iter().map(|s| s.instance_number.unwrap()).collect();
    assert_eq!(numbers, (1..=28).collect::<Vec<_>>());
    let positions: Vec<f64> = decoded.volume.slices().iter().map(|s| s.position_mm.unwrap()).collect();
    assert!((positions[0] - 696.21).abs() < 1e-9 && (positions[27] - 831.21).abs() < 1e-9);
    // A dry skull: bone around air, which is no head.
    assert_eq!(codes, [FindingCode::LocalizerDropped, FindingCode::NotHeadLike]);
}

/// The localizer alone is CT, and no scan.
#[test]
fn a_localizer_alone() {
    let Some(path) = data("Philips/S1000") else { return };
    let error = find(&path).result.unwrap_err();
    assert_eq!(error.kind().code(), "no_usable_series");
}
