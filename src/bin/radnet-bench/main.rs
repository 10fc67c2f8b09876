//! `radnet-bench`: how long one scan takes, and where the time goes.

mod args;
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
mod trace;

use args::{Arguments, Setup};
use clap::{CommandFactory, Parser};
use console::{Output, complain};
use environment::Environment;
use measure::Measurement;
use radnet::Result;
use radnet::report::{atomic, result::to_json};
use std::path::Path;
use std::process::ExitCode;
use summary::Summary;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let environment = Environment::read();
    let mut output = Output::new(environment.plain);
    let setup = match Setup::new(&arguments) {
        Ok(setup) => setup,
        Err(args::Refusal::Usage(message)) => Arguments::command().error(clap::error::ErrorKind::ValueValidation, message).exit(),
        Err(args::Refusal::Failed(error)) => return failed(&error),
    };
    match bench(&arguments, setup, &environment, &mut output) {
        Ok(()) if !output.failed() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

fn failed(error: &radnet::Error) -> ExitCode {
    complain(&error.to_string());
    ExitCode::FAILURE
}

fn bench(arguments: &Arguments, setup: Setup, environment: &Environment, output: &mut Output) -> Result<()> {
    let files = [arguments.json.as_deref().filter(|p| p.as_os_str() != "-"), arguments.trace.as_deref()];
    files.iter().flatten().try_for_each(|path| atomic::check_writable(path))?;
    let measurement = Measurement::take(arguments, setup, environment)?;
    let summary = Summary::new(arguments, &measurement);
    match &arguments.json {
        Some(path) if path.as_os_str() == "-" => output.write(&to_json(&summary)?),
        Some(path) => {
            atomic::write(path, &to_json(&summary)?)?;
            let text = summary.text(arguments.stages, output.paint());
            output.write(text.as_bytes());
        }
        None => {
            let text = summary.text(arguments.stages, output.paint());
            output.write(text.as_bytes());
        }
    }
    arguments.trace.as_deref().map_or(Ok(()), |path: &Path| atomic::write(path, &trace::chrome(&measurement)?))
}
