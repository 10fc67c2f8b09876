//! `radnet evaluate`: labels and scores to the statistics of a diagnostic accuracy study.

pub(crate) mod args;
pub(crate) mod run;
mod table;

use crate::console::{Output, complain};
use crate::environment::Environment;
use crate::sink::Sink;
use crate::{FAILED, OK};
use args::EvaluateArguments;
use radnet::evaluate::labels::{Format, read_labels};
use radnet::evaluate::{Evaluation, IdKind, Options, Scores, evaluate};
use radnet::report::evaluation::{self, Sources};
use radnet::report::{atomic, result};
use radnet::{Error, ErrorKind, Result, threads};
use std::path::PathBuf;
use std::sync::Arc;

/// Runs the command; the exit status.
pub(crate) fn run(mut arguments: EvaluateArguments, environment: &Environment) -> u8 {
    let mut output = Output::new(environment.plain);
    let json = arguments.json.take().map(Sink::new);
    let done = judge(&arguments, json.as_ref(), environment).and_then(|(evaluation, id)| {
        if json != Some(Sink::Stdout) {
            let text = table::render(&evaluation, output.paint());
            output.write(text.as_bytes());
        }
        if let Some(path) = &arguments.report {
            atomic::write(path, evaluation::render(&evaluation, &sources(&arguments, id)).as_bytes())?;
        }
        json.as_ref().map_or(Ok(()), |sink| sink.put(&result::to_json(&evaluation)?, &mut output))
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

fn judge(arguments: &EvaluateArguments, json: Option<&Sink>, environment: &Environment) -> Result<(Evaluation, IdKind)> {
    json.map_or(Ok(()), Sink::check)?;
    arguments.report.as_deref().map_or(Ok(()), atomic::check_writable)?;
    let labels = read_labels(&arguments.labels, arguments.labels_format)?;
    let id = arguments.id.unwrap_or(match labels.format {
        Format::Cq500 => IdKind::Folder,
        Format::Rsna => IdKind::Sop,
        Format::Plain | Format::Auto => IdKind::Study,
    });
    let scores = read_scores(arguments, id, environment)?;
    let options = Options {
        class: arguments.class.clone(),
        threshold: arguments.threshold,
        bootstrap: arguments.bootstrap,
        seed: arguments.seed,
        allow_missing: arguments.allow_missing,
        pool: Some(Arc::new(pool()?)),
    };
    Ok((evaluate(&labels, &scores, &options)?, id))
}

/// The library starts no threads of its own.
fn pool() -> Result<rayon::ThreadPool> {
    let built = rayon::ThreadPoolBuilder::new().num_threads(threads::available()).build();
    built.map_err(|e| Error::new(ErrorKind::Io, format!("cannot start threads: {e}")).caused_by(e))
}

fn read_scores(arguments: &EvaluateArguments, id: IdKind, environment: &Environment) -> Result<Scores> {
    if let Some(path) = &arguments.scores {
        return Scores::read_csv(path, &arguments.class);
    }
    let mut scores = Scores::default();
    for path in &arguments.results {
        scores.add_file(path, id)?;
    }
    if let (Some(folder), Some(model)) = (&arguments.run, &arguments.model) {
        run::predict(folder, model, &arguments.running, environment, &mut |document| scores.add_bytes(document, id))?;
    }
    Ok(scores)
}

/// What the report says of its files: their names without folders, which may say more than they should.
fn sources(arguments: &EvaluateArguments, id: IdKind) -> Sources {
    let name = |path: &PathBuf| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let results = arguments.results.iter().chain(&arguments.scores).chain(&arguments.run).map(name).collect();
    Sources { labels: name(&arguments.labels), results, id: arguments.scores.is_none().then_some(id) }
}
