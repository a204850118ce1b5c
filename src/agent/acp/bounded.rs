//! What an agent tells, cut to a size that is kept.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::is_control;

/// Largest JSON text that is kept of one thing, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// Texts and lists in something larger are cut to these, in bytes and items.
const CUT: (usize, usize) = (4096, 32);
/// And if that is not enough, to these.
const CUT_SHORT: (usize, usize) = (256, 4);
/// Deeper than this there is nothing.
const MAX_DEPTH: usize = 16;

/// Marks where something was cut off.
pub(super) const ELLIPSIS: &str = "…";

/// What `value` says, bounded. Whatever had to be cut has a member `"cut": true`.
pub(super) fn json(value: &impl Serialize) -> Value {
    let value = plain(serde_json::to_value(value).unwrap_or_default(), 0, (usize::MAX, usize::MAX));
    if size(&value) <= MAX_BYTES {
        return value;
    }
    let cut = [CUT, CUT_SHORT].into_iter().map(|limits| plain(value.clone(), 0, limits)).find(|cut| size(cut) <= MAX_BYTES);
    let mut cut = match cut {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    cut.insert("cut".to_owned(), Value::Bool(true));
    Value::Object(cut)
}

/// Members of what an agent tells that are shown as one line, in lists and beside buttons.
const LABELS: [&str; 2] = ["title", "name"];

/// Returns a text without control characters but those that structure it: line feeds, also with a carriage return before them, and tabs.
/// Others could do something to a terminal that shows it; and Postgres cannot hold NUL.
pub(super) fn plain_text(text: &str) -> String {
    let mut characters = text.chars().peekable();
    let mut plain = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        let structures = matches!(character, '\n' | '\t') || character == '\r' && characters.peek() == Some(&'\n');
        if structures || !character.is_control() {
            plain.push(character);
        }
    }
    plain
}

/// Returns a text as one line that reads as it is: without what controls terminals or the direction of writing.
fn label(text: &str) -> String {
    text.chars().filter_map(|c| if c.is_control() { Some(' ') } else { (!is_control(c)).then_some(c) }).collect()
}

/// The first `max` bytes of a label at most.
pub(super) fn short_label(text: &str, max: usize) -> String {
    cut(label(text), max)
}

/// The first `max` bytes of a text at most, without control characters.
pub(super) fn text(text: &str, max: usize) -> String {
    cut(plain_text(text), max)
}

fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(floor_char_boundary(&text, max));
        text.push_str(ELLIPSIS);
    }
    text
}

/// Words that are told in an error: one line, printable, short.
pub(super) fn words(text: &str) -> String {
    const MAX_WORDS: usize = 300;
    let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect();
    text
}

/// The greatest index of a character's beginning that is no greater than `index`.
pub(super) fn floor_char_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|&index| text.is_char_boundary(index)).unwrap_or_default()
}

fn plain(value: Value, depth: usize, (bytes, items): (usize, usize)) -> Value {
    let limits = (bytes, items);
    match value {
        _ if depth > MAX_DEPTH => Value::Null,
        Value::String(string) => Value::String(text(&string, bytes)),
        Value::Array(values) => values.into_iter().take(items).map(|value| plain(value, depth + 1, limits)).collect(),
        Value::Object(members) => members
            .into_iter()
            .take(items.saturating_mul(4))
            .map(|(name, value)| match value {
                Value::String(string) if LABELS.contains(&name.as_str()) => (name, Value::String(short_label(&string, bytes))),
                value => (text(&name, bytes.min(256)), plain(value, depth + 1, limits)),
            })
            .collect(),
        value => value,
    }
}

/// Bytes of its text.
pub(super) fn size(value: &impl Serialize) -> usize {
    // A value always serialises.
    serde_json::to_vec(value).map_or(usize::MAX, |text| text.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_small_stays_as_it_is_but_for_control_characters() {
        let value =
            json!({"a": ["b\u{0}c", 1, null, true], "d\u{0}": {}, "e": "f\r\n\tg\rh\u{1b}[2J\u{202e}", "title": "i\nj\u{202e}k"});
        let kept = json!({"a": ["bc", 1, null, true], "d": {}, "e": "f\r\n\tgh[2J\u{202e}", "title": "i jk"});
        assert_eq!(json(&value), kept);
    }

    #[test]
    fn whatever_is_said_what_is_kept_is_bounded() {
        let long = "ä".repeat(MAX_BYTES);
        let mut deep = json!("end");
        for _ in 0..100 {
            deep = json!([deep]);
        }
        let wide: Map<String, Value> = (0..10_000).map(|n| (n.to_string(), json!(long[..200]))).collect();
        for value in
            [json!({ "title": long }), json!({"list": vec![long.clone(); 100]}), json!(vec![1; 100_000]), Value::Object(wide)]
        {
            let kept = json(&value);
            assert!(size(&kept) <= MAX_BYTES + 16, "{}", size(&kept));
            assert_eq!(kept["cut"], true);
        }
        assert!(json(&json!({ "title": long }))["title"].as_str().unwrap().starts_with("ää"));
        assert!(!json(&deep).to_string().contains("end"));
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(text("aäb", 2), "a…");
        assert_eq!(text("aäb", 4), "aäb");
        assert_eq!(words(" a\nb\u{1b}[0m "), "a b [0m");
    }
}
