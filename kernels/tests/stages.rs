//! Stem, transition, attention pooling, segmentation and the recurrent cells on every tier: against plain f64 loops, bit-equal everywhere,
//! for any number of workers.

mod support;

use radnet_kernels::cpu::attention::{AttentionShape, AttentionWeights, Weighting, attention_pool};
use radnet_kernels::cpu::bf16::numbers::narrow;
use radnet_kernels::cpu::layout::{matrix_len, pack_matrix, pad};
use radnet_kernels::cpu::recurrent::{CellShape, CellWeights, recur};
use radnet_kernels::cpu::segmentation::{SegmentationShape, SegmentationWeights, segmentation_map};
use radnet_kernels::cpu::spans::Span;
use radnet_kernels::cpu::stem::{Slab, StemShape, stem};
use radnet_kernels::cpu::transition::{TransitionShape, TransitionWeights, transition};
use radnet_kernels::parallel::with_crew;
use support::{Random, assert_within, gamma, on_every_tier};

fn packed(k: usize, n: usize, weight: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let mut data = vec![0.0; matrix_len(k, n)];
    pack_matrix(&mut data, k, n, weight);
    data
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// One to sixteen channels, sizes that are odd, even, tiny, around the pool and of more tiles than go at once; 1, 2 and 5 workers; with spans exactly those
/// pixels are written, and as without; as bf16 the nearest ones.
#[test]
fn stem_is_within_bounds() {
    for (channels, height, width, out) in [(1, 1, 1, 3), (3, 33, 47, 24), (16, 9, 8, 16), (2, 64, 5, 64), (5, 2, 31, 40), (1, 6, 301, 16)] {
        let mut r = Random::new((channels * height * width) as u64);
        let shape = StemShape { channels, height, width, out_channels: pad(out), slab_stride: pad(out) + 16 };
        let k = shape.k();
        let (w, bias) = (r.floats(out * k), r.padded(out, pad(out)));
        let (image, mut weights) = (r.floats(channels * height * width), vec![0.0; shape.weights_len()]);
        shape.pack(&mut weights, |o, i| if o < out { f64::from(w[o * k + i]) } else { 0.0 });
        let ((ch, cw), (ph, pw)) = (shape.conv(), shape.output());
        let run = |isa, workers, spans| {
            let mut slab = vec![9.0; ph * pw * shape.slab_stride];
            let mut scratch = vec![f32::NAN; shape.scratch_len() * workers];
            with_crew(workers, |crew| stem(isa, &shape, (&weights, &bias), (&image, spans), Slab::Floats(&mut slab), &mut scratch, crew));
            slab
        };
        let what = format!("{shape:?}");
        let slab = on_every_tier(&what, |isa| run(isa, 1, None));
        let spans: Vec<Span> = (0..ph).map(|y| Span { start: y % 4 % pw, end: pw - y % 3 % pw }).collect();
        let marked: Vec<f32> = (0..slab.len())
            .map(|i| (i / shape.slab_stride, slab[i]))
            .map(|(pixel, v)| if spans[pixel / pw].columns().contains(&(pixel % pw)) { v } else { 9.0 })
            .collect();
        for workers in [2, 5] {
            assert!(run(radnet_kernels::Isa::detect(), workers, None) == slab, "{what}: {workers} workers");
            assert!(run(radnet_kernels::Isa::detect(), workers, Some(&spans)) == marked, "{what}: {workers} workers, spans");
        }
        for isa in radnet_kernels::Isa::available() {
            let (mut halves, mut scratch) = (vec![9; slab.len()], vec![f32::NAN; shape.scratch_len() * 2]);
            with_crew(2, |crew| {
                stem(isa, &shape, (&weights, &bias), (&image, Some(&spans)), Slab::Halves(&mut halves), &mut scratch, crew)
            });
            let outside = |i: usize| {
                i % shape.slab_stride >= pad(out) || !spans[i / shape.slab_stride / pw].columns().contains(&(i / shape.slab_stride % pw))
            };
            for (i, found) in halves.iter().enumerate() {
                assert_eq!(*found, if outside(i) { 9 } else { narrow(slab[i]) }, "{what}: {} {i}", isa.name());
            }
        }
        let mut conv = vec![(0.0, 0.0); ch * cw * out];
        for (at, slot) in conv.iter_mut().enumerate() {
            let (y, x, o) = (at / out / cw, at / out % cw, at % out);
            let (mut sum, mut size) = (f64::from(bias[o]), f64::from(bias[o]).abs());
            for i in 0..k {
                let (c, iy, ix) = (i / 49, (2 * y + i % 49 / 7) as isize - 3, (2 * x + i % 7) as isize - 3);
                if (0..height as isize).contains(&iy) && (0..width as isize).contains(&ix) {
                    let product = f64::from(image[(c * height + iy as usize) * width + ix as usize]) * f64::from(w[o * k + i]);
                    (sum, size) = (sum + product, size + product.abs());
                }
            }
            *slot = (f64::max(sum, 0.0), gamma(k + 1) * size);
        }
        for y in 0..ph {
            for x in 0..pw {
                for o in 0..out {
                    let rows = (2 * y).saturating_sub(1)..(2 * y + 2).min(ch);
                    let window: Vec<(f64, f64)> = rows
                        .flat_map(|y| ((2 * x).saturating_sub(1)..(2 * x + 2).min(cw)).map(move |x| (y * cw + x) * out + o))
                        .map(|i| conv[i])
                        .collect();
                    let exact = window.iter().map(|w| w.0).fold(0.0, f64::max);
                    let bound = window.iter().map(|w| w.1).fold(0.0, f64::max);
                    assert_within(&what, &[slab[(y * pw + x) * shape.slab_stride + o]], &[exact], &[bound]);
                }
            }
        }
    }
}

/// Odd rows and columns are dropped, one output pixel up to several blocks, any number of workers.
#[test]
fn transition_is_within_bounds() {
    for (height, width, k, n) in [(2, 2, 16, 16), (3, 5, 48, 24), (7, 70, 64, 40), (33, 20, 160, 80)] {
        let mut r = Random::new((height * width + k) as u64);
        let shape = TransitionShape { height, width, in_channels: k, src_stride: k + 16, out_channels: pad(n), dst_stride: pad(n) + 32 };
        let (scale, shift, w) = (r.floats(k), r.floats(k), r.floats(n * k));
        let src = r.floats(height * width * shape.src_stride);
        let conv = packed(k, n, |o, i| w[o * k + i] * 0.25);
        let (ph, pw) = (height / 2, width / 2);
        let run = |isa, workers| {
            let mut dst = vec![9.0; ph * pw * shape.dst_stride];
            let weights = TransitionWeights { scale: &scale, shift: &shift, conv: &conv };
            with_crew(workers, |crew| {
                transition(isa, &shape, &weights, (&src, None), &mut dst, &mut vec![f32::NAN; shape.scratch_len() * workers], crew)
            });
            dst
        };
        let what = format!("{shape:?}");
        let dst = on_every_tier(&what, |isa| run(isa, 1));
        for workers in [2, 3] {
            assert!(run(radnet_kernels::Isa::detect(), workers) == dst, "{what}: {workers} workers");
        }
        for p in 0..ph * pw {
            let (y, x) = (p / pw, p % pw);
            let (mut exact, mut bound) = (vec![0.0; n], vec![0.0; n]);
            for c in 0..k {
                let pooled: f64 = [(0, 0), (0, 1), (1, 0), (1, 1)]
                    .iter()
                    .map(|(dy, dx)| {
                        let x = f64::from(src[((2 * y + dy) * width + 2 * x + dx) * shape.src_stride + c]);
                        (x * f64::from(scale[c]) + f64::from(shift[c])).max(0.0) / 4.0
                    })
                    .sum();
                for o in 0..n {
                    exact[o] += pooled * f64::from(w[o * k + c]);
                    bound[o] += gamma(k + 4) * (pooled + 2.0) * f64::from(w[o * k + c]).abs();
                }
            }
            assert_within(&what, &dst[p * shape.dst_stride..][..n], &exact, &bound);
        }
    }
}

/// Every weighting, one and several heads, single positions and maps of several rows.
#[test]
fn attention_is_within_bounds() {
    for (height, width, channels, heads) in [(1, 1, 16, 1), (3, 5, 48, 2), (8, 8, 128, 1), (2, 17, 32, 17)] {
        for weighting in [Weighting::Mean, Weighting::Sigmoid, Weighting::Softmax] {
            let heads = if weighting == Weighting::Mean { 1 } else { heads };
            let mut r = Random::new((height * width + channels + heads) as u64);
            let shape = AttentionShape { height, width, channels, slab_stride: channels + 16, heads, weighting };
            let area = height * width;
            let (scale, shift, w, bias) = (r.floats(channels), r.floats(channels), r.floats(heads * channels), r.padded(heads, pad(heads)));
            let slab = r.floats(area * shape.slab_stride);
            let matrix = packed(channels, heads, |o, i| w[o * channels + i]);
            let what = format!("{shape:?}");
            let result = on_every_tier(&what, |isa| {
                let weights = AttentionWeights { scale: &scale, shift: &shift, heads: &matrix, bias: &bias };
                let (mut map, mut pooled) = (vec![0.0; heads * area], vec![0.0; heads * channels]);
                attention_pool(isa, &shape, &weights, &slab, &mut map, &mut pooled, &mut vec![f32::NAN; shape.scratch_len()]);
                map.extend(pooled);
                map
            });
            let f = |p: usize, c: usize| (f64::from(slab[p * shape.slab_stride + c]) * f64::from(scale[c]) + f64::from(shift[c])).max(0.0);
            for head in 0..heads {
                let e: Vec<f64> = (0..area)
                    .map(|p| f64::from(bias[head]) + (0..channels).map(|c| f(p, c) * f64::from(w[head * channels + c])).sum::<f64>())
                    .collect();
                let largest = e.iter().copied().fold(f64::MIN, f64::max);
                let total: f64 = e.iter().map(|e| (e - largest).exp()).sum();
                let a: Vec<f64> = e
                    .iter()
                    .map(|e| match weighting {
                        Weighting::Mean => 1.0,
                        Weighting::Sigmoid => 1.0 / (1.0 + (-e).exp()),
                        Weighting::Softmax => (e - largest).exp() / total,
                    })
                    .collect();
                let divisor = match weighting {
                    Weighting::Mean => area as f64,
                    Weighting::Sigmoid => a.iter().sum::<f64>() + 1e-6,
                    Weighting::Softmax => 1.0,
                };
                let pooled: Vec<f64> = (0..channels).map(|c| (0..area).map(|p| a[p] * f(p, c)).sum::<f64>() / divisor).collect();
                // An error δ of e changes a by at most δ·a; δ is the rounding of a sum of `channels` products below 2.
                let delta = gamma(channels + 2) * (2 * channels + 1) as f64 + gamma(area + 12);
                let bound: Vec<f64> = a.iter().map(|a| 2.0 * delta * a + 1e-9).collect();
                assert_within(&what, &result[head * area..][..area], &a, &bound);
                let bound: Vec<f64> = pooled.iter().map(|p| 4.0 * delta * p + 1e-9).collect();
                assert_within(&what, &result[heads * area + head * channels..][..channels], &pooled, &bound);
            }
        }
    }
}

/// A head's map is the sigmoid of the upsampled logits, for 1, 2 and 5 workers the same bits.
#[test]
fn segmentation_is_within_bounds() {
    for (height, width, channels, rows, columns) in [(1, 1, 16, 32, 33), (5, 7, 48, 40, 31), (4, 4, 64, 4, 4)] {
        let mut r = Random::new((height * width + channels) as u64);
        let shape = SegmentationShape { height, width, channels, slab_stride: channels };
        let (scale, shift, w) = (r.floats(channels), r.floats(channels), r.floats(channels));
        let (slab, bias) = (r.floats(height * width * channels), r.padded(1, 16));
        let conv = packed(channels, 1, |_, i| w[i]);
        let what = format!("{shape:?}");
        let run = |isa, workers| {
            let weights = SegmentationWeights { scale: &scale, shift: &shift, conv: &conv, bias: &bias };
            let (mut map, mut scratch) = (vec![0.0; rows * columns], vec![f32::NAN; shape.scratch_len() * workers]);
            with_crew(workers, |crew| segmentation_map(isa, &shape, &weights, &slab, (&mut map, rows, columns), &mut scratch, crew));
            map
        };
        let map = on_every_tier(&what, |isa| run(isa, 1));
        for workers in [2, 5] {
            assert!(run(radnet_kernels::Isa::detect(), workers) == map, "{what}: {workers} workers");
        }
        let logit = |y: usize, x: usize| {
            let p = &slab[(y * width + x) * channels..];
            let f = (0..channels).map(|c| (f64::from(p[c]) * f64::from(scale[c]) + f64::from(shift[c])).max(0.0) * f64::from(w[c]));
            f64::from(bias[0]) + f.sum::<f64>()
        };
        let taps = |i: usize, from: usize, to: usize| {
            let at = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
            let low = at.floor() as usize;
            (low, (low + 1).min(from - 1), at - low as f64)
        };
        let mut exact = Vec::new();
        for i in 0..rows * columns {
            let ((y0, y1, fy), (x0, x1, fx)) = (taps(i / columns, height, rows), taps(i % columns, width, columns));
            let upper = logit(y0, x0) * (1.0 - fx) + logit(y0, x1) * fx;
            let lower = logit(y1, x0) * (1.0 - fx) + logit(y1, x1) * fx;
            exact.push(1.0 / (1.0 + (-(upper * (1.0 - fy) + lower * fy)).exp()));
        }
        let bound = vec![gamma(channels + 12) * (2 * channels + 1) as f64; exact.len()];
        assert_within(&what, &map, &exact, &bound);
    }
}

/// LSTM and GRU, both directions, hidden sizes below, at and past a panel, scans of one slice and more, against PyTorch's formulas.
#[test]
fn cells_follow_pytorch() {
    for (input, hidden, gates, rows) in [(5, 1, 4, 1), (33, 16, 3, 4), (64, 40, 4, 7), (17, 70, 3, 5), (20, 64, 4, 3)] {
        for reverse in [false, true] {
            cell(CellShape { input, hidden, gates }, rows, reverse);
        }
    }
}

fn cell(shape: CellShape, rows: usize, reverse: bool) {
    let CellShape { input, hidden, gates } = shape;
    let mut r = Random::new((input * hidden + gates + rows) as u64);
    let size = 1.0 / (hidden as f32).sqrt();
    let mut tensor = |n: usize| r.floats(n).iter().map(|x| x * size).collect::<Vec<f32>>();
    let (w_ih, w_hh) = (tensor(gates * hidden * input), tensor(gates * hidden * hidden));
    let (b_ih, b_hh) = (tensor(gates * hidden), tensor(gates * hidden));
    let x = Random::new(rows as u64).floats(rows * input);
    let outputs = shape.outputs();
    let row = |o: usize| {
        let (gate, unit) = shape.gate_and_unit(o);
        (unit < hidden).then_some((gate, gate * hidden + unit))
    };
    let wi = packed(input, outputs, |o, i| row(o).map_or(0.0, |(_, r)| w_ih[r * input + i]));
    let wh = packed(hidden, outputs, |o, i| row(o).map_or(0.0, |(_, r)| w_hh[r * hidden + i]));
    let separate = |gate: usize| gates == 3 && gate == 2;
    let of = |f: &dyn Fn(usize, usize) -> f32| (0..outputs).map(|o| row(o).map_or(0.0, |(g, r)| f(g, r))).collect::<Vec<f32>>();
    let bias = of(&|g, r| if separate(g) { b_ih[r] } else { b_ih[r] + b_hh[r] });
    let hidden_bias = of(&|g, r| if separate(g) { b_hh[r] } else { 0.0 });
    let what = format!("{shape:?} reverse {reverse}");
    let y = on_every_tier(&what, |isa| {
        let weights = CellWeights { input: &wi, bias: &bias, hidden: &wh, hidden_bias: &hidden_bias };
        let mut y = vec![0.0; rows * hidden];
        recur(isa, &shape, &weights, reverse, &x, &mut y, &mut vec![f32::NAN; shape.scratch_len(rows)]);
        y
    });
    let (x, w_ih, w_hh, b_ih, b_hh) = (wide(&x), wide(&w_ih), wide(&w_hh), wide(&b_ih), wide(&b_hh));
    let dot = |m: &[f64], r: usize, v: &[f64]| m[r * v.len()..][..v.len()].iter().zip(v).map(|(a, b)| a * b).sum::<f64>();
    let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
    let (mut h, mut c) = (vec![0.0; hidden], vec![0.0; hidden]);
    let mut exact = vec![0.0; rows * hidden];
    for step in 0..rows {
        let t = if reverse { rows - 1 - step } else { step };
        let xt = &x[t * input..][..input];
        let before = h.clone();
        for u in 0..hidden {
            let i = |g: usize| dot(&w_ih, g * hidden + u, xt) + b_ih[g * hidden + u];
            let s = |g: usize| dot(&w_hh, g * hidden + u, &before) + b_hh[g * hidden + u];
            if gates == 4 {
                c[u] = sigma(i(1) + s(1)) * c[u] + sigma(i(0) + s(0)) * (i(2) + s(2)).tanh();
                h[u] = sigma(i(3) + s(3)) * c[u].tanh();
            } else {
                let n = (i(2) + sigma(i(0) + s(0)) * s(2)).tanh();
                let z = sigma(i(1) + s(1));
                h[u] = (1.0 - z) * n + z * before[u];
            }
        }
        exact[t * hidden..][..hidden].copy_from_slice(&h);
    }
    // Sums of input + hidden products of size below 1/√hidden each, through squashing functions, a few steps in a row.
    let step = gamma(input + hidden + 4) * (input + hidden) as f64 * f64::from(size) + 1e-6;
    assert_within(&what, &y, &exact, &vec![step * rows as f64; exact.len()]);
}
