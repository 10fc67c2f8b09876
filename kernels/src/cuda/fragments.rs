//! Fragment layouts, matrix loads and clusters by themselves, for tests on a device.

use super::Element;
use super::arguments::{Geometry, address, arguments, launch, narrow};
use super::gpu::{GpuError, GpuErrorKind, Result, Span, Stream};

/// Words that every block of [`exchange`] writes: its rank, the cluster's size, 32 that it read, 32 that were written to it.
pub const EXCHANGED_WORDS: usize = 66;

/// Shared memory of `fragments_mma`: tiles of 16 and 8 rows of 48 bytes, and one of 16 rows of 16.
const TILES_BYTES: u32 = 24 * 48 + 256;

/// How the operands of a product of one warp reach its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operands {
    /// From global memory, each lane its own.
    Direct,
    /// By ldmatrix.
    Loaded,
    /// By ldmatrix, b transposed on the way.
    Transposed,
}

/// How b lies in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Core matrices next to each other along k.
    AlongK,
    /// Core matrices next to each other along n.
    AlongN,
    /// Rows of 128 bytes, swizzled.
    Swizzled,
}

arguments! {
    /// The twin of `FragmentProductArguments` in `fragments.cu`.
    struct ProductArguments {
        a: u64,
        b: u64,
        d: u64,
        variant: u32,
        unused: u32,
    }
}

arguments! {
    /// The twin of `FragmentLoadArguments` in `fragments.cu`.
    struct LoadArguments {
        rows: u64,
        out: u64,
    }
}

arguments! {
    /// The twin of `FragmentClusterArguments` in `fragments.cu`.
    struct ClusterArguments {
        out: u64,
    }
}

/// a `[problems][m][k]`, b `[problems][n][k]` and d `[problems][m][n]`, which is float32.
#[derive(Clone, Copy, Debug)]
pub struct Problems<'a> {
    /// f16 or bf16.
    pub element: Element,
    /// How many.
    pub count: usize,
    /// First factors.
    pub a: Span<'a>,
    /// Second factors.
    pub b: Span<'a>,
    /// Products.
    pub d: Span<'a>,
}

impl Problems<'_> {
    fn arguments(&self, [m, n, k]: [usize; 3], variant: u32) -> Result<ProductArguments> {
        let bytes = self.element.bytes() * self.count * k;
        Ok(ProductArguments {
            a: address(self.a, m * bytes, "a of the products")?,
            b: address(self.b, n * bytes, "b of the products")?,
            d: address(self.d, 4 * self.count * m * n, "d of the products")?,
            variant,
            unused: 0,
        })
    }
}

fn refuse<T>(message: String) -> Result<T> {
    Err(GpuError::new(GpuErrorKind::Failed, message))
}

/// Queues products of 16×16 by 16×8, one warp each. The memory behind the spans must live until the stream is done.
///
/// # Errors
/// `Failed` when a span is too short, for float32 elements, or from the launch.
pub fn multiply(stream: &mut dyn Stream, problems: &Problems<'_>, operands: Operands) -> Result<()> {
    let kernel = match problems.element {
        Element::F16 => "fragments_mma_f16",
        Element::Bf16 => "fragments_mma_bf16",
        Element::F32 => return refuse("tensor cores multiply f16 or bf16 here".to_owned()),
    };
    let arguments = problems.arguments([16, 8, 16], operands as u32)?;
    let geometry = Geometry { grid: [narrow(problems.count, "products")?, 1, 1], block: 32, cluster: 1, shared_bytes: TILES_BYTES };
    // SAFETY: the struct is the kernel's, and every span was checked for what the kernel touches.
    unsafe { launch(stream, kernel, geometry, &arguments) }
}

/// Queues products of 64×64 by 64×`n`, one warpgroup each: compute capability 9.0 and no other; f16 with n = 8, 32, 128, bf16 with 16, 64, 96.
/// The memory behind the spans must live until the
/// stream is done.
///
/// # Errors
/// `Failed` when a span is too short, for float32 elements or an `n` that has no kernel, or from the launch.
pub fn multiply_asynchronously(stream: &mut dyn Stream, problems: &Problems<'_>, n: usize, layout: Layout) -> Result<()> {
    let kernel = match (problems.element, n) {
        (Element::F16, 8) => "fragments_wgmma_f16_n8",
        (Element::F16, 32) => "fragments_wgmma_f16_n32",
        (Element::F16, 128) => "fragments_wgmma_f16_n128",
        (Element::Bf16, 16) => "fragments_wgmma_bf16_n16",
        (Element::Bf16, 64) => "fragments_wgmma_bf16_n64",
        (Element::Bf16, 96) => "fragments_wgmma_bf16_n96",
        (element, n) => return refuse(format!("no warpgroup multiplies {} by {n} columns here", element.suffix())),
    };
    let arguments = problems.arguments([64, n, 64], layout as u32)?;
    let shared_bytes = 128 * n as u32;
    let geometry = Geometry { grid: [narrow(problems.count, "products")?, 1, 1], block: 128, cluster: 1, shared_bytes };
    // SAFETY: the struct is the kernel's, and every span was checked for what the kernel touches.
    unsafe { launch(stream, kernel, geometry, &arguments) }
}

/// Queues the four forms of ldmatrix on 32 `rows` of eight 16-bit elements; `out` is u32 `[form][lane][4]`. The memory behind the spans must live
/// until the stream is done.
///
/// # Errors
/// `Failed` when a span is too short or from the launch.
pub fn load(stream: &mut dyn Stream, rows: Span<'_>, out: Span<'_>) -> Result<()> {
    let arguments = LoadArguments { rows: address(rows, 512, "rows of matrices")?, out: address(out, 4 * 4 * 32 * 4, "loaded registers")? };
    let geometry = Geometry { grid: [1, 1, 1], block: 32, cluster: 1, shared_bytes: 512 };
    // SAFETY: the struct is the kernel's, and both spans were checked for what the kernel touches.
    unsafe { launch(stream, "fragments_ldmatrix", geometry, &arguments) }
}

/// Queues `clusters` clusters of `size` blocks whose blocks read and write their neighbour's shared memory: compute capability 9.0 and later.
/// `out` is u32 `[clusters · size][EXCHANGED_WORDS]`; the memory behind it must live until the stream is done.
///
/// # Errors
/// `Failed` when the span is too short or from the launch.
pub fn exchange(stream: &mut dyn Stream, clusters: usize, size: u32, out: Span<'_>) -> Result<()> {
    let blocks = clusters * size as usize;
    let arguments = ClusterArguments { out: address(out, 4 * EXCHANGED_WORDS * blocks, "exchanged words")? };
    let geometry = Geometry { grid: [narrow(blocks, "clusters")?, 1, 1], block: 32, cluster: size, shared_bytes: 256 };
    // SAFETY: the struct is the kernel's, and the span was checked for what the kernel touches.
    unsafe { launch(stream, "fragments_cluster", geometry, &arguments) }
}
