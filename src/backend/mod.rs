//! Where a network runs: one coarse trait, so that a device owns everything between a scan's windowed slices and its logits.

mod channels;
pub mod cpu;
pub mod cuda;
mod quantised;
pub mod reference;

use crate::tensor::Extent;
use crate::{Error, ErrorKind, Result};

pub use crate::observer::{Observer, Unobserved};
pub use crate::tensor::SliceSource;

/// The maps of a scan that show where, in the order of its slices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScanMaps {
    /// Extent of the attention maps.
    pub attention_extent: Option<Extent>,
    /// Per slice [heads, h, w] attention weights, empty without attention.
    pub attention: Vec<Vec<f32>>,
    /// Per segmentation head: the block it reads.
    pub segmentation_blocks: Vec<usize>,
    /// Per slice [heads, height, width] probabilities at the network's input size, empty without heads.
    pub segmentation: Vec<Vec<f32>>,
}

impl ScanMaps {
    /// Room for the maps of `slices` slices, of so many floats a slice each; vectors that have the right length keep their memory.
    fn resize(&mut self, slices: usize, attention: usize, segmentation: usize) -> Result<()> {
        resize(&mut self.attention, slices, attention)?;
        resize(&mut self.segmentation, slices, segmentation)
    }
}

/// `count` vectors of `len` floats, or none of either when `len` is 0.
fn resize(maps: &mut Vec<Vec<f32>>, count: usize, len: usize) -> Result<()> {
    maps.resize_with(if len == 0 { 0 } else { count }, Vec::new);
    for map in maps {
        map.clear();
        map.try_reserve_exact(len).map_err(|_| Error::new(ErrorKind::OutOfMemory, format!("no memory for a map of {len} floats")))?;
        map.resize(len, 0.0);
    }
    Ok(())
}

/// What a backend is, as results name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendInfo {
    /// "cpu" or "cuda:0".
    pub device: String,
    /// "amx", "avx512-bf16", "avx512", "avx2", "neon-bf16", "neon", "portable", "sm_90".
    pub isa: String,
    /// "fp32".
    pub precision: String,
    /// Worker threads.
    pub threads: usize,
}

/// One step's share of the work since the last reset.
#[derive(Clone, Debug, PartialEq)]
pub struct StageTime {
    /// "stem", "block 1 layer 3", "transition 2", "attention", "recurrent 0", "classifier".
    pub name: String,
    /// Time spent in it, summed over threads on the CPU, in nanoseconds.
    pub ns: u64,
    /// How often it ran, counted in slices (scans for the recurrence and the classifier).
    pub runs: u64,
    /// Floating-point operations of one run as a direct convolution counts them.
    pub flop: u64,
    /// Bytes of activations and weights that one run must move at the least.
    pub bytes: u64,
}

/// A network made ready on a device; immutable and shared by sessions.
pub trait Backend: Send + Sync {
    /// What it is.
    fn info(&self) -> BackendInfo;
    /// Scratch memory for one scan at a time.
    ///
    /// # Errors
    /// `out_of_memory` when the device refuses.
    fn session(&self) -> Result<Box<dyn BackendSession + '_>>;

    /// Whether it takes slices as they were stored ([`SliceSource::scanned`]) and gains by it.
    fn resamples(&self) -> bool {
        false
    }

    /// What each step cost since the last call; empty unless the backend was made to measure.
    fn stage_times(&self) -> Vec<StageTime> {
        Vec::new()
    }
}

/// Runs scans one after the other.
pub trait BackendSession: Send {
    /// The 2-D network: writes slice vectors [slices, slice_vector] to `pooled`, and the maps when asked for.
    ///
    /// # Errors
    /// `cancelled`, `out_of_memory`, `device`.
    fn pool_slices(
        &mut self,
        scan: &dyn SliceSource,
        observer: &dyn Observer,
        pooled: &mut [f32],
        maps: Option<&mut ScanMaps>,
    ) -> Result<()>;

    /// Recurrence and classifier over a whole scan: [slices, slice_vector] → logits [slices, classes].
    ///
    /// # Errors
    /// `out_of_memory`, `device`.
    fn classify(&mut self, pooled: &[f32], logits: &mut [f32]) -> Result<()>;

    /// Both, for a device that gains by doing them in one go; `pooled` is room for the slice vectors, whose contents afterwards are
    /// unspecified.
    ///
    /// # Errors
    /// `cancelled`, `out_of_memory`, `device`.
    fn judge(
        &mut self,
        scan: &dyn SliceSource,
        observer: &dyn Observer,
        pooled: &mut [f32],
        logits: &mut [f32],
        maps: Option<&mut ScanMaps>,
    ) -> Result<()> {
        self.pool_slices(scan, observer, pooled, maps)?;
        self.classify(pooled, logits)
    }

    /// Milliseconds that the device itself spent on the last scan, groups that overlap counted each; none where it has no clock of its own.
    fn device_ms(&self) -> Option<f64> {
        None
    }
}
