//! CQ500's `reads.csv`: `name,Category,R1:ICH,R1:IPH,…,R3:MidlineShift`, one row a scan, values 0 or 1.

use super::{LabelledCase, Labels, Table, canonical_class, majority, malformed};
use crate::Result;
use std::collections::BTreeMap;

pub(super) fn read(table: Table) -> Result<Labels> {
    let name = table.required_column("name")?;
    let columns: Vec<(String, String, usize)> = table
        .headers()
        .iter()
        .enumerate()
        .filter_map(|(i, h)| h.split_once(':').map(|(reader, class)| (reader.to_owned(), canonical_class(class).to_owned(), i)))
        .collect();
    let mut readers: Vec<String> = Vec::new();
    let mut classes: Vec<String> = Vec::new();
    for (reader, class, _) in &columns {
        if !readers.contains(reader) {
            readers.push(reader.clone());
        }
        if !classes.contains(class) {
            classes.push(class.clone());
        }
    }
    let column = |reader: &String, class: &String| {
        let found = columns.iter().find(|(r, c, _)| r == reader && c == class);
        found.map(|f| f.2).ok_or_else(|| malformed(format!("line 1: reader {reader} has no column for `{class}`")))
    };
    let grid: Vec<Vec<usize>> =
        readers.iter().map(|r| classes.iter().map(|c| column(r, c)).collect::<Result<_>>()).collect::<Result<_>>()?;
    if !classes.iter().any(|c| c == "any") {
        return Err(malformed("line 1: there is no column `R1:ICH`"));
    }
    let mut cases = BTreeMap::new();
    for row in table.rows() {
        let row = row?;
        let id = normal_id(row.id(name)?);
        let reads: Vec<Vec<bool>> =
            grid.iter().map(|columns| columns.iter().map(|&c| row.label(c)).collect::<Result<_>>()).collect::<Result<_>>()?;
        let truth = (0..classes.len())
            .map(|c| majority(reads.iter().map(|r| r[c])).ok_or_else(|| row.error(format_args!("the readers tie on `{}`", classes[c]))))
            .collect::<Result<_>>()?;
        if cases.insert(id.clone(), LabelledCase { truth, reads }).is_some() {
            return Err(row.error(format_args!("`{id}` is there twice")));
        }
    }
    Ok(Labels { classes, readers, cases, ..Labels::default() })
}

/// `CQ500-CT-12` for that name and for the folder `CQ500CT12 CQ500CT12`; other names as they are.
pub fn normal_id(name: &str) -> String {
    let first = name.split_whitespace().next().unwrap_or(name);
    let bare = first.replace('-', "").to_ascii_uppercase();
    match bare.strip_prefix("CQ500CT") {
        Some(n) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => format!("CQ500-CT-{}", n.trim_start_matches('0')),
        _ => name.to_owned(),
    }
}
