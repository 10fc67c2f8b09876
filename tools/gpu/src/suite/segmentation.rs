//! The cases of `kernels/cuda/segmentation.cu`.

use super::Case;
use super::support::{Accumulation, Bounded, Checked, Random, Workbench, compare};
use radnet_kernels::cuda::segmentation::{SegmentationBuffers, SegmentationShape, segmentation};
use radnet_kernels::cuda::{Element, Slices};
use std::sync::Arc;

type Gpu = Arc<dyn radnet_kernels::cuda::Gpu>;

/// Map, input, segments of 16 channels and how many of each hold something, room for slices, slices.
const SHAPES: [[usize; 8]; 5] = [
    [1, 1, 32, 33, 1, 16, 1, 1],
    // Sizes coprime with each other; channels beyond a warp's 256; a count below the room.
    [5, 7, 37, 41, 17, 13, 3, 2],
    // The same size, and a map larger than the input.
    [6, 4, 6, 4, 2, 9, 2, 2],
    [9, 11, 4, 5, 1, 3, 1, 1],
    [8, 8, 32, 32, 3, 16, 2, 0],
];
const BIAS: f32 = -0.375;
const HEADS: usize = 2;

pub(super) fn cases() -> Vec<Case> {
    let all = Element::ALL.into_iter().flat_map(|element| SHAPES.map(|shape| (element, shape)));
    all.map(|(element, [height, width, rows, columns, segments, real, capacity, slices])| {
        let suffix = element.suffix();
        let name = format!("{suffix}, {height}×{width} → {rows}×{columns}, {segments}×{real} channels, {slices} of {capacity} slices");
        let (slab_channels, slab_stride) = (16 * segments, 16 * segments + 16);
        let shape = SegmentationShape { height, width, slab_channels, slab_stride, rows, columns, heads: HEADS, head: 1 };
        Case::new("segmentation", name, move |gpu| head(gpu, element, shape, real, capacity, slices))
    })
    .collect()
}

fn head(gpu: &Gpu, element: Element, shape: SegmentationShape, real: usize, capacity: usize, slices: usize) -> Result<Checked, String> {
    let area = shape.height * shape.width;
    let mut random = Random::new((area * 31 + shape.slab_channels) as u64);
    let is_real = |p: usize| p < shape.slab_channels && p % 16 < real;
    let mut slab = random.values(element, capacity * area * shape.slab_stride, -1.0, 2.0);
    for (at, x) in slab.iter_mut().enumerate() {
        if !is_real(at % shape.slab_stride) {
            *x = if at % shape.slab_stride < shape.slab_channels { 0.0 } else { 1000.0 };
        }
    }
    let [scale, shift, weights] =
        [(-1.0, 1.5), (-0.5, 0.5), (-0.5, 0.5)].map(|(low, high)| random.values(Element::F32, shape.slab_channels, low, high));

    let mut bench = Workbench::new(gpu)?;
    let on_device = bench.upload(element, &slab)?;
    let mut packed = Vec::new();
    for values in [&scale, &shift, &weights] {
        packed.push(bench.upload_bytes(&shape.pack_channels(|p| is_real(p).then_some(values[p])))?);
    }
    let taps = bench.upload_bytes(&shape.pack_taps())?;
    let logits = bench.output(4 * capacity * area)?;
    let probabilities = bench.output(4 * capacity * HEADS * shape.rows * shape.columns)?;
    let count = bench.upload_u32(&[slices as u32])?;
    let buffers = SegmentationBuffers {
        slab: on_device.all(),
        scale: packed[0].all(),
        shift: packed[1].all(),
        weights: packed[2].all(),
        taps: taps.all(),
        logits: logits.all(),
        probabilities: probabilities.all(),
    };
    segmentation(bench.stream(), element, &shape, BIAS, &buffers, Slices { count: count.all(), capacity }).map_err(|e| e.message)?;
    let got = bench.download(Element::F32, &probabilities)?;

    // Only this head of the scan's slices is written.
    let mut expected = vec![Bounded::exact(f64::NAN); got.len()];
    for slice in 0..slices {
        let logits: Vec<Bounded> = (0..area)
            .map(|position| {
                let row = &slab[(slice * area + position) * shape.slab_stride..];
                let terms = (0..shape.slab_channels).filter(|&p| is_real(p));
                let terms = terms.map(|p| (Bounded::exact(row[p]).affine(scale[p], shift[p]).relu(), weights[p]));
                Bounded::dot(Accumulation::Fma, f64::from(BIAS), terms)
            })
            .collect();
        let map = (slice * HEADS + shape.head) * shape.rows * shape.columns;
        for pixel in 0..shape.rows * shape.columns {
            expected[map + pixel] = upsampled(&shape, &logits, pixel / shape.columns, pixel % shape.columns);
        }
    }
    compare("segmentation", &got, &expected, |at| {
        let (pixel, map) = (at % (shape.rows * shape.columns), at / (shape.rows * shape.columns));
        format!("slice {}, head {}, row {}, column {}", map / HEADS, map % HEADS, pixel / shape.columns, pixel % shape.columns)
    })
}

/// The position before an output pixel's centre, the one after it, and how far the centre is from the first.
fn between(index: usize, from: usize, to: usize) -> (usize, usize, f64) {
    let centre = ((index as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
    let low = (centre.floor() as usize).min(from - 1);
    (low, (low + 1).min(from - 1), centre - low as f64)
}

fn upsampled(shape: &SegmentationShape, logits: &[Bounded], row: usize, column: usize) -> Bounded {
    let (y0, y1, fy) = between(row, shape.height, shape.rows);
    let (x0, x1, fx) = between(column, shape.width, shape.columns);
    let corners = [(y0, x0, (1.0 - fy) * (1.0 - fx)), (y0, x1, (1.0 - fy) * fx), (y1, x0, fy * (1.0 - fx)), (y1, x1, fy * fx)];
    let (mut value, mut error, mut magnitude) = (0.0, 0.0, 0.0);
    for (y, x, weight) in corners {
        let logit = logits[y * shape.width + x];
        value += weight * logit.value;
        error += weight * logit.error;
        magnitude += weight * (logit.value.abs() + logit.error);
    }
    // Both weights are rounded, and four operations follow one another.
    let logit = Bounded { value, error: error + Accumulation::Fma.gamma(6) * magnitude };
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    logit.through(sigmoid, 0.25, 3.0 * 2f64.powi(-23) * sigmoid(value))
}
