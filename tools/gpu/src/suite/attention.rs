//! The cases of `kernels/cuda/attention.cu`.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    Vec::new()
}
