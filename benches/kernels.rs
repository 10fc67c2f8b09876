//! Every kernel family on every tier of this machine, shapes as data (`tools/workloads`, and resampling here); throughput in multiply-adds, so
//! that a rate can be read beside the machine's peak. `cargo bench --bench kernels -- 'stem'` runs one family; the portable tier, which few
//! machines ever run, is timed with `cargo xtask select`.
#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use radnet::Unobserved;
use radnet::model::Config;
use radnet::preprocess::HuStack;
use radnet::volume::{HuPixels, HuSlice, HuVolume};
use radnet_kernels::Isa;
use radnet_workloads::{Set, all};
use std::hint::black_box;

fn kernels(c: &mut Criterion) {
    for mut workload in all(Set::Timed) {
        let mut group = c.benchmark_group(workload.family);
        group.throughput(Throughput::Elements(workload.multiply_adds));
        for isa in Isa::available().filter(|isa| isa.name() != "portable") {
            let id = BenchmarkId::new(isa.name(), &workload.shape);
            group.bench_function(id, |b| b.iter(|| black_box(&mut workload).run(isa)));
        }
    }
}

/// Side of the slices × side of the network's input: reduced as scanners' matrices usually are, as they are, and enlarged.
const RESAMPLED: [(usize, usize); 4] = [(512, 256), (512, 512), (768, 256), (256, 512)];

fn resample(c: &mut Criterion) {
    let mut group = c.benchmark_group("resample");
    let pool = radnet::engine::pool(Some(1)).expect("one thread can be had");
    for (side, size) in RESAMPLED {
        let pixels = HuPixels::Int((0..side * side).map(|i| (i % 2000) as i16 - 1000).collect());
        let slice = HuSlice { pixels, sop_instance_uid: None, instance_number: None, position_mm: None };
        let volume = HuVolume::new(vec![slice], side, side, None).expect("a slice of the right length");
        let mut input = Config::densenet121().input;
        input.size = [size; 2];
        group.throughput(Throughput::Bytes((2 * side * side) as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{side} to {size}")), |b| {
            b.iter(|| pool.install(|| HuStack::new(black_box(&volume), &input, &Unobserved)));
        });
    }
}

criterion_group!(benches, kernels, resample);
criterion_main!(benches);
