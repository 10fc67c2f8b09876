//! The cases of `kernels/cuda/segmentation.cu`.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    Vec::new()
}
