//! The programs that count.

use std::process::Command;

/// What a program printed.
///
/// # Errors
/// When it cannot be started or fails.
pub(super) fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{name}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|e| format!("{name}: {e}"))
}

/// Why not all of these programs can be run.
pub(super) fn missing(names: &[&str]) -> Option<String> {
    let missing: Vec<&str> =
        names.iter().copied().filter(|name| !Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success())).collect();
    (!missing.is_empty()).then(|| format!("{} not here", missing.join(", ")))
}

/// The compiler that built this program, as far as one can ask.
pub(super) fn compiler() -> Result<String, String> {
    Ok(output(Command::new("rustc").arg("--version"))?.trim().to_owned())
}
