//! Label, score and result files as users have them, good and bad: what is read, and which error names which line.

use radnet::evaluate::labels::{Format, Labels, read_labels};
use radnet::evaluate::{Cases, Evaluation, IdKind, Options, Scores, evaluate, join};
use radnet::{Error, ErrorKind};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn labels(bytes: impl AsRef<[u8]>) -> Result<Labels, Error> {
    read_labels(&Folder::new().file("labels.csv", bytes), Format::Auto)
}

fn scores(bytes: impl AsRef<[u8]>) -> Result<Scores, Error> {
    Scores::read_csv(&Folder::new().file("scores.csv", bytes), "any")
}

fn judged(labels_csv: &str, scores_csv: &str) -> Result<Evaluation, Error> {
    evaluate(&labels(labels_csv)?, &scores(scores_csv)?, &Options { bootstrap: 10, ..Options::default() })
}

/// The error is about the file, and its message says all of `words`.
#[track_caller]
fn refused<T>(result: Result<T, Error>, file: &str, words: &[&str]) {
    let error = result.err().expect("it was accepted");
    assert_eq!(error.kind(), ErrorKind::CorruptFile, "{error}");
    assert!(error.path().is_some_and(|p| p.ends_with(file)), "{error}");
    for word in words {
        assert!(error.message().contains(word), "`{word}` is missing in: {error}");
    }
}

#[track_caller]
fn bad_labels(bytes: impl AsRef<[u8]>, words: &[&str]) {
    refused(labels(bytes), "labels.csv", words);
}

#[track_caller]
fn bad_scores(bytes: impl AsRef<[u8]>, words: &[&str]) {
    refused(scores(bytes), "scores.csv", words);
}

fn truth(labels: &Labels, class: &str) -> Vec<(String, bool)> {
    let column = labels.column(class).unwrap();
    labels.cases.iter().map(|c| (c.id.to_string(), c.truth(column))).collect()
}

#[test]
fn plain_files_as_spreadsheets_write_them() {
    let expected = vec![("a".to_owned(), true), ("b c".to_owned(), false)];
    for text in [
        "id,label\na,1\nb c,0\n",
        "\u{feff}id,label\r\na,1\r\n\"b c\",0\r\n",
        ",id,label\n0,b c,0\n1,a,1\n",
        "Unnamed: 0,ID,Label,comment\n0,a,1.0,\"x, y\"\n\n\n1, b c , 0.0 ,\n,,,\n",
    ] {
        // `ID,Label` is RSNA's header; here it is said to be plain.
        let read = read_labels(&Folder::new().file("l.csv", text), Format::Plain).unwrap();
        assert_eq!(truth(&read, "subdural"), expected, "{text:?}");
    }
}

#[test]
fn plain_files_that_cannot_be_believed() {
    bad_labels("", &["the file is empty"]);
    bad_labels("\n\n", &["the file is empty"]);
    bad_labels("id,label\n", &["no labelled cases"]);
    bad_labels("case,label\na,1\n", &["line 1", "case,label", "id,label"]);
    bad_labels("id,truth\na,1\n", &["line 1", "`label`", "reader:<name>"]);
    bad_labels("id,label,label\na,1,0\n", &["line 1", "two columns `label`"]);
    bad_labels("id,label\na,1\nb,0\na,1\n", &["line 4", "`a`", "line 2"]);
    bad_labels("id,label\na,1\n\nb,yes\n", &["line 4", "`yes`"]);
    bad_labels("id,label\r\n\r\na,1\r\n\r\n\r\nb,yes\r\n", &["line 6", "`yes`"]);
    bad_labels("id,label\r\na,1\r\nb,yes", &["line 3", "`yes`"]);
    bad_labels("id,label\n\"a\nb\",yes\n", &["line 2", "`yes`"]);
    bad_labels("id,label\na,2", &["line 2", "`2`"]);
    bad_labels("id,label\na,2\n", &["line 2", "`2`"]);
    bad_labels("id,label\na,\n", &["line 2", "there is no label"]);
    bad_labels("id,label\n,1\n", &["line 2", "identifier is empty"]);
    bad_labels("id,label\na,1\nb\n", &["line 3", "1 fields", "2"]);
    bad_labels("id,label\na,1,7\n", &["line 2", "3 fields"]);
    bad_labels("id,label,reader:x\na,1,\n", &["line 2", "`` is no label"]);
}

#[test]
fn not_text_at_all() {
    let utf16: Vec<u8> = "\u{feff}id,label\na,1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    bad_labels(&utf16, &["line 1", "not UTF-8"]);
    bad_labels(b"id,label\na,1\n\xff\xfe,0\n", &["line 3", "not UTF-8"]);
    bad_labels([0_u8; 4096], &["line 1"]);
    let rubbish: Vec<u8> = (0..50_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    bad_labels(&rubbish, &["line "]);
}

/// Neither a line without an end nor a quote without an end takes the file into memory.
#[test]
fn rows_are_bounded() {
    let long = format!("id,label\na,1\n{}", "x".repeat(3 << 20));
    bad_labels(&long, &["line 3", "longer than 1 MiB"]);
    let quote = format!("id,label\na,1\n\"b{}", ",0\nc".repeat(1 << 20));
    bad_labels(&quote, &["line 3", "longer than 1 MiB", "quote"]);
    bad_labels("x".repeat(3 << 20), &["line 1", "longer than 1 MiB"]);
}

#[test]
fn readers_decide_where_there_is_no_label() {
    let read = labels("id,label,reader:A,reader: B ,reader:C\na,,1,1,0\nb,0,1,1,0\nc,1,1,1,1\n").unwrap();
    assert_eq!(read.readers, ["A", "B", "C"]);
    assert_eq!(truth(&read, "any").iter().map(|t| t.1).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(read.cases.iter().map(|c| c.against_majority).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!((0..3).map(|r| read.cases[0].read(r, 0)).collect::<Vec<_>>(), [true, true, false]);
    bad_labels("id,reader:A,reader:B\na,1,1\nb,1,0\n", &["line 3", "the readers tie"]);
    // A tie beside a label contradicts nothing.
    assert!(!labels("id,label,reader:A,reader:B\na,1,1,0\n").unwrap().cases[0].against_majority);
    let e = judged("id,label,reader:A\na,1,1\nb,0,1\n", "id,score\na,0.9\nb,0.1\n").unwrap();
    assert_eq!((e.label_against_majority, e.tp, e.tn), (1, 1, 1));
    assert!(e.notes.iter().any(|n| n.contains("in 1 of 2 cases")), "{:?}", e.notes);
}

const READS: &str = "name,Category,R1:ICH,R1:SDH,R2:ICH,R2:SDH,R3:ICH,R3:SDH";

#[test]
fn cq500_reads() {
    let read = labels(format!("\u{feff}{READS}\r\nCQ500-CT-12,B1,1,1,1,0,0,0\r\nCQ500-CT-0,B2,0,0,0,0,1,0\r\n")).unwrap();
    assert_eq!(
        (read.format, &*read.readers, &*read.classes),
        (Format::Cq500, &["R1", "R2", "R3"].map(String::from)[..], &["any", "subdural"].map(String::from)[..])
    );
    let expected = |positive| vec![("CQ500-CT-0".to_owned(), false), ("CQ500-CT-12".to_owned(), positive)];
    assert_eq!((truth(&read, "ICH"), truth(&read, "SDH")), (expected(true), expected(false)));
    bad_labels("name,Category,R1:ICH,R1:SDH,R2:ICH\nx,B1,1,1,1\n", &["line 1", "R2", "subdural"]);
    bad_labels("name,Category,R1:SDH\nx,B1,1\n", &["line 1", "R1:ICH"]);
    bad_labels(format!("{READS}\nCQ500-CT-1,B1,1,1,1,0,0,0\nCQ500CT1 CQ500CT1,B1,1,1,1,0,0,0\n"), &["line 3", "CQ500-CT-1", "line 2"]);
    bad_labels(format!("{READS}\nCQ500-CT-1,B1,1,1,1,NA,0,0\n"), &["line 2", "`NA`"]);
    bad_labels("name,R1:ICH,R2:ICH\nx,1,0\n", &["line 2", "tie", "any"]);
}

/// CQ500's folder names meet its label file's names, from a score file and from results, at any depth of the source.
#[test]
fn cq500_names_meet() {
    let truth = labels(format!("{READS}\nCQ500-CT-12,B1,1,1,1,0,0,0\nCQ500-CT-7,B2,0,0,0,0,0,0\n")).unwrap();
    let from_csv = scores("id,score\nCQ500CT12 CQ500CT12,0.9\ncq500-ct-007,0.2\n").unwrap();
    assert_eq!(join(&truth, &from_csv, "any", false).unwrap().scores, [0.9, 0.2]);
    let mut from_results = Scores::default();
    for (source, score) in [("data/CQ500CT12 CQ500CT12/Unknown Study/CT Plain", 0.9), ("CQ500CT7 CQ500CT7", 0.2)] {
        from_results.add_bytes(result(source, "1", score).as_bytes(), IdKind::Folder).unwrap();
    }
    assert_eq!(join(&truth, &from_results, "ICH", false).unwrap().scores, [0.9, 0.2]);
}

const TYPES: [&str; 6] = ["epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any"];

fn slices(ids: &[&str]) -> String {
    let mut text = "ID,Label\n".to_owned();
    for id in ids {
        TYPES.iter().for_each(|t| writeln!(text, "{id}_{t},{}", u8::from(*t == "any")).unwrap());
    }
    text
}

#[test]
fn rsna_rows() {
    let read = labels(slices(&["ID_000000e27", "ID_000000002"])).unwrap();
    assert_eq!((read.format, read.cases.len(), read.repeated_rows), (Format::Rsna, 2, 0));
    assert_eq!(truth(&read, "any"), [("ID_000000002".to_owned(), true), ("ID_000000e27".to_owned(), true)]);
    assert!(truth(&read, "SDH").iter().all(|t| !t.1));
    // An image that is there twice is taken once; pandas' index column does not matter.
    let twice = labels(slices(&["ID_1", "ID_2", "ID_1"])).unwrap();
    assert_eq!((twice.cases.len(), twice.repeated_rows), (2, 6));
    let indexed: String = slices(&["ID_1"]).lines().enumerate().map(|(i, l)| format!("{i},{l}\n")).collect();
    assert_eq!(labels(indexed.replacen("0,", ",", 1)).unwrap().cases.len(), 1);
    bad_labels(slices(&["ID_1", "ID_2"]) + "ID_1_any,0\n", &["line 14", "ID_1_any", "other label"]);
    bad_labels(slices(&["ID_1", "ID_2"]).replace("ID_2_subdural,0\nID_2_any,1\n", ""), &["line 8", "`ID_2`", "any, subdural"]);
    bad_labels("ID,Label\nID_1_other,0\n", &["line 2", "`other`", "epidural"]);
    bad_labels("ID,Label\nany,0\n", &["line 2", "ID_<image>_<type>"]);
    bad_labels("ID,Label\nID_1_any,0.5\n", &["line 2", "`0.5`"]);
    bad_labels("ID,Value\nID_1_any,0\n", &["line 1", "`label`"]);
}

/// The published set's one image without whole pixel data is not missed; any other is.
#[test]
fn rsna_truncated_image() {
    let (text, predicted) = (slices(&["ID_1", "ID_2", "ID_6431af929"]), "id,score\nID_1,0.9\nID_2,0.8\n");
    let e = judged(&text, predicted).unwrap();
    assert_eq!((e.n, e.missing_scores), (2, 0));
    assert!(e.notes.iter().any(|n| n.contains("ID_6431af929")), "{:?}", e.notes);
    let error = judged(&text.replace("ID_6431af929", "ID_6431af930"), predicted).unwrap_err();
    assert!(error.message().contains("ID_6431af930"), "{error}");
}

#[test]
fn score_files() {
    let read = scores("\u{feff},id,class,score\r\n0,a,ICH,1e-3\r\n1,a,SDH,1\r\n2,b,any,0\r\n").unwrap();
    assert_eq!((read.score("a", "any"), read.score("a", "subdural"), read.score("b", "subdural")), (Some(0.001), Some(1.0), None));
    bad_scores("", &["the file is empty"]);
    bad_scores("id,score\n", &["no scores"]);
    bad_scores("id,p\na,0.5\n", &["line 1", "`score`", "id,p"]);
    bad_scores("name,score\na,0.5\n", &["line 1", "`id`"]);
    bad_scores("id,score\na,0.5\na,0.5\n", &["line 3", "`a`", "twice"]);
    bad_scores("id,class,score\na,ICH,0.5\na,any,0.5\n", &["line 3", "`a`", "twice"]);
    bad_scores("id,class,score\na,,0.5\n", &["line 2", "class is empty"]);
    for wrong in ["1.0001", "-0.1", "NaN", "inf", "-inf", "high", "", "0,5"] {
        bad_scores(format!("id,score\nz,0.5\na,{wrong}\n"), &["line 3"]);
    }
}

#[test]
fn cases_of_one_file_only() {
    let (l, s) = ("id,label\na,1\nb,0\nc,0\n", "id,score\nb,0.1\nc,0.2\nd,0.3\ne,0.4\n");
    let error = judged(l, s).unwrap_err();
    for words in ["1 labelled but not scored", "`a`", "2 scored but not labelled", "`d`", "--allow-missing"] {
        assert!(error.message().contains(words), "{error}");
    }
    let options = Options { allow_missing: true, bootstrap: 10, ..Options::default() };
    let e = evaluate(&labels(l).unwrap(), &scores(s).unwrap(), &options).unwrap();
    assert_eq!((e.n, e.positives, e.missing_scores, e.missing_labels), (2, 0, 1, 2));
    assert!(e.notes.iter().any(|n| n.contains("one kind")), "{:?}", e.notes);
    let nothing = evaluate(&labels(l).unwrap(), &scores("id,score\nx,0.1\n").unwrap(), &options).unwrap_err();
    assert!(nothing.message().contains("no identifier in common") && nothing.message().contains("`x`"), "{nothing}");
}

#[test]
fn a_class_that_is_not_there() {
    let of = |class: &str, labels: &Labels, scores: &Scores| -> String {
        join(labels, scores, class, false).map(|c: Cases| c.ids.len().to_string()).unwrap_or_else(|e| e.to_string())
    };
    let (rsna, plain) = (labels(slices(&["a"])).unwrap(), labels("id,label\na,1\n").unwrap());
    let two = scores("id,class,score\na,any,0.5\na,SDH,0.4\n").unwrap();
    assert_eq!((of("SDH", &rsna, &two), of("subdural", &plain, &two)), ("1".to_owned(), "1".to_owned()));
    assert!(of("fracture", &rsna, &two).contains("the labels have no class `fracture`"));
    assert!(of("EDH", &rsna, &two).contains("the scores have no class `epidural`, only any, subdural"));
    let partly = scores("id,class,score\na,any,0.5\nb,SDH,0.4\n").unwrap();
    assert!(of("any", &labels("id,label\na,1\nb,0\n").unwrap(), &partly).contains("`b` has no score for the class `any`"));
}

/// One result document with one study, on one line.
fn result(source: &str, study: &str, score: f64) -> String {
    format!(
        r#"{{"schema":"radnet-result/1","radnet":{{}},"model":{{"name":"m","version":"1","sha256":"ab","intended_use":"Tests."}},"results":[{{"status":"ok","study_instance_uid":"{study}","series_instance_uid":"{study}.1","source":"{source}","acquisition":{{"manufacturer":"GE","kernel":null,"thickness_mm":5.0}},"scan":{{"any":{{"score":{score:?},"positive":true,"threshold":0.4}}}},"slices":[{{"index":0,"sop_instance_uid":"{study}.1.1","probability":{{"any":{score:?}}}}}],"findings":[]}}]}}"#
    )
}

fn failure(source: &str) -> String {
    let whole = result(source, "9", 0.5);
    let at = whole.find("{\"status\"").unwrap();
    format!(r#"{}{{"status":"error","source":"{source}","error":{{"code":"not_ct","message":"MR"}}}}]}}"#, &whole[..at])
}

fn read_results(name: &str, text: &str, id: IdKind) -> Result<Scores, Error> {
    let mut scores = Scores::default();
    scores.add_file(&Folder::new().file(name, text), id).map(|()| scores)
}

#[test]
fn result_files() {
    let (a, b) = (result("x/a", "1", 0.25), result("x/b", "2", 0.75));
    for (name, text) in
        [("r.jsonl", format!("{a}\n\n{b}\n{}", failure("x/c"))), ("r.json", format!("\u{feff}{a}\n{b}{}\n", failure("x/c")))]
    {
        let read = read_results(name, &text, IdKind::Study).unwrap();
        assert_eq!(
            (read.score("1", "any"), read.score("2", "any"), read.threshold("any"), read.len()),
            (Some(0.25), Some(0.75), Some(0.4), 2)
        );
        assert_eq!(read.failed()[0].code, "not_ct");
        assert_eq!(read.model().unwrap().sha256.as_deref(), Some("ab"));
        assert_eq!(read.acquisition("1").unwrap().thickness_mm, Some(5.0));
    }
    for (id, name) in [(IdKind::Series, "1.1"), (IdKind::Sop, "1.1.1"), (IdKind::Folder, "a")] {
        assert_eq!(read_results("r.json", &a, id).unwrap().score(name, "any"), Some(0.25), "{name}");
    }
    let mut missing = read_results("r.json", &failure("x/c"), IdKind::Folder).unwrap();
    missing.add_bytes(a.as_bytes(), IdKind::Folder).unwrap();
    let error = evaluate(&labels("id,label\na,1\nc,0\n").unwrap(), &missing, &Options::default()).unwrap_err();
    assert!(error.message().contains("1 result is an error: `c`, not_ct"), "{error}");
}

#[test]
fn result_files_that_cannot_be_believed() {
    let (a, b) = (result("x/a", "1", 0.25), result("x/b", "2", 0.75));
    let lines = |second: &str| read_results("r.jsonl", &format!("{a}\n{second}\n"), IdKind::Study);
    refused(lines(&b[..b.len() - 9]), "r.jsonl", &["line 2", "no radnet-result document"]);
    refused(lines("{}"), "r.jsonl", &["line 2"]);
    refused(lines(&b.replace("radnet-result/1", "other/1")), "r.jsonl", &["line 2", "`other/1`"]);
    refused(lines(&b.replace("\"ab\"", "\"cd\"")), "r.jsonl", &["line 2", "two models", "ab", "cd"]);
    refused(lines(&b.replace("\"threshold\":0.4", "\"threshold\":0.6")), "r.jsonl", &["line 2", "two thresholds", "0.4", "0.6"]);
    refused(lines(&b.replace("0.75", "1.75")), "r.jsonl", &["line 2", "1.75", "not a probability"]);
    refused(
        lines(&b.replace("\"study_instance_uid\":\"2\"", "\"study_instance_uid\":null")),
        "r.jsonl",
        &["line 2", "x/b", "study_instance_uid"],
    );
    refused(lines(&result("x/b", "1", 0.5)), "r.jsonl", &["line 2", "`1` has two results", "x/b", "--id series"]);
    refused(read_results("r.json", "", IdKind::Study), "r.json", &["no radnet-result document"]);
    let mut scores = Scores::default();
    assert_eq!(scores.add_file(&PathBuf::from("nowhere.json"), IdKind::Study).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(read_labels(&PathBuf::from("nowhere.csv"), Format::Auto).unwrap_err().kind(), ErrorKind::Io);
}

/// The order of the rows of either file changes nothing, nor does the number of threads.
#[test]
fn order_and_threads_change_nothing() {
    let rows: Vec<(String, String)> = (0..60_u32)
        .map(|i| (format!("case{i},{}\n", u32::from(i % 3 == 0)), format!("case{i},{}\n", f64::from(i * 37 % 60) / 60.0)))
        .collect();
    let of = |rows: &[(String, String)], threads: Option<usize>| {
        let l = rows.iter().fold("id,label\n".to_owned(), |text, r| text + &r.0);
        let s = rows.iter().rev().fold("id,score\n".to_owned(), |text, r| text + &r.1);
        let pool = threads.map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().into());
        evaluate(&labels(l).unwrap(), &scores(s).unwrap(), &Options { bootstrap: 300, pool, ..Options::default() }).unwrap()
    };
    let expected = of(&rows, None);
    let turned: Vec<_> = rows.iter().rev().cloned().collect();
    assert_eq!(of(&turned, None), expected);
    assert_eq!((of(&rows, Some(1)), of(&turned, Some(3))), (expected.clone(), expected));
}
