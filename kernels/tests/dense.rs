//! The dense layer on every tier: against an f64 loop within computed bounds, bit-equal for every tier, worker count and batching.

mod support;

use radnet_kernels::Isa;
use radnet_kernels::cpu::dense::{DenseShape, DenseWeights, dense_layer, mid_map};
use radnet_kernels::cpu::layout::{matrix_len, pack_matrix};
use radnet_kernels::cpu::spans::{Marked, Span};
use radnet_kernels::parallel::with_crew;
use support::{Random, assert_within, gamma, on_every_tier};

struct Case {
    shape: DenseShape,
    scale: Vec<f32>,
    shift: Vec<f32>,
    conv1: Vec<f32>,
    bias1: Vec<f32>,
    conv2: Vec<f32>,
    slab: Vec<f32>,
}

impl Case {
    /// `(k, mid, growth)` are logical counts, padded here; norms have positive, negative and zero scales.
    fn new(images: usize, height: usize, width: usize, (k, mid, growth): (usize, usize, usize)) -> Self {
        let pad = |c: usize| c.next_multiple_of(16);
        let shape = DenseShape {
            images,
            height,
            width,
            slab_stride: pad(k) + pad(growth) + 16,
            in_channels: pad(k),
            mid: pad(mid),
            growth: pad(growth),
        };
        let mut r = Random::new((images * 7 + height * 131 + width * 17 + k) as u64);
        let mut scale = r.padded(k, pad(k));
        scale[0] = 0.0;
        let shift = r.padded(k, pad(k));
        let bias1 = r.padded(mid, pad(mid));
        let mut keep = |rows: usize, used_rows: usize, columns: usize, used: usize, taps: usize, size: f32| {
            let mut m = vec![0.0; rows * columns * taps];
            for o in 0..used_rows {
                for i in 0..used {
                    for t in 0..taps {
                        m[(o * columns + i) * taps + t] = r.float() * size;
                    }
                }
            }
            m
        };
        let conv1 = keep(pad(mid), mid, pad(k), k, 1, (3.0 / k as f32).sqrt());
        let conv2 = keep(pad(growth), growth, pad(mid), mid, 9, (3.0 / (9 * mid) as f32).sqrt());
        let slab = r.floats(images * height * width * shape.slab_stride);
        Self { shape, scale, shift, conv1, bias1, conv2, slab }
    }

    fn run(&self, isa: Isa, workers: usize, images_at_once: usize) -> Vec<f32> {
        let s = &self.shape;
        self.with_weights(|weights| {
            let mut slab = self.slab.clone();
            let image = s.height * s.width * s.slab_stride;
            for group in slab.chunks_mut(image * images_at_once) {
                let shape = DenseShape { images: group.len() / image, ..*s };
                let mut scratch = vec![f32::NAN; shape.scratch_len(workers) * workers];
                with_crew(workers, |crew| dense_layer(isa, &shape, weights, None, group, &mut scratch, crew));
            }
            slab
        })
    }

    /// One image of which `marked` is computed, in a slab that holds nonsense wherever that says the layer has nothing to read.
    fn run_marked(&self, isa: Isa, workers: usize, (tiles, pixels): (&[Span], &[Span])) -> Vec<f32> {
        let s = &self.shape;
        self.with_weights(|weights| {
            let (mut slab, mut mid) = (self.slab.clone(), vec![f32::NAN; s.height * s.width * s.mid]);
            let mut scratch = vec![f32::NAN; s.scratch_len(workers) * workers];
            mid_map(isa, s, weights, &mut slab, &mut mid, &mut scratch);
            assert!(slab == self.slab);
            for (i, pixel) in slab.chunks_exact_mut(s.slab_stride).enumerate() {
                if !pixels[i / s.width].columns().contains(&(i % s.width)) {
                    pixel[..s.in_channels].fill(1e9);
                }
            }
            with_crew(workers, |crew| {
                dense_layer(isa, s, weights, Some(Marked { tiles, pixels, mid: Some(&mid) }), &mut slab, &mut scratch, crew)
            });
            slab
        })
    }

    fn with_weights<T>(&self, run: impl Fn(&DenseWeights<'_>) -> T) -> T {
        let s = &self.shape;
        let mut conv1 = vec![0.0; matrix_len(s.in_channels, s.mid)];
        pack_matrix(&mut conv1, s.in_channels, s.mid, |o, i| self.conv1[o * s.in_channels + i]);
        let mut conv2 = vec![0.0; s.conv2_len()];
        s.pack_conv2(&mut conv2, |o, i| std::array::from_fn(|t| f64::from(self.conv2[(o * s.mid + i) * 9 + t])));
        run(&DenseWeights { scale: &self.scale, shift: &self.shift, conv1: &conv1, bias1: &self.bias1, conv2: &conv2 })
    }

    /// Exact outputs and error bounds, [image, y, x, growth].
    fn exact(&self) -> (Vec<f64>, Vec<f64>) {
        let s = &self.shape;
        let (h, w) = (s.height, s.width);
        let (mut out, mut bound) = (Vec::new(), Vec::new());
        for image in 0..s.images {
            let (mut mid, mut mid_error) = (vec![0.0; h * w * s.mid], vec![0.0; h * w * s.mid]);
            for p in 0..h * w {
                let x = &self.slab[(image * h * w + p) * s.slab_stride..];
                let a: Vec<(f64, f64)> = (0..s.in_channels)
                    .map(|c| {
                        let y = f64::from(x[c]) * f64::from(self.scale[c]) + f64::from(self.shift[c]);
                        (y.max(0.0), gamma(1) * y.abs())
                    })
                    .collect();
                for o in 0..s.mid {
                    let weights = &self.conv1[o * s.in_channels..][..s.in_channels];
                    let (mut sum, mut size, mut error) = (f64::from(self.bias1[o]), f64::from(self.bias1[o]).abs(), 0.0);
                    for (w, (y, e)) in weights.iter().zip(&a) {
                        sum += f64::from(*w) * y;
                        size += f64::from(*w).abs() * (y + e);
                        error += f64::from(*w).abs() * e;
                    }
                    mid[p * s.mid + o] = sum.max(0.0);
                    mid_error[p * s.mid + o] = error + gamma(s.in_channels + 1) * size;
                }
            }
            let (o, b) = self.exact_3x3(&mid, &mid_error);
            out.extend(o);
            bound.extend(b);
        }
        (out, bound)
    }

    fn exact_3x3(&self, mid: &[f64], mid_error: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let s = &self.shape;
        let (h, w) = (s.height as isize, s.width as isize);
        let largest = mid.iter().zip(mid_error).map(|(m, e)| m + e).fold(0.0, f64::max);
        let (mut out, mut bound) = (Vec::new(), Vec::new());
        for p in 0..h * w {
            for o in 0..s.growth {
                let (mut sum, mut size, mut error, mut absolute) = (0.0, 0.0, 0.0, 0.0);
                for t in 0..9 {
                    let (y, x) = (p / w + t / 3 - 1, p % w + t % 3 - 1);
                    for i in 0..s.mid {
                        let weight = f64::from(self.conv2[(o * s.mid + i) * 9 + t as usize]);
                        absolute += weight.abs();
                        if (0..h).contains(&y) && (0..w).contains(&x) {
                            let at = (y * w + x) as usize * s.mid + i;
                            sum += weight * mid[at];
                            size += weight.abs() * mid[at];
                            error += weight.abs() * mid_error[at];
                        }
                    }
                }
                // Winograd: each of the two transforms and the product are bounded by the infinity norms of |Bᵀ|, |G| and |Aᵀ| (6.2, 1.6 and
                // 10.6 an axis, squared over two), times the rounding of a chain of `mid` products and about 20 transform operations.
                let rounding = if s.winograd() {
                    gamma(s.mid + 20) * (6.2f64 * 1.6 * 10.6).powi(2) / 9.0 * absolute * largest
                } else {
                    gamma(9 * s.mid) * (size + error)
                };
                out.push(sum);
                bound.push(error + rounding);
            }
        }
        (out, bound)
    }
}

fn new_channels(shape: &DenseShape, slab: &[f32]) -> Vec<f32> {
    slab.chunks_exact(shape.slab_stride).flat_map(|p| p[shape.in_channels..][..shape.growth].to_vec()).collect()
}

/// Maps around the tile of 4 and around strips of 16 tiles, 1×1 maps, odd channel counts, several images: all tiers equal and within bounds;
/// nothing but the new channels is written.
#[test]
fn layer_is_within_bounds_and_bit_equal_on_every_tier() {
    let odd = (24, 24, 12);
    let real = (64, 128, 32);
    let cases = [
        (1, 1, 1, odd),
        (2, 2, 3, odd),
        (1, 5, 7, odd),
        (3, 8, 8, odd),
        (1, 1, 1, real),
        (1, 3, 3, real),
        (1, 4, 4, real),
        (2, 5, 6, real),
        (4, 8, 8, real),
        (5, 7, 9, real),
        (1, 17, 16, real),
        (1, 9, 70, real),
        (1, 33, 5, real),
        (1, 13, 13, (160, 64, 48)),
    ];
    for (images, height, width, channels) in cases {
        let case = Case::new(images, height, width, channels);
        let what = format!("{:?}", case.shape);
        let slab = on_every_tier(&what, |isa| case.run(isa, 1, images));
        let (exact, bound) = case.exact();
        assert_within(&what, &new_channels(&case.shape, &slab), &exact, &bound);
        for (p, (before, after)) in case.slab.chunks(case.shape.slab_stride).zip(slab.chunks(case.shape.slab_stride)).enumerate() {
            let (k, g) = (case.shape.in_channels, case.shape.growth);
            assert!(before[..k] == after[..k] && before[k + g..] == after[k + g..], "{what}: pixel {p} was overwritten");
        }
    }
}

/// A bound is an upper bound; what Winograd really costs is a few parts in 10⁷ of the output's size.
#[test]
fn winograd_error_is_small() {
    let case = Case::new(1, 16, 16, (64, 128, 32));
    assert!(case.shape.winograd());
    let (exact, _) = case.exact();
    let values = new_channels(&case.shape, &case.run(Isa::detect(), 1, 1));
    let rms = |x: &mut dyn Iterator<Item = f64>| (x.map(|x| x * x).sum::<f64>() / exact.len() as f64).sqrt();
    let error = rms(&mut values.iter().zip(&exact).map(|(v, e)| f64::from(*v) - e));
    let size = rms(&mut exact.iter().copied());
    eprintln!("rms error {:.2e} of the output's rms", error / size);
    assert!(error <= 1.5e-6 * size, "{error:e} of {size:e}");
}

/// 1, 2, 3 and 8 workers, and images one by one, in pairs or together, give the same bits.
#[test]
fn workers_and_batches_do_not_change_a_bit() {
    for (images, height, width, channels) in [(1, 33, 20, (64, 128, 32)), (5, 8, 8, (64, 128, 32)), (3, 9, 5, (24, 24, 12))] {
        let case = Case::new(images, height, width, channels);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let expected = case.run(Isa::detect(), 1, images);
        for workers in [1, 2, 3, 8] {
            for at_once in [1, 2, images] {
                let slab = pool.install(|| case.run(Isa::detect(), workers, at_once));
                assert!(slab == expected, "{images} images of {height}x{width}: {workers} workers, {at_once} at once");
            }
        }
    }
}

/// With marks, exactly the wanted tiles are written, as without, and of the mid map only marked pixels are computed, on every tier.
#[test]
fn marks_change_no_bit() {
    for (height, width, channels) in [(1, 1, (64, 128, 32)), (18, 13, (64, 128, 32)), (9, 66, (80, 16, 16)), (23, 71, (32, 64, 16))] {
        let case = Case::new(1, height, width, channels);
        let (s, whole) = (case.shape, case.run(Isa::detect(), 1, 1));
        let (rows, columns) = (height.div_ceil(4), width.div_ceil(4));
        let tiles: Vec<Span> = (0..rows)
            .map(|r| if r % 4 == 2 { Span::default() } else { Span { start: r % 3 % columns, end: columns - r % 2 % columns } })
            .collect();
        let pixels: Vec<Span> = (0..height)
            .map(|y| if y % 5 == 3 { Span::default() } else { Span { start: y % 7, end: width.saturating_sub(y % 4) } })
            .collect();
        for workers in [1, 2] {
            let slab = on_every_tier("marks", |isa| case.run_marked(isa, workers, (&tiles, &pixels)));
            for (pixel, (found, all)) in slab.chunks_exact(s.slab_stride).zip(whole.chunks_exact(s.slab_stride)).enumerate() {
                let (y, x) = (pixel / width, pixel % width);
                let inside = tiles[y / 4].columns().contains(&(x / 4));
                let expected = if inside { all } else { &case.slab[pixel * s.slab_stride..][..s.slab_stride] };
                assert!(found[s.in_channels..] == expected[s.in_channels..], "{s:?} {y} {x}");
            }
        }
    }
}
