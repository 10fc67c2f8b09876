//! Scans made up for timing: the same on every machine.

use crate::args::{From, Input};
use radnet::model::config;
use radnet::preprocess::{HuStack, ScanTensor};
use radnet::tensor::{Extent, SliceSource};
use radnet::volume::{HuPixels, HuSlice, HuVolume};
use radnet::{Error, ErrorKind, Result, Unobserved};

/// Rows and columns of a slice in HU, as scanners write them.
const SIDE: usize = 512;
/// Distance of pixels: a field of view of 250 mm.
const SPACING_MM: f64 = 250.0 / 512.0;

/// One scan on the host.
pub(crate) enum Scan {
    /// Windowed, float32 NCHW.
    Tensor(ScanTensor),
    /// int16 HU.
    Hu(HuVolume),
}

impl Scan {
    /// A scan of `slices` for a network with this input.
    pub(crate) fn new(kind: Input, from: From, slices: usize, input: &config::Input) -> Result<Self> {
        let mut random = Random { state: 0x5EED };
        match (kind, from) {
            (Input::Noise, From::Tensor) => noise_tensor(&mut random, slices, input).map(Self::Tensor),
            (Input::Noise, From::Hu) => volume(slices, |_, _| (random.uniform() * 80.0) as i16).map(Self::Hu),
            (Input::Head, From::Hu) => head(&mut random, slices).map(Self::Hu),
            (Input::Head, From::Tensor) => windowed(&head(&mut random, slices)?, input).map(Self::Tensor),
        }
    }
}

fn noise_tensor(random: &mut Random, slices: usize, input: &config::Input) -> Result<ScanTensor> {
    let (channels, extent) = (input.channels.len(), extent(input));
    let data = (0..slices * channels * extent.area()).map(|_| random.normal()).collect();
    ScanTensor::new(data, slices, channels, extent)
}

fn extent(input: &config::Input) -> Extent {
    Extent { height: input.size[0], width: input.size[1] }
}

/// The whole windowed tensor, as a host would hand it in.
fn windowed(volume: &HuVolume, input: &config::Input) -> Result<ScanTensor> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.map_err(|e| Error::new(ErrorKind::Device, format!("cannot start a thread: {e}")).caused_by(e))?;
    let stack = pool.install(|| HuStack::new(volume, input, &Unobserved))?;
    let (slices, channels, extent) = (stack.slices(), stack.channels(), stack.extent());
    let mut data = vec![0.0; slices * channels * extent.area()];
    for (index, slice) in data.chunks_exact_mut(channels * extent.area()).enumerate() {
        stack.write_slice(index, slice);
    }
    ScanTensor::new(data, slices, channels, extent)
}

fn volume(slices: usize, mut hu: impl FnMut(usize, usize) -> i16) -> Result<HuVolume> {
    let mut slice = |index: usize| HuSlice {
        pixels: HuPixels::Int((0..SIDE * SIDE).map(|i| hu(index, i)).collect()),
        sop_instance_uid: None,
        instance_number: Some(index as i64 + 1),
        position_mm: Some(index as f64 * 5.0),
    };
    HuVolume::new((0..slices).map(&mut slice).collect(), SIDE, SIDE, Some([SPACING_MM; 2]))
}

/// Half axes of the widest slice in pixels.
const HEAD: [f64; 2] = [217.0, 172.0];

/// A head from the skull base to the vertex: scalp, skull, brain with ventricles, quantum noise, air around.
fn head(random: &mut Random, slices: usize) -> Result<HuVolume> {
    volume(slices, |slice, i| {
        let height = if slices > 1 { slice as f64 / (slices - 1) as f64 } else { 0.5 };
        // The outline of an ellipsoid cut from just below its middle to near its top.
        let scale = (1.0 - (0.75 * height - 0.15).powi(2)).sqrt();
        let (y, x) = ((i / SIDE) as f64 - 255.5, (i % SIDE) as f64 - 255.5);
        let r = (y / (HEAD[0] * scale)).hypot(x / (HEAD[1] * scale));
        let ventricles = (0.35..0.65).contains(&height) && (y / 70.0).hypot((x.abs() - 26.0) / 16.0) < 1.0;
        let mean = match r {
            r if r > 1.0 => -1000.0,
            r if r > 0.95 => 40.0,
            r if r > 0.88 => 1100.0,
            _ if ventricles => 8.0,
            _ if r > 0.78 => 38.0,
            _ => 30.0,
        };
        (mean + 6.0 * f64::from(random.normal())).round() as i16
    })
}

/// SplitMix64.
struct Random {
    state: u64,
}

impl Random {
    /// Uniform in [0, 1).
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 0, variance 1: the sum of twelve uniform values, less six.
    fn normal(&mut self) -> f32 {
        ((0..12).map(|_| self.uniform()).sum::<f64>() - 6.0) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use radnet::model::Config;

    /// Real proportions: about 40 % of the pixels are not air.
    #[test]
    fn a_head_is_two_fifths_of_the_picture() {
        let volume = head(&mut Random { state: 1 }, 12).unwrap();
        let body = |s: &HuSlice| (0..s.pixels.len()).filter(|&i| s.pixels.hu(i) > -500.0).count();
        let share = volume.slices().iter().map(body).sum::<usize>() as f64 / (12 * SIDE * SIDE) as f64;
        assert!((0.38..0.42).contains(&share), "{share}");
    }

    /// A head's air is one constant after windowing; noise has none.
    #[test]
    fn air_is_constant_in_a_head_only() {
        let input = Config::densenet121().input;
        for (kind, corner_is_zero) in [(Input::Head, true), (Input::Noise, false)] {
            let Scan::Tensor(tensor) = Scan::new(kind, From::Tensor, 1, &input).unwrap() else { panic!("no tensor") };
            let mut slice = vec![1.0; 3 * 256 * 256];
            tensor.write_slice(0, &mut slice);
            assert_eq!(slice[..32].iter().all(|v| *v == 0.0), corner_is_zero, "{kind:?}");
        }
    }
}
