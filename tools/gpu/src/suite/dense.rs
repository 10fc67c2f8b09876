//! The cases of `kernels/cuda/dense.cu`: each layer against an f64 oracle on what the device itself had in the slab, everything else of the
//! slab untouched, and the same bits for several tiles.

use super::support::{Accumulation, Bounded, Random, Workbench, compare};
use super::{Case, Checked};
use radnet_kernels::cuda::dense::{DenseBuffers, DenseLayer, DenseShape, DenseTile, DenseWeights, Family};
use radnet_kernels::cuda::packing::{Norm, pad};
use radnet_kernels::cuda::{Element, Gpu, Slices};
use std::sync::Arc;

/// Tiles that a case tries, beside the one that is chosen for the device.
const OTHER_TILES: usize = 3;

/// A run of layers. Channel counts are logical.
#[derive(Clone, Copy, Debug)]
struct Layers {
    element: Element,
    height: usize,
    width: usize,
    base: usize,
    growth: usize,
    mid: usize,
    layers: usize,
    slices: usize,
    /// Slices that are to be done.
    count: usize,
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for element in Element::ALL {
        let layers =
            |height, width, base, growth, mid| Layers { element, height, width, base, growth, mid, layers: 1, slices: 1, count: 1 };
        // Maps of one pixel, one row, one column; odd ones; the edges of warps' 16 columns and of the tiles ±1.
        for (height, width) in [(1, 1), (1, 7), (9, 1), (5, 3), (7, 7), (9, 33), (31, 17), (8, 16), (15, 15), (17, 16)] {
            all.push(layers(height, width, 32, 12, 48));
        }
        // Channels: fewer and more than a step of the pipeline, odd numbers of half steps; outputs and mid channels of one and of two rounds.
        for (base, growth, mid) in [(16, 32, 128), (24, 12, 24), (48, 8, 16), (80, 48, 192), (64, 32, 144), (112, 64, 128), (40, 36, 130)] {
            all.push(layers(6, 7, base, growth, mid));
        }
        // DenseNet-121's own layers, at small maps.
        for (height, width, base) in [(8, 8, 64), (4, 4, 480), (3, 5, 992), (2, 2, 1024)] {
            all.push(layers(height, width, base, 32, 128));
        }
        // Several layers in a row, several slices, and fewer of them to be done than there is room for.
        all.push(Layers { layers: 3, ..layers(7, 9, 24, 12, 48) });
        all.push(Layers { layers: 34, ..layers(3, 3, 16, 16, 16) });
        all.push(Layers { slices: 3, count: 3, layers: 2, ..layers(5, 6, 64, 32, 128) });
        all.push(Layers { slices: 3, count: 1, layers: 2, ..layers(5, 6, 32, 32, 64) });
        all.push(Layers { slices: 2, count: 0, ..layers(5, 6, 32, 32, 64) });
    }
    all.into_iter().map(|layers| Case::new("dense", layers.name(), move |gpu| layers.check(gpu))).collect()
}

/// The logical weights of a layer.
struct Weights {
    scale1: Vec<f64>,
    mean1: Vec<f32>,
    bias1: Vec<f32>,
    conv1: Vec<f32>,
    scale2: Vec<f64>,
    shift2: Vec<f64>,
    conv2: Vec<f32>,
}

impl Weights {
    fn random(random: &mut Random, inputs: usize, mid: usize, growth: usize) -> Self {
        let mut floats = |n: usize, size: f64| (0..n).map(|_| random.uniform(-size, size) as f32).collect::<Vec<_>>();
        let doubles = |floats: Vec<f32>| floats.into_iter().map(f64::from).collect::<Vec<_>>();
        Self {
            scale1: doubles(floats(inputs, 1.5)),
            mean1: floats(inputs, 0.5),
            bias1: floats(inputs, 0.5),
            conv1: floats(mid * inputs, (3.0 / inputs as f64).sqrt()),
            scale2: doubles(floats(mid, 1.5)),
            shift2: doubles(floats(mid, 0.5)),
            conv2: floats(growth * mid * 9, (1.0 / (3 * mid) as f64).sqrt()),
        }
    }

    fn norm1(&self) -> Norm<'_> {
        Norm { scale: &self.scale1, mean: &self.mean1, bias: &self.bias1 }
    }
}

impl Layers {
    fn name(&self) -> String {
        let Self { element, height, width, base, growth, mid, layers, slices, count } = self;
        let slices = if (*slices, *count) == (1, 1) { String::new() } else { format!(", {count} of {slices} slices") };
        let layers = if *layers == 1 { String::new() } else { format!("{layers} × ") };
        format!("{}, {height}×{width}, {base} → {mid} → {layers}{growth}{slices}", element.suffix())
    }

    fn shape(&self) -> DenseShape {
        DenseShape {
            element: self.element,
            height: self.height,
            width: self.width,
            stride: pad(self.base) + self.layers * pad(self.growth),
            mid: pad(self.mid),
            growth: pad(self.growth),
        }
    }

    /// Physical channels that layer `layer` reads.
    fn inputs(&self, layer: usize) -> usize {
        pad(self.base) + layer * pad(self.growth)
    }

    /// Logical channel at physical position `p`, unless that is padding.
    fn logical(&self, p: usize) -> Option<usize> {
        let Some(grown) = p.checked_sub(pad(self.base)) else { return (p < self.base).then_some(p) };
        let (layer, within) = (grown / pad(self.growth), grown % pad(self.growth));
        (within < self.growth).then_some(self.base + layer * self.growth + within)
    }

    fn check(&self, gpu: &Arc<dyn Gpu>) -> Result<Checked, String> {
        let shape = self.shape();
        let mut random = Random::new((self.height * 1009 + self.width * 31 + self.base) as u64);
        let weights: Vec<_> =
            (0..self.layers).map(|l| Weights::random(&mut random, self.base + l * self.growth, self.mid, self.growth)).collect();
        let mut packed = Vec::new();
        let table: Vec<_> = weights
            .iter()
            .enumerate()
            .map(|(l, w)| {
                let logical = DenseWeights { norm1: w.norm1(), conv1: &w.conv1, scale2: &w.scale2, shift2: &w.shift2, conv2: &w.conv2 };
                shape.pack(&logical, &|p| self.logical(p), (self.inputs(l), self.inputs(l)), &mut packed)
            })
            .collect();
        let before = self.slab(&mut random);
        let mut checked = Checked::exact(0);
        for family in [Family::Portable, Family::Sm90] {
            let tiles = self.tiles(family, gpu);
            let Some((first, others)) = tiles.split_first() else { continue };
            let after = self.run(gpu, first, &table, &packed, &before)?;
            for tile in others {
                let other = self.run(gpu, tile, &table, &packed, &before)?;
                if let Some(at) = after.iter().zip(&other).position(|(a, b)| a != b) {
                    return Err(format!("byte {at} of the slab is not the same for the tiles {first} and {tile}"));
                }
            }
            checked = checked.and(self.compare(&weights, &before, &after).map_err(|e| format!("{first}: {e}"))?);
        }
        Ok(checked)
    }

    /// The base channels random, padding zero, the rest NaN.
    fn slab(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.slices * self.height * self.width {
            for p in 0..pad(self.base) {
                let value = random.uniform(-1.5, 1.5);
                self.element.encode([if p < self.base { value } else { 0.0 }], &mut bytes);
            }
            bytes.resize(bytes.len() + self.layers * pad(self.growth) * self.element.bytes(), 0xff);
        }
        bytes
    }

    /// The device's choice, and some others of what it could run, by the kernels of `family`.
    fn tiles(&self, family: Family, gpu: &Arc<dyn Gpu>) -> Vec<DenseTile> {
        let (shape, device) = (self.shape(), gpu.properties());
        if family == Family::Sm90 && (device.compute_capability != (9, 0) || self.element == Element::F32) {
            return Vec::new();
        }
        let all = DenseTile::candidates_of(family, &shape, device);
        let step = all.len().div_ceil(OTHER_TILES).max(1);
        let mut tiles = vec![DenseTile::choose(&shape, self.inputs(self.layers / 2), device, self.slices)];
        tiles.retain(|tile| tile.family == family);
        tiles.extend(all.iter().skip(step / 2).step_by(step));
        tiles.dedup();
        tiles
    }

    fn run(&self, gpu: &Arc<dyn Gpu>, tile: &DenseTile, table: &[DenseLayer], packed: &[u8], slab: &[u8]) -> Result<Vec<u8>, String> {
        let mut bench = Workbench::new(gpu)?;
        let (weights, slab, count) = (bench.upload_bytes(packed)?, bench.upload_bytes(slab)?, bench.upload_u32(&[self.count as u32])?);
        let slices = Slices { count: count.all(), capacity: self.slices };
        let buffers = DenseBuffers { slab: slab.all(), weights: weights.all(), slices };
        self.shape().launch(bench.stream(), tile, table, &buffers).map_err(|e| format!("{tile}: {e}"))?;
        bench.download_bytes(&slab).map_err(|e| format!("{tile}: {e}"))
    }

    fn compare(&self, weights: &[Weights], before: &[u8], after: &[u8]) -> Result<Checked, String> {
        let shape = self.shape();
        let pixels = self.count * self.height * self.width;
        let unchanged = |range: std::ops::Range<usize>| before[range.clone()] == after[range];
        let pixel_bytes = shape.stride * self.element.bytes();
        if !unchanged(pixels * pixel_bytes..before.len())
            || (0..pixels).any(|p| !unchanged(p * pixel_bytes..p * pixel_bytes + pad(self.base) * self.element.bytes()))
        {
            return Err("something was written beside the new channels".into());
        }
        let slab = self.element.decode(after);
        let mut checked = Checked::exact(0);
        for (layer, weights) in weights.iter().enumerate() {
            let expected = self.oracle(layer, weights, &slab);
            let got: Vec<f32> = (0..pixels).flat_map(|p| &slab[p * shape.stride + self.inputs(layer)..][..shape.growth]).copied().collect();
            let place = |at: usize| {
                let (pixel, channel) = (at / shape.growth, at % shape.growth);
                let (slice, y, x) = (pixel / (self.height * self.width), pixel / self.width % self.height, pixel % self.width);
                format!("layer {layer}, slice {slice}, row {y}, column {x}, channel {channel}")
            };
            checked = checked.and(compare("new channels", &got, &expected, place)?);
        }
        Ok(checked)
    }

    /// What layer `layer` makes of `slab`, physical channels of every pixel that is to be done.
    fn oracle(&self, layer: usize, weights: &Weights, slab: &[f32]) -> Vec<Bounded> {
        let (element, accumulation) = (self.element, Accumulation::of(self.element));
        let (stride, inputs) = (self.shape().stride, self.base + layer * self.growth);
        let physical: Vec<_> = (0..self.inputs(layer)).filter_map(|p| self.logical(p).map(|c| (p, c))).collect();
        let round = |w: &[f32]| w.iter().map(|w| element.round(f64::from(*w))).collect::<Vec<_>>();
        let (conv1, conv2) = (round(&weights.conv1), round(&weights.conv2));
        let norm1: Vec<_> = (0..inputs).map(|c| weights.norm1().rounded(element, c)).collect();
        let mid: Vec<Vec<Bounded>> = (0..self.count * self.height * self.width)
            .map(|pixel| {
                let x = physical.iter().map(|&(p, c)| {
                    let (scale, shift) = norm1[c];
                    Bounded::exact(f64::from(slab[pixel * stride + p])).affine_exactly(scale, shift).relu().rounded(element)
                });
                let x: Vec<_> = x.collect();
                let norm2 = |n: usize| (Element::F32.round(weights.scale2[n]), Element::F32.round(weights.shift2[n]));
                let sum = |n: usize| Bounded::dot(accumulation, 0.0, x.iter().copied().zip(conv1[n * inputs..].iter().copied()));
                (0..self.mid).map(|n| sum(n).affine(norm2(n).0, norm2(n).1).relu().rounded(element)).collect()
            })
            .collect();
        let mut expected = Vec::new();
        for pixel in 0..self.count * self.height * self.width {
            let (y, x) = (pixel / self.width % self.height, pixel % self.width);
            let taps: Vec<_> =
                (0..9).filter(|tap| (1..=self.height).contains(&(y + tap / 3)) && (1..=self.width).contains(&(x + tap % 3))).collect();
            for n in 0..self.growth {
                let terms = taps.iter().flat_map(|&tap| {
                    let mid = &mid[pixel + tap / 3 * self.width + tap % 3 - self.width - 1];
                    let conv2 = &conv2;
                    mid.iter().enumerate().map(move |(i, m)| (*m, conv2[(n * self.mid + i) * 9 + tap]))
                });
                expected.push(Bounded::dot(accumulation, 0.0, terms).rounded(element));
            }
            expected.resize(expected.len() + pad(self.growth) - self.growth, Bounded::ZERO);
        }
        expected
    }
}
