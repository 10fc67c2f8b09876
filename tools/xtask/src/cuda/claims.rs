//! What the kernels are said to be made of, checked against their machine code, and the spills that are allowed.

/// Kernels whose names begin with `kernel`, on `target`, hold each of `instructions`.
pub(super) struct Claim {
    pub kernel: &'static str,
    pub target: &'static str,
    pub instructions: &'static [&'static str],
}

/// HMMA: tensor cores of a warp. LDGSTS: copies to shared memory that pass by the registers. HGMMA: tensor cores of four warps.
pub(super) const CLAIMS: &[Claim] = &[Claim { kernel: "roof_mma", target: "sm_80", instructions: &["HMMA"] }];

/// Kernels that may spill on a target, and why that was accepted.
pub(super) const ALLOWED_SPILLS: &[(&str, &str, &str)] = &[];
