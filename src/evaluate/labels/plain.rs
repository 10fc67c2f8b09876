//! `id,label` with further columns `reader:<name>`. The label is the truth; where the file has no label column, or the field is empty,
//! the majority of the readers is.

use super::{LabelledCase, Labels, Table, majority, malformed};
use crate::Result;
use std::collections::BTreeMap;

pub(super) fn read(table: Table) -> Result<Labels> {
    let id = table.required_column("id")?;
    let label = table.column("label");
    let readers: Vec<(String, usize)> =
        table.headers().iter().enumerate().filter_map(|(i, h)| h.strip_prefix("reader:").map(|name| (name.trim().to_owned(), i))).collect();
    if label.is_none() && readers.is_empty() {
        return Err(malformed("line 1: there is neither a column `label` nor a column `reader:<name>`"));
    }
    let mut cases = BTreeMap::new();
    for row in table.rows() {
        let row = row?;
        let reads: Vec<Vec<bool>> = readers.iter().map(|(_, c)| row.label(*c).map(|r| vec![r])).collect::<Result<_>>()?;
        let truth = match label.filter(|&c| !row.text(c).is_empty()) {
            Some(column) => row.label(column)?,
            None => majority(reads.iter().map(|r| r[0])).ok_or_else(|| row.error("there is no label and the readers tie"))?,
        };
        let key = row.id(id)?.to_owned();
        if cases.insert(key.clone(), LabelledCase { truth: vec![truth], reads }).is_some() {
            return Err(row.error(format_args!("`{key}` is there twice")));
        }
    }
    let readers = readers.into_iter().map(|(name, _)| name).collect();
    Ok(Labels { classes: vec![ANY_CLASS.to_owned()], readers, cases, ..Labels::default() })
}

/// A plain file labels one class, whichever is evaluated.
pub(crate) const ANY_CLASS: &str = "any";
