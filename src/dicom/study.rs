//! From the images of one PATH to one outcome per study: which series is read, and why not the others.
//!
//! - A series is what shares a SeriesInstanceUID; localizers, secondary captures and images that are not CT are left out of it.
//! - Contrast and secondary series are read only when named.
//! - Without a named series, `choose` picks one per study; with one, only the study that holds it gives a result.
//! - A study in which nothing can be read says why: `not_ct` when nothing in it is CT; the series' own error when all its plain CT series
//!   fail alike; else `no_usable_series` with the reason of each.

use super::choose::{choose, why};
use super::discover::DiscoverOptions;
use super::geometry::Frame;
use super::group::{images as count, largest_group};
use super::header::SliceHeader;
use super::order::{Stack, stack};
use super::orient::Turn;
use super::series::Series;
use super::summary::{SeriesState, SeriesSummary};
use super::{hints, quality};
use crate::{Error, ErrorKind, Finding, FindingCode, Result};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Series named in one error or in the findings of one result; further ones are only counted.
const MAX_NAMED: usize = 20;

/// What one study under one PATH came to.
#[derive(Debug)]
pub struct StudyOutcome {
    /// The PATH.
    pub source: PathBuf,
    /// (0020,000D); none where the PATH itself failed or the files do not say.
    pub study_instance_uid: Option<String>,
    /// Every series of the study, by number; exactly one is `chosen` where there is a result.
    pub series: Vec<SeriesSummary>,
    /// The series to read, or why there is none.
    pub result: Result<Series>,
}

impl StudyOutcome {
    pub(super) fn failed(source: &Path, error: Error) -> Self {
        Self { source: source.to_path_buf(), study_instance_uid: None, series: Vec::new(), result: Err(error) }
    }
}

/// One outcome per study, in the order in which the studies first appear in `images`; the order of images within a study does not matter.
/// With a named series that none of the studies holds, one error that names those that are there.
pub fn arrange(source: &Path, images: Vec<SliceHeader>, options: &DiscoverOptions) -> Vec<StudyOutcome> {
    let studies = by_key(images, |h| h.study_instance_uid.clone()).into_iter().flat_map(|s| copies(source, s, options));
    let studies: Vec<Vec<SliceHeader>> = studies.collect();
    if let Some(named) = &options.series {
        let holds = |study: &[SliceHeader]| study.iter().any(|h| h.series_instance_uid == *named);
        if !studies.iter().any(|s| holds(s)) {
            return absent(source, named, &studies).into_iter().collect();
        }
        return studies.into_iter().filter(|s| holds(s)).map(|s| study(&source_of(source, &s, options), s, options)).collect();
    }
    studies.into_iter().map(|s| study(&source_of(source, &s, options), s, options)).collect()
}

/// A study whose images lie in two folders of an archive at once is there twice: each folder is then a study of its own.
fn copies(path: &Path, images: Vec<SliceHeader>, options: &DiscoverOptions) -> Vec<Vec<SliceHeader>> {
    let mut homes: HashMap<&str, PathBuf> = HashMap::new();
    let copied = options.archive
        && images.iter().any(|h| {
            let entry = entry_of(path, &h.path);
            *homes.entry(&h.sop_instance_uid).or_insert_with(|| entry.clone()) != entry
        });
    drop(homes);
    if copied { by_key(images, |h| entry_of(path, &h.path).display().to_string()) } else { vec![images] }
}

/// What a study names as its source.
fn source_of(path: &Path, images: &[SliceHeader], options: &DiscoverOptions) -> PathBuf {
    let mut entries = images.iter().filter(|_| options.archive).map(|h| entry_of(path, &h.path));
    match entries.next() {
        Some(first) if entries.all(|entry| entry == first) => first,
        _ => path.to_path_buf(),
    }
}

/// The folder directly under `path` that holds `file`, or `path` itself.
pub(super) fn entry_of(path: &Path, file: &Path) -> PathBuf {
    let mut inside = file.strip_prefix(path).unwrap_or(Path::new("")).components();
    match (inside.next(), inside.next()) {
        (Some(folder), Some(_)) => path.join(folder),
        _ => path.to_path_buf(),
    }
}

/// Groups by a key, in the order in which the keys first appear.
fn by_key(images: Vec<SliceHeader>, key: impl Fn(&SliceHeader) -> String) -> Vec<Vec<SliceHeader>> {
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<Vec<SliceHeader>> = Vec::new();
    for image in images {
        let at = *index.entry(key(&image)).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => group.push(image),
            None => groups.push(vec![image]),
        }
    }
    groups
}

fn absent(source: &Path, named: &str, studies: &[Vec<SliceHeader>]) -> Option<StudyOutcome> {
    let there: BTreeSet<&str> = studies.iter().flatten().map(|h| &*h.series_instance_uid).collect();
    if there.is_empty() {
        return None;
    }
    let list = listed(there.into_iter().map(str::to_owned).collect());
    let message = format!("there is no series {named}; the series here are {list}");
    Some(StudyOutcome::failed(source, Error::new(ErrorKind::NoUsableSeries, message)))
}

fn listed(mut items: Vec<String>) -> String {
    let more = items.len().saturating_sub(MAX_NAMED);
    items.truncate(MAX_NAMED);
    let list = items.join("; ");
    if more > 0 { format!("{list}; and {more} more") } else { list }
}

fn study(source: &Path, images: Vec<SliceHeader>, options: &DiscoverOptions) -> StudyOutcome {
    let study_instance_uid = images.first().map(|h| h.study_instance_uid.clone()).filter(|uid| !uid.is_empty());
    let mut found: Vec<Assembled> =
        by_key(images, |h| h.series_instance_uid.clone()).into_iter().map(|s| assemble(source, s, options)).collect();
    found.sort_by(|a, b| order_of(&a.summary).cmp(&order_of(&b.summary)));
    let picked = match &options.series {
        Some(named) => found.iter().position(|s| s.summary.series_instance_uid == *named),
        None => pick(&found),
    };
    let result = match picked {
        Some(at) => take(&mut found, at, options.series.is_some()),
        None => Err(nothing_usable(&mut found)),
    };
    StudyOutcome { source: source.to_path_buf(), study_instance_uid, series: found.into_iter().map(|s| s.summary).collect(), result }
}

fn order_of(s: &SeriesSummary) -> (bool, Option<i64>, &str) {
    (s.series_number.is_none(), s.series_number, &s.series_instance_uid)
}

/// A series with what became of it.
struct Assembled {
    summary: SeriesSummary,
    /// The finding that tells a result about this series when it is not the one read.
    dropped_as: FindingCode,
    series: Result<Series>,
}

fn pick(found: &[Assembled]) -> Option<usize> {
    let candidates: Vec<usize> = (0..found.len()).filter(|&i| found[i].summary.state == SeriesState::NotChosen).collect();
    let summaries: Vec<&SeriesSummary> = candidates.iter().map(|&i| &found[i].summary).collect();
    choose(&summaries).map(|best| candidates[best])
}

/// Hands out the picked series and tells the story of the others.
fn take(found: &mut [Assembled], at: usize, named: bool) -> Result<Series> {
    let mut series = found[at].hand_out()?;
    let reasons: Vec<String> = {
        let plain: Vec<&SeriesSummary> = found.iter().map(|s| &s.summary).filter(|s| s.state == SeriesState::NotChosen).collect();
        let chosen = &found[at].summary;
        let reason = |s: &SeriesSummary| match s.state {
            SeriesState::NotChosen if named => "another series was named".to_owned(),
            SeriesState::NotChosen => format!("the chosen series {}", why(chosen, s, &plain)),
            _ => s.reason.clone(),
        };
        found.iter().map(|s| reason(&s.summary)).collect()
    };
    let mut findings = Vec::new();
    let mut more = 0;
    for (i, (other, reason)) in found.iter_mut().zip(reasons).enumerate() {
        if i == at {
            continue;
        }
        other.summary.reason = reason;
        if findings.len() < MAX_NAMED { findings.push(other.not_used()) } else { more += 1 }
    }
    if more > 0 {
        findings.push(Finding::info(FindingCode::OtherSeries, format!("{more} more series were not used")));
    }
    let chosen = &mut found[at].summary;
    chosen.state = SeriesState::Chosen;
    chosen.reason = match (named, findings.is_empty()) {
        (true, _) => "it was named".to_owned(),
        (false, true) => String::new(),
        (false, false) => "it comes first by the rules".to_owned(),
    };
    series.findings.extend(findings);
    Ok(series)
}

impl Assembled {
    fn not_used(&self) -> Finding {
        Finding::info(self.dropped_as, format!("{} was not used: {}", self.summary.label(), self.summary.reason))
    }

    /// The series or its error, which then names the series.
    fn hand_out(&mut self) -> Result<Series> {
        let gone = || Error::new(ErrorKind::NoUsableSeries, "it is read elsewhere");
        std::mem::replace(&mut self.series, Err(gone())).map_err(|e| {
            let named = Error::new(e.kind(), format!("{}: {}", self.summary.label(), e.message()));
            match e.path() {
                Some(path) => named.in_file(path),
                None => named,
            }
        })
    }
}

/// Why a study without a candidate gives no result.
fn nothing_usable(found: &mut [Assembled]) -> Error {
    let ct = || found.iter().filter(|s| s.summary.state != SeriesState::NotCt);
    if ct().next().is_none() {
        let modalities: BTreeSet<&str> = found.iter().map(|s| &*s.summary.modality).filter(|m| !m.is_empty()).collect();
        let of =
            if modalities.is_empty() { String::new() } else { format!(", only {}", modalities.into_iter().collect::<Vec<_>>().join(", ")) };
        return Error::new(ErrorKind::NotCt, format!("the study holds no CT images{of}"));
    }
    let plain = |s: &Assembled| s.summary.state != SeriesState::NotCt && s.dropped_as == FindingCode::OtherSeries;
    let codes: BTreeSet<Option<&str>> = found.iter().filter(|s| plain(s)).map(|s| s.summary.error_code).collect();
    if codes.len() == 1
        && !codes.contains(&None)
        && let Some(Err(error)) = found.iter_mut().find(|s| plain(s)).map(Assembled::hand_out)
    {
        return error;
    }
    let reasons = found.iter().map(|s| format!("{}: {}", s.summary.label(), s.summary.reason)).collect();
    Error::new(ErrorKind::NoUsableSeries, format!("no series of the study can be used: {}", listed(reasons)))
}

/// Builds a series from its images, or says why that cannot be.
fn assemble(source: &Path, images: Vec<SliceHeader>, options: &DiscoverOptions) -> Assembled {
    let mut summary = SeriesSummary::of_images(&images);
    let mut dropped_as = FindingCode::OtherSeries;
    let (state, error) = match sift(images) {
        Err((state, error)) => (state, error),
        Ok(mut sifted) => {
            if sifted.only_secondary {
                dropped_as = FindingCode::SecondaryDropped;
            }
            match build(&mut sifted, options) {
                Ok((stack, turn)) => return ready(source, summary, &sifted, stack, turn, options),
                Err(error) => {
                    summary.findings = sifted.findings;
                    (SeriesState::Unusable, error)
                }
            }
        }
    };
    if state == SeriesState::Localizer {
        dropped_as = FindingCode::LocalizerDropped;
    }
    summary.state = state;
    let kind = if dropped_as == FindingCode::SecondaryDropped { "its images are SECONDARY; besides, " } else { "" };
    summary.reason = format!("{kind}{}", error.message());
    summary.error_code = (state == SeriesState::Unusable).then(|| error.kind().code());
    Assembled { summary, dropped_as, series: Err(error) }
}

/// The images of a series that can be slices of a scan.
struct Sifted {
    images: Vec<SliceHeader>,
    /// There is nothing but SECONDARY images.
    only_secondary: bool,
    findings: Vec<Finding>,
}

/// Leaves out what is no slice: other modalities, localizers, secondary captures beside primary images, colour.
fn sift(mut images: Vec<SliceHeader>) -> std::result::Result<Sifted, (SeriesState, Error)> {
    let mut findings = Vec::new();
    let modality = images.first().map(|h| h.modality.clone()).unwrap_or_default();
    images.retain(hints::is_ct);
    if images.is_empty() {
        return Err((SeriesState::NotCt, Error::new(ErrorKind::NotCt, format!("its modality is {modality:?}, not CT"))));
    }
    let before = images.len();
    images.retain(|h| !hints::is_localizer(h));
    if images.is_empty() {
        return Err((SeriesState::Localizer, Error::new(ErrorKind::NoUsableSeries, "it holds only localizers")));
    }
    if images.len() < before {
        let message = format!("{} of ImageType LOCALIZER left out of the series", count(before - images.len()));
        findings.push(Finding::info(FindingCode::LocalizerDropped, message));
    }
    let only_secondary = images.iter().all(hints::is_secondary);
    let before = images.len();
    let only_colour = images.iter().all(|h| h.pixels.samples_per_pixel != 1);
    images.retain(|h| (only_secondary || !hints::is_secondary(h)) && (only_colour || h.pixels.samples_per_pixel == 1));
    if images.len() < before {
        let message = format!("{}, SECONDARY or in colour, left out of the series", count(before - images.len()));
        findings.push(Finding::info(FindingCode::SecondaryDropped, message));
    }
    Ok(Sifted { images, only_secondary, findings })
}

/// A series whose slices are in order.
fn ready(source: &Path, summary: SeriesSummary, sifted: &Sifted, stack: Stack, turn: Turn, options: &DiscoverOptions) -> Assembled {
    let pixel_spacing_mm = common_spacing(&stack.headers);
    let mut summary = summary.with_stack(&stack, pixel_spacing_mm);
    let mut findings = sifted.findings.clone();
    findings.extend(quality::findings(&stack));
    summary.findings.clone_from(&findings);
    let only_when_named = if sifted.only_secondary {
        Some("its images are SECONDARY; name the series to read it")
    } else if stack.headers.iter().any(hints::is_contrast) {
        Some("contrast medium was given, by tag or description; name the series to read it")
    } else {
        None
    };
    if let Some(reason) = only_when_named {
        (summary.state, summary.reason) = (SeriesState::OnlyWhenNamed, reason.to_owned());
    }
    let dropped_as = if sifted.only_secondary { FindingCode::SecondaryDropped } else { FindingCode::OtherSeries };
    let Stack { headers, positions_mm, .. } = stack;
    let limits = options.limits.clone();
    let series = Series { source: source.to_path_buf(), headers, positions_mm, turn, pixel_spacing_mm, findings, limits };
    Assembled { summary, dropped_as, series: Ok(series) }
}

/// Groups, orders and checks the slices.
fn build(sifted: &mut Sifted, options: &DiscoverOptions) -> Result<(Stack, Turn)> {
    let images = std::mem::take(&mut sifted.images);
    let findings = &mut sifted.findings;
    if images.iter().all(|h| h.pixels.samples_per_pixel != 1) {
        return Err(Error::new(ErrorKind::NoUsableSeries, "its images are in colour and hold no Hounsfield units"));
    }
    if let Some(h) = images.iter().find(|h| h.frames != 1) {
        let message = format!("multi-frame images ({} frames) are not read by this version", h.frames);
        return Err(h.blame(Error::new(ErrorKind::NoUsableSeries, message)));
    }
    let (group, dropped) = largest_group(images)?;
    findings.extend(dropped);
    if !group.frame.is_axial() {
        return Err(not_axial(&group.frame));
    }
    let turn = Turn::new(&group.frame)?;
    let (stack, duplicates) = stack(group);
    findings.extend(duplicates);
    let first = &stack.headers[0];
    let pixels = [first.rows, first.cols, stack.headers.len()].into_iter().try_fold(1_usize, usize::checked_mul);
    if pixels == Some(0) {
        return Err(first.blame(Error::new(ErrorKind::CorruptFile, format!("its matrix is {}×{}", first.rows, first.cols))));
    }
    if pixels.is_none_or(|n| n > options.max_volume_pixels) {
        let (n, [rows, cols]) = (stack.headers.len(), [first.rows, first.cols]);
        let message = format!("{n} slices of {rows}×{cols} exceed the limit of {} pixels a scan", options.max_volume_pixels);
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok((stack, turn))
}

fn not_axial(frame: &Frame) -> Error {
    let [x, y, z] = frame.normal;
    let message =
        format!("its slices are not axial: their normal is ({x:.3}, {y:.3}, {z:.3}), {:.0} degrees off the long axis", frame.tilt_deg());
    Error::new(ErrorKind::NotAxial, message)
}

/// The most common PixelSpacing of positive numbers; of equally common ones the lowest slice's.
fn common_spacing(headers: &[SliceHeader]) -> Option<[f64; 2]> {
    let valid = |h: &SliceHeader| h.pixel_spacing_mm.filter(|s| s.iter().all(|v| v.is_finite() && *v > 0.0));
    let mut counts: Vec<([f64; 2], usize)> = Vec::new();
    for spacing in headers.iter().filter_map(valid) {
        match counts.iter_mut().find(|(s, _)| *s == spacing) {
            Some((_, n)) => *n += 1,
            None => counts.push((spacing, 1)),
        }
    }
    let most = counts.iter().map(|(_, n)| *n).max()?;
    counts.into_iter().find(|(_, n)| *n == most).map(|(s, _)| s)
}
