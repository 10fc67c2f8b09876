//! A model made ready on a device: immutable, shared by any number of sessions.

mod placement;

use crate::backend::cuda::Gpu;
use crate::backend::{Backend, BackendInfo, StageTime};
use crate::session::Session;
use crate::weights::Model;
use crate::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// Where to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The first GPU that can be used, else the processor; [`Engine::fallback`] says why not the GPU.
    #[default]
    Auto,
    /// The host's processor.
    Cpu,
    /// An NVIDIA GPU by index.
    Cuda(usize),
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::new(ErrorKind::Device, format!("device `{text}` is none of auto, cpu, cuda, cuda:N"));
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(|n| n.parse().ok()).map(Self::Cuda).ok_or_else(unknown),
        }
    }
}

/// Arithmetic of the 2-D network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// The device's default: fp32 on the CPU, fp16 on CUDA.
    #[default]
    Auto,
    /// IEEE single.
    Fp32,
    /// bfloat16 products, float32 sums.
    Bf16,
    /// IEEE half products, float32 sums.
    Fp16,
    /// 8-bit integers.
    Int8,
}

impl Precision {
    /// The name in options and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Auto, Self::Fp32, Self::Bf16, Self::Fp16, Self::Int8]
            .into_iter()
            .find(|p| p.name() == text)
            .ok_or_else(|| Error::new(ErrorKind::Device, format!("precision `{text}` is none of auto, fp32, bf16, fp16, int8")))
    }
}

/// A model on a device, with the threads that run it.
pub struct Engine {
    model: Arc<Model>,
    backend: Box<dyn Backend>,
    pool: Arc<rayon::ThreadPool>,
    fallback: Option<String>,
}

impl Engine {
    /// Starts with the defaults: automatic device and precision, as many threads as the process may use.
    pub fn builder(model: Model) -> EngineBuilder {
        EngineBuilder {
            model: Arc::new(model),
            device: Device::Auto,
            precision: Precision::Auto,
            gpu: None,
            threads: None,
            pool: None,
            isa: None,
            cache_dir: None,
            measure: false,
            skip_air: true,
        }
    }

    /// The model it runs.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Device, instruction set, precision and threads, as results name them.
    pub fn info(&self) -> BackendInfo {
        self.backend.info()
    }

    /// Why an automatic device is the processor although this machine has an NVIDIA driver; none when nothing was expected of a GPU.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// The pool that inference runs on; decoding a series may use it too.
    pub fn pool(&self) -> &rayon::ThreadPool {
        &self.pool
    }

    /// Whether the device resamples slices itself.
    pub(crate) fn resamples(&self) -> bool {
        self.backend.resamples()
    }

    /// What each step of the network cost since the last call; empty unless the engine was built to measure.
    pub fn stage_times(&self) -> Vec<StageTime> {
        self.backend.stage_times()
    }

    /// Scratch memory to run scans one after the other. Sessions of one engine may run at the same time on different threads.
    ///
    /// # Errors
    /// `out_of_memory`.
    pub fn session(&self) -> Result<Session<'_>> {
        Session::new(self, self.backend.session()?)
    }
}

/// Options of an [`Engine`].
pub struct EngineBuilder {
    model: Arc<Model>,
    device: Device,
    precision: Precision,
    gpu: Option<Arc<dyn Gpu>>,
    threads: Option<usize>,
    pool: Option<Arc<rayon::ThreadPool>>,
    isa: Option<String>,
    cache_dir: Option<PathBuf>,
    measure: bool,
    skip_air: bool,
}

impl EngineBuilder {
    /// Where to run.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Arithmetic of the 2-D network. Where the processor has AMX, bf16 and int8 use its tiles, which Linux lets a process have once it asked: building such
    /// an engine asks (`ARCH_REQ_XCOMP_PERM`), from when on frames of signal handlers may take 8 KiB more, and `sigaltstack` refuses stacks too small for
    /// that. [`Self::isa`] with another tier asks for nothing.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Runs on this GPU, opened by the host, whatever `device` says; several engines may share one.
    #[must_use]
    pub fn gpu(mut self, gpu: Arc<dyn Gpu>) -> Self {
        self.gpu = Some(gpu);
        self
    }

    /// Worker threads of the engine's own pool; none means what affinity and cgroup quota allow.
    #[must_use]
    pub fn threads(mut self, threads: Option<usize>) -> Self {
        self.threads = threads;
        self
    }

    /// Runs on the host's pool and makes no threads of its own; `threads` is then ignored.
    #[must_use]
    pub fn pool(mut self, pool: Arc<rayon::ThreadPool>) -> Self {
        self.pool = Some(pool);
        self
    }

    /// Forces an instruction set by name ("amx", "avx512-bf16", "avx512", "avx2", "neon-bf16", "neon", "portable"), for tests and comparisons. In fp32 no
    /// result depends on it; in int8 "amx" rounds the weights of the 3×3 in a way of its own, in bf16 "amx" and those named after bf16 round sums so: force one
    /// of the others where machines with and without them must agree to the bit. An automatic device is then the processor.
    #[must_use]
    pub fn isa(mut self, isa: Option<String>) -> Self {
        self.isa = isa;
        self
    }

    /// A folder of the host's choice where packed weights are kept, so that the next start maps them instead of packing again.
    /// Without it no file is touched. A cache that cannot be read or written is passed over.
    #[must_use]
    pub fn cache_dir(mut self, folder: Option<PathBuf>) -> Self {
        self.cache_dir = folder;
        self
    }

    /// Measures every step of the network, for [`Engine::stage_times`].
    #[must_use]
    pub fn measure(mut self, measure: bool) -> Self {
        self.measure = measure;
        self
    }

    /// Whether what sees only air is copied from an empty slice instead of computed, as it is by default; results do not depend on it.
    #[must_use]
    pub fn skip_air(mut self, skip: bool) -> Self {
        self.skip_air = skip;
        self
    }

    /// Packs the weights and starts the threads.
    ///
    /// # Errors
    /// `device` when the device, the precision on it or the instruction set cannot be had; `out_of_memory`; `bad_model`.
    pub fn build(self) -> Result<Engine> {
        let pool = match &self.pool {
            Some(pool) => Arc::clone(pool),
            None => pool(self.threads)?,
        };
        let (backend, fallback) = self.place(&pool)?;
        Ok(Engine { model: self.model, backend, pool, fallback })
    }
}

/// Threads beyond this are a mistake, not a machine.
const MAX_THREADS: usize = 1024;

/// A pool as an engine makes it for itself: as many threads, or as many as affinity and cgroup quota allow. A host that makes it first and
/// hands it in ([`EngineBuilder::pool`]) can read the model on it too: `pool.install(|| Model::open(path))`.
///
/// # Errors
/// `device` for a number of threads that no machine has, or that could not be started.
pub fn pool(threads: Option<usize>) -> Result<Arc<rayon::ThreadPool>> {
    let threads = match threads {
        None => std::thread::available_parallelism().map_or(1, usize::from),
        Some(n) if (1..=MAX_THREADS).contains(&n) => n,
        Some(n) => return Err(Error::new(ErrorKind::Device, format!("{n} threads: between 1 and {MAX_THREADS} can be had"))),
    };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("radnet-{i}"))
        .build()
        .map(Arc::new)
        .map_err(|e| Error::new(ErrorKind::Device, format!("{threads} threads could not be started")).caused_by(e))
}
