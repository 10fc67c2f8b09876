//! How many threads a host may use.

/// CPUs allowed by affinity and, on Linux, by the cgroup quota; 1 when the system does not say.
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
