//! A device with a stream, and typed copies through pinned memory. Every call waits until it is done: the cases are about values, not time.

use std::sync::Arc;

use radnet_kernels::cuda::{DeviceMemory, Element, Gpu, GpuError, Queue, Stream};

/// A device, ready for one case.
pub struct Workbench {
    gpu: Arc<dyn Gpu>,
    /// Where kernels are queued.
    pub queue: Queue,
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
        Ok(Self { gpu: Arc::clone(gpu), queue: Queue::new(gpu).map_err(words)? })
    }

    /// The device.
    pub fn gpu(&self) -> &Arc<dyn Gpu> {
        &self.gpu
    }

    /// Where kernels are launched; the downloads wait for them.
    pub fn stream(&mut self) -> &mut dyn Stream {
        self.queue.stream()
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
        let Some(span) = memory.span(0, bytes.len()) else {
            return Err(format!("{} bytes do not fit into {}", bytes.len(), memory.bytes()));
        };
        let staging = self.queue.pinned(bytes.len()).map_err(words)?;
        staging.write(&mut self.queue.finish().map_err(words)?).map_err(words)?[..bytes.len()].copy_from_slice(bytes);
        self.queue.upload(span, &staging, 0).map_err(words)?;
        self.synchronize()
    }

    /// Zeros.
    ///
    /// # Errors
    /// The device's words.
    pub fn clear(&mut self, memory: &DeviceMemory) -> Result<(), String> {
        self.queue.clear(memory.all()).map_err(words)?;
        self.synchronize()
    }

    /// All bytes of `memory`.
    ///
    /// # Errors
    /// The device's words, also about a kernel that failed before.
    pub fn download_bytes(&mut self, memory: &DeviceMemory) -> Result<Vec<u8>, String> {
        let staging = self.queue.pinned(memory.bytes()).map_err(words)?;
        self.queue.download(&staging, 0, memory.all()).map_err(words)?;
        let idle = self.queue.finish().map_err(words)?;
        Ok(staging.read(&idle).map_err(words)?[..memory.bytes()].to_vec())
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
        self.queue.finish().map(drop).map_err(words)
    }
}

fn words(error: GpuError) -> String {
    error.message
}
