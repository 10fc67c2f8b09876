//! A network on an NVIDIA GPU: packed weights in device memory shared by all sessions, a queue with its graphs for each of them.
//!
//! Activations and weights are fp16, bf16 or fp32, sums always fp32. Results are the same bits for any number of slices in a run and on every
//! run of the same kernels; kernels for different devices may add in another order.

pub mod devices;
mod enqueue;
mod feed;
mod lane;
mod memory;
mod program;
mod session;
mod stages;
mod weights;

use super::{Backend, BackendInfo, BackendSession, ScanMaps, StageTime};
use crate::model::{Extent, Network};
use crate::weights::Weights;
use crate::{Error, ErrorKind, Result};
use program::{Op, Program, Target};
use radnet_kernels::cuda::attention::Weighting;
use radnet_kernels::cuda::{DeviceMemory, GpuError, GpuErrorKind, Queue};
use stages::Clocks;
use std::sync::Arc;

pub use radnet_kernels::cuda::{Element, Gpu, GpuProperties};

/// How a GPU is used.
#[derive(Clone, Debug)]
pub struct CudaOptions {
    /// What activations and weights are stored in.
    pub element: Element,
    /// The pool that prepares slices on the host; without one, the caller's thread does.
    pub pool: Option<Arc<rayon::ThreadPool>>,
    /// Whether to measure stages for [`Backend::stage_times`]: kernels are then launched one by one, with a mark after each step.
    pub measure: bool,
    /// Most slices that go through the 2-D network together; none means as many as suit the device's memory.
    pub most_slices: Option<usize>,
}

impl Default for CudaOptions {
    fn default() -> Self {
        Self { element: Element::F16, pool: None, measure: false, most_slices: None }
    }
}

/// A network on a GPU.
pub struct CudaBackend {
    gpu: Arc<dyn Gpu>,
    element: Element,
    network: Network,
    program: Program,
    weights: Arc<DeviceMemory>,
    most_slices: usize,
    pool: Option<Arc<rayon::ThreadPool>>,
    clocks: Option<Clocks>,
}

impl CudaBackend {
    /// Packs the weights of a network whose tensors were validated against it, and uploads them.
    ///
    /// # Errors
    /// `device` when the GPU cannot run the network or the precision cannot hold a weight, `out_of_memory`.
    pub fn new(gpu: Arc<dyn Gpu>, network: &Network, weights: &Weights, options: CudaOptions) -> Result<Self> {
        let mut packed = weights::Packed::new(options.element, weights::parameters(weights))?;
        let program = Program::new(&Target { network, weights, device: gpu.properties() }, &mut packed)?;
        let mut queue = Queue::new(&gpu).map_err(|e| error(e, "a stream"))?;
        let uploaded = upload(&gpu, &mut queue, &packed.bytes, "weights")?;
        let most = memory::ArenaPlan::most_slices(&program, network, options.element, gpu.properties().memory_bytes);
        Ok(Self {
            element: options.element,
            network: network.clone(),
            clocks: options.measure.then(|| Clocks::new(&program)),
            program,
            weights: Arc::new(uploaded),
            most_slices: options.most_slices.map_or(most, |n| n.clamp(1, most)),
            pool: options.pool,
            gpu,
        })
    }

    /// The tiles and kernels that scans of `slices` slices run, a line each.
    pub fn choices(&self, slices: usize) -> Vec<String> {
        self.program.choices(self.gpu.properties(), slices)
    }

    /// Runs on the pool, or right here when there is none.
    fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Makes room for the maps of a scan, keeping vectors that have the right length.
    fn prepare_maps(&self, slices: usize, maps: &mut ScanMaps) -> Result<()> {
        let mut attention = 0;
        maps.attention_extent = None;
        for stage in &self.program.stages {
            if let Op::Attention { shape, .. } = &stage.op
                && shape.weighting != Weighting::Mean
            {
                attention = shape.heads * shape.area;
                let Extent { height, width } = self.program.slabs[stage.block].extent;
                maps.attention_extent = Some(Extent { height, width });
            }
        }
        maps.segmentation_blocks.clone_from(&self.program.segmentation);
        maps.resize(slices, attention, self.program.segmentation.len() * self.network.input.area())
    }
}

impl Backend for CudaBackend {
    fn info(&self) -> BackendInfo {
        BackendInfo {
            device: self.gpu.label(),
            isa: self.gpu.isa(),
            precision: precision(self.element).to_owned(),
            threads: self.pool.as_ref().map_or(1, |p| p.current_num_threads()),
        }
    }

    fn session(&self) -> Result<Box<dyn BackendSession + '_>> {
        Ok(Box::new(session::CudaSession::new(self)?))
    }

    fn resamples(&self) -> bool {
        true
    }

    fn stage_times(&self) -> Vec<StageTime> {
        self.clocks.as_ref().map_or_else(Vec::new, |c| c.take(&self.program, self.element.bytes()))
    }
}

/// The name of an element type in options and results.
fn precision(element: Element) -> &'static str {
    match element {
        Element::F16 => "fp16",
        Element::Bf16 => "bf16",
        Element::F32 => "fp32",
    }
}

/// A device's refusal of `what`.
fn error(error: GpuError, what: &str) -> Error {
    let kind = match error.kind {
        GpuErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
        _ => ErrorKind::Device,
    };
    Error::new(kind, format!("{what}: {error}")).caused_by(error)
}

impl From<GpuError> for Error {
    fn from(gpu: GpuError) -> Self {
        error(gpu, "the GPU")
    }
}

/// Bytes that go through pinned memory at a time.
const STAGING_BYTES: usize = 8 << 20;

/// New device memory with these bytes.
fn upload(gpu: &Arc<dyn Gpu>, queue: &mut Queue, bytes: &[u8], what: &str) -> Result<DeviceMemory> {
    let memory = DeviceMemory::new(gpu, bytes.len()).map_err(|e| error(e, what))?;
    let staging = queue.pinned(bytes.len().min(STAGING_BYTES)).map_err(|e| error(e, what))?;
    for (i, chunk) in bytes.chunks(STAGING_BYTES).enumerate() {
        let mut idle = queue.finish().map_err(|e| error(e, what))?;
        staging.write(&mut idle).map_err(|e| error(e, what))?[..chunk.len()].copy_from_slice(chunk);
        if let Some(to) = memory.span(i * STAGING_BYTES, chunk.len()) {
            queue.upload(to, &staging, 0).map_err(|e| error(e, what))?;
        }
    }
    queue.finish().map_err(|e| error(e, what))?;
    Ok(memory)
}
