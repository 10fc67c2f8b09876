//! Queued work: what a stream was asked to do, with everything it needs except the memory it names.

use crate::device::Shared;
use crate::failed;
use crate::foreign::{self, LaunchRequest, Space};
use radnet_kernels::cuda::gpu::Result;
use radnet_kernels::cuda::{GpuError, GpuErrorKind, Launch};
use std::ffi::CString;

/// One piece of work.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Launch(RecordedLaunch),
    Upload { to: u64, from: u64, bytes: usize },
    Download { to: u64, from: u64, bytes: usize },
    Clear { to: u64, bytes: usize },
}

/// A launch that owns its arguments.
#[derive(Clone, Debug)]
pub(crate) struct RecordedLaunch {
    name: CString,
    grid: [u32; 3],
    block: u32,
    cluster: u32,
    shared_bytes: u32,
    arguments: Vec<u8>,
    overlaps: bool,
}

/// What a device of compute capability 9.0 takes without an opt-in beyond it.
const MAX_CLUSTER: u32 = 16;
const MAX_BLOCK: u32 = 1024;

impl RecordedLaunch {
    /// Checks everything about a launch that the driver would.
    pub(crate) fn new(shared: &Shared, launch: &Launch<'_>) -> Result<Self> {
        let refuse = |why: String| Err(failed(format!("kernel {}: {why}", launch.kernel)));
        let Some((name, (argument_bytes, max_threads))) =
            CString::new(launch.kernel).ok().and_then(|name| foreign::kernel(&name).map(|found| (name, found)))
        else {
            return Err(GpuError::new(GpuErrorKind::Unavailable, format!("there is no kernel {}", launch.kernel)));
        };
        let properties = &shared.properties;
        if launch.arguments.len() != argument_bytes {
            return refuse(format!("{} bytes of arguments instead of {argument_bytes}", launch.arguments.len()));
        }
        if launch.block == 0 || !launch.block.is_multiple_of(32) || launch.block > max_threads.min(MAX_BLOCK) {
            return refuse(format!("a block of {} threads is no multiple of 32 up to {}", launch.block, max_threads.min(MAX_BLOCK)));
        }
        let [x, y, z] = launch.grid;
        if x == 0 || x > i32::MAX as u32 || y == 0 || y > 65535 || z == 0 || z > 65535 {
            return refuse(format!("no grid has {x} × {y} × {z} blocks"));
        }
        if launch.shared_bytes > properties.shared_bytes_per_block {
            return refuse(format!(
                "{} bytes of shared memory where a block has {}",
                launch.shared_bytes, properties.shared_bytes_per_block
            ));
        }
        if launch.cluster == 0 || launch.cluster > MAX_CLUSTER || !x.is_multiple_of(launch.cluster) {
            return refuse(format!("{x} blocks cannot be clusters of {}", launch.cluster));
        }
        if launch.cluster > 1 && properties.compute_capability < (9, 0) {
            return refuse("clusters need compute capability 9.0".to_owned());
        }
        let arguments = launch.arguments.to_vec();
        let &Launch { grid, block, cluster, shared_bytes, overlaps, .. } = launch;
        Ok(Self { name, grid, block, cluster, shared_bytes, arguments, overlaps })
    }

    fn request(&self, shared: &Shared) -> LaunchRequest {
        LaunchRequest {
            kernel: self.name.as_ptr(),
            arguments: self.arguments.as_ptr(),
            memory: shared.memory.raw(),
            seed: shared.next_seed(),
            grid: self.grid,
            block: self.block,
            cluster: self.cluster,
            shared_bytes: self.shared_bytes,
            overlaps: u32::from(self.overlaps),
            hopper: u32::from(shared.properties.compute_capability >= (9, 0)),
            threads: shared.threads,
        }
    }

    /// Runs it, beginning before `before` where that is given.
    ///
    /// # Safety
    /// Every address in the arguments is valid for what the kernels do.
    unsafe fn run(&self, before: Option<&Self>, shared: &Shared) -> Result<()> {
        let before = before.map(|before| before.request(shared));
        // SAFETY: the pointers are those of live values; the arguments' length was compared with the kernel's struct; their addresses are the
        // caller's.
        unsafe { foreign::launch(&self.request(shared), before.as_ref()) }.map_err(failed)
    }
}

impl Operation {
    /// Runs two launches of which the second may begin before the first has ended, as it may on a device that lets them overlap. None when these
    /// two do not.
    ///
    /// # Safety
    /// Every address that their arguments hold is valid for what the kernels do.
    pub(crate) unsafe fn run_overlapped(first: &Self, second: &Self, shared: &Shared) -> Option<Result<()>> {
        let (Self::Launch(first), Self::Launch(second)) = (first, second) else { return None };
        let overlap = second.overlaps && shared.properties.compute_capability >= (9, 0) && shared.next_seed() >> 63 == 1;
        // SAFETY: the caller's.
        overlap.then(|| unsafe { second.run(Some(first), shared) })
    }

    /// Does it.
    ///
    /// # Safety
    /// Every address that a launch's arguments hold is valid for what the kernel does.
    pub(crate) unsafe fn run(&self, shared: &Shared) -> Result<()> {
        match *self {
            // SAFETY: the caller's.
            Self::Launch(ref launch) => unsafe { launch.run(None, shared) },
            Self::Upload { to, from, bytes } => {
                shared.check("an upload writes", to, bytes, Space::Global)?;
                shared.check("an upload reads", from, bytes, Space::Pinned)?;
                // SAFETY: both ranges lie in live allocations of their kinds, which do not overlap.
                unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
                Ok(())
            }
            Self::Download { to, from, bytes } => {
                shared.check("a download writes", to, bytes, Space::Pinned)?;
                shared.check("a download reads", from, bytes, Space::Global)?;
                // SAFETY: both ranges lie in live allocations of their kinds, which do not overlap.
                unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
                Ok(())
            }
            Self::Clear { to, bytes } => {
                shared.check("a clear writes", to, bytes, Space::Global)?;
                // SAFETY: the range lies in a live allocation.
                unsafe { std::ptr::write_bytes(to as *mut u8, 0, bytes) };
                Ok(())
            }
        }
    }
}
