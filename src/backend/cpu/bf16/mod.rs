//! The 2-D network over bf16: slabs, mid maps and the weights of dense layers and transitions are bf16, sums and norms float32. The stem is fp32's,
//! which rounds each of its rows into the slab; the fp32 steps at the end (segmentation heads, attention pooling) get their maps converted; recurrence and classifier are those of fp32.
//!
//! The steps are those of fp32, [`Op::Dense`](super::program::Op) and so on: their ranges of packed weights are shorter where these hold bf16.

mod pack;
mod program;
mod run;

pub(super) use pack::{pack_dense, pack_transition};
pub(super) use program::stage;
