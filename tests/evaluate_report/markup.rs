//! A strict reader of our own markup: every tag closed in order, every attribute quoted, no stray `<` or `&`.

use std::collections::HashSet;

const VOID: [&str; 3] = ["meta", "br", "img"];

/// What a page consists of.
#[derive(Default)]
pub(crate) struct Markup {
    /// (element, attribute, value).
    pub(crate) attributes: Vec<(String, String, String)>,
    /// The text between tags, entities resolved, styles left out.
    pub(crate) text: String,
}

impl Markup {
    pub(crate) fn read(page: &str) -> Result<Self, String> {
        let mut rest = page.strip_prefix("<!DOCTYPE html>").ok_or("no doctype")?;
        let mut open: Vec<String> = Vec::new();
        let mut markup = Self::default();
        while let Some(at) = rest.find('<') {
            if open.last().is_none_or(|o| o != "style") {
                markup.text += &resolved(&rest[..at])?;
                markup.text.push(' ');
            }
            let end = rest[at..].find('>').ok_or("a tag does not end")? + at;
            markup.tag(&rest[at + 1..end], &mut open)?;
            rest = &rest[end + 1..];
        }
        if !open.is_empty() || !rest.trim().is_empty() {
            return Err(format!("left open: {open:?}, left over: {rest:?}"));
        }
        markup.unique_ids()?;
        Ok(markup)
    }

    fn tag(&mut self, tag: &str, open: &mut Vec<String>) -> Result<(), String> {
        if let Some(name) = tag.strip_prefix('/') {
            return match open.pop() {
                Some(last) if last == name => Ok(()),
                other => Err(format!("</{name}> closes {other:?}")),
            };
        }
        let closed = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let name: String = tag.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        if name.is_empty() {
            return Err(format!("`<{tag}>` has no name"));
        }
        self.attributes_of(&name, tag[name.len()..].trim())?;
        if !closed && !VOID.contains(&name.as_str()) {
            open.push(name);
        }
        Ok(())
    }

    fn attributes_of(&mut self, element: &str, mut rest: &str) -> Result<(), String> {
        let mut names = HashSet::new();
        while !rest.is_empty() {
            let (name, after) = rest.split_once("=\"").ok_or(format!("`{rest}` in <{element}> is no quoted attribute"))?;
            let (value, after) = after.split_once('"').ok_or(format!("`{name}` in <{element}> does not end"))?;
            if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') || !names.insert(name) {
                return Err(format!("`{name}` in <{element}> is wrong or there twice"));
            }
            self.attributes.push((element.to_owned(), name.to_owned(), resolved(value)?));
            rest = after.trim_start();
        }
        Ok(())
    }

    fn unique_ids(&self) -> Result<(), String> {
        let mut ids = HashSet::new();
        let wrong = self.attributes.iter().find(|(_, name, value)| name == "id" && !ids.insert(value));
        wrong.map_or(Ok(()), |(_, _, id)| Err(format!("the id {id} is there twice")))
    }

    /// Values of an attribute, wherever it stands.
    pub(crate) fn values<'a>(&'a self, element: &'a str, attribute: &'a str) -> impl Iterator<Item = &'a str> {
        self.attributes.iter().filter(move |(e, a, _)| e == element && a == attribute).map(|(_, _, value)| value.as_str())
    }
}

fn resolved(text: &str) -> Result<String, String> {
    let mut parts = text.split('&');
    let mut resolved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (entity, after) = part.split_once(';').ok_or(format!("a stray & before {part:?}"))?;
        resolved.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "#39" => '\'',
            other => return Err(format!("&{other};")),
        });
        resolved.push_str(after);
    }
    Ok(resolved)
}
