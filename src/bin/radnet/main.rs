//! `radnet`: hemorrhage probabilities from DICOM head CT, on the command line.
fn main() {}
