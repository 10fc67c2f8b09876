//! The proof that copying air from an empty slice changes no bit: heads, noise, empty slices and single odd pixels, with and without it.

use radnet::backend::cpu::{CpuBackend, CpuOptions};
use radnet::backend::{Backend, ScanMaps, Unobserved};
use radnet::dicom::{DiscoverOptions, discover};
use radnet::model::config::{Attention, Backbone};
use radnet::preprocess::{HuStack, ScanTensor, air};
use radnet::weights::synthetic;
use radnet::{Config, Model};
use radnet_kernels::Isa;
use std::path::Path;

/// Enough slices for the empty slice to be made, and one left over that two threads share.
const SLICES: usize = 9;

fn config(size: [usize; 2], blocks: &[usize], growth: usize, bn_size: usize) -> Config {
    let mut config = Config::densenet(blocks);
    config.input.size = size;
    let init = if growth == 32 { 64 } else { 24 };
    config.backbone = Backbone::Densenet { init_features: init, growth_rate: growth, block_config: blocks.to_vec(), bn_size, bn_eps: 1e-5 };
    config
}

/// Both paths of the 3×3, odd sizes, blocks on large and on small maps, all blocks on large maps, x of air that is not zero.
fn configs() -> Vec<(&'static str, Config)> {
    let mut shifted = config([110, 131], &[2, 2], 12, 2);
    shifted.input.mean = vec![0.3, -0.2, 0.1];
    shifted.input.std = vec![0.5, 2.0, 1.0];
    let mut last_is_large = config([100, 136], &[3], 32, 4);
    last_is_large.attention = Attention::Softmax { heads: 2 };
    vec![
        ("winograd", config([136, 101], &[3, 2, 1], 32, 4)),
        ("direct", config([133, 160], &[3, 2], 12, 2)),
        ("shifted", shifted),
        ("one block", last_is_large),
        ("small maps only", config([48, 60], &[2, 1], 32, 4)),
    ]
}

/// Slices of air with something in them, as x.
fn scans(model: &Model, air: &[f32]) -> Vec<(&'static str, ScanTensor)> {
    let extent = model.network.input;
    let (height, width) = (extent.height, extent.width);
    let mut state = 88_172_645_463_325_252u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let mut scan = |inside: &dyn Fn(usize, usize, usize) -> bool| {
        let mut data = Vec::new();
        for slice in 0..SLICES {
            for x in air {
                data.extend((0..height * width).map(|i| if inside(slice, i / width, i % width) { random() } else { *x }));
            }
        }
        ScanTensor::new(data, SLICES, air.len(), extent).unwrap()
    };
    let corners = [(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1), (height / 2, 3), (7, width / 3)];
    vec![
        ("noise", scan(&|_, _, _| true)),
        ("empty", scan(&|_, _, _| false)),
        // A disc of another size and place on every slice, none on the first.
        (
            "discs",
            scan(&|s, y, x| {
                let (dy, dx) = (y as f64 - height as f64 * (0.3 + 0.05 * s as f64), x as f64 - width as f64 * (0.6 - 0.04 * s as f64));
                (dy * dy + dx * dx).sqrt() < 7.0 * s as f64
            }),
        ),
        // One odd pixel: in each corner, at a border, inside; none on the others.
        ("odd pixels", scan(&|s, y, x| corners.get(s) == Some(&(y, x)))),
        // Two pixels far apart in one row, and a hollow frame: what lies between is air that is computed.
        ("frame", scan(&|s, y, x| if s % 2 == 0 { y == height / 3 && (x == 2 || x == width - 3) } else { y == 1 || x == width - 2 })),
    ]
}

fn run(model: &Model, options: CpuOptions, scan: &dyn radnet::backend::SliceSource) -> (Vec<u32>, Vec<u32>, ScanMaps) {
    let backend = CpuBackend::new(&model.network, &model.weights, options).unwrap();
    let mut session = backend.session().unwrap();
    let mut pooled = vec![0.0; scan.slices() * model.network.slice_vector];
    let mut maps = ScanMaps::default();
    session.pool_slices(scan, &Unobserved, &mut pooled, Some(&mut maps)).unwrap();
    // Again with what the first run left in every buffer.
    session.pool_slices(scan, &Unobserved, &mut pooled, Some(&mut maps)).unwrap();
    let mut logits = vec![0.0; scan.slices() * model.network.classes];
    session.classify(&pooled, &mut logits).unwrap();
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect();
    (bits(&logits), bits(&pooled), maps)
}

#[test]
fn air_changes_no_bit() {
    for (name, config) in configs() {
        let model = synthetic(&config, 5).unwrap();
        let air = air(&config.input);
        for (what, scan) in scans(&model, &air) {
            let whole = run(&model, CpuOptions::default(), &scan);
            for isa in Isa::available() {
                // The tier without vector registers takes a second a network; what it skips is decided by the same code.
                let threads: &[usize] = match isa.name() {
                    "portable" if what != "discs" => &[],
                    "portable" => &[2],
                    _ => &[1, 2],
                };
                for &threads in threads {
                    let options = CpuOptions { threads, isa: Some(isa.name().into()), air: Some(air.clone()), ..CpuOptions::default() };
                    assert!(run(&model, options, &scan) == whole, "{name}, {what}, {}, {threads} threads", isa.name());
                }
            }
        }
    }
}

/// The shipped phantom, from DICOM, through DenseNet-121's first blocks at 256×256.
#[test]
fn air_changes_no_bit_on_a_phantom() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/phantom/bleed");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let found = discover(&[folder], &DiscoverOptions::default(), &pool, &Unobserved).unwrap();
    let series = found.outcomes.into_iter().next().unwrap().result.unwrap();
    let volume = series.read(&pool, &Unobserved).unwrap().volume;
    let config = config([256, 256], &[6, 3], 32, 4);
    let model = synthetic(&config, 11).unwrap();
    let stack = HuStack::new(&volume, &config.input, &Unobserved).unwrap();
    let whole = run(&model, CpuOptions { threads: 2, ..CpuOptions::default() }, &stack);
    let skipped = run(&model, CpuOptions { threads: 2, air: Some(air(&config.input)), ..CpuOptions::default() }, &stack);
    assert!(skipped == whole);
}
