//! The cases of `kernels/cuda/recurrent.cu` and `recurrent_cluster.cu`.

use super::support::{Accumulation, Bounded, Random, Workbench, compare};
use super::{Case, Checked};
use radnet_kernels::cuda::recurrent::{Cell, RecurrentBuffers, RecurrentKernel, RecurrentPlan, RecurrentShape, recurrent};
use radnet_kernels::cuda::{Element, Slices};
use std::sync::Arc;

type Gpu = Arc<dyn radnet_kernels::cuda::Gpu>;

/// A scan for a layer.
#[derive(Clone, Copy, Debug)]
struct Scan {
    shape: RecurrentShape,
    capacity: usize,
    slices: usize,
}

/// Hidden units, directions, room for slices, slices.
const SCANS: [[usize; 4]; 8] = [
    [1, 2, 1, 1],
    // Odd widths around the runs of 8 and the tiles of 4; a count below the room.
    [5, 2, 9, 7],
    [33, 1, 4, 4],
    [40, 2, 6, 5],
    // A long scan of a small layer.
    [12, 2, 300, 300],
    // One unit more than the portable block's 256, and more tiles than a cluster has warps.
    [257, 1, 2, 2],
    [256, 2, 3, 3],
    // Nothing to do.
    [16, 2, 4, 0],
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for element in Element::ALL {
        for cell in [Cell::Lstm, Cell::Gru] {
            for [hidden, directions, capacity, slices] in SCANS {
                let scan = Scan { shape: RecurrentShape { cell, hidden, directions }, capacity, slices };
                let name = |kind: &str| {
                    let (suffix, ways) = (element.suffix(), if directions == 2 { "both ways" } else { "forward" });
                    format!("{suffix}, {kind} {cell:?} of {hidden} units {ways}, {slices} of {capacity} slices")
                };
                cases.push(Case::new("recurrent", name("portable"), move |gpu| {
                    layer(gpu, RecurrentPlan::portable(scan.shape, element), scan)
                }));
                if element != Element::F32 {
                    cases.push(Case::new("recurrent", name("chosen"), move |gpu| {
                        layer(gpu, RecurrentPlan::new(scan.shape, element, gpu.properties()), scan)
                    }));
                }
            }
        }
    }
    let wide = RecurrentShape { cell: Cell::Lstm, hidden: 480, directions: 1 };
    cases.push(Case::new("recurrent", "f16, chosen Lstm of 480 units, weights in registers and shared memory", move |gpu| {
        layer(gpu, RecurrentPlan::new(wide, Element::F16, gpu.properties()), Scan { shape: wide, capacity: 2, slices: 2 })
    }));
    cases
}

/// A layer's numbers: weights and h's bias by direction, projections as the kernels read them.
struct Layer {
    weights: Vec<Vec<f64>>,
    bias: Vec<Vec<f64>>,
    projections: Vec<f64>,
}

impl Layer {
    /// Weights so small that errors do not grow from slice to slice, and their bounds stay tight.
    fn new(element: Element, scan: &Scan) -> Self {
        let RecurrentShape { cell, hidden, directions } = scan.shape;
        let mut random = Random::new((hidden * 7 + directions) as u64);
        let reach = 2.0 / hidden as f64;
        let weights = (0..directions).map(|_| random.values(element, cell.gates() * hidden * hidden, -reach, reach)).collect();
        let bias = (0..directions).map(|_| random.values(Element::F32, hidden, -1.0, 1.0)).collect();
        let projections = random.values(Element::F32, scan.shape.projected() * scan.capacity, -2.0, 2.0);
        Self { weights, bias, projections }
    }
}

fn layer(gpu: &Gpu, plan: RecurrentPlan, scan: Scan) -> Result<Checked, String> {
    let Scan { shape, capacity, slices } = scan;
    let RecurrentShape { hidden, directions, .. } = shape;
    let numbers = Layer::new(plan.element, &scan);
    let mut bench = Workbench::new(gpu)?;
    let weights = bench.upload_bytes(&plan.pack(|direction, row, k| numbers.weights[direction][row * hidden + k]))?;
    let bias = bench.upload_bytes(&shape.pack_bias(|direction, unit| numbers.bias[direction][unit]))?;
    let projections = bench.upload(Element::F32, &numbers.projections)?;
    let outputs = bench.output(4 * directions * hidden * capacity)?;
    let count = bench.upload_u32(&[slices as u32])?;
    let buffers = RecurrentBuffers { weights: weights.all(), bias: bias.all(), projections: projections.all(), outputs: outputs.all() };
    recurrent(bench.stream(), &plan, &buffers, Slices { count: count.all(), capacity }).map_err(|e| e.message)?;
    let got = bench.download(Element::F32, &outputs)?;

    let mut expected = vec![Bounded::exact(f64::NAN); got.len()];
    for direction in 0..directions {
        let mut oracle = Oracle::new(&plan, &numbers, direction);
        for step in 0..slices {
            let slice = if direction == 0 { step } else { slices - 1 - step };
            let width = shape.cell.gates() * hidden;
            oracle.step(&numbers.projections[(slice * directions + direction) * width..][..width]);
            expected[(slice * directions + direction) * hidden..][..hidden].copy_from_slice(&oracle.h);
        }
    }
    compare("recurrent", &got, &expected, |at| {
        let (unit, row) = (at % hidden, at / hidden);
        format!("slice {}, direction {}, unit {unit} ({plan})", row / directions, row % directions)
    })
}

/// One direction.
struct Oracle<'a> {
    plan: &'a RecurrentPlan,
    weights: &'a [f64],
    bias: &'a [f64],
    h: Vec<Bounded>,
    c: Vec<Bounded>,
}

impl<'a> Oracle<'a> {
    fn new(plan: &'a RecurrentPlan, numbers: &'a Layer, direction: usize) -> Self {
        let zero = vec![Bounded::ZERO; plan.shape.hidden];
        Self { plan, weights: &numbers.weights[direction], bias: &numbers.bias[direction], h: zero.clone(), c: zero }
    }

    fn step(&mut self, x: &[f64]) {
        let hidden = self.plan.shape.hidden;
        let (accumulation, kept): (_, Vec<Bounded>) = match self.plan.kernel {
            RecurrentKernel::Portable => (Accumulation::Fma, self.h.clone()),
            RecurrentKernel::Cluster { .. } => (Accumulation::Tensor, self.h.iter().map(|h| self.in_parts(*h)).collect()),
        };
        // The partial sums of the cluster's chains and parts: as many further additions.
        let additions = std::iter::repeat_n((Bounded::ZERO, 0.0), 16);
        let state = |gate: usize, unit: usize, start: f64| {
            let row = &self.weights[(gate * hidden + unit) * hidden..][..hidden];
            Bounded::dot(accumulation, start, kept.iter().copied().zip(row.iter().copied()).chain(additions.clone()))
        };
        let (mut h, mut c) = (self.h.clone(), self.c.clone());
        for unit in 0..hidden {
            let gate = |gate: usize| state(gate, unit, x[gate * hidden + unit]);
            if self.plan.shape.cell == Cell::Lstm {
                let [input, forget, output] = [0, 1, 3].map(|g| sigmoid(gate(g)));
                c[unit] = input.times(tanh(gate(2))).plus(forget.times(self.c[unit]));
                h[unit] = output.times(tanh(c[unit]));
            } else {
                let [reset, update] = [0, 1].map(|g| sigmoid(gate(g)));
                let recurrent = state(2, unit, self.bias[unit]);
                let new = tanh(reset.times(recurrent).plus(Bounded::exact(x[2 * hidden + unit])));
                let minus = Bounded { value: -new.value, ..new };
                h[unit] = update.times(self.h[unit].plus(minus)).plus(new);
            }
        }
        (self.h, self.c) = (h, c);
    }

    /// h as the sum of two f16 or three bf16.
    fn in_parts(&self, h: Bounded) -> Bounded {
        let (relative, absolute) = match self.plan.element {
            Element::F16 => (2f64.powi(-22), 2f64.powi(-25)),
            _ => (2f64.powi(-24), 2f64.powi(-130)),
        };
        Bounded { value: h.value, error: h.error + relative * (h.value.abs() + h.error) + absolute }
    }
}

/// What three units in the last place are at most.
fn three_ulp(value: f64) -> f64 {
    3.0 * 2f64.powi(-23) * value.abs() + f64::from(f32::MIN_POSITIVE)
}

fn sigmoid(x: Bounded) -> Bounded {
    let function = |x: f64| 1.0 / (1.0 + (-x).exp());
    x.through(function, 0.25, three_ulp(function(x.value)))
}

fn tanh(x: Bounded) -> Bounded {
    x.through(f64::tanh, 1.0, three_ulp(x.value.tanh()))
}
