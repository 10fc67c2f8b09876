//! Synthetic head CT series.
fn main() {}
