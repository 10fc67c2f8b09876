//! Everything that a run found, as JSON.

use super::checks::Outcome;
use super::parity::Comparison;
use super::roofs::Roofs;
use super::times::{ScanTime, Step};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The result of a run; parts that were not run are empty, and `skipped` says why.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) device: String,
    pub(crate) compute_capability: String,
    pub(crate) kernels: String,
    pub(crate) multiprocessors: u32,
    pub(crate) checks: Vec<Outcome>,
    pub(crate) parity: Vec<Comparison>,
    pub(crate) roofs: Option<Roofs>,
    pub(crate) scans: Vec<ScanTime>,
    pub(crate) steps: Vec<Step>,
    /// Milliseconds from the start of a process to its first result.
    pub(crate) first_result_ms: Vec<f64>,
    /// What PyTorch took, as `peers.py` wrote it; see [`finish`].
    pub(crate) peers: Vec<serde_json::Value>,
    /// What compute-sanitizer said of the checks; see [`finish`].
    pub(crate) sanitizers: Vec<Sanitizer>,
    /// Parts that did not run to their end, each with the reason.
    pub(crate) broken: Vec<String>,
    /// Parts that were left out, each with the reason.
    pub(crate) skipped: Vec<String>,
    pub(crate) seconds: f64,
}

impl Report {
    /// Writes `results.json` and `RESULTS.md`; an error when anything failed.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), String> {
        write_json(&folder.join("results.json"), self)?;
        write(&folder.join("RESULTS.md"), &super::table::markdown(self))?;
        match self.failures() {
            0 => Ok(()),
            failures => Err(format!("{failures} failures; see {}", folder.join("RESULTS.md").display())),
        }
    }

    /// Checks and comparisons that failed, what a sanitizer found, and parts that broke.
    pub(crate) fn failures(&self) -> usize {
        let checks = self.checks.iter().filter(|outcome| outcome.failure.is_some()).count();
        let sanitizers = self.sanitizers.iter().filter(|sanitizer| sanitizer.status != 0).count();
        checks + self.parity.iter().filter(|comparison| !comparison.passed).count() + sanitizers + self.broken.len()
    }
}

/// One tool of compute-sanitizer over the kernel checks, as `run.sh` writes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sanitizer {
    /// "racecheck".
    pub(crate) tool: String,
    /// Its exit status: 0 when it found nothing.
    pub(crate) status: i32,
    /// Its last words.
    pub(crate) summary: String,
}

/// Adds what `run.sh` has put beside `results.json`, and writes the page again: `peers.jsonl`, `sanitizers.jsonl` and `skipped.txt`, each where
/// there is one.
pub(crate) fn finish(folder: &Path) -> Result<(), String> {
    let file = folder.join("results.json");
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut report: Report = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    report.peers = lines(&folder.join("peers.jsonl"))?;
    report.sanitizers = lines(&folder.join("sanitizers.jsonl"))?;
    let skipped = std::fs::read_to_string(folder.join("skipped.txt")).unwrap_or_default();
    report.skipped.extend(skipped.lines().map(str::to_owned));
    report.write(folder)
}

/// One value a line; none when there is no such file.
fn lines<T: for<'de> Deserialize<'de>>(file: &Path) -> Result<Vec<T>, String> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    let values = text.lines().filter(|line| line.starts_with('{'));
    values.map(|line| serde_json::from_str(line).map_err(|error| format!("{}: {error}", file.display()))).collect()
}

/// Writes `value` as indented JSON.
pub(crate) fn write_json(file: &Path, value: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())? + "\n";
    write(file, &text)
}

/// Writes text, and makes the folder.
pub(crate) fn write(file: &Path, text: &str) -> Result<(), String> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(file, text))
        .map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::super::times::Spread;
    use super::*;

    /// What run.sh puts beside a result is in the page afterwards, with the ratio to PyTorch; what a sanitizer found is a failure.
    #[test]
    fn peers_and_sanitizers_are_added() {
        let folder = tempfile::tempdir().unwrap();
        let ms = Spread { median: 0.5, least: 0.4, most: 0.6 };
        let scan =
            ScanTime { size: 256, slices: 32, device_ms: Some(ms), host_ms: ms, hu_ms: ms, hu_512_ms: ms, targets_ms: [Some(0.5), None] };
        let report = Report { device: "a device".into(), scans: vec![scan], ..Report::default() };
        report.write(folder.path()).unwrap();
        let add = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        add(
            "peers.jsonl",
            "{\"engine\": \"torch-graph\", \"torch\": \"2\", \"slices\": 32, \"size\": 256, \"device_ms\": 2.0, \"host_ms\": 3}\n",
        );
        add("skipped.txt", "a part: no time\n");
        finish(folder.path()).unwrap();
        let page = std::fs::read_to_string(folder.path().join("RESULTS.md")).unwrap();
        assert!(page.contains("| torch-graph 2 | 256×256 | 32 | 2.0 | 4.00× | 3 |") && page.contains("a part: no time"), "{page}");
        add("sanitizers.jsonl", "{\"tool\": \"racecheck\", \"status\": 9, \"summary\": \"1 hazard\"}\n");
        assert!(finish(folder.path()).is_err());
    }
}
