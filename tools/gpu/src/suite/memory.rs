//! Copies, clears and recorded graphs: what every other case stands on.

use super::support::{Random, Workbench};
use super::{Case, Checked};
use radnet_kernels::cuda::{DeviceMemory, GpuError, Queue, selftest};
use std::sync::Arc;

/// Byte counts around the width of a vector load, a line, a page; and odd ones.
const SIZES: [usize; 8] = [1, 15, 16, 17, 127, 128, 4096, 100_003];

pub(super) fn cases() -> Vec<Case> {
    let copies =
        SIZES.into_iter().map(|bytes| Case::new("memory", format!("there and back, {bytes} bytes"), move |gpu| there_and_back(gpu, bytes)));
    let graph = Case::new("memory", "a recorded copy sees what the host wrote after recording", recorded);
    copies.chain([graph, Case::new("memory", "the first kernel of every device", first_kernel)]).collect()
}

type Gpu = Arc<dyn radnet_kernels::cuda::Gpu>;

fn first_kernel(gpu: &Gpu) -> Result<Checked, String> {
    selftest::run(&**gpu).map_err(|error| error.message)?;
    Ok(Checked::exact(selftest::BYTES))
}

fn there_and_back(gpu: &Gpu, bytes: usize) -> Result<Checked, String> {
    let sent = Random::new(bytes as u64).bytes(bytes);
    let mut bench = Workbench::new(gpu)?;
    let memory = bench.upload_bytes(&sent)?;
    equal(&bench.download_bytes(&memory)?, &sent)?;
    let poisoned = bench.output(bytes)?;
    equal(&bench.download_bytes(&poisoned)?, &vec![0xff; bytes])?;
    bench.clear(&poisoned)?;
    equal(&bench.download_bytes(&poisoned)?, &vec![0; bytes])?;
    Ok(Checked::exact(3 * bytes))
}

fn recorded(gpu: &Gpu) -> Result<Checked, String> {
    const BYTES: usize = 1000;
    let words = |error: GpuError| error.message;
    let mut queue = Queue::new(gpu).map_err(words)?;
    let memory = Arc::new(DeviceMemory::new(gpu, BYTES).map_err(words)?);
    let sent = Arc::new(queue.pinned(BYTES).map_err(words)?);
    let back = Arc::new(queue.pinned(BYTES).map_err(words)?);
    let copies = |queue: &mut Queue| {
        queue.upload(memory.all(), &sent, 0)?;
        queue.download(&back, 0, memory.all())
    };
    let recording = queue.record(vec![Arc::clone(&memory)], vec![Arc::clone(&sent), Arc::clone(&back)], copies).map_err(words)?;
    for seed in [1, 2] {
        let content = Random::new(seed).bytes(BYTES);
        sent.write(&mut queue.finish().map_err(words)?).map_err(words)?.copy_from_slice(&content);
        queue.replay(&recording).map_err(words)?;
        equal(back.read(&queue.finish().map_err(words)?).map_err(words)?, &content)?;
    }
    Ok(Checked::exact(2 * BYTES))
}

fn equal(got: &[u8], expected: &[u8]) -> Result<(), String> {
    match got.iter().zip(expected).position(|(a, b)| a != b) {
        _ if got.len() != expected.len() => Err(format!("{} bytes came back instead of {}", got.len(), expected.len())),
        Some(at) => Err(format!("byte {at} of {} is {:#04x} instead of {:#04x}", expected.len(), got[at], expected[at])),
        None => Ok(()),
    }
}
