//! `radnet-bench`: how long one scan takes, and where the time goes; or how that depends on slices, size, threads and precision.

mod args;
mod compare;
#[allow(dead_code, reason = "shared with radnet, which uses all of it")]
#[path = "../shared/console.rs"]
mod console;
#[allow(dead_code, reason = "shared with radnet, which uses all of it")]
#[path = "../shared/environment.rs"]
mod environment;
mod input;
mod measure;
mod rss;
mod summary;
mod sweep;
mod trace;

use args::{Arguments, Setup};
use clap::{CommandFactory, Parser};
use compare::Comparison;
use console::{Output, Paint, complain};
use environment::Environment;
use measure::Measurement;
use radnet::Result;
use radnet::report::{atomic, result::to_json};
use std::path::Path;
use std::process::ExitCode;
use summary::Summary;
use sweep::{Axis, Sweep};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let environment = Environment::read();
    let mut output = Output::new(environment.plain);
    if let Some([before, after]) = arguments.compare.as_deref() {
        let done = Comparison::read(before, after)
            .and_then(|comparison| show(&arguments, &comparison, |paint| comparison.text(paint), &mut output));
        return ended(done, &output);
    }
    if let Some(axes) = arguments.sweep.as_deref() {
        return match swept(&arguments, axes, &mut output) {
            Ok(false) => ExitCode::FAILURE,
            done => ended(done.map(drop), &output),
        };
    }
    let setup = match Setup::new(&arguments) {
        Ok(setup) => setup,
        Err(args::Refusal::Usage(message)) => Arguments::command().error(clap::error::ErrorKind::ValueValidation, message).exit(),
        Err(args::Refusal::Failed(error)) => return failed(&error),
    };
    ended(bench(&arguments, setup, &environment, &mut output), &output)
}

fn ended(done: Result<()>, output: &Output) -> ExitCode {
    match done {
        Ok(()) if !output.failed() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

fn failed(error: &radnet::Error) -> ExitCode {
    complain(&error.to_string());
    ExitCode::FAILURE
}

/// Whether every combination was measured.
fn swept(arguments: &Arguments, axes: &[Axis], output: &mut Output) -> Result<bool> {
    let files = [arguments.json.as_deref().filter(|p| p.as_os_str() != "-"), arguments.svg.as_deref()];
    files.iter().flatten().try_for_each(|path| atomic::check_writable(path))?;
    let sweep = Sweep::run(arguments, axes)?;
    show(arguments, &sweep, |paint| sweep.text(paint), output)?;
    arguments.svg.as_deref().map_or(Ok(()), |path| atomic::write(path, sweep.lines().to_svg().as_bytes()))?;
    Ok(sweep.complete())
}

fn bench(arguments: &Arguments, setup: Setup, environment: &Environment, output: &mut Output) -> Result<()> {
    let files = [arguments.json.as_deref().filter(|p| p.as_os_str() != "-"), arguments.trace.as_deref()];
    files.iter().flatten().try_for_each(|path| atomic::check_writable(path))?;
    let measurement = Measurement::take(arguments, setup, environment)?;
    let summary = Summary::new(arguments, &measurement);
    show(arguments, &summary, |paint| summary.text(arguments.stages, paint), output)?;
    arguments.trace.as_deref().map_or(Ok(()), |path: &Path| atomic::write(path, &trace::chrome(&measurement)?))
}

/// The document where `--json` wants it, and the text unless the document went to standard output.
fn show(arguments: &Arguments, document: &impl serde::Serialize, text: impl Fn(Paint) -> String, output: &mut Output) -> Result<()> {
    match &arguments.json {
        Some(path) if path.as_os_str() == "-" => {
            output.write(&to_json(document)?);
            return Ok(());
        }
        Some(path) => atomic::write(path, &to_json(document)?)?,
        None => {}
    }
    let text = text(output.paint());
    output.write(text.as_bytes());
    Ok(())
}
