//! `id,label` with further columns `reader:<name>`. The label is the truth; where the file has no label column, or the field is empty,
//! the majority of the readers is.

use super::{LabelledCase, Labels, Table, case_id, majority, malformed, mask, sorted};
use crate::Result;

pub(super) fn read(table: Table) -> Result<Labels> {
    let id = table.required_column("id")?;
    let label = table.column("label");
    let readers: Vec<(String, usize)> =
        table.headers().iter().enumerate().filter_map(|(i, h)| h.strip_prefix("reader:").map(|name| (name.trim().to_owned(), i))).collect();
    if label.is_none() && readers.is_empty() {
        return Err(malformed("line 1: there is neither a column `label` nor a column `reader:<name>`"));
    }
    let mut cases = Vec::new();
    for row in table.rows() {
        let row = row?;
        let id = case_id(row.id(id)?).into();
        let reads: Box<[u64]> = readers.iter().map(|(_, column)| mask([row.label(*column)])).collect::<Result<_>>()?;
        let most = majority(reads.iter().map(|r| r & 1 == 1));
        let truth = match label.filter(|&c| !row.text(c).is_empty()) {
            Some(column) => row.label(column)?,
            None => most
                .ok_or_else(|| row.error(if readers.is_empty() { "there is no label" } else { "there is no label and the readers tie" }))?,
        };
        let case = LabelledCase { id, truth: u64::from(truth), reads, against_majority: most.is_some_and(|m| m != truth) };
        cases.push((case, row.line()));
    }
    let readers = readers.into_iter().map(|(name, _)| name).collect();
    Ok(Labels { readers, cases: sorted(cases)?, ..Labels::default() })
}
