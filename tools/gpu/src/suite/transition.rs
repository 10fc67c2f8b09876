//! The cases of `kernels/cuda/transition.cu`.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    Vec::new()
}
