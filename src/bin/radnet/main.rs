//! `radnet`: hemorrhage probabilities from DICOM head CT, on the command line.

mod args;
mod calibrate;
#[path = "../shared/console.rs"]
mod console;
mod devices;
mod engine;
#[path = "../shared/environment.rs"]
mod environment;
mod evaluate;
mod gpus;
mod inspect;
mod interrupt;
mod newmodel;
mod predict;
mod progress;
mod quantize;
mod sink;
mod study;
mod table;

use args::{Arguments, Command};
use clap::Parser;
use environment::Environment;
use std::process::ExitCode;

/// Every result is ok.
const OK: u8 = 0;
/// At least one error, or the model or the device failed. Wrong usage is 2, which clap returns.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let environment = Environment::read();
    ExitCode::from(match arguments.command {
        Command::Predict(predict) => predict::run(predict, &environment),
        Command::Inspect(inspect) => inspect::run(inspect, &environment),
        Command::Evaluate(evaluate) => evaluate::run(*evaluate, &environment),
        Command::Calibrate(calibrate) => calibrate::run(*calibrate, &environment),
        Command::Quantize(quantize) => quantize::run(*quantize, &environment),
        Command::Devices(devices) => devices::run(devices, &environment),
    })
}
