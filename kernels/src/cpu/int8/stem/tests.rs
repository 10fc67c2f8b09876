use super::*;
use crate::cpu::int8::test_numbers::Numbers;
use crate::parallel::with_crew;

/// A stem with weights as large as its sums allow, and an input whose values reach the bound.
struct Case {
    shape: StemShape,
    unit: f32,
    weights: Vec<i16>,
    factors: [Vec<f32>; 4],
    input: Vec<f32>,
}

impl Case {
    fn new([channels, height, width, out_channels]: [usize; 4]) -> Self {
        let mut numbers = Numbers((channels * height + width) as u64);
        let shape = StemShape { channels, height, width, out_channels, slab_stride: out_channels + 16 };
        let most = i32::MAX as usize / 32_767 / shape.k();
        let number = |numbers: &mut Numbers, most: usize| numbers.below(2 * most as u64 + 1) as i64 - most as i64;
        let weights: Vec<i16> = (0..out_channels * shape.k()).map(|_| number(&mut numbers, most) as i16).collect();
        let unit = [4096.0, 0.5][channels % 2];
        let bound = 32_767.0 / unit;
        let mut value = || match numbers.below(6) {
            0 => bound,
            1 => -bound,
            // Half way between two numbers.
            2 => (number(&mut numbers, 30_000) as f32 + 0.5) / unit,
            _ => number(&mut numbers, 1 << 23) as f32 / (1 << 23) as f32 * bound,
        };
        let input: Vec<f32> = (0..channels * height * width).map(|_| value()).collect();
        assert!(fits(Integers::detect(), &input, unit, 32_767));
        let of = |f: &dyn Fn(f32) -> f32| (0..out_channels).map(|o| f(o as f32)).collect();
        // The first output is off, the second a padded one.
        let scale = of(&|o| if o == 1.0 { 0.0 } else { (1.0 + 0.1 * o) * 1e-9 });
        let offset = of(&|o| {
            if o == 0.0 {
                -9.0
            } else if o == 1.0 {
                0.0
            } else {
                0.5 - o % 5.0 * 0.3
            }
        });
        let encoders = [of(&|o| 90.0 + o), of(&|o| o % 7.0 - 3.0)];
        let [inverse, zero] = encoders;
        Self { shape, unit, weights, factors: [scale, offset, inverse, zero], input }
    }

    fn packed(&self, level: Integers) -> Vec<i16> {
        let mut packed = vec![0; weights_len(level, &self.shape)];
        let weight = |o, i| self.weights[o * self.shape.k() + i];
        assert!(pack_stem(level, &self.shape, &mut packed, 32_767, weight));
        // One more in any weight is too much where they are as large as they may be.
        let most = i32::MAX as usize / 32_767 / self.shape.k();
        assert!(!pack_stem(level, &self.shape, &mut packed.clone(), 32_767, |_, _| most as i16 + 1));
        packed
    }

    /// A pooled pixel by the definition.
    fn value(&self, row: usize, column: usize, o: usize) -> f32 {
        let shape = &self.shape;
        let ((rows, columns), k) = (shape.conv(), shape.k());
        let code = |c: usize, y: isize, x: isize| {
            let inside = (0..shape.height as isize).contains(&y) && (0..shape.width as isize).contains(&x);
            let at = (c as isize * shape.height as isize + y) * shape.width as isize + x;
            if inside { (self.input[at as usize] * self.unit).round_ties_even() as i64 } else { 0 }
        };
        let sum = |row: usize, column: usize| -> i64 {
            let taps = self.weights[o * k..][..k].iter().enumerate();
            let term = |(i, w): (usize, &i16)| {
                let (c, y, x) = (i / 49, i % 49 / 7, i % 7);
                i64::from(*w) * code(c, (2 * row + y) as isize - 3, (2 * column + x) as isize - 3)
            };
            taps.map(term).sum()
        };
        let near = |i: usize, count: usize| (2 * i).saturating_sub(1)..(2 * i + 2).min(count);
        let window = near(row, rows).flat_map(|y| near(column, columns).map(move |x| (y, x)));
        let output = |(y, x)| (sum(y, x) as f32).mul_add(self.factors[0][o], self.factors[1][o]).max(0.0);
        window.map(output).fold(0.0, f32::max)
    }
}

const CASES: [[usize; 4]; 6] = [[1, 1, 1, 16], [3, 7, 9, 32], [1, 32, 17, 16], [2, 13, 40, 48], [16, 9, 21, 16], [3, 31, 33, 64]];

/// Equal to the definition over i64, code for code: odd sizes, all counts of channels, values at the bound and half way, spans,
/// one and three workers, every level.
#[test]
fn pixels_are_those_of_the_definition() {
    for sizes in CASES {
        let case = Case::new(sizes);
        let (shape, (rows, columns)) = (case.shape, case.shape.output());
        let values: Vec<f32> = (0..rows * columns * shape.out_channels)
            .map(|i| case.value(i / shape.out_channels / columns, i / shape.out_channels % columns, i % shape.out_channels))
            .collect();
        assert!(values.contains(&0.0) && values.iter().any(|v| *v > 0.0));
        let spans: Vec<Span> = (0..rows).map(|y| Span { start: y % 2 % columns, end: columns - y % 3 % columns }).collect();
        let [scale, offset, inverse, zero] = &case.factors;
        for level in Integers::available() {
            let packed = case.packed(level);
            let weights = StemWeights { unit: case.unit, conv: &packed, scale, offset };
            for (workers, spans) in [(1, None), (3, None), (2, Some(&spans[..]))] {
                let mut scratch = vec![f32::NAN; scratch_len(level, &shape) * workers];
                let mut codes = vec![9; rows * columns * shape.slab_stride];
                let slab = Slab { codes: &mut codes, scale: inverse, offset: zero };
                with_crew(workers, |crew| stem(level, &shape, &weights, (&case.input, spans), slab, &mut scratch, crew));
                for i in 0..codes.len() {
                    let (pixel, o) = (i / shape.slab_stride, i % shape.slab_stride);
                    let inside = o < shape.out_channels && spans.is_none_or(|s| s[pixel / columns].columns().contains(&(pixel % columns)));
                    let mut expected = 9;
                    if inside {
                        let y = values[pixel * shape.out_channels + o];
                        expected = y.mul_add(inverse[o], zero[o]).clamp(0.0, 255.0).round_ties_even() as u8;
                    }
                    assert_eq!(codes[i], expected, "{} {workers} {sizes:?}: {pixel} {o}", level.name());
                }
            }
        }
    }
}

/// The last value that fits does, in both directions, and nothing that is not finite does.
#[test]
fn what_does_not_fit_is_noticed() {
    let numbers = [(4096.0, 8192), (1.0, 32_767), (0.125, 3)];
    for (level, (unit, largest)) in Integers::available().flat_map(|level| numbers.map(|numbers| (level, numbers))) {
        let bound = f32::from(largest) / unit;
        assert!(fits(level, &[0.0, bound, -bound, -0.0, 1e-40], unit, largest) && fits(level, &[], unit, largest));
        for x in [bound.next_up(), -bound.next_up(), f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN] {
            assert!(!fits(level, &[0.0, x, 1.0], unit, largest), "{} {x}", level.name());
        }
    }
}
