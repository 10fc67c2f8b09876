//! A scratch folder with a small model and small DICOM series, and the programs run in it.

use radnet::model::Config;
use radnet::model::config::{Attention, Backbone, Rnn, RnnShape, ScanRule};
use radnet::weights::{Extras, Storage, synthetic, write_model};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

pub(crate) const STUDY: &str = "1.2.826.0.1.3680043.10.1.1";
pub(crate) const SERIES: &str = "1.2.826.0.1.3680043.10.1.2";
/// Never to be seen in any output.
pub(crate) const PATIENT: &str = "SECRETNAME^SOMEBODY";

/// Scratch space that goes away with the test.
pub(crate) struct Scene {
    folder: TempDir,
}

/// What a program said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Scene {
    /// With `model.safetensors` (odd shapes, two classes) and, in `scan/`, a series of `slices`.
    pub(crate) fn new(slices: usize) -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap() };
        let model = synthetic(&config(), 7).unwrap();
        write_model(scene.path("model.safetensors"), &model, Storage::F32, &Extras::default()).unwrap();
        scene.series("scan", slices);
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(self.path(folder)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A head-like series in `folder`; file names run against the order of positions.
    pub(crate) fn series(&self, folder: &str, slices: usize) {
        fs::create_dir_all(self.path(folder)).unwrap();
        for index in 0..slices {
            let file = self.path(folder).join(format!("{:03}.dcm", slices - index));
            fs::write(file, slice(index)).unwrap();
        }
    }

    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path());
        command.env("RADNET_CACHE_DIR", self.path("cache")).env_remove("RADNET_ISA").env_remove("NO_COLOR");
        command
    }

    pub(crate) fn radnet(&self, arguments: &[&str]) -> Said {
        Said::from(self.command(RADNET, arguments).output().unwrap())
    }

    pub(crate) fn bench(&self, arguments: &[&str]) -> Said {
        Said::from(self.command(env!("CARGO_BIN_EXE_radnet-bench"), arguments).output().unwrap())
    }
}

pub(crate) const RADNET: &str = env!("CARGO_BIN_EXE_radnet");

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

    /// Checks the exit status; a failure shows everything.
    #[track_caller]
    pub(crate) fn exit(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout {:?}\nstderr {:?}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        assert!(!self.stdout.contains("SECRETNAME") && !self.stderr.contains("SECRETNAME"), "a patient's name got out");
        self
    }
}

pub(crate) fn config() -> Config {
    let mut config = Config::densenet121();
    config.input.size = [40, 48];
    config.backbone = Backbone::Densenet { init_features: 12, growth_rate: 6, block_config: vec![2, 2, 1], bn_size: 2, bn_eps: 1e-5 };
    config.segmentation = vec![1, 3];
    config.attention = Attention::Sigmoid { heads: 2 };
    config.rnn = Rnn::Gru(RnnShape { hidden: 10, layers: 1, bidirectional: true });
    config.classes = vec!["any".into(), "subdural".into()];
    config.scan = ScanRule::Consecutive { n: 2 };
    config.thresholds = [("any".to_owned(), 0.5), ("subdural".to_owned(), 0.25)].into();
    config
}

const SIDE: usize = 64;

/// An axial CT slice in explicit little endian: a skull, brain, air; 4 mm pixels would be a doll's head, so 3.5 mm.
fn slice(index: usize) -> Vec<u8> {
    let uid = format!("{SERIES}.{}", index + 1);
    let position = format!("-112\\-112\\{}", index as f64 * 5.0 - 20.0);
    let mut meta = element(0x0002, 0x0002, b"UI", "1.2.840.10008.5.1.4.1.1.2");
    meta.extend(element(0x0002, 0x0003, b"UI", &uid));
    meta.extend(element(0x0002, 0x0010, b"UI", "1.2.840.10008.1.2.1"));
    let mut file = vec![0; 128];
    file.extend(b"DICM");
    file.extend(raw(0x0002, 0x0000, b"UL", &(meta.len() as u32).to_le_bytes()));
    file.extend(meta);
    for (group, tag, vr, value) in [
        (0x0008, 0x0008, b"CS", "ORIGINAL\\PRIMARY\\AXIAL"),
        (0x0008, 0x0016, b"UI", "1.2.840.10008.5.1.4.1.1.2"),
        (0x0008, 0x0018, b"UI", &*uid),
        (0x0008, 0x0060, b"CS", "CT"),
        (0x0010, 0x0010, b"PN", PATIENT),
        (0x0018, 0x0050, b"DS", "5"),
        (0x0020, 0x000D, b"UI", STUDY),
        (0x0020, 0x000E, b"UI", SERIES),
        (0x0020, 0x0011, b"IS", "3"),
        (0x0020, 0x0013, b"IS", &*(100 - index).to_string()),
        (0x0020, 0x0032, b"DS", &*position),
        (0x0020, 0x0037, b"DS", "1\\0\\0\\0\\1\\0"),
        (0x0028, 0x0004, b"CS", "MONOCHROME2"),
        (0x0028, 0x0030, b"DS", "3.5\\3.5"),
        (0x0028, 0x1052, b"DS", "-1024"),
        (0x0028, 0x1053, b"DS", "1"),
    ] {
        if (group, tag) == (0x0028, 0x0004) {
            file.extend(raw(0x0028, 0x0002, b"US", &1_u16.to_le_bytes()));
        }
        if (group, tag) == (0x0028, 0x1052) {
            for (tag, value) in [(0x0100, 16_u16), (0x0101, 16), (0x0102, 15), (0x0103, 0)] {
                file.extend(raw(0x0028, tag, b"US", &value.to_le_bytes()));
            }
        }
        file.extend(element(group, tag, vr, value));
        if (group, tag) == (0x0028, 0x0004) {
            for tag in [0x0010, 0x0011] {
                file.extend(raw(0x0028, tag, b"US", &(SIDE as u16).to_le_bytes()));
            }
        }
    }
    file.extend([0xE0, 0x7F, 0x10, 0x00]);
    file.extend(b"OW\0\0");
    file.extend(((SIDE * SIDE * 2) as u32).to_le_bytes());
    file.extend((0..SIDE * SIDE).flat_map(|i| ((hu(index, i) + 1024) as u16).to_le_bytes()));
    file
}

fn hu(slice: usize, i: usize) -> i32 {
    let (y, x) = ((i / SIDE) as f64 - 31.5, (i % SIDE) as f64 - 31.5);
    match (y / 28.0).hypot(x / 22.0) {
        r if r > 1.0 => -1000,
        r if r > 0.85 => 1000,
        _ => 25 + ((i * 7 + slice * 3) % 17) as i32,
    }
}

fn element(group: u16, tag: u16, vr: &[u8; 2], value: &str) -> Vec<u8> {
    let mut value = value.as_bytes().to_vec();
    if value.len() % 2 == 1 {
        value.push(if vr == b"UI" { 0 } else { b' ' });
    }
    raw(group, tag, vr, &value)
}

fn raw(group: u16, tag: u16, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut bytes = group.to_le_bytes().to_vec();
    bytes.extend(tag.to_le_bytes());
    bytes.extend(vr);
    bytes.extend((value.len() as u16).to_le_bytes());
    bytes.extend(value);
    bytes
}

/// Whether `text` is one whole file name of the maps' folder.
pub(crate) fn has(names: &[String], text: &str) -> bool {
    names.iter().any(|n| n == text)
}

/// The array's shape in a `.npy` header.
pub(crate) fn npy_shape(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    let header = String::from_utf8_lossy(&bytes[10..118]).into_owned();
    let from = header.find('(').unwrap();
    header[from..=header.find(')').unwrap()].to_owned()
}
