//! `radnet calibrate`: a model and labelled scans to a model with a fitted temperature and a chosen threshold.

pub(crate) mod args;
mod text;

use crate::console::{Output, complain};
use crate::environment::Environment;
use crate::evaluate::run as runner;
use crate::newmodel::{NewModel, is_same_file, now};
use crate::sink::Sink;
use crate::{FAILED, OK};
use args::CalibrateArguments;
use radnet::calibrate::threshold::choose;
use radnet::calibrate::{Answers, Case, Change, LabelsFile, Record, SCHEMA, Thresholds, calibrated, next_version, score_at, temperature};
use radnet::evaluate::IdKind;
use radnet::evaluate::labels::{Format, canonical_class, read_labels};
use radnet::evaluate::stats::Estimate;
use radnet::evaluate::stats::bootstrap::Bootstrap;
use radnet::model::config::ScanRule;
use radnet::report::{atomic, result};
use radnet::weights::Model;
use radnet::{Error, ErrorKind, Result, threads};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The document of `--json`.
#[derive(Serialize)]
pub(crate) struct Outcome {
    #[serde(flatten)]
    pub(crate) record: Record,
    pub(crate) model: NewModel,
}

/// Runs the command; the exit status.
pub(crate) fn run(arguments: CalibrateArguments, environment: &Environment) -> u8 {
    let mut output = Output::new(environment.plain);
    let json = arguments.json.clone().map(Sink::new);
    let done = calibrate(&arguments, json.as_ref(), environment).and_then(|outcome| {
        if json != Some(Sink::Stdout) {
            output.write(text::render(&outcome).as_bytes());
        }
        json.as_ref().map_or(Ok(()), |sink| sink.put(&result::to_json(&outcome)?, &mut output))
    });
    match done {
        Ok(()) if !output.failed() => OK,
        Ok(()) => FAILED,
        Err(error) => {
            complain(&error.to_string());
            FAILED
        }
    }
}

fn calibrate(arguments: &CalibrateArguments, json: Option<&Sink>, environment: &Environment) -> Result<Outcome> {
    check_outputs(arguments, json)?;
    let file = Model::read_file(&arguments.model)?;
    let model = Model::from_bytes(&file).map_err(|e| e.in_file(&arguments.model))?;
    let class = class_of(&model, &arguments.class).map_err(|e| e.in_file(&arguments.model))?;
    let labels = read_labels(&arguments.labels, arguments.labels_format)?;
    let kind = arguments.id.unwrap_or(match labels.format {
        Format::Cq500 => IdKind::Folder,
        Format::Rsna => IdKind::Sop,
        Format::Plain | Format::Auto => IdKind::Study,
    });
    let answers = answers(arguments, kind, environment)?;
    check_model(&answers, &model)?;
    let rule = answers.rule(model.config.scan);
    let (cases, left_out) = answers.cases(&labels, rule, arguments.allow_missing)?;
    let record = Record {
        schema: SCHEMA,
        date: now(),
        radnet: env!("CARGO_PKG_VERSION"),
        class: model.config.classes[class].clone(),
        source_sha256: model.sha256.clone(),
        labels: labels_file(&arguments.labels)?,
        id: kind.name(),
        precision: answers.precision(),
        n: cases.len(),
        positives: cases.iter().filter(|c| c.truth).count(),
        left_out,
        temperature: None,
        target: arguments.target(),
        threshold: Thresholds { before: model.config.thresholds[&model.config.classes[class]], after: 0.0, between: [0.0; 2], ci95: None },
        sensitivity: Estimate::UNKNOWN,
        specificity: Estimate::UNKNOWN,
        tp: 0,
        fp: 0,
        fn_: 0,
        tn: 0,
        bootstrap: arguments.bootstrap,
        seed: arguments.seed,
    };
    let record = fit(record, &cases, rule, !arguments.no_temperature)?;
    write(arguments, &file, &model, class, record)
}

/// Fits the temperature where it is wanted, then chooses the threshold on the scores after it.
fn fit(mut record: Record, cases: &[Case], rule: ScanRule, with_temperature: bool) -> Result<Record> {
    let truth: Vec<bool> = cases.iter().map(|c| c.truth).collect();
    let both = record.positives > 0 && record.positives < record.n;
    // Without both kinds of cases the choice of the threshold says what is wrong.
    record.temperature = (with_temperature && both).then(|| temperature::fit(cases, rule));
    let t = record.temperature.map_or(1.0, |t| t.value);
    let mut memory = Vec::new();
    let scores: Vec<f64> = cases.iter().map(|c| score_at(c.logits, rule, t, &mut memory)).collect();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads::available())
        .build()
        .map_err(|e| Error::new(ErrorKind::Io, format!("cannot start threads: {e}")).caused_by(e))?;
    let bootstrap = Bootstrap { rounds: record.bootstrap, seed: record.seed, pool: Some(&pool) };
    let choice = choose(&truth, &scores, record.target, &bootstrap)?;
    Ok(record.with_choice(&choice))
}

fn write(arguments: &CalibrateArguments, file: &[u8], model: &Model, class: usize, record: Record) -> Result<Outcome> {
    let change = Change {
        class,
        temperature: record.temperature.map_or(1.0, |t| t.value),
        threshold: record.threshold.after,
        version: arguments.model_version.clone().unwrap_or_else(|| next_version(&model.version)),
        record: serde_json::to_value(&record)
            .map_err(|e| Error::new(ErrorKind::Io, format!("cannot write the record as JSON: {e}")).caused_by(e))?,
    };
    let bytes = calibrated(file, &change).map_err(|e| e.in_file(&arguments.model))?;
    let new = Model::from_bytes(&bytes)?;
    atomic::write(&arguments.out, &bytes)?;
    Ok(Outcome { record, model: NewModel::new(&arguments.out, &new) })
}

/// The class by the model's own name or a data set's.
fn class_of(model: &Model, name: &str) -> Result<usize> {
    let wanted = canonical_class(name);
    let classes = &model.config.classes;
    classes
        .iter()
        .position(|c| canonical_class(c) == wanted)
        .ok_or_else(|| Error::new(ErrorKind::BadModel, format!("the model has no class `{name}`, only {}", classes.join(", "))))
}

fn answers(arguments: &CalibrateArguments, kind: IdKind, environment: &Environment) -> Result<Answers> {
    let mut answers = Answers::new(&arguments.class, kind);
    for path in &arguments.results {
        answers.add_file(path)?;
    }
    if let Some(folder) = &arguments.run {
        runner::predict(folder, &arguments.model, &arguments.running, environment, &mut |document| answers.add_bytes(document))?;
    }
    Ok(answers)
}

/// Another model's logits say nothing about this one.
fn check_model(answers: &Answers, model: &Model) -> Result<()> {
    match answers.model_sha256() {
        Some(sha256) if sha256 != model.sha256 => {
            let message = format!("the results are of another model, sha256 {sha256}; the model to calibrate has {}", model.sha256);
            Err(Error::new(ErrorKind::CorruptFile, message))
        }
        _ => Ok(()),
    }
}

/// No input may be the output, by whatever name.
fn check_outputs(arguments: &CalibrateArguments, json: Option<&Sink>) -> Result<()> {
    let inputs = [&arguments.model, &arguments.labels].into_iter().chain(&arguments.results);
    if let Some(input) = inputs.into_iter().find(|input| is_same_file(input, &arguments.out)) {
        let message = format!("the new model would replace {}, which is never touched; name another file by --out", input.display());
        return Err(Error::new(ErrorKind::Io, message).in_file(&arguments.out));
    }
    if let Some(Sink::File(path)) = json
        && (is_same_file(path, &arguments.out) || path == &arguments.out)
    {
        return Err(Error::new(ErrorKind::Io, "--out and --json name the same file").in_file(path));
    }
    json.map_or(Ok(()), Sink::check)?;
    atomic::check_writable(&arguments.out)
}

fn labels_file(path: &Path) -> Result<LabelsFile> {
    let sha256 = digest(path).map_err(|e| Error::io(path, e))?.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(LabelsFile { name: path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()), sha256 })
}

/// A piece at a time: RSNA's labels are 130 MB.
fn digest(path: &Path) -> std::io::Result<Sha256> {
    let (mut file, mut hash, mut piece) = (File::open(path)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hash),
            n => hash.update(&piece[..n]),
        }
    }
}
