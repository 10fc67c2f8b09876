//! The CPU backend against the float64 oracle, and the promise that tiers, threads, grouping and runs do not change a bit.

use radnet::backend::cpu::{CpuBackend, CpuOptions, PackedCache};
use radnet::backend::reference::Reference;
use radnet::backend::{Backend, Observer, ScanMaps, SliceSource, Unobserved};
use radnet::model::config::{Attention, Backbone, Rnn, RnnShape};
use radnet::preprocess::ScanTensor;
use radnet::weights::synthetic;
use radnet::{Config, ErrorKind, Model};
use radnet_kernels::Isa;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// model.md, Tolerances: |Δz| ≤ 1e-3 · max(1, |z|).
const LOGIT: f64 = 1e-3;
/// What these small networks reach with room to spare: a hundred roundings of numbers near 1.
const EXPECTED_LOGIT: f64 = 2e-5;
/// Attention and segmentation probabilities.
const MAP: f32 = 2e-5;

/// An odd network: nothing is a multiple of 16, the map sizes are odd.
fn odd(size: [usize; 2], blocks: &[usize]) -> Config {
    let mut config = Config::densenet(blocks);
    config.input.size = size;
    let bn_eps = 1e-5;
    config.backbone = Backbone::Densenet { init_features: 24, growth_rate: 12, block_config: blocks.to_vec(), bn_size: 2, bn_eps };
    config.rnn = Rnn::Lstm(RnnShape { hidden: 40, layers: 1, bidirectional: true });
    config
}

fn channels(mut config: Config, count: usize) -> Config {
    let first = config.input.channels[0];
    config.input.channels.resize(count, first);
    config.input.mean = vec![0.0; count];
    config.input.std = vec![1.0; count];
    config
}

fn classes(mut config: Config, count: usize) -> Config {
    config.classes = (0..count).map(|i| format!("class{i}")).collect();
    config.thresholds = config.classes.iter().map(|c| (c.clone(), 0.5)).collect();
    config
}

/// Configurations of every kind: all attentions, recurrences, depths, odd sizes, 1×1 maps, both paths of the 3×3.
fn configs() -> Vec<(&'static str, Config)> {
    let mut standard = Config::densenet(&[2, 2, 3, 2]);
    standard.input.size = [96, 80];
    let mut softmax = odd([33, 71], &[2, 2]);
    softmax.attention = Attention::Softmax { heads: 3 };
    softmax.rnn = Rnn::Gru(RnnShape { hidden: 7, layers: 2, bidirectional: true });
    let mut mean = odd([40, 32], &[1, 1, 1, 1]);
    mean.attention = Attention::None;
    mean.rnn = Rnn::None;
    let mut one_way = channels(odd([64, 47], &[3]), 16);
    one_way.attention = Attention::Sigmoid { heads: 2 };
    one_way.rnn = Rnn::Lstm(RnnShape { hidden: 33, layers: 3, bidirectional: false });
    let six = odd([128, 160], &[1, 1, 1, 1, 1, 1]);
    let mut wide = classes(channels(Config::densenet(&[1, 2]), 1), 17);
    wide.input.size = [72, 130];
    wide.backbone = Backbone::Densenet { init_features: 96, growth_rate: 48, block_config: vec![1, 2], bn_size: 4, bn_eps: 1e-5 };
    wide.rnn = Rnn::Gru(RnnShape { hidden: 64, layers: 1, bidirectional: false });
    vec![("standard", standard), ("softmax", softmax), ("mean", mean), ("one way", one_way), ("six blocks", six), ("wide", wide)]
}

fn scan(model: &Model, slices: usize) -> ScanTensor {
    let network = &model.network;
    let mut state = 88_172_645_463_325_252u64;
    let values = (0..slices * network.channels * network.input.area()).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    });
    ScanTensor::new(values.collect(), slices, network.channels, network.input).unwrap()
}

fn backend(model: &Model, options: CpuOptions) -> CpuBackend {
    CpuBackend::new(&model.network, &model.weights, options).unwrap()
}

/// Logits, slice vectors and maps of one run.
fn run(backend: &dyn Backend, model: &Model, scan: &ScanTensor) -> (Vec<f32>, Vec<f32>, ScanMaps) {
    let mut session = backend.session().unwrap();
    let mut pooled = vec![0.0; scan.slices() * model.network.slice_vector];
    let mut maps = ScanMaps::default();
    session.pool_slices(scan, &Unobserved, &mut pooled, Some(&mut maps)).unwrap();
    let mut logits = vec![0.0; scan.slices() * model.network.classes];
    session.classify(&pooled, &mut logits).unwrap();
    (logits, pooled, maps)
}

/// Every kind of network agrees with the oracle on every tier, logits and maps alike, and all tiers agree to the bit.
#[test]
fn agrees_with_the_oracle_on_every_tier() {
    for (name, config) in configs() {
        let model = Arc::new(synthetic(&config, 7).unwrap());
        let scan = scan(&model, 5);
        let (exact, _, exact_maps) = run(&Reference::new(model.clone()), &model, &scan);
        let mut first = None;
        for isa in Isa::available() {
            let ours = run(&backend(&model, CpuOptions { isa: Some(isa.name().into()), ..CpuOptions::default() }), &model, &scan);
            for (i, (z, e)) in ours.0.iter().zip(&exact).enumerate() {
                let error = f64::from(z - e).abs() / f64::from(e.abs()).max(1.0);
                assert!(error <= LOGIT.min(EXPECTED_LOGIT), "{name}, {}, logit {i}: {z}, exactly {e}", isa.name());
            }
            assert_eq!(ours.2.attention_extent, exact_maps.attention_extent, "{name}");
            assert_eq!(ours.2.segmentation_blocks, exact_maps.segmentation_blocks, "{name}");
            for (ours, exact) in [(&ours.2.attention, &exact_maps.attention), (&ours.2.segmentation, &exact_maps.segmentation)] {
                assert_eq!(ours.len(), exact.len(), "{name}");
                for (slice, (a, b)) in ours.iter().zip(exact).enumerate() {
                    assert_eq!(a.len(), b.len(), "{name}");
                    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(worst <= MAP, "{name}, {}, slice {slice}: a map is off by {worst}", isa.name());
                }
            }
            let expected = first.get_or_insert_with(|| ours.clone());
            assert!(*expected == ours, "{name}: {} differs in its bits", isa.name());
        }
    }
}

/// 1, 2, 3 and 8 threads share 1 to 9 slices in every way there is (whole slices, shared slices, both), with the same bits.
#[test]
fn threads_and_slice_counts_do_not_change_a_bit() {
    for (name, config) in configs() {
        let model = synthetic(&config, 3).unwrap();
        let all = scan(&model, 9);
        let alone = backend(&model, CpuOptions::default());
        let whole = run(&alone, &model, &all);
        for threads in [2, 3, 8] {
            let several = backend(&model, CpuOptions { threads, ..CpuOptions::default() });
            assert_eq!(several.info().threads, threads);
            assert!(run(&several, &model, &all) == whole, "{name}: {threads} threads");
            let few = scan(&model, 2);
            let vector = model.network.slice_vector;
            assert!(run(&several, &model, &few).1 == whole.1[..2 * vector], "{name}: 2 slices on {threads} threads");
        }
    }
}

/// Two sessions run scans at the same time on one backend and one pool, again and again, and neither sees the other.
#[test]
fn sessions_run_side_by_side() {
    let model = synthetic(&odd([64, 64], &[2, 2]), 5).unwrap();
    let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    let shared = backend(&model, CpuOptions { pool: Some(pool), ..CpuOptions::default() });
    let scans = [scan(&model, 3), scan(&model, 4)];
    let expected = scans.each_ref().map(|s| run(&shared, &model, s));
    std::thread::scope(|s| {
        for (scan, expected) in scans.iter().zip(&expected) {
            let (shared, model) = (&shared, &model);
            s.spawn(move || {
                for _ in 0..5 {
                    assert!(run(shared, model, scan) == *expected);
                }
            });
        }
    });
}

/// Progress reaches the total, and a host that asks to stop gets `cancelled` before the next slice.
#[test]
fn hosts_watch_and_stop() {
    struct Host {
        seen: AtomicUsize,
        asked: AtomicUsize,
        stop_after: usize,
    }
    impl Observer for Host {
        fn slices_done(&self, done: usize, total: usize) {
            assert!(done <= total && total == 6);
            self.seen.fetch_max(done, Ordering::Relaxed);
        }
        fn cancelled(&self) -> bool {
            self.asked.fetch_add(1, Ordering::Relaxed) >= self.stop_after
        }
    }
    let model = synthetic(&odd([32, 32], &[1, 1]), 5).unwrap();
    let scan = scan(&model, 6);
    let mut pooled = vec![0.0; 6 * model.network.slice_vector];
    for threads in [1, 2] {
        let backend = backend(&model, CpuOptions { threads, ..CpuOptions::default() });
        let mut session = backend.session().unwrap();
        let patient = Host { seen: AtomicUsize::new(0), asked: AtomicUsize::new(0), stop_after: usize::MAX };
        session.pool_slices(&scan, &patient, &mut pooled, None).unwrap();
        assert_eq!(patient.seen.into_inner(), 6);
        let hasty = Host { seen: AtomicUsize::new(0), asked: AtomicUsize::new(0), stop_after: 2 };
        let error = session.pool_slices(&scan, &hasty, &mut pooled, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}

/// Wrong sizes and unknown tiers are errors, not panics.
#[test]
fn what_does_not_fit_is_an_error() {
    let model = synthetic(&odd([32, 32], &[1]), 5).unwrap();
    let refused = CpuBackend::new(&model.network, &model.weights, CpuOptions { isa: Some("sse9".into()), ..CpuOptions::default() });
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::Device);
    let backend = backend(&model, CpuOptions::default());
    let mut session = backend.session().unwrap();
    assert!(session.pool_slices(&scan(&model, 2), &Unobserved, &mut [0.0; 3], None).is_err());
    assert!(session.classify(&[0.0; 3], &mut [0.0; 1]).is_err());
    assert!(backend.memory_plan().contains("slab 1"));
}

/// With a cache directory the second start maps the file of the first, a damaged file is packed and written anew, and results are the same.
#[test]
fn packed_weights_come_back_from_the_cache() {
    let model = synthetic(&odd([48, 40], &[2, 1]), 9).unwrap();
    let scan = scan(&model, 2);
    let expected = run(&backend(&model, CpuOptions::default()), &model, &scan);
    let directory = tempfile::tempdir().unwrap();
    let cache = PackedCache { directory: directory.path().join("packed"), model_sha256: model.sha256.clone() };
    let start = || backend(&model, CpuOptions { cache: Some(cache.clone()), ..CpuOptions::default() });
    let file = || std::fs::read_dir(&cache.directory).unwrap().next().unwrap().unwrap().path();
    for round in ["packed", "mapped"] {
        assert!(run(&start(), &model, &scan) == expected, "{round}");
    }
    let good = std::fs::read(file()).unwrap();
    std::fs::write(file(), &good[..good.len() / 2]).unwrap();
    assert!(run(&start(), &model, &scan) == expected, "after damage");
    assert!(std::fs::read(file()).unwrap() == good, "written anew");
}
