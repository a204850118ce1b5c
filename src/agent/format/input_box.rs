//! The place where an agent's user types, which is no part of an answer.

use std::borrow::Cow;
use std::iter;

use super::lines;
use super::rules::InputBox;

/// `message` without the agent's input box, where one is recognised.
pub(super) fn remove<'a>(input_box: &InputBox, message: &'a str) -> Cow<'a, str> {
    let lines: Vec<&str> = message.split('\n').collect();
    match *input_box {
        InputBox::PromptOrBar => lines::up_to(message, below_note(&lines, prompt_or_bar(&lines))).into(),
        InputBox::AboveStatus { prompt, height } => above_status(message, &lines, prompt, height),
        InputBox::AboveBar { corner, bar, height } => lines::up_to(message, above_bar(&lines, corner, bar, height)).into(),
        InputBox::RoundBox { alone } => round_box(message, &lines, alone).into(),
    }
}

fn is_border(line: &str) -> bool {
    line.contains(&"─".repeat(15)) || line.contains(&"╌".repeat(15))
}

/// Where the box begins in `lines`: a line with `>` near the end, or a bar between two borders.
fn prompt_or_bar(lines: &[&str]) -> usize {
    let count = lines.len();
    if let Some(prompt) = (count.saturating_sub(6)..count).rev().find(|&at| lines[at].contains('>')) {
        return if prompt > 0 && is_border(lines[prompt - 1]) { prompt - 1 } else { prompt };
    }
    (count.saturating_sub(9)..(count + 1).saturating_sub(3))
        .rev()
        .find(|&at| is_border(lines[at]) && lines[at + 1].contains(['|', '│', '❯']) && is_border(lines[at + 2]))
        .unwrap_or(count)
}

/// Where a box at `at` begins with the note that may stand on its border, flush right.
fn below_note(lines: &[&str], at: usize) -> usize {
    let [.., note, border] = &lines[..(at + 1).min(lines.len())] else { return at };
    let indent = note.len() - note.trim_start_matches(' ').len();
    let is_note = is_border(border) && !note.trim().is_empty() && indent >= border.trim().chars().count() / 2;
    if is_note { at - 1 } else { at }
}

/// Without a prompt that has a blank line and status lines below it. Where it is but one status line, the protocol keeps it.
fn above_status<'a>(message: &'a str, lines: &[&str], mark: char, height: usize) -> Cow<'a, str> {
    if let [answer @ .., prompt, _, status] = lines
        && prompt.contains(mark)
    {
        return Cow::Owned(answer.iter().chain([status]).copied().collect::<Vec<_>>().join("\n"));
    }
    // A choice that is offered looks like a prompt, but another follows it.
    let is_prompt = |pair: &[&str]| pair[0].starts_with(mark) && pair[1].trim().is_empty();
    let bottom = lines.len().saturating_sub(height);
    let prompt = lines[bottom..].windows(2).rposition(is_prompt);
    lines::up_to(message, prompt.map_or(lines.len(), |at| bottom + at)).into()
}

/// A bar is at least so long.
const BAR: usize = 17;

fn above_bar(lines: &[&str], corner: char, bar: char, height: usize) -> usize {
    let bottom: String = iter::once(corner).chain(iter::repeat_n(bar, BAR)).collect();
    let found = (height..lines.len()).rev().find(|&at| lines[at].trim().starts_with(&bottom));
    found.map_or(lines.len(), |at| at - height)
}

fn round_box<'a>(message: &'a str, lines: &[&str], alone: &'static str) -> &'a str {
    let edge = |line: &str, left, right| line.trim().starts_with(left) && line.trim().ends_with(right);
    let bottom = lines.iter().rposition(|line| edge(line, '╰', '╯'));
    let top = bottom.and_then(|bottom| lines[..=bottom].iter().rposition(|line| edge(line, '╭', '╮')));
    let answer = lines::up_to(message, top.unwrap_or(lines.len()));
    if answer.is_empty() { alone } else { answer }
}
