//! The cases of `kernels/cuda/stem.cu`.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    Vec::new()
}
