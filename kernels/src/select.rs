//! Which kernels this machine runs, and why not the others: printable, for `radnet devices`.

use crate::integers::{self, Integers};
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
const FAMILIES: [(&str, [&str; 7]); 8] = [
    ("1×1 fp32", ["6×4 zmm", "6×4 zmm", "6×4 zmm", "6×2 ymm", "6×4 q", "6×4 q", "6×2 arrays of 8"]),
    (
        "3×3 fp32",
        [
            "Winograd F(4×4), 12×2 zmm",
            "Winograd F(4×4), 12×2 zmm",
            "Winograd F(4×4), 12×2 zmm",
            "Winograd F(4×4), 6×2 ymm",
            "Winograd F(4×4), 6×4 q",
            "Winograd F(4×4), 6×4 q",
            "Winograd F(4×4), 6×2 arrays of 8",
        ],
    ),
    (
        "stem fp32",
        [
            "Winograd F(4) along rows, 6×4 zmm",
            "Winograd F(4) along rows, 6×4 zmm",
            "Winograd F(4) along rows, 6×4 zmm",
            "Winograd F(4) along rows, 6×2 ymm",
            "Winograd F(4) along rows, 6×4 q",
            "Winograd F(4) along rows, 6×4 q",
            "Winograd F(4) along rows, 6×2 arrays of 8",
        ],
    ),
    ("attention and segmentation fp32", ["12×1 zmm", "12×1 zmm", "12×1 zmm", "6×2 ymm", "6×4 q", "6×4 q", "6×2 arrays of 8"]),
    ("recurrence fp32", ["1×4 zmm", "1×4 zmm", "1×4 zmm", "1×8 ymm", "1×16 q", "1×16 q", "1×8 arrays of 8"]),
    (
        "1×1 bf16",
        [
            "32×32 tiles",
            "6×4 zmm, pairs",
            "6×4 zmm, widened",
            "6×2 ymm, widened",
            "6×4 q, pairs",
            "6×4 q, widened",
            "6×2 arrays of 8, widened",
        ],
    ),
    (
        "3×3 bf16",
        [
            "direct, 32×32 tiles",
            "Winograd F(4×4), 12×2 zmm, pairs",
            "Winograd F(4×4), 12×2 zmm, widened",
            "Winograd F(4×4), 6×2 ymm, widened",
            "Winograd F(4×4), 6×4 q, pairs",
            "Winograd F(4×4), 6×4 q, widened",
            "Winograd F(4×4), 6×2 arrays of 8, widened",
        ],
    ),
    ("exp, σ, tanh fp32", ["16 lanes", "16 lanes", "16 lanes", "8 lanes", "8 lanes", "8 lanes", "8 lanes"]),
];

/// Families over 8-bit codes with the tile of each level, in the order of [`Integers::NAMES`].
const INTEGERS: [(&str, [&str; 10]); 3] = [
    (
        "1×1 int8",
        ["32×32 tiles", "6×4 zmm", "6×4 zmm", "6×2 ymm", "6×2 ymm", "6×4 q", "6×4 q", "6×4 q", "6×2 arrays of 8", "6×2 arrays of 8"],
    ),
    (
        "3×3 int8",
        [
            "direct, 32×32 tiles",
            "integer Winograd F(4×4), 8×2 zmm",
            "integer Winograd F(4×4), 8×2 zmm",
            "integer Winograd F(4×4), 6×2 ymm",
            "integer Winograd F(4×4), 6×2 ymm",
            "integer Winograd F(4×4), 6×4 q",
            "integer Winograd F(4×4), 6×4 q",
            "integer Winograd F(4×4), 6×4 q",
            "integer Winograd F(4×4), 6×2 arrays of 8",
            "direct, 6×2 arrays of 8",
        ],
    ),
    (
        "stem int8",
        [
            "16×32 tiles of bytes",
            "6×4 zmm",
            "6×4 zmm",
            "6×2 ymm",
            "6×2 ymm",
            "6×4 q",
            "6×4 q",
            "6×4 q",
            "6×2 arrays of 8",
            "6×2 arrays of 8",
        ],
    ),
];

/// What `isa` and `level` run, family by family; better ones are refused because the machine lacks them or because this one was asked for.
pub fn choices(isa: Isa, level: Integers) -> Vec<Choice> {
    let floats = FAMILIES.iter().map(|(family, tiles)| choice(family, tiles, (isa.name(), &Isa::NAMES), refusal));
    let integers = INTEGERS.iter().map(|(family, tiles)| choice(family, tiles, (level.name(), &Integers::NAMES), integers::refusal));
    floats.chain(integers).collect()
}

fn choice(family: &'static str, tiles: &[&str], (name, names): (&str, &[&'static str]), refusal: fn(&str) -> Option<String>) -> Choice {
    let rank = names.iter().position(|n| *n == name).unwrap_or(names.len() - 1);
    let reason = |better: &str| refusal(better).unwrap_or_else(|| format!("{name} was asked for"));
    Choice {
        family,
        chosen: format!("{name} ({})", tiles[rank]),
        refused: names[..rank].iter().map(|better| (*better, reason(better))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every better tier is refused with a reason, in every family, and the line names what runs.
    #[test]
    fn refusals_have_reasons() {
        for isa in Isa::available() {
            for level in Integers::available() {
                for choice in choices(isa, level) {
                    let (name, names) =
                        if choice.family.ends_with("int8") { (level.name(), &Integers::NAMES[..]) } else { (isa.name(), &Isa::NAMES[..]) };
                    assert_eq!(names.get(choice.refused.len()), Some(&name));
                    assert!(choice.refused.iter().all(|(_, reason)| !reason.is_empty()));
                    assert!(choice.to_string().contains(name));
                }
            }
        }
    }
}
