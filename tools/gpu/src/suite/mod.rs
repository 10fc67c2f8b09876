//! The cases, one module per kernel family.

mod attention;
mod dense;
mod fragments;
mod functions;
mod linear;
mod memory;
mod numbers;
mod recurrent;
mod resample;
mod roofs;
mod segmentation;
mod stem;
pub mod support;
mod transition;

use std::sync::Arc;

use radnet_kernels::cuda::Gpu;

pub use support::Checked;

/// What a case does on a device: the figures of what was compared, or one sentence that says what is wrong.
pub type Run = Box<dyn Fn(&Arc<dyn Gpu>) -> Result<Checked, String> + Send + Sync>;

/// One check of one kernel at one shape.
pub struct Case {
    /// The kernel family: "dense".
    pub family: &'static str,
    /// Element type and shape, in words: "f16, 7×7, 992 + 32 channels, 3 slices".
    pub name: String,
    /// Runs it.
    pub run: Run,
}

impl Case {
    /// A case of `family`.
    pub fn new(
        family: &'static str,
        name: impl Into<String>,
        run: impl Fn(&Arc<dyn Gpu>) -> Result<Checked, String> + Send + Sync + 'static,
    ) -> Self {
        Self { family, name: name.into(), run: Box::new(run) }
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.family, self.name)
    }
}

/// Every case.
pub fn all() -> Vec<Case> {
    let families = [
        memory::cases(),
        fragments::cases(),
        numbers::cases(),
        functions::cases(),
        roofs::cases(),
        stem::cases(),
        dense::cases(),
        transition::cases(),
        attention::cases(),
        segmentation::cases(),
        linear::cases(),
        recurrent::cases(),
        resample::cases(),
    ];
    families.into_iter().flatten().collect()
}
