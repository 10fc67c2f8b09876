//! A device with a stream, and typed copies through pinned memory. Every call waits until it is done: the cases are about values, not time.

use std::sync::Arc;

use radnet_kernels::cuda::{DeviceMemory, Element, Gpu, GpuError, Stream};

/// A device, ready for one case.
pub struct Workbench {
    gpu: Arc<dyn Gpu>,
    /// Where kernels are queued; wait with [`Workbench::synchronize`] before looking at results.
    pub stream: Box<dyn Stream>,
}

impl std::fmt::Debug for Workbench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "workbench on {}", self.gpu.properties().name)
    }
}

impl Workbench {
    /// A workbench with a stream of its own.
    ///
    /// # Errors
    /// The device's words.
    pub fn new(gpu: &Arc<dyn Gpu>) -> Result<Self, String> {
        Ok(Self { gpu: Arc::clone(gpu), stream: gpu.stream().map_err(words)? })
    }

    /// The device.
    pub fn gpu(&self) -> &Arc<dyn Gpu> {
        &self.gpu
    }

    /// Bytes on the device.
    ///
    /// # Errors
    /// The device's words.
    pub fn upload_bytes(&mut self, bytes: &[u8]) -> Result<DeviceMemory, String> {
        let memory = DeviceMemory::new(&self.gpu, bytes.len()).map_err(words)?;
        self.overwrite(&memory, bytes)?;
        Ok(memory)
    }

    /// Values, stored as `element`.
    ///
    /// # Errors
    /// The device's words.
    pub fn upload(&mut self, element: Element, values: &[f64]) -> Result<DeviceMemory, String> {
        let mut bytes = Vec::with_capacity(values.len() * element.bytes());
        element.encode(values.iter().copied(), &mut bytes);
        self.upload_bytes(&bytes)
    }

    /// Whole numbers.
    ///
    /// # Errors
    /// The device's words.
    pub fn upload_u32(&mut self, values: &[u32]) -> Result<DeviceMemory, String> {
        self.upload_bytes(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
    }

    /// Memory for a kernel's results, in which every value of every element type is NaN until it is written.
    ///
    /// # Errors
    /// The device's words.
    pub fn output(&mut self, bytes: usize) -> Result<DeviceMemory, String> {
        self.upload_bytes(&vec![0xff; bytes])
    }

    /// Replaces what `memory` holds, from its first byte on.
    ///
    /// # Errors
    /// More bytes than it has, or the device's words.
    pub fn overwrite(&mut self, memory: &DeviceMemory, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() > memory.bytes() {
            return Err(format!("{} bytes do not fit into {}", bytes.len(), memory.bytes()));
        }
        let mut staging = Pinned::new(&self.gpu, bytes.len())?;
        staging.bytes_mut().copy_from_slice(bytes);
        // SAFETY: both ranges hold `bytes.len()` bytes and live until `synchronize` returns.
        unsafe { self.stream.upload(memory.all().address(), staging.address, bytes.len()) }.map_err(words)?;
        self.synchronize()
    }

    /// Zeros.
    ///
    /// # Errors
    /// The device's words.
    pub fn clear(&mut self, memory: &DeviceMemory) -> Result<(), String> {
        // SAFETY: the range is the memory's own, which lives until `synchronize` returns.
        unsafe { self.stream.clear(memory.all().address(), memory.bytes()) }.map_err(words)?;
        self.synchronize()
    }

    /// All bytes of `memory`.
    ///
    /// # Errors
    /// The device's words, also about a kernel that failed before.
    pub fn download_bytes(&mut self, memory: &DeviceMemory) -> Result<Vec<u8>, String> {
        let staging = Pinned::new(&self.gpu, memory.bytes())?;
        // SAFETY: both ranges hold `memory.bytes()` bytes and live until `synchronize` returns.
        unsafe { self.stream.download(staging.address, memory.all().address(), memory.bytes()) }.map_err(words)?;
        self.synchronize()?;
        Ok(staging.bytes().to_vec())
    }

    /// All values of `memory`, stored as `element`.
    ///
    /// # Errors
    /// As [`Workbench::download_bytes`].
    pub fn download(&mut self, element: Element, memory: &DeviceMemory) -> Result<Vec<f32>, String> {
        Ok(element.decode(&self.download_bytes(memory)?))
    }

    /// Waits for everything queued.
    ///
    /// # Errors
    /// The device's words.
    pub fn synchronize(&mut self) -> Result<(), String> {
        self.stream.synchronize().map_err(words)
    }

    /// Records one upload, then replays it for each of `contents`, and says what the device held after each.
    pub(in crate::suite) fn replayed_uploads<const N: usize>(
        &mut self,
        memory: &DeviceMemory,
        contents: [&[u8]; N],
    ) -> Result<[Vec<u8>; N], String> {
        let mut staging = Pinned::new(&self.gpu, memory.bytes())?;
        self.stream.begin_capture().map_err(words)?;
        // SAFETY: both ranges hold `memory.bytes()` bytes and outlive every replay below, each of which is waited for.
        unsafe { self.stream.upload(memory.all().address(), staging.address, memory.bytes()) }.map_err(words)?;
        let graph = self.stream.end_capture().map_err(words)?;
        let mut results = [const { Vec::new() }; N];
        for (result, content) in results.iter_mut().zip(contents) {
            staging.bytes_mut().copy_from_slice(content);
            // SAFETY: what was recorded is still alive; the download waits for it.
            unsafe { self.stream.replay(graph.as_ref()) }.map_err(words)?;
            *result = self.download_bytes(memory)?;
        }
        Ok(results)
    }
}

fn words(error: GpuError) -> String {
    error.message
}

/// Pinned host memory, freed with its owner; whoever queues a copy waits for it first.
struct Pinned {
    gpu: Arc<dyn Gpu>,
    address: *mut u8,
    bytes: usize,
}

impl Pinned {
    fn new(gpu: &Arc<dyn Gpu>, bytes: usize) -> Result<Self, String> {
        let address = gpu.allocate_pinned(bytes.max(1)).map_err(words)?;
        // SAFETY: just allocated with that many bytes; it may hold anything, so that it is made initialised here.
        unsafe { address.write_bytes(0, bytes) };
        Ok(Self { gpu: Arc::clone(gpu), address, bytes })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the allocation holds `bytes` initialised bytes; no copy is queued while a slice exists, since every method of the
        // workbench waits before it looks.
        unsafe { std::slice::from_raw_parts(self.address, self.bytes) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.address, self.bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: from this device's `allocate_pinned`, freed once; the workbench has waited for every copy that used it, except after an
        // error of the device, which then has dropped its work.
        unsafe { self.gpu.free_pinned(self.address) }
    }
}
