//! An evaluation as one self-contained HTML page: the paper's table, every number with its interval, the curves, what is missing.
//! Readable on a phone, in the dark, on paper, and aloud; no script, nothing fetched.

mod about;
mod cases;
mod comparison;
mod figures;
mod numbers;
mod tables;
mod words;

use super::html::page;
use crate::evaluate::{Evaluation, IdKind};

/// Where the evaluation came from, for its reader; the numbers do not depend on it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Name of the label file.
    pub labels: String,
    /// Names of the files with results or scores, or of the folder that was run.
    pub results: Vec<String>,
    /// Which identifier of a result the labels name; none where the scores name the cases themselves.
    pub id: Option<IdKind>,
}

/// The page. Text from files is escaped and bounded, curves are thinned, lists say what they leave out.
pub fn render(e: &Evaluation, sources: &Sources) -> String {
    let mut body = String::new();
    about::header(&mut body, e, sources);
    numbers::tiles(&mut body, e);
    comparison::section(&mut body, e);
    pictures(&mut body, e);
    numbers::section(&mut body, e);
    tables::operating_points(&mut body, e);
    tables::subgroups(&mut body, e);
    cases::section(&mut body, e);
    about::footer(&mut body, e);
    page(&format!("RADnet evaluation: {}", about::model_name(e)), &body)
}

fn pictures(body: &mut String, e: &Evaluation) {
    body.push_str("<section class=\"pictures\">\n<h2>Pictures</h2>\n<div class=\"figures\">\n");
    body.push_str(&figures::confusion(e));
    body.push_str(&figures::roc(e));
    body.push_str(&figures::precision_recall(e));
    body.push_str(&figures::calibration(e));
    body.push_str(&figures::histogram(e));
    if !e.subgroups.is_empty() {
        body.push_str(&figures::forest(e));
    }
    body.push_str("</div>\n</section>\n");
}
