//! `radnet predict`: PATHs to results.

use crate::args::PredictArguments;
use crate::console::{Output, complain};
use crate::engine::{EngineArguments, engine_info};
use crate::environment::Environment;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::sink::Sink;
use crate::study::{Judge, Wanted};
use crate::table;
use crate::{FAILED, OK};
use radnet::dicom::{self, DiscoverOptions};
use radnet::engine::Engine;
use radnet::report::maps::MapWriter;
use radnet::report::{EngineInfo, ModelInfo, RunReport, StudyError, StudyResult, atomic, html};
use radnet::{Error, ErrorKind, Result};
use std::path::PathBuf;

/// What `predict` needs, its outputs known to be writable.
struct Settings {
    paths: Vec<PathBuf>,
    model: PathBuf,
    engine: EngineArguments,
    series: Option<String>,
    json: Option<Sink>,
    maps: Option<MapWriter>,
    report: Option<PathBuf>,
}

impl Settings {
    fn new(arguments: PredictArguments) -> Result<Self> {
        let json = arguments.json.map(Sink::new);
        json.as_ref().map_or(Ok(()), Sink::check)?;
        arguments.report.as_deref().map_or(Ok(()), atomic::check_writable)?;
        Ok(Self {
            paths: arguments.paths,
            model: arguments.model,
            engine: arguments.engine,
            series: arguments.series,
            json,
            maps: arguments.maps.as_deref().map(MapWriter::new).transpose()?,
            report: arguments.report,
        })
    }

    /// Whether standard output is for the document alone.
    fn silent(&self) -> bool {
        self.json == Some(Sink::Stdout)
    }
}

/// Runs the command; the exit status.
pub(crate) fn run(arguments: PredictArguments, environment: &Environment) -> u8 {
    let mut output = Output::new(environment.plain);
    let mut settings = match Settings::new(arguments) {
        Ok(settings) => settings,
        Err(error) => {
            complain(&error.to_string());
            return FAILED;
        }
    };
    let mut known = ModelInfo::default();
    let outcome = match settings.engine.open(&settings.model, environment, &mut known) {
        Ok(engine) => judge_all(&engine, known, &mut settings, &mut output),
        Err(error) => nothing_ran(&settings, known, &error),
    };
    finish(&settings, &outcome, &mut output)
}

/// What a run leaves: its results, the report page where one is wanted, and whether everything asked for was done.
struct Outcome {
    report: RunReport,
    page: Option<String>,
    complete: bool,
}

/// The model or the device failed: every PATH gets that error.
fn nothing_ran(settings: &Settings, model: ModelInfo, error: &Error) -> Outcome {
    complain(&error.to_string());
    let mut report = RunReport::new(EngineInfo::unopened(), model);
    report.results = settings.paths.iter().map(|path| StudyResult::Error(StudyError::of_path(path, error))).collect();
    let page = settings.report.is_some().then(|| html::render(&report, &[]));
    Outcome { report, page, complete: false }
}

fn judge_all(engine: &Engine, model: ModelInfo, settings: &mut Settings, output: &mut Output) -> Outcome {
    let progress = Progress::new(Interrupt::listen());
    let mut report = RunReport::new(engine_info(engine), model);
    let mut pictures = Vec::new();
    let mut complete = true;
    progress.phase("searching");
    let options = DiscoverOptions { series: settings.series.clone(), ..DiscoverOptions::default() };
    let (discovery, session) = (dicom::discover(&settings.paths, &options, engine.pool(), &progress), engine.session());
    let (discovery, session) = match (discovery, session) {
        (Ok(discovery), Ok(session)) => (discovery, session),
        (Err(error), _) | (_, Err(error)) => {
            progress.clear();
            return nothing_ran(settings, report.model, &error);
        }
    };
    let silent = settings.silent();
    let wanted = Wanted { pictures: settings.report.is_some(), maps: settings.maps.as_mut() };
    let mut judge = Judge::new(engine, session, &progress, wanted);
    for outcome in &discovery.outcomes {
        let judged = judge.study(outcome);
        progress.clear();
        if let Some(error) = judged.unwritten {
            complete = false;
            complain(&error.to_string());
        }
        tell(&judged.result, silent, output);
        report.results.push(judged.result);
        pictures.push(judged.pictures);
    }
    progress.clear();
    let page = settings.report.is_some().then(|| html::render(&report, &pictures));
    Outcome { report, page, complete }
}

/// A result as it comes: on standard output as text, or, where that is for the document, an error on standard error.
fn tell(result: &StudyResult, silent: bool, output: &mut Output) {
    match result {
        StudyResult::Error(study) if silent => complain(&format!("{}: {}: {}", study.source, study.error.code, study.error.message)),
        _ if silent => {}
        _ => {
            let text = table::result(result, output.paint());
            output.write(text.as_bytes());
        }
    }
}

fn finish(settings: &Settings, outcome: &Outcome, output: &mut Output) -> u8 {
    if !settings.silent() && outcome.report.results.iter().any(StudyResult::is_ok) {
        let text = table::ending(&outcome.report, output.paint());
        output.write(text.as_bytes());
    }
    let mut complete = outcome.complete && outcome.report.all_ok();
    let mut write = |result: Result<()>| {
        if let Err(error) = result {
            complain(&error.to_string());
            complete = false;
        }
    };
    if let (Some(path), Some(page)) = (&settings.report, &outcome.page) {
        write(atomic::write(path, page.as_bytes()));
    }
    if let Some(sink) = &settings.json {
        write(outcome.report.to_json().and_then(|document| sink.put(&document, output)));
    }
    if complete && !output.failed() { OK } else { FAILED }
}

/// The error of work that was stopped.
pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "interrupted before this study was judged")
}
