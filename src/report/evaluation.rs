//! An evaluation as one self-contained HTML page.

use crate::evaluate::Evaluation;

/// The page.
pub fn render(evaluation: &Evaluation) -> String {
    let document = super::result::to_json(evaluation).unwrap_or_default();
    let text = String::from_utf8_lossy(&document).replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>RADnet evaluation</title></head>\n<body><pre>{text}</pre></body></html>\n"
    )
}
