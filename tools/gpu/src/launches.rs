//! What DenseNet-121 launches on every kind of device, found out on paper.

use crate::paper::{Largest, Paper};
use crate::scans;
use radnet::weights::synthetic;
use radnet::{Config, Engine, Precision};
use radnet_kernels::cuda::{Gpu, GpuProperties};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One kernel on one target.
#[derive(Debug, Serialize)]
pub struct Launches {
    /// Its entry point.
    pub kernel: String,
    /// "sm_90a".
    pub target: &'static str,
    /// What its launches need.
    #[serde(flatten)]
    pub largest: Largest,
}

/// A device that stands for a target: its multiprocessors, and the KiB of shared memory that a block and a multiprocessor have.
struct Stand {
    target: &'static str,
    name: &'static str,
    compute_capability: (u32, u32),
    multiprocessors: u32,
    shared_kib: (u32, u32),
    memory_gib: u64,
}

const STANDS: [Stand; 4] = [
    Stand { target: "sm_80", name: "A100", compute_capability: (8, 0), multiprocessors: 108, shared_kib: (163, 164), memory_gib: 80 },
    Stand { target: "sm_90a", name: "H200", compute_capability: (9, 0), multiprocessors: 132, shared_kib: (227, 228), memory_gib: 141 },
    Stand { target: "sm_100a", name: "B200", compute_capability: (10, 0), multiprocessors: 148, shared_kib: (227, 228), memory_gib: 180 },
    Stand { target: "sm_120", name: "RTX 5090", compute_capability: (12, 0), multiprocessors: 170, shared_kib: (99, 100), memory_gib: 32 },
];

/// Sides of the network's input that are measured.
pub const SIZES: [usize; 2] = [256, 512];
/// Slices of the scans that are measured.
pub const SLICES: [usize; 3] = [1, 32, 128];
/// What a device computes in.
pub const PRECISIONS: [Precision; 3] = [Precision::Fp16, Precision::Bf16, Precision::Fp32];

/// Runs scans of `slices` each through networks of each of `sizes`, in every precision on every device.
///
/// # Errors
/// The engine's words.
pub fn list(sizes: &[usize], slices: &[usize]) -> Result<Vec<Launches>, String> {
    let mut all = Vec::new();
    for stand in &STANDS {
        let paper = Arc::new(Paper::new(properties(stand)));
        for &size in sizes {
            let mut config = Config::densenet121();
            config.input.size = [size; 2];
            for precision in PRECISIONS {
                let model = synthetic(&config, 1).map_err(|error| error.to_string())?;
                let gpu: Arc<dyn Gpu> = Arc::clone(&paper) as _;
                let engine = Engine::builder(model).gpu(gpu).precision(precision).build().map_err(|error| error.to_string())?;
                let mut session = engine.session().map_err(|error| error.to_string())?;
                for &slices in slices {
                    session.predict(&scans::noise(slices, size, 1)?, &radnet::Unobserved, true).map_err(|error| error.to_string())?;
                }
            }
        }
        let launches: BTreeMap<&'static str, Largest> = paper.launches();
        all.extend(launches.into_iter().map(|(kernel, largest)| Launches { kernel: kernel.to_owned(), target: stand.target, largest }));
    }
    Ok(all)
}

fn properties(stand: &Stand) -> GpuProperties {
    GpuProperties {
        name: stand.name.to_owned(),
        compute_capability: stand.compute_capability,
        multiprocessors: stand.multiprocessors,
        shared_bytes_per_block: stand.shared_kib.0 << 10,
        shared_bytes_per_multiprocessor: stand.shared_kib.1 << 10,
        memory_bytes: stand.memory_gib << 30,
    }
}
