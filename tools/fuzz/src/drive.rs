//! Runs a target seed by seed, and watches over it: panics, hangs, memory.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// An input that takes longer hangs; sound ones take a millisecond.
const HANG: Duration = Duration::from_secs(20);
/// Failures after which a target is given up.
const MOST_FAILURES: usize = 20;

/// How many inputs, from which seed, within what memory.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) runs: u64,
    pub(crate) seed: u64,
    pub(crate) max_rss_mib: u64,
    pub(crate) trace: bool,
}

/// How one input ended: accepted, or refused with an error of this code. `Err` is a broken promise, in words.
pub(crate) type Outcome = Result<&'static str, String>;

/// Runs `target` on every seed of the plan and prints what came of it; whether all is well.
pub(crate) fn drive(plan: Plan, target: impl Fn(u64) -> Outcome) -> bool {
    let panic_message = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&panic_message);
    std::panic::set_hook(Box::new(move |info| {
        if let Ok(mut message) = noted.lock() {
            *message = info.to_string();
        }
    }));
    let watch = Watch::start();
    let start = Instant::now();
    let mut outcomes: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut failures = 0;
    for seed in (0..plan.runs).map(|i| plan.seed.wrapping_add(i)) {
        if plan.trace {
            eprintln!("seed {seed}");
        }
        watch.begin(seed);
        let failure = match catch_unwind(AssertUnwindSafe(|| target(seed))) {
            Ok(Ok(outcome)) => {
                *outcomes.entry(outcome).or_default() += 1;
                continue;
            }
            Ok(Err(broken)) => broken,
            Err(_) => panic_message.lock().map(|m| m.clone()).unwrap_or_default(),
        };
        failures += 1;
        println!("FAILED with --seed {seed} --runs 1: {failure}");
        if failures == MOST_FAILURES {
            println!("giving up after {MOST_FAILURES} failures");
            break;
        }
    }
    watch.end();
    drop(std::panic::take_hook());
    let memory = peak_rss_mib();
    let ran = outcomes.values().sum::<u64>() + failures as u64;
    let seconds = start.elapsed().as_secs_f64();
    let outcomes: Vec<String> = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    println!("{ran} inputs in {seconds:.1} s ({:.0}/s): {}; {failures} failures", ran as f64 / seconds.max(1e-9), outcomes.join(", "));
    match memory {
        Some(mib) => println!("peak resident memory {mib} MiB, limit {}", plan.max_rss_mib),
        None => println!("peak resident memory is not known on this system"),
    }
    failures == 0 && memory.is_none_or(|mib| mib <= plan.max_rss_mib)
}

/// Ends the process when one input takes too long: a thread that hangs cannot be stopped from outside.
struct Watch {
    start: Instant,
    current: Arc<Current>,
}

struct Current {
    seed: AtomicU64,
    since_ms: AtomicU64,
    done: AtomicBool,
}

impl Watch {
    fn start() -> Self {
        let start = Instant::now();
        let current = Arc::new(Current { seed: AtomicU64::new(0), since_ms: AtomicU64::new(0), done: AtomicBool::new(false) });
        let watched = Arc::clone(&current);
        thread::spawn(move || {
            while !watched.done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(500));
                let since = Duration::from_millis(watched.since_ms.load(Ordering::Relaxed));
                if start.elapsed().saturating_sub(since) > HANG && !watched.done.load(Ordering::Relaxed) {
                    let seed = watched.seed.load(Ordering::Relaxed);
                    println!("FAILED with --seed {seed} --runs 1: no end after {} s", HANG.as_secs());
                    std::process::exit(1);
                }
            }
        });
        Self { start, current }
    }

    fn begin(&self, seed: u64) {
        self.current.seed.store(seed, Ordering::Relaxed);
        self.current.since_ms.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn end(&self) {
        self.current.done.store(true, Ordering::Relaxed);
    }
}

/// The kernel's high-water mark of this process, on Linux.
fn peak_rss_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib.div_ceil(1024))
}
