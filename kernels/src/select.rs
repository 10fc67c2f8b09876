//! Which kernels this machine runs, and why not the others: printable, for `radnet devices`.

use crate::isa::{Isa, refusal};
use std::fmt;

/// The choice for one family of kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// "1×1 fp32".
    pub family: &'static str,
    /// Name and tile of what runs.
    pub chosen: String,
    /// Better tiers that do not run here, each with the reason.
    pub refused: Vec<(&'static str, String)>,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.family, self.chosen)?;
        self.refused.iter().try_for_each(|(name, reason)| write!(f, "; not {name}: {reason}"))
    }
}

/// Families with the tile of each tier, in the order of [`Isa::NAMES`].
const FAMILIES: [(&str, [&str; 5]); 10] = [
    ("1×1 fp32", ["6×4 zmm", "6×4 zmm", "6×2 ymm", "6×4 q", "6×2 arrays of 8"]),
    (
        "3×3 fp32",
        [
            "Winograd F(4×4), 12×2 zmm",
            "Winograd F(4×4), 12×2 zmm",
            "Winograd F(4×4), 6×2 ymm",
            "Winograd F(4×4), 6×4 q",
            "Winograd F(4×4), 6×2 arrays of 8",
        ],
    ),
    ("stem fp32", ["6×4 zmm", "6×4 zmm", "6×2 ymm", "6×4 q", "6×2 arrays of 8"]),
    ("attention and segmentation fp32", ["12×1 zmm", "12×1 zmm", "6×2 ymm", "6×4 q", "6×2 arrays of 8"]),
    ("recurrence fp32", ["1×4 zmm", "1×4 zmm", "1×8 ymm", "1×16 q", "1×8 arrays of 8"]),
    ("1×1 bf16", ["6×4 zmm, pairs", "6×4 zmm, widened", "6×2 ymm, widened", "6×4 q, widened", "6×2 arrays of 8, widened"]),
    (
        "3×3 bf16",
        [
            "Winograd F(4×4), 12×2 zmm, pairs",
            "Winograd F(4×4), 12×2 zmm, widened",
            "Winograd F(4×4), 6×2 ymm, widened",
            "Winograd F(4×4), 6×4 q, widened",
            "Winograd F(4×4), 6×2 arrays of 8, widened",
        ],
    ),
    ("1×1 int8", ["6×2 ymm", "6×2 ymm", "6×2 ymm", "6×4 q", "6×2 arrays of 8"]),
    (
        "3×3 int8",
        [
            "integer Winograd F(4×4), 6×2 ymm",
            "integer Winograd F(4×4), 6×2 ymm",
            "integer Winograd F(4×4), 6×2 ymm",
            "integer Winograd F(4×4), 6×4 q",
            "integer Winograd F(4×4), 6×2 arrays of 8",
        ],
    ),
    ("exp, σ, tanh fp32", ["16 lanes", "16 lanes", "8 lanes", "8 lanes", "8 lanes"]),
];

/// What `isa` runs, family by family; tiers better than it are refused because the machine lacks them or because `isa` was asked for.
pub fn choices(isa: Isa) -> Vec<Choice> {
    let rank = Isa::NAMES.iter().position(|n| *n == isa.name()).unwrap_or(Isa::NAMES.len() - 1);
    let better = || Isa::NAMES[..rank].iter();
    let reason = |name: &str| refusal(name).unwrap_or_else(|| format!("{} was asked for", isa.name()));
    FAMILIES
        .iter()
        .map(|(family, tiles)| Choice {
            family,
            chosen: format!("{} ({})", isa.name(), tiles[rank]),
            refused: better().map(|name| (*name, reason(name))).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every better tier is refused with a reason, in every family, and the line names what runs.
    #[test]
    fn refusals_have_reasons() {
        for (rank, isa) in Isa::NAMES.iter().enumerate().filter_map(|(i, n)| Some((i, Isa::by_name(n)?))) {
            for choice in choices(isa) {
                assert_eq!(choice.refused.len(), rank);
                assert!(choice.refused.iter().all(|(_, reason)| !reason.is_empty()));
                assert!(choice.to_string().contains(isa.name()));
            }
        }
    }
}
