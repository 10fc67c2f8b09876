//! The committed machine code is that of the sources in this tree: compared by hashes, without any compiler.

/// A kernel that was changed without `cargo xtask cuda` would be tested by the emulation and not be what users run.
#[test]
fn prebuilt_kernels_are_those_of_the_sources() {
    let complaints = xtask::cuda::fresh().expect("the manifest can be read");
    assert!(complaints.is_empty(), "run `cargo xtask cuda`:\n{}", complaints.join("\n"));
}
