//! From the start of a process to its first result.

use super::fixtures;
use super::words;
use radnet::{Device, Engine, Unobserved};
use radnet_gpu::scans;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const SLICES: usize = 32;
const RUNS: usize = 5;

/// The worker: model from its file, one scan of 512×512 slices, probabilities.
pub(crate) fn first(device: usize, model: &Path) -> Result<(), String> {
    let engine = Engine::builder(fixtures::open(model)?).device(Device::Cuda(device)).build().map_err(words)?;
    let mut session = engine.session().map_err(words)?;
    session.predict(&scans::noise(SLICES, 512, 1)?, &Unobserved, false).map_err(words).map(drop)
}

/// Milliseconds of several such processes, in the order in which they ran.
pub(crate) fn measure(program: &Path, device: usize, model: &Path) -> Result<Vec<f64>, String> {
    let once = || {
        let started = Instant::now();
        let mut command = Command::new(program);
        let command = command.args(["first", "--device", &device.to_string(), "--model"]).arg(model).stdin(Stdio::null());
        let status = command.status().map_err(|error| format!("{}: {error}", program.display()))?;
        match status.success() {
            true => Ok(started.elapsed().as_secs_f64() * 1e3),
            false => Err(format!("the first scan of a process ended with {status}")),
        }
    };
    (0..RUNS).map(|_| once()).collect()
}
