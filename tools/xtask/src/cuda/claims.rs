//! What the kernels are said to be made of, checked against their machine code, and the spills that are allowed.

/// Kernels whose names begin with `kernel`, but for those that compute in float32, hold each of `instructions` on `target`.
pub(super) struct Claim {
    pub kernel: &'static str,
    pub target: &'static str,
    pub instructions: &'static [&'static str],
}

impl Claim {
    /// Whether it is about this kernel.
    pub(super) fn covers(&self, kernel: &str) -> bool {
        kernel.starts_with(self.kernel) && !kernel.ends_with("_f32")
    }
}

/// HMMA: tensor cores of a warp. LDSM: whole tiles from shared memory. LDGSTS: copies to shared memory that pass by the registers.
/// HGMMA: tensor cores of four warps. UBLKCP: bulk copies, here to all blocks of a cluster.
pub(super) const CLAIMS: &[Claim] = &[
    Claim { kernel: "roof_mma", target: "sm_80", instructions: &["HMMA"] },
    Claim { kernel: "stem_", target: "sm_80", instructions: &["HMMA", "LDSM", "LDGSTS"] },
    Claim { kernel: "dense_r", target: "sm_80", instructions: &["HMMA", "LDSM", "LDGSTS"] },
    Claim { kernel: "dense_sm90_", target: "sm_90a", instructions: &["HGMMA", "LDSM", "LDGSTS", "UBLKCP"] },
    Claim { kernel: "transition_", target: "sm_80", instructions: &["HMMA", "LDSM", "LDGSTS"] },
    Claim { kernel: "fragments_wgmma_", target: "sm_90a", instructions: &["HGMMA"] },
    Claim { kernel: "roof_wgmma_", target: "sm_90a", instructions: &["HGMMA"] },
    Claim { kernel: "recurrent_cluster_", target: "sm_90a", instructions: &["HMMA"] },
];

/// Kernels that may spill on a target, and why that was accepted.
pub(super) const ALLOWED_SPILLS: &[(&str, &str, &str)] = &[];
