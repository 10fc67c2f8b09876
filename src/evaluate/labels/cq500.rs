//! CQ500's `reads.csv`: `name,Category,R1:ICH,R1:IPH,…,R3:MidlineShift`, one row a scan, values 0 or 1.

use super::{LabelledCase, Labels, MAX_CLASSES, Table, canonical_class, majority, malformed, mask, sorted};
use crate::Result;
use std::borrow::Cow;

/// The readers' columns: per reader, per class.
struct Columns {
    readers: Vec<String>,
    classes: Vec<String>,
    grid: Vec<Vec<usize>>,
}

pub(super) fn read(table: Table) -> Result<Labels> {
    let name = table.required_column("name")?;
    let Columns { readers, classes, grid } = columns(&table)?;
    let mut cases = Vec::new();
    for row in table.rows() {
        let row = row?;
        let id = normal_id(row.id(name)?).into();
        let reads: Box<[u64]> = grid.iter().map(|columns| mask(columns.iter().map(|&c| row.label(c)))).collect::<Result<_>>()?;
        let truth = mask(classes.iter().enumerate().map(|(class, name)| {
            let of_class = majority(reads.iter().map(|r| r >> class & 1 == 1));
            of_class.ok_or_else(|| row.error(format_args!("the readers tie on `{name}`, so that there is no truth")))
        }))?;
        cases.push((LabelledCase { id, truth, reads, against_majority: false }, row.line()));
    }
    Ok(Labels { classes, readers, cases: sorted(cases)?, ..Labels::default() })
}

fn columns(table: &Table) -> Result<Columns> {
    let (mut readers, mut classes) = (Vec::new(), Vec::new());
    let named: Vec<(&str, &str, usize)> = table
        .headers()
        .iter()
        .enumerate()
        .filter_map(|(i, h)| h.split_once(':').map(|(reader, class)| (reader.trim(), canonical_class(class.trim()), i)))
        .collect();
    for (reader, class, _) in &named {
        if !readers.iter().any(|r| r == reader) {
            readers.push((*reader).to_owned());
        }
        if !classes.iter().any(|c| c == class) {
            classes.push((*class).to_owned());
        }
    }
    if !classes.iter().any(|c| c == "any") {
        return Err(malformed("line 1: there is no column `R1:ICH`"));
    }
    if classes.len() > MAX_CLASSES {
        return Err(malformed(format!("line 1: {} classes are more than {MAX_CLASSES}", classes.len())));
    }
    let column = |reader: &String, class: &String| {
        let found = named.iter().find(|(r, c, _)| r == reader && c == class);
        found.map(|f| f.2).ok_or_else(|| malformed(format!("line 1: reader {reader} has no column for `{class}`")))
    };
    let grid = readers.iter().map(|r| classes.iter().map(|c| column(r, c)).collect::<Result<_>>()).collect::<Result<_>>()?;
    Ok(Columns { readers, classes, grid })
}

/// `CQ500-CT-12` for that name and for the folder `CQ500CT12 CQ500CT12`; other names as they are.
pub(super) fn normal_id(name: &str) -> Cow<'_, str> {
    if !name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("CQ500")) {
        return Cow::Borrowed(name);
    }
    let first = name.split_whitespace().next().unwrap_or(name);
    let bare = first.replace('-', "").to_ascii_uppercase();
    match bare.strip_prefix("CQ500CT") {
        Some(n) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => {
            let digits = n.trim_start_matches('0');
            Cow::Owned(format!("CQ500-CT-{}", if digits.is_empty() { "0" } else { digits }))
        }
        _ => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_for_every_spelling() {
        for (name, id) in [
            ("CQ500-CT-12", "CQ500-CT-12"),
            ("CQ500CT12 CQ500CT12", "CQ500-CT-12"),
            ("cq500ct012", "CQ500-CT-12"),
            ("CQ500CT0 CQ500CT0", "CQ500-CT-0"),
            ("CQ500-CT-", "CQ500-CT-"),
            ("CQ500 notes", "CQ500 notes"),
            ("1.2.840", "1.2.840"),
            ("CQ50\u{e9}", "CQ50\u{e9}"),
        ] {
            assert_eq!(normal_id(name), id);
        }
    }
}
