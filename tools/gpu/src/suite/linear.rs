//! The cases of `kernels/cuda/linear.cu`.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    Vec::new()
}
