//! The emulator must find what is wrong: every planted bug ends in an error that says what, or in a wrong result; the twin without the bug is
//! right under all seeds tried.

mod support;

use radnet_emulation::Options;
use support::{SEEDS, Shape, device, is_noticed, is_refused, is_right, is_wrong, options, ramp, run, run_overlapping};

const EXCHANGE: Shape = Shape { kernel: "planted_missing_barrier", blocks: 1, threads: 128, cluster: 1, shared_bytes: 512 };
const DIVERGENCE: Shape = Shape { kernel: "planted_divergence", blocks: 1, threads: 128, cluster: 1, shared_bytes: 512 };
const STAGE: Shape = Shape { kernel: "planted_stage", blocks: 1, threads: 128, cluster: 1, shared_bytes: 4 * (256 + 8) };
const TWO_GROUPS: Shape = Shape { kernel: "planted_two_groups", blocks: 1, threads: 32, cluster: 1, shared_bytes: 1024 };
const CLUSTER: Shape = Shape { kernel: "planted_cluster", blocks: 4, threads: 64, cluster: 2, shared_bytes: 512 };
const PRODUCT: Shape = Shape { kernel: "planted_product", blocks: 1, threads: 128, cluster: 1, shared_bytes: 272 };
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(sanitized)))]
const FAULT: Shape = Shape { kernel: "planted_fault", blocks: 1, threads: 64, cluster: 1, shared_bytes: 0 };
const OVERLAP: Shape = Shape { kernel: "planted_overlap", blocks: 4, threads: 64, cluster: 1, shared_bytes: 0 };

#[test]
fn a_missing_barrier_shows_in_the_result() {
    let x = ramp(256);
    let expected: Vec<f32> = x.chunks(128).flat_map(|half| half.iter().rev().copied()).collect();
    is_right(EXCHANGE, &x, &expected);
    is_wrong(EXCHANGE, 1, &x, &expected);
    is_wrong(EXCHANGE, 2, &x, &expected);
}

#[test]
fn lanes_and_threads_that_do_not_come_are_named() {
    let x = ramp(128);
    let expected: Vec<f32> = x.chunks(32).flat_map(|warp| vec![warp.iter().sum(); 32]).collect();
    is_right(DIVERGENCE, &x, &expected);
    is_refused(DIVERGENCE, 1, &x, &expected, &["__shfl_xor_sync at barriers.cu:"]);
    is_refused(DIVERGENCE, 2, &x, &expected, &["divergent", "__syncthreads at barriers.cu:"]);
    is_refused(DIVERGENCE, 3, &x, &expected, &["exit", "barriers.cu:"]);
    is_refused(DIVERGENCE, 4, &x, &expected, &["which the mask 0xffff leaves out"]);
}

#[test]
fn asynchronous_copies_land_only_when_they_are_waited_for() {
    let x = ramp(256);
    let at = |i: i32| usize::try_from(i).ok().and_then(|i| x.get(i)).copied().unwrap_or(0.0);
    let expected: Vec<f32> = (0..256).map(|i| at(i - 1) + at(i) + at(i + 1)).collect();
    is_right(STAGE, &x, &expected);
    is_wrong(STAGE, 1, &x, &expected);
    let reversed: Vec<f32> = x.chunks(128).flat_map(|half| half.chunks(4).rev().flatten().copied()).collect();
    is_right(TWO_GROUPS, &x, &reversed);
    is_wrong(TWO_GROUPS, 1, &x, &reversed);
}

#[test]
fn unwritten_shared_memory_and_accesses_outside_are_found() {
    let x = ramp(256);
    let at = |i: i32| usize::try_from(i).ok().and_then(|i| x.get(i)).copied().unwrap_or(0.0);
    let expected: Vec<f32> = (0..256).map(|i| at(i - 1) + at(i) + at(i + 1)).collect();
    is_wrong(STAGE, 2, &x, &expected);
    is_refused(STAGE, 3, &x, &expected, &["cp_async16 at memory.cu:", "writes byte 1056 of 1056 of shared memory"]);
    is_refused(STAGE, 5, &x, &expected, &["cp_async16 at memory.cu:", "not in global memory"]);
    is_refused(STAGE, 6, &x, &expected, &["not multiples of 16"]);
    // Under the address sanitizer these end the process.
    if cfg!(not(sanitized)) {
        is_refused(STAGE, 4, &x, &expected, &["wrote byte 1056 of its 1056 bytes of shared memory"]);
        is_refused(STAGE, 7, &x, &expected, &["byte 1024 of an allocation of 1024 was written"]);
    }
}

#[test]
fn what_blocks_of_a_cluster_do_too_early_or_too_late_is_found() {
    let x = ramp(256);
    let expected: Vec<f32> = x.chunks(128).flat_map(|pair| [&pair[64..96], &pair[96..], &pair[..32], &pair[32..64]].concat()).collect();
    is_right(CLUSTER, &x, &expected);
    is_noticed(CLUSTER, 1, &x, &expected);
    is_noticed(CLUSTER, 2, &x, &expected);
    is_refused(CLUSTER, 3, &x, &expected, &["exit", "clusters.cu:"]);
    is_refused(CLUSTER, 4, &x, &expected, &["written to by its cluster after it had exited"]);
    is_refused(CLUSTER, 5, &x, &expected, &["arrives twice"]);
    is_refused(CLUSTER, 6, &x, &expected, &["has no block 9"]);
}

#[test]
fn a_matrix_product_lands_only_when_it_is_waited_for() {
    let x = ramp(8);
    let expected: Vec<f32> = (0..64).flat_map(|_| x.iter().map(|x| 16.0 * x)).collect();
    is_right(PRODUCT, &x, &expected);
    is_wrong(PRODUCT, 1, &x, &expected);
    is_noticed(PRODUCT, 2, &x, &expected);
    is_refused(PRODUCT, 3, &x, &expected, &["no wgmma_fence"]);
    is_refused(PRODUCT, 4, &x, &expected, &["fence_proxy_async"]);
    is_noticed(PRODUCT, 5, &x, &expected);
    is_refused(PRODUCT, 6, &x, &expected, &["different b"]);
    is_refused(PRODUCT, 7, &x, &expected, &["has not been waited for"]);
    is_refused(PRODUCT, 8, &x, &expected, &["written before the product was waited for"]);
}

#[test]
fn compute_capability_8_0_has_neither_clusters_nor_asynchronous_products() {
    let Some(gpu) = device(Options::ampere()) else { return };
    let x = ramp(256);
    let message = |shape| run(&gpu, shape, 0, &x, 512).expect_err("8.0 has no such thing").message;
    assert!(message(CLUSTER).contains("clusters need compute capability 9.0"));
    assert!(message(Shape { cluster: 1, ..CLUSTER }).contains("needs compute capability 9.0"));
    assert!(message(PRODUCT).contains("needs compute capability 9.0"));
}

#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(sanitized)))]
fn what_would_end_the_process_ends_the_launch() {
    let x = ramp(64);
    is_right(FAULT, &x, &x);
    is_refused(FAULT, 1, &x, &x, &["thread 5 of block (0, 0, 0): touches the address 0x40"]);
    is_refused(FAULT, 2, &x, &x, &["thread 5 of block (0, 0, 0): uses more than"]);
    is_refused(FAULT, 3, &x, &x, &["thread 5 of block (0, 0, 0): divides by zero"]);
}

#[test]
fn a_launch_that_overlaps_another_sees_what_it_wrote_only_after_the_wait() {
    let x = ramp(256);
    let expected: Vec<f32> = x.iter().map(|x| x + 4.0).collect();
    let results =
        |bug| SEEDS.map_while(move |seed| device(options(seed)).map(|gpu| run_overlapping(&gpu, OVERLAP, &[0, 0, bug, 0], &ramp(256))));
    assert!(results(0).all(|y| y.is_ok_and(|y| y == expected)));
    let early: Vec<_> = results(1).collect();
    assert!(early.is_empty() || early.iter().any(|y| y.as_ref().is_ok_and(|y| *y != expected)), "an early read goes unnoticed");
    assert!(results(2).all(|y| y.is_err_and(|error| error.message.contains("no thread calls grid_dependency_wait"))));
}

#[test]
#[cfg(sanitized)]
fn the_address_sanitizer_names_the_kernels_line() {
    for test in ["past_shared_memory", "past_an_allocation"] {
        let program = std::env::current_exe().expect("a test knows its program");
        let run = std::process::Command::new(program).args(["--ignored", "--exact", test]).output().expect("it runs again");
        let words = String::from_utf8_lossy(&run.stderr);
        assert!(!run.status.success() && words.contains("AddressSanitizer") && words.contains("memory.cu:"), "{words}");
    }
}

#[test]
#[cfg(sanitized)]
#[ignore = "ends the process"]
fn past_shared_memory() {
    support::outcomes(STAGE, 4, &ramp(256), &ramp(256));
}

#[test]
#[cfg(sanitized)]
#[ignore = "ends the process"]
fn past_an_allocation() {
    support::outcomes(STAGE, 7, &ramp(256), &ramp(256));
}
