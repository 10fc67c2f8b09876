//! HU slices → planes of the network's size on the device, to the bits of the host's float64 resampling.

use super::arguments::{Geometry, address, arguments, launch, narrow};
use super::gpu::{GpuError, GpuErrorKind, Result, Span, Stream};

const THREADS: usize = 256;
/// Bytes of an output's entry in the tap tables.
const TAP_BYTES: usize = 12;

/// Sizes of a resampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResampleShape {
    /// Rows of the slices.
    pub source_rows: usize,
    /// Columns of the slices.
    pub source_columns: usize,
    /// Rows of the planes.
    pub rows: usize,
    /// Columns of the planes.
    pub columns: usize,
}

/// The taps of both axes, ready for the device: `row_taps`, `column_taps` and `weights` are pieces of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ResampleTables {
    /// Everything, each piece at a multiple of 16 bytes.
    pub bytes: Vec<u8>,
    rows_at: usize,
    columns_at: usize,
    weights_at: usize,
}

/// What a resampling reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct ResampleBuffers<'a> {
    /// int16 \[capacity, source_rows, source_columns\].
    pub source: Span<'a>,
    /// f32 \[capacity, rows, columns\].
    pub planes: Span<'a>,
    /// [`ResampleTables::bytes`] on the device.
    pub tables: Span<'a>,
    /// Two u32, of which the second is the number of planes.
    pub position: Span<'a>,
    /// Planes that source and planes have room for.
    pub capacity: usize,
}

impl ResampleShape {
    /// Packs the taps: `row(y)` and `column(x)` are the first source pixel and the weights of an output, none where it is padding.
    ///
    /// # Errors
    /// `Failed` when a tap lies outside the source.
    pub fn pack<'w>(
        &self,
        row: impl Fn(usize) -> Option<(usize, &'w [f64])>,
        column: impl Fn(usize) -> Option<(usize, &'w [f64])>,
    ) -> Result<ResampleTables> {
        let (mut bytes, mut weights) = (Vec::new(), Vec::new());
        let mut put = |taps: Option<(usize, &[f64])>, source: usize| {
            let (first, own) = taps.unwrap_or((0, &[]));
            if first + own.len() > source {
                return Err(GpuError::new(GpuErrorKind::Failed, format!("taps {first} to {} of {source} pixels", first + own.len())));
            }
            for word in [first, own.len(), weights.len()] {
                bytes.extend_from_slice(&narrow(word, "resampling taps")?.to_le_bytes());
            }
            weights.extend_from_slice(own);
            Ok(())
        };
        (0..self.rows).try_for_each(|y| put(row(y), self.source_rows))?;
        (0..self.columns).try_for_each(|x| put(column(x), self.source_columns))?;
        let weights_at = bytes.len().next_multiple_of(16);
        bytes.resize(weights_at, 0);
        bytes.extend(weights.iter().flat_map(|w| w.to_le_bytes()));
        Ok(ResampleTables { bytes, rows_at: 0, columns_at: TAP_BYTES * self.rows, weights_at })
    }
}

arguments! {
    /// The twin of `ResampleArguments` in `resample.cu`.
    struct ResampleArguments {
        source: u64,
        planes: u64,
        row_taps: u64,
        column_taps: u64,
        weights: u64,
        position: u64,
        source_rows: u32,
        source_columns: u32,
        rows: u32,
        columns: u32,
        outside: f32,
        reserved: u32,
    }
}

/// Queues a resampling; padding becomes `outside` HU. The memory behind the spans must live until the stream is done.
///
/// # Errors
/// `Failed` when a span is too short or the launch fails.
pub fn resample(
    stream: &mut dyn Stream,
    shape: &ResampleShape,
    outside: f32,
    tables: &ResampleTables,
    buffers: &ResampleBuffers<'_>,
) -> Result<()> {
    let (source, plane) = (shape.source_rows * shape.source_columns, shape.rows * shape.columns);
    let entries = address(buffers.tables, tables.bytes.len(), "resampling tables")?;
    let arguments = ResampleArguments {
        source: address(buffers.source, 2 * source * buffers.capacity, "HU slices")?,
        planes: address(buffers.planes, 4 * plane * buffers.capacity, "HU planes")?,
        row_taps: entries + tables.rows_at as u64,
        column_taps: entries + tables.columns_at as u64,
        weights: entries + tables.weights_at as u64,
        position: address(buffers.position, 8, "position in the series")?,
        source_rows: narrow(shape.source_rows, "source rows")?,
        source_columns: narrow(shape.source_columns, "source columns")?,
        rows: narrow(shape.rows, "rows")?,
        columns: narrow(shape.columns, "columns")?,
        outside,
        reserved: 0,
    };
    let grid = [narrow(plane.div_ceil(THREADS), "HU planes")?, narrow(buffers.capacity, "HU planes")?, 1];
    let geometry = Geometry { grid, block: THREADS as u32, cluster: 1, shared_bytes: 0 };
    // SAFETY: the struct is the kernel's; the spans were checked for what it touches, and `pack` found every tap inside the source.
    unsafe { launch(stream, "resample", geometry, &arguments) }
}
