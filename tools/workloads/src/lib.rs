//! Every kernel family at shapes that matter, as data, with buffers that hold plausible numbers: what benches time, `cargo xtask count` counts
//! and `cargo xtask select` compares.

mod bf16;
mod fp32;
mod int8;
mod numbers;

use radnet_kernels::{Integers, Isa};

/// Which shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// A few thousand to a few million multiply-adds, on tile edges too: for instruction counts under an emulator.
    Counted,
    /// Those of DenseNet-121 with attention and an LSTM at 256×256: for times.
    Timed,
}

/// One kernel at one shape.
pub struct Workload {
    /// "1×1 fp32".
    pub family: &'static str,
    /// "96×128×512".
    pub shape: String,
    /// As a direct convolution counts them.
    pub multiply_adds: u64,
    output: Vec<f32>,
    #[allow(clippy::type_complexity, reason = "what runs: the tier, and the output")]
    body: Box<dyn FnMut(Isa, &mut [f32])>,
}

impl Workload {
    fn new(family: &'static str, shape: String, multiply_adds: u64, output: Vec<f32>, body: impl FnMut(Isa, &mut [f32]) + 'static) -> Self {
        Self { family, shape, multiply_adds, output, body: Box::new(body) }
    }

    /// Family and shape.
    pub fn name(&self) -> String {
        format!("{} {}", self.family, self.shape)
    }

    /// Runs it once on one thread; running again gives the same output.
    pub fn run(&mut self, isa: Isa) {
        (self.body)(isa, &mut self.output);
    }

    /// Whether two tiers give the same bits: in fp32 all do, in int8 those whose 3×3 goes the same way, in bf16 those that widen.
    pub fn agrees(&self, a: Isa, b: Isa) -> bool {
        let kind = |isa: Isa| match isa {
            Isa::NeonBf16(_) => 3,
            Isa::Amx(_) => 2,
            Isa::Avx512Bf16(_) => 1,
            _ => 0,
        };
        match self.family {
            family if family.ends_with("bf16") => kind(a) == kind(b),
            family if family.ends_with("int8") => Integers::of(a).directly() == Integers::of(b).directly(),
            _ => true,
        }
    }

    /// What the last run left.
    pub fn output(&self) -> &[f32] {
        &self.output
    }
}

/// What every tier, or level of integers, of this machine makes of something.
struct Each<K, T>(Vec<(K, T)>);

impl<K: Copy + PartialEq, T> Each<K, T> {
    fn new(kinds: impl Iterator<Item = K>, pack: impl Fn(K) -> T) -> Self {
        Self(kinds.map(|kind| (kind, pack(kind))).collect())
    }

    fn of(&self, kind: K) -> &T {
        self.0.iter().find(|(of, _)| *of == kind).map(|(_, packed)| packed).expect("a tier of this machine")
    }
}

/// All workloads of a set.
pub fn all(set: Set) -> Vec<Workload> {
    let mut all = fp32::all(set);
    all.extend(bf16::all(set));
    all.extend(int8::all(set));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every workload writes its output, twice the same and on every tier that should the same bits, and no two have one name.
    #[test]
    fn workloads_repeat_themselves_on_every_tier() {
        let mut names = std::collections::BTreeSet::new();
        for mut workload in all(Set::Counted) {
            let name = workload.name();
            assert!(names.insert(name.clone()), "{name} is there twice");
            assert!(workload.multiply_adds > 0, "{name}");
            let mut firsts: Vec<(Isa, Vec<u32>)> = Vec::new();
            for isa in Isa::available().flat_map(|isa| [isa, isa]) {
                workload.run(isa);
                let bits: Vec<u32> = workload.output().iter().map(|v| v.to_bits()).collect();
                assert!(bits.iter().any(|v| *v != 0), "{name}");
                assert!(!workload.family.ends_with("fp32") || workload.output().iter().all(|v| v.is_finite()), "{name}");
                match firsts.iter().find(|(first, _)| workload.agrees(*first, isa)) {
                    Some((first, expected)) => assert!(*expected == bits, "{name} differs on {} from {}", isa.name(), first.name()),
                    None => firsts.push((isa, bits)),
                }
            }
        }
        assert!(all(Set::Timed).iter().all(|w| !w.name().is_empty()));
    }
}
