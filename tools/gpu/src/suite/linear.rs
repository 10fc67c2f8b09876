//! The cases of `kernels/cuda/linear.cu`.

use super::support::{Accumulation, Bounded, Random, Workbench, compare};
use super::{Case, Checked};
use radnet_kernels::cuda::linear::{LinearBuffers, LinearShape, linear};
use radnet_kernels::cuda::{Element, Slices};
use std::sync::Arc;

type Gpu = Arc<dyn radnet_kernels::cuda::Gpu>;

/// Inputs, outputs, room for slices, slices.
const SHAPES: [[usize; 4]; 7] = [
    [1, 1, 1, 1],
    // A whole tile of everything, and one more of everything.
    [256, 16, 32, 32],
    [257, 17, 33, 33],
    // Odd rows, so that x is not aligned; a count below the grid's.
    [101, 5, 70, 38],
    // The classifier and a small projection of a long scan.
    [80, 1, 300, 300],
    [1024, 24, 3, 2],
    // Nothing to do.
    [40, 40, 8, 0],
];

pub(super) fn cases() -> Vec<Case> {
    let all = Element::ALL.into_iter().flat_map(|element| SHAPES.map(|shape| (element, shape)));
    all.map(|(element, [inputs, outputs, capacity, slices])| {
        let name = format!("{}, {inputs} → {outputs}, {slices} of {capacity} slices", element.suffix());
        Case::new("linear", name, move |gpu| product(gpu, element, LinearShape { inputs, outputs }, capacity, slices))
    })
    .collect()
}

fn product(gpu: &Gpu, element: Element, shape: LinearShape, capacity: usize, slices: usize) -> Result<Checked, String> {
    let LinearShape { inputs, outputs } = shape;
    let mut random = Random::new((inputs * 31 + outputs) as u64);
    let weights = random.values(element, inputs * outputs, -1.0, 1.0);
    let bias = random.values(Element::F32, outputs, -1.0, 1.0);
    let x = random.values(Element::F32, inputs * capacity, -2.0, 2.0);

    let mut bench = Workbench::new(gpu)?;
    let packed = bench.upload_bytes(&shape.pack(element, |output, input| weights[output * inputs + input]))?;
    let packed_bias = bench.upload_bytes(&shape.pack_bias(|output| bias[output]))?;
    let (input, output) = (bench.upload(Element::F32, &x)?, bench.output(4 * outputs * capacity)?);
    let count = bench.upload_u32(&[slices as u32])?;
    let buffers = LinearBuffers { weights: packed.all(), bias: packed_bias.all(), x: input.all(), y: output.all() };
    linear(bench.stream(), element, &shape, &buffers, Slices { count: count.all(), capacity }).map_err(|e| e.message)?;
    let got = bench.download(Element::F32, &output)?;

    let expected: Vec<Bounded> = (0..capacity * outputs)
        .map(|at| {
            let (slice, output) = (at / outputs, at % outputs);
            // Slices beyond the count are not written.
            if slice >= slices {
                return Bounded::exact(f64::NAN);
            }
            let x = x[slice * inputs..][..inputs].iter().map(|&x| Bounded::exact(x));
            Bounded::dot(Accumulation::Fma, bias[output], x.zip(weights[output * inputs..][..inputs].iter().copied()))
        })
        .collect();
    compare("linear", &got, &expected, |at| format!("slice {}, output {}", at / outputs, at % outputs))
}
