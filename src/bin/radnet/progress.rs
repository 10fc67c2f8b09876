//! Progress of long work on a terminal; nothing in a pipe.

use crate::interrupt::Interrupt;
use indicatif::{FormattedDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One bar that the phases of the work share; also the ear for Ctrl-C.
pub(crate) struct Progress {
    bar: ProgressBar,
    interrupt: Interrupt,
    /// Ctrl-C does not break off a study that is begun.
    finishes: AtomicBool,
}

impl Progress {
    /// A bar on standard error, which stays hidden where that is no terminal.
    pub(crate) fn new(interrupt: Interrupt) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix}{spinner} {msg:<24} {wide_bar} {pos}/{len} {eta:>4}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, interrupt, finishes: AtomicBool::new(false) }
    }

    /// Starts a phase of unknown length.
    pub(crate) fn phase(&self, name: &'static str) {
        self.bar.reset();
        self.bar.set_length(0);
        self.bar.set_message(name);
        self.bar.enable_steady_tick(Duration::from_millis(120));
    }

    /// Says, before every bar to come, that `done` of `total` studies took `elapsed`.
    pub(crate) fn study(&self, done: usize, total: usize, elapsed: Duration) {
        let left = match done {
            0 => String::new(),
            n => format!(", {} left", FormattedDuration(elapsed.mul_f64((total - n) as f64 / n as f64))),
        };
        self.bar.set_prefix(format!("study {} of {total}{left} ", done + 1));
    }

    /// From now on Ctrl-C is heard between studies, where [`Progress::asked_to_stop`] is asked.
    pub(crate) fn finish_what_is_begun(&self) {
        self.finishes.store(true, Ordering::Relaxed);
    }

    /// Takes the bar off the terminal, so that results can be printed.
    pub(crate) fn clear(&self) {
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
    }

    /// Whether to stop.
    pub(crate) fn asked_to_stop(&self) -> bool {
        self.interrupt.asked()
    }

    fn at(&self, done: usize, total: usize) {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }
}

impl radnet::Observer for Progress {
    fn headers_read(&self, done: usize, total: usize) {
        self.at(done, total);
    }

    fn slices_decoded(&self, done: usize, total: usize) {
        self.at(done, total);
    }

    fn slices_done(&self, done: usize, total: usize) {
        self.at(done, total);
    }

    fn cancelled(&self) -> bool {
        self.interrupt.asked() && !self.finishes.load(Ordering::Relaxed)
    }
}
