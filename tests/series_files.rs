//! From PATHs to scans on disk: what is found, what damage does, and whether pixels arrive upright.

#[path = "series/files.rs"]
mod files;
#[path = "series/support.rs"]
mod support;

use files::{Dicom, write};
use radnet::dicom::{DecodedSeries, DiscoverOptions, Discovery, StudyOutcome, discover};
use radnet::{ErrorKind, FindingCode, Observer, Unobserved};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{AXIAL, Dice};

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn find<P: AsRef<Path>>(paths: &[P]) -> Discovery {
    discover(paths, &DiscoverOptions::default(), &pool(2), &Unobserved).unwrap()
}

fn only(discovery: Discovery) -> StudyOutcome {
    assert_eq!(discovery.outcomes.len(), 1, "{:?}", discovery.outcomes);
    discovery.outcomes.into_iter().next().unwrap()
}

fn read(outcome: StudyOutcome) -> DecodedSeries {
    outcome.result.unwrap().read(&pool(2), &Unobserved).unwrap()
}

fn error_of(outcome: &StudyOutcome) -> ErrorKind {
    outcome.result.as_ref().unwrap_err().kind()
}

/// Writes `n` slices into `folder`, under names that do not sort by position.
fn scan(folder: &Path, series: &str, n: i64) -> Vec<PathBuf> {
    fs::create_dir_all(folder).unwrap();
    (0..n)
        .map(|i| {
            let path = folder.join(format!("I{}", (i * 7 + 3) % n * 10));
            write(&path, &Dicom { series, number: i + 1, position: [0.0, 0.0, 5.0 * i as f64], ..Dicom::default() });
            path
        })
        .collect()
}

/// A folder with junk beside the slices: DICOMDIR-like, text, empty file, hidden folder, DICOM without pixels.
#[test]
fn a_folder_with_junk() {
    let dir = tempfile::tempdir().unwrap();
    scan(&dir.path().join("a/b"), "1.2.3", 6);
    fs::write(dir.path().join("a/README.txt"), "not an image").unwrap();
    fs::write(dir.path().join("a/b/empty"), "").unwrap();
    write(&dir.path().join("a/report"), &Dicom { pixels: None, ..Dicom::default() });
    let discovery = find(&[dir.path()]);
    let inspection = serde_json::to_value(discovery.inspection()).unwrap();
    assert_eq!(inspection["sources"][0]["images"], 6);
    assert_eq!(inspection["sources"][0]["problems"], serde_json::json!([]));
    assert_eq!(inspection["studies"][0]["chosen_series"], "1.2.3");
    assert_eq!(inspection["studies"][0]["series"][0]["slices"], 6);
    assert_eq!(inspection["studies"][0]["series"][0]["state"], "chosen");
    let decoded = read(only(discovery));
    let positions: Vec<f64> = decoded.volume.slices().iter().map(|s| s.position_mm.unwrap()).collect();
    assert_eq!(positions, [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]);
    // Each slice's pixels carry its number.
    let numbers: Vec<f32> = decoded.volume.slices().iter().map(|s| s.pixels.hu(0)).collect();
    assert_eq!(numbers, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn paths_without_images() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("notes.txt");
    fs::write(&text, "not an image").unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let outcomes = find(&[dir.path().to_path_buf(), text, empty, dir.path().join("gone")]).outcomes;
    assert_eq!(outcomes.len(), 4);
    for (outcome, words) in outcomes.iter().zip(["holds no DICOM images", "holds no CT image", "holds no files", "cannot be read"]) {
        let error = outcome.result.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoImages);
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// Files named one by one are one scan; a second copy of them is a second scan; a folder is asked about by itself.
#[test]
fn files_and_folders_as_paths() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("one"), dir.path().join("two"));
    let mut paths = scan(&first, "1.2.3", 5);
    paths.extend(scan(&second, "1.2.3", 5));
    paths.push(first.clone());
    let outcomes = find(&paths).outcomes;
    let sizes: Vec<usize> = outcomes.iter().map(|o| o.result.as_ref().unwrap().headers().len()).collect();
    assert_eq!(sizes, [5, 5, 5]);
    assert_eq!(outcomes[0].source, paths[0]);
    assert_eq!(outcomes[1].source, paths[5]);
    assert_eq!(outcomes[2].source, first);
    assert!(outcomes[1].result.as_ref().unwrap().headers().iter().all(|h| h.path.starts_with(&second)));
}

/// Pixels cut short, or a file cut inside its header: the series is never read as if the slice had not been there.
#[test]
fn damage_is_never_silent() {
    let dir = tempfile::tempdir().unwrap();
    let paths = scan(dir.path(), "1.2.3", 6);
    let whole = fs::read(&paths[2]).unwrap();
    for keep in [whole.len() - 100, whole.len() - 8000, 600, 300] {
        fs::write(&paths[2], &whole[..keep]).unwrap();
        let outcomes = find(&[dir.path()]).outcomes;
        let mut errors = Vec::new();
        for outcome in outcomes {
            match outcome.result.and_then(|s| s.read(&pool(2), &Unobserved)) {
                Ok(decoded) => {
                    assert!(decoded.findings.iter().any(|f| f.code == FindingCode::MissingSlice && f.message.contains("damaged")))
                }
                Err(e) => errors.push(e),
            }
        }
        assert_eq!(errors.len(), 1, "{keep}");
        assert_eq!(errors[0].kind(), ErrorKind::CorruptFile, "{keep}: {}", errors[0]);
        assert_eq!(errors[0].path(), Some(paths[2].as_path()));
    }
}

/// A slice whose header is whole belongs to its series, so that series is what fails.
#[test]
fn a_slice_with_cut_pixels_fails_its_series() {
    let dir = tempfile::tempdir().unwrap();
    let paths = scan(dir.path(), "1.2.3", 6);
    let whole = fs::read(&paths[2]).unwrap();
    fs::write(&paths[2], &whole[..whole.len() - 100]).unwrap();
    let outcome = only(find(&[dir.path()]));
    let error = outcome.result.and_then(|s| s.read(&pool(2), &Unobserved)).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::CorruptFile, Some(paths[2].as_path())));
}

/// One broken file does not take another study with it.
#[test]
fn damage_stays_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    scan(&dir.path().join("good"), "1.2.3", 4);
    fs::create_dir(dir.path().join("bad")).unwrap();
    let mut junk = vec![0_u8; 128];
    junk.extend(b"DICM\x02\x00\x00\x00UL\x04\x00");
    fs::write(dir.path().join("bad/x"), junk).unwrap();
    let outcomes = find(&[dir.path()]).outcomes;
    assert_eq!(outcomes.len(), 2);
    assert_eq!(outcomes[0].result.as_ref().unwrap().findings(), []);
    assert_eq!(error_of(&outcomes[1]), ErrorKind::CorruptFile);
}

/// The pixels follow the body whatever the orientation of the stored slice: all eight axial ones, on an odd matrix.
#[test]
fn every_orientation_reads_upright() {
    let dir = tempfile::tempdir().unwrap();
    let (rows, cols, spacing) = (3, 5, [0.5, 0.75]);
    for (case, (i, j)) in [(0, 1), (1, 0)].into_iter().enumerate() {
        for (sign, (si, sj)) in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)].into_iter().enumerate() {
            let folder = dir.path().join(format!("{case}{sign}"));
            fs::create_dir(&folder).unwrap();
            let mut orientation = [0.0; 6];
            (orientation[i], orientation[3 + j]) = (si, sj);
            // A pixel's value tells its place: 16·(x in mm · 4) + (y in mm · 4), from the corner of the slice nearest the origin.
            let place = |r: usize, c: usize| {
                let mut at = [0.0; 3];
                at[i] += si * c as f64 * spacing[1];
                at[j] += sj * r as f64 * spacing[0];
                at
            };
            let corner = [0, 1].map(|axis| (0..rows * cols).map(|p| place(p / cols, p % cols)[axis]).fold(f64::INFINITY, f64::min));
            let value = |p: usize| {
                let at = place(p / cols, p % cols);
                (16.0 * 4.0 * (at[0] - corner[0]) + 4.0 * (at[1] - corner[1])) as i16
            };
            let pixels: Vec<i16> = (0..rows * cols).map(value).collect();
            write(&folder.join("s"), &Dicom { orientation, spacing, rows, cols, pixels: Some(pixels), ..Dicom::default() });
            let volume = read(only(find(&[&folder]))).volume;
            let [sy, sx] = volume.spacing_mm().unwrap();
            for r in 0..volume.rows() {
                for c in 0..volume.cols() {
                    let expected = 64.0 * (c as f64 * sx) + 4.0 * (r as f64 * sy);
                    assert_eq!(f64::from(volume.slices()[0].pixels.hu(r * volume.cols() + c)), expected, "{orientation:?} at {r},{c}");
                }
            }
        }
    }
}

/// The same result for one and for three threads, and for files written in another order.
#[test]
fn threads_do_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let mut heights: Vec<i64> = (0..30).collect();
    Dice(7).shuffle(&mut heights);
    for (name, i) in heights.iter().enumerate() {
        let position = [0.0, 0.0, 3.0 * *i as f64];
        write(&dir.path().join(format!("{name:02}")), &Dicom { number: *i, position, orientation: AXIAL, ..Dicom::default() });
    }
    let result = |threads| {
        let pool = pool(threads);
        let found = discover(&[dir.path()], &DiscoverOptions::default(), &pool, &Unobserved).unwrap();
        let inspection = serde_json::to_string(&found.inspection()).unwrap();
        let decoded = only(found).result.unwrap().read(&pool, &Unobserved).unwrap();
        (inspection, decoded.volume, decoded.findings)
    };
    assert_eq!(result(1), result(3));
}

/// The lowest slice that fails is the one named, however many threads race.
#[test]
fn the_first_failing_slice_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..20 {
        let position = [0.0, 0.0, 5.0 * f64::from(i)];
        let slope = if i % 5 == 4 { "broken" } else { "1" };
        write(&dir.path().join(format!("{i:02}")), &Dicom { number: i64::from(i), position, slope, ..Dicom::default() });
    }
    for _ in 0..5 {
        let series = only(find(&[dir.path()])).result.unwrap();
        let error = series.read(&pool(4), &Unobserved).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::BadRescale, Some(dir.path().join("04").as_path())));
    }
}

/// A host sees progress and can stop both phases.
#[test]
fn observers_watch_and_stop() {
    #[derive(Default)]
    struct Host {
        headers: AtomicUsize,
        slices: AtomicUsize,
        stop_at: usize,
    }
    impl Observer for Host {
        fn headers_read(&self, _done: usize, total: usize) {
            assert_eq!(total, 6);
            self.headers.fetch_add(1, Ordering::Relaxed);
        }
        fn slices_decoded(&self, _done: usize, total: usize) {
            assert_eq!(total, 6);
            self.slices.fetch_add(1, Ordering::Relaxed);
        }
        fn cancelled(&self) -> bool {
            self.headers.load(Ordering::Relaxed) + self.slices.load(Ordering::Relaxed) >= self.stop_at
        }
    }
    let dir = tempfile::tempdir().unwrap();
    scan(dir.path(), "1.2.3", 6);
    let run = |stop_at| {
        let host = Host { stop_at, ..Host::default() };
        let found = discover(&[dir.path()], &DiscoverOptions::default(), &pool(1), &host)?;
        let decoded = only(found).result?.read(&pool(1), &host)?;
        Ok::<_, radnet::Error>((decoded.volume.slices().len(), host.headers.into_inner(), host.slices.into_inner()))
    };
    assert_eq!(run(usize::MAX).unwrap(), (6, 6, 6));
    assert_eq!(run(3).unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(run(9).unwrap_err().kind(), ErrorKind::Cancelled);
}
