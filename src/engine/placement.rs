//! Which device an engine runs on, and what its arithmetic is there.

use super::{Device, EngineBuilder, Precision};
use crate::backend::Backend;
use crate::backend::cpu::{CpuBackend, CpuOptions, PackedCache};
use crate::backend::cuda::devices::{self, Absent};
use crate::backend::cuda::{CudaBackend, CudaOptions, Element, Gpu};
use crate::model::Quantisation;
use crate::{Error, ErrorKind, Result};
use std::sync::Arc;

type Pool = Arc<rayon::ThreadPool>;

impl EngineBuilder {
    /// The network on the device that was asked for; with the processor, why an automatic choice is not a GPU.
    pub(super) fn place(&self, pool: &Pool) -> Result<(Box<dyn Backend>, Option<String>)> {
        if let Some(gpu) = &self.gpu {
            return Ok((self.on_gpu(Arc::clone(gpu), pool)?, None));
        }
        match self.device {
            Device::Cpu => Ok((self.on_cpu(pool)?, None)),
            Device::Cuda(index) => Ok((self.on_gpu(devices::open(index)?, pool)?, None)),
            Device::Auto if self.isa.is_some() => Ok((self.on_cpu(pool)?, None)),
            Device::Auto => self.on_any(pool),
        }
    }

    fn on_any(&self, pool: &Pool) -> Result<(Box<dyn Backend>, Option<String>)> {
        let reason = match devices::open_any() {
            Err(Absent::NoDriver(_)) => None,
            Err(Absent::Unusable(reason)) => Some(reason),
            Ok(gpu) => match self.on_gpu(gpu, pool) {
                Ok(backend) => return Ok((backend, None)),
                Err(error) if matches!(error.kind(), ErrorKind::Device | ErrorKind::OutOfMemory) => Some(error.message().to_owned()),
                Err(error) => return Err(error),
            },
        };
        let backend = self.on_cpu(pool).map_err(|error| match &reason {
            Some(reason) => Error::new(error.kind(), format!("{}; and no GPU: {reason}", error.message())),
            None => error,
        })?;
        Ok((backend, reason))
    }

    fn on_cpu(&self, pool: &Pool) -> Result<Box<dyn Backend>> {
        let model = &self.model;
        let quantisation = match self.precision {
            Precision::Auto | Precision::Fp32 | Precision::Bf16 => None,
            Precision::Int8 => Some(model.quantisation.clone().unwrap_or_else(|| Quantisation::from_norms(&model.network, &model.weights))),
            Precision::Fp16 => {
                return Err(Error::new(ErrorKind::Device, "precision fp16: the CPU backend computes in fp32, bf16 and int8 only"));
            }
        };
        let cache = self.cache_dir.clone().map(|directory| PackedCache { directory, model_sha256: self.model.sha256.clone() });
        let options = CpuOptions {
            pool: Some(Arc::clone(pool)),
            isa: self.isa.clone(),
            cache,
            quantisation,
            bf16: self.precision == Precision::Bf16,
            measure: self.measure,
            air: self.skip_air.then(|| crate::preprocess::air(&self.model.config.input)),
            ..CpuOptions::default()
        };
        Ok(Box::new(CpuBackend::new(&self.model.network, &self.model.weights, options)?))
    }

    fn on_gpu(&self, gpu: Arc<dyn Gpu>, pool: &Pool) -> Result<Box<dyn Backend>> {
        let element = element(self.precision).map_err(|error| Error::new(error.kind(), format!("{}: {}", gpu.label(), error.message())))?;
        let options = CudaOptions { element, pool: Some(Arc::clone(pool)), measure: self.measure, ..CudaOptions::default() };
        Ok(Box::new(CudaBackend::new(gpu, &self.model.network, &self.model.weights, options)?))
    }
}

/// What a GPU stores for an arithmetic.
fn element(precision: Precision) -> Result<Element> {
    match precision {
        Precision::Auto | Precision::Fp16 => Ok(Element::F16),
        Precision::Bf16 => Ok(Element::Bf16),
        Precision::Fp32 => Ok(Element::F32),
        Precision::Int8 => Err(Error::new(ErrorKind::Device, "precision int8: GPUs compute in fp16, bf16 and fp32 only")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// fp16 unless another is named; 8-bit integers are refused, not replaced.
    #[test]
    fn a_gpu_has_three_arithmetics() {
        let all = [Precision::Auto, Precision::Fp16, Precision::Bf16, Precision::Fp32];
        let elements: Vec<Element> = all.into_iter().map(|p| element(p).unwrap()).collect();
        assert_eq!(elements, [Element::F16, Element::F16, Element::Bf16, Element::F32]);
        assert_eq!(element(Precision::Int8).unwrap_err().kind(), ErrorKind::Device);
    }
}
