//! The cases of `kernels/cuda/fragments.cu`: fragment layouts, matrix loads, asynchronous products and clusters. The operands are whole numbers
//! that a wrong place changes, and the expected results are plain sums on the host, written without any of the layouts.

use super::support::{Bounded, Random, Workbench, compare};
use super::{Case, Checked};
use radnet_kernels::cuda::fragments::{EXCHANGED_WORDS, Layout, Operands, Problems, exchange, load, multiply, multiply_asynchronously};
use radnet_kernels::cuda::{Element, GpuError};
use std::sync::Arc;

type Gpu = Arc<dyn radnet_kernels::cuda::Gpu>;

/// The widths of asynchronous products, each in the element that it is compiled for.
const WIDTHS: [(Element, usize); 6] =
    [(Element::F16, 8), (Element::Bf16, 16), (Element::F16, 32), (Element::Bf16, 64), (Element::Bf16, 96), (Element::F16, 128)];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![Case::new("fragments", "ldmatrix, all four forms", loads)];
    for element in [Element::F16, Element::Bf16] {
        for operands in [Operands::Direct, Operands::Loaded, Operands::Transposed] {
            let name = format!("{}, m16n8k16, operands {operands:?}", element.suffix());
            cases.push(Case::new("fragments", name, move |gpu| products(gpu, element, operands)));
        }
    }
    for (element, n) in WIDTHS {
        for layout in [Layout::AlongK, Layout::AlongN, Layout::Swizzled] {
            let name = format!("{}, m64n{n}k16, b {layout:?}", element.suffix());
            cases.push(Case::new("fragments", name, move |gpu| asynchronous(gpu, element, n, layout)));
        }
    }
    for size in [1, 2, 4, 8] {
        cases.push(Case::new("fragments", format!("clusters of {size}"), move |gpu| clusters(gpu, size)));
    }
    cases
}

/// Many products of one shape.
struct Set {
    shape: [usize; 3],
    a: Vec<f64>,
    b: Vec<f64>,
    count: usize,
}

impl Set {
    fn new(shape: [usize; 3]) -> Self {
        Self { shape, a: Vec::new(), b: Vec::new(), count: 0 }
    }

    fn push(&mut self, mut a: impl FnMut(usize, usize) -> f64, mut b: impl FnMut(usize, usize) -> f64) {
        let [m, n, k] = self.shape;
        self.a.extend((0..m * k).map(|i| a(i / k, i % k)));
        self.b.extend((0..n * k).map(|i| b(i / k, i % k)));
        self.count += 1;
    }

    /// Whole numbers between -8 and 8.
    fn push_random(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        let mut other = Random::new(seed + 1000);
        self.push(|_, _| random.below(17) as f64 - 8.0, |_, _| other.below(17) as f64 - 8.0);
    }

    fn expected(&self) -> Vec<Bounded> {
        let [m, n, k] = self.shape;
        let mut expected = Vec::with_capacity(self.count * m * n);
        for (a, b) in self.a.chunks(m * k).zip(self.b.chunks(n * k)) {
            for a in a.chunks(k) {
                expected.extend(b.chunks(k).map(|b| Bounded::exact(a.iter().zip(b).map(|(a, b)| a * b).sum())));
            }
        }
        expected
    }

    fn check(
        &self,
        gpu: &Gpu,
        element: Element,
        run: impl FnOnce(&mut Workbench, &Problems<'_>) -> Result<(), GpuError>,
    ) -> Result<Checked, String> {
        let [m, n, _] = self.shape;
        let mut bench = Workbench::new(gpu)?;
        let (a, b) = (bench.upload(element, &self.a)?, bench.upload(element, &self.b)?);
        let d = bench.output(4 * self.count * m * n)?;
        run(&mut bench, &Problems { element, count: self.count, a: a.all(), b: b.all(), d: d.all() }).map_err(|error| error.message)?;
        let place = |i: usize| format!("problem {}, row {}, column {}", i / (m * n), i / n % m, i % n);
        compare("products", &bench.download(Element::F32, &d)?, &self.expected(), place)
    }
}

/// Each element of a alone against a b of distinct numbers, the other way round, and random ones.
fn products(gpu: &Gpu, element: Element, operands: Operands) -> Result<Checked, String> {
    let mut set = Set::new([16, 8, 16]);
    let only = |at: usize| move |row: usize, k: usize| f64::from(u8::from(row * 16 + k == at));
    let distinct = |row: usize, k: usize| (row * 16 + k + 1) as f64;
    (0..256).for_each(|at| set.push(only(at), distinct));
    (0..128).for_each(|at| set.push(distinct, only(at)));
    (0..16).for_each(|seed| set.push_random(seed));
    set.check(gpu, element, |bench, problems| multiply(bench.stream(), problems, operands))
}

/// In a, a single one in each row, further along k by one from row to row: d is then a rearranged b, whose numbers tell k, or n.
fn asynchronous(gpu: &Gpu, element: Element, n: usize, layout: Layout) -> Result<Checked, String> {
    if gpu.properties().compute_capability != (9, 0) {
        return Ok(Checked::exact(0));
    }
    let mut set = Set::new([64, n, 64]);
    for shift in [0, 1, 7, 16, 33, 62] {
        let one = |row: usize, k: usize| f64::from(u8::from((row + shift) % 64 == k));
        set.push(one, |_, k| (k + 1) as f64);
        set.push(one, |n, _| (n + 1) as f64);
    }
    (0..4).for_each(|seed| set.push_random(seed));
    set.check(gpu, element, |bench, problems| multiply_asynchronously(bench.stream(), problems, n, layout))
}

/// Element e of row r is 8r + e; what PTX says about who gets which.
fn loads(gpu: &Gpu) -> Result<Checked, String> {
    let mut bench = Workbench::new(gpu)?;
    let rows = bench.upload_bytes(&(0u16..256).flat_map(u16::to_le_bytes).collect::<Vec<_>>())?;
    let out = bench.output(4 * 32 * 4 * 4)?;
    load(bench.stream(), rows.all(), out.all()).map_err(|error| error.message)?;
    let got = bench.download_bytes(&out)?;
    for (i, word) in got.chunks(4).enumerate() {
        let (form, lane, matrix) = (i / 128, i / 4 % 32, i % 4);
        let (matrices, transposed) = [(4, false), (4, true), (2, false), (2, true)][form];
        let element = |half: usize| {
            let (outer, inner) = (lane / 4, 2 * (lane % 4) + half);
            let (row, column) = if transposed { (inner, outer) } else { (outer, inner) };
            (8 * (8 * matrix + row) + column) as u16
        };
        let expected = if matrix < matrices { [element(0), element(1)] } else { [0, 0] };
        let halves = [u16::from_le_bytes([word[0], word[1]]), u16::from_le_bytes([word[2], word[3]])];
        if halves != expected {
            return Err(format!("form {form}, lane {lane}, register {matrix}: {halves:?} instead of {expected:?}"));
        }
    }
    Ok(Checked::exact(2 * got.len() / 4))
}

/// Every block must have read its right neighbour's words, and been written to by its left neighbour.
fn clusters(gpu: &Gpu, size: u32) -> Result<Checked, String> {
    const CLUSTERS: usize = 3;
    if gpu.properties().compute_capability < (9, 0) {
        return Ok(Checked::exact(0));
    }
    let mut bench = Workbench::new(gpu)?;
    let blocks = CLUSTERS * size as usize;
    let out = bench.output(4 * EXCHANGED_WORDS * blocks)?;
    exchange(bench.stream(), CLUSTERS, size, out.all()).map_err(|error| error.message)?;
    let got = bench.download_bytes(&out)?;
    for (i, word) in got.chunks(4).enumerate() {
        let (block, at) = (i / EXCHANGED_WORDS, (i % EXCHANGED_WORDS) as u32);
        let rank = block as u32 % size;
        let expected = match at {
            0 => rank,
            1 => size,
            2..34 => 1000 * ((rank + 1) % size) + at - 2,
            _ => 1000 * ((rank + size - 1) % size) + 500 + at - 34,
        };
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        if word != expected {
            return Err(format!("block {block}, word {at}: {word} instead of {expected}"));
        }
    }
    Ok(Checked::exact(got.len() / 4))
}
