//! Resampling, cropping and padding against PyTorch's `interpolate(antialias=True)`, from `tests/golden/preprocess.safetensors`
//! (format: tools/reference/README.md).

use radnet::model::config::{Channel, Input, Window};
use radnet::preprocess::HuStack;
use radnet::{HuPixels, HuSlice, HuVolume, Unobserved};
use safetensors::SafeTensors;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One rounding to float32 of a value within ±4096 HU.
const ROUNDING_HU: f64 = 1.3e-4;
/// PyTorch's float32 rounds its weights and both passes: a dozen roundings of values within ±4096 HU.
const TORCH_F32_HU: f32 = 4e-3;

#[derive(Deserialize)]
struct Case {
    pixel_spacing_mm: Option<[f64; 2]>,
    size: [usize; 2],
    spacing_mm: Option<f64>,
    outside_hu: f64,
}

impl Case {
    fn input(&self) -> Input {
        let channels = vec![Channel { slice_offset: 0, window: Window { level: 40.0, width: 80.0 } }];
        Input { size: self.size, spacing_mm: self.spacing_mm, outside_hu: self.outside_hu, channels, mean: vec![0.0], std: vec![1.0] }
    }
}

fn values<T, const N: usize>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    bytes.chunks_exact(N).map(|c| read(c.try_into().unwrap())).collect()
}

#[test]
fn resampling_equals_pytorch() {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/preprocess.safetensors")).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = metadata.metadata().as_ref().unwrap();
    let cases: BTreeMap<String, Case> = serde_json::from_str(&metadata["golden.cases"]).unwrap();
    let stride: usize = metadata["golden.f64_stride"].parse().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert!(cases.len() >= 8, "{} cases", cases.len());
    for (name, case) in &cases {
        let hu = file.tensor(&format!("{name}.hu")).unwrap();
        let pixels = HuPixels::Int(values(hu.data(), i16::from_le_bytes));
        let slice = HuSlice { pixels, sop_instance_uid: None, instance_number: None, position_mm: None };
        let volume = HuVolume::new(vec![slice], hu.shape()[0], hu.shape()[1], case.pixel_spacing_mm).unwrap();
        let stack = HuStack::new(&volume, &case.input(), &Unobserved).unwrap();
        let ours = stack.plane(0);
        let torch = values(file.tensor(&format!("{name}.f32")).unwrap().data(), f32::from_le_bytes);
        assert_eq!(ours.len(), torch.len(), "{name}");
        for (i, (a, b)) in ours.iter().zip(&torch).enumerate() {
            assert!((a - b).abs() <= TORCH_F32_HU, "{name}, pixel {i}: {a} HU, PyTorch float32 {b}");
        }
        let exact = values(file.tensor(&format!("{name}.f64")).unwrap().data(), f64::from_le_bytes);
        for (i, (a, b)) in ours.iter().step_by(stride).zip(&exact).enumerate() {
            assert!((f64::from(*a) - b).abs() <= ROUNDING_HU, "{name}, pixel {}: {a} HU, PyTorch float64 {b}", i * stride);
        }
    }
}
