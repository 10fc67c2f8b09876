//! The oracle behind the trait of the fast backends, so that anything that runs on them can run on it.

use super::{Reference, Stage};
use crate::backend::{Backend, BackendInfo, BackendSession, ScanMaps};
use crate::observer::Observer;
use crate::tensor::{Extent, SliceSource};
use crate::{Error, ErrorKind, Result};

impl Backend for Reference {
    fn info(&self) -> BackendInfo {
        BackendInfo {
            device: "reference".to_owned(),
            isa: "none".to_owned(),
            precision: if self.codes.is_some() { "int8" } else { "fp64" }.to_owned(),
            threads: 1,
        }
    }

    fn session(&self) -> Result<Box<dyn BackendSession + '_>> {
        Ok(Box::new(self))
    }
}

impl BackendSession for &Reference {
    fn pool_slices(
        &mut self,
        scan: &dyn SliceSource,
        observer: &dyn Observer,
        pooled: &mut [f32],
        mut maps: Option<&mut ScanMaps>,
    ) -> Result<()> {
        let network = &self.model.network;
        let mut slice = vec![0.0; network.channels * network.input.area()];
        if let Some(maps) = maps.as_deref_mut() {
            *maps = ScanMaps::default();
        }
        for (index, vector) in pooled.chunks_exact_mut(network.slice_vector).enumerate() {
            if observer.cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, "the host stopped the scan"));
            }
            scan.write_slice(index, &mut slice);
            let stages = self.slice_stages(&slice.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
            let (last, others) = stages.split_last().expect("the last stage is the slice vector");
            vector.copy_from_slice(&narrow(&last.values));
            if let Some(maps) = maps.as_deref_mut() {
                keep_maps(others, maps);
            }
            observer.slices_done(index + 1, scan.slices());
        }
        Ok(())
    }

    fn classify(&mut self, pooled: &[f32], logits: &mut [f32]) -> Result<()> {
        let stages = self.scan_stages(&pooled.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
        logits.copy_from_slice(&narrow(&stages.last().expect("the last stage is the logits").values));
        Ok(())
    }
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|v| *v as f32).collect()
}

fn keep_maps(stages: &[Stage], maps: &mut ScanMaps) {
    let mut segmentation = Vec::new();
    maps.segmentation_blocks.clear();
    for Stage { name, shape, values } in stages {
        if name == "attention" {
            maps.attention_extent = Some(Extent { height: shape[1], width: shape[2] });
            maps.attention.push(narrow(values));
        } else if let Some(block) = name.strip_prefix("segmentation").and_then(|b| b.parse().ok()) {
            maps.segmentation_blocks.push(block);
            segmentation.extend(narrow(values));
        }
    }
    if !segmentation.is_empty() {
        maps.segmentation.push(segmentation);
    }
}
