//! The engine as the command line asks for it.

use crate::console::tell_fallback;
use crate::environment::Environment;
use clap::Args;
use radnet::Result;
use radnet::engine::{self, Device, Engine, Precision};
use radnet::report::{EngineInfo, ModelInfo};
use radnet::weights::Model;
use std::path::Path;

/// Where and how a model runs.
#[derive(Args, Debug)]
pub(crate) struct EngineArguments {
    /// Where to run: cpu, cuda, cuda:N, or auto, which is the first GPU that can be used, else the CPU
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    pub(crate) device: Device,
    /// Arithmetic: auto, fp32, bf16, fp16 or int8; auto is fp16 on a GPU and fp32 on the CPU
    #[arg(long, value_name = "PRECISION", default_value = "auto", value_parser = precision)]
    pub(crate) precision: Precision,
    /// Worker threads [default: the CPUs that affinity and cgroup quota allow]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,
    /// Neither read nor keep packed weights in the cache folder
    #[arg(long)]
    pub(crate) no_cache: bool,
}

impl EngineArguments {
    /// Reads the model and opens the device; `known` gets what the model says of itself as soon as that is known.
    pub(crate) fn open(&self, model: &Path, environment: &Environment, known: &mut ModelInfo) -> Result<Engine> {
        let pool = engine::pool(self.threads)?;
        let model = pool.install(|| Model::open(model))?;
        *known = model_info(&model);
        let engine = Engine::builder(model)
            .device(self.device)
            .precision(self.precision)
            .pool(pool)
            .isa(environment.isa.clone())
            .cache_dir(environment.cache_dir.clone().filter(|_| !self.no_cache))
            .build()?;
        tell_fallback(&engine);
        Ok(engine)
    }
}

/// What a model says of itself.
pub(crate) fn model_info(model: &Model) -> ModelInfo {
    let said = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    ModelInfo {
        name: said(&model.name),
        version: said(&model.version),
        sha256: said(&model.sha256),
        intended_use: said(&model.intended_use),
    }
}

/// What an engine says of itself.
pub(crate) fn engine_info(engine: &Engine) -> EngineInfo {
    let info = engine.info();
    EngineInfo {
        version: env!("CARGO_PKG_VERSION"),
        device: Some(info.device),
        isa: Some(info.isa),
        precision: Some(info.precision),
        threads: Some(info.threads),
    }
}

fn device(text: &str) -> Result<Device, String> {
    text.parse().map_err(|e: radnet::Error| e.message().to_owned())
}

fn precision(text: &str) -> Result<Precision, String> {
    text.parse().map_err(|e: radnet::Error| e.message().to_owned())
}

/// A number of threads that a machine can have.
pub(crate) fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=1024).contains(&n) => Ok(n),
        _ => Err("a number from 1 to 1024 is needed".to_owned()),
    }
}
