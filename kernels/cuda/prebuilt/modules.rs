// Made by `cargo xtask cuda`.
&[
    Module { family: "roofs", target: "sm_80", image: include_bytes!("roofs.sm_80.cubin"), kernels: &["roof_copy", "roof_mma_bf16", "roof_mma_f16"] },
    Module { family: "roofs", target: "sm_86", image: include_bytes!("roofs.sm_86.cubin"), kernels: &["roof_copy", "roof_mma_bf16", "roof_mma_f16"] },
    Module { family: "roofs", target: "sm_90a", image: include_bytes!("roofs.sm_90a.cubin"), kernels: &["roof_copy", "roof_mma_bf16", "roof_mma_f16"] },
    Module { family: "roofs", target: "sm_100a", image: include_bytes!("roofs.sm_100a.cubin"), kernels: &["roof_copy", "roof_mma_bf16", "roof_mma_f16"] },
    Module { family: "roofs", target: "sm_120", image: include_bytes!("roofs.sm_120.cubin"), kernels: &["roof_copy", "roof_mma_bf16", "roof_mma_f16"] },
    Module { family: "roofs", target: "compute_80", image: include_bytes!("roofs.compute_80.ptx"), kernels: &["roof_copy", "roof_mma_bf16", "roof_mma_f16"] },
]
