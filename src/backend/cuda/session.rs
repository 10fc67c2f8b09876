//! A session: the way of a scan through one lane, or through two in turn.
//!
//! A scan of at most one group runs as one graph from pixels to logits. A longer one goes group by group: while one lane computes, the next
//! group is prepared by the host and travels to the other lane. The recurrence follows over all slices.

use super::CudaBackend;
use super::feed::{Feed, Run};
use super::lane::{Key, Lane, Part};
use crate::backend::{BackendSession, ScanMaps};
use crate::observer::Observer;
use crate::tensor::SliceSource;
use crate::{Error, ErrorKind, Result};

/// The lanes of one caller.
pub(super) struct CudaSession<'a> {
    backend: &'a CudaBackend,
    /// One, and a second from the first scan of more than one group on.
    lanes: Vec<Lane<'a>>,
    device_ms: Option<f64>,
}

/// Where the results of a scan's groups go.
struct Outputs<'o> {
    pooled: &'o mut [f32],
    logits: Option<&'o mut [f32]>,
    maps: Option<&'o mut ScanMaps>,
}

/// The number of slices that launches for `slices` are made for: a power of two or three halves of one, so that few graphs serve all scans.
fn bucket(slices: usize, most: usize) -> usize {
    let power = slices.next_power_of_two();
    let below = power / 4 * 3;
    (if below >= slices { below } else { power }).min(most).max(slices)
}

impl<'a> CudaSession<'a> {
    pub(super) fn new(backend: &'a CudaBackend) -> Result<Self> {
        Ok(Self { backend, lanes: vec![Lane::new(backend)?], device_ms: None })
    }

    fn check(&self, scan: &dyn SliceSource, pooled: usize) -> Result<()> {
        let network = &self.backend.network;
        let (slices, extent) = (scan.slices(), scan.extent());
        if slices > 0 && scan.channels() == network.channels && extent == network.input && pooled == slices * network.slice_vector {
            return Ok(());
        }
        let shape = [slices, scan.channels(), extent.height, extent.width];
        Err(Error::new(ErrorKind::Device, format!("a scan of shape {shape:?} and room for {pooled} numbers do not fit this network")))
    }

    /// Groups of slices through the 2-D network; on to the logits where they are wanted.
    fn run(&mut self, scan: &dyn SliceSource, observer: &dyn Observer, mut out: Outputs<'_>) -> Result<()> {
        let backend = self.backend;
        let (slices, most) = (scan.slices(), backend.most_slices);
        let feed = Feed::of(scan, backend.network.channels);
        self.device_ms = None;
        let group = bucket(slices.min(most), most);
        if slices > most && self.lanes.len() == 1 {
            self.lanes.push(Lane::new(backend)?);
        }
        let used = if slices > most { 2 } else { 1 };
        for lane in &mut self.lanes[..used] {
            lane.settle()?;
            lane.prepare_group(group, out.maps.is_some())?;
            lane.prepare_feed(feed, group)?;
            lane.prepare_sequence(group)?;
        }
        if let Some(maps) = out.maps.as_deref_mut() {
            backend.prepare_maps(slices, maps)?;
        }
        let part = if out.logits.is_some() { Part::Whole } else { Part::Planar };
        let runs: Vec<Run> = (0..slices).step_by(most).map(|first| Run { first, count: most.min(slices - first), total: slices }).collect();
        for (i, run) in runs.iter().enumerate() {
            if observer.cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "the host asked to stop"));
            }
            if i >= used {
                self.collect(i % used, runs[i - used], observer, &mut out)?;
            }
            let key = Key { part, slices: bucket(run.count, most), input: feed.kind(), maps: out.maps.is_some() };
            self.lanes[i % used].start(feed, key, *run, observer)?;
        }
        let last = runs.len().saturating_sub(used);
        (last..runs.len()).try_for_each(|i| self.collect(i % used, runs[i], observer, &mut out))
    }

    /// Waits for a lane and takes the results of its run.
    fn collect(&mut self, lane: usize, run: Run, observer: &dyn Observer, out: &mut Outputs<'_>) -> Result<()> {
        let vector = self.backend.network.slice_vector;
        let lane = &mut self.lanes[lane];
        let spent = lane.wait()?;
        self.device_ms = sum(self.device_ms, spent);
        lane.fetch(Some(&mut out.pooled[run.first * vector..][..run.count * vector]), out.logits.as_deref_mut())?;
        if let Some(maps) = out.maps.as_deref_mut() {
            lane.fetch_maps(run, maps)?;
        }
        observer.slices_done(run.first + run.count, run.total);
        Ok(())
    }
}

impl BackendSession for CudaSession<'_> {
    fn pool_slices(
        &mut self,
        scan: &dyn SliceSource,
        observer: &dyn Observer,
        pooled: &mut [f32],
        maps: Option<&mut ScanMaps>,
    ) -> Result<()> {
        self.check(scan, pooled.len())?;
        self.run(scan, observer, Outputs { pooled, logits: None, maps })
    }

    fn classify(&mut self, pooled: &[f32], logits: &mut [f32]) -> Result<()> {
        let network = &self.backend.network;
        let slices = pooled.len() / network.slice_vector;
        if slices == 0 || pooled.len() != slices * network.slice_vector || logits.len() != slices * network.classes {
            let message = format!("{} pooled numbers and {} logits do not fit this network", pooled.len(), logits.len());
            return Err(Error::new(ErrorKind::Device, message));
        }
        let capacity = bucket(slices, usize::MAX);
        let lane = &mut self.lanes[0];
        lane.settle()?;
        lane.prepare_sequence(capacity)?;
        lane.start_sequence(pooled, slices, capacity)?;
        let spent = lane.wait()?;
        lane.fetch(None, Some(logits))?;
        self.device_ms = sum(self.device_ms, spent);
        Ok(())
    }

    fn judge(
        &mut self,
        scan: &dyn SliceSource,
        observer: &dyn Observer,
        pooled: &mut [f32],
        logits: &mut [f32],
        maps: Option<&mut ScanMaps>,
    ) -> Result<()> {
        self.check(scan, pooled.len())?;
        if scan.slices() <= self.backend.most_slices && logits.len() == scan.slices() * self.backend.network.classes {
            return self.run(scan, observer, Outputs { pooled, logits: Some(logits), maps });
        }
        self.run(scan, observer, Outputs { pooled: &mut *pooled, logits: None, maps })?;
        self.classify(pooled, logits)
    }

    fn device_ms(&self) -> Option<f64> {
        self.device_ms
    }
}

/// Times of a device that has a clock.
fn sum(before: Option<f64>, now: Option<f64>) -> Option<f64> {
    match (before, now) {
        (Some(before), Some(now)) => Some(before + now),
        (before, now) => before.or(now),
    }
}

pub(super) fn unprepared() -> Error {
    Error::new(ErrorKind::Device, "the memory of a session is not what its scan needs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_they_are_for() {
        for most in [1, 5, 64, usize::MAX] {
            for slices in 1..=most.min(300) {
                let bucket = bucket(slices, most);
                assert!(bucket >= slices && bucket <= most && (bucket <= slices * 3 / 2 + 1), "{slices} of {most}: {bucket}");
            }
        }
        assert_eq!([1, 2, 3, 5, 24, 25, 33].map(|n| bucket(n, 64)), [1, 2, 3, 6, 24, 32, 48]);
    }
}
