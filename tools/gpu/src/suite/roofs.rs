//! The cases of `kernels/cuda/roofs.cu`: a roof that computes something else would be a wrong yardstick.

use super::support::{Bounded, Random, Workbench, compare};
use super::{Case, Checked};
use radnet_kernels::cuda::roofs::{Multiplication, copy, multiply};
use radnet_kernels::cuda::{Element, Gpu};
use std::sync::Arc;

/// 16-byte vectors: one, around a block's threads and its 1024 vectors, and an odd number of blocks.
const VECTORS: [usize; 6] = [1, 255, 1023, 1024, 1025, 5000];

pub(super) fn cases() -> Vec<Case> {
    let copies =
        VECTORS.into_iter().map(|vectors| Case::new("roofs", format!("a copy of {vectors} vectors"), move |gpu| copied(gpu, vectors)));
    let products = [Element::F16, Element::Bf16].into_iter().flat_map(|element| {
        [false, true].map(|asynchronous| {
            let how = if asynchronous { "asynchronous products" } else { "products of a warp" };
            Case::new("roofs", format!("{}, {how}", element.suffix()), move |gpu| multiplied(gpu, element, asynchronous))
        })
    });
    copies.chain(products).collect()
}

fn copied(gpu: &Arc<dyn Gpu>, vectors: usize) -> Result<Checked, String> {
    let sent = Random::new(vectors as u64).bytes(16 * vectors);
    let mut bench = Workbench::new(gpu)?;
    let from = bench.upload_bytes(&sent)?;
    // One vector more than is copied: it must stay as it was.
    let to = bench.output(16 * vectors + 16)?;
    copy(bench.stream(), from.all(), to.all()).map_err(|error| error.message)?;
    let got = bench.download_bytes(&to)?;
    let wrong = got.iter().zip(sent.iter().chain(&[0xff; 16])).position(|(got, sent)| got != sent);
    wrong.map_or(Ok(Checked::exact(got.len())), |at| Err(format!("byte {at} of {} is wrong", got.len())))
}

fn multiplied(gpu: &Arc<dyn Gpu>, element: Element, asynchronous: bool) -> Result<Checked, String> {
    if asynchronous && gpu.properties().compute_capability != (9, 0) {
        // Other devices have no such products, and no such kernel.
        return Ok(Checked::exact(0));
    }
    let work = Multiplication { element, asynchronous, iterations: 5, blocks: 3 };
    let mut bench = Workbench::new(gpu)?;
    let out = bench.output(work.bytes())?;
    multiply(bench.stream(), &work, out.all()).map_err(|error| error.message)?;
    let got = bench.download(Element::F32, &out)?;
    compare("sums", &got, &vec![Bounded::exact(work.result()); got.len()], |thread| format!("thread {thread}"))
}
