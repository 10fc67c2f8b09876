//! The cases of `kernels/cuda/numbers.cu`: every code of f16 and bf16 as float32, float32 at and around every place where rounding turns, and
//! the packed affine + ReLU against exact whole-number arithmetic.

use super::support::{Random, Workbench};
use super::{Case, Checked};
use radnet_kernels::cuda::Element;
use radnet_kernels::cuda::numbers::{Operation, numbers};
use std::sync::Arc;

type Gpu = Arc<dyn radnet_kernels::cuda::Gpu>;

/// What PTX gives for every result that is not a number, as f16 and as bf16.
const CANONICAL_NAN: u16 = 0x7fff;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for element in [Element::F16, Element::Bf16] {
        let name = |what: &str| format!("{}, {what}", element.suffix());
        cases.push(Case::new("numbers", name("every code as float32"), move |gpu| widens(gpu, element)));
        cases.push(Case::new("numbers", name("float32 rounded, ties and their neighbours"), move |gpu| narrows(gpu, element, false)));
        cases.push(Case::new("numbers", name("float32 rounded after ReLU"), move |gpu| narrows(gpu, element, true)));
        cases.push(Case::new("numbers", name("affine and ReLU with one rounding"), move |gpu| affine(gpu, element)));
        cases.push(Case::new("numbers", name("the larger of two"), move |gpu| larger(gpu, element)));
    }
    cases
}

/// Runs an operation on words; `words` are returned.
fn run(gpu: &Gpu, element: Element, operation: Operation, operands: [&[u32]; 3], words: usize, count: usize) -> Result<Vec<u32>, String> {
    let mut bench = Workbench::new(gpu)?;
    let memory: Vec<_> = operands.iter().map(|operand| bench.upload_u32(operand)).collect::<Result<_, _>>()?;
    let out = bench.output(4 * words)?;
    let spans = [memory[0].all(), memory[1].all(), memory[2].all()];
    numbers(bench.stream(), element, operation, spans, out.all(), count).map_err(|error| error.message)?;
    Ok(bench.download_bytes(&out)?.chunks(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect())
}

fn halves(words: &[u32]) -> Vec<u16> {
    words.iter().flat_map(|word| [*word as u16, (*word >> 16) as u16]).collect()
}

fn pairs(codes: &[u16]) -> Vec<u32> {
    codes.chunks_exact(2).map(|pair| u32::from(pair[0]) | u32::from(pair[1]) << 16).collect()
}

fn value(element: Element, code: u16) -> f32 {
    element.decode(&code.to_le_bytes())[0]
}

fn code(element: Element, value: f64) -> u16 {
    let mut bytes = Vec::new();
    element.encode([value], &mut bytes);
    u16::from_le_bytes([bytes[0], bytes[1]])
}

/// Compares codes; a NaN must be the canonical one, and either zero is one: PTX leaves open which a clamped -0 becomes.
fn same(got: &[u16], expected: impl Iterator<Item = u16>, element: Element, what: impl Fn(usize) -> String) -> Result<Checked, String> {
    for (i, (&got, expected)) in got.iter().zip(expected).enumerate() {
        let expected = if value(element, expected).is_nan() { CANONICAL_NAN } else { expected };
        if got != expected && (got | expected) & 0x7fff != 0 {
            return Err(format!("{} is {got:#06x} instead of {expected:#06x}", what(i)));
        }
    }
    Ok(Checked::exact(got.len()))
}

fn widens(gpu: &Gpu, element: Element) -> Result<Checked, String> {
    let codes: Vec<u16> = (0..=u16::MAX).collect();
    let words = pairs(&codes);
    let got = run(gpu, element, Operation::Widen, [&words, &[], &[]], codes.len(), words.len())?;
    for (code, got) in codes.iter().zip(&got) {
        let (got, expected) = (f32::from_bits(*got), value(element, *code));
        if got.to_bits() != expected.to_bits() && !(got.is_nan() && expected.is_nan()) {
            return Err(format!("{code:#06x} is {got} instead of {expected}"));
        }
    }
    Ok(Checked::exact(codes.len()))
}

/// Every finite code, the middle to the next one, both neighbours of the two, and random bits; in both signs.
fn floats(element: Element) -> Vec<f32> {
    let mut floats = Vec::new();
    let finite = (0..0x7fffu16).map(|code| value(element, code)).take_while(|value| value.is_finite());
    let largest = finite.clone().last().unwrap_or(0.0);
    for (code, low) in (0..).zip(finite) {
        let high =
            if low == largest { 2.0 * f64::from(low) - f64::from(value(element, code - 1)) } else { f64::from(value(element, code + 1)) };
        let middle = ((f64::from(low) + high) / 2.0) as f32;
        for bits in [low.to_bits(), middle.to_bits()] {
            floats.extend([bits.saturating_sub(1), bits, bits + 1].map(f32::from_bits));
        }
    }
    let mut random = Random::new(3);
    floats.extend((0..100_000).map(|_| f32::from_bits(random.bits() as u32)));
    floats.extend([f32::INFINITY, f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1), f32::NAN]);
    let negative: Vec<f32> = floats.iter().map(|value| -value).collect();
    floats.extend(negative);
    floats
}

fn narrows(gpu: &Gpu, element: Element, relu: bool) -> Result<Checked, String> {
    let floats = floats(element);
    let words: Vec<u32> = floats.iter().map(|value| value.to_bits()).collect();
    let count = words.len() / 2;
    let operation = if relu { Operation::NarrowRelu } else { Operation::Narrow };
    let got = halves(&run(gpu, element, operation, [&words, &[], &[]], count, count)?);
    let clamped = |value: f32| if relu && value <= 0.0 { 0.0 } else { value };
    let expected = floats.iter().map(|value| code(element, f64::from(clamped(*value))));
    same(&got, expected, element, |i| format!("{:?} ({:#010x})", floats[i], words[i]))
}

/// Codes of all kinds: f16 of any exponent, bf16 of exponents that whole numbers of 128 bits can hold the products of.
fn operands(element: Element, seed: u64, count: usize) -> Vec<u16> {
    let mut random = Random::new(seed);
    let exponents = |random: &mut Random| match element {
        Element::Bf16 => ((127 - 20 + random.below(41)) << 7) as u16 | random.bits() as u16 & 0x807f,
        _ => random.bits() as u16,
    };
    (0..count).map(|_| exponents(&mut random)).collect()
}

/// Fraction bits of the whole numbers that stand for operands.
const FRACTION: i32 = 32;

/// relu(x·y + z) rounded to nearest even, in whole numbers; none where an operand is not finite.
fn exact_affine(element: Element, operands: [u16; 3]) -> Option<f64> {
    let [x, y, z] = operands.map(|code| f64::from(value(element, code)));
    if !(x.is_finite() && y.is_finite() && z.is_finite()) {
        return None;
    }
    // Every operand is a multiple of 2^-32: f16 down to 2^-24, the bf16 above down to 2^-27.
    let whole = |value: f64| (value * f64::from(FRACTION).exp2()) as i128;
    let sum = whole(x) * whole(y) + (whole(z) << FRACTION);
    if sum <= 0 {
        return Some(0.0);
    }
    let (digits, lowest) = if element == Element::F16 { (11, -24) } else { (8, -133) };
    let top = 127 - sum.leading_zeros() as i32 - 2 * FRACTION;
    let unit = (top - digits + 1).max(lowest);
    let shift = unit + 2 * FRACTION;
    if shift <= 0 {
        return Some(sum as f64 * f64::from(-2 * FRACTION).exp2());
    }
    let (kept, rest, half) = (sum >> shift, sum & ((1 << shift) - 1), 1i128 << (shift - 1));
    let up = rest > half || rest == half && kept & 1 == 1;
    Some((kept + i128::from(up)) as f64 * f64::from(unit).exp2())
}

fn affine(gpu: &Gpu, element: Element) -> Result<Checked, String> {
    const COUNT: usize = 200_000;
    let mut codes = [1, 2, 3].map(|seed| operands(element, seed, COUNT));
    // Sums near ties: z is minus the rounded product, plus a little.
    for i in (0..COUNT).step_by(3) {
        let product = f64::from(value(element, codes[0][i])) * f64::from(value(element, codes[1][i]));
        let near = code(element, -product);
        if element == Element::F16 || (127 - 20..=127 + 20).contains(&(near >> 7 & 0xff)) {
            codes[2][i] = near;
        }
    }
    let words = codes.each_ref().map(|codes| pairs(codes));
    let got = halves(&run(gpu, element, Operation::AffineRelu, [&words[0], &words[1], &words[2]], COUNT / 2, COUNT / 2)?);
    let mut compared = 0;
    for (i, &got) in got.iter().enumerate() {
        let operands = [codes[0][i], codes[1][i], codes[2][i]];
        let expected = match exact_affine(element, operands) {
            Some(value) => code(element, value),
            None => special_affine(element, operands),
        };
        if got != expected {
            return Err(format!(
                "relu({:#06x} · {:#06x} + {:#06x}) is {got:#06x} instead of {expected:#06x}",
                operands[0], operands[1], operands[2]
            ));
        }
        compared += 1;
    }
    Ok(Checked::exact(compared))
}

/// The same where infinities and NaN decide.
fn special_affine(element: Element, operands: [u16; 3]) -> u16 {
    let [x, y, z] = operands.map(|code| f64::from(value(element, code)));
    let sum = x * y + z;
    if sum.is_nan() { CANONICAL_NAN } else { code(element, sum.max(0.0)) }
}

fn larger(gpu: &Gpu, element: Element) -> Result<Checked, String> {
    const COUNT: usize = 100_000;
    let mut codes = [4, 5].map(|seed| operands(element, seed, COUNT));
    let special = [0x0000, 0x8000, code(element, f64::INFINITY), code(element, f64::NEG_INFINITY), CANONICAL_NAN, 0xffff];
    for i in 0..36 {
        codes[0][i] = special[i / 6];
        codes[1][i] = special[i % 6];
    }
    let words = codes.each_ref().map(|codes| pairs(codes));
    let got = halves(&run(gpu, element, Operation::Max, [&words[0], &words[1], &[]], COUNT / 2, COUNT / 2)?);
    let expected = codes[0].iter().zip(&codes[1]).map(|(&a, &b)| {
        let (x, y) = (value(element, a), value(element, b));
        match () {
            () if x.is_nan() || y.is_nan() => CANONICAL_NAN,
            // +0 is larger than -0.
            () if x == y => a & b,
            () if x > y => a,
            () => b,
        }
    });
    same(&got, expected, element, |i| format!("the larger of {:#06x} and {:#06x}", codes[0][i], codes[1][i]))
}
