//! Resampling against the same sums in float64 on the host: equal bits, padding and odd sizes included.

use super::support::{Random, Workbench};
use super::{Case, Checked};
use radnet_kernels::cuda::resample::{ResampleBuffers, ResampleShape, resample};
use radnet_kernels::cuda::{Element, Gpu, GpuError};
use std::sync::Arc;

/// Source → output sizes: a reduction, an enlargement, the identity, single pixels, and sizes beside the block's 256 pixels.
const SHAPES: [[usize; 4]; 6] = [[32, 32, 16, 16], [7, 9, 16, 17], [5, 5, 5, 5], [1, 1, 1, 1], [33, 20, 1, 255], [64, 48, 19, 27]];
const OUTSIDE: f32 = -1000.0;

pub(super) fn cases() -> Vec<Case> {
    let case = |shape: [usize; 4]| {
        let [rows, columns, to_rows, to_columns] = shape;
        Case::new("resample", format!("{rows}×{columns} to {to_rows}×{to_columns}, 3 planes of 4"), move |gpu| run(gpu, shape))
    };
    SHAPES.into_iter().map(case).collect()
}

/// Taps of one axis: first source pixel and weights, or none for padding.
type Axis = Vec<Option<(usize, Vec<f64>)>>;

/// Random taps with arbitrary weights: the kernel must not care how they were made. Every fifth output is padding.
fn axis(random: &mut Random, source: usize, size: usize) -> Axis {
    let tap = |i: usize| {
        let count = 1 + random.below(source.min(5));
        let first = random.below(source - count + 1);
        let weights = (0..count).map(|_| random.uniform(0.0, 1.0)).collect();
        (i % 5 != 4).then_some((first, weights))
    };
    (0..size).map(tap).collect()
}

fn run(gpu: &Arc<dyn Gpu>, [source_rows, source_columns, rows, columns]: [usize; 4]) -> Result<Checked, String> {
    let words = |e: GpuError| e.message;
    const CAPACITY: usize = 4;
    const PLANES: usize = 3;
    let mut random = Random::new((source_rows * 1000 + columns) as u64);
    let shape = ResampleShape { source_rows, source_columns, rows, columns };
    let (down, along) = (axis(&mut random, source_rows, rows), axis(&mut random, source_columns, columns));
    let source: Vec<i16> = (0..CAPACITY * source_rows * source_columns).map(|_| random.below(4096) as i16 - 1024).collect();
    let of = |axis: &Axis, i: usize| axis[i].as_ref().map(|(first, weights)| (*first, weights.clone()));
    let tables =
        shape.pack(|y| down[y].as_ref().map(|t| (t.0, &t.1[..])), |x| along[x].as_ref().map(|t| (t.0, &t.1[..]))).map_err(words)?;

    let mut bench = Workbench::new(gpu)?;
    let slices = bench.upload_bytes(&source.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())?;
    let table = bench.upload_bytes(&tables.bytes)?;
    let position = bench.upload_u32(&[0, PLANES as u32])?;
    let planes = bench.output(4 * CAPACITY * rows * columns)?;
    let buffers =
        ResampleBuffers { source: slices.all(), planes: planes.all(), tables: table.all(), position: position.all(), capacity: CAPACITY };
    resample(bench.stream(), &shape, OUTSIDE, &tables, &buffers).map_err(words)?;
    let got = bench.download(Element::F32, &planes)?;

    for (i, value) in got.iter().enumerate() {
        let (plane, y, x) = (i / (rows * columns), i / columns % rows, i % columns);
        if plane >= PLANES {
            if !value.is_nan() {
                return Err(format!("plane {plane} is none of the {PLANES}, and was written"));
            }
            continue;
        }
        let expected = match (of(&down, y), of(&along, x)) {
            (Some((first_row, row_weights)), Some((first, weights))) => {
                let line = |row: usize| {
                    let at = (plane * source_rows + row) * source_columns + first;
                    weights.iter().enumerate().fold(0.0, |sum, (i, w)| sum + f64::from(source[at + i]) * w)
                };
                row_weights.iter().enumerate().fold(0.0, |sum, (j, w)| sum + w * line(first_row + j)) as f32
            }
            _ => OUTSIDE,
        };
        if value.to_bits() != expected.to_bits() {
            return Err(format!("plane {plane}, row {y}, column {x}: {value} instead of {expected}"));
        }
    }
    Ok(Checked::exact(PLANES * rows * columns))
}
