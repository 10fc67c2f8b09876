//! The document of expected counts.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// What is counted; a part that could not be counted is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// `rustc --version`: another compiler makes other code.
    pub compiler: String,
    /// Instructions of one run by tier and workload.
    pub instructions: BTreeMap<String, BTreeMap<String, u64>>,
    /// The innermost loops that multiply and add, by tier and kernel.
    pub loops: BTreeMap<String, BTreeMap<String, Loops>>,
}

/// The innermost loops of a kernel that multiply and add, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loops {
    /// How many.
    pub loops: u64,
    /// Multiply-add instructions of vectors.
    pub multiply_adds: u64,
    /// Instructions that read memory.
    pub loads: u64,
    /// Instructions that read or write the stack.
    pub stack: u64,
}

impl Counts {
    /// Reads the document.
    ///
    /// # Errors
    /// When it cannot be read or is something else.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Writes the document.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|e| e.to_string())?;
        std::fs::write(path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))
    }

    /// How much was counted, in words.
    pub fn summary(&self) -> String {
        let workloads: usize = self.instructions.values().map(BTreeMap::len).sum();
        let kernels: Vec<&Loops> = self.loops.values().flat_map(BTreeMap::values).collect();
        let stack: u64 = kernels.iter().map(|l| l.stack).sum();
        format!(
            "instructions of {workloads} workloads, loops of {} kernels with {stack} accesses of the stack, {}",
            kernels.len(),
            self.compiler
        )
    }
}
