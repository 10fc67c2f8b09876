//! The HTML page of `radnet evaluate`: well-formed, safe, complete, bounded, for every kind of study. With `RADNET_PAGES=FOLDER` the pages
//! are kept there, to be looked at in a browser.

mod markup;
mod pages;
mod study;

use markup::Markup;
use radnet::evaluate::stats::Estimate;
use std::sync::LazyLock;

fn read(name: &str, page: &str) -> Markup {
    Markup::read(page).unwrap_or_else(|wrong| panic!("{name}: {wrong}"))
}

/// By name, made once.
static PAGES: LazyLock<Vec<(&str, String)>> = LazyLock::new(pages::all);

fn page(wanted: &str) -> &'static str {
    &PAGES.iter().find(|(name, _)| *name == wanted).unwrap().1
}

/// Tags in order, quoted attributes, finite coordinates, a title and a description for every picture, nothing fetched, nothing run.
#[test]
fn every_page_is_well_formed_and_stands_alone() {
    for (name, page) in PAGES.iter() {
        if let Ok(folder) = std::env::var("RADNET_PAGES") {
            std::fs::write(format!("{folder}/{name}.html"), page).unwrap();
        }
        let markup = read(name, page);
        for (element, attribute, value) in &markup.attributes {
            let number = ["NaN", "inf", "None", "Some("].iter().any(|wrong| value.contains(wrong));
            assert!(!number || attribute == "aria-label", "{name}: {element} {attribute}={value}");
            let fetched = matches!(attribute.as_str(), "src" | "href") || attribute.starts_with("on");
            assert!(!fetched, "{name}: {element} {attribute}");
        }
        for wrong in ["<script", "http", "@import", "url(", "NaN", "Some("] {
            assert!(!page.contains(wrong), "{name}: {wrong}");
        }
        let plots = markup.values("svg", "class").filter(|class| *class == "plot").count();
        let named = markup
            .values("svg", "aria-labelledby")
            .filter(|ids| ids.split(' ').all(|id| markup.values("title", "id").chain(markup.values("desc", "id")).any(|i| i == id)));
        assert!(plots >= 5 && named.count() == plots, "{name}: {plots} pictures");
        assert_eq!(
            markup.values("th", "scope").count(),
            page.matches("<th").count() - page.matches("<thead").count(),
            "{name}: headers without scope"
        );
        assert!(markup.text.contains("not a medical device") || markup.text.contains("Not a medical device"), "{name}");
    }
}

/// What files say stays text, also in pictures, tool tips and titles.
#[test]
fn hostile_names_stay_text() {
    let page = page("hostile");
    let markup = read("hostile", page);
    assert!(markup.text.matches("<script>alert('1')</script>").count() > 10);
    for wrong in ["<script", "</script", "\u{202e}", "\u{1}"] {
        assert!(!page.contains(wrong), "{wrong:?}");
    }
}

/// Values, intervals, counts, readers, operating points and subgroups of the JSON stand in the page, to the digits that it shows.
#[test]
fn all_numbers_are_there() {
    let study = pages::typical(77);
    let (e, page) = (study.evaluate(), study.page());
    let text = read("typical", &page).text;
    let has = |what: &str, words: String| assert!(text.contains(&words), "{what}: {words}");
    let share = |what: &str, estimate: &Estimate| {
        has(what, format!("{:.1} %", estimate.value.unwrap() * 100.0));
        let [low, high] = estimate.ci95.unwrap();
        has(what, format!("[{:.1}, {:.1}]", low * 100.0, high * 100.0));
    };
    for (what, estimate) in [
        ("accuracy", &e.accuracy),
        ("sensitivity", &e.sensitivity),
        ("specificity", &e.specificity),
        ("ppv", &e.ppv),
        ("npv", &e.npv),
        ("f1", &e.f1),
    ] {
        share(what, estimate);
    }
    for (what, estimate, digits) in
        [("auc", &e.auc.estimate, 4), ("ap", &e.average_precision, 4), ("lr+", &e.lr_positive, 2), ("lr-", &e.lr_negative, 3)]
    {
        has(what, format!("{:.digits$}", estimate.value.unwrap()));
        has(what, format!("[{:.digits$}, ", estimate.ci95.unwrap()[0]));
    }
    for (what, value) in [("log loss", e.log_loss), ("brier", e.brier), ("ece", e.calibration.ece)] {
        has(what, format!("{:.4}", value.unwrap()));
    }
    for (what, count) in [("tp", e.tp), ("fp", e.fp), ("fn", e.fn_), ("tn", e.tn), ("n", e.n), ("positives", e.positives)] {
        has(what, format!(" {count} "));
    }
    for reader in &e.readers {
        [&reader.accuracy, &reader.sensitivity, &reader.specificity, &reader.ppv, &reader.f1]
            .iter()
            .for_each(|estimate| share(&reader.name, estimate));
        has(&reader.name, format!("{:.4}", reader.mcnemar_p));
        has(&reader.name, format!("{:.3}", reader.kappa.unwrap()));
    }
    let kappa = e.kappa.as_ref().unwrap();
    kappa.pairs.iter().map(|pair| pair.kappa).chain([kappa.fleiss]).for_each(|k| has("kappa", format!("{:.3}", k.unwrap())));
    e.operating_points.iter().for_each(|point| {
        [&point.sensitivity, &point.specificity, &point.ppv, &point.npv].iter().for_each(|estimate| share(point.at, estimate))
    });
    for group in e.subgroups.iter().flat_map(|by| &by.groups) {
        has("group", group.name.clone());
        [&group.accuracy, &group.sensitivity, &group.specificity].iter().for_each(|estimate| share(&group.name, estimate));
    }
    for words in [
        "81.82 % on 77 brain CTs",
        "63/77 = 81.8 %",
        "[71.8, 88.8]",
        "published on other scans",
        "R1",
        "R2",
        "R3",
        "reads.csv",
        "results.json",
    ] {
        has("reference", words.to_owned());
    }
}

/// Long curves, many failures, many readers and long names do not make long pages.
#[test]
fn pages_are_bounded() {
    for (name, page) in PAGES.iter() {
        assert!(page.len() < 150_000, "{name}: {}", page.len());
        for points in read(name, page).values("polyline", "points") {
            assert!(points.split(' ').count() <= 1000, "{name}");
        }
    }
    assert!(read("failures", page("failures")).text.contains("4900 more failed results are not listed here"));
    assert!(read("many-readers", page("many-readers")).text.contains("28 more readers are not drawn"));
    assert!(!page("long-names").contains(pages::LONG.trim()));
}

/// A number that cannot be is a dash with its reason; a degenerate AUC has no interval.
#[test]
fn missing_numbers_have_reasons() {
    let text = |name: &str| read(name, page(name)).text;
    let none = text("no-positives");
    for words in ["–", "no case is positive in truth", "needs positive and negative cases", "No curve"] {
        assert!(none.contains(words), "{words}");
    }
    assert!(text("no-negatives").contains("no case is negative in truth"));
    assert!(text("no-readers").contains("nothing to compare the model with"));
    let missing = text("missing");
    for words in ["150 labelled cases have no score: 1.2.0, 1.2.10,", "150 scored cases have no label: 9.9.0, 9.9.10,", " and 100 more"] {
        assert!(missing.contains(words), "{words}");
    }
    assert!(text("perfect").contains("degenerate"));
    assert!(text("one-case").contains("1 scan, 1 positive"));
}
