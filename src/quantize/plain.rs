//! The backbone in float32, written plainly and fast enough, for looking at its activations: channel planes, one matrix kernel for every
//! convolution. What it computes is what the engine computes up to rounding.

use crate::model::{Extent, Network, Step};
use crate::weights::{Model, Norm};
use crate::{Error, ErrorKind, Result};

/// Whoever looks at the activations of a slice.
pub(super) trait Watcher {
    /// Channels of a block's slab (from 0) from `first` on, plane after plane.
    fn slab(&mut self, block: usize, first: usize, planes: &Planes);
    /// The channels between the two convolutions of a layer (both from 0), after norm2 and ReLU.
    fn mid(&mut self, block: usize, layer: usize, planes: &Planes);
}

/// Channels of a map, each row-major.
pub(super) struct Planes {
    pub(super) extent: Extent,
    pub(super) values: Vec<f32>,
}

impl Planes {
    fn zeros(channels: usize, extent: Extent) -> Result<Self> {
        Ok(Self { extent, values: zeros(channels * extent.area())? })
    }

    /// One after the other.
    pub(super) fn channels(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.extent.area())
    }
}

/// Runs one slice [channels, height, width] up to the last block.
pub(super) fn run(model: &Model, slice: &[f32], watcher: &mut dyn Watcher) -> Result<()> {
    let Model { network, weights, .. } = model;
    let eps = network.bn_eps;
    let mut slab = Planes { extent: network.input, values: Vec::new() };
    for step in &network.steps {
        match *step {
            Step::Stem { out_channels, conv, output, .. } => {
                let mut map = strided(network, slice, &weights.conv0, out_channels, conv)?;
                normalise(&mut map, &weights.norm0, eps);
                slab = max_pool(&map, output)?;
                watcher.slab(0, 0, &slab);
            }
            Step::DenseLayer { block, layer, in_channels, mid_channels, growth, extent } => {
                let w = &weights.blocks[block - 1].layers[layer - 1];
                let mut input = Planes { extent, values: slab.values.clone() };
                normalise(&mut input, &w.norm1, eps);
                let mut mid = Planes::zeros(mid_channels, extent)?;
                combine(&mut mid.values, extent.area(), &w.conv1, &input.channels().collect::<Vec<_>>());
                normalise(&mut mid, &w.norm2, eps);
                watcher.mid(block - 1, layer - 1, &mid);
                let new = three_by_three(&mid, &w.conv2, growth)?;
                watcher.slab(block - 1, in_channels, &new);
                slab.values.extend(new.values);
            }
            Step::Transition { block, out_channels, output, .. } => {
                let Some(w) = &weights.blocks[block - 1].transition else { continue };
                normalise(&mut slab, &w.norm, eps);
                let pooled = average_pool(&slab, output)?;
                slab = Planes::zeros(out_channels, output)?;
                combine(&mut slab.values, output.area(), &w.conv, &pooled.channels().collect::<Vec<_>>());
                watcher.slab(block, 0, &slab);
            }
            _ => {}
        }
    }
    Ok(())
}

/// norm and ReLU in place.
fn normalise(map: &mut Planes, norm: &Norm, eps: f64) {
    let (scale, shift) = norm.scale_shift(eps);
    let area = map.extent.area();
    for ((plane, scale), shift) in map.values.chunks_exact_mut(area).zip(scale).zip(shift) {
        let (scale, shift) = (scale as f32, shift as f32);
        plane.iter_mut().for_each(|v| *v = (scale * *v + shift).max(0.0));
    }
}

/// Positions that a piece of the matrix product covers: four rows of them and a source stay in the first-level cache.
const PIECE: usize = 1024;

/// out[o][i] += Σ_t weights[o][t] · sources[t][i] for rows of `len`.
fn combine(out: &mut [f32], len: usize, weights: &[f32], sources: &[&[f32]]) {
    let terms = sources.len();
    for start in (0..len).step_by(PIECE) {
        let end = (start + PIECE).min(len);
        for (rows, weights) in out.chunks_mut(4 * len).zip(weights.chunks(4 * terms)) {
            let mut rows: Vec<&mut [f32]> = rows.chunks_exact_mut(len).map(|row| &mut row[start..end]).collect();
            for (t, source) in sources.iter().enumerate() {
                let source = &source[start..end];
                if let [a, b, c, d] = &mut rows[..] {
                    let [wa, wb, wc, wd] = [0, 1, 2, 3].map(|o| weights[o * terms + t]);
                    let outputs = a.iter_mut().zip(b.iter_mut()).zip(c.iter_mut().zip(d.iter_mut()));
                    for (((a, b), (c, d)), x) in outputs.zip(source) {
                        *a += wa * x;
                        *b += wb * x;
                        *c += wc * x;
                        *d += wd * x;
                    }
                } else {
                    for (o, row) in rows.iter_mut().enumerate() {
                        let weight = weights[o * terms + t];
                        row.iter_mut().zip(source).for_each(|(y, x)| *y += weight * x);
                    }
                }
            }
        }
    }
}

/// 3×3 with a border of zeros. Rows of the output are as wide as the padded rows, so that a tap is an offset; what lies past their end is cut.
fn three_by_three(map: &Planes, weights: &[f32], outputs: usize) -> Result<Planes> {
    let Extent { height, width } = map.extent;
    let wide = width + 2;
    let plane = (height + 2) * wide + 2;
    let mut padded = zeros(map.channels().count() * plane)?;
    for (to, from) in padded.chunks_exact_mut(plane).zip(map.channels()) {
        for (to, from) in to[wide..].chunks_mut(wide).zip(from.chunks_exact(width)) {
            to[1..=width].copy_from_slice(from);
        }
    }
    let len = height * wide;
    let taps = |plane| (0..9).map(move |tap| &tail(plane, tap / 3 * wide + tap % 3)[..len]);
    let sources: Vec<&[f32]> = padded.chunks_exact(plane).flat_map(taps).collect();
    let mut out = zeros(outputs * len)?;
    combine(&mut out, len, weights, &sources);
    cut(&out, wide, outputs, map.extent)
}

/// The stem's 7×7 with stride 2: rows and columns of either parity apart, so that a tap is an offset again.
fn strided(network: &Network, slice: &[f32], weights: &[f32], outputs: usize, conv: Extent) -> Result<Planes> {
    let Extent { height, width } = network.input;
    let (wide, tall) = (conv.width + 3, conv.height + 4);
    let mut phases = zeros(network.channels * 4 * tall * wide)?;
    for (c, plane) in slice.chunks_exact(height * width).enumerate() {
        for (y, row) in plane.chunks_exact(width).enumerate() {
            for (x, value) in row.iter().enumerate() {
                let (y, x) = (y + 3, x + 3);
                let phase = c * 4 + y % 2 * 2 + x % 2;
                phases[(phase * tall + y / 2) * wide + x / 2] = *value;
            }
        }
    }
    let len = conv.height * wide;
    let source = |c: usize, ky: usize, kx: usize| {
        let phase = c * 4 + ky % 2 * 2 + kx % 2;
        &phases[(phase * tall + ky / 2) * wide + kx / 2..][..len]
    };
    let taps = (0..network.channels).flat_map(|c| (0..49).map(move |tap| (c, tap / 7, tap % 7)));
    let sources: Vec<&[f32]> = taps.map(|(c, ky, kx)| source(c, ky, kx)).collect();
    let mut out = zeros(outputs * len)?;
    combine(&mut out, len, weights, &sources);
    cut(&out, wide, outputs, conv)
}

/// The first `width` of every `wide` columns.
fn cut(wide_rows: &[f32], wide: usize, channels: usize, extent: Extent) -> Result<Planes> {
    let mut map = Planes::zeros(channels, extent)?;
    for (to, from) in map.values.chunks_exact_mut(extent.width).zip(wide_rows.chunks_exact(wide)) {
        to.copy_from_slice(&from[..extent.width]);
    }
    Ok(map)
}

/// 3×3, stride 2; outside the map there is nothing.
fn max_pool(map: &Planes, output: Extent) -> Result<Planes> {
    let Extent { height, width } = map.extent;
    pooled(map, output, |plane, row, col| {
        let (rows, cols) = ((2 * row).saturating_sub(1)..(2 * row + 2).min(height), (2 * col).saturating_sub(1)..(2 * col + 2).min(width));
        rows.flat_map(|r| &plane[r * width..][cols.clone()]).copied().fold(f32::NEG_INFINITY, f32::max)
    })
}

/// 2×2, stride 2; an odd last row or column is left out.
fn average_pool(map: &Planes, output: Extent) -> Result<Planes> {
    let width = map.extent.width;
    pooled(map, output, |plane, row, col| {
        let at = 2 * row * width + 2 * col;
        (plane[at] + plane[at + 1] + plane[at + width] + plane[at + width + 1]) / 4.0
    })
}

fn pooled(map: &Planes, output: Extent, pool: impl Fn(&[f32], usize, usize) -> f32) -> Result<Planes> {
    let mut out = Planes::zeros(map.channels().count(), output)?;
    for (to, from) in out.values.chunks_exact_mut(output.area()).zip(map.channels()) {
        to.iter_mut().enumerate().for_each(|(i, v)| *v = pool(from, i / output.width, i % output.width));
    }
    Ok(out)
}

fn tail(plane: &[f32], from: usize) -> &[f32] {
    &plane[from..]
}

fn zeros(len: usize) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(len)
        .map_err(|e| Error::new(ErrorKind::OutOfMemory, format!("no memory for activations of {len} floats")).caused_by(e))?;
    values.resize(len, 0.0);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Config;
    use crate::model::config::Backbone;
    use crate::weights::synthetic;

    /// Keeps everything.
    #[derive(Default)]
    struct Keeper(Vec<Vec<f32>>);

    impl Watcher for Keeper {
        fn slab(&mut self, block: usize, _: usize, planes: &Planes) {
            self.0.resize_with(self.0.len().max(block + 1), Vec::new);
            self.0[block].extend(&planes.values);
        }
        fn mid(&mut self, _: usize, _: usize, planes: &Planes) {
            assert!(planes.values.iter().all(|v| *v >= 0.0));
        }
    }

    /// Odd sizes, odd channels, three blocks: every slab is the float64 oracle's up to float32.
    #[test]
    fn the_slabs_are_the_oracles() {
        let mut config = Config::densenet(&[2, 1, 2]);
        config.input.size = [45, 70];
        let Backbone::Densenet { init_features, growth_rate, bn_size, .. } = &mut config.backbone;
        (*init_features, *growth_rate, *bn_size) = (10, 6, 3);
        let model = std::sync::Arc::new(synthetic(&config, 5).unwrap());
        let slice: Vec<f32> = (0..3 * 45 * 70).map(|i| (i * 37 % 101) as f32 / 101.0).collect();
        let mut keeper = Keeper::default();
        run(&model, &slice, &mut keeper).unwrap();
        let oracle = crate::backend::reference::Reference::new(model);
        let stages = oracle.slice_stages(&slice.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
        for block in 1..=3 {
            let expected = &stages.iter().find(|s| s.name == format!("block{block}")).unwrap().values;
            assert_eq!(keeper.0[block - 1].len(), expected.len());
            let largest = expected.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
            for (v, exact) in keeper.0[block - 1].iter().zip(expected) {
                assert!((f64::from(*v) - exact).abs() <= 1e-5 * largest, "block {block}: {v}, not {exact}");
            }
        }
    }
}
