//! What int8 changed: the same scans judged in fp32 and in int8.

use crate::evaluate::labels::{Format, Labels, canonical_class};
use crate::evaluate::stats::ranked::{Auc, Ranked};
use crate::evaluate::{Scores, join};
use crate::session::Prediction;
use crate::{Error, ErrorKind, Result};
use serde::Serialize;

/// The differences over all scans.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Scans judged twice.
    pub scans: usize,
    /// Their slices.
    pub slices: usize,
    /// Per class of the model, in its order.
    pub classes: Vec<ClassChange>,
}

/// The differences of one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassChange {
    /// Its name.
    pub class: String,
    /// Largest |Δp| of a slice.
    pub slice_max: f64,
    /// Mean |Δp| of the slices.
    pub slice_mean: f64,
    /// Largest difference of a scan's score.
    pub scan_max: f64,
    /// Mean difference of the scans' scores, without sign.
    pub scan_mean: f64,
    /// Scans whose decision is another.
    pub flips: Vec<Flip>,
    /// Where there are labels for the class.
    pub auc: Option<AucChange>,
}

/// A scan whose decision is another in int8.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flip {
    /// The PATH it came from.
    pub source: String,
    /// Score in fp32.
    pub fp32: f64,
    /// Score in int8.
    pub int8: f64,
    /// Of the class.
    pub threshold: f64,
}

/// Area under the ROC curve before and after.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AucChange {
    /// Labelled scans.
    pub n: usize,
    /// Those with the finding.
    pub positives: usize,
    /// In fp32, DeLong's interval.
    pub fp32: Auc,
    /// In int8, DeLong's interval.
    pub int8: Auc,
    /// int8 less fp32; none without both kinds of scans.
    pub change: Option<f64>,
}

/// Takes in one scan after the other.
#[derive(Debug)]
pub struct Collector {
    sums: Vec<ClassChange>,
    scans: usize,
    slices: usize,
    scores: [Scores; 2],
}

impl Collector {
    /// None yet, for a model's classes.
    pub fn new(classes: &[String]) -> Self {
        let sums = classes.iter().map(|class| ClassChange {
            class: class.clone(),
            slice_max: 0.0,
            slice_mean: 0.0,
            scan_max: 0.0,
            scan_mean: 0.0,
            flips: Vec::new(),
            auc: None,
        });
        Self { sums: sums.collect(), scans: 0, slices: 0, scores: [Scores::default(), Scores::default()] }
    }

    /// Takes in a scan, judged twice by the same model; `id` is what labels name it by.
    ///
    /// # Errors
    /// `corrupt_file` when there was a scan of this identifier.
    pub fn add(&mut self, source: &str, id: Option<&str>, fp32: &Prediction, int8: &Prediction) -> Result<()> {
        self.scans += 1;
        self.slices += fp32.slices.len();
        for (k, sum) in self.sums.iter_mut().enumerate() {
            for (a, b) in fp32.slices.iter().zip(&int8.slices) {
                let difference = (a.probability[k] - b.probability[k]).abs();
                sum.slice_max = sum.slice_max.max(difference);
                sum.slice_mean += difference;
            }
            let (a, b) = (fp32.scan[k], int8.scan[k]);
            let difference = (a.score - b.score).abs();
            sum.scan_max = sum.scan_max.max(difference);
            sum.scan_mean += difference;
            if a.positive != b.positive {
                sum.flips.push(Flip { source: source.to_owned(), fp32: a.score, int8: b.score, threshold: a.threshold });
            }
            if let Some(id) = id {
                self.scores[0].insert(id, &sum.class, a.score)?;
                self.scores[1].insert(id, &sum.class, b.score)?;
            }
        }
        Ok(())
    }

    /// The differences; with labels, of every class that they have, also those of the AUC.
    ///
    /// # Errors
    /// `no_images` without a scan; `corrupt_file` as [`join`], and when the labels have none of the classes.
    pub fn finish(mut self, labels: Option<&Labels>, allow_missing: bool) -> Result<Comparison> {
        if self.scans == 0 {
            return Err(Error::new(ErrorKind::NoImages, "there is no scan to compare int8 with fp32 on"));
        }
        let only = self.sums.len() == 1;
        for sum in &mut self.sums {
            sum.slice_mean /= self.slices as f64;
            sum.scan_mean /= self.scans as f64;
            if let Some(labels) = labels.filter(|labels| names(labels, &sum.class, only)) {
                sum.auc = Some(auc_change(labels, &self.scores, &sum.class, allow_missing)?);
            }
        }
        if let (Some(labels), true) = (labels, self.sums.iter().all(|sum| sum.auc.is_none())) {
            labels.column(&self.sums[0].class)?;
            let message = "the labels do not say of which of the model's classes they are";
            return Err(Error::new(ErrorKind::CorruptFile, message));
        }
        Ok(Comparison { scans: self.scans, slices: self.slices, classes: self.sums })
    }
}

/// Whether the labels are about a class. A plain list has one label, which is about any hemorrhage, or about a model's only class.
fn names(labels: &Labels, class: &str, only: bool) -> bool {
    match labels.format {
        Format::Plain => only || canonical_class(class) == "any",
        _ => labels.column(class).is_ok(),
    }
}

fn auc_change(labels: &Labels, scores: &[Scores; 2], class: &str, allow_missing: bool) -> Result<AucChange> {
    let [before, after] = [join(labels, &scores[0], class, allow_missing)?, join(labels, &scores[1], class, allow_missing)?];
    let [fp32, int8] = [&before, &after].map(|cases| Ranked::new(&cases.truth, &cases.scores).auc());
    Ok(AucChange {
        n: before.truth.len(),
        positives: before.truth.iter().filter(|t| **t).count(),
        fp32,
        int8,
        change: int8.estimate.value.zip(fp32.estimate.value).map(|(after, before)| after - before),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::labels::read_labels;
    use crate::session::SlicePrediction;
    use std::time::Duration;

    fn prediction(p: &[f64]) -> Prediction {
        let score = p.iter().copied().fold(0.0, f64::max);
        Prediction {
            slices: p.iter().map(|p| SlicePrediction { logit: vec![0.0], probability: vec![*p] }).collect(),
            scan: vec![crate::decision::ScanDecision { score, threshold: 0.5, positive: score >= 0.5 }],
            maps: None,
            preprocess: Duration::ZERO,
            inference: Duration::ZERO,
        }
    }

    fn three() -> Collector {
        let mut collector = Collector::new(&["any".to_owned()]);
        collector.add("one", Some("1"), &prediction(&[0.25, 0.75]), &prediction(&[0.5, 0.625])).unwrap();
        collector.add("two", Some("2"), &prediction(&[0.375]), &prediction(&[0.625])).unwrap();
        collector.add("three", Some("3"), &prediction(&[0.125]), &prediction(&[0.125])).unwrap();
        collector
    }

    #[test]
    fn differences_and_flips_are_counted_by_hand() {
        let comparison = three().finish(None, false).unwrap();
        let class = &comparison.classes[0];
        assert_eq!((comparison.scans, comparison.slices), (3, 4));
        assert_eq!((class.slice_max, class.slice_mean), (0.25, (0.25 + 0.125 + 0.25) / 4.0));
        assert_eq!((class.scan_max, class.scan_mean), (0.25, (0.125 + 0.25) / 3.0));
        assert_eq!(class.flips, [Flip { source: "two".to_owned(), fp32: 0.375, int8: 0.625, threshold: 0.5 }]);
    }

    /// Scan 2 is negative and passes nobody: 0.375 < 0.75 before, a tie at 0.625 after.
    #[test]
    fn labels_make_a_change_of_the_auc() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        std::fs::write(&path, "id,label\n1,1\n2,0\n3,0\n").unwrap();
        let labels = read_labels(&path, Format::Auto).unwrap();
        let auc = three().finish(Some(&labels), false).unwrap().classes[0].auc.unwrap();
        assert_eq!((auc.n, auc.positives), (3, 1));
        assert_eq!((auc.fp32.estimate.value, auc.int8.estimate.value, auc.change), (Some(1.0), Some(0.75), Some(-0.25)));
        std::fs::write(&path, "id,label\n1,1\n2,0\n3,0\n4,1\n").unwrap();
        let labels = read_labels(&path, Format::Auto).unwrap();
        assert_eq!(three().finish(Some(&labels), false).unwrap_err().kind(), ErrorKind::CorruptFile);
        assert_eq!(three().finish(Some(&labels), true).unwrap().classes[0].auc.unwrap().n, 3);
    }

    #[test]
    fn nothing_to_compare_is_an_error() {
        assert_eq!(Collector::new(&["any".to_owned()]).finish(None, false).unwrap_err().kind(), ErrorKind::NoImages);
    }
}
