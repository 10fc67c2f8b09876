//! Ctrl-C: the first asks the work to stop and lets the results so far be written, the second ends the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether somebody asked to stop.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

/// What shells expect of a program ended by Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;

impl Interrupt {
    /// Listens from now on. Where the system allows no handler, Ctrl-C ends the program as always.
    pub(crate) fn listen() -> Self {
        let interrupt = Self::default();
        let asked = interrupt.clone();
        let _ = ctrlc::set_handler(move || {
            if asked.0.swap(true, Ordering::Relaxed) {
                std::process::exit(EXIT_INTERRUPTED);
            }
        });
        interrupt
    }

    /// Whether to stop.
    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
