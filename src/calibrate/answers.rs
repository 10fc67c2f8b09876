//! Result documents as logits: what a temperature works on.

use super::{Case, score_at};
use crate::evaluate::labels::{Labels, canonical_class};
use crate::evaluate::{IdKind, Scores, for_each_document, join};
use crate::model::config::ScanRule;
use crate::{Error, ErrorKind, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;

/// A score may differ from what the model's rule makes of the logits by the rounding of another machine's arithmetic.
const SCORE_TOLERANCE: f64 = 1e-9;

/// What a model said of many cases for one class, with the logits of every slice.
pub struct Answers {
    class: String,
    kind: IdKind,
    scores: Scores,
    /// All logits, case after case.
    logits: Vec<f64>,
    places: HashMap<String, Range<usize>>,
    precisions: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Document {
    radnet: EnginePart,
    results: Vec<ResultPart>,
}

#[derive(Deserialize)]
struct EnginePart {
    precision: Option<String>,
}

#[derive(Deserialize)]
struct ResultPart {
    status: String,
    #[serde(default)]
    study_instance_uid: Option<String>,
    #[serde(default)]
    series_instance_uid: Option<String>,
    source: String,
    #[serde(default)]
    slices: Vec<SlicePart>,
}

#[derive(Deserialize)]
struct SlicePart {
    #[serde(default)]
    sop_instance_uid: Option<String>,
    logit: BTreeMap<String, f64>,
}

impl Answers {
    /// None yet, for a class by the model's name or a data set's; `kind` says what the labels name.
    pub fn new(class: &str, kind: IdKind) -> Self {
        Self {
            class: canonical_class(class).to_owned(),
            kind,
            scores: Scores::default(),
            logits: Vec::new(),
            places: HashMap::new(),
            precisions: BTreeSet::new(),
        }
    }

    /// Adds the documents of a `.json` or `.jsonl` file.
    ///
    /// # Errors
    /// As [`Scores::add_file`], and `corrupt_file` for a result without logits of the class.
    pub fn add_file(&mut self, path: &Path) -> Result<()> {
        for_each_document(path, &mut |bytes| self.add_bytes(bytes))
    }

    /// Adds a document from memory.
    ///
    /// # Errors
    /// As [`Answers::add_file`].
    pub fn add_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.scores.add_bytes(bytes, self.kind)?;
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let document: Document =
            serde_json::from_slice(bytes).map_err(|e| malformed(format!("the document has no logits: {e}")).caused_by(e))?;
        let ok = document.results.into_iter().filter(|r| r.status == "ok");
        for result in ok {
            self.precisions.extend(document.radnet.precision.clone());
            self.add_result(&result)?;
        }
        Ok(())
    }

    fn add_result(&mut self, result: &ResultPart) -> Result<()> {
        let start = self.logits.len();
        for slice in &result.slices {
            let logit = slice.logit.iter().find(|(class, _)| canonical_class(class) == self.class).map(|(_, z)| *z);
            let logit = logit.filter(|z| z.is_finite());
            let at = self.logits.len();
            self.logits
                .push(logit.ok_or_else(|| malformed(format!("`{}` has a slice without a logit of `{}`", result.source, self.class)))?);
            if self.kind == IdKind::Sop
                && let Some(id) = &slice.sop_instance_uid
            {
                self.places.insert(id.clone(), at..at + 1);
            }
        }
        let id = self.kind.of_result(result.study_instance_uid.as_deref(), result.series_instance_uid.as_deref(), &result.source);
        match id {
            _ if result.slices.is_empty() => Err(malformed(format!("`{}` has no slices", result.source))),
            Some(id) if self.kind != IdKind::Sop => {
                self.places.insert(id, start..self.logits.len());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// SHA-256 of the model that made the results, where they say.
    pub fn model_sha256(&self) -> Option<&str> {
        self.scores.model().and_then(|m| m.sha256.as_deref())
    }

    /// The arithmetic of the results, joined by commas where there was more than one.
    pub fn precision(&self) -> String {
        self.precisions.iter().cloned().collect::<Vec<_>>().join(", ")
    }

    /// Results that are errors.
    pub fn failed(&self) -> usize {
        self.scores.failed().len()
    }

    /// The rule that makes a score of a case: the model's for scans; a slice is its own.
    pub fn rule(&self, rule: ScanRule) -> ScanRule {
        if self.kind == IdKind::Sop { ScanRule::Consecutive { n: 1 } } else { rule }
    }

    /// The labelled cases, sorted by identifier, and how many were left out because they were only labelled or only scored. `rule` is
    /// that of [`Answers::rule`].
    ///
    /// # Errors
    /// `corrupt_file` as [`join`], and when the scores are not what the rule makes of the logits.
    pub fn cases(&self, labels: &Labels, rule: ScanRule, allow_missing: bool) -> Result<(Vec<Case<'_>>, usize)> {
        let joined = join(labels, &self.scores, &self.class, allow_missing)?;
        let mut memory = Vec::new();
        let mut cases = Vec::with_capacity(joined.ids.len());
        for ((id, &truth), &said) in joined.ids.iter().zip(&joined.truth).zip(&joined.scores) {
            let place = self.places.get(*id).ok_or_else(|| malformed(format!("`{id}` has no logits")))?;
            let logits = &self.logits[place.clone()];
            let ours = score_at(logits, rule, 1.0, &mut memory);
            if (ours - said).abs() > SCORE_TOLERANCE {
                let message = format!("the score of `{id}` is {said}, but the model's rule makes {ours} of its logits");
                return Err(malformed(message));
            }
            cases.push(Case { truth, logits });
        }
        Ok((cases, joined.missing_scores.len() + joined.missing_labels.len()))
    }
}

fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::CorruptFile, message)
}
