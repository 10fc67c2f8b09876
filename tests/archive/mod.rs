//! An archive of small studies, made of the shipped phantoms, and a small model; the program run on them.
#![allow(dead_code, reason = "each test crate takes what it needs")]

use radnet::model::Config;
use radnet::model::config::{Attention, Backbone, Rnn, RnnShape, ScanRule};
use radnet::weights::{Extras, Storage, synthetic, write_model};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

pub(crate) struct Archive {
    folder: TempDir,
}

/// What the program said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Archive {
    /// `scans/` with studies of `slices` slices, in the folders of CQ500; `labels.csv` says that the odd ones are positive; `model.safetensors`.
    pub(crate) fn new(studies: usize, slices: usize) -> Self {
        let archive = Self { folder: tempfile::tempdir().unwrap() };
        archive.model("model.safetensors", 7);
        let mut labels = "id,label\n".to_owned();
        for n in 1..=studies {
            archive.study(n, slices);
            labels += &format!("CQ500-CT-{n},{}\n", n % 2);
        }
        fs::write(archive.path("labels.csv"), labels).unwrap();
        archive
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn model(&self, name: &str, seed: u64) {
        write_model(self.path(name), &synthetic(&config(), seed).unwrap(), Storage::F32, &Extras::default()).unwrap();
    }

    /// The folder that holds the slices of a study.
    pub(crate) fn slices(&self, n: usize) -> PathBuf {
        self.path(&format!("scans/CQ500CT{n} CQ500CT{n}/Unknown Study/CT Plain"))
    }

    /// One study: every other one a phantom with a bleed; from the middle of the head up, each study from another slice.
    fn study(&self, n: usize, slices: usize) {
        let kind = if n % 2 == 1 { "bleed" } else { "normal" };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/phantom").join(kind);
        let mut files: Vec<PathBuf> = fs::read_dir(source).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        fs::create_dir_all(self.slices(n)).unwrap();
        for (i, file) in files.iter().skip(n % 5).take(slices).enumerate() {
            fs::write(self.slices(n).join(format!("{i:03}.dcm")), renamed(&fs::read(file).unwrap(), n)).unwrap();
        }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_radnet"));
        command.args(arguments).current_dir(self.folder.path());
        command.env("RADNET_CACHE_DIR", "").env_remove("RADNET_ISA");
        command
    }

    pub(crate) fn radnet(&self, arguments: &[&str]) -> Said {
        Said::from(self.command(arguments).output().unwrap())
    }
}

/// Every UID of the phantoms (`2.25.…`) with its last three digits exchanged for the study's number.
fn renamed(file: &[u8], n: usize) -> Vec<u8> {
    let mut file = file.to_vec();
    let mut at = 0;
    while let Some(start) = file[at..].windows(5).position(|w| w == b"2.25.").map(|p| p + at) {
        let end = start + file[start..].iter().take(64).take_while(|b| b.is_ascii_digit() || **b == b'.').count();
        if end - start > 20 {
            // The digits before the last three tell slices apart.
            file[end - 3..end].copy_from_slice(format!("{n:03}").as_bytes());
        }
        at = end;
    }
    file
}

/// Small, and odd in every size.
pub(crate) fn config() -> Config {
    let mut config = Config::densenet121();
    config.input.size = [40, 48];
    config.backbone = Backbone::Densenet { init_features: 12, growth_rate: 6, block_config: vec![2, 2, 1], bn_size: 2, bn_eps: 1e-5 };
    config.segmentation = vec![];
    config.attention = Attention::Sigmoid { heads: 2 };
    config.rnn = Rnn::Gru(RnnShape { hidden: 10, layers: 1, bidirectional: true });
    config.classes = vec!["any".into(), "subdural".into()];
    config.scan = ScanRule::Consecutive { n: 2 };
    config.thresholds = [("any".to_owned(), 0.5), ("subdural".to_owned(), 0.25)].into();
    config
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e} in {:?} (stderr {:?})", self.stdout, self.stderr))
    }

    #[track_caller]
    pub(crate) fn exit(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout {:?}\nstderr {:?}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }
}
