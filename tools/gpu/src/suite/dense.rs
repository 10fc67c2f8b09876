//! The cases of `kernels/cuda/dense.cu`.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    Vec::new()
}
