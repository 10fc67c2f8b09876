//! `radnet inspect`: what is under the PATHs, without judging it.

mod card;
mod series;

use crate::args::InspectArguments;
use crate::console::{Output, Paint, complain};
use crate::engine::model_info;
use crate::environment::Environment;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::sink::Sink;
use crate::{FAILED, OK};
use radnet::dicom::{self, DiscoverOptions, Discovery, Inspection, Problem};
use radnet::report::card::Card;
use radnet::report::result::to_json;
use radnet::weights::Model;
use radnet::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// The document of `--json`.
#[derive(serde::Serialize)]
struct Document {
    #[serde(flatten)]
    inspection: Inspection,
    models: Vec<ModelEntry>,
}

/// One model file.
#[derive(serde::Serialize)]
pub(crate) struct ModelEntry {
    source: String,
    card: Option<Card>,
    error: Option<Problem>,
}

/// Runs the command; the exit status.
pub(crate) fn run(arguments: InspectArguments, environment: &Environment) -> u8 {
    let mut output = Output::new(environment.plain);
    let json = arguments.json.clone().map(Sink::new);
    match inspect(&arguments, json.as_ref(), &mut output) {
        Ok(true) if !output.failed() => OK,
        Ok(_) => FAILED,
        Err(error) => {
            complain(&error.to_string());
            FAILED
        }
    }
}

fn inspect(arguments: &InspectArguments, json: Option<&Sink>, output: &mut Output) -> Result<bool> {
    json.map_or(Ok(()), Sink::check)?;
    let (models, paths): (Vec<&PathBuf>, Vec<&PathBuf>) = arguments.paths.iter().partition(|p| is_model(p));
    let models: Vec<ModelEntry> = models.into_iter().map(|p| model(p)).collect();
    let inspection = look(&paths, arguments)?;
    let complete = models.iter().all(|m| m.error.is_none())
        && inspection.studies.iter().all(|s| s.error.is_none())
        && inspection.sources.iter().all(|s| s.problems.is_empty());
    let document = Document { inspection, models };
    if json != Some(&Sink::Stdout) {
        let paint = output.paint();
        output.write(text(&document, paint).as_bytes());
    }
    if let Some(sink) = json {
        sink.put(&to_json(&document)?, output)?;
    }
    Ok(complete)
}

fn text(document: &Document, paint: Paint) -> String {
    let mut text: String = document.models.iter().map(|m| card::text(m, paint)).collect();
    text.push_str(&series::text(&document.inspection, paint));
    text
}

fn is_model(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors")) && !path.is_dir()
}

fn model(path: &Path) -> ModelEntry {
    let source = path.display().to_string();
    match Model::open(path) {
        Ok(model) => {
            let card = Card::new(model_info(&model), &model.config, &model.network)
                .with_calibration(&model.calibration)
                .with_quantisation(model.quantisation.is_some(), &model.quantisation_record);
            ModelEntry { source, card: Some(card), error: None }
        }
        Err(error) => ModelEntry { source, card: None, error: Some(Problem::from(&error)) },
    }
}

/// Reads headers, and the pixels of every chosen series, since some findings are in them.
fn look(paths: &[&PathBuf], arguments: &InspectArguments) -> Result<Inspection> {
    let progress = Progress::new(Interrupt::listen());
    let pool = pool(arguments.threads)?;
    progress.phase("searching");
    let options = DiscoverOptions { series: arguments.series.clone(), ..DiscoverOptions::default() };
    let discovery = dicom::discover(paths, &options, &pool, &progress);
    let inspection = discovery.map(|discovery| {
        progress.phase("reading slices");
        with_pixels(&discovery, &pool, &progress)
    });
    progress.clear();
    inspection
}

fn with_pixels(discovery: &Discovery, pool: &rayon::ThreadPool, progress: &Progress) -> Inspection {
    let mut inspection = discovery.inspection();
    for (study, outcome) in inspection.studies.iter_mut().zip(&discovery.outcomes) {
        let Ok(series) = &outcome.result else { continue };
        match series.read(pool, progress) {
            Ok(decoded) => study.findings = decoded.findings,
            Err(error) => study.error = Some(Problem::from(&error)),
        }
    }
    inspection
}

fn pool(threads: Option<usize>) -> Result<rayon::ThreadPool> {
    let mut builder = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)) {
        builder = builder.num_threads(threads);
    }
    builder.build().map_err(|e| Error::new(ErrorKind::Device, format!("cannot start worker threads: {e}")).caused_by(e))
}
