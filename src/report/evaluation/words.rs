//! Numbers as a reader wants them: shares in per cent with their interval, and a reason where there is no number.

use crate::evaluate::stats::Estimate;

/// Where there is no number.
pub(super) const NONE: &str = "–";

/// 0.8182 as "81.8 %".
pub(super) fn percent(value: f64) -> String {
    format!("{:.1} %", value * 100.0)
}

/// A share as "81.8 %" and its interval as "[71.8, 88.8]"; a dash without a value, nothing without an interval.
pub(super) fn share(estimate: &Estimate) -> (String, String) {
    let value = estimate.value.map_or(NONE.to_owned(), percent);
    (value, interval(estimate, |v| format!("{:.1}", v * 100.0)))
}

/// A number with `digits` decimals, and its interval likewise.
pub(super) fn number(estimate: &Estimate, digits: usize) -> (String, String) {
    (plain(estimate.value, digits), interval(estimate, |v| decimal(v, digits)))
}

/// A number with `digits` decimals or a dash.
pub(super) fn plain(value: Option<f64>, digits: usize) -> String {
    value.map_or(NONE.to_owned(), |v| decimal(v, digits))
}

/// Large numbers keep three digits or more and lose decimals that say nothing.
fn decimal(value: f64, digits: usize) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.1}"),
        _ => format!("{value:.digits$}"),
    }
    .replace('-', "−")
}

fn interval(estimate: &Estimate, text: impl Fn(f64) -> String) -> String {
    match (estimate.value, estimate.ci95) {
        (Some(_), Some([low, high])) => format!("[{}, {}]", text(low), text(high)),
        _ => String::new(),
    }
}

/// A p-value; those that would read as 0 are bounded.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.0001 { "&lt; 0.0001".to_owned() } else { format!("{p:.4}") }
}

/// A threshold, without trailing zeros.
pub(super) fn threshold(value: f64) -> String {
    let text = format!("{value:.4}");
    if (text.parse::<f64>().unwrap_or(f64::NAN) - value).abs() > 1e-12 && value < 0.001 && value > 0.0 {
        return format!("{value:.2e}");
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A count with its noun.
pub(super) fn counted(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::stats::wilson;

    #[test]
    fn numbers_read_well() {
        assert_eq!(share(&wilson(63, 77)), ("81.8 %".into(), "[71.8, 88.8]".into()));
        assert_eq!(share(&Estimate::UNKNOWN), (NONE.into(), String::new()));
        assert_eq!(number(&Estimate { value: Some(1234.5678), ci95: None }, 2), ("1235".into(), String::new()));
        assert_eq!([0.5, 1.0, 0.0, 0.1234567, 0.00001].map(threshold), ["0.5", "1", "0", "0.1235", "1.00e-5"]);
        assert_eq!((p_value(0.0), p_value(1.0)), ("&lt; 0.0001".into(), "1.0000".into()));
        assert_eq!((counted(1, "scan", "scans"), counted(0, "scan", "scans")), ("1 scan".into(), "0 scans".into()));
    }
}
