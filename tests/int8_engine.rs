//! The 8-bit engine: every shape of model runs, and no bit depends on the tier, the threads, how slices are grouped or whether air is copied; but for the way
//! of the 3×3, which tiles take directly, so that there are two networks ([`Integers::directly`]).
//! What its numbers are is another test's subject; here they only have to resemble fp32.

use radnet::backend::cpu::{CpuBackend, CpuOptions, PackedCache};
use radnet::backend::reference::Reference;
use radnet::backend::{Backend, ScanMaps, SliceSource, Unobserved};
use radnet::engine::{Device, Engine, Precision};
use radnet::model::Quantisation;
use radnet::model::config::{Attention, Backbone, Rnn, RnnShape};
use radnet::preprocess::{ScanTensor, air};
use radnet::weights::synthetic;
use radnet::{Config, ErrorKind, Model};
use radnet_kernels::{Integers, Isa};
use std::sync::Arc;

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

/// The scan with one odd value in each of the slices from 3 on, as many as there are values; a host's source may hold any.
struct Odd<'a> {
    plain: &'a ScanTensor,
    values: &'a [f32],
}

impl SliceSource for Odd<'_> {
    fn slices(&self) -> usize {
        self.plain.slices()
    }

    fn channels(&self) -> usize {
        self.plain.channels()
    }

    fn extent(&self) -> radnet::tensor::Extent {
        self.plain.extent()
    }

    fn write_slice(&self, slice: usize, dst: &mut [f32]) {
        self.plain.write_slice(slice, dst);
        if let Some(value) = slice.checked_sub(3).and_then(|i| self.values.get(i)) {
            let extent = self.extent();
            dst[extent.area() / 2 + extent.width / 3] = *value;
        }
    }
}

/// Slices of another scan.
struct Part<'a> {
    whole: &'a dyn SliceSource,
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

#[derive(PartialEq)]
struct Answer {
    pooled: Vec<u32>,
    logits: Vec<u32>,
    maps: ScanMaps,
}

fn int8(model: &Model) -> CpuOptions {
    CpuOptions { quantisation: Some(Quantisation::from_norms(&model.network, &model.weights)), ..CpuOptions::default() }
}

/// On a level.
fn on(level: Integers, model: &Model) -> CpuOptions {
    CpuOptions { integers: Some(level.name().into()), ..int8(model) }
}

/// The quickest level of either way of the 3×3: directly only where this machine has tiles, since arrays would take too long here.
fn ways() -> Vec<Integers> {
    let quickest = |directly: bool| Integers::available().find(|level| level.directly() == directly);
    [quickest(false), quickest(true).filter(|level| level.name() != "portable-direct")].into_iter().flatten().collect()
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

#[test]
fn tiers_threads_and_air_change_no_bit() {
    for (name, config) in configs() {
        let model = synthetic(&config, 5).unwrap();
        let scan = scan(&model, SLICES);
        let mut wholes = [None, None];
        for (isa, level) in Isa::available().map(|isa| (isa, None)).chain(Integers::available().map(|level| (Isa::detect(), Some(level)))) {
            let ran = level.unwrap_or(Integers::of(isa));
            let whole = wholes[usize::from(ran.directly())].get_or_insert_with(|| run(&model, on(ran, &model), &scan));
            assert!(whole.pooled.iter().any(|bits| *bits != 0));
            assert_eq!(whole.maps.segmentation.len(), if config.segmentation.is_empty() { 0 } else { SLICES });
            let ran = ran.name();
            for (threads, copies) in [(1, true), (2, false), (2, true), (3, true)] {
                if ran.starts_with("portable") && threads != 2 {
                    continue;
                }
                let air = copies.then(|| air(&config.input));
                let integers = level.map(|level| level.name().into());
                let options = CpuOptions { threads, isa: Some(isa.name().into()), integers, air, ..int8(&model) };
                assert!(run(&model, options, &scan) == *whole, "{name}, {}, {ran}, {threads} threads, copied air: {copies}", isa.name());
            }
        }
    }
}

/// A slice with a value beyond the model's windows has the stem for hosts or that of fp32, whole, and its neighbours have not: the same bits on every tier,
/// from any threads, with and without air, and the oracle's.
#[test]
fn values_beyond_the_stems_integers_are_computed() {
    for (name, config) in configs().into_iter().take(2) {
        let model = Arc::new(synthetic(&config, 5).unwrap());
        let scan = scan(&model, SLICES);
        let odd = Odd { plain: &scan, values: &[7.9, 8.1, -1e6, f32::INFINITY, f32::NAN] };
        for level in ways() {
            let plain = run(&model, on(level, &model), &scan);
            let whole = run(&model, on(level, &model), &odd);
            for (s, (a, b)) in
                plain.pooled.chunks(model.network.slice_vector).zip(whole.pooled.chunks(model.network.slice_vector)).enumerate()
            {
                assert_eq!(a == b, !(3..8).contains(&s), "{name} {s}");
            }
            for isa in Isa::available().filter(|isa| Integers::of(*isa).directly() == level.directly()) {
                for (threads, copies) in [(2, false), (1, true), (3, true)] {
                    let options =
                        CpuOptions { threads, isa: Some(isa.name().into()), air: copies.then(|| air(&config.input)), ..int8(&model) };
                    assert!(run(&model, options, &odd) == whole, "{name}, {}, {threads} threads, copied air: {copies}", isa.name());
                }
            }
            // Air that is itself beyond them is not copied.
            let options = CpuOptions { air: Some(vec![9.0; model.network.channels]), ..on(level, &model) };
            assert!(run(&model, options, &odd) == whole, "{name}");
            let oracle = Reference::quantised(model.clone(), &Quantisation::from_norms(&model.network, &model.weights), level.directly());
            let part = Part { whole: &odd, first: 3, slices: 2 };
            let mut pooled = vec![0.0; 2 * model.network.slice_vector];
            oracle.session().unwrap().pool_slices(&part, &Unobserved, &mut pooled, None).unwrap();
            let exact: Vec<u32> = pooled.iter().map(|v| v.to_bits()).collect();
            let (exact, found) =
                (exact.split_at(exact.len() / 2), whole.pooled[3 * model.network.slice_vector..].split_at(exact.len() / 2));
            // Integers are the oracle's; of fp32, whose stem is float64 there, codes that lie halfway may differ by one.
            let off = [distance(exact.0, found.0), distance(exact.1, &found.1[..exact.1.len()])];
            assert!(off[0] < 1e-6 && off[1] < 0.01, "{name}: off by {off:?} of the slice vectors' size");
        }
    }
}

/// Slice vectors, logits and maps on every level have the digests of AVX2 on a real processor. `tools/avx512` runs this where the processor lacks a
/// level, and there the portable one takes too long. A change of the arithmetic changes the digests on purpose; the failure prints the new ones.
#[test]
fn digests_are_the_same_on_every_machine() {
    let expected: [[u64; 2]; 4] = [
        [0xc210211b21339c83, 0x3eec8d04c8f41c2f],
        [0x73f011f5d5774413, 0x73f011f5d5774413],
        [0x4aa30a5f7f02357e, 0x7bbd030990be7aad],
        [0x8776bc72eb5c7bee, 0x8776bc72eb5c7bee],
    ];
    let mut differ = false;
    for ((name, config), expected) in configs().into_iter().zip(expected) {
        let model = synthetic(&config, 5).unwrap();
        let scan = scan(&model, 2);
        for level in Integers::available().filter(|level| !level.name().starts_with("portable")) {
            let answer = run(&model, on(level, &model), &scan);
            let maps = answer.maps.attention.iter().chain(&answer.maps.segmentation).flatten().map(|x| x.to_bits());
            let bits = answer.pooled.iter().chain(&answer.logits).copied().chain(maps);
            let bytes = bits.flat_map(u32::to_le_bytes);
            let digest = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            println!("{name} {} {digest:#018x}", level.name());
            differ |= digest != expected[usize::from(level.directly())];
        }
    }
    assert!(!differ, "the digests above are not the committed ones");
}

/// A scan of one slice, and any other part of a scan, gives the slice vectors and maps of the whole.
#[test]
fn grouping_changes_no_bit() {
    for (name, config) in configs() {
        let model = synthetic(&config, 6).unwrap();
        let (scan, vector) = (scan(&model, SLICES), model.network.slice_vector);
        let whole = run(&model, int8(&model), &scan);
        for (first, slices, threads) in [(0, 1, 1), (8, 1, 2), (2, 5, 1), (1, 6, 2)] {
            let part = run(&model, CpuOptions { threads, ..int8(&model) }, &Part { whole: &scan, first, slices });
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

/// Every code is the oracle's; what follows the last block is in float64 there and in float32 here. fp32 itself is much further away, by what 8 bits over
/// many standard deviations take of these small untrained networks.
#[test]
fn it_is_the_oracles_network() {
    for (name, config) in configs() {
        let model = Arc::new(synthetic(&config, 7).unwrap());
        let (all, ranges) = (scan(&model, SLICES), Quantisation::from_norms(&model.network, &model.weights));
        let scan = Part { whole: &all, first: 4, slices: 3 };
        let fp32 = run(&model, CpuOptions::default(), &scan);
        for level in [ways()[0], Integers::available().find(|level| level.directly()).unwrap()] {
            let oracle = Reference::quantised(model.clone(), &ranges, level.directly());
            let mut pooled = vec![0.0; 3 * model.network.slice_vector];
            oracle.session().unwrap().pool_slices(&scan, &Unobserved, &mut pooled, None).unwrap();
            let exact: Vec<u32> = pooled.iter().map(|v| v.to_bits()).collect();
            let codes = run(&model, on(level, &model), &scan);
            let (off, lost) = (distance(&exact, &codes.pooled), distance(&fp32.pooled, &codes.pooled));
            println!("{name} {}: {off:.1e} from the oracle, {lost:.4} from fp32", level.name());
            assert!(off < 1e-6, "{name} {}: off by {off} of the slice vectors' size", level.name());
            assert!(lost > off && lost < 0.2, "{name} {}: {lost} of the slice vectors' size from fp32", level.name());
        }
    }
}

/// The engine has int8 on the processor, says so, and keeps its packed weights apart from those of fp32.
#[test]
fn an_engine_computes_in_int8_and_caches_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_, config) = configs().into_iter().next().unwrap();
    let model = Model { sha256: "00ff".into(), ..synthetic(&config, 8).unwrap() };
    let scan = scan(&model, 3);
    let mut answers = Vec::new();
    for precision in [Precision::Int8, Precision::Fp32, Precision::Int8] {
        let cache = Some(folder.path().to_owned());
        let builder = Engine::builder(model.clone()).device(Device::Cpu).precision(precision).threads(Some(1)).cache_dir(cache);
        let engine = builder.build().unwrap();
        assert_eq!(engine.info().precision, precision.name());
        let prediction = engine.session().unwrap().predict_source(&scan, &Unobserved, false).unwrap();
        answers.push(prediction.slices.iter().flat_map(|s| s.logit.clone()).map(f64::to_bits).collect::<Vec<_>>());
    }
    assert!(answers[0] == answers[2] && answers[0] != answers[1]);
    let ranges = Quantisation::from_norms(&model.network, &model.weights);
    let cache = Some(PackedCache { directory: folder.path().to_owned(), model_sha256: model.sha256.clone() });
    let other = CpuOptions { cache, quantisation: Some(halved(ranges)), ..CpuOptions::default() };
    assert!(run(&model, other, &scan).pooled != run(&model, int8(&model), &scan).pooled, "other ranges found the same weights");
}

fn halved(mut ranges: Quantisation) -> Quantisation {
    ranges.blocks.iter_mut().flat_map(|b| &mut b.channels).for_each(|r| r.high = r.low / 2.0 + r.high / 2.0);
    ranges
}

/// Ranges of another network are refused, and constant channels are no obstacle.
#[test]
fn ranges_are_checked() {
    let (_, config) = configs().into_iter().next_back().unwrap();
    let model = synthetic(&config, 9).unwrap();
    let mut ranges = Quantisation::from_norms(&model.network, &model.weights);
    ranges.blocks[1].channels.iter_mut().for_each(|r| r.high = r.low);
    ranges.blocks[0].mid[0].fill(0.0);
    let constant = CpuOptions { quantisation: Some(ranges.clone()), ..CpuOptions::default() };
    let answer = run(&model, constant, &scan(&model, 2));
    assert!(answer.logits.iter().all(|bits| f32::from_bits(*bits).is_finite()));
    ranges.blocks.pop();
    let options = CpuOptions { quantisation: Some(ranges), ..CpuOptions::default() };
    let refused = CpuBackend::new(&model.network, &model.weights, options).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::BadModel);
}
