//! The layer against its definition written plainly: sums over i64, the Winograd products as sums of transformed codes times stored weights.

use super::super::layout::place;
use super::super::test_numbers::Numbers;
use super::*;
use crate::cpu::spans::Span;
use crate::parallel::with_crew;

/// A layer with random numbers.
struct Layer {
    shape: DenseShape,
    low: Vec<u8>,
    high: Vec<u8>,
    /// \[mid, in\].
    conv1: Vec<i8>,
    /// By the integer Winograd, if the 3×3 goes that way.
    winograd: Option<Vec<i16>>,
    factors: [Vec<f32>; 4],
    /// conv2 as given, and the step of each output.
    taps: Vec<f64>,
    steps2: Vec<f64>,
}

impl Layer {
    /// Its 3×3 goes as on a level.
    fn new(level: Integers, shape: DenseShape) -> Self {
        let mut numbers = Numbers((shape.height * shape.width + shape.in_channels + shape.mid) as u64);
        let (k, mid, growth) = (shape.in_channels, shape.mid, shape.growth);
        let conv1 = (0..mid * k).map(|_| (numbers.below(255) as i64 - 127) as i8).collect();
        let taps: Vec<f64> = (0..growth * mid * 9).map(|_| numbers.below(255) as f64 - 127.0).collect();
        let of = |o: usize, i: usize| -> [f64; 9] { std::array::from_fn(|t| taps[(o * mid + i) * 9 + t]) };
        let mut steps2 = vec![1.0; growth];
        let winograd = winograd(level, &shape).then(|| {
            let mut packed = vec![0; winograd::weights_len(mid, growth)];
            winograd::pack_weights(&mut packed, &mut steps2, mid, growth, of);
            packed
        });
        let spread = |n: usize| (n as f64).sqrt() * 200.0;
        let scale1 = (0..mid).map(|o| ((1.0 + o as f64 * 0.01) / spread(k)) as f32).collect();
        let scale2 = steps2.iter().map(|s| (s / spread(9 * mid)) as f32).collect();
        let offset = |n: usize, at: f32| (0..n).map(|o| at + (o % 7) as f32 * 9.5).collect();
        let low = (0..k).map(|c| if c % 2 == 0 { numbers.below(256) as u8 } else { 0 }).collect();
        let high = (0..k).map(|c| if c % 2 == 0 { 255 } else { numbers.below(256) as u8 }).collect();
        Self { shape, low, high, conv1, winograd, factors: [scale1, offset(mid, 20.0), scale2, offset(growth, 90.0)], taps, steps2 }
    }

    fn conv1(&self, level: Integers) -> Vec<u8> {
        let mut packed = vec![9; conv1_len(level, &self.shape)];
        assert!(pack_conv1(level, &self.shape, &mut packed, |o, i| self.conv1[o * self.shape.in_channels + i]));
        packed
    }

    fn conv2(&self, level: Integers) -> Vec<u8> {
        let mut packed = vec![9; conv2_len(level, &self.shape)];
        let of = |o: usize, i: usize| -> [f64; 9] { std::array::from_fn(|t| self.taps[(o * self.shape.mid + i) * 9 + t]) };
        match self.winograd {
            Some(_) => pack_winograd(&self.shape, &mut packed, &mut vec![0.0; self.shape.growth], of),
            None => assert!(pack_direct(level, &self.shape, &mut packed, |o, i| of(o, i).map(|t| t as i8))),
        }
        packed
    }

    fn weights<'a>(&'a self, (conv1, conv2): (&'a [u8], &'a [u8])) -> DenseWeights<'a> {
        DenseWeights {
            low: &self.low,
            high: &self.high,
            conv1,
            scale1: &self.factors[0],
            offset1: &self.factors[1],
            conv2,
            scale2: &self.factors[2],
            offset2: &self.factors[3],
        }
    }

    /// Mid codes \[height, width, mid\] of an image.
    fn mid(&self, image: &[u8]) -> Vec<i64> {
        let DenseShape { in_channels: k, mid, slab_stride, .. } = self.shape;
        let mut out = Vec::new();
        for pixel in image.chunks_exact(slab_stride) {
            let clamped: Vec<i64> = (0..k).map(|c| i64::from(pixel[c].max(self.low[c]).min(self.high[c]))).collect();
            for o in 0..mid {
                let sum: i64 = (0..k).map(|c| clamped[c] * i64::from(self.conv1[o * k + c])).sum();
                out.push(code(sum as f32, self.factors[0][o], self.factors[1][o]).into());
            }
        }
        out
    }

    /// Mid code at a place that may lie outside the map.
    fn at(&self, mid: &[i64], y: isize, x: isize, c: usize) -> i64 {
        let DenseShape { height, width, mid: channels, .. } = self.shape;
        let inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
        if inside { mid[(y as usize * width + x as usize) * channels + c] } else { 0 }
    }

    /// New codes of an image \[height, width, growth\].
    fn new_codes(&self, mid: &[i64]) -> Vec<u8> {
        let DenseShape { height, width, mid: channels, growth, .. } = self.shape;
        let mut out = vec![0; height * width * growth];
        if let Some(u) = &self.winograd {
            for (y, x) in (0..height).step_by(TILE).flat_map(|y| (0..width).step_by(TILE).map(move |x| (y, x))) {
                self.tile(mid, u, (y, x), &mut out);
            }
            return out;
        }
        for (i, slot) in out.iter_mut().enumerate() {
            let (y, x, o) = (i / growth / width, i / growth % width, i % growth);
            let mut sum = 0;
            for (t, c) in (0..9).flat_map(|t| (0..channels).map(move |c| (t, c))) {
                let d = self.at(mid, (y + t / 3) as isize - 1, (x + t % 3) as isize - 1, c);
                sum += d * self.taps[(o * channels + c) * 9 + t] as i64;
            }
            *slot = code(sum as f32, self.factors[2][o], self.factors[3][o]);
        }
        out
    }

    /// A slab with its new channels.
    fn expected(&self, before: &[u8]) -> Vec<u8> {
        let (shape, mut expected) = (&self.shape, before.to_vec());
        for slab in expected.chunks_exact_mut(shape.height * shape.width * shape.slab_stride) {
            let codes = self.new_codes(&self.mid(slab));
            for (pixel, new) in slab.chunks_exact_mut(shape.slab_stride).zip(codes.chunks_exact(shape.growth)) {
                pixel[shape.in_channels..][..shape.growth].copy_from_slice(new);
            }
        }
        let middling = expected.iter().filter(|q| (1..255).contains(*q)).count();
        assert!(middling * 2 > expected.len(), "{shape:?}: a test of saturation only");
        expected
    }

    /// One Winograd tile.
    fn tile(&self, mid: &[i64], filters: &[i16], (y, x): (usize, usize), out: &mut [u8]) {
        let DenseShape { height, width, mid: channels, growth, .. } = self.shape;
        let along = |d: [i64; 6]| {
            let (even, odd, a, b) = (d[4] - d[2], d[3] - d[1], d[4] - 4 * d[2], d[3] - 4 * d[1]);
            [4 * d[0] - 5 * d[2] + d[4], a + b, a - b, even + 2 * odd, even - 2 * odd, 4 * d[1] - 5 * d[3] + d[5]]
        };
        let transposed = |m: [[i64; 6]; 6]| -> [[i64; 6]; 6] { std::array::from_fn(|i| std::array::from_fn(|j| m[j][i])) };
        let v: Vec<[[i64; 6]; 6]> = (0..channels)
            .map(|c| {
                let d: [[i64; 6]; 6] =
                    std::array::from_fn(|i| std::array::from_fn(|j| self.at(mid, (y + i) as isize - 1, (x + j) as isize - 1, c)));
                transposed(transposed(d).map(along)).map(along)
            })
            .collect();
        let plane = matrix_len(channels, growth);
        for o in 0..growth {
            let m: [[f32; 6]; 6] = std::array::from_fn(|i| {
                std::array::from_fn(|j| {
                    let u = |c: usize| i64::from(filters[(6 * i + j) * plane + place(channels, o, c)]);
                    (0..channels).map(|c| u(c) * v[c][i][j]).sum::<i64>() as f32
                })
            });
            let half: [[f32; 4]; 6] = std::array::from_fn(|j| back(std::array::from_fn(|i| m[i][j])));
            for i in 0..TILE.min(height - y) {
                let row = back(std::array::from_fn(|j| half[j][i]));
                for j in 0..TILE.min(width - x) {
                    out[((y + i) * width + x + j) * growth + o] = code(row[j], self.factors[2][o], self.factors[3][o]);
                }
            }
        }
    }
}

/// Aᵀ m without its balance, with the roundings of the definition.
fn back(m: [f32; 6]) -> [f32; 4] {
    let (s1, d1, s2, d2) = (m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]);
    [s2.mul_add(0.5, s1.mul_add(2.0, m[0])), d1.mul_add(2.0, d2), (s1 + s2) * 2.0, (d2 + m[5]).mul_add(4.0, d1 + d1)]
}

fn code(sum: f32, scale: f32, offset: f32) -> u8 {
    let y = sum.mul_add(scale, offset);
    if y > 0.0 { y.min(255.0).round_ties_even() as u8 } else { 0 }
}

fn shape(images: usize, height: usize, width: usize, in_channels: usize, mid: usize, growth: usize) -> DenseShape {
    DenseShape { images, height, width, slab_stride: in_channels + growth + 16, in_channels, mid, growth }
}

/// Both ways of the 3×3: single pixels, maps smaller than a tile, edges inside tiles, several strips, several images a strip, panels of 16 that
/// no 512-bit register divides, blocks of pixels that end inside rows.
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

fn slab_of(shape: &DenseShape) -> Vec<u8> {
    let mut numbers = Numbers(9);
    (0..shape.images * shape.height * shape.width * shape.slab_stride).map(|_| numbers.below(256) as u8).collect()
}

/// Code for code the definition's, on every level, with one, two and three workers; nothing but the new channels is written.
#[test]
fn codes_are_those_of_the_definition() {
    for shape in shapes() {
        let before = slab_of(&shape);
        let mut ways = [None, None];
        for level in Integers::available() {
            let (layer, expected) = ways[usize::from(level.directly())].get_or_insert_with(|| {
                let layer = Layer::new(level, shape);
                let expected = layer.expected(&before);
                (layer, expected)
            });
            let (conv1, conv2) = (layer.conv1(level), layer.conv2(level));
            for workers in [1, 2, 3] {
                let mut slab = before.clone();
                let mut scratch = vec![f32::NAN; scratch_len(level, &shape, workers) * workers];
                with_crew(workers, |crew| {
                    dense_layer(level, &shape, &layer.weights((&conv1, &conv2)), None, &mut slab, &mut scratch, crew)
                });
                assert!(slab == *expected, "{} {workers} {shape:?}", level.name());
            }
        }
    }
}

/// With spans of tiles, exactly those tiles are written, and as without.
#[test]
fn spans_change_no_code() {
    for shape in shapes().into_iter().filter(|s| s.images == 1) {
        let before = slab_of(&shape);
        let (rows, columns) = (shape.height.div_ceil(TILE), shape.width.div_ceil(TILE));
        let spans: Vec<Span> = (0..rows)
            .map(|r| if r % 4 == 2 { Span::default() } else { Span { start: r % 3 % columns, end: columns - r % 2 % columns } })
            .collect();
        let marked = |y: usize| if y % 5 == 3 { Span::default() } else { Span { start: y % 7, end: shape.width.saturating_sub(y % 4) } };
        let pixels: Vec<Span> = (0..shape.height).map(marked).collect();
        for level in Integers::available() {
            let layer = Layer::new(level, shape);
            let (conv1, conv2) = (layer.conv1(level), layer.conv2(level));
            let mut scratch = vec![f32::NAN; scratch_len(level, &shape, 2) * 2];
            let (mut whole, mut some, mut less) = (before.clone(), before.clone(), before.clone());
            let weights = layer.weights((&conv1, &conv2));
            with_crew(2, |crew| dense_layer(level, &shape, &weights, None, &mut whole, &mut scratch, crew));
            let marked = Marked { tiles: &spans, pixels: &pixels, mid: None };
            with_crew(2, |crew| dense_layer(level, &shape, &weights, Some(marked), &mut some, &mut scratch, crew));
            // With a known mid map nothing is read outside the marked pixels, which hold nonsense there.
            let mut mid = vec![0xFF; mid_len(level, &shape)];
            mid_map(level, &shape, &weights, &mut less, &mut mid, &mut scratch);
            for (i, pixel) in less.chunks_exact_mut(shape.slab_stride).enumerate() {
                if !pixels[i / shape.width].columns().contains(&(i % shape.width)) {
                    pixel[..shape.in_channels].fill(171);
                }
            }
            with_crew(2, |crew| {
                dense_layer(level, &shape, &weights, Some(Marked { mid: Some(&mid), ..marked }), &mut less, &mut scratch, crew)
            });
            for (pixel, (found, some)) in less.chunks_exact(shape.slab_stride).zip(some.chunks_exact(shape.slab_stride)).enumerate() {
                assert!(found[shape.in_channels..] == some[shape.in_channels..], "{} {shape:?} {pixel}", level.name());
            }
            for (pixel, (found, all)) in some.chunks_exact(shape.slab_stride).zip(whole.chunks_exact(shape.slab_stride)).enumerate() {
                let (y, x) = (pixel / shape.width, pixel % shape.width);
                let inside = spans[y / TILE].columns().contains(&(x / TILE));
                let expected = if inside { all } else { &before[pixel * shape.slab_stride..][..shape.slab_stride] };
                assert!(found == expected, "{} {shape:?} {y} {x}", level.name());
            }
        }
    }
}

/// Winograd's rounded weights make the exact 3×3 within 0.4 codes, on top of the half that rounding to codes takes, where the sums
/// spread over a third of the codes.
#[test]
fn rounded_winograd_is_close() {
    for shape in [shape(1, 8, 8, 16, 128, 16), shape(1, 8, 8, 16, 192, 16)] {
        let mut layer = Layer::new(Integers::by_name("portable").unwrap(), shape);
        let mut numbers = Numbers(4);
        let mid: Vec<i64> = (0..64 * shape.mid).map(|_| numbers.below(256) as i64).collect();
        let unit = 40.0 / ((9 * shape.mid) as f64).sqrt() / 150.0 / 70.0;
        layer.factors[2] = layer.steps2.iter().map(|s| (*s * unit) as f32).collect();
        let codes = layer.new_codes(&mid);
        let mut worst = 0.0f64;
        for (i, code) in codes.iter().enumerate() {
            let (y, x, o) = (i / 16 / 8, i / 16 % 8, i % 16);
            let exact: f64 = (0..9)
                .flat_map(|t| (0..shape.mid).map(move |c| (t, c)))
                .map(|(t, c)| {
                    let d = layer.at(&mid, (y + t / 3) as isize - 1, (x + t % 3) as isize - 1, c);
                    d as f64 * layer.taps[(o * shape.mid + c) * 9 + t]
                })
                .sum();
            let y = exact * unit + f64::from(layer.factors[3][o]);
            worst = worst.max((y.clamp(0.0, 255.0) - f64::from(*code)).abs());
        }
        assert!(worst < 0.9, "{shape:?}: off by {worst} codes");
    }
}
