//! The cases of `kernels/cuda/attention.cu`.

use super::Case;
use super::support::{Accumulation, Bounded, Checked, Random, Workbench, compare};
use radnet_kernels::cuda::attention::{AttentionBuffers, AttentionShape, Weighting, attention};
use radnet_kernels::cuda::{Element, Slices};
use std::sync::Arc;

type Gpu = Arc<dyn radnet_kernels::cuda::Gpu>;

/// A map with its channels in segments of 16, of which the first `real` hold something.
#[derive(Clone, Copy, Debug)]
struct Pooling {
    area: usize,
    segments: usize,
    real: usize,
    heads: usize,
    weighting: Weighting,
    capacity: usize,
    slices: usize,
}

const ONE: Pooling = Pooling { area: 1, segments: 1, real: 16, heads: 1, weighting: Weighting::Sigmoid, capacity: 1, slices: 1 };

const POOLINGS: [Pooling; 9] = [
    ONE,
    Pooling { weighting: Weighting::Mean, ..ONE },
    Pooling { weighting: Weighting::Softmax, heads: 2, ..ONE },
    // One position more than a block of scores, channels that end inside a block of sums, padding in every segment.
    Pooling { area: 9, segments: 5, real: 12, heads: 3, weighting: Weighting::Sigmoid, capacity: 4, slices: 3 },
    // More heads than are taken at a time.
    Pooling { area: 35, segments: 3, real: 11, heads: 6, weighting: Weighting::Softmax, capacity: 2, slices: 2 },
    Pooling { area: 33, segments: 4, real: 16, heads: 1, weighting: Weighting::Mean, capacity: 3, slices: 2 },
    // More positions than are taken at a time, and channels beyond a warp's 256.
    Pooling { area: 515, segments: 2, real: 16, heads: 1, weighting: Weighting::Softmax, capacity: 1, slices: 1 },
    Pooling { area: 1030, segments: 1, real: 9, heads: 5, weighting: Weighting::Sigmoid, capacity: 1, slices: 1 },
    Pooling { area: 4, segments: 17, real: 16, heads: 1, weighting: Weighting::Sigmoid, capacity: 2, slices: 2 },
];

pub(super) fn cases() -> Vec<Case> {
    let all = Element::ALL.into_iter().flat_map(|element| POOLINGS.map(|pooling| (element, pooling)));
    all.map(|(element, pooling)| {
        let Pooling { area, segments, real, heads, weighting, capacity, slices } = pooling;
        let suffix = element.suffix();
        let name =
            format!("{suffix}, {weighting:?}, {area} positions, {segments}×{real} channels, {heads} heads, {slices} of {capacity} slices");
        Case::new("attention", name, move |gpu| pool(gpu, element, pooling))
    })
    .collect()
}

impl Pooling {
    fn shape(&self) -> AttentionShape {
        AttentionShape {
            area: self.area,
            channels: self.segments * self.real,
            slab_channels: self.segments * 16,
            slab_stride: self.segments * 16 + 16,
            heads: self.heads,
            weighting: self.weighting,
        }
    }

    fn logical(&self, physical: usize) -> Option<usize> {
        (physical % 16 < self.real).then_some(physical / 16 * self.real + physical % 16)
    }
}

/// The numbers of a case, physical channels first.
struct Numbers {
    slab: Vec<f64>,
    scale: Vec<f64>,
    shift: Vec<f64>,
    heads: Vec<f64>,
    bias: Vec<f64>,
}

impl Numbers {
    fn new(element: Element, pooling: &Pooling) -> Self {
        let shape = pooling.shape();
        let mut random = Random::new((shape.area * 31 + shape.slab_channels) as u64);
        let mut slab = random.values(element, pooling.capacity * shape.area * shape.slab_stride, -1.0, 2.0);
        for (at, x) in slab.iter_mut().enumerate() {
            let p = at % shape.slab_stride;
            if p < shape.slab_channels && pooling.logical(p).is_none() {
                *x = 0.0;
            } else if p >= shape.slab_channels {
                // Nobody's: a value that would be noticed.
                *x = 1000.0;
            }
        }
        let channels = shape.slab_channels;
        Self {
            slab,
            scale: random.values(Element::F32, channels, -1.0, 1.5),
            shift: random.values(Element::F32, channels, -0.5, 0.5),
            heads: random.values(Element::F32, shape.heads * channels, -0.5, 0.5),
            bias: random.values(Element::F32, shape.heads, -1.0, 1.0),
        }
    }
}

fn pool(gpu: &Gpu, element: Element, pooling: Pooling) -> Result<Checked, String> {
    let (shape, numbers) = (pooling.shape(), Numbers::new(element, &pooling));
    let channels = shape.slab_channels;
    let real = |p: usize, values: &[f64], at: usize| pooling.logical(p).map(|_| values[at + p]);
    let mut bench = Workbench::new(gpu)?;
    let slab = bench.upload(element, &numbers.slab)?;
    let scale = bench.upload_bytes(&shape.pack_channels(|p| real(p, &numbers.scale, 0)))?;
    let shift = bench.upload_bytes(&shape.pack_channels(|p| real(p, &numbers.shift, 0)))?;
    let packed: Vec<u8> = (0..shape.heads).flat_map(|head| shape.pack_channels(|p| real(p, &numbers.heads, head * channels))).collect();
    let (heads, bias) = (bench.upload_bytes(&packed)?, bench.upload(Element::F32, &numbers.bias)?);
    let channel_map = bench.upload_bytes(&shape.pack_map(|p| pooling.logical(p)))?;
    let map = 4 * pooling.capacity * shape.heads * shape.area;
    let (scores, maps) = (bench.output(map)?, bench.output(map)?);
    let pooled = bench.output(4 * pooling.capacity * shape.heads * shape.channels)?;
    let count = bench.upload_u32(&[pooling.slices as u32])?;
    let buffers = AttentionBuffers {
        slab: slab.all(),
        scale: scale.all(),
        shift: shift.all(),
        heads: heads.all(),
        bias: bias.all(),
        channel_map: channel_map.all(),
        scores: scores.all(),
        maps: maps.all(),
        pooled: pooled.all(),
    };
    attention(bench.stream(), element, &shape, &buffers, Slices { count: count.all(), capacity: pooling.capacity })
        .map_err(|e| e.message)?;

    let unwritten = |n: usize| std::iter::repeat_n(Bounded::exact(f64::NAN), n);
    let (mut wanted_maps, mut wanted_pooled) = (Vec::new(), Vec::new());
    for slice in 0..pooling.slices {
        let (a, pooled) = oracle(&pooling, &numbers, slice);
        wanted_maps.extend(a);
        wanted_pooled.extend(pooled);
    }
    wanted_maps.extend(unwritten((pooling.capacity - pooling.slices) * shape.heads * shape.area));
    wanted_pooled.extend(unwritten((pooling.capacity - pooling.slices) * shape.heads * shape.channels));
    let (got_maps, got_pooled) = (bench.download(Element::F32, &maps)?, bench.download(Element::F32, &pooled)?);
    let maps = compare("attention map", &got_maps, &wanted_maps, |at| {
        format!("head and slice {}, position {}", at / shape.area, at % shape.area)
    })?;
    let pooled = compare("pooled", &got_pooled, &wanted_pooled, |at| {
        format!("head and slice {}, channel {}", at / shape.channels, at % shape.channels)
    })?;
    Ok(maps.and(pooled))
}

/// The maps and the pooled vectors of a slice.
fn oracle(pooling: &Pooling, numbers: &Numbers, slice: usize) -> (Vec<Bounded>, Vec<Bounded>) {
    let shape = pooling.shape();
    let physical: Vec<usize> = (0..shape.slab_channels).filter(|&p| pooling.logical(p).is_some()).collect();
    let features: Vec<Vec<Bounded>> = (0..shape.area)
        .map(|position| {
            let row = &numbers.slab[(slice * shape.area + position) * shape.slab_stride..];
            physical.iter().map(|&p| Bounded::exact(row[p]).affine(numbers.scale[p], numbers.shift[p]).relu()).collect()
        })
        .collect();
    let (mut maps, mut pooled) = (Vec::new(), Vec::new());
    for head in 0..shape.heads {
        let weights: Vec<f64> = physical.iter().map(|&p| numbers.heads[head * shape.slab_channels + p]).collect();
        let scores =
            features.iter().map(|f| Bounded::dot(Accumulation::Fma, numbers.bias[head], f.iter().copied().zip(weights.iter().copied())));
        let a = weigh(shape.weighting, scores.collect());
        let divisor = match shape.weighting {
            Weighting::Mean => Bounded::exact(shape.area as f64),
            Weighting::Softmax => Bounded::exact(1.0),
            Weighting::Sigmoid => sum(&a).plus(Bounded::exact(1e-6)),
        };
        pooled.extend((0..physical.len()).map(|c| {
            let terms: Vec<Bounded> = a.iter().zip(&features).map(|(a, f)| product(*a, f[c])).collect();
            quotient(sum(&terms), divisor)
        }));
        maps.extend(a);
    }
    (maps, pooled)
}

fn weigh(weighting: Weighting, scores: Vec<Bounded>) -> Vec<Bounded> {
    // Three units in the last place.
    let ulp = |value: f64| 3.0 * 2f64.powi(-23) * value + f64::from(f32::MIN_POSITIVE);
    match weighting {
        Weighting::Mean => vec![Bounded::exact(1.0); scores.len()],
        Weighting::Sigmoid => {
            let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
            scores.iter().map(|e| e.through(sigmoid, 0.25, ulp(sigmoid(e.value)))).collect()
        }
        Weighting::Softmax => {
            let largest = scores.iter().map(|e| e.value).fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|e| (e.value - largest).exp()).sum();
            // The relative error of an exponential: its argument's, the difference's rounding, its own. Twice that of a quotient of two.
            let relative = |e: &Bounded| (e.error + 2f64.powi(-24) * (e.value - largest).abs()).exp_m1() + 2f64.powi(-22);
            let worst = scores.iter().map(relative).fold(0.0, f64::max);
            let own = 2.0 * worst + Accumulation::Fma.gamma(scores.len() + 1);
            scores
                .iter()
                .map(|e| {
                    let value = (e.value - largest).exp() / total;
                    Bounded { value, error: value * own + f64::from(f32::MIN_POSITIVE) }
                })
                .collect()
        }
    }
}

/// A product before any rounding: the FMA's rounding belongs to the sum.
fn product(a: Bounded, b: Bounded) -> Bounded {
    let error = a.value.abs() * b.error + b.value.abs() * a.error + a.error * b.error;
    Bounded { value: a.value * b.value, error }
}

/// A float32 sum, in any order.
fn sum(terms: &[Bounded]) -> Bounded {
    let magnitude: f64 = terms.iter().map(|t| t.value.abs() + t.error).sum();
    let carried: f64 = terms.iter().map(|t| t.error).sum();
    Bounded { value: terms.iter().map(|t| t.value).sum(), error: carried + Accumulation::Fma.gamma(terms.len()) * magnitude }
}

fn quotient(a: Bounded, b: Bounded) -> Bounded {
    let value = a.value / b.value;
    Bounded { value, error: (a.error + value.abs() * b.error) / (b.value - b.error) }.rounded(Element::F32)
}
