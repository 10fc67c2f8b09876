//! Standard output for results, standard error for everything else. A reader that went away is not an error and never a panic.

use std::io::{ErrorKind, IsTerminal, Write};

/// Standard output: one program's results.
pub(crate) struct Output {
    closed: bool,
    failed: bool,
    paint: Paint,
}

/// How text is emphasised.
#[derive(Clone, Copy)]
pub(crate) struct Paint {
    /// Whether to use terminal colours.
    pub(crate) colour: bool,
}

/// Kinds of emphasis, as terminal codes.
pub(crate) enum Emphasis {
    Bold,
    Faint,
    Alarm,
}

impl Paint {
    pub(crate) fn text(self, emphasis: Emphasis, text: &str) -> String {
        let code = match emphasis {
            Emphasis::Bold => "1",
            Emphasis::Faint => "2",
            Emphasis::Alarm => "1;31",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Output {
    /// Colours only on a terminal that wants them.
    pub(crate) fn new(plain: bool) -> Self {
        Self { closed: false, failed: false, paint: Paint { colour: !plain && std::io::stdout().is_terminal() } }
    }

    /// How its text is emphasised.
    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    /// Writes and flushes; nothing more once the reader has closed its end.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.closed {
            return;
        }
        let mut stdout = std::io::stdout().lock();
        if let Err(e) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            self.closed = true;
            if e.kind() != ErrorKind::BrokenPipe {
                self.failed = true;
                complain(&format!("standard output: {e}"));
            }
        }
    }

    /// Whether something could not be written for another reason than a reader that went away.
    pub(crate) fn failed(&self) -> bool {
        self.failed
    }
}

/// One line on standard error, with the program's name; silent when that is closed too.
pub(crate) fn complain(message: &str) {
    let name = std::env::args_os().next().map(std::path::PathBuf::from);
    let name = name.as_deref().and_then(|n| n.file_stem()).map_or("radnet".into(), |n| n.to_string_lossy());
    let _ = writeln!(std::io::stderr().lock(), "{name}: {message}");
}

/// That an automatic device is not the GPU that this machine seems to have.
pub(crate) fn tell_fallback(engine: &radnet::Engine) {
    if let Some(reason) = engine.fallback() {
        complain(&format!("running on the CPU, because no GPU can be used: {reason}"));
    }
}
