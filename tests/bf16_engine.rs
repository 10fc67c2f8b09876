//! The bf16 engine: every shape of model runs, and on one tier no bit depends on the threads, how slices are grouped or whether air is copied. Tiers that
//! widen pairs agree to the last bit; the one that multiplies them is close.

use radnet::backend::cpu::{CpuBackend, CpuOptions};
use radnet::backend::{Backend, ScanMaps, SliceSource, Unobserved};
use radnet::decision::{decide, sigmoid};
use radnet::dicom::{DiscoverOptions, discover};
use radnet::engine::{Device, Engine, Precision};
use radnet::model::config::{Attention, Backbone, Rnn, RnnShape};
use radnet::preprocess::{HuStack, ScanTensor, air};
use radnet::weights::synthetic;
use radnet::{Config, Model};
use radnet_kernels::Isa;
use std::path::Path;

/// Enough slices for the empty slice to be made, and one left over that two threads share.
const SLICES: usize = 9;

fn config(size: [usize; 2], blocks: &[usize], [init_features, growth_rate, bn_size]: [usize; 3]) -> Config {
    let mut config = Config::densenet(blocks);
    config.input.size = size;
    config.backbone = Backbone::Densenet { init_features, growth_rate, block_config: blocks.to_vec(), bn_size, bn_eps: 1e-5 };
    config
}

/// Both ways of the 3×3, maps in groups and alone, channels that no panel divides, every kind of head.
fn configs() -> Vec<(&'static str, Config)> {
    let mut plain = config([96, 88], &[3, 2, 1], [64, 32, 4]);
    plain.segmentation = vec![1, 2];
    let mut odd = config([75, 101], &[2, 3], [11, 7, 3]);
    odd.input.mean = vec![0.3, -0.2, 0.1];
    odd.input.std = vec![0.5, 2.0, 1.0];
    odd.attention = Attention::Softmax { heads: 2 };
    odd.rnn = Rnn::Gru(RnnShape { hidden: 17, layers: 1, bidirectional: false });
    odd.classes = ["epidural", "subdural", "other"].map(str::to_owned).to_vec();
    odd.thresholds = odd.classes.iter().map(|class| (class.clone(), 0.5)).collect();
    let mut mean = config([110, 66], &[2], [24, 40, 2]);
    (mean.attention, mean.rnn, mean.segmentation) = (Attention::None, Rnn::None, vec![1]);
    let small = config([33, 40], &[1, 1, 1], [8, 4, 1]);
    vec![("winograd", plain), ("odd", odd), ("mean", mean), ("small", small)]
}

/// An ellipse of noise in air that moves from slice to slice; the first slice is empty.
fn scan(model: &Model, slices: usize) -> ScanTensor {
    let extent = model.network.input;
    let (height, width) = (extent.height as f64, extent.width as f64);
    let mut state = 88_172_645_463_325_252u64;
    let mut data = Vec::new();
    for slice in 0..slices {
        for x in air(&model.config.input) {
            for i in 0..extent.area() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (dy, dx) = ((i / extent.width) as f64 / height - 0.5, (i % extent.width) as f64 / width - 0.55 + 0.01 * slice as f64);
                let inside = dy * dy + dx * dx < 0.02 * slice as f64;
                data.push(if inside { (state >> 40) as f32 / (1u64 << 24) as f32 } else { x });
            }
        }
    }
    ScanTensor::new(data, slices, model.network.channels, extent).unwrap()
}

/// Slices of another scan.
struct Part<'a> {
    whole: &'a ScanTensor,
    first: usize,
    slices: usize,
}

impl SliceSource for Part<'_> {
    fn slices(&self) -> usize {
        self.slices
    }

    fn channels(&self) -> usize {
        self.whole.channels()
    }

    fn extent(&self) -> radnet::tensor::Extent {
        self.whole.extent()
    }

    fn write_slice(&self, slice: usize, dst: &mut [f32]) {
        self.whole.write_slice(self.first + slice, dst);
    }
}

#[derive(Clone, PartialEq)]
struct Answer {
    pooled: Vec<u32>,
    logits: Vec<u32>,
    maps: ScanMaps,
}

fn run(model: &Model, options: CpuOptions, scan: &dyn SliceSource) -> Answer {
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
    Answer { pooled: bits(&pooled), logits: bits(&logits), maps }
}

/// Tiers without an instruction that multiplies bf16.
fn widens(isa: &Isa) -> bool {
    !matches!(isa, Isa::Amx(_) | Isa::Avx512Bf16(_) | Isa::NeonBf16(_))
}

fn on(isa: Isa) -> CpuOptions {
    CpuOptions { isa: Some(isa.name().into()), bf16: true, ..CpuOptions::default() }
}

#[test]
fn threads_and_air_change_no_bit_of_a_tier() {
    for (name, config) in configs() {
        let model = synthetic(&config, 5).unwrap();
        let scan = scan(&model, SLICES);
        let mut widened = None;
        for isa in Isa::available() {
            let whole = run(&model, on(isa), &scan);
            assert!(whole.pooled.iter().any(|bits| *bits != 0));
            assert_eq!(whole.maps.segmentation.len(), if config.segmentation.is_empty() { 0 } else { SLICES });
            for (threads, copies) in [(1, true), (2, false), (2, true), (3, true)] {
                if isa.name() == "portable" && threads != 2 {
                    continue;
                }
                let options = CpuOptions { threads, air: copies.then(|| air(&config.input)), ..on(isa) };
                assert!(run(&model, options, &scan) == whole, "{name}, {}, {threads} threads, copied air: {copies}", isa.name());
            }
            if widens(&isa) {
                assert!(*widened.get_or_insert_with(|| whole.clone()) == whole, "{name}, {}", isa.name());
            }
        }
    }
}

/// A scan of one slice, and any other part of a scan, gives the slice vectors and maps of the whole.
#[test]
fn grouping_changes_no_bit() {
    for (name, config) in configs() {
        let model = synthetic(&config, 6).unwrap();
        let (scan, vector) = (scan(&model, SLICES), model.network.slice_vector);
        let whole = run(&model, on(Isa::detect()), &scan);
        for (first, slices, threads) in [(0, 1, 1), (8, 1, 2), (2, 5, 1), (1, 6, 2)] {
            let options = CpuOptions { threads, ..on(Isa::detect()) };
            let part = run(&model, options, &Part { whole: &scan, first, slices });
            assert!(part.pooled == whole.pooled[first * vector..][..slices * vector], "{name} {first} {slices} {threads}");
            assert!(part.maps.segmentation.iter().eq(whole.maps.segmentation.iter().skip(first).take(slices)), "{name} {first}");
            assert!(part.maps.attention.iter().eq(whole.maps.attention.iter().skip(first).take(slices)), "{name} {first}");
        }
    }
}

/// How far `b` is from `a`, as a share of the size of `a`.
fn distance(a: &[u32], b: &[u32]) -> f64 {
    let (mut error, mut size) = (0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f64::from(f32::from_bits(*a)), f64::from(f32::from_bits(*b)));
        (error, size) = (error + (a - b) * (a - b), size + a * a);
    }
    (error / size).sqrt()
}

/// Slice vectors lie near those of fp32, on every tier, and are not the same.
#[test]
fn it_is_the_network_of_fp32() {
    for (name, config) in configs() {
        let model = synthetic(&config, 7).unwrap();
        let scan = scan(&model, SLICES);
        let fp32 = run(&model, CpuOptions::default(), &scan);
        for isa in Isa::available() {
            let off = distance(&fp32.pooled, &run(&model, on(isa), &scan).pooled);
            eprintln!("{name} {}: {off:.4} from fp32", isa.name());
            assert!(off > 0.0 && off < 0.02, "{name} {}: {off} of the slice vectors' size from fp32", isa.name());
        }
    }
}

/// The engine has bf16 on the processor, says so, keeps its packed weights apart from those of fp32, and refuses fp16.
#[test]
fn an_engine_computes_in_bf16_and_caches_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_, config) = configs().into_iter().next().unwrap();
    let model = Model { sha256: "00ff".into(), ..synthetic(&config, 8).unwrap() };
    let scan = scan(&model, 3);
    let builder = |precision: Precision| {
        let cache = Some(folder.path().to_owned());
        Engine::builder(model.clone()).device(Device::Cpu).precision(precision).threads(Some(1)).cache_dir(cache)
    };
    let mut answers = Vec::new();
    for precision in [Precision::Bf16, Precision::Fp32, Precision::Bf16, Precision::Int8] {
        let engine = builder(precision).build().unwrap();
        assert_eq!(engine.info().precision, precision.name());
        let tier = if precision == Precision::Fp32 { Isa::detect_for_floats() } else { Isa::detect() };
        assert_eq!(engine.info().isa, tier.name());
        let prediction = engine.session().unwrap().predict_source(&scan, &Unobserved, false).unwrap();
        answers.push(prediction.slices.iter().flat_map(|s| s.logit.clone()).map(f64::to_bits).collect::<Vec<_>>());
    }
    assert!(answers[0] == answers[2] && answers[0] != answers[1] && answers[0] != answers[3]);
    let refused = builder(Precision::Fp16).build().err().unwrap();
    assert!(refused.message().contains("fp16"), "{}", refused.message());
}

/// The demo model on the shipped phantoms: |Δp| ≤ 1e-2 against fp32, and the same decisions (spec: model, "Tolerances").
#[test]
fn the_demo_model_decides_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = Model::open(root.join("weights/radnet-demo.safetensors")).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for name in ["bleed", "normal"] {
        let folder = root.join("tests/data/phantom").join(name);
        let mut outcomes = discover(&[folder], &DiscoverOptions::default(), &pool, &Unobserved).unwrap().outcomes;
        let decoded = outcomes.remove(0).result.unwrap().read(&pool, &Unobserved).unwrap();
        let stack = HuStack::new(&decoded.volume, &model.config.input, &Unobserved).unwrap();
        let p = |bf16: bool| -> Vec<f64> {
            let answer = run(&model, CpuOptions { threads: 2, bf16, ..CpuOptions::default() }, &stack);
            answer.logits.iter().map(|z| sigmoid(f64::from(f32::from_bits(*z)))).collect()
        };
        let (exact, found) = (p(false), p(true));
        let off = exact.iter().zip(&found).map(|(p, q)| (p - q).abs()).fold(0.0, f64::max);
        eprintln!("{name}: |Δp| {off:.2e} over {} slices", exact.len());
        assert!(off <= 1e-2, "{name}: {off}");
        let positive = |p: &[f64]| -> Vec<bool> {
            let slices: Vec<&[f64]> = p.chunks_exact(model.config.classes.len()).collect();
            decide(&model.config, &slices).iter().map(|d| d.positive).collect()
        };
        assert_eq!(positive(&exact), positive(&found), "{name}");
    }
}
