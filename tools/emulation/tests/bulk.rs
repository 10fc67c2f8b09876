//! Planted bugs in what sm_90 does on its own: bulk copies, the barriers that count them, and products that read what they brought.

mod support;

use support::{Shape, is_always_noticed, is_noticed, is_refused, is_right, is_wrong, ramp};

/// Two clusters of two blocks; two stages of 64 floats and four barriers.
const RING: Shape = Shape { kernel: "planted_ring", blocks: 4, threads: 96, cluster: 2, shared_bytes: 2 * 256 + 4 * 8 };
const WEIGHTS: Shape = Shape { kernel: "planted_weights", blocks: 1, threads: 128, cluster: 1, shared_bytes: 256 + 8 };

fn summed(x: &[f32]) -> Vec<f32> {
    let block: Vec<f32> = (0..64).map(|i| x.chunks(64).zip(1..).map(|(stage, weight)| weight as f32 * stage[i]).sum()).collect();
    block.repeat(RING.blocks as usize)
}

#[test]
fn a_ring_of_bulk_copies_is_right() {
    for steps in [1, 2, 3, 5, 8] {
        let x = ramp(64 * steps);
        is_right(RING, &x, &summed(&x));
    }
}

/// The consumers' side of `full`: a wait left out or for the wrong phase, too few bytes expected.
#[test]
fn reading_before_the_copy_has_landed_is_found() {
    let x = ramp(64 * 5);
    is_noticed(RING, 1, &x, &summed(&x));
    is_always_noticed(RING, 2, &x, &summed(&x));
    is_noticed(RING, 8, &x, &summed(&x));
}

/// The consumers' side of `empty`: a slot that is fetched into while a warp reads it.
#[test]
fn reusing_a_slot_that_is_still_read_is_found() {
    let x = ramp(64 * 5);
    is_noticed(RING, 4, &x, &summed(&x));
    is_noticed(RING, 5, &x, &summed(&x));
    is_noticed(RING, 13, &x, &summed(&x));
}

/// Who waits for what is named: the barrier by its place, and what is missing there.
#[test]
fn deadlocks_name_the_barrier_and_what_it_lacks() {
    let x = ramp(64 * 5);
    let ring = summed(&x);
    is_refused(RING, 3, &x, &ring, &["waits forever", "mbarrier_wait at bulk.cu:", "byte 512 of shared memory", "lacks 16 bytes"]);
    is_refused(RING, 6, &x, &ring, &["waits forever", "mbarrier_wait at bulk.cu:", "byte 528 of shared memory", "lacks 1 of 4 arrivals"]);
    is_refused(RING, 7, &x, &ring, &["waits forever", "mbarrier_wait at bulk.cu:", "byte 520 of shared memory", "lacks 128 bytes"]);
}

#[test]
fn blocks_that_come_too_late_or_leave_too_early_are_found() {
    let x = ramp(64 * 5);
    is_noticed(RING, 9, &x, &summed(&x));
    is_noticed(RING, 10, &x, &summed(&x));
}

#[test]
fn bulk_copies_from_or_to_the_wrong_place_are_refused() {
    let x = ramp(64 * 5);
    is_refused(RING, 11, &x, &summed(&x), &["bulk_copy at bulk.cu:", "not multiples of 16"]);
    is_refused(RING, 12, &x, &summed(&x), &["bulk_copy at bulk.cu:", "not all in global memory"]);
}

/// A product reads its weights at some time between its issue and the wait for it, and sees the threads' own writes only past a fence.
#[test]
fn products_on_weights_that_are_not_there_are_found() {
    let x = ramp(128);
    let column = |n: usize| (0..128).filter(|i| i % 32 / 4 == n).map(|i| x[i]).sum::<f32>() + 16.0;
    let expected: Vec<f32> = (0..64).flat_map(|_| (0..8).map(column)).collect();
    is_right(WEIGHTS, &x, &expected);
    is_noticed(WEIGHTS, 1, &x, &expected);
    is_noticed(WEIGHTS, 2, &x, &expected);
    is_wrong(WEIGHTS, 3, &x, &expected);
    is_wrong(WEIGHTS, 4, &x, &expected);
    is_wrong(WEIGHTS, 5, &x, &expected);
    is_noticed(WEIGHTS, 6, &x, &expected);
}
