//! The phantom series in the repository, read like a patient's.

use radnet::dicom::{DiscoverOptions, discover};
use radnet::{FindingCode, Unobserved};
use std::path::Path;

/// Every slice of the truth is there, in its order, at its position, and nothing but the habits of the scanner is found.
#[test]
fn shipped_phantoms() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for name in ["bleed", "normal"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/phantom");
        let mut outcomes = discover(&[folder.join(name)], &DiscoverOptions::default(), &pool, &Unobserved).unwrap().outcomes;
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        let decoded = outcomes.remove(0).result.unwrap().read(&pool, &Unobserved).unwrap();
        let truth = std::fs::read_to_string(folder.join(format!("{name}-truth/truth.json"))).unwrap();
        let truth: serde_json::Value = serde_json::from_str(&truth).unwrap();
        let expected: Vec<&str> = truth["instances"].as_array().unwrap().iter().map(|s| s["sop_instance_uid"].as_str().unwrap()).collect();
        let found: Vec<&str> = decoded.volume.slices().iter().map(|s| s.sop_instance_uid.as_deref().unwrap()).collect();
        assert_eq!(found, expected);
        let unexpected =
            |code: &FindingCode| !matches!(code, FindingCode::GantryTilt | FindingCode::ValuesClamped | FindingCode::PaddingIgnored);
        let codes: Vec<FindingCode> = decoded.findings.iter().map(|f| f.code).filter(unexpected).collect();
        assert_eq!(codes, [], "{name}: {:?}", decoded.findings);
    }
}
