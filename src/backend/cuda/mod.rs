//! A network on an NVIDIA GPU.

pub mod devices;

use super::{Backend, BackendInfo, BackendSession};
use crate::model::Network;
use crate::weights::Weights;
use crate::{Error, ErrorKind, Result};
use std::sync::Arc;

pub use radnet_kernels::cuda::{Element, Gpu};

/// How a GPU is used.
#[derive(Clone, Debug)]
pub struct CudaOptions {
    /// What activations and weights are stored in.
    pub element: Element,
    /// The pool that prepares slices on the host; without one, the caller's thread does.
    pub pool: Option<Arc<rayon::ThreadPool>>,
    /// Whether to measure stages for [`Backend::stage_times`].
    pub measure: bool,
}

/// A network on a GPU.
pub struct CudaBackend {
    never: std::convert::Infallible,
}

impl CudaBackend {
    /// Packs the weights of a network whose tensors were validated against it, and uploads them.
    ///
    /// # Errors
    /// `device` when the GPU cannot run the network, `out_of_memory`.
    pub fn new(gpu: Arc<dyn Gpu>, _network: &Network, _weights: &Weights, _options: CudaOptions) -> Result<Self> {
        Err(Error::new(ErrorKind::Device, format!("{}: no CUDA backend yet", gpu.label())))
    }
}

impl Backend for CudaBackend {
    fn info(&self) -> BackendInfo {
        match self.never {}
    }

    fn session(&self) -> Result<Box<dyn BackendSession + '_>> {
        match self.never {}
    }
}
