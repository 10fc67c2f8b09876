//! What the commands do.

use std::fs;

use radnet_phantom::export::export_scan;
use radnet_phantom::view::{View, write_sheet};
use radnet_phantom::{Scan, ScanTruth, SeriesOptions, Settings, write_series, write_truth};
use rayon::prelude::*;

use crate::args::Command;

/// Runs a command; the error is a sentence for the user.
pub(crate) fn run(command: &Command) -> Result<(), String> {
    match command {
        Command::Series { seed, options, out, truth, localizer, junk } => {
            let scan = Scan::generate(&options.settings(*seed));
            let written = write_series(&scan, SeriesOptions { localizer: *localizer, junk: *junk }, out)
                .map_err(|e| format!("{}: {e}", out.display()))?;
            let beside = truth.clone().unwrap_or_else(|| {
                let mut name = out.file_name().unwrap_or_default().to_os_string();
                name.push("-truth");
                out.with_file_name(name)
            });
            write_truth(&scan, &written, &beside).map_err(|e| format!("{}: {e}", beside.display()))
        }
        Command::Export { seeds, options, sample, out } => {
            fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;
            seeds.clone().into_par_iter().try_for_each(|seed| {
                let settings = Settings { sample: sample.map(usize::from), ..options.settings(seed) };
                export_scan(&Scan::generate(&settings), out).map_err(|e| format!("{}: seed {seed}: {e}", out.display()))
            })
        }
        Command::View { seed, options, out, bone, plain } => {
            let scan = Scan::generate(&options.settings(*seed));
            let window = if *bone { View { level: 600.0, width: 2800.0, ..View::default() } } else { View::default() };
            write_sheet(&scan, &View { outline: !plain, ..window }, out).map_err(|e| format!("{}: {e}", out.display()))?;
            let truth = ScanTruth::of(&scan);
            println!("{} slices, {} kernel {}, age {}, {:?}", truth.shape[0], truth.scanner, truth.kernel, truth.age, truth.types);
            Ok(())
        }
    }
}
