//! Calls of the `report_task` tool, by which an agent tells its platform how far it is: noise to the user.

use std::borrow::Cow;

use super::rules::Report;

/// `message` without such calls.
pub(super) fn remove<'a>(report: Option<&Report>, message: &'a str) -> Cow<'a, str> {
    match report {
        Some(Report::InBraces { headline, result }) => in_braces(message, headline, result).into(),
        Some(Report::InLines { headline, tool, result }) => in_lines(message, headline, tool, result).into(),
        None => message.into(),
    }
}

/// A call runs from its headline to the result that closes it; one that is still being drawn ends at the last blank line.
fn in_braces(message: &str, headline: &str, result: &str) -> String {
    let padded = format!("\n{message}");
    let mut lines: Vec<&str> = padded.split('\n').collect();
    let mut calls = Vec::new();
    let mut start: Option<usize> = None;
    let mut after_blank: Option<usize> = None;
    for at in 1..lines.len().saturating_sub(1) {
        let (before, line, after) = (lines[at - 1].trim(), lines[at].trim(), lines[at + 1].trim());
        if line.contains(headline) {
            start = Some(at);
            after_blank = None;
        } else if let Some(first) = start {
            if line == result && after == "}" && before.ends_with('{') {
                calls.push(first..at + 2);
                start = None;
                after_blank = None;
            } else if line.is_empty() {
                after_blank = Some(at + 1);
            }
        }
    }
    if let Some(first) = start {
        calls.push(first..after_blank.unwrap_or(lines.len()));
    }
    for call in calls.into_iter().rev() {
        lines.drain(call);
    }
    lines.join("\n").trim_start_matches('\n').to_owned()
}

/// A call runs from its headline to its result and the blank lines below.
fn in_lines(message: &str, headline: &str, tool: &str, result: &str) -> String {
    let mut lines: Vec<&str> = message.split('\n').collect();
    let mut calls = Vec::new();
    let mut start: Option<usize> = None;
    for at in 0..lines.len() {
        let line = lines[at].trim();
        if line.replace(' ', "") == headline && lines.get(at + 1).is_some_and(|next| next.contains(tool)) {
            start = Some(at);
        } else if let Some(first) = start
            && line == result
        {
            let blank = lines[at + 1..].iter().take_while(|line| line.trim().is_empty()).count();
            calls.push(first..at + 1 + blank);
            start = None;
        }
    }
    for call in calls.into_iter().rev() {
        lines.drain(call);
    }
    lines.join("\n").trim_end_matches('\n').to_owned()
}
