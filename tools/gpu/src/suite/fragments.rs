//! The cases of `kernels/cuda/fragments.cu`.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    Vec::new()
}
