//! `radnet quantize`: a model to a model with ranges for 8-bit codes, and what they change.

pub(crate) mod args;
mod check;
mod text;

use crate::console::{Output, complain};
use crate::environment::Environment;
use crate::interrupt::Interrupt;
use crate::newmodel::{NewModel, is_same_file, now};
use crate::progress::Progress;
use crate::sink::Sink;
use crate::{FAILED, OK};
use args::QuantizeArguments;
use radnet::dicom::{self, DiscoverOptions, StudyOutcome};
use radnet::model::Quantisation;
use radnet::preprocess::HuStack;
use radnet::quantize::{Change, Comparison, MARGIN, Observed, Record, SCHEMA, Source, next_version, quantised};
use radnet::report::{atomic, result};
use radnet::weights::{DEVIATIONS, Model, SEEN_DEVIATIONS};
use radnet::{Error, ErrorKind, HuVolume, Result, threads};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// The document of `--json`.
#[derive(Serialize)]
pub(crate) struct Outcome {
    #[serde(flatten)]
    record: Record,
    model: NewModel,
    /// Of `--check`.
    comparison: Option<Comparison>,
    /// Scans that could not be read, of `--scans` and of `--check`.
    left_out: usize,
}

/// Runs the command; the exit status.
pub(crate) fn run(arguments: QuantizeArguments, environment: &Environment) -> u8 {
    let mut output = Output::new(environment.plain);
    let json = arguments.json.clone().map(Sink::new);
    let done = quantize(&arguments, json.as_ref(), environment).and_then(|outcome| {
        if json != Some(Sink::Stdout) {
            output.write(text::render(&outcome).as_bytes());
        }
        json.as_ref().map_or(Ok(()), |sink| sink.put(&result::to_json(&outcome)?, &mut output))?;
        Ok(outcome.left_out)
    });
    match done {
        Ok(0) if !output.failed() => OK,
        Ok(_) => FAILED,
        Err(error) => {
            complain(&error.to_string());
            FAILED
        }
    }
}

fn quantize(arguments: &QuantizeArguments, json: Option<&Sink>, environment: &Environment) -> Result<Outcome> {
    check_outputs(arguments, json)?;
    let labels = check::labels(arguments)?;
    let file = Model::read_file(&arguments.model)?;
    let model = Model::from_bytes(&file).map_err(|e| e.in_file(&arguments.model))?;
    let mut scans = Scans::new(arguments.threads)?;
    let (ranges, source) = ranges(&model, arguments, &mut scans)?;
    let record =
        Record { schema: SCHEMA, date: now(), radnet: env!("CARGO_PKG_VERSION"), source_sha256: model.sha256.clone(), ranges: source };
    let change = Change {
        ranges,
        version: arguments.model_version.clone().unwrap_or_else(|| next_version(&model.version)),
        record: serde_json::to_value(&record)
            .map_err(|e| Error::new(ErrorKind::Io, format!("cannot write the record as JSON: {e}")).caused_by(e))?,
    };
    let bytes = quantised(&file, &change).map_err(|e| e.in_file(&arguments.model))?;
    atomic::write_new(&arguments.out, &bytes)?;
    let new = Model::from_bytes(&bytes)?;
    let named = NewModel::new(&arguments.out, &new);
    let comparison = match arguments.check.is_empty() {
        true => None,
        false => Some(check::compare(new, arguments, labels.as_ref(), &mut scans, environment)?),
    };
    Ok(Outcome { record, model: named, comparison, left_out: scans.left_out })
}

fn ranges(model: &Model, arguments: &QuantizeArguments, scans: &mut Scans) -> Result<(Quantisation, Source)> {
    if arguments.scans.is_empty() {
        return Ok((Quantisation::from_norms(&model.network, &model.weights), Source::Norms { deviations: DEVIATIONS }));
    }
    let mut observed = Observed::new(model);
    scans.each(&arguments.scans, "looking at activations", &mut |_, volume, scans| {
        scans.pool.install(|| observed.add(&HuStack::new(volume, &model.config.input, &scans.progress)?, &scans.progress))
    })?;
    let (scans, slices) = observed.seen();
    Ok((observed.ranges()?, Source::Scans { scans, slices, margin: MARGIN, deviations: SEEN_DEVIATIONS }))
}

/// Reads scan after scan.
struct Scans {
    pool: Arc<rayon::ThreadPool>,
    progress: Progress,
    left_out: usize,
}

impl Scans {
    fn new(wanted: Option<usize>) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(wanted.unwrap_or_else(threads::available))
            .build()
            .map_err(|e| Error::new(ErrorKind::Io, format!("cannot start threads: {e}")).caused_by(e))?;
        Ok(Self { pool: Arc::new(pool), progress: Progress::new(Interrupt::listen()), left_out: 0 })
    }

    /// Gives `take` every scan under the paths. What cannot be read or taken is told, counted and left out; Ctrl-C ends it all.
    fn each(
        &mut self,
        paths: &[PathBuf],
        phase: &'static str,
        take: &mut dyn FnMut(&StudyOutcome, &HuVolume, &Self) -> Result<()>,
    ) -> Result<()> {
        self.progress.phase("searching");
        // The folder directly under a PATH is what labels name.
        let options = DiscoverOptions { archive: true, ..DiscoverOptions::default() };
        let discovery = dicom::discover(paths, &options, &self.pool, &self.progress);
        self.progress.clear();
        let outcomes = discovery?.outcomes;
        let (start, total) = (std::time::Instant::now(), outcomes.len());
        for (number, outcome) in outcomes.iter().enumerate() {
            self.progress.study(number, total, start.elapsed());
            let done = self.one(outcome, phase, take);
            self.progress.clear();
            match done {
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => {
                    complain(&format!("{}: {}: {error}", outcome.source.display(), error.kind().code()));
                    self.left_out += 1;
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn one(
        &self,
        outcome: &StudyOutcome,
        phase: &'static str,
        take: &mut dyn FnMut(&StudyOutcome, &HuVolume, &Self) -> Result<()>,
    ) -> Result<()> {
        let series = outcome.result.as_ref().map_err(|e| Error::new(e.kind(), e.message().to_owned()))?;
        self.progress.phase("reading slices");
        let decoded = series.read(&self.pool, &self.progress)?;
        self.progress.phase(phase);
        take(outcome, &decoded.volume, self)
    }
}

/// No input may be an output, by whatever name, and nothing is replaced.
fn check_outputs(arguments: &QuantizeArguments, json: Option<&Sink>) -> Result<()> {
    let refuse = |message: &str, path: &PathBuf| Err(Error::new(ErrorKind::Io, message).in_file(path));
    if is_same_file(&arguments.model, &arguments.out) {
        return refuse("the new model would replace the old one, which is never touched; name another file by --out", &arguments.out);
    }
    if arguments.out.symlink_metadata().is_ok() {
        return refuse("is there already; name a new file by --out", &arguments.out);
    }
    if let Some(Sink::File(path)) = json {
        if path == &arguments.out {
            return refuse("--out and --json name the same file", path);
        }
        if std::iter::once(&arguments.model).chain(&arguments.labels).any(|input| is_same_file(input, path)) {
            return refuse("--json would replace an input", path);
        }
    }
    json.map_or(Ok(()), Sink::check)?;
    atomic::check_writable(&arguments.out)
}
