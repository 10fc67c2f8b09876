//! Everything that a run found, as Markdown.

use super::report::Report;
use super::times::{STEP_SLICES, Spread};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The whole page.
pub(crate) fn markdown(report: &Report) -> String {
    let mut page = format!(
        "# On a GPU\nMade by `radnet-gpu run` in {:.0} s on an {} (compute capability {}, {} multiprocessors), kernels for {}.\n\n",
        report.seconds, report.device, report.compute_capability, report.multiprocessors, report.kernels
    );
    for reason in report.broken.iter().chain(&report.skipped) {
        line(&mut page, format_args!("- **{reason}**"));
    }
    checks(&mut page, report);
    sanitizers(&mut page, report);
    parity(&mut page, report);
    scans(&mut page, report);
    steps(&mut page, report);
    page
}

/// Writing to a string cannot fail.
fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(page, "{text}");
}

fn checks(page: &mut String, report: &Report) {
    if report.checks.is_empty() {
        return;
    }
    line(
        page,
        format_args!(
            "\n## Kernels against the f64 oracle\n\n| family | cases | failed | values | most of an error bound used |\n|---|---|---|---|---|"
        ),
    );
    let mut families: BTreeMap<&str, (usize, usize, usize, f64)> = BTreeMap::new();
    for outcome in &report.checks {
        let family = families.entry(&outcome.family).or_default();
        *family =
            (family.0 + 1, family.1 + usize::from(outcome.failure.is_some()), family.2 + outcome.values, family.3.max(outcome.bound_used));
    }
    for (name, (cases, failed, values, used)) in families {
        line(page, format_args!("| {name} | {cases} | {failed} | {values} | {:.0} % |", 100.0 * used));
    }
    for outcome in &report.checks {
        if let Some(failure) = &outcome.failure {
            line(page, format_args!("- **{}: {}**: {failure}", outcome.family, outcome.name));
        }
    }
}

fn sanitizers(page: &mut String, report: &Report) {
    for sanitizer in &report.sanitizers {
        let verdict = if sanitizer.status == 0 { "" } else { "**failed**: " };
        line(page, format_args!("- compute-sanitizer {}: {verdict}{}", sanitizer.tool, sanitizer.summary));
    }
}

fn parity(page: &mut String, report: &Report) {
    if report.parity.is_empty() {
        return;
    }
    line(page, format_args!("\n## Networks against the CPU\n"));
    line(
        page,
        format_args!(
            "fp32 against PyTorch's float64 where the golden set has it, else against the CPU; fp16 and bf16 against the CPU's fp32.\n"
        ),
    );
    line(
        page,
        format_args!(
            "| scan | precision | slices | Δp | Δz | maps | flipped | same bits again and split | |\n|---|---|---|---|---|---|---|---|---|"
        ),
    );
    for c in &report.parity {
        let (same, verdict) = (if c.reproducible { "yes" } else { "**no**" }, if c.passed { "" } else { "**failed**" });
        line(
            page,
            format_args!(
                "| {} | {} | {} | {:.1e} | {:.1e} | {:.1e} | {} | {same} | {verdict} |",
                c.fixture, c.precision, c.slices, c.probability, c.logit, c.maps, c.flipped
            ),
        );
    }
}

fn scans(page: &mut String, report: &Report) {
    if report.scans.is_empty() {
        return;
    }
    line(page, format_args!("\n## Scans: DenseNet-121, attention, BiLSTM 256, fp16, noise\n"));
    line(page, format_args!("Medians (least) in ms. Targets are issue 4's, for an H200.\n"));
    line(
        page,
        format_args!(
            "| input | slices | device | target | planes to logits | HU to result | target | HU of 512×512 to result |\n|---|---|---|---|---|---|---|---|"
        ),
    );
    for scan in &report.scans {
        let target = |target: Option<f64>| target.map_or_else(|| "–".into(), |ms| format!("{ms}"));
        let device = scan.device_ms.map_or_else(|| "–".into(), spread);
        line(
            page,
            format_args!(
                "| {0}×{0} | {1} | {device} | {2} | {3} | {4} | {5} | {6} |",
                scan.size,
                scan.slices,
                target(scan.targets_ms[0]),
                spread(scan.host_ms),
                spread(scan.hu_ms),
                target(scan.targets_ms[1]),
                spread(scan.hu_512_ms)
            ),
        );
    }
    if !report.first_result_ms.is_empty() {
        let each: Vec<String> = report.first_result_ms.iter().map(|ms| format!("{ms:.0}")).collect();
        line(page, format_args!("\nProcess start to first result, demo model, 32 slices, target 500 ms: {} ms.", each.join(", ")));
    }
    peers(page, report);
}

/// PyTorch on the same device in the same session, and how many times faster the engine is.
fn peers(page: &mut String, report: &Report) {
    if report.peers.is_empty() {
        return;
    }
    line(
        page,
        format_args!(
            "\n| PyTorch | input | slices | device ms | ours is faster | tensor to result ms | first result s |\n|---|---|---|---|---|---|---|"
        ),
    );
    for peer in &report.peers {
        let same = report.scans.iter().find(|scan| peer["size"] == scan.size && peer["slices"] == scan.slices);
        let ours = same.and_then(|scan| scan.device_ms).map(|spread| spread.median);
        let ratio = ours.zip(peer["device_ms"].as_f64()).map_or_else(|| "–".into(), |(ours, theirs)| format!("{:.2}×", theirs / ours));
        let text = |key: &str| peer[key].as_str().map_or_else(|| peer[key].to_string(), str::to_owned);
        line(
            page,
            format_args!(
                "| {} {} | {2}×{2} | {3} | {4} | {ratio} | {5} | {6} |",
                text("engine"),
                text("torch"),
                text("size"),
                text("slices"),
                text("device_ms"),
                text("host_ms"),
                text("first_result_s")
            ),
        );
    }
}

fn spread(spread: Spread) -> String {
    format!("{:.3} ({:.3})", spread.median, spread.least)
}

fn steps(page: &mut String, report: &Report) {
    let Some(roofs) = report.roofs else { return };
    line(page, format_args!("\n## Steps of {STEP_SLICES} slices against this device's roofs\n"));
    line(
        page,
        format_args!(
            "Copies move {:.0} GB/s, tensor cores multiply {:.0} TFLOP/s in fp16. Steps are launched one by one and do not overlap; a step's floor \
             is its FLOP or its bytes at those rates, whichever takes longer.\n",
            roofs.copy_gbs, roofs.tensor_tflops
        ),
    );
    line(page, format_args!("| input | step | ms | floor ms | of the roof |\n|---|---|---|---|---|"));
    for step in &report.steps {
        let part = if step.ms > 0.0 { 100.0 * step.floor_ms / step.ms } else { 0.0 };
        line(page, format_args!("| {0}×{0} | {1} | {2:.4} | {3:.4} | {part:.0} % |", step.size, step.name, step.ms, step.floor_ms));
    }
}
