//! `radnet evaluate --run`: predicts every study under a folder, saves each result before the next study begins, and hands on all of them.
//!
//! - A study is done when the saved results hold an ok result of its chosen series with as many slices as are there now; it is not read
//!   again. One that failed is tried again.
//! - Results of studies that are no longer under the folder stay and are handed on: an archive can be judged piece by piece.
//! - Only headers and one scan are in memory.

mod journal;

use crate::console::complain;
use crate::engine::{EngineArguments, engine_info};
use crate::environment::Environment;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::study::{Judge, Wanted};
use clap::Args;
use journal::{Journal, Key, Maker};
use radnet::dicom::{self, DiscoverOptions, StudyOutcome};
use radnet::engine::Engine;
use radnet::report::{EngineInfo, ModelInfo, RunReport, StudyError, StudyResult};
use radnet::{Error, ErrorKind, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Files and folders under one archive: a published data set of slices lies in one folder of three quarters of a million files.
const MAX_FILES: usize = 4_000_000;

/// How `--run` runs.
#[derive(Args, Debug)]
pub(crate) struct RunArguments {
    /// Where --run saves its results, study by study; a run that was stopped goes on from there [default: FOLDER.MODEL.jsonl in the
    /// current folder]
    #[arg(long, value_name = "FILE.jsonl", requires = "run", conflicts_with = "results")]
    pub(crate) save: Option<PathBuf>,
    /// Drop the results that an earlier --run saved, and begin anew
    #[arg(long, requires = "run", conflicts_with = "results")]
    pub(crate) restart: bool,
    /// The engine of --run.
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
}

/// For `--help`.
pub(crate) const HELP: &str = "\
--run judges one series of each study under FOLDER, as `radnet predict` would; labels of other series, or of their slices, find no score.
Each result is saved before the next study begins. After a kill or Ctrl-C the same command goes on: studies that are done are skipped,
those that failed are tried again, and at most one is lost. Saved results stay when their files are gone. Results of another model,
precision, kind of device or version of the engine are refused. A result's source is the folder directly under FOLDER, for --id folder.";

/// Gives `take` one `radnet-result/1` document (JSON on one line) per study under `folder`, in an order that depends on names alone.
///
/// # Errors
/// Those of the model, the device, the folder and the file of saved results; `cancelled` after Ctrl-C; the first that `take` gives back.
pub(crate) fn predict(
    folder: &Path,
    model: &Path,
    arguments: &RunArguments,
    environment: &Environment,
    take: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut known = ModelInfo::default();
    let engine = arguments.engine.open(model, environment, &mut known)?;
    let path = arguments.save.clone().unwrap_or_else(|| default_name(folder, model));
    let info = engine_info(&engine);
    let maker = Maker::new(known.sha256.clone(), info.precision.clone(), info.device.as_deref(), info.version);
    let progress = Progress::new(Interrupt::listen());
    progress.phase("searching");
    let outcomes = search(folder, &engine, &progress);
    progress.clear();
    let (damage, outcomes) = sort_out(outcomes?)?;
    let mut journal = Journal::open(&path, &maker, arguments.restart)?;
    let mut run = Run { engine: &engine, info, model: known, journal: &mut journal, path: &path, progress: &progress };
    let order = run.all(outcomes);
    progress.clear();
    let order = order?;
    let mut report = RunReport::new(run.info, run.model);
    // Told anew by every run, and not saved: files that do not say to which study they belong were not judged.
    report.results = damage;
    take(&document(&report)?)?;
    order.iter().try_for_each(|key| take(&journal.line(key)?))
}

fn document(report: &RunReport) -> Result<Vec<u8>> {
    serde_json::to_vec(report).map_err(|e| Error::new(ErrorKind::Io, format!("cannot write a result as JSON: {e}")).caused_by(e))
}

fn search(folder: &Path, engine: &Engine, progress: &Progress) -> Result<Vec<StudyOutcome>> {
    let options = DiscoverOptions { max_files: MAX_FILES, archive: true, ..DiscoverOptions::default() };
    Ok(dicom::discover(&[folder], &options, engine.pool(), progress)?.outcomes)
}

/// `archive.model.jsonl`, beside whatever the current folder holds.
fn default_name(folder: &Path, model: &Path) -> PathBuf {
    let whole = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
    let name = |part: Option<&std::ffi::OsStr>| part.map_or("all".into(), |p| p.to_string_lossy().into_owned());
    PathBuf::from(format!("{}.{}.jsonl", name(whole.file_name()), name(model.file_stem())))
}

struct Run<'a> {
    engine: &'a Engine,
    info: EngineInfo,
    model: ModelInfo,
    journal: &'a mut Journal,
    path: &'a Path,
    progress: &'a Progress,
}

impl Run<'_> {
    /// Judges what is not done. Every result's key, in the order of discovery, then those whose files are gone.
    fn all(&mut self, outcomes: Vec<StudyOutcome>) -> Result<Vec<Key>> {
        let order: Vec<Key> = outcomes.iter().map(key_of).collect();
        let done: Vec<bool> = outcomes.iter().map(|o| self.is_done(o)).collect();
        let here: HashSet<&Key> = order.iter().collect();
        let again: HashSet<&Key> = order.iter().zip(&done).filter(|(_, done)| !**done).map(|(key, _)| key).collect();
        self.journal.keep_only(&|key| !again.contains(key))?;
        let gone: Vec<Key> = self.journal.keys().iter().filter(|k| !here.contains(k)).cloned().collect();
        let todo = outcomes.into_iter().zip(&done).filter(|(_, done)| !**done).map(|(o, _)| o).collect();
        self.say(done.iter().filter(|d| **d).count(), &gone);
        self.judge(todo)?;
        Ok(order.into_iter().chain(gone).collect())
    }

    fn is_done(&self, outcome: &StudyOutcome) -> bool {
        let Some(saved) = self.journal.get(&key_of(outcome)).filter(|saved| saved.ok) else { return false };
        match &outcome.result {
            Ok(series) => {
                saved.series.as_deref().unwrap_or_default() == series.series_instance_uid() && saved.slices == series.headers().len()
            }
            Err(_) => true,
        }
    }

    fn say(&self, done: usize, gone: &[Key]) {
        let torn = if self.journal.torn > 0 { "; the last line was cut off and is dropped" } else { "" };
        complain(&format!("results are saved in {}{torn}", self.path.display()));
        if done > 0 {
            complain(&format!("{done} studies are done and are not judged again"));
        }
        if !gone.is_empty() {
            complain(&format!("{} saved results of studies that are no longer under the folder stay", gone.len()));
        }
    }

    fn judge(&mut self, todo: Vec<StudyOutcome>) -> Result<()> {
        let total = todo.len();
        let start = Instant::now();
        let mut judge = Judge::new(self.engine, self.engine.session()?, self.progress, Wanted { pictures: false, maps: None });
        self.progress.finish_what_is_begun();
        // Each outcome, with the headers of its files, is let go once it is judged.
        for (number, outcome) in todo.into_iter().enumerate() {
            if self.progress.asked_to_stop() {
                return Err(self.stopped(number, total));
            }
            self.progress.study(number, total, start.elapsed());
            let key = key_of(&outcome);
            let result = judge.study(&outcome).result;
            self.progress.clear();
            let (ok, series, slices) = match &result {
                StudyResult::Ok(study) => (true, study.series_instance_uid.clone(), study.slices.len()),
                StudyResult::Error(study) if study.error.code == ErrorKind::Cancelled.code() => return Err(self.stopped(number, total)),
                StudyResult::Error(study) => {
                    complain(&format!("{}: {}: {}", study.source, study.error.code, study.error.message));
                    (false, study.series_instance_uid.clone(), 0)
                }
            };
            let mut report = RunReport::new(self.info.clone(), self.model.clone());
            report.results.push(result);
            self.journal.append(key, (ok, series, slices), document(&report)?)?;
        }
        Ok(())
    }

    fn stopped(&self, number: usize, total: usize) -> Error {
        let message = format!("stopped with {} of {total} studies left; the same command goes on from here", total - number);
        Error::new(ErrorKind::Cancelled, message).in_file(self.path)
    }
}

/// Damage and studies apart; that there is nothing at all is an error.
fn sort_out(outcomes: Vec<StudyOutcome>) -> Result<(Vec<StudyResult>, Vec<StudyOutcome>)> {
    let (mut damage, mut studies) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome.result {
            Err(error) if error.kind() == ErrorKind::NoImages => return Err(error),
            Err(error) if outcome.study_instance_uid.is_none() && outcome.series.is_empty() => {
                complain(&format!("{}: {}: {error}", outcome.source.display(), error.kind().code()));
                damage.push(StudyResult::Error(StudyError::of_path(&outcome.source, &error)));
            }
            _ => studies.push(outcome),
        }
    }
    Ok((damage, studies))
}

fn key_of(outcome: &StudyOutcome) -> Key {
    Key::new(outcome.study_instance_uid.as_deref(), &outcome.source.display().to_string())
}
