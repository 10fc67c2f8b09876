//! One study: decode, judge, draw.

use crate::predict::cancelled;
use crate::progress::Progress;
use radnet::dicom::{Series, StudyOutcome};
use radnet::engine::Engine;
use radnet::report::html::StudyPictures;
use radnet::report::maps::{MapWriter, ScanView};
use radnet::report::{Acquisition, ClassScore, PerClass, SliceResult, StudyError, StudyOk, StudyResult, Timing};
use radnet::session::{Prediction, Session};
use radnet::{Error, Finding, HuVolume, Result};
use std::sync::Arc;
use std::time::Instant;

/// What is wanted beside the probabilities.
pub(crate) struct Wanted<'a> {
    /// Pictures for the report.
    pub(crate) pictures: bool,
    /// Files of the maps.
    pub(crate) maps: Option<&'a mut MapWriter>,
}

/// What a study came to.
pub(crate) struct Judged {
    pub(crate) result: StudyResult,
    pub(crate) pictures: StudyPictures,
    /// Maps or pictures that could not be made; the result stands all the same.
    pub(crate) unwritten: Option<Error>,
}

/// Judges one study after the other.
pub(crate) struct Judge<'a> {
    engine: &'a Engine,
    session: Session<'a>,
    progress: &'a Progress,
    wanted: Wanted<'a>,
    classes: Vec<Arc<str>>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(engine: &'a Engine, session: Session<'a>, progress: &'a Progress, wanted: Wanted<'a>) -> Self {
        let classes = engine.model().config.classes.iter().map(|c| Arc::from(c.as_str())).collect();
        Self { engine, session, progress, wanted, classes }
    }

    /// A result in any case.
    pub(crate) fn study(&mut self, outcome: &StudyOutcome) -> Judged {
        let series = match &outcome.result {
            Ok(series) if self.progress.asked_to_stop() => return refused(outcome, Some(series), &cancelled(), Vec::new()),
            Ok(series) => series,
            Err(error) => return refused(outcome, None, error, Vec::new()),
        };
        match self.judge(series) {
            Ok(judged) => judged,
            Err((error, findings)) => refused(outcome, Some(series), &error, findings),
        }
    }

    fn judge(&mut self, series: &Series) -> std::result::Result<Judged, (Error, Vec<Finding>)> {
        let start = Instant::now();
        self.progress.phase("reading slices");
        let decoded = series.read(self.engine.pool(), self.progress).map_err(|e| (e, series.findings().to_vec()))?;
        let decode = milliseconds(start);
        self.progress.phase("looking for hemorrhage");
        let want_maps = self.wanted.pictures || self.wanted.maps.is_some();
        let prediction = match self.session.predict(&decoded.volume, self.progress, want_maps) {
            Ok(prediction) => prediction,
            Err(error) => return Err((error, decoded.findings)),
        };
        let mut study = self.result(series, &decoded.volume, &prediction);
        study.findings = decoded.findings;
        let (pictures, unwritten) = match self.draw(&decoded.volume, &mut study, &prediction) {
            Ok(pictures) => (pictures, None),
            Err(error) => (StudyPictures::default(), Some(error)),
        };
        study.timing_ms = Timing {
            decode,
            preprocess: prediction.preprocess.as_secs_f64() * 1e3,
            inference: prediction.inference.as_secs_f64() * 1e3,
            total: milliseconds(start),
        };
        Ok(Judged { result: StudyResult::judged(study), pictures, unwritten })
    }

    fn result(&self, series: &Series, volume: &HuVolume, prediction: &Prediction) -> StudyOk {
        let score = |d: &radnet::decision::ScanDecision| ClassScore { score: d.score, positive: d.positive, threshold: d.threshold };
        let slices = volume.slices().iter().zip(&prediction.slices).enumerate().map(|(index, (slice, predicted))| SliceResult {
            index,
            sop_instance_uid: slice.sop_instance_uid.clone(),
            instance_number: slice.instance_number,
            position_mm: slice.position_mm,
            probability: PerClass::new(&self.classes, predicted.probability.iter().copied()),
            logit: PerClass::new(&self.classes, predicted.logit.iter().copied()),
        });
        StudyOk {
            study_instance_uid: known(series.study_instance_uid()),
            series_instance_uid: known(series.series_instance_uid()),
            source: series.source().display().to_string(),
            acquisition: Acquisition::of(series),
            scan: PerClass::new(&self.classes, prediction.scan.iter().map(score)),
            slices: slices.collect(),
            findings: Vec::new(),
            timing_ms: Timing::default(),
            maps: None,
        }
    }

    fn draw(&mut self, volume: &HuVolume, study: &mut StudyOk, prediction: &Prediction) -> Result<StudyPictures> {
        let Some(maps) = &prediction.maps else { return Ok(StudyPictures::default()) };
        self.progress.phase("drawing");
        let input = &self.engine.model().config.input;
        if let Some(writer) = self.wanted.maps.as_deref_mut() {
            let files = self.engine.pool().install(|| writer.write(volume, study, &maps.maps, input))?;
            study.maps = Some(files);
        }
        if !self.wanted.pictures {
            return Ok(StudyPictures::default());
        }
        self.engine.pool().install(|| StudyPictures::draw(&ScanView::new(volume, study, &maps.maps, input)?))
    }
}

fn refused(outcome: &StudyOutcome, series: Option<&Series>, error: &Error, findings: Vec<Finding>) -> Judged {
    let result = StudyResult::Error(StudyError {
        study_instance_uid: outcome.study_instance_uid.clone(),
        series_instance_uid: series.and_then(|s| known(s.series_instance_uid())),
        source: outcome.source.display().to_string(),
        error: error.into(),
        findings,
    });
    Judged { result, pictures: StudyPictures::default(), unwritten: None }
}

fn known(uid: &str) -> Option<String> {
    Some(uid.to_owned()).filter(|u| !u.is_empty())
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
