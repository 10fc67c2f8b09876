//! The cases of `kernels/cuda/stem.cu`.

use super::Case;
use super::support::{Accumulation, Bounded, Checked, Random, Workbench, compare};
use radnet_kernels::cuda::stem::{HuWindow, StemBuffers, StemInput, StemShape, StemTile, pack_windows, stem};
use radnet_kernels::cuda::{Element, Slices};
use std::sync::Arc;

type Gpu = Arc<dyn radnet_kernels::cuda::Gpu>;

/// Input channels, rows, columns, output channels, room for slices, slices.
const SHAPES: [[usize; 6]; 6] = [
    // Smallest input; one channel and few outputs.
    [1, 32, 32, 7, 1, 1],
    // Odd in every direction, so that windows of both convolution and pool hang over; a count below the room.
    [3, 37, 43, 24, 3, 2],
    // More outputs than are taken at a time, several tiles across and down.
    [3, 50, 131, 80, 1, 1],
    // Even and odd numbers of rows of weights.
    [2, 35, 34, 16, 1, 1],
    [16, 33, 35, 16, 1, 1],
    [3, 32, 33, 64, 2, 0],
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for element in Element::ALL {
        for [channels, height, width, features, capacity, slices] in SHAPES {
            let shape = StemShape { channels, height, width, features, slab_stride: features.next_multiple_of(16) + 32 };
            for hu in [false, true] {
                let what = if hu { "HU" } else { "windowed" };
                let name = format!(
                    "{}, {what}, {channels}×{height}×{width} → {features} channels, {slices} of {capacity} slices",
                    element.suffix()
                );
                let scan = Scan { shape, capacity, slices, hu, tile: None };
                cases.push(Case::new("stem", name, move |gpu| run(gpu, element, scan)));
            }
        }
        let [channels, height, width, features, capacity, slices] = SHAPES[1];
        let shape = StemShape { channels, height, width, features, slab_stride: 48 };
        for (rows, columns, at_a_time) in [(1, 1, 16), (2, 3, 32), (3, 16, 16)] {
            let name = format!("{}, tiles of {rows}×{columns}, {at_a_time} channels at a time", element.suffix());
            let tile = Some(StemTile { rows, columns, features: at_a_time, shared_bytes: 0 });
            let scan = Scan { shape, capacity, slices, hu: false, tile };
            cases.push(Case::new("stem", name, move |gpu| run(gpu, element, scan)));
        }
    }
    cases
}

#[derive(Clone, Copy, Debug)]
struct Scan {
    shape: StemShape,
    capacity: usize,
    slices: usize,
    hu: bool,
    tile: Option<StemTile>,
}

/// Planes before and after the launch's own, and its first.
const SERIES: usize = 5;
const FIRST: usize = 2;

struct Numbers {
    planes: Vec<f64>,
    windows: Vec<HuWindow>,
    weights: Vec<f64>,
    scale: Vec<f64>,
    shift: Vec<f64>,
}

impl Numbers {
    fn new(element: Element, scan: &Scan) -> Self {
        let StemShape { channels, height, width, features, .. } = scan.shape;
        let mut random = Random::new((height * 31 + width * 7 + features) as u64);
        let planes = match scan.hu {
            true => random.values(Element::F32, SERIES * height * width, -1024.0, 3071.0),
            false => random.values(Element::F32, scan.capacity * channels * height * width, -1.0, 1.0),
        };
        let windows = (0..channels).map(|c| HuWindow {
            // Beyond both ends of the series, and in the middle of it.
            slice_offset: [0, -1, 1, i64::MIN, i64::MAX][c % 5],
            low: [0.0, -20.1, -800.0][c % 3],
            width: [80.0, 200.3, 2800.0][c % 3],
            mean: [0.0, 0.45, 0.2][c % 3],
            std: [1.0, 0.225, 0.3][c % 3],
        });
        Self {
            planes,
            windows: windows.collect(),
            weights: random.values(StemShape::operand(element), features * channels * 49, -0.2, 0.2),
            scale: random.values(Element::F32, features, -1.0, 1.5),
            shift: random.values(Element::F32, features, -0.5, 0.5),
        }
    }
}

fn run(gpu: &Gpu, element: Element, scan: Scan) -> Result<Checked, String> {
    let Scan { shape, capacity, slices, .. } = scan;
    let numbers = Numbers::new(element, &scan);
    let Some(tile) = scan.tile.or_else(|| shape.tile(element, gpu.properties().shared_bytes_per_block)) else {
        return Err("no tile fits".to_owned());
    };
    let (rows, columns) = shape.output();
    let mut bench = Workbench::new(gpu)?;
    let planes = bench.upload(Element::F32, &numbers.planes)?;
    let windows = bench.upload_bytes(&pack_windows(&numbers.windows))?;
    let position = bench.upload_u32(&[FIRST as u32, SERIES as u32])?;
    let weights = bench.upload_bytes(&shape.pack(element, |output, tap| numbers.weights[output * shape.channels * 49 + tap]))?;
    let scale = bench.upload_bytes(&shape.pack_norm(|c| numbers.scale[c]))?;
    let shift = bench.upload_bytes(&shape.pack_norm(|c| numbers.shift[c]))?;
    let slab = bench.output(capacity * rows * columns * shape.slab_stride * element.bytes())?;
    let count = bench.upload_u32(&[slices as u32])?;
    let input = match scan.hu {
        true => StemInput::Hu { planes: planes.all(), windows: windows.all(), position: position.all() },
        false => StemInput::Windowed(planes.all()),
    };
    let buffers = StemBuffers { weights: weights.all(), scale: scale.all(), shift: shift.all(), slab: slab.all() };
    stem(bench.stream(), element, (&shape, &tile), &buffers, input, Slices { count: count.all(), capacity }).map_err(|e| e.message)?;
    let got = bench.download(element, &slab)?;

    let mut expected = vec![Bounded::exact(f64::NAN); got.len()];
    for slice in 0..slices {
        let x = input_of(StemShape::operand(element), &scan, &numbers, slice);
        for (at, pooled) in oracle(element, &shape, &numbers, &x).into_iter().enumerate() {
            let (position, channel) = (at / shape.features, at % shape.features);
            expected[(slice * rows * columns + position) * shape.slab_stride + channel] = pooled;
        }
        // Padding channels are written too.
        for position in 0..rows * columns {
            let place = (slice * rows * columns + position) * shape.slab_stride;
            expected[place + shape.features..place + shape.features.next_multiple_of(16)].fill(Bounded::ZERO);
        }
    }
    compare("stem", &got, &expected, |at| {
        let (position, channel) = (at / shape.slab_stride, at % shape.slab_stride);
        let (slice, position) = (position / (rows * columns), position % (rows * columns));
        format!("slice {slice}, row {}, column {}, channel {channel} ({tile})", position / columns, position % columns)
    })
}

/// The planes [channels, height, width] that the convolution reads, in the type that it multiplies.
fn input_of(element: Element, scan: &Scan, numbers: &Numbers, slice: usize) -> Vec<Bounded> {
    let StemShape { channels, height, width, .. } = scan.shape;
    let area = height * width;
    if !scan.hu {
        let planes = &numbers.planes[slice * channels * area..][..channels * area];
        return planes.iter().map(|&x| Bounded::exact(element.round(x))).collect();
    }
    let mut x = Vec::with_capacity(channels * area);
    for window in &numbers.windows {
        let plane = ((FIRST + slice) as i64).saturating_add(window.slice_offset).clamp(0, SERIES as i64 - 1) as usize;
        x.extend(numbers.planes[plane * area..][..area].iter().map(|&hu| {
            let v = ((hu - window.low) / window.width).clamp(0.0, 1.0);
            let exact = ((v - window.mean) / window.std) as f32;
            // A unit in the last place of float32 either way may round to another element.
            let [low, value, high] = [exact.next_down(), exact, exact.next_up()].map(|x| element.round(f64::from(x)));
            Bounded { value, error: (value - low).max(high - value) }
        }));
    }
    x
}

/// The slab of a slice, [position][feature].
fn oracle(element: Element, shape: &StemShape, numbers: &Numbers, x: &[Bounded]) -> Vec<Bounded> {
    let StemShape { channels, height, width, features, .. } = *shape;
    let (conv_rows, conv_columns) = (height.div_ceil(2), width.div_ceil(2));
    let mut conv = Vec::with_capacity(conv_rows * conv_columns * features);
    for (row, column) in (0..conv_rows * conv_columns).map(|p| (p / conv_columns, p % conv_columns)) {
        let taps: Vec<(usize, Bounded)> = (0..channels * 49)
            .filter_map(|tap| {
                let (c, ky, kx) = (tap / 49, tap / 7 % 7, tap % 7);
                let (y, x_at) = ((2 * row + ky).checked_sub(3)?, (2 * column + kx).checked_sub(3)?);
                (y < height && x_at < width).then(|| (tap, x[(c * height + y) * width + x_at]))
            })
            .collect();
        for output in 0..features {
            let weights = &numbers.weights[output * channels * 49..];
            let sum = Bounded::dot(Accumulation::of(element), 0.0, taps.iter().map(|&(tap, x)| (x, weights[tap])));
            conv.push(sum.affine(numbers.scale[output], numbers.shift[output]).relu().rounded(element));
        }
    }
    let (rows, columns) = shape.output();
    let mut pooled = Vec::with_capacity(rows * columns * features);
    for (row, column) in (0..rows * columns).map(|p| (p / columns, p % columns)) {
        let (y, x) =
            ((2 * row).saturating_sub(1)..(2 * row + 2).min(conv_rows), (2 * column).saturating_sub(1)..(2 * column + 2).min(conv_columns));
        for output in 0..features {
            let window = y.clone().flat_map(|y| x.clone().map(move |x| (y * conv_columns + x) * features + output));
            pooled.push(window.map(|at| conv[at]).reduce(Bounded::max).unwrap_or(Bounded::ZERO));
        }
    }
    pooled
}
