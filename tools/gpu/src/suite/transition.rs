//! The cases of `kernels/cuda/transition.cu`: against an f64 oracle; padding zero, and nothing else written.

use super::support::{Accumulation, Bounded, Random, Workbench, compare};
use super::{Case, Checked};
use radnet_kernels::cuda::packing::{Norm, pad};
use radnet_kernels::cuda::transition::{TransitionBuffers, TransitionShape};
use radnet_kernels::cuda::{Element, Gpu, Slices};
use std::sync::Arc;

/// Channels of the next block that the transition leaves alone.
const FURTHER: usize = 32;

/// Channel counts are logical.
#[derive(Clone, Copy, Debug)]
struct Transition {
    element: Element,
    height: usize,
    width: usize,
    inputs: usize,
    outputs: usize,
    slices: usize,
    /// Slices that are to be done.
    count: usize,
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for element in Element::ALL {
        let transition = |height, width, inputs, outputs| Transition { element, height, width, inputs, outputs, slices: 1, count: 1 };
        // The smallest map; odd rows and columns, which are dropped; a block's 64 positions and one more.
        for (height, width) in [(2, 2), (3, 2), (2, 5), (7, 7), (9, 33), (16, 16), (10, 26)] {
            all.push(transition(height, width, 32, 24));
        }
        // Channels: less than a step of the pipeline, odd half steps, one output more than a block's 128, DenseNet-121's own.
        for (inputs, outputs) in [(16, 8), (24, 12), (50, 25), (80, 130), (256, 128), (512, 256), (1024, 512)] {
            all.push(transition(4, 5, inputs, outputs));
        }
        // Positions of several slices in one block, and fewer slices to be done than there is room for.
        all.push(Transition { slices: 3, count: 3, ..transition(6, 6, 48, 24) });
        all.push(Transition { slices: 20, count: 11, ..transition(6, 6, 32, 16) });
        all.push(Transition { slices: 2, count: 0, ..transition(6, 6, 32, 16) });
    }
    all.into_iter().map(|transition| Case::new("transition", transition.name(), move |gpu| transition.check(gpu))).collect()
}

impl Transition {
    fn name(&self) -> String {
        let Self { element, height, width, inputs, outputs, slices, count } = self;
        format!("{}, {height}×{width}, {inputs} → {outputs}, {count} of {slices} slices", element.suffix())
    }

    fn shape(&self) -> TransitionShape {
        TransitionShape {
            element: self.element,
            height: self.height,
            width: self.width,
            in_channels: pad(self.inputs),
            src_stride: pad(self.inputs) + 16,
            out_channels: pad(self.outputs),
            dst_stride: pad(self.outputs) + FURTHER,
        }
    }

    fn check(&self, gpu: &Arc<dyn Gpu>) -> Result<Checked, String> {
        let (shape, element) = (self.shape(), self.element);
        let mut random = Random::new((self.height * 1009 + self.width * 31 + self.inputs) as u64);
        let mut floats = |n: usize, size: f64| (0..n).map(|_| random.uniform(-size, size) as f32).collect::<Vec<_>>();
        let scale: Vec<_> = floats(self.inputs, 1.5).into_iter().map(f64::from).collect();
        let (mean, bias) = (floats(self.inputs, 0.5), floats(self.inputs, 0.5));
        let conv = floats(self.outputs * self.inputs, (3.0 / self.inputs as f64).sqrt());
        let norm = Norm { scale: &scale, mean: &mean, bias: &bias };
        let mut packed = Vec::new();
        let layer = shape.pack(&norm, &conv, &|p| (p < self.inputs).then_some(p), &mut packed);
        let mut slab = Vec::new();
        for _ in 0..self.slices * self.height * self.width {
            let pixel = floats(shape.src_stride, 1.5).into_iter().enumerate();
            slab.extend(pixel.map(|(p, x)| if p < self.inputs { element.round(f64::from(x)) } else { 0.0 }));
        }
        let mut bench = Workbench::new(gpu)?;
        let (src, weights) = (bench.upload(element, &slab)?, bench.upload_bytes(&packed)?);
        let (dst, count) = (self.slices * shape.positions() * shape.dst_stride, bench.upload_u32(&[self.count as u32])?);
        let dst = bench.output(dst * element.bytes())?;
        let slices = Slices { count: count.all(), capacity: self.slices };
        let buffers = TransitionBuffers { src: src.all(), dst: dst.all(), weights: weights.all(), slices };
        shape.launch(bench.stream(), &layer, &buffers).map_err(|e| e.to_string())?;
        let got = bench.download(element, &dst)?;
        compare("next block", &got, &self.oracle(&norm, &conv, &slab), |at| {
            let position = at / shape.dst_stride;
            format!("slice {}, position {}, channel {}", position / shape.positions(), position % shape.positions(), at % shape.dst_stride)
        })
    }

    fn oracle(&self, norm: &Norm<'_>, conv: &[f32], slab: &[f64]) -> Vec<Bounded> {
        let (shape, element) = (self.shape(), self.element);
        let norm: Vec<_> = (0..self.inputs).map(|c| norm.rounded(Element::F32, c)).collect();
        let conv: Vec<_> = conv.iter().map(|w| element.round(f64::from(*w))).collect();
        let mut expected = Vec::new();
        for position in 0..self.slices * shape.positions() {
            let (slice, within) = (position / shape.positions(), position % shape.positions());
            if slice >= self.count {
                expected.resize(expected.len() + shape.dst_stride, Bounded::exact(f64::NAN));
                continue;
            }
            let (y, x) = (within / (self.width / 2) * 2, within % (self.width / 2) * 2);
            let at = |i: usize| ((slice * self.height + y + i / 2) * self.width + x + i % 2) * shape.src_stride;
            let pooled = (0..self.inputs).map(|k| {
                let pixel = |i: usize| Bounded::exact(slab[at(i) + k]).affine(norm[k].0, norm[k].1).relu();
                let sum = pixel(0).plus(pixel(1)).plus(pixel(2)).plus(pixel(3));
                sum.times(Bounded::exact(0.25)).rounded(element)
            });
            let pooled: Vec<_> = pooled.collect();
            for n in 0..self.outputs {
                let terms = pooled.iter().copied().zip(conv[n * self.inputs..].iter().copied());
                expected.push(Bounded::dot(Accumulation::of(element), 0.0, terms).rounded(element));
            }
            expected.resize(expected.len() + shape.out_channels - self.outputs, Bounded::ZERO);
            expected.resize(expected.len() + FURTHER, Bounded::exact(f64::NAN));
        }
        expected
    }
}
