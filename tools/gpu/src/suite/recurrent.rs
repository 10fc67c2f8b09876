//! The cases of `kernels/cuda/recurrent.cu`.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    Vec::new()
}
