// Bulk copies of sm_90: one thread moves a run of bytes from global memory to the same place in the shared memory of several blocks of a
// cluster, and barriers in shared memory count what has landed and who is done with it.
//
// A barrier is 8 bytes of shared memory. Its phases are counted from 0; a phase is complete when `count` arrivals have come and as many bytes
// as were expected have landed. `mbarrier_wait(b, p)` returns once the phase of parity p is complete, so the k-th wait takes k mod 2.
//   mbarrier_init       by one thread, then mbarrier_init_fence() and a barrier of the cluster
//   mbarrier_expect     arrives at this block's barrier, and `bytes` are to land in this phase
//   mbarrier_arrive_at  arrives at the barrier in the same place of block `rank`; what this thread wrote before is seen by whoever waited
//   bulk_copy           to the blocks in `mask`, counted at the barrier in the same place of each; addresses and `bytes` are multiples of 16
// A block must not exit while others copy to it or arrive at its barriers. What was read or written through ordinary accesses may be
// overwritten by a bulk copy after a barrier, and by wgmma's reads likewise.
#pragma once

#include "target.cuh"

#ifdef RADNET_EMULATED

DEVICE void mbarrier_init(uint64_t* barrier, unsigned count, RADNET_HERE) { emulation::mbarrier_init(barrier, count, RADNET_SITE("mbarrier_init")); }
DEVICE void mbarrier_init_fence() {}
DEVICE void mbarrier_expect(uint64_t* barrier, unsigned bytes, RADNET_HERE) { emulation::mbarrier_expect(barrier, bytes, RADNET_SITE("mbarrier_expect")); }
DEVICE void mbarrier_arrive_at(uint64_t* barrier, unsigned rank, RADNET_HERE) {
    emulation::mbarrier_arrive_at(barrier, rank, RADNET_SITE("mbarrier_arrive_at"));
}
DEVICE void mbarrier_wait(uint64_t* barrier, unsigned parity, RADNET_HERE) { emulation::mbarrier_wait(barrier, parity, RADNET_SITE("mbarrier_wait")); }
DEVICE void bulk_copy(void* to, const void* from, unsigned bytes, uint64_t* barrier, unsigned mask, RADNET_HERE) {
    emulation::bulk_copy(to, from, bytes, barrier, mask, RADNET_SITE("bulk_copy"));
}

// A barrier of the first `threads` threads that call it with this `id`, 1 to 15.
DEVICE void partial_barrier(unsigned id, unsigned threads, RADNET_HERE) { emulation::named_barrier(RADNET_SITE("partial_barrier"), id, threads, true); }

#else

DEVICE void partial_barrier(unsigned id, unsigned threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

#if RADNET_ARCH >= 900

#include "memory.cuh"

DEVICE void mbarrier_init(uint64_t* barrier, unsigned count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(radnet::shared_address(barrier)), "r"(count) : "memory");
}

DEVICE void mbarrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

DEVICE void mbarrier_expect(uint64_t* barrier, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(radnet::shared_address(barrier)), "r"(bytes) : "memory");
}

DEVICE void mbarrier_arrive_at(uint64_t* barrier, unsigned rank) {
    asm volatile(
        "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\nmbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n}" ::"r"(
            radnet::shared_address(barrier)),
        "r"(rank)
        : "memory");
}

DEVICE void mbarrier_wait(uint64_t* barrier, unsigned parity) {
    asm volatile(
        "{\n.reg .pred done;\nAGAIN:\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], %1;\n@done bra DONE;\nbra AGAIN;\nDONE:\n}" ::"r"(
            radnet::shared_address(barrier)),
        "r"(parity)
        : "memory");
}

DEVICE void bulk_copy(void* to, const void* from, unsigned bytes, uint64_t* barrier, unsigned mask) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, [%3], %4;" ::"r"(
            radnet::shared_address(to)),
        "l"(from), "r"(bytes), "r"(radnet::shared_address(barrier)), "h"(uint16_t(mask))
        : "memory");
}

#else

DEVICE void mbarrier_init(uint64_t*, unsigned) { __trap(); }
DEVICE void mbarrier_init_fence() {}
DEVICE void mbarrier_expect(uint64_t*, unsigned) { __trap(); }
DEVICE void mbarrier_arrive_at(uint64_t*, unsigned) { __trap(); }
DEVICE void mbarrier_wait(uint64_t*, unsigned) { __trap(); }
DEVICE void bulk_copy(void*, const void*, unsigned, uint64_t*, unsigned) { __trap(); }

#endif
#endif
