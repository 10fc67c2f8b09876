//! `radnet evaluate --run`: straight from DICOM, study by study, and on from wherever it was stopped.

mod archive;

use archive::{Archive, Said};
use serde_json::Value;
use std::fs;

const RUN: [&str; 14] = [
    "evaluate",
    "--labels",
    "labels.csv",
    "--id",
    "folder",
    "--run",
    "scans",
    "--model",
    "model.safetensors",
    "--save",
    "saved.jsonl",
    "--json",
    "-",
    "--bootstrap=50",
];

fn run(archive: &Archive, more: &[&str]) -> Said {
    archive.radnet(&[&RUN[..], more].concat())
}

fn saved(archive: &Archive) -> Vec<u8> {
    fs::read(archive.path("saved.jsonl")).unwrap()
}

fn documents(archive: &Archive) -> Vec<Value> {
    String::from_utf8(saved(archive)).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn sources(archive: &Archive) -> Vec<String> {
    documents(archive).iter().map(|d| d["results"][0]["source"].as_str().unwrap().to_owned()).collect()
}

/// What is left when the pixels of every slice are cut off: headers that can be read, and a scan that cannot.
fn cut_pixels(archive: &Archive, study: usize) {
    for file in fs::read_dir(archive.slices(study)).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 20_000]).unwrap();
    }
}

/// One line per study, each a whole document; a broken study and a broken file stop nothing and are told; the label's folder names are
/// found however deep the files lie; the saved lines judge as the run did.
#[test]
fn every_study_is_judged_and_damage_stops_nothing() {
    let archive = Archive::new(5, 3);
    cut_pixels(&archive, 2);
    fs::create_dir(archive.path("scans/torn")).unwrap();
    let slice = fs::read(archive.slices(1).join("000.dcm")).unwrap();
    fs::write(archive.path("scans/torn/x.dcm"), &slice[..300]).unwrap();
    fs::write(archive.path("scans/readme.txt"), "not an image").unwrap();
    let refused = run(&archive, &[]).exit(1);
    assert!(refused.stderr.contains("1 labelled but not scored"), "{}", refused.stderr);
    let said = run(&archive, &["--allow-missing"]).exit(0);
    let judged = said.json();
    assert_eq!((judged["n"].as_u64(), judged["positives"].as_u64(), judged["missing_scores"].as_u64()), (Some(4), Some(3), Some(1)));
    let errors = judged["errors"].as_array().unwrap();
    assert_eq!(errors.iter().filter(|e| e["id"] == "CQ500-CT-2").count(), 1, "{errors:?}");
    assert_eq!(errors.iter().filter(|e| e["id"] == "torn").count(), 1, "{errors:?}");
    let documents = documents(&archive);
    assert_eq!(documents.len(), 5, "four scans and one that failed");
    for document in &documents {
        assert_eq!((&document["schema"], document["results"].as_array().unwrap().len()), (&"radnet-result/1".into(), 1));
        assert!(document["results"][0]["source"].as_str().unwrap().starts_with("scans/CQ500CT"));
        assert_eq!(document["model"]["sha256"].as_str().unwrap().len(), 64);
    }
    let again = archive.radnet(&[
        "evaluate",
        "--labels",
        "labels.csv",
        "--id",
        "folder",
        "--results",
        "saved.jsonl",
        "--json",
        "-",
        "--bootstrap",
        "50",
        "--allow-missing",
    ]);
    let again = again.exit(0).json();
    for key in ["n", "tp", "fp", "fn", "tn", "auc", "roc", "brier", "model"] {
        assert_eq!(again[key], judged[key], "{key}");
    }
}

/// Cut after every kind of byte, the file leads to the same judgement, and nothing that was whole is lost.
#[test]
fn a_torn_file_goes_on_to_the_same_judgement() {
    let archive = Archive::new(4, 2);
    let whole_judgement = run(&archive, &[]).exit(0).json();
    let whole = saved(&archive);
    let ends: Vec<usize> = (0..whole.len()).filter(|&i| whole[i] == b'\n').map(|i| i + 1).collect();
    assert_eq!(ends.len(), 4);
    for cut in [0, 1, 30, ends[0] - 1, ends[0], ends[0] + 1, ends[1] + 200, ends[2] - 1, ends[3] - 1] {
        fs::write(archive.path("saved.jsonl"), &whole[..cut]).unwrap();
        let said = run(&archive, &[]).exit(0);
        assert_eq!(said.json(), whole_judgement, "cut at {cut}");
        let torn = cut > 0 && !ends.contains(&cut);
        assert_eq!(said.stderr.contains("cut off"), torn, "cut at {cut}: {}", said.stderr);
        let kept = ends.iter().copied().filter(|&e| e <= cut).max().unwrap_or(0);
        assert_eq!(saved(&archive)[..kept], whole[..kept], "cut at {cut}");
        assert_eq!(sources(&archive).len(), 4, "cut at {cut}");
    }
    // A crash of the machine can leave zeros where the end of the file was to be.
    fs::write(archive.path("saved.jsonl"), [&whole[..ends[1]], &[0; 64]].concat()).unwrap();
    assert_eq!(run(&archive, &[]).exit(0).json(), whole_judgement);
    // Damage before the last line is nobody's kill.
    let mut damaged = whole.clone();
    damaged[ends[0] + 5] = b'!';
    fs::write(archive.path("saved.jsonl"), &damaged).unwrap();
    let said = run(&archive, &[]).exit(1);
    assert!(said.stderr.contains("line 2"), "{}", said.stderr);
    assert_eq!(saved(&archive), damaged, "what is refused is not changed");
}

/// Killed without warning in the middle of the work.
#[test]
fn a_kill_loses_one_study_at_most() {
    let archive = Archive::new(8, 12);
    let mut child = archive.command(&RUN).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let lines = || fs::read(archive.path("saved.jsonl")).map_or(0, |b| b.iter().filter(|b| **b == b'\n').count());
    while lines() < 2 && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let done = lines();
    let before = sources(&archive);
    let whole: usize = saved(&archive).iter().rposition(|b| *b == b'\n').unwrap() + 1;
    let kept = saved(&archive)[..whole].to_vec();
    let resumed = run(&archive, &[]).exit(0);
    assert!(resumed.stderr.contains(&format!("{done} studies are done")), "{}", resumed.stderr);
    assert!(saved(&archive).starts_with(&kept));
    assert!(sources(&archive).starts_with(&before[..done]));
    fs::remove_file(archive.path("saved.jsonl")).unwrap();
    assert_eq!(run(&archive, &[]).exit(0).json(), resumed.json());
}

/// Studies that are done are not read again: their pixels may be gone, and so may their files.
#[test]
fn what_is_done_is_skipped() {
    let archive = Archive::new(4, 2);
    let first = run(&archive, &[]).exit(0).json();
    let lines = saved(&archive);
    (1..=4).for_each(|n| cut_pixels(&archive, n));
    fs::remove_dir_all(archive.slices(3)).unwrap();
    let said = run(&archive, &[]).exit(0);
    assert_eq!(said.json(), first);
    assert_eq!(saved(&archive), lines);
    assert!(said.stderr.contains("3 studies are done") && said.stderr.contains("1 saved results"), "{}", said.stderr);
    // Begun anew they fail.
    let said = run(&archive, &["--restart"]).exit(1);
    assert!(said.stderr.contains("results are errors"), "{}", said.stderr);
    assert!(documents(&archive).iter().all(|d| d["results"][0]["status"] == "error"));
}

/// A study that failed is tried again, one that has grown is judged again, and the file says one thing of each.
#[test]
fn failures_and_grown_studies_are_judged_again() {
    let archive = Archive::new(3, 3);
    let file = archive.slices(2).join("001.dcm");
    let (slice, extra) = (fs::read(&file).unwrap(), archive.slices(3).join("002.dcm"));
    let late = fs::read(&extra).unwrap();
    fs::write(&file, &slice[..slice.len() - 20_000]).unwrap();
    fs::remove_file(&extra).unwrap();
    run(&archive, &["--allow-missing"]).exit(0);
    fs::write(&file, &slice).unwrap();
    fs::write(&extra, late).unwrap();
    let said = run(&archive, &[]).exit(0);
    assert!(said.stderr.contains("1 studies are done"), "{}", said.stderr);
    let documents = documents(&archive);
    assert_eq!(documents.len(), 3);
    assert!(documents.iter().all(|d| d["results"][0]["slices"].as_array().is_some_and(|s| s.len() == 3)));
}

/// Another model, another precision, somebody else's file: refused with what differs, and not touched.
#[test]
fn what_does_not_belong_together_is_refused() {
    let archive = Archive::new(2, 2);
    run(&archive, &[]).exit(0);
    let lines = saved(&archive);
    archive.model("other.safetensors", 8);
    let mut other = RUN;
    other[8] = "other.safetensors";
    let said = archive.radnet(&other).exit(1);
    assert!(said.stderr.contains("another model of sha256") && said.stderr.contains("--restart"), "{}", said.stderr);
    for (was, is, what) in
        [("\"precision\":\"fp32\"", "\"precision\":\"bf16\"", "precision"), ("\"device\":\"cpu\"", "\"device\":\"cuda:1\"", "device")]
    {
        let text = String::from_utf8(lines.clone()).unwrap().replace(was, is);
        fs::write(archive.path("saved.jsonl"), &text).unwrap();
        let said = run(&archive, &[]).exit(1);
        assert!(said.stderr.contains(what), "{}", said.stderr);
        assert_eq!(saved(&archive), text.as_bytes());
    }
    for foreign in ["id,label\n1,0\n", "{\"schema\":\"radnet-evaluation/1\"}", "x"] {
        fs::write(archive.path("saved.jsonl"), foreign).unwrap();
        for more in [&[][..], &["--restart"]] {
            let said = run(&archive, more).exit(1);
            assert!(said.stderr.contains("no file of results"), "{}", said.stderr);
            assert_eq!(saved(&archive), foreign.as_bytes());
        }
    }
    fs::write(archive.path("saved.jsonl"), &lines).unwrap();
    assert!(archive.radnet(&[&other[..], &["--restart"]].concat()).exit(0).stderr.contains("saved.jsonl"));
}

#[test]
fn nothing_to_read_and_wrong_usage() {
    let archive = Archive::new(1, 1);
    fs::create_dir(archive.path("empty")).unwrap();
    for folder in ["empty", "missing"] {
        let mut words = RUN;
        words[6] = folder;
        let said = archive.radnet(&words).exit(1);
        assert!(said.stderr.contains("holds no files") || said.stderr.contains("cannot be read"), "{}", said.stderr);
        assert_eq!(said.stdout, "");
    }
    let plain = ["evaluate", "--labels", "labels.csv", "--scores", "labels.csv"];
    for wrong in [&["--save", "x"][..], &["--restart"], &["--model", "model.safetensors"]] {
        archive.radnet(&[&plain[..], wrong].concat()).exit(2);
    }
    archive.radnet(&["evaluate", "--labels", "labels.csv", "--run", "scans"]).exit(2);
}

/// A study that was copied into another folder is judged in each of them, as what it is there, and not as one scan of doubled slices.
#[test]
fn copies_stay_apart() {
    let archive = Archive::new(2, 3);
    let copy = archive.path("scans/copy");
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(archive.slices(1)).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let said = run(&archive, &["--allow-missing"]).exit(0).json();
    assert_eq!((said["n"].as_u64(), said["missing_labels"].as_u64()), (Some(2), Some(1)));
    let slices: Vec<usize> = documents(&archive).iter().map(|d| d["results"][0]["slices"].as_array().unwrap().len()).collect();
    assert_eq!(slices, [3, 3, 3]);
    assert!(sources(&archive).contains(&"scans/copy".to_owned()));
}

/// Without `--save` the file is named after the folder and the model, in the current folder, and said.
#[test]
fn the_default_name_is_said() {
    let archive = Archive::new(2, 1);
    let said = archive.radnet(&RUN.iter().copied().filter(|w| !["--save", "saved.jsonl"].contains(w)).collect::<Vec<_>>()).exit(0);
    assert!(said.stderr.contains("scans.model.jsonl"), "{}", said.stderr);
    assert!(archive.path("scans.model.jsonl").is_file());
}
