//! fp32 has the same bits on every tier of every machine: whole networks with seeded weights run on each tier this processor has, and the
//! digests of what they give are compared with the ones kept here. `tools/avx512` runs this test where the processor has no AVX-512.
//!
//! A change of the arithmetic (another algorithm, another order) changes the digests on purpose; the failure prints the new ones.

use radnet::backend::cpu::{CpuBackend, CpuOptions};
use radnet::backend::{Backend, ScanMaps};
use radnet::model::config::{Attention, Backbone, Channel, Rnn, RnnShape, Window};
use radnet::preprocess::ScanTensor;
use radnet::tensor::Extent;
use radnet::{Config, Unobserved, weights};
use radnet_kernels::Isa;

/// Digests of slice vectors, logits, attention maps and segmentation maps (that of no numbers where there are none).
#[derive(PartialEq)]
struct Digests([u64; 4]);

impl std::fmt::Display for Digests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [pooled, logits, attention, segmentation] = self.0;
        write!(f, "[{pooled:#018x}, {logits:#018x}, {attention:#018x}, {segmentation:#018x}]")
    }
}

/// FNV-1a, 64 bits, over the bits of the numbers.
fn digest<'a>(numbers: impl IntoIterator<Item = &'a f32>) -> u64 {
    let bytes = numbers.into_iter().flat_map(|x| x.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Windowed slices as a head gives them: air around an ellipse of noise that moves from slice to slice, in steps of 2⁻¹².
fn head(slices: usize, channels: usize, extent: Extent) -> ScanTensor {
    let (height, width) = (extent.height as i64, extent.width as i64);
    let mut state = 1u64;
    let mut data = Vec::with_capacity(slices * channels * extent.area());
    for slice in 0..slices as i64 {
        for channel in 0..channels as i64 {
            for y in 0..height {
                for x in 0..width {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let (dy, dx) = ((2 * y - height + slice) * width, (2 * x - width + channel) * height);
                    let inside = 2 * (dy * dy + dx * dx) < height * height * width * width;
                    data.push(if inside { (state >> 52) as f32 / 4096.0 } else { 0.0 });
                }
            }
        }
    }
    ScanTensor::new(data, slices, channels, extent).unwrap()
}

fn run(config: &Config, slices: usize, isa: Isa) -> Digests {
    let model = weights::synthetic(config, 0x5eed).unwrap();
    let options = CpuOptions { threads: 1, isa: Some(isa.name().to_owned()), ..CpuOptions::default() };
    let backend = CpuBackend::new(&model.network, &model.weights, options).unwrap();
    assert_eq!(backend.info().isa, isa.name());
    let scan = head(slices, model.network.channels, model.network.input);
    let mut pooled = vec![0.0; slices * model.network.slice_vector];
    let mut logits = vec![0.0; slices * model.network.classes];
    let mut maps = ScanMaps::default();
    let mut session = backend.session().unwrap();
    session.pool_slices(&scan, &Unobserved, &mut pooled, Some(&mut maps)).unwrap();
    session.classify(&pooled, &mut logits).unwrap();
    let finite = |numbers: &[f32]| numbers.iter().all(|x| x.is_finite());
    assert!(finite(&pooled) && finite(&logits) && pooled.iter().any(|x| *x != 0.0), "a digest of nothing");
    Digests([digest(&pooled), digest(&logits), digest(maps.attention.iter().flatten()), digest(maps.segmentation.iter().flatten())])
}

/// Compares every tier of this machine; says aloud which tiers it lacks, and fails if RADNET_REQUIRE_ISA (a comma-separated list) names one.
fn check(name: &str, config: &Config, slices: usize, expected: [u64; 4]) {
    let expected = Digests(expected);
    let required = std::env::var("RADNET_REQUIRE_ISA").unwrap_or_default();
    let mut wrong = Vec::new();
    for tier in Isa::NAMES {
        let Some(isa) = Isa::by_name(tier) else {
            let reason = radnet_kernels::isa::refusal(tier).unwrap_or_default();
            assert!(!required.split(',').any(|r| r.trim() == tier), "RADNET_REQUIRE_ISA names {tier}, but {reason}");
            eprintln!("skipped: {name} on {tier}: {reason}");
            continue;
        };
        let found = run(config, slices, isa);
        println!("{name} {tier} {found}");
        if found != expected {
            wrong.push(format!("{tier} gives {found}"));
        }
    }
    assert!(wrong.is_empty(), "{name}: {}; kept are {expected}", wrong.join(", "));
}

/// A network of the standard design with other constants; the windows play no part, since the slices come windowed.
fn network(size: [usize; 2], channels: usize, [init_features, growth_rate, bn_size]: [usize; 3], block_config: &[usize]) -> Config {
    let mut config = Config::densenet(block_config);
    config.input.size = size;
    config.input.channels = vec![Channel { slice_offset: 0, window: Window { level: 40.0, width: 80.0 } }; channels];
    (config.input.mean, config.input.std) = (vec![0.0; channels], vec![1.0; channels]);
    config.backbone = Backbone::Densenet { init_features, growth_rate, block_config: block_config.to_vec(), bn_size, bn_eps: 1e-5 };
    config
}

fn five_classes(config: &mut Config) {
    config.classes = ["epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"].map(str::to_owned).to_vec();
    config.thresholds = config.classes.iter().map(|class| (class.clone(), 0.5)).collect();
}

/// Channel counts that no vector divides, odd maps, three heads of attention, segmentation, two recurrent layers of 40.
#[test]
fn odd_widths_with_maps_and_a_deep_lstm() {
    let mut config = network([45, 37], 2, [24, 12, 2], &[2, 3, 2]);
    config.segmentation = vec![1, 3];
    config.attention = Attention::Sigmoid { heads: 3 };
    config.rnn = Rnn::Lstm(RnnShape { hidden: 40, layers: 2, bidirectional: true });
    five_classes(&mut config);
    let expected = [0x48191a6ebb105a8b, 0xa75ef013be05be00, 0x1f8555a39e470921, 0xd42cc8d1e46b7748];
    check("odd_widths_with_maps_and_a_deep_lstm", &config, 3, expected);
}

/// The softmax and the GRU, one direction, one channel, primes everywhere.
#[test]
fn softmax_attention_and_a_gru() {
    let mut config = network([33, 67], 1, [11, 7, 3], &[3, 1]);
    config.segmentation = vec![2];
    config.attention = Attention::Softmax { heads: 2 };
    config.rnn = Rnn::Gru(RnnShape { hidden: 17, layers: 1, bidirectional: false });
    let expected = [0x1315219836faf512, 0xfdddbce435053fa8, 0x8f476a417759cc50, 0xc606f27621a150e5];
    check("softmax_attention_and_a_gru", &config, 2, expected);
}

/// Neither attention nor recurrence; as many channels as there may be.
#[test]
fn plain_mean_of_sixteen_channels() {
    let mut config = network([64, 52], 16, [64, 32, 4], &[2]);
    config.segmentation = Vec::new();
    config.attention = Attention::None;
    config.rnn = Rnn::None;
    let expected = [0x71e00dea89c6780f, 0x999704ebba234758, 0xcbf29ce484222325, 0xcbf29ce484222325];
    check("plain_mean_of_sixteen_channels", &config, 2, expected);
}

/// A single slice: a sequence of one.
#[test]
fn one_slice_through_six_blocks() {
    let config = network([130, 141], 3, [16, 8, 4], &[1, 2, 1, 1, 2, 1]);
    let expected = [0xfc7c227ebd689aff, 0x2dfcb61401d28e95, 0x6ed107c5040e22f6, 0xc2709a4e8ddc867a];
    check("one_slice_through_six_blocks", &config, 1, expected);
}

/// The standard network as it ships, on a smaller image.
#[test]
fn densenet121_at_64() {
    let mut config = Config::densenet121();
    config.input.size = [64, 64];
    let expected = [0x62b945248df96fc5, 0x8cf87928fee9de25, 0x5c32bfbf6627f8e8, 0x12583149d0b45f64];
    check("densenet121_at_64", &config, 2, expected);
}
