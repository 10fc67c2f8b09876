//! The library in one screen: `cargo run --release --example predict -- MODEL.safetensors FOLDER…`

use radnet::dicom::{DiscoverOptions, discover};
use radnet::{Engine, Model, Unobserved};
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let model = arguments.next().ok_or("usage: predict MODEL.safetensors FOLDER…")?;
    let folders: Vec<PathBuf> = arguments.collect();

    let engine = Engine::builder(Model::open(model)?).threads(Some(2)).build()?;
    let mut session = engine.session()?;
    for outcome in discover(&folders, &DiscoverOptions::default(), engine.pool(), &Unobserved)?.outcomes {
        // A study that cannot be judged says why, and never stops the others.
        let decoded = match outcome.result.and_then(|series| series.read(engine.pool(), &Unobserved)) {
            Ok(decoded) => decoded,
            Err(error) => {
                println!("{}: {} ({error})", outcome.source.display(), error.kind().code());
                continue;
            }
        };
        let prediction = session.predict(&decoded.volume, &Unobserved, false)?;
        for (class, decision) in engine.model().config.classes.iter().zip(&prediction.scan) {
            let verdict = if decision.positive { "positive" } else { "negative" };
            println!("{}: {class} {:.3}, {verdict} at {}", outcome.source.display(), decision.score, decision.threshold);
        }
    }
    println!("{}", engine.model().intended_use);
    Ok(())
}
