//! What every report page shares: its frame and style, safe text, tables that scroll on a phone, the intended use.

use std::fmt::Write;

const STYLE: &str = include_str!("style.css");

/// Wraps a body into a whole page.
pub(in crate::report) fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style></head>\n<body>\n{body}</body></html>\n",
        bounded(title, 120)
    )
}

/// The model's intended use, and what holds for every model.
pub(in crate::report) fn intended_use(words: Option<&str>) -> String {
    let words = words.filter(|w| !w.is_empty()).unwrap_or("The model does not state one.");
    format!(
        "<p class=\"use\"><strong>Intended use.</strong> {} <strong>Not a medical device; not for diagnosis.</strong></p>\n",
        bounded(words, 2000)
    )
}

/// A table under its caption, in a frame of its own that scrolls sideways where the page is too narrow for it. All parts are markup.
pub(in crate::report) fn table(page: &mut String, style: &str, caption: &str, headings: &[&str], rows: &str) {
    let _ = write!(
        page,
        "<p class=\"caption\">{caption}</p>\n<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{caption}\">\n\
         <table class=\"{style}\" aria-label=\"{caption}\"><thead><tr>"
    );
    headings.iter().for_each(|heading| {
        let _ = if heading.is_empty() { write!(page, "<td></td>") } else { write!(page, "<th scope=\"col\">{heading}</th>") };
    });
    let _ = write!(page, "</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n");
}

/// Text as HTML text or attribute value. Control characters and those that turn the direction of writing become U+FFFD.
pub(in crate::report) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(' '),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// [`escape`] of at most `limit` characters, an ellipsis in place of the rest.
pub(in crate::report) fn bounded(text: &str, limit: usize) -> String {
    escape(&clipped(text, limit))
}

/// At most `limit` characters, an ellipsis in place of the rest; not escaped.
pub(in crate::report) fn clipped(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some(_) => text.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file says cannot leave its place in the page, turn the writing around, or fill it.
    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(escape("<a href=\"x\" b='y'>&\0\u{202e}\n"), "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;\u{fffd}\u{fffd} ");
        assert_eq!(bounded("äöü", 3), "äöü");
        assert_eq!(bounded("äöü<", 3), "äö…");
        assert_eq!(bounded(&"<".repeat(1000), 2), "&lt;…");
    }
}
