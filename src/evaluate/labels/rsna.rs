//! RSNA 2019: `ID,Label` with rows `ID_<hex>_<type>,<0|1>`, six a slice in any order. The published file repeats four images: rows that
//! repeat a label are taken once, rows that contradict an earlier one are an error.

use super::{LabelledCase, Labels, Table};
use crate::Result;
use std::collections::BTreeMap;

/// The six classes; `any` weighs twice in the challenge's log loss.
pub const CLASSES: [&str; 6] = ["any", "epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"];

pub(super) fn read(table: Table) -> Result<Labels> {
    let (id, label) = (table.required_column("ID")?, table.required_column("Label")?);
    let mut slices: BTreeMap<String, [Option<bool>; 6]> = BTreeMap::new();
    for row in table.rows() {
        let row = row?;
        let key = row.id(id)?;
        let Some((sop, class)) = key.rsplit_once('_') else {
            return Err(row.error(format_args!("`{key}` is not ID_<image>_<type>")));
        };
        let Some(class) = CLASSES.iter().position(|c| *c == class) else {
            return Err(row.error(format_args!("`{class}` is none of {}", CLASSES.join(", "))));
        };
        let value = row.label(label)?;
        let slot = &mut slices.entry(sop.to_owned()).or_default()[class];
        if slot.is_some_and(|earlier| earlier != value) {
            return Err(row.error(format_args!("`{key}` is there twice, with both labels")));
        }
        *slot = Some(value);
    }
    let complete = |(sop, labels): (String, [Option<bool>; 6])| {
        let missing = labels.iter().position(Option::is_none);
        if let Some(class) = missing {
            return Err(super::malformed(format!("`{sop}` has no row for `{}`", CLASSES[class])));
        }
        Ok((sop, LabelledCase { truth: labels.map(|l| l == Some(true)).to_vec(), reads: Vec::new() }))
    };
    let cases = slices.into_iter().map(complete).collect::<Result<_>>()?;
    Ok(Labels { classes: CLASSES.map(str::to_owned).to_vec(), cases, ..Labels::default() })
}
