//! A small host for planted kernels, one buffer of floats in, one out; and what a test says of their results.

// Each test program uses a part of it.
#![allow(dead_code)]

use radnet_emulation::Options;
use radnet_kernels::cuda::{DeviceMemory, Gpu, GpuError, Launch, Queue};
use std::sync::Arc;

/// Orders of threads and blocks that are tried.
pub(crate) const SEEDS: std::ops::Range<u64> = 0..8;

/// The arguments of all planted kernels: x, y, which bug, how many.
#[repr(C)]
pub(crate) struct Arguments {
    x: u64,
    y: u64,
    bug: i32,
    n: i32,
}

/// What is launched, apart from its arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) kernel: &'static str,
    pub(crate) blocks: u32,
    pub(crate) threads: u32,
    pub(crate) cluster: u32,
    pub(crate) shared_bytes: u32,
}

/// An emulated device, or none without a C++ compiler.
pub(crate) fn device(options: Options) -> Option<Arc<dyn Gpu>> {
    radnet_emulation::device_or_skip(options).map(|device| device as Arc<dyn Gpu>)
}

/// Runs a planted kernel on `x`; `y` has `outputs` floats.
pub(crate) fn run(gpu: &Arc<dyn Gpu>, shape: Shape, bug: i32, x: &[f32], outputs: usize) -> Result<Vec<f32>, GpuError> {
    run_launches(gpu, shape, &[bug], x, outputs)
}

/// Runs a planted kernel once for each of `bugs`; each launch may overlap the one before it and takes its results, of as many floats as `x` has.
pub(crate) fn run_overlapping(gpu: &Arc<dyn Gpu>, shape: Shape, bugs: &[i32], x: &[f32]) -> Result<Vec<f32>, GpuError> {
    run_launches(gpu, shape, bugs, x, x.len())
}

fn run_launches(gpu: &Arc<dyn Gpu>, shape: Shape, bugs: &[i32], x: &[f32], outputs: usize) -> Result<Vec<f32>, GpuError> {
    let mut queue = Queue::new(gpu)?;
    let from = DeviceMemory::new(gpu, 4 * x.len())?;
    let results = bugs.iter().map(|_| DeviceMemory::new(gpu, 4 * outputs)).collect::<Result<Vec<_>, _>>()?;
    let (sent, back) = (queue.pinned(4 * x.len())?, queue.pinned(4 * outputs)?);
    sent.write_floats(&mut queue.finish()?)?.copy_from_slice(x);
    queue.upload(from.all(), &sent, 0)?;
    let mut source = &from;
    for (&bug, result) in bugs.iter().zip(&results) {
        let arguments = Arguments { x: source.all().address(), y: result.all().address(), bug, n: x.len() as i32 };
        launch(&mut queue, shape, &arguments, bugs.len() > 1)?;
        source = result;
    }
    queue.download(&back, 0, source.all())?;
    let result = back.read_floats(&queue.finish()?)?.to_vec();
    Ok(result)
}

fn launch(queue: &mut Queue, shape: Shape, arguments: &Arguments, overlaps: bool) -> Result<(), GpuError> {
    let Shape { kernel, blocks, threads, cluster, shared_bytes } = shape;
    // SAFETY: `Arguments` is plain data without padding.
    let bytes = unsafe { std::slice::from_raw_parts(std::ptr::from_ref(arguments).cast::<u8>(), size_of::<Arguments>()) };
    let launch = Launch { kernel, grid: [blocks, 1, 1], block: threads, cluster, shared_bytes, arguments: bytes, overlaps };
    // SAFETY: the struct is the planted kernels' own and its memory lives until the caller has waited.
    unsafe { queue.stream().launch(&launch) }
}

/// Distinct values.
pub(crate) fn ramp(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32 + 1.0).collect()
}

/// What became of a run.
pub(crate) enum Outcome {
    Right,
    Wrong,
    Refused(String),
}

/// Blocks on one, two and three threads of the host.
pub(crate) fn options(seed: u64) -> Options {
    Options { threads: 1 + seed as u32 % 3, ..Options::hopper().with_seed(seed) }
}

pub(crate) fn outcomes(shape: Shape, bug: i32, x: &[f32], expected: &[f32]) -> Vec<Outcome> {
    let outcome = |seed| {
        let gpu = device(options(seed))?;
        Some(match run(&gpu, shape, bug, x, expected.len()) {
            Ok(y) if y == expected => Outcome::Right,
            Ok(_) => Outcome::Wrong,
            Err(error) => Outcome::Refused(error.message),
        })
    };
    SEEDS.map_while(outcome).collect()
}

/// Under every seed.
pub(crate) fn is_right(shape: Shape, x: &[f32], expected: &[f32]) {
    for outcome in outcomes(shape, 0, x, expected) {
        match outcome {
            Outcome::Right => {}
            Outcome::Wrong => panic!("{shape:?} without a bug gives a wrong result"),
            Outcome::Refused(message) => panic!("{shape:?} without a bug: {message}"),
        }
    }
}

/// Under every seed.
pub(crate) fn is_wrong(shape: Shape, bug: i32, x: &[f32], expected: &[f32]) {
    for outcome in outcomes(shape, bug, x, expected) {
        assert!(matches!(outcome, Outcome::Wrong), "bug {bug} of {shape:?} goes unnoticed, or is noticed otherwise");
    }
}

/// Where it depends on the order of threads: some seed must show it.
pub(crate) fn is_noticed(shape: Shape, bug: i32, x: &[f32], expected: &[f32]) {
    let outcomes = outcomes(shape, bug, x, expected);
    let noticed = outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Right));
    assert!(noticed || outcomes.is_empty(), "bug {bug} of {shape:?} goes unnoticed");
}

/// Under every seed, in one way or another.
pub(crate) fn is_always_noticed(shape: Shape, bug: i32, x: &[f32], expected: &[f32]) {
    let wrong = outcomes(shape, bug, x, expected).iter().all(|outcome| !matches!(outcome, Outcome::Right));
    assert!(wrong, "bug {bug} of {shape:?} goes unnoticed under some seed");
}

/// Under every seed, with these words and the kernel's name.
pub(crate) fn is_refused(shape: Shape, bug: i32, x: &[f32], expected: &[f32], words: &[&str]) {
    for outcome in outcomes(shape, bug, x, expected) {
        let Outcome::Refused(message) = outcome else { panic!("bug {bug} of {shape:?} goes unnoticed") };
        assert!(message.contains(shape.kernel) && words.iter().all(|word| message.contains(word)), "{message}");
    }
}
