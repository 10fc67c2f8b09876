//! The parts of `radnet-result/1` that evaluation reads.

use super::{FailedResult, Scores};
use crate::Result;
use crate::evaluate::labels::{canonical_class, case_id, malformed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::str::FromStr;

/// Which identifier of a result the labels name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// StudyInstanceUID.
    Study,
    /// SeriesInstanceUID.
    Series,
    /// SOPInstanceUID: one case per slice, by its probability.
    Sop,
    /// Name of the folder or file that was read; CQ500's folder names match its label file.
    Folder,
}

impl IdKind {
    /// The identifier of a result; of slices that of their study.
    pub fn of_result(self, study: Option<&str>, series: Option<&str>, source: &str) -> Option<String> {
        match self {
            Self::Study | Self::Sop => study.map(str::to_owned),
            Self::Series => series.map(str::to_owned),
            Self::Folder => folder_id(Path::new(source)),
        }
    }

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Study => "study",
            Self::Series => "series",
            Self::Sop => "sop",
            Self::Folder => "folder",
        }
    }
}

impl FromStr for IdKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "study" => Ok(Self::Study),
            "series" => Ok(Self::Series),
            "sop" => Ok(Self::Sop),
            "folder" => Ok(Self::Folder),
            _ => Err(format!("`{text}` is none of study, series, sop, folder")),
        }
    }
}

/// How a scan was made, from its headers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Acquisition {
    /// (0008,0070).
    pub manufacturer: Option<String>,
    /// (0018,1210), the values joined by `\`.
    pub kernel: Option<String>,
    /// (0018,0050), the median over the slices.
    pub thickness_mm: Option<f64>,
    /// Angle of the slices' normal against the long axis, or (0018,1120).
    pub tilt_deg: Option<f64>,
}

/// Which model made the results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ModelIdentity {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
    /// Of the whole file, lower-case hex.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Its own words.
    #[serde(default)]
    pub intended_use: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Document {
    schema: String,
    model: ModelIdentity,
    results: Vec<ResultPart>,
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
    acquisition: Option<Acquisition>,
    #[serde(default)]
    scan: BTreeMap<String, ClassPart>,
    #[serde(default)]
    slices: Vec<SlicePart>,
    #[serde(default)]
    error: Option<ErrorPart>,
}

#[derive(Deserialize)]
struct ClassPart {
    score: f64,
    threshold: f64,
}

#[derive(Deserialize)]
struct SlicePart {
    #[serde(default)]
    sop_instance_uid: Option<String>,
    probability: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct ErrorPart {
    code: String,
    message: String,
}

const SCHEMA: &str = "radnet-result/1";

impl Document {
    pub(super) fn add_to(self, scores: &mut Scores, id: IdKind) -> Result<()> {
        if self.schema != SCHEMA {
            let schema: String = self.schema.chars().take(40).collect();
            return Err(malformed(format!("the schema `{schema}` is not {SCHEMA}")));
        }
        if self.results.iter().any(|r| r.status == "ok") {
            one_model(&mut scores.model, self.model)?;
        }
        self.results.into_iter().try_for_each(|result| result.add_to(scores, id))
    }
}

/// One evaluation judges one model.
fn one_model(known: &mut Option<ModelIdentity>, model: ModelIdentity) -> Result<()> {
    let Some(known) = known else {
        *known = Some(model);
        return Ok(());
    };
    if known.sha256 != model.sha256 {
        let hash = |m: &ModelIdentity| m.sha256.clone().unwrap_or_else(|| "unknown".to_owned());
        return Err(malformed(format!("the results come from two models, sha256 {} and {}", hash(known), hash(&model))));
    }
    Ok(())
}

impl ResultPart {
    fn add_to(self, scores: &mut Scores, kind: IdKind) -> Result<()> {
        if self.status != "ok" {
            scores.failed.push(self.failed(kind));
            return Ok(());
        }
        for (class, part) in &self.scan {
            let class = canonical_class(class);
            let known = *scores.thresholds.entry(class.to_owned()).or_insert(part.threshold);
            if known != part.threshold {
                return Err(malformed(format!("the results were made with two thresholds for `{class}`: {known} and {}", part.threshold)));
            }
        }
        if kind == IdKind::Sop { self.add_slices(scores) } else { self.add_scan(scores, kind) }
    }

    fn add_slices(self, scores: &mut Scores) -> Result<()> {
        for slice in self.slices {
            let id = slice.sop_instance_uid.ok_or_else(|| malformed(format!("a slice of `{}` has no sop_instance_uid", self.source)))?;
            if scores.contains(&id) {
                return Err(malformed(format!("the slice `{id}` has two results: judge each series once")));
            }
            slice.probability.iter().try_for_each(|(class, p)| scores.insert(&id, class, *p))?;
            if let Some(acquisition) = &self.acquisition {
                scores.set_acquisition(&id, acquisition);
            }
        }
        Ok(())
    }

    fn add_scan(self, scores: &mut Scores, kind: IdKind) -> Result<()> {
        let id = self.identifier(kind).ok_or_else(|| malformed(format!("the result of `{}` has no {}", self.source, named(kind))))?;
        if scores.contains(&id) {
            let advice =
                if kind == IdKind::Series { "give each result once" } else { "leave out all but one, or name series by --id series" };
            return Err(malformed(format!("`{id}` has two results, the second from `{}`: {advice}", self.source)));
        }
        self.scan.iter().try_for_each(|(class, part)| scores.insert(&id, class, part.score))?;
        if let Some(acquisition) = &self.acquisition {
            scores.set_acquisition(&id, acquisition);
        }
        Ok(())
    }

    fn failed(self, kind: IdKind) -> FailedResult {
        let id = self.identifier(kind).unwrap_or_else(|| self.source.clone());
        let ErrorPart { code, message } = self.error.unwrap_or(ErrorPart { code: self.status, message: String::new() });
        FailedResult { id, code, message }
    }

    fn identifier(&self, kind: IdKind) -> Option<String> {
        kind.of_result(self.study_instance_uid.as_deref(), self.series_instance_uid.as_deref(), &self.source)
    }
}

fn named(kind: IdKind) -> &'static str {
    match kind {
        IdKind::Study => "study_instance_uid",
        IdKind::Series => "series_instance_uid",
        IdKind::Sop => "sop_instance_uid",
        IdKind::Folder => "folder name in its source",
    }
}

/// The innermost part of the path that is a name of CQ500's, else the last part.
fn folder_id(source: &Path) -> Option<String> {
    let names: Vec<String> = source
        .components()
        .filter_map(|c| if let Component::Normal(name) = c { Some(name.to_string_lossy().into_owned()) } else { None })
        .collect();
    let cq500 = names.iter().rev().map(|name| case_id(name).into_owned()).find(|id| id.starts_with("CQ500-CT-"));
    cq500.or_else(|| names.last().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_cq500_are_found_at_any_depth() {
        for source in ["/a/CQ500CT12 CQ500CT12", "CQ500CT12 CQ500CT12/Unknown Study/CT Plain", "CQ500-CT-12", "x/CQ500CT12 CQ500CT12/"] {
            assert_eq!(folder_id(Path::new(source)).as_deref(), Some("CQ500-CT-12"), "{source}");
        }
        assert_eq!(folder_id(Path::new("a/b/case 7")).as_deref(), Some("case 7"));
        assert_eq!(folder_id(Path::new("/")), None);
    }
}
