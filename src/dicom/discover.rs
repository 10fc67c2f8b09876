//! From PATHs to outcomes: find files, read their headers in parallel, arrange them into studies.
//!
//! What is one result:
//! - Each folder PATH is asked about by itself: the same study under two folders gives two results (a copy that was re-encoded, say).
//! - PATHs that are files are taken together, so that `scan/*.dcm` is one scan; the second copy of an object starts another scan.
//!   Their result carries the first file as its source.
//! - A PATH under which nothing can be read gives `no_images`, saying what is there.
//!
//! What becomes of damage:
//! - A file whose header is readable belongs to its series. If its pixels cannot be decoded, reading that series fails and names the file:
//!   a scan that quietly lacks a slice could lack the bleed.
//! - A file too damaged to say where it belongs, and a folder that cannot be entered, are left out and kill nothing; the PATH gets an error of its
//!   own beside its results, and a series that has slices in the same folder carries a finding that one of them may be missing.
//! - Files that are no DICOM images (DICOMDIR, reports, text) are ignored.

use super::header::{FileContent, SliceHeader};
use super::inspection::{Inspection, Problem, SourceInspection};
use super::limits::Limits;
use super::read_header;
use super::study::{StudyOutcome, arrange, entry_of};
use super::walk::{WalkLimits, walk};
use crate::{Error, ErrorKind, Finding, FindingCode, Observer, Result};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What to look for, and how much of it to take.
#[derive(Clone, Debug)]
pub struct DiscoverOptions {
    /// SeriesInstanceUID of the series to read, even if it is a contrast or secondary one.
    pub series: Option<String>,
    /// Bounds of single files.
    pub limits: Limits,
    /// Files and folders under one PATH.
    pub max_files: usize,
    /// Folders inside folders.
    pub max_depth: usize,
    /// Pixels of one scan, all slices together.
    pub max_volume_pixels: usize,
    /// The PATHs are archives: the source of a study is the folder directly under its PATH that holds all its images (the PATH itself
    /// when no single one does), and damage is told folder by folder.
    pub archive: bool,
}

impl Default for DiscoverOptions {
    /// Half a million files, folders 64 deep, scans of up to 1024 slices of 512×512.
    fn default() -> Self {
        Self { series: None, limits: Limits::default(), max_files: 500_000, max_depth: 64, max_volume_pixels: 1 << 28, archive: false }
    }
}

/// Everything found under the PATHs.
#[derive(Debug)]
pub struct Discovery {
    /// One per study, in the order of the PATHs; then, for a PATH with damage or without images, its error.
    pub outcomes: Vec<StudyOutcome>,
    sources: Vec<SourceInspection>,
}

impl Discovery {
    /// What `radnet inspect` shows: every file counted, every series with its geometry, what was chosen and why.
    pub fn inspection(&self) -> Inspection {
        Inspection::new(&self.sources, &self.outcomes)
    }
}

/// Searches the PATHs and reads every header on `pool`. The outcome depends on the files alone, not on timing or on the order folders list them.
///
/// # Errors
/// Only `cancelled`; everything else is an outcome.
pub fn discover<P: AsRef<Path>>(
    paths: &[P],
    options: &DiscoverOptions,
    pool: &rayon::ThreadPool,
    observer: &dyn Observer,
) -> Result<Discovery> {
    let mut sources = Vec::with_capacity(paths.len());
    let mut files = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        check(observer)?;
        let mut source = Source::new(path.as_ref());
        match walk(path.as_ref(), &WalkLimits { max_files: options.max_files, max_depth: options.max_depth }) {
            Err(e) => source.fatal = Some(e),
            Ok(found) => {
                source.is_file = found.is_file;
                source.problems = found.problems;
                files.extend(found.files.into_iter().map(|f| (index, f)));
            }
        }
        sources.push(source);
    }
    for ((index, _), content) in files.iter().zip(read_all(&files, &options.limits, pool, observer)?) {
        sources[*index].add(content);
    }
    Ok(gather(sources, options))
}

fn check(observer: &dyn Observer) -> Result<()> {
    if observer.cancelled() { Err(Error::new(ErrorKind::Cancelled, "the search was cancelled")) } else { Ok(()) }
}

fn read_all(files: &[(usize, PathBuf)], limits: &Limits, pool: &rayon::ThreadPool, observer: &dyn Observer) -> Result<Vec<FileContent>> {
    let done = AtomicUsize::new(0);
    let read = |(_, path): &(usize, PathBuf)| {
        check(observer)?;
        let content = read_header(path, limits);
        observer.headers_read(done.fetch_add(1, Ordering::Relaxed) + 1, files.len());
        Ok(content)
    };
    pool.install(|| files.par_iter().map(read).collect())
}

/// One PATH and what its files turned out to be.
struct Source {
    path: PathBuf,
    is_file: bool,
    images: Vec<SliceHeader>,
    image_count: usize,
    problems: Vec<Error>,
    ignored: BTreeMap<&'static str, usize>,
    fatal: Option<Error>,
}

impl Source {
    fn new(path: &Path) -> Self {
        let path = path.to_path_buf();
        Self { path, is_file: false, images: Vec::new(), image_count: 0, problems: Vec::new(), ignored: BTreeMap::new(), fatal: None }
    }

    fn add(&mut self, content: FileContent) {
        match content {
            FileContent::Image(header) => {
                self.image_count += 1;
                self.images.push(*header);
            }
            FileContent::NotAnImage(what) => *self.ignored.entry(what).or_default() += 1,
            FileContent::Broken(error) => self.problems.push(error),
        }
    }

    /// The PATH's own errors, each with its source: nothing there, or damage beside what could be read.
    fn own_errors(&mut self, archive: bool) -> Vec<(PathBuf, Error)> {
        if let Some(fatal) = self.fatal.take() {
            return vec![(self.path.clone(), fatal)];
        }
        let mut damage: BTreeMap<PathBuf, Vec<&Error>> = BTreeMap::new();
        for problem in &self.problems {
            let entry = problem.path().filter(|_| archive).map_or_else(|| self.path.clone(), |file| entry_of(&self.path, file));
            damage.entry(entry).or_default().push(problem);
        }
        let mut errors = Vec::with_capacity(damage.len());
        for (entry, problems) in damage {
            let error = damaged(&entry, &problems);
            errors.push((entry, error));
        }
        if errors.is_empty() && self.image_count == 0 {
            errors.push((self.path.clone(), Error::new(ErrorKind::NoImages, self.nothing()).in_file(&self.path)));
        }
        errors
    }

    fn nothing(&self) -> String {
        let what: Vec<String> = self.ignored.iter().map(|(what, n)| format!("{n} × {what}")).collect();
        match &what[..] {
            [] => "holds no files".to_owned(),
            [_] if self.is_file => format!("holds no CT image: it is {}", self.ignored.keys().next().unwrap_or(&"unknown")),
            _ => format!("holds no DICOM images, only {}", what.join(", ")),
        }
    }

    fn inspection(&self) -> SourceInspection {
        let ignored = self.ignored.iter().map(|(what, n)| ((*what).to_owned(), *n)).collect();
        let problems = self.fatal.iter().chain(&self.problems).map(Problem::from).collect();
        SourceInspection { source: self.path.display().to_string(), images: self.image_count, ignored, problems }
    }
}

fn gather(mut sources: Vec<Source>, options: &DiscoverOptions) -> Discovery {
    let inspections = sources.iter().map(Source::inspection).collect();
    let mut scans = pool_files(&mut sources);
    let mut outcomes = Vec::new();
    for (index, source) in sources.iter_mut().enumerate() {
        let own = std::mem::take(&mut source.images);
        let mut here = if source.is_file { Vec::new() } else { arrange(&source.path, own, options) };
        for images in scans.remove(&index).unwrap_or_default() {
            here.extend(arrange(&source.path, images, options));
        }
        warn_of_damage(&mut here, &source.problems);
        outcomes.extend(here);
        outcomes.extend(source.own_errors(options.archive).into_iter().map(|(path, error)| StudyOutcome::failed(&path, error)));
    }
    Discovery { outcomes, sources: inspections }
}

/// One error for all the damage under `source`: the first, and how many more.
fn damaged(source: &Path, problems: &[&Error]) -> Error {
    let Some(first) = problems.first() else { return Error::new(ErrorKind::CorruptFile, "a file could not be read").in_file(source) };
    let mut message = first.message().to_owned();
    match problems.len() - 1 {
        0 => {}
        1 => message.push_str("; 1 more file or folder under this PATH could not be read"),
        n => message.push_str(&format!("; {n} more files or folders under this PATH could not be read")),
    }
    Error::new(first.kind(), message).in_file(first.path().unwrap_or(source))
}

/// Images named as files, by the index of the PATH that each scan starts with.
fn pool_files(sources: &mut [Source]) -> BTreeMap<usize, Vec<Vec<SliceHeader>>> {
    struct Scan {
        first: usize,
        objects: HashSet<String>,
        images: Vec<SliceHeader>,
    }
    let mut scans: Vec<Scan> = Vec::new();
    let mut of_study: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, source) in sources.iter_mut().enumerate().filter(|(_, s)| s.is_file) {
        for image in source.images.drain(..) {
            let known = of_study.entry(image.study_instance_uid.clone()).or_default();
            let free = known.iter().copied().find(|&s| !scans[s].objects.contains(&image.sop_instance_uid));
            let scan = free.unwrap_or_else(|| {
                known.push(scans.len());
                scans.push(Scan { first: index, objects: HashSet::new(), images: Vec::new() });
                scans.len() - 1
            });
            scans[scan].objects.insert(image.sop_instance_uid.clone());
            scans[scan].images.push(image);
        }
    }
    let mut by_first: BTreeMap<usize, Vec<Vec<SliceHeader>>> = BTreeMap::new();
    for scan in scans {
        by_first.entry(scan.first).or_default().push(scan.images);
    }
    by_first
}

/// Says of each series that damaged files lie among its slices.
fn warn_of_damage(outcomes: &mut [StudyOutcome], problems: &[Error]) {
    let damage = |e: &&Error| matches!(e.kind(), ErrorKind::CorruptFile | ErrorKind::Io | ErrorKind::TooLarge);
    let damaged: Vec<&Path> = problems.iter().filter(damage).filter_map(|e| e.path()?.parent()).collect();
    if damaged.is_empty() {
        return;
    }
    for series in outcomes.iter_mut().filter_map(|o| o.result.as_mut().ok()) {
        let folders: HashSet<&Path> = series.headers.iter().filter_map(|h| h.path.parent()).collect();
        let n = damaged.iter().filter(|folder| folders.contains(*folder)).count();
        if n > 0 {
            let message = format!("{n} damaged or unreadable file(s) lie in the same folder as these slices: a slice may be missing");
            series.findings.push(Finding::warning(FindingCode::MissingSlice, message));
        }
    }
}
