//! Every case of the suite on the device. A worker process runs the cases; a case that hangs, or that takes the device with it, ends the
//! worker, is counted as failed, and the next worker goes on behind it.

use radnet::backend::cuda::devices;
use radnet_gpu::suite::{self, Case};
use radnet_kernels::cuda::Gpu;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What became of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Its place in the suite.
    pub(crate) index: usize,
    pub(crate) family: String,
    pub(crate) name: String,
    pub(crate) milliseconds: f64,
    /// Values compared.
    pub(crate) values: usize,
    /// The part of its error bound that the worst value used.
    pub(crate) bound_used: f64,
    /// What is wrong.
    pub(crate) failure: Option<String>,
}

impl Outcome {
    fn failed(index: usize, case: &Case, failure: String) -> Self {
        let (family, name) = (case.family.to_owned(), case.name.clone());
        Self { index, family, name, milliseconds: 0.0, values: 0, bound_used: 0.0, failure: Some(failure) }
    }
}

/// A case may take this long, its worker's start included.
pub(crate) const CASE: Duration = Duration::from_secs(60);
/// Workers that may die before the rest is given up.
const MOST_WORKERS: usize = 40;

/// Runs every case in worker processes.
pub(crate) fn supervise(program: &Path, device: usize, cases: &[Case], limit: Duration) -> Result<Vec<Outcome>, String> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for _ in 0..MOST_WORKERS {
        let from = outcomes.len();
        let Some(case) = cases.get(from) else { return Ok(outcomes) };
        let mut worker = Worker::start(program, device, from)?;
        while outcomes.len() < cases.len() {
            match worker.next(limit) {
                Ok(outcome) => outcomes.push(outcome),
                // A worker that found the device lost has reported its last case already.
                Err(_) if outcomes.len() > from && outcomes[outcomes.len() - 1].failure.is_some() => break,
                Err(ending) => {
                    let at = outcomes.len();
                    outcomes.push(Outcome::failed(at, &cases[at], ending));
                    break;
                }
            }
        }
        worker.stop();
        if outcomes.len() == from {
            return Err(format!("the worker for {case:?} did nothing"));
        }
    }
    for (index, case) in cases.iter().enumerate().skip(outcomes.len()) {
        outcomes.push(Outcome::failed(index, case, format!("not run: {MOST_WORKERS} workers had died before")));
    }
    Ok(outcomes)
}

struct Worker {
    child: Child,
    lines: Receiver<String>,
}

impl Worker {
    fn start(program: &Path, device: usize, from: usize) -> Result<Self, String> {
        let arguments = ["check".to_owned(), "--device".to_owned(), device.to_string(), "--from".to_owned(), from.to_string()];
        let spawned = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| format!("{}: {error}", program.display()))?;
        let (send, lines) = channel();
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                let text = BufReader::new(output).lines().map_while(Result::ok);
                text.for_each(|line| drop(send.send(line)));
            });
        }
        Ok(Self { child, lines })
    }

    /// The next case's outcome, or how the worker ended.
    fn next(&mut self, limit: Duration) -> Result<Outcome, String> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => serde_json::from_str(&line).map_err(|error| format!("the worker wrote '{line}': {error}")),
            Err(RecvTimeoutError::Timeout) => Err(format!("no result within {limit:?}")),
            Err(RecvTimeoutError::Disconnected) => {
                let ended = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(format!("its process ended with {ended}"))
            }
        }
    }

    fn stop(mut self) {
        // Killing a process that has ended fails, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs cases in this process, and writes a line for each. Ends at once when a case has taken the device with it.
pub(crate) fn check(device: usize, family: Option<&str>, from: usize) -> Result<(), String> {
    let gpu = devices::open(device).map_err(|error| error.to_string())?;
    let mut failed = 0;
    let cases = suite::all();
    let chosen = cases.iter().enumerate().skip(from).filter(|(_, case)| family.is_none_or(|family| family == case.family));
    for (index, case) in chosen {
        let outcome = outcome(&gpu, index, case);
        let line = serde_json::to_string(&outcome).map_err(|error| error.to_string())?;
        let mut output = std::io::stdout().lock();
        writeln!(output, "{line}").and_then(|()| output.flush()).map_err(|error| error.to_string())?;
        if let Some(failure) = outcome.failure {
            failed += 1;
            if let Err(lost) = (cases[0].run)(&gpu) {
                return Err(format!("{case:?}: {failure}; and since then: {lost}"));
            }
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(format!("{failed} cases failed")),
    }
}

fn outcome(gpu: &Arc<dyn Gpu>, index: usize, case: &Case) -> Outcome {
    let started = Instant::now();
    let result = (case.run)(gpu);
    let milliseconds = started.elapsed().as_secs_f64() * 1e3;
    match result {
        Ok(checked) => Outcome {
            index,
            family: case.family.to_owned(),
            name: case.name.clone(),
            milliseconds,
            values: checked.values,
            bound_used: checked.used(),
            failure: None,
        },
        Err(failure) => Outcome { milliseconds, ..Outcome::failed(index, case, failure) },
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A worker that dies, and one that hangs, each cost the case that they were at, and nothing else.
    #[test]
    fn the_checks_go_on_behind_a_dead_worker() {
        let case = |name: &str| Case::new("made up", name, |_| Ok(suite::Checked::exact(1)));
        let cases = ["good", "dies", "hangs", "wrong", "good again"].map(case);
        let line = |index: usize, failure: Option<&str>| {
            let outcome = Outcome { failure: failure.map(str::to_owned), ..Outcome::failed(index, &cases[index], String::new()) };
            serde_json::to_string(&outcome).unwrap()
        };
        let script = format!(
            "#!/bin/sh\ncase $5 in\n0) echo '{}'; exit 9;;\n2) exec sleep 60;;\n3) echo '{}'; echo '{}';;\nesac\n",
            line(0, None),
            line(3, Some("too large")),
            line(4, None)
        );
        let folder = tempfile::tempdir().unwrap();
        let worker = folder.path().join("worker");
        std::fs::write(&worker, script).unwrap();
        std::fs::set_permissions(&worker, std::fs::Permissions::from_mode(0o755)).unwrap();
        let outcomes = supervise(&worker, 0, &cases, Duration::from_secs(2)).unwrap();
        let failures: Vec<_> = outcomes.iter().map(|outcome| outcome.failure.as_deref().unwrap_or("")).collect();
        assert_eq!(failures, ["", "its process ended with exit status: 9", "no result within 2s", "too large", ""]);
    }
}
