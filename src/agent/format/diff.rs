//! What is new on a screen.
//!
//! Most programs append: below what was there, the old prompt line grows into the echo, the answer follows. Then the new text
//! begins where the screens part, and a second exchange with the same words is found like the first. Programs that redraw
//! everything get the protocol's test of line sets instead.

use std::collections::HashSet;

use super::rules::Rules;
use super::{input_box, lines};

/// Lines of a scrolled screen that must have stayed before the screens are taken to be one text.
const SCROLL_OVERLAP: usize = 3;

/// The part of screen `new` that screen `old` did not have, without blank lines at its edges.
pub(super) fn new_text<'a>(rules: &Rules, old: &str, new: &'a str) -> &'a str {
    let text = appended(rules, old, new).unwrap_or_else(|| unseen_lines(rules, old, new));
    lines::trim_blank(text).unwrap_or(text)
}

/// The text below `old` if `new` is `old` continued, whether or not it scrolled.
fn appended<'a>(rules: &Rules, old: &str, new: &'a str) -> Option<&'a str> {
    let before = input_box::remove(&rules.input_box, lines::trim_blank(old)?);
    let skipped = old.len() - old.trim_start_matches('\n').len();
    let mut kept: Vec<&str> = vec![""; skipped];
    kept.extend(lines::trim_blank(&before)?.split('\n'));
    let now: Vec<&str> = new.split('\n').take(kept.len() + 1).collect();

    let (parting, prompt) = (0..kept.len()).find_map(|scrolled| continuation(&kept[scrolled..], &now, scrolled > 0))?;
    let text = lines::from_line(new, parting);
    Some(prompt.map_or(text, |prompt| above_prompt(text, prompt)))
}

/// `text` without the prompt that the user typed at, which is shown again below the answer.
fn above_prompt<'a>(text: &'a str, prompt: &str) -> &'a str {
    let last = lines::without_blank_end(text);
    last.strip_suffix(prompt).and_then(|above| above.strip_suffix('\n')).unwrap_or(text)
}

/// Where `new` goes on after the lines of `old`, and the last line of `old` if the new text goes on within it.
fn continuation<'a>(old: &[&'a str], new: &[&str], scrolled: bool) -> Option<(usize, Option<&'a str>)> {
    let (last, full) = old.split_last()?;
    if scrolled && old.iter().filter(|line| !line.trim().is_empty()).count() < SCROLL_OVERLAP {
        return None;
    }
    if !new.starts_with(full) {
        return None;
    }
    let line = new.get(full.len())?;
    if line == last {
        // Nothing typed at it: an answer below it, or a prompt without an echo.
        return Some((old.len(), None));
    }
    (!last.is_empty() && line.starts_with(last)).then_some((full.len(), Some(*last)))
}

/// The protocol's rule: everything from the first line that the old screen did not have anywhere.
fn unseen_lines<'a>(rules: &Rules, old: &str, new: &'a str) -> &'a str {
    let seen: HashSet<&str> = old.split('\n').collect();
    let first = new.split('\n').skip(rules.header).position(|line| !seen.contains(line));
    first.map_or("", |first| lines::from_line(new, first))
}

#[cfg(test)]
mod tests {
    use super::super::rules::rules;
    use super::{new_text, unseen_lines};
    use crate::domain::AgentType;

    fn custom<'a>(old: &str, new: &'a str) -> &'a str {
        new_text(rules(AgentType::Custom), old, new)
    }

    #[test]
    fn text_below_the_old_screen_is_new() {
        assert_eq!(custom("", "hello\n\n"), "hello");
        assert_eq!(custom("1234", "1234"), "");
        assert_eq!(custom("1234", "1234\n56"), "56");
    }

    #[test]
    fn a_repeated_exchange_is_new_each_time() {
        assert_eq!(custom("hello\nhello", "hello\nhello\nhello\nhello"), "hello\nhello");
        assert_eq!(custom("> q\na\n>", "> q\na\n> q\na\n>"), "> q\na\n>");
    }

    #[test]
    fn a_shell_prompt_below_the_answer_is_no_part_of_it() {
        assert_eq!(custom("$", "$ date\nMonday\n$"), "$ date\nMonday");
        assert_eq!(custom("hi\n$", "hi\n$ date\nMonday\n$"), "$ date\nMonday");
    }

    #[test]
    fn a_scrolled_screen_is_followed() {
        assert_eq!(custom("a\nb\nc\nd", "b\nc\nd\ne\nf"), "e\nf");
        assert_eq!(custom("a\na\na\na", "a\na\na\nb"), "b");
    }

    #[test]
    fn a_redrawn_screen_falls_back_to_unseen_lines() {
        assert_eq!(custom("one\ntwo\nthree", "two\nfour\none"), "four\none");
    }

    #[test]
    fn opencode_keeps_the_lines_above_its_changing_header() {
        let text = unseen_lines(rules(AgentType::Opencode), "h1\nx\ny\nold", "h2\nx\ny\nold\nnew");
        assert_eq!(text, "x\ny\nold\nnew");
        assert_eq!(unseen_lines(rules(AgentType::Opencode), "a", "b\nc"), "");
    }
}
