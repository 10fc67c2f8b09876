//! RSNA 2019: `ID,Label` with rows `ID_<hex>_<type>,<0|1>`, six a slice in any order. The published file repeats four images: rows that
//! repeat a label are taken once, rows that contradict an earlier one are an error.

use super::{LabelledCase, Labels, Table, malformed};
use crate::Result;
use std::collections::HashMap;

/// The six classes; `any` weighs twice in the challenge's log loss.
pub const CLASSES: [&str; 6] = ["any", "epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"];

/// What is known of one slice: a bit per class for "there is a label", and for the label.
#[derive(Default)]
struct Slice {
    known: u8,
    truth: u8,
    first_line: u64,
}

pub(super) fn read(table: Table) -> Result<Labels> {
    let (id, label) = (table.required_column("ID")?, table.required_column("Label")?);
    let mut slices: HashMap<Box<str>, Slice> = HashMap::new();
    let mut repeated_rows = 0;
    for row in table.rows() {
        let row = row?;
        let key = row.id(id)?;
        let (sop, class) =
            key.rsplit_once('_').ok_or_else(|| row.error(format_args!("`{}` is not ID_<image>_<type>", super::clip(key))))?;
        let Some(class) = CLASSES.iter().position(|c| *c == class) else {
            return Err(row.error(format_args!("`{}` is none of {}", super::clip(class), CLASSES.join(", "))));
        };
        let value = u8::from(row.label(label)?);
        if !slices.contains_key(sop) {
            slices.insert(sop.into(), Slice { first_line: row.line(), ..Slice::default() });
        }
        let Some(slice) = slices.get_mut(sop) else { continue };
        if slice.known >> class & 1 == 0 {
            slice.known |= 1 << class;
            slice.truth |= value << class;
        } else if slice.truth >> class & 1 == value {
            repeated_rows += 1;
        } else {
            return Err(row.error(format_args!("`{}` was there before with the other label", super::clip(key))));
        }
    }
    Ok(Labels { classes: CLASSES.map(str::to_owned).to_vec(), cases: complete(slices)?, repeated_rows, ..Labels::default() })
}

/// Sorted by identifier; of slices without all six labels the first in the file is the error.
fn complete(slices: HashMap<Box<str>, Slice>) -> Result<Vec<LabelledCase>> {
    let all = (1 << CLASSES.len()) - 1;
    if let Some((sop, slice)) = slices.iter().filter(|(_, s)| s.known != all).min_by_key(|(_, s)| s.first_line) {
        let missing: Vec<&str> = (0..CLASSES.len()).filter(|&c| slice.known >> c & 1 == 0).map(|c| CLASSES[c]).collect();
        return Err(malformed(format!("line {}: `{}` has no row for {}", slice.first_line, super::clip(sop), missing.join(", "))));
    }
    let case =
        |(id, slice): (Box<str>, Slice)| LabelledCase { id, truth: u64::from(slice.truth), reads: Box::new([]), against_majority: false };
    let mut cases: Vec<LabelledCase> = slices.into_iter().map(case).collect();
    cases.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(cases)
}
