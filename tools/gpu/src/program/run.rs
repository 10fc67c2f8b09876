//! The whole programme, in the order in which one part trusts the other: kernels, then the network, then its times.

use super::report::Report;
use super::roofs::Roofs;
use super::{checks, fixtures, parity, starts, times};
use clap::{Args, ValueEnum};
use radnet::backend::cuda::devices;
use radnet_gpu::suite;
use radnet_kernels::cuda::Gpu;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// What to run, and where things are.
#[derive(Args)]
pub(crate) struct Options {
    /// Which GPU
    #[arg(long, default_value_t = 0)]
    device: usize,
    /// Where tests/, weights/ are
    #[arg(long, value_name = "DIR", default_value = ".")]
    repository: PathBuf,
    /// Where results.json and RESULTS.md go
    #[arg(long, value_name = "DIR", default_value = "benches/gpu")]
    out: PathBuf,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',', default_value = "checks,parity,times")]
    only: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Checks,
    Parity,
    Times,
}

/// Runs the parts; a part that breaks is reported, and the others still run.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let started = Instant::now();
    let gpu = devices::open(options.device).map_err(|error| format!("{error}\nradnet-gpu run needs a GPU; nothing was checked"))?;
    let program = std::env::current_exe().map_err(|error| format!("this program's own file: {error}"))?;
    let properties = gpu.properties();
    let mut report = Report {
        device: properties.name.clone(),
        compute_capability: format!("{}.{}", properties.compute_capability.0, properties.compute_capability.1),
        kernels: gpu.isa(),
        multiprocessors: properties.multiprocessors,
        ..Report::default()
    };
    eprintln!("{} ({}), kernels for {}", report.device, gpu.label(), report.kernels);
    if options.wants(Part::Checks, &mut report) {
        note(&mut report, "checks", |report| {
            checks::supervise(&program, options.device, &suite::all(), checks::CASE).map(|outcomes| report.checks = outcomes)
        });
    }
    if options.wants(Part::Parity, &mut report) {
        let compared = |report: &mut Report| {
            report.parity = parity::compare(&gpu, &fixtures::all(&options.repository)?)?;
            Ok(())
        };
        note(&mut report, "parity", compared);
    }
    if options.wants(Part::Times, &mut report) {
        measure(&mut report, &gpu, options, &program);
    }
    report.seconds = started.elapsed().as_secs_f64();
    report.write(&options.out)
}

impl Options {
    fn wants(&self, part: Part, report: &mut Report) -> bool {
        let wanted = self.only.contains(&part);
        if !wanted {
            report.skipped.push(format!("{part:?}: not asked for"));
        }
        wanted
    }
}

/// Runs a part and notes how it broke.
fn note(report: &mut Report, name: &str, part: impl FnOnce(&mut Report) -> Result<(), String>) {
    let started = Instant::now();
    if let Err(error) = part(report) {
        eprintln!("{name}: {error}");
        report.broken.push(format!("{name}: {error}"));
    }
    eprintln!("{name}: {:.1} s, {} failures so far", started.elapsed().as_secs_f64(), report.failures());
}

fn measure(report: &mut Report, gpu: &Arc<dyn Gpu>, options: &Options, program: &Path) {
    note(report, "roofs", |report| Roofs::measure(gpu).map(|roofs| report.roofs = Some(roofs)));
    note(report, "scans", |report| times::scan_times(gpu).map(|scans| report.scans = scans));
    if let Some(roofs) = report.roofs {
        note(report, "steps", |report| times::steps(gpu, &roofs).map(|steps| report.steps = steps));
    }
    let model = fixtures::demo_model(&options.repository);
    note(report, "starts", |report| starts::measure(program, options.device, &model).map(|starts| report.first_result_ms = starts));
}
