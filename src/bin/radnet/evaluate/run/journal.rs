//! The file of saved results: one complete `radnet-result/1` document a line, each flushed to the disk before the next study begins.
//!
//! A kill in the middle of a write leaves a last line without an end; opening the file drops it, so that one study at most is lost. The
//! file is locked while a run writes to it. Nothing but such a file is ever changed: other content is refused.

use radnet::report::result::SCHEMA;
use radnet::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Longest line read.
const MAX_LINE: u64 = 1 << 30;

/// What a saved study is known by: its StudyInstanceUID, or the source where it has none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    study: Option<String>,
    folder: String,
}

impl Key {
    /// By the study, and by the name alone of the folder that it lies in: the same archive may be called by another path.
    pub(crate) fn new(study: Option<&str>, source: &str) -> Self {
        let study = study.filter(|uid| !uid.is_empty()).map(str::to_owned);
        let folder = Path::new(source).file_name().map_or_else(|| source.to_owned(), |name| name.to_string_lossy().into_owned());
        Self { study, folder }
    }
}

/// A saved result.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) ok: bool,
    pub(crate) series: Option<String>,
    pub(crate) slices: usize,
    offset: u64,
    length: usize,
}

/// What all results of one file have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Maker {
    pub(crate) sha256: Option<String>,
    pub(crate) precision: Option<String>,
    /// Without its number.
    pub(crate) device: Option<String>,
    pub(crate) version: String,
}

impl Maker {
    pub(crate) fn new(sha256: Option<String>, precision: Option<String>, device: Option<&str>, version: &str) -> Self {
        let device = device.map(|d| d.split(':').next().unwrap_or(d).to_owned());
        Self { sha256, precision, device, version: version.to_owned() }
    }

    /// In what the saved results were made otherwise.
    fn difference(&self, saved: &Self) -> Option<String> {
        let of = |v: &Option<String>| v.clone().unwrap_or_else(|| "unknown".to_owned());
        let versions = (Some(saved.version.clone()), Some(self.version.clone()));
        [
            ("model of sha256", &saved.sha256, &self.sha256),
            ("precision", &saved.precision, &self.precision),
            ("kind of device", &saved.device, &self.device),
            ("engine version", &versions.0, &versions.1),
        ]
        .into_iter()
        .find(|(_, was, is)| was != is)
        .map(|(what, was, is)| format!("another {what}, {}; now it is {}", of(was), of(is)))
    }
}

/// An open file of results.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Every byte before it belongs to a whole line.
    end: u64,
    entries: HashMap<Key, Entry>,
    /// In the order of the file.
    order: Vec<Key>,
    /// Bytes of a line cut off by a kill.
    pub(crate) torn: u64,
}

#[derive(Deserialize)]
struct Line {
    schema: String,
    radnet: EnginePart,
    model: ModelPart,
    results: Vec<ResultPart>,
}

#[derive(Deserialize)]
struct EnginePart {
    version: String,
    precision: Option<String>,
    device: Option<String>,
}

#[derive(Deserialize)]
struct ModelPart {
    sha256: Option<String>,
}

#[derive(Deserialize)]
struct ResultPart {
    status: String,
    study_instance_uid: Option<String>,
    series_instance_uid: Option<String>,
    source: String,
    #[serde(default)]
    slices: Vec<IgnoredAny>,
}

impl Journal {
    /// Opens or makes the file, takes its lock, and reads what is saved there; with `restart` whatever was saved is dropped.
    ///
    /// # Errors
    /// `io`; `corrupt_file` when the file holds something else, when another run has it, or when its results were made by another model,
    /// precision, kind of device or version.
    pub(crate) fn open(path: &Path, maker: &Maker, restart: bool) -> Result<Self> {
        let is_new = !path.exists();
        let io = |e| Error::io(path, e);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        if !file.metadata().map_err(io)?.is_file() {
            return Err(refused("is no regular file, so a run could not be resumed from it").in_file(path));
        }
        lock(&file).map_err(|e| e.in_file(path))?;
        if is_new {
            sync_folder(path);
        }
        let mut journal = Self { path: path.to_owned(), file, end: 0, entries: HashMap::new(), order: Vec::new(), torn: 0 };
        journal.begin(maker, restart).map_err(|e| e.in_file(path))?;
        Ok(journal)
    }

    fn begin(&mut self, maker: &Maker, restart: bool) -> Result<()> {
        self.check_ours()?;
        if restart {
            return self.cut(0);
        }
        let length = self.read(maker)?;
        self.torn = length - self.end;
        if self.torn > 0 { self.cut(self.end) } else { Ok(()) }
    }

    fn io(&self, e: std::io::Error) -> Error {
        Error::io(&self.path, e)
    }

    /// The file is empty, or begins as a file of results does: nothing else is cut or written to.
    fn check_ours(&mut self) -> Result<()> {
        let expected = format!("{{\"schema\":\"{SCHEMA}\",");
        let mut start = Vec::new();
        self.file.seek(SeekFrom::Start(0)).map_err(|e| self.io(e))?;
        (&mut self.file).take(expected.len() as u64).read_to_end(&mut start).map_err(|e| self.io(e))?;
        if !expected.as_bytes().starts_with(&start) && start.iter().any(|b| *b != 0) {
            return Err(refused("is no file of results saved by `radnet evaluate --run`; name another by --save"));
        }
        Ok(())
    }

    /// Reads the lines and sets `end` after the last whole one; the length of the file.
    fn read(&mut self, maker: &Maker) -> Result<u64> {
        self.file.seek(SeekFrom::Start(0)).map_err(|e| self.io(e))?;
        let length = self.file.metadata().map_err(|e| self.io(e))?.len();
        let mut reader = BufReader::new(self.file.try_clone().map_err(|e| self.io(e))?);
        let mut bytes = Vec::new();
        for number in 1_u64.. {
            bytes.clear();
            let n = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut bytes).map_err(|e| self.io(e))?;
            if n == 0 || bytes.last() != Some(&b'\n') && self.end + n as u64 == length {
                break;
            }
            match serde_json::from_slice::<Line>(&bytes) {
                Ok(line) => self.take_in(line, n, maker).map_err(|e| refused(format!("line {number}: {}", e.message())))?,
                Err(_) if self.end + n as u64 == length => break,
                Err(e) => return Err(refused(format!("line {number} is no result document: {e}; --restart begins anew"))),
            }
            self.end += n as u64;
        }
        Ok(length)
    }

    fn take_in(&mut self, line: Line, length: usize, maker: &Maker) -> Result<()> {
        let [result] = &line.results[..] else { return Err(refused("it does not hold exactly one result")) };
        if line.schema != SCHEMA {
            return Err(refused(format!("its schema is not {SCHEMA}")));
        }
        let saved = Maker::new(line.model.sha256, line.radnet.precision, line.radnet.device.as_deref(), &line.radnet.version);
        if let Some(difference) = maker.difference(&saved) {
            return Err(refused(format!(
                "the saved results were made with {difference}; --restart begins anew, --save names another file"
            )));
        }
        let entry = Entry {
            ok: result.status == "ok",
            series: result.series_instance_uid.clone(),
            slices: result.slices.len(),
            offset: self.end,
            length,
        };
        self.remember(Key::new(result.study_instance_uid.as_deref(), &result.source), entry);
        Ok(())
    }

    fn remember(&mut self, key: Key, entry: Entry) {
        if self.entries.insert(key.clone(), entry).is_none() {
            self.order.push(key);
        }
    }

    fn cut(&mut self, length: u64) -> Result<()> {
        self.file.set_len(length).and_then(|()| self.file.sync_data()).map_err(|e| self.io(e))?;
        self.end = length;
        Ok(())
    }

    /// The saved result of a study.
    pub(crate) fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Saved results.
    pub(crate) fn keys(&self) -> &[Key] {
        &self.order
    }

    /// Drops every line but those of `keep`, by a new file that replaces the old one whole: failures that are tried again, and results
    /// of which a study has a newer one, so that the file never says two things of a study.
    pub(crate) fn keep_only(&mut self, keep: &dyn Fn(&Key) -> bool) -> Result<()> {
        let kept: Vec<Key> = self.order.iter().filter(|k| keep(k)).cloned().collect();
        let bytes: u64 = kept.iter().map(|k| self.entries[k].length as u64).sum();
        if bytes == self.end {
            return Ok(());
        }
        let target = fs::canonicalize(&self.path).map_err(|e| self.io(e))?;
        let folder = target.parent().unwrap_or(Path::new("."));
        let mut new = tempfile::Builder::new().prefix(".radnet-").suffix(".part").tempfile_in(folder).map_err(|e| self.io(e))?;
        lock(new.as_file())?;
        let permissions = self.file.metadata().map_err(|e| self.io(e))?.permissions();
        new.as_file().set_permissions(permissions).map_err(|e| self.io(e))?;
        let mut entries = HashMap::new();
        let mut end = 0;
        for key in &kept {
            let line = self.line(key)?;
            new.write_all(&line).map_err(|e| self.io(e))?;
            entries.insert(key.clone(), Entry { offset: end, ..self.entries[key].clone() });
            end += line.len() as u64;
        }
        new.as_file().sync_all().map_err(|e| self.io(e))?;
        let file = new.persist(&target).map_err(|e| self.io(e.error))?;
        sync_folder(&target);
        (self.file, self.end, self.entries, self.order) = (file, end, entries, kept);
        Ok(())
    }

    /// The document of a saved study, with its line feed.
    pub(crate) fn line(&mut self, key: &Key) -> Result<Vec<u8>> {
        let entry = &self.entries[key];
        let mut bytes = vec![0; entry.length];
        let read = self.file.seek(SeekFrom::Start(entry.offset)).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|e| self.io(e))?;
        Ok(bytes)
    }

    /// Appends one document and waits until the disk has it.
    pub(crate) fn append(&mut self, key: Key, entry: (bool, Option<String>, usize), mut document: Vec<u8>) -> Result<()> {
        document.push(b'\n');
        let written = self.file.seek(SeekFrom::Start(self.end)).and_then(|_| self.file.write_all(&document));
        if let Err(e) = written.and_then(|()| self.file.sync_data()) {
            // A part of a line would be dropped by the next run all the same.
            let _ = self.file.set_len(self.end);
            return Err(self.io(e));
        }
        let (ok, series, slices) = entry;
        self.remember(key, Entry { ok, series, slices, offset: self.end, length: document.len() });
        self.end += document.len() as u64;
        Ok(())
    }
}

fn lock(file: &File) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(refused("another run is writing to it")),
        // Some network file systems have no locks; a run there has to be alone by itself.
        Err(TryLockError::Error(_)) => Ok(()),
    }
}

/// Makes a new name in a folder last, where the system can; the results themselves are flushed either way.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix)
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::CorruptFile, message)
}
