//! `radnet evaluate --run`: predicts every study under a folder and hands on the results.

use super::args::EvaluateArguments;
use crate::environment::Environment;
use clap::Args;
use radnet::{Error, ErrorKind, Result};

/// How the engine runs.
#[derive(Args, Debug)]
pub(crate) struct EngineArguments {}

/// Gives `take` one `radnet-result/1` document (JSON, without line feeds) per study under `arguments.run`.
///
/// # Errors
/// Those of the model, the device and the folder; the first that `take` gives back.
pub(crate) fn predict(arguments: &EvaluateArguments, _environment: &Environment, _take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let folder = arguments.run.as_deref().unwrap_or("".as_ref());
    Err(Error::new(ErrorKind::Io, "--run is not part of this build").in_file(folder))
}
