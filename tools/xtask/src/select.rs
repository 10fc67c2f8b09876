//! `cargo xtask select`: is the selected kernel the fastest one?
//!
//! The engine selects a tier for all kernels; this times the selected one against all others of this machine, kernel by kernel at DenseNet-121's shapes, and
//! compares the outputs of those that give the same bits on the way. It is a command and no test:
//! what a clock says depends on what else the machine does.

use crate::Failure;
use radnet_kernels::Isa;
use radnet_workloads::{Set, Workload, all};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// How much slower than the best the selected one may be.
const TOLERANCE: f64 = 1.05;
/// A round of a tier is at least this long, or one run.
const ROUND: Duration = Duration::from_millis(10);

/// One workload on every tier.
#[derive(Debug)]
struct Row {
    name: String,
    /// Tier and the fastest run's seconds; the selected tier is the first.
    times: Vec<(&'static str, f64)>,
}

impl Row {
    fn best(&self) -> (&'static str, f64) {
        self.times.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or(("none", f64::NAN))
    }

    /// The selected tier's time over the best one's.
    fn ratio(&self) -> f64 {
        self.times.first().map_or(f64::NAN, |selected| selected.1 / self.best().1)
    }

    fn passes(&self) -> bool {
        self.ratio() <= TOLERANCE
    }
}

/// Times, prints the table, and fails where the selected tier is more than 5 % slower than another.
///
/// # Errors
/// When it is, or when two tiers differ in a bit that should not.
pub fn check(rounds: usize, filter: &str) -> Result<(), Failure> {
    let tiers: Vec<Isa> = Isa::available().collect();
    for name in Isa::NAMES {
        if let Some(reason) = radnet_kernels::isa::refusal(name) {
            println!("skipped: {name}: {reason}");
        }
    }
    let mut rows = Vec::new();
    for mut workload in all(Set::Timed).into_iter().filter(|w| w.name().contains(filter)) {
        rows.push(row(&mut workload, &tiers, rounds.max(1))?);
    }
    print!("{}", table(&rows));
    let slow: Vec<&str> = rows.iter().filter(|row| !row.passes()).map(|row| row.name.as_str()).collect();
    match slow.is_empty() {
        true => Ok(()),
        false => Err(Failure::Wrong(format!("the selected tier is more than 5 % slower than another: {}", slow.join(", ")))),
    }
}

/// Rounds in which the tiers take turns.
fn row(workload: &mut Workload, tiers: &[Isa], rounds: usize) -> Result<Row, Failure> {
    let mut times: Vec<(&'static str, f64)> = tiers.iter().map(|isa| (isa.name(), f64::INFINITY)).collect();
    let mut expected: Vec<(Isa, Vec<u32>)> = Vec::new();
    for _ in 0..rounds {
        for (isa, (name, best)) in tiers.iter().zip(&mut times) {
            let round = Instant::now();
            loop {
                let start = Instant::now();
                workload.run(*isa);
                *best = best.min(start.elapsed().as_secs_f64());
                if round.elapsed() >= ROUND {
                    break;
                }
            }
            let bits: Vec<u32> = workload.output().iter().map(|v| v.to_bits()).collect();
            match expected.iter().find(|(first, _)| workload.agrees(*first, *isa)) {
                Some((first, expected)) if *expected != bits => {
                    return Err(Failure::Wrong(format!("{}: {name} and {} differ in their bits", workload.name(), first.name())));
                }
                Some(_) => {}
                None => expected.push((*isa, bits)),
            }
        }
    }
    Ok(Row { name: workload.name(), times })
}

fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let times: Vec<String> = row.times.iter().map(|(name, seconds)| format!("{name} {:.3} ms", seconds * 1e3)).collect();
        let verdict =
            if row.passes() { "selected is best".to_owned() } else { format!("{} is {:.2}× as fast", row.best().0, row.ratio()) };
        let _ = writeln!(text, "{:<36} {}   {verdict}", row.name, times.join("   "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made-up times: within 5 % passes, beyond fails and names the better one.
    #[test]
    fn a_wrong_selection_is_seen() {
        let row = |selected, other| Row { name: "1×1".into(), times: vec![("avx512", selected), ("avx2", other)] };
        assert!(row(1.0, 3.0).passes() && row(1.04, 1.0).passes());
        assert!(!row(1.06, 1.0).passes());
        assert!(table(&[row(2.0, 1.0)]).contains("avx2 is 2.00× as fast"));
    }
}
