//! The kernels over bf16 on every tier: against f64 within computed bounds, the same bits for every worker count, batching and span on one tier, and on
//! all tiers that widen pairs.

mod support;

use radnet_kernels::Isa;
use radnet_kernels::cpu::bf16::convert::{self, ConvertShape};
use radnet_kernels::cpu::bf16::dense::{
    DenseWeights, conv1_len, conv2_len, dense_layer, mid_map, pack_conv1, pack_conv2, scratch_len, winograd,
};
use radnet_kernels::cpu::bf16::gemm::{Product, product};
use radnet_kernels::cpu::bf16::layout::{inputs, matrix_len, order_channels, pack_matrix};
use radnet_kernels::cpu::bf16::numbers::{finite, narrow, widen};
use radnet_kernels::cpu::bf16::transition::{self, TransitionWeights, conv_len, pack_conv, transition};
use radnet_kernels::cpu::dense::DenseShape;
use radnet_kernels::cpu::spans::{Marked, Span};
use radnet_kernels::cpu::transition::TransitionShape;
use radnet_kernels::parallel::with_crew;
use support::{Random, gamma, tiers};

/// Half a unit in the last place of bf16, over the number.
const ROUNDING: f64 = 1.0 / 256.0;

fn halves(r: &mut Random, n: usize) -> Vec<u16> {
    (0..n).map(|_| narrow(r.float())).collect()
}

/// What a norm's channels have, as a tier reads it.
fn ordered(isa: Isa, factors: &[f32]) -> Vec<f32> {
    let mut ordered = factors.to_vec();
    ordered.resize(inputs(isa, factors.len()), 0.0);
    order_channels(isa, &mut ordered);
    ordered
}

/// Numbers that are bf16.
fn numbers(r: &mut Random, n: usize, size: f32) -> Vec<f64> {
    (0..n).map(|_| f64::from(widen(finite(f64::from(r.float() * size))))).collect()
}

/// A matrix \[n, k\] of bf16, plain and packed.
fn matrix(r: &mut Random, k: usize, n: usize, size: f32) -> (Vec<f64>, Vec<u16>) {
    let plain = numbers(r, n * k, size);
    let mut packed = vec![0; matrix_len(k, n)];
    pack_matrix(&mut packed, k, n, |o, i| plain[o * k + i]);
    (plain, packed)
}

/// Whether a tier widens pairs instead of multiplying them in an instruction, which rounds in a way of its own.
fn widens(isa: Isa) -> bool {
    !matches!(isa, Isa::Avx512Bf16(_) | Isa::Amx(_) | Isa::NeonBf16(_))
}

/// Tiers that widen pairs agree to the last bit: theirs are chains of fused multiply-adds.
fn agree<T: PartialEq>(what: &str, results: &[(Isa, T)]) {
    let mut widened = results.iter().filter(|(isa, _)| widens(*isa));
    if let Some((first, expected)) = widened.next() {
        widened.for_each(|(isa, result)| assert!(result == expected, "{what}: {} differs from {}", isa.name(), first.name()));
    }
}

/// Every tile height and count of panels, odd strides: within γ_{k+2}, and on tiers that widen the chain in the order of k.
#[test]
fn products_are_within_bounds() {
    for (rows, k, n) in
        [(1, 2, 1), (5, 6, 16), (6, 34, 17), (7, 16, 48), (11, 62, 33), (12, 128, 32), (13, 48, 64), (25, 258, 100), (37, 64, 128)]
    {
        let mut r = Random::new((rows * k + n) as u64);
        let stride = k + 3;
        let a = halves(&mut r, rows * stride);
        let (plain, packed) = matrix(&mut r, k, n, 1.0);
        let mut results = Vec::new();
        for isa in tiers() {
            let padded = n.next_multiple_of(16);
            let mut dst = vec![f32::NAN; rows * padded];
            product(isa, &Product { rows, k, n, a: &a, a_stride: stride, weights: &packed }, &mut dst);
            for (i, found) in dst.iter().enumerate() {
                let (row, o) = (i / padded, i % padded);
                if o >= n {
                    assert_eq!(*found, 0.0);
                    continue;
                }
                let terms = || (0..k).map(|i| (widen(a[row * stride + i]), plain[o * k + i]));
                let exact: f64 = terms().map(|(a, w)| f64::from(a) * w).sum();
                let bound: f64 = gamma(k + 2) * terms().map(|(a, w)| (f64::from(a) * w).abs()).sum::<f64>();
                assert!((f64::from(*found) - exact).abs() <= bound, "{} {rows} {k} {n}: {row} {o}: {found} {exact}", isa.name());
                if widens(isa) {
                    let chain = terms().fold(0.0f32, |sum, (a, w)| a.mul_add(w as f32, sum));
                    assert_eq!(found.to_bits(), chain.to_bits(), "{} {rows} {k} {n}: {row} {o}", isa.name());
                }
            }
            results.push((isa, dst));
        }
        agree("product", &results);
    }
}

/// Odd maps, spans, one and three workers: within bounds of f64; only what spans name is written.
#[test]
fn transitions_are_within_bounds() {
    for (height, width, k, n) in [(2, 2, 16, 16), (5, 7, 48, 32), (12, 9, 256, 128), (24, 3, 32, 48), (5, 4, 848, 336)] {
        let mut r = Random::new((height * width + k) as u64);
        let shape = TransitionShape { height, width, in_channels: k, src_stride: k + 16, out_channels: n, dst_stride: n + 32 };
        let src = halves(&mut r, height * width * shape.src_stride);
        let (scale, shift) = (r.floats(k), r.floats(k));
        let plain = numbers(&mut r, k * n, 0.5);
        let (rows, columns) = (height / 2, width / 2);
        let relu = |p: usize, c: usize| widen(src[p * shape.src_stride + c]).mul_add(scale[c], shift[c]).max(0.0);
        let pooled = |y: usize, x: usize, c: usize| {
            let row = |y: usize| relu(y * width + 2 * x, c) + relu(y * width + 2 * x + 1, c);
            f64::from(widen(narrow(row(2 * y) + row(2 * y + 1))))
        };
        let spans: Vec<Span> = (0..rows).map(|y| Span { start: y % 2 % columns, end: columns - y % 3 % columns }).collect();
        let mut results = Vec::new();
        for isa in tiers() {
            let mut conv = vec![0; conv_len(isa, &shape)];
            pack_conv(isa, &shape, &mut conv, |o, i| plain[o * k + i]);
            let [scale, shift] = [ordered(isa, &scale), ordered(isa, &shift)];
            let weights = TransitionWeights { scale: &scale, shift: &shift, conv: &conv };
            let mut runs = Vec::new();
            for (workers, spans) in [(1, None), (3, None), (2, Some(&spans[..]))] {
                let mut dst = vec![9; rows * columns * shape.dst_stride];
                let mut scratch = vec![f32::NAN; transition::scratch_len(isa, &shape) * workers];
                with_crew(workers, |crew| transition(isa, &shape, &weights, (&src, spans), &mut dst, &mut scratch, crew));
                runs.push(dst);
            }
            for (i, found) in runs[0].iter().enumerate() {
                let (pixel, o) = (i / shape.dst_stride, i % shape.dst_stride);
                let (y, x) = (pixel / columns, pixel % columns);
                let inside = o < n && spans[y].columns().contains(&x);
                assert_eq!((runs[1][i], runs[2][i]), (*found, if inside { *found } else { 9 }), "{} {y} {x} {o}", isa.name());
                if o >= n {
                    assert_eq!(*found, 9);
                    continue;
                }
                let terms = || (0..k).map(|c| pooled(y, x, c) * plain[o * k + c]);
                let (exact, size): (f64, f64) = (terms().sum(), terms().map(f64::abs).sum());
                let bound = gamma(k + 2) * size + ROUNDING * (exact.abs() + gamma(k + 2) * size);
                let found = f64::from(widen(*found));
                assert!((found - exact).abs() <= bound, "{} {height}×{width} {k} {n}: {y} {x} {o}: {found} {exact}", isa.name());
            }
            results.push((isa, runs.swap_remove(0)));
        }
        agree("transition", &results);
    }
}

/// A layer with random numbers: norms of either sign and zero, a padded channel.
struct Layer {
    shape: DenseShape,
    scale: Vec<f32>,
    shift: Vec<f32>,
    /// \[mid, in_channels\].
    conv1: Vec<f64>,
    bias1: Vec<f32>,
    /// \[growth, mid, 9\].
    conv2: Vec<f64>,
    slab: Vec<u16>,
}

/// The matrices of a layer as a tier takes them.
struct Packed {
    isa: Isa,
    scale: Vec<f32>,
    shift: Vec<f32>,
    conv1: Vec<u16>,
    conv2: Vec<u16>,
}

impl Layer {
    fn new(shape: DenseShape) -> Self {
        let mut r = Random::new((shape.height * shape.width + shape.in_channels + shape.mid) as u64);
        let (k, mid, growth) = (shape.in_channels, shape.mid, shape.growth);
        let mut scale = r.padded(k - 1, k);
        scale[0] = 0.0;
        let shift = r.padded(k - 1, k);
        let conv1 = numbers(&mut r, k * mid, (3.0 / k as f32).sqrt());
        let size = (3.0 / (9 * mid) as f32).sqrt();
        // bf16 already, so that packing rounds nothing in the direct form.
        let conv2 = numbers(&mut r, growth * mid * 9, size);
        let bias1 = r.floats(mid);
        let slab = halves(&mut r, shape.images * shape.height * shape.width * shape.slab_stride);
        Self { shape, scale, shift, conv1, bias1, conv2, slab }
    }

    fn packed(&self, isa: Isa) -> Packed {
        let (shape, k, mid) = (&self.shape, self.shape.in_channels, self.shape.mid);
        let (mut conv1, mut conv2) = (vec![0; conv1_len(isa, shape)], vec![0; conv2_len(isa, shape)]);
        pack_conv1(isa, shape, &mut conv1, |o, i| self.conv1[o * k + i]);
        pack_conv2(isa, shape, &mut conv2, |o, i| std::array::from_fn(|t| self.conv2[(o * mid + i) * 9 + t]));
        Packed { isa, scale: ordered(isa, &self.scale), shift: ordered(isa, &self.shift), conv1, conv2 }
    }

    fn weights<'a>(&'a self, packed: &'a Packed) -> DenseWeights<'a> {
        DenseWeights { scale: &packed.scale, shift: &packed.shift, conv1: &packed.conv1, bias1: &self.bias1, conv2: &packed.conv2 }
    }

    /// One image with its mid map known but for `pixels`, outside which the slab holds nonsense.
    fn run_known(&self, packed: &Packed, workers: usize, tiles: &[Span], pixels: &[Span]) -> Vec<u16> {
        let (isa, s) = (packed.isa, &self.shape);
        let (mut slab, mut mid) = (self.slab.clone(), vec![0; s.height * s.width * s.mid]);
        let mut scratch = vec![f32::NAN; scratch_len(isa, s, workers) * workers];
        mid_map(isa, s, &self.weights(packed), &mut slab, &mut mid, &mut scratch);
        for (i, pixel) in slab.chunks_exact_mut(s.slab_stride).enumerate() {
            if !pixels[i / s.width].columns().contains(&(i % s.width)) {
                pixel[..s.in_channels].fill(0x4E80);
            }
        }
        with_crew(workers, |crew| {
            dense_layer(isa, s, &self.weights(packed), Some(Marked { tiles, pixels, mid: Some(&mid) }), &mut slab, &mut scratch, crew)
        });
        slab
    }

    fn run(&self, packed: &Packed, workers: usize, images_at_once: usize, marked: Option<Marked<'_, u16>>) -> Vec<u16> {
        let (isa, mut slab) = (packed.isa, self.slab.clone());
        let image = self.shape.height * self.shape.width * self.shape.slab_stride;
        for group in slab.chunks_mut(image * images_at_once) {
            let shape = DenseShape { images: group.len() / image, ..self.shape };
            let mut scratch = vec![f32::NAN; scratch_len(isa, &shape, workers) * workers];
            with_crew(workers, |crew| dense_layer(isa, &shape, &self.weights(packed), marked, group, &mut scratch, crew));
        }
        slab
    }

    /// The mid map of an image \[pixels, mid\] and how far a tier's may be from it.
    fn mid(&self, image: &[u16]) -> (Vec<f64>, Vec<f64>) {
        let (k, mid) = (self.shape.in_channels, self.shape.mid);
        let (mut values, mut errors) = (Vec::new(), Vec::new());
        for pixel in image.chunks_exact(self.shape.slab_stride) {
            let a: Vec<f64> =
                (0..k).map(|c| f64::from(widen(narrow(widen(pixel[c]).mul_add(self.scale[c], self.shift[c]).max(0.0))))).collect();
            for o in 0..mid {
                let (mut sum, mut size) = (f64::from(self.bias1[o]), f64::from(self.bias1[o]).abs());
                for (a, w) in a.iter().zip(&self.conv1[o * k..]) {
                    (sum, size) = (sum + a * w, size + (a * w).abs());
                }
                let (m, e) = (sum.max(0.0), gamma(k + 2) * size);
                values.push(m);
                errors.push(e + ROUNDING * (m + e));
            }
        }
        (values, errors)
    }

    /// The new channels of an image \[pixels, growth\], exact from the exact mid map, and the bound of a direct 3×3.
    fn new_channels(&self, (mid, errors): (&[f64], &[f64])) -> (Vec<f64>, Vec<f64>) {
        let DenseShape { height, width, mid: channels, growth, .. } = self.shape;
        let (mut values, mut bounds) = (Vec::new(), Vec::new());
        for (y, x, o) in (0..height * width).flat_map(|p| (0..growth).map(move |o| (p / width, p % width, o))) {
            let (mut sum, mut size, mut error) = (0.0, 0.0, 0.0);
            for t in 0..9 {
                let (Some(y), Some(x)) = ((y + t / 3).checked_sub(1), (x + t % 3).checked_sub(1)) else { continue };
                if y >= height || x >= width {
                    continue;
                }
                for c in 0..channels {
                    let w = self.conv2[(o * channels + c) * 9 + t];
                    let at = (y * width + x) * channels + c;
                    sum += w * mid[at];
                    size += w.abs() * (mid[at] + errors[at]);
                    error += w.abs() * errors[at];
                }
            }
            let error = error + gamma(9 * channels + 2) * size;
            values.push(sum);
            bounds.push(error + ROUNDING * (f64::abs(sum) + error));
        }
        (values, bounds)
    }
}

fn shape(images: usize, height: usize, width: usize, in_channels: usize, mid: usize, growth: usize) -> DenseShape {
    DenseShape { images, height, width, slab_stride: in_channels + growth + 16, in_channels, mid, growth }
}

/// Both ways of the 3×3: single pixels, maps smaller than a tile, edges inside tiles, several strips, several images a strip, panels that no tile divides,
/// blocks of pixels that end inside rows.
fn shapes() -> Vec<DenseShape> {
    vec![
        shape(1, 1, 1, 16, 16, 16),
        shape(1, 3, 5, 48, 32, 16),
        shape(3, 5, 7, 32, 48, 48),
        shape(1, 9, 66, 80, 16, 16),
        shape(1, 4, 4, 16, 64, 16),
        shape(1, 18, 13, 64, 128, 32),
        shape(4, 8, 8, 112, 64, 32),
        shape(3, 11, 8, 48, 80, 48),
        shape(1, 23, 71, 32, 64, 16),
        shape(2, 40, 67, 96, 128, 32),
        shape(1, 70, 9, 160, 112, 80),
        shape(1, 6, 7, 848, 48, 16),
    ]
}

/// Direct layers are within the bound that all roundings to bf16 and γ add up to. Winograd's rounded patches and filters make such a bound say nothing, so
/// there the error has to be small in the mean: 1.5 % of the output's size, and 8 % at the most. Nothing but the new channels is written; workers and
/// batching change no bit of a tier.
#[test]
fn layers_are_within_bounds() {
    for shape in shapes() {
        let layer = Layer::new(shape);
        let image = shape.height * shape.width * shape.slab_stride;
        let exact: Vec<(Vec<f64>, Vec<f64>)> = layer
            .slab
            .chunks_exact(image)
            .map(|slab| {
                let (mid, errors) = layer.mid(slab);
                layer.new_channels((&mid, &errors))
            })
            .collect();
        let mut results = Vec::new();
        for isa in tiers() {
            let packed = layer.packed(isa);
            let found = layer.run(&packed, 1, shape.images, None);
            let (mut squares, mut size, mut largest) = (0.0, 0.0, 0.0f64);
            for (i, (found, before)) in found.iter().zip(&layer.slab).enumerate() {
                let (pixel, c) = (i / shape.slab_stride, i % shape.slab_stride);
                let area = shape.height * shape.width;
                let Some(o) = c.checked_sub(shape.in_channels).filter(|o| *o < shape.growth) else {
                    assert_eq!(found, before, "{} {shape:?}: {pixel} {c}", isa.name());
                    continue;
                };
                let (values, bounds) = &exact[pixel / area];
                let (at, y) = (pixel % area * shape.growth + o, f64::from(widen(*found)));
                let error = (y - values[at]).abs();
                assert!(winograd(isa, &shape) || error <= bounds[at], "{} {shape:?}: {pixel} {o}: {y} {}", isa.name(), values[at]);
                (squares, size, largest) = (squares + error * error, size + values[at] * values[at], largest.max(error));
            }
            let rms = (size / (shape.images * image / shape.slab_stride * shape.growth) as f64).sqrt();
            let (mean, most) = ((squares / size).sqrt(), largest / rms);
            eprintln!("{} {shape:?}: off by {mean:.4} in the mean, {most:.4} at most", isa.name());
            assert!(mean < 0.015 && most < 0.08, "{} {shape:?}: {mean} {most}", isa.name());
            for (workers, at_once) in [(2, shape.images), (3, 1)] {
                assert!(layer.run(&packed, workers, at_once, None) == found, "{} {workers} {shape:?}", isa.name());
            }
            results.push((isa, found));
        }
        agree("layer", &results);
    }
}

/// With spans of tiles, exactly those tiles are written, and as without.
#[test]
fn spans_change_no_bit() {
    for shape in shapes().into_iter().filter(|s| s.images == 1) {
        let layer = Layer::new(shape);
        let (rows, columns) = (shape.height.div_ceil(4), shape.width.div_ceil(4));
        let spans: Vec<Span> = (0..rows)
            .map(|r| if r % 4 == 2 { Span::default() } else { Span { start: r % 3 % columns, end: columns - r % 2 % columns } })
            .collect();
        let marked = |y: usize| if y % 5 == 3 { Span::default() } else { Span { start: y % 7, end: shape.width.saturating_sub(y % 4) } };
        let pixels: Vec<Span> = (0..shape.height).map(marked).collect();
        for isa in tiers() {
            let marked = Marked { tiles: &spans, pixels: &pixels, mid: None };
            let packed = layer.packed(isa);
            let (whole, some) = (layer.run(&packed, 2, 1, None), layer.run(&packed, 2, 1, Some(marked)));
            let known = layer.run_known(&packed, 2, &spans, &pixels);
            for (found, some) in known.chunks_exact(shape.slab_stride).zip(some.chunks_exact(shape.slab_stride)) {
                assert!(found[shape.in_channels..] == some[shape.in_channels..], "{} {shape:?}", isa.name());
            }
            let pixels = some.chunks_exact(shape.slab_stride).zip(whole.chunks_exact(shape.slab_stride));
            for (pixel, (found, all)) in pixels.enumerate() {
                let (y, x) = (pixel / shape.width, pixel % shape.width);
                let inside = spans[y / 4].columns().contains(&(x / 4));
                let expected = if inside { all } else { &layer.slab[pixel * shape.slab_stride..][..shape.slab_stride] };
                assert!(found == expected, "{} {shape:?} {y} {x}", isa.name());
            }
        }
    }
}

/// Every tier narrows to the bits of the definition: every upper half with lower halves around the tie, so all exponents, signs, subnormals, infinities
/// and NaNs; and widening is exact. What lies outside the spans stays.
#[test]
fn every_tier_rounds_as_defined() {
    let lower = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF];
    let numbers: Vec<f32> = (0..=u16::MAX).flat_map(|upper| lower.map(|lower| f32::from_bits(u32::from(upper) << 16 | lower))).collect();
    let (height, channels) = (numbers.len() / 48, 16);
    let shape = ConvertShape { height, width: 3, channels, floats_stride: 16, halves_stride: 48 };
    let spans: Vec<Span> = (0..height).map(|y| if y % 5 == 4 { Span { start: 1, end: 2 } } else { Span { start: 0, end: 3 } }).collect();
    for isa in tiers() {
        let mut halves = vec![7; height * 3 * 48];
        with_crew(2, |crew| convert::narrow(isa, &shape, (&numbers, Some(&spans)), &mut halves, crew));
        for (i, found) in halves.iter().enumerate() {
            let (pixel, c) = (i / 48, i % 48);
            let inside = c < 16 && spans[pixel / 3].columns().contains(&(pixel % 3));
            let expected = if inside { narrow(numbers[pixel * 16 + c]) } else { 7 };
            assert_eq!(*found, expected, "{} {pixel} {c}", isa.name());
        }
        let mut back = vec![0.0; numbers.len()];
        with_crew(2, |crew| convert::widen(isa, &shape, &halves, &mut back, crew));
        for (i, x) in back.iter().enumerate() {
            assert_eq!(x.to_bits() >> 16, u32::from(halves[i / 16 * 48 + i % 16]), "{}", isa.name());
            assert_eq!(x.to_bits() & 0xFFFF, 0);
        }
    }
}
