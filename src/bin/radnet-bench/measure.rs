//! The repetitions.

use crate::args::{Arguments, Setup};
use crate::console::tell_fallback;
use crate::environment::Environment;
use crate::input::Scan;
use crate::rss;
use radnet::backend::cpu::Roof;
use radnet::backend::cuda::devices;
use radnet::backend::{BackendInfo, StageTime};
use radnet::engine::{Device, Engine, EngineBuilder};
use radnet::model::Network;
use radnet::report::ModelInfo;
use radnet::report::card::Card;
use radnet::session::{Prediction, Session};
use radnet::weights::Model;
use radnet::{Observer, Result};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One repetition, in milliseconds from the start of the measurement.
#[derive(Clone, Debug)]
pub(crate) struct Repetition {
    pub(crate) start: f64,
    pub(crate) total: f64,
    /// Time that a GPU spent on it, by its own clock.
    pub(crate) device: Option<f64>,
    /// Pre-processing, 2-D network, recurrence and classifier; in this order, without gaps.
    pub(crate) parts: [f64; 3],
    /// When each slice left the 2-D network, and how many had by then.
    pub(crate) slices_done: Vec<(f64, usize)>,
}

/// What the parts are called.
pub(crate) const PARTS: [&str; 3] = ["preprocess", "network", "sequence"];

/// Everything that was measured.
pub(crate) struct Measurement {
    pub(crate) name: String,
    pub(crate) card: Card,
    pub(crate) network: Network,
    pub(crate) info: BackendInfo,
    pub(crate) load_ms: f64,
    pub(crate) first_result_ms: f64,
    /// Before anything but the scans was measured.
    pub(crate) peak_rss_mb: Option<f64>,
    /// Of a processor.
    pub(crate) roof: Option<Roof>,
    pub(crate) repetitions: Vec<Repetition>,
    /// What each step of the network cost, scan by scan.
    pub(crate) steps: Vec<Vec<StageTime>>,
}

/// Notes when slices leave the 2-D network.
#[derive(Default)]
struct Watch {
    done: Mutex<Vec<(Instant, usize)>>,
}

impl Observer for Watch {
    fn slices_done(&self, done: usize, _total: usize) {
        if let Ok(mut all) = self.done.lock() {
            all.push((Instant::now(), done));
        }
    }
}

impl Measurement {
    pub(crate) fn take(arguments: &Arguments, setup: Setup, environment: &Environment) -> Result<Self> {
        let Setup { model, name, pool, read } = setup;
        let scan = Scan::new(arguments.input, arguments.from, arguments.slices, &model.config.input)?;
        let card = Card::new(ModelInfo::default(), &model.config, &model.network);
        let network = model.network.clone();
        let gpu = may_be_gpu(arguments, environment);
        let again = (arguments.stages && gpu).then(|| model.clone());
        let start = Instant::now();
        let engine = builder(model, arguments, environment, &pool).measure(!gpu).build()?;
        tell_fallback(&engine);
        let mut session = engine.session()?;
        let load = read + start.elapsed();
        let mut runner = Runner { session: &mut session, scan: &scan, epoch: start };
        let first = runner.once()?;
        let first_result_ms = milliseconds(load) + first.total;
        for _ in 1..arguments.warmup {
            runner.once()?;
        }
        let (mut repetitions, mut steps) = (Vec::new(), Vec::new());
        match arguments.warmup {
            0 => (repetitions, steps) = (vec![first], vec![engine.stage_times()]),
            _ => drop(engine.stage_times()),
        }
        while repetitions.len() < arguments.reps {
            repetitions.push(runner.once()?);
            steps.push(engine.stage_times());
        }
        let info = engine.info();
        let peak_rss_mb = rss::peak_mb();
        drop(session);
        let roof = (info.device == "cpu").then(|| Roof::measure(engine.pool(), &info.isa, &info.precision)).transpose()?;
        drop(engine);
        if let Some(model) = again {
            steps = step_by_step(builder(model, arguments, environment, &pool), arguments, &scan)?;
        }
        Ok(Self { name, card, network, info, load_ms: milliseconds(load), first_result_ms, peak_rss_mb, roof, repetitions, steps })
    }
}

/// Whether measuring steps would change what is measured: a GPU runs a scan as one graph, and its steps only one by one.
fn may_be_gpu(arguments: &Arguments, environment: &Environment) -> bool {
    match arguments.device {
        Device::Cpu => false,
        Device::Cuda(_) => true,
        Device::Auto => environment.isa.is_none() && devices::probe().is_ok(),
    }
}

fn builder(model: Model, arguments: &Arguments, environment: &Environment, pool: &Arc<rayon::ThreadPool>) -> EngineBuilder {
    // A model file starts as it does for `radnet`, from packed weights where they are kept; random weights leave nothing behind.
    let cache_dir = environment.cache_dir.clone().filter(|_| model.path.is_some());
    let builder = Engine::builder(model).device(arguments.device).precision(arguments.precision).pool(Arc::clone(pool));
    builder.isa(environment.isa.clone()).cache_dir(cache_dir)
}

/// The steps of as many further scans.
fn step_by_step(builder: EngineBuilder, arguments: &Arguments, scan: &Scan) -> Result<Vec<Vec<StageTime>>> {
    let engine = builder.measure(true).build()?;
    let mut session = engine.session()?;
    let mut runner = Runner { session: &mut session, scan, epoch: Instant::now() };
    for _ in 0..arguments.warmup {
        runner.once()?;
    }
    drop(engine.stage_times());
    let mut once = |_| runner.once().map(|_| engine.stage_times());
    (0..arguments.reps).map(&mut once).collect()
}

struct Runner<'a, 'e> {
    session: &'a mut Session<'e>,
    scan: &'a Scan,
    epoch: Instant,
}

impl Runner<'_, '_> {
    fn once(&mut self) -> Result<Repetition> {
        let watch = Watch::default();
        let start = Instant::now();
        let prediction = match self.scan {
            Scan::Tensor(tensor) => self.session.predict_source(tensor, &watch, false),
            Scan::Hu(volume) => self.session.predict(volume, &watch, false),
        }?;
        let total = start.elapsed();
        let done = watch.done.into_inner().unwrap_or_default();
        Ok(self.repetition(start, total, &done, &prediction))
    }

    fn repetition(&self, start: Instant, total: Duration, done: &[(Instant, usize)], prediction: &Prediction) -> Repetition {
        let preprocess = prediction.preprocess.min(total);
        let network_end = done.iter().map(|(at, _)| *at - start).max().unwrap_or(total).clamp(preprocess, total);
        let slices_done = done.iter().map(|(at, n)| (milliseconds(*at - self.epoch), *n)).collect();
        Repetition {
            start: milliseconds(start - self.epoch),
            total: milliseconds(total),
            device: self.session.device_ms(),
            parts: [preprocess, network_end - preprocess, total - network_end].map(milliseconds),
            slices_done,
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
