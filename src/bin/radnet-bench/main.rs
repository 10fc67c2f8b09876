//! `radnet-bench`: where the time of one scan goes.
fn main() {}
