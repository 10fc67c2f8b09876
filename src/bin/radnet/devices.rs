//! `radnet devices`: what this machine offers, what would be used, and why not the rest.

use crate::args::DevicesArguments;
use crate::console::{Emphasis, Output, Paint, complain};
use crate::environment::Environment;
use crate::gpus::Cuda;
use crate::sink::Sink;
use crate::{FAILED, OK};
use radnet::backend::cpu;
use radnet::report::result::to_json;
use radnet::{Error, ErrorKind, Result};
use std::fmt::Write;
use std::path::PathBuf;

/// The document of `--json`.
#[derive(serde::Serialize)]
struct Document {
    schema: &'static str,
    version: &'static str,
    cpu: Cpu,
    cuda: Cuda,
    /// Where packed weights are kept.
    cache_dir: Option<PathBuf>,
}

#[derive(serde::Serialize)]
struct Cpu {
    model: Option<String>,
    architecture: &'static str,
    /// What the engine starts by default.
    threads: usize,
    /// CPUs that affinity allows, where the system says.
    affinity: Option<usize>,
    /// CPUs' worth of time that the cgroup's quota allows; null when there is none.
    quota: Option<f64>,
    isa: Vec<Tier>,
    /// What runs for each family of kernels, and why nothing better.
    kernels: Vec<String>,
}

#[derive(serde::Serialize)]
struct Tier {
    name: &'static str,
    available: bool,
    /// Whether the engine would run it now.
    used: bool,
    /// Why not.
    refusal: Option<String>,
}

/// Runs the command; the exit status.
pub(crate) fn run(arguments: DevicesArguments, environment: &Environment) -> u8 {
    let mut output = Output::new(environment.plain);
    match show(arguments, environment, &mut output) {
        Ok(()) if !output.failed() => OK,
        Ok(()) => FAILED,
        Err(error) => {
            complain(&error.to_string());
            FAILED
        }
    }
}

fn show(arguments: DevicesArguments, environment: &Environment, output: &mut Output) -> Result<()> {
    let json = arguments.json.map(Sink::new);
    json.as_ref().map_or(Ok(()), Sink::check)?;
    let document = Document::new(environment)?;
    if json != Some(Sink::Stdout) {
        output.write(document.text(output.paint()).as_bytes());
    }
    json.map_or(Ok(()), |sink| sink.put(&to_json(&document)?, output))
}

impl Document {
    fn new(environment: &Environment) -> Result<Self> {
        let isa = tiers(environment.isa.as_deref())?;
        let kernels = cpu::kernels(environment.isa.as_deref());
        Ok(Self {
            schema: "radnet-devices/1",
            version: env!("CARGO_PKG_VERSION"),
            cpu: Cpu {
                model: processor(),
                architecture: std::env::consts::ARCH,
                threads: std::thread::available_parallelism().map_or(1, usize::from),
                affinity: affinity(),
                quota: quota(),
                isa,
                kernels,
            },
            cuda: Cuda::find(),
            cache_dir: environment.cache_dir.clone(),
        })
    }

    fn text(&self, paint: Paint) -> String {
        let cpu = &self.cpu;
        let mut text =
            format!("{}  {} ({})\n", paint.text(Emphasis::Bold, "CPU"), cpu.model.as_deref().unwrap_or("unknown model"), cpu.architecture);
        let affinity = cpu.affinity.map_or(String::new(), |n| format!("; affinity allows {n} CPUs"));
        let quota = cpu.quota.map_or("; no cgroup quota".to_owned(), |n| format!("; the cgroup's quota is {n:.2} CPUs"));
        let _ = writeln!(text, "  threads     {}{affinity}{quota}", cpu.threads);
        for tier in &cpu.isa {
            let words = match (&tier.refusal, tier.used) {
                (Some(reason), _) => format!("not available: {reason}"),
                (None, true) => paint.text(Emphasis::Bold, "used"),
                (None, false) => "available, not used: a better one is, or RADNET_ISA names another".to_owned(),
            };
            let _ = writeln!(text, "  {:<11} {words}", tier.name);
        }
        for kernel in &cpu.kernels {
            let _ = writeln!(text, "    {}", paint.text(Emphasis::Faint, kernel));
        }
        let _ = writeln!(text, "  precision   fp32 (auto), bf16, int8");
        text.push_str(&self.cuda.text(paint));
        let cache = self.cache_dir.as_ref().map_or("nowhere".to_owned(), |f| f.display().to_string());
        let _ = writeln!(text, "{}  packed weights are kept in {cache}", paint.text(Emphasis::Bold, "Cache"));
        text
    }
}

fn tiers(forced: Option<&str>) -> Result<Vec<Tier>> {
    let all = cpu::tiers();
    let used = match forced {
        Some(name) if all.iter().any(|t| t.name == name) => Some(name),
        Some(name) => return Err(Error::new(ErrorKind::Device, format!("RADNET_ISA: no tier is called {name}"))),
        None => all.iter().find(|t| t.refusal.is_none()).map(|t| t.name),
    };
    let tier = |t: &cpu::Tier| {
        let available = t.refusal.is_none();
        Tier { name: t.name, available, used: available && used == Some(t.name), refusal: t.refusal.clone() }
    };
    Ok(all.iter().map(tier).collect())
}

/// The processor's name, where the system says.
fn processor() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let value = |key: &str| info.lines().find_map(|l| l.strip_prefix(key)?.trim().strip_prefix(':').map(|v| v.trim().to_owned()));
    value("model name").or_else(|| value("Processor")).or_else(|| value("CPU part"))
}

/// CPUs in this process's affinity mask (Linux).
fn affinity() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let list = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"))?;
    list.trim().split(',').map(range_length).sum()
}

/// "0-3" is 4, "7" is 1.
fn range_length(range: &str) -> Option<usize> {
    match range.split_once('-') {
        Some((first, last)) => Some(last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)? + 1),
        None => range.parse::<usize>().ok().map(|_| 1),
    }
}

/// CPUs' worth of time of the root of this process's cgroup namespace (cgroup v2).
fn quota() -> Option<f64> {
    let limit = std::fs::read_to_string("/sys/fs/cgroup/cpu.max").ok()?;
    let (quota, period) = limit.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_their_length() {
        assert_eq!([range_length("0-3"), range_length("7"), range_length("5-4"), range_length("x")], [Some(4), Some(1), None, None]);
    }
}
