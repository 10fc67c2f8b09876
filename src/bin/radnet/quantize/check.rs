//! `--check`: the same scans in fp32 and in int8.

use super::Scans;
use super::args::QuantizeArguments;
use crate::environment::Environment;
use radnet::engine::{Device, Engine, Precision};
use radnet::evaluate::IdKind;
use radnet::evaluate::labels::{Format, Labels, read_labels};
use radnet::quantize::{Collector, Comparison};
use radnet::weights::Model;
use radnet::{Error, ErrorKind, Result};

/// The labels, and what they name.
pub(super) fn labels(arguments: &QuantizeArguments) -> Result<Option<(Labels, IdKind)>> {
    let Some(path) = &arguments.labels else { return Ok(None) };
    let labels = read_labels(path, arguments.labels_format)?;
    let kind = match (arguments.id, labels.format) {
        (_, Format::Rsna) => return Err(Error::new(ErrorKind::CorruptFile, "these labels are of slices; scans are compared").in_file(path)),
        (Some(kind), _) => kind,
        (None, Format::Cq500) => IdKind::Folder,
        (None, Format::Plain | Format::Auto) => IdKind::Study,
    };
    Ok(Some((labels, kind)))
}

/// Both engines on every scan, one scan in memory at a time.
pub(super) fn compare(
    model: Model,
    arguments: &QuantizeArguments,
    labels: Option<&(Labels, IdKind)>,
    scans: &mut Scans,
    environment: &Environment,
) -> Result<Comparison> {
    let engine = |precision| {
        let builder = Engine::builder(model.clone()).device(Device::Cpu).precision(precision);
        builder.pool(std::sync::Arc::clone(&scans.pool)).isa(environment.isa.clone()).build()
    };
    let (fp32, int8) = (engine(Precision::Fp32)?, engine(Precision::Int8)?);
    let mut sessions = [fp32.session()?, int8.session()?];
    let mut collector = Collector::new(&model.config.classes);
    scans.each(&arguments.check, "judging twice", &mut |outcome, volume, scans| {
        let [fp32, int8] = &mut sessions;
        let before = fp32.predict(volume, &scans.progress, false)?;
        let after = int8.predict(volume, &scans.progress, false)?;
        let source = outcome.source.display().to_string();
        let series = outcome.result.as_ref().ok();
        let id = labels
            .and_then(|(_, kind)| kind.of_result(series.map(|s| s.study_instance_uid()), series.map(|s| s.series_instance_uid()), &source));
        collector.add(&source, id.as_deref(), &before, &after)
    })?;
    collector.finish(labels.map(|(labels, _)| labels), arguments.allow_missing)
}
