//! The processor, in fp32, bf16 or 8-bit integers: packed weights shared by all sessions, a planned arena per thread, kernels of the best tier, an own pool.
//!
//! Results are the same bits for every thread count, grouping of slices and run: each output is one chain in a fixed order. In fp32 they are
//! the same for every tier as well. In int8 AMX has bits of its own, since its 3×3 goes directly and all others' by Winograd where that pays; in bf16 the two
//! tiers that multiply bf16 in one instruction have.

mod air;
mod arena;
mod bf16;
mod int8;
mod pack;
mod planar;
mod program;
mod roof;
mod sequence;
mod session;
mod stages;
mod store;
mod tiers;

pub use roof::Roof;
pub use tiers::{Tier, kernels, tiers};

use super::{Backend, BackendInfo, BackendSession, ScanMaps, StageTime};
use crate::model::{Network, Quantisation};
use crate::tensor::Extent;
use crate::weights::Weights;
use crate::{Error, ErrorKind, Result};
use arena::ArenaPlan;
use program::{Element, Op, Program};
use radnet_kernels::{Integers, Isa, integers};
use std::path::PathBuf;
use std::sync::Arc;
use store::Store;

/// Where packed weights may be kept between starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedCache {
    /// A directory of the host's choice, made if missing.
    pub directory: PathBuf,
    /// SHA-256 of the model file.
    pub model_sha256: String,
}

/// How the processor is used.
#[derive(Clone, Debug, Default)]
pub struct CpuOptions {
    /// Worker threads; 0 counts as 1, which runs on the caller's thread and starts none. Ignored when a pool is handed in.
    pub threads: usize,
    /// The host's own pool instead of one that the backend makes.
    pub pool: Option<Arc<rayon::ThreadPool>>,
    /// A tier by name instead of the best one.
    pub isa: Option<String>,
    /// A level of integer arithmetic by name instead of the one that goes with the tier.
    pub integers: Option<String>,
    /// x of every channel where a slice shows air alone ([`crate::preprocess::air`]): what sees nothing else is then copied from an empty
    /// slice, for scans of several slices. Without it everything is computed. No bit of a result depends on it.
    pub air: Option<Vec<f32>>,
    /// Keeps packed weights in a file, so that the next start maps them instead of packing; without it no file is touched.
    pub cache: Option<PackedCache>,
    /// Computes with 8-bit codes of these ranges instead of fp32.
    pub quantisation: Option<Quantisation>,
    /// Computes in bf16 instead of fp32; of no effect beside ranges.
    pub bf16: bool,
    /// Whether to measure stages for [`Backend::stage_times`].
    pub measure: bool,
}

/// A network on the processor.
pub struct CpuBackend {
    isa: Isa,
    integers: Integers,
    threads: usize,
    pool: Option<Arc<rayon::ThreadPool>>,
    program: Program,
    arena: ArenaPlan,
    packed: Store,
    air: Option<air::Air>,
    clocks: Option<stages::Clocks>,
    channels: usize,
    input: Extent,
    slice_vector: usize,
    classes: usize,
}

impl CpuBackend {
    /// Packs the weights of a network whose tensors were validated against it.
    ///
    /// # Errors
    /// `device` when the tier is not available or threads cannot be started, or when int8 sums of this network could leave 32 bits;
    /// `bad_model` when the ranges are not this network's; `out_of_memory`.
    pub fn new(network: &Network, weights: &Weights, options: CpuOptions) -> Result<Self> {
        let isa = match &options.isa {
            None if options.bf16 || options.quantisation.is_some() => Isa::detect(),
            None => Isa::detect_for_floats(),
            Some(name) => Isa::by_name(name).ok_or_else(|| {
                let reason = radnet_kernels::isa::refusal(name).unwrap_or_default();
                Error::new(ErrorKind::Device, format!("the tier {name} cannot run: {reason}"))
            })?,
        };
        let integers = match (&options.integers, &options.isa) {
            (None, None) => Integers::detect(),
            (None, Some(_)) => Integers::of(isa),
            (Some(name), _) => Integers::by_name(name).ok_or_else(|| {
                let reason = integers::refusal(name).unwrap_or_default();
                Error::new(ErrorKind::Device, format!("the level {name} cannot run: {reason}"))
            })?,
        };
        let pool = match (options.pool, options.threads) {
            (Some(pool), _) => Some(pool),
            (None, 0 | 1) => None,
            (None, threads) => Some(Arc::new(own_pool(threads)?)),
        };
        let quantisation = options.quantisation.as_ref();
        quantisation.map_or(Ok(()), |q| q.check(network))?;
        let element = match (quantisation, options.bf16) {
            (Some(_), _) => Element::Codes(integers),
            (None, true) => Element::Bf16(isa),
            (None, false) => Element::F32,
        };
        let program = Program::new(network, element);
        let kind = match quantisation {
            None if options.bf16 => format!("{}-bf16", isa.name()),
            None => isa.name().to_owned(),
            Some(ranges) => format!("{}-{}-int8-{:016x}", isa.name(), integers.name(), int8::fingerprint(ranges)),
        };
        let pack = |packed: &mut [f32]| pack::pack(&program, network, weights, quantisation, packed);
        let load = || Store::new(program.packed_len, options.cache.as_ref(), &kind, pack);
        let packed = match &pool {
            Some(pool) => pool.install(load)?,
            None => load()?,
        };
        Ok(Self {
            isa,
            integers,
            threads: pool.as_ref().map_or(1, |p| p.current_num_threads()),
            arena: ArenaPlan::new(&program),
            clocks: options.measure.then(|| stages::Clocks::new(&program)),
            pool,
            air: options.air.filter(|x| x.len() == network.channels && program.reach(x)).map(air::Air::new),
            program,
            packed,
            channels: network.channels,
            input: network.input,
            slice_vector: network.slice_vector,
            classes: network.classes,
        })
    }

    /// The arena of a worker, buffer by buffer.
    pub fn memory_plan(&self) -> String {
        self.arena.plan.to_string()
    }

    /// Runs on the pool, or right here when there is none.
    fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) if self.threads > 1 => pool.install(work),
            _ => work(),
        }
    }

    /// Makes room for the maps of a scan, keeping vectors that have the right length.
    fn prepare_maps(&self, slices: usize, maps: &mut ScanMaps) -> Result<()> {
        let (mut attention, mut heads) = (0, 0);
        maps.attention_extent = None;
        maps.segmentation_blocks.clear();
        for stage in &self.program.stages {
            match &stage.op {
                Op::Attention { shape, .. } if shape.weighting != radnet_kernels::cpu::attention::Weighting::Mean => {
                    attention = shape.heads * shape.height * shape.width;
                    maps.attention_extent = Some(Extent { height: shape.height, width: shape.width });
                }
                Op::Segmentation { .. } => {
                    heads += 1;
                    maps.segmentation_blocks.push(stage.block + 1);
                }
                _ => {}
            }
        }
        maps.resize(slices, attention, heads * self.input.area())
    }
}

fn own_pool(threads: usize) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("radnet-{i}"))
        .build()
        .map_err(|e| Error::new(ErrorKind::Device, format!("{threads} threads could not be started")).caused_by(e))
}

impl Backend for CpuBackend {
    fn info(&self) -> BackendInfo {
        let precision = self.program.element.precision();
        BackendInfo { device: "cpu".into(), isa: self.isa.name().into(), precision: precision.into(), threads: self.threads }
    }

    fn session(&self) -> Result<Box<dyn BackendSession + '_>> {
        Ok(Box::new(session::CpuSession::new(self)?))
    }

    fn stage_times(&self) -> Vec<StageTime> {
        self.clocks.as_ref().map_or_else(Vec::new, |c| c.take(&self.program))
    }
}
