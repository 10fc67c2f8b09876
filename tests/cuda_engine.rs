//! An engine on the emulated GPU through the public interface: int16 slices in, probabilities out.

use radnet::backend::cuda::Gpu;
use radnet::engine::{Engine, EngineBuilder, Precision};
use radnet::session::Prediction;
use radnet::weights::Model;
use radnet::{HuPixels, HuSlice, HuVolume, Unobserved};
use radnet_emulation::{Options, device_or_skip};
use std::path::Path;
use std::sync::Arc;

fn device(options: Options) -> Option<Arc<dyn Gpu>> {
    device_or_skip(options).map(|gpu| gpu as Arc<dyn Gpu>)
}

fn model(path: &str) -> Model {
    Model::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn golden(name: &str) -> EngineBuilder {
    Engine::builder(model(&format!("tests/golden/{name}.model.safetensors"))).threads(Some(2))
}

/// Slices with soft blobs on air, all different, of a size that must be resampled.
fn volume(slices: usize, rows: usize, cols: usize) -> HuVolume {
    let slice = |s: usize| {
        let pixel = |i: usize| {
            let (y, x) = ((i / cols) as f64 / rows as f64 - 0.5, (i % cols) as f64 / cols as f64 - 0.5);
            let inside = x * x + y * y < 0.2;
            let blob = 45.0 * (-((x - 0.1).powi(2) + (y + 0.02 * s as f64).powi(2)) * 60.0).exp();
            if inside { (30.0 + blob + ((i * 7 + s * 13) % 11) as f64) as i16 } else { -1000 }
        };
        let pixels = HuPixels::Int((0..rows * cols).map(pixel).collect());
        HuSlice { pixels, sop_instance_uid: None, instance_number: None, position_mm: Some(s as f64 * 5.0) }
    };
    HuVolume::new((0..slices).map(slice).collect(), rows, cols, Some([0.6, 0.5])).unwrap()
}

fn predict(engine: &Engine, volume: &HuVolume, maps: bool) -> Prediction {
    engine.session().unwrap().predict(volume, &Unobserved, maps).unwrap()
}

/// Whether the device or the host resamples changes no bit, and fp32 is as close to the processor's as two float32 chains are. Channels of
/// neighbouring slices, a given spacing and padding included.
#[test]
fn the_device_resamples_as_the_host_does() {
    let Some(gpu) = device(Options::ampere()) else { return };
    for name in ["spacing", "seven_channels", "downsampled"] {
        let volume = volume(5, 61, 52);
        let on_gpu = golden(name).gpu(Arc::clone(&gpu)).precision(Precision::Fp32).build().unwrap();
        let scanned = predict(&on_gpu, &volume, false);
        assert_eq!(scanned.slices, predict(&on_gpu, &volume, true).slices, "{name}");
        let on_cpu = predict(&golden(name).device(radnet::engine::Device::Cpu).build().unwrap(), &volume, false);
        for (s, (gpu, cpu)) in scanned.slices.iter().zip(&on_cpu.slices).enumerate() {
            for (a, b) in gpu.probability.iter().zip(&cpu.probability) {
                assert!((a - b).abs() <= 1e-4, "{name} slice {s}: {a} on the GPU, {b} on the CPU");
            }
        }
    }
}

/// A session goes from a long scan to a short one, to another size of slices, and back, with the results of fresh sessions.
#[test]
fn a_session_takes_scans_of_any_size() {
    let Some(gpu) = device(Options::hopper()) else { return };
    let engine = golden("sigmoid_lstm").gpu(gpu).build().unwrap();
    let mut session = engine.session().unwrap();
    for (slices, rows, cols) in [(4, 40, 40), (1, 40, 40), (3, 64, 50), (7, 33, 47), (4, 40, 40)] {
        let volume = volume(slices, rows, cols);
        let expected = predict(&engine, &volume, false);
        assert_eq!(session.predict(&volume, &Unobserved, false).unwrap().slices, expected.slices, "{slices} slices of {rows}×{cols}");
    }
}

/// Two sessions of one engine at the same time.
#[test]
fn sessions_run_side_by_side() {
    let Some(gpu) = device(Options::hopper().with_seed(3)) else { return };
    let engine = golden("softmax_gru2").gpu(gpu).build().unwrap();
    let volume = volume(3, 40, 40);
    let expected = predict(&engine, &volume, false).slices;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert_eq!(predict(&engine, &volume, false).slices, expected));
        }
    });
}

/// The demo model, DenseNet-121 at its real size, on one slice in fp16: every layer's real shape, 7 GFLOP.
#[test]
fn the_demo_model_agrees_with_the_processor() {
    let Some(gpu) = device(Options::hopper()) else { return };
    let volume = volume(1, 512, 512);
    let builder = || Engine::builder(model("weights/radnet-demo.safetensors")).threads(Some(2));
    let on_gpu = predict(&builder().gpu(gpu).build().unwrap(), &volume, false);
    let on_cpu = predict(&builder().device(radnet::engine::Device::Cpu).build().unwrap(), &volume, false);
    let (a, b) = (on_gpu.slices[0].probability[0], on_cpu.slices[0].probability[0]);
    eprintln!("p {a} on the emulated GPU in fp16, {b} on the CPU in fp32");
    assert!((a - b).abs() <= 1e-2);
}
