//! Lifetimes → one arena: every buffer of a network run gets a fixed offset before the first slice arrives, so that nothing is allocated
//! while slices run. Buffers whose lifetimes do not meet may share memory; largest first, each takes the lowest offset that is free
//! throughout its life.

use std::fmt;
use std::ops::Range;

/// Offsets are multiples of this many floats: a cache line.
const ALIGN: usize = 16;

/// A buffer that is needed from step `first` to step `last`, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// For the printed plan.
    pub name: String,
    /// Floats.
    pub len: usize,
    /// First step that writes it.
    pub first: usize,
    /// Last step that reads it.
    pub last: usize,
}

/// Where every requested buffer lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    requests: Vec<Request>,
    offsets: Vec<usize>,
    len: usize,
}

impl Plan {
    /// Places the buffers.
    pub fn new(requests: Vec<Request>) -> Self {
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by_key(|i| (std::cmp::Reverse(requests[*i].len), *i));
        let mut offsets = vec![0; requests.len()];
        for (rank, &i) in order.iter().enumerate() {
            let mut taken: Vec<Range<usize>> = order[..rank]
                .iter()
                .filter(|&&j| requests[i].first <= requests[j].last && requests[j].first <= requests[i].last)
                .map(|&j| offsets[j]..offsets[j] + requests[j].len.next_multiple_of(ALIGN))
                .collect();
            taken.sort_by_key(|r| r.start);
            let mut at = 0;
            for r in taken {
                if at + requests[i].len <= r.start {
                    break;
                }
                at = at.max(r.end);
            }
            offsets[i] = at;
        }
        let len = requests.iter().zip(&offsets).map(|(r, at)| at + r.len.next_multiple_of(ALIGN)).max().unwrap_or(0);
        Self { requests, offsets, len }
    }

    /// Floats of the arena.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the arena has no floats.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Floats of buffer `index`, in the order of the requests.
    pub fn range(&self, index: usize) -> Range<usize> {
        self.offsets[index]..self.offsets[index] + self.requests[index].len
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "arena of {:.1} MB", self.len as f64 * 4e-6)?;
        for (r, at) in self.requests.iter().zip(&self.offsets) {
            let (from, to) = (*at as f64 * 4e-6, (at + r.len) as f64 * 4e-6);
            writeln!(f, "  {:<24} steps {:>3}-{:<3} {from:>8.2}-{to:<8.2} MB", r.name, r.first, r.last)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(len: usize, first: usize, last: usize) -> Request {
        Request { name: format!("{len}"), len, first, last }
    }

    /// Buffers alive together never overlap, ones that are not may; offsets are aligned; nothing reaches past the arena.
    #[test]
    fn buffers_that_meet_do_not_overlap() {
        let mut seed = 1u64;
        let mut next = |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((seed >> 33) % n) as usize
        };
        for _ in 0..200 {
            let requests: Vec<Request> = (0..1 + next(12))
                .map(|_| {
                    let first = next(10);
                    request(next(100), first, first + next(4))
                })
                .collect();
            let plan = Plan::new(requests.clone());
            for (i, a) in requests.iter().enumerate() {
                assert!(plan.range(i).start.is_multiple_of(ALIGN) && plan.range(i).end <= plan.len());
                for (j, b) in requests.iter().enumerate().skip(i + 1) {
                    let meet = a.first <= b.last && b.first <= a.last;
                    let overlap = plan.range(i).start < plan.range(j).end && plan.range(j).start < plan.range(i).end;
                    assert!(!(meet && overlap), "{plan}");
                }
            }
        }
    }

    /// Two slabs that follow each other through a transition, and the scratch of each step, share memory as far as they can.
    #[test]
    fn memory_is_shared_over_time() {
        let plan = Plan::new(vec![request(160, 0, 2), request(80, 2, 4), request(160, 4, 6)]);
        assert_eq!(plan.len(), 240);
        assert!(plan.to_string().contains("steps   2-4"));
    }
}
