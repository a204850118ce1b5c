//! The user's own words, which a terminal shows again before the answer.

use super::lines;
use super::rules::EchoFrame;

/// How many characters of the user's text are looked for.
const KEY: usize = 6;
/// The echo begins within these many lines or, where they hold fewer, these many characters.
const WINDOW_LINES: usize = 6;
/// See [`WINDOW_LINES`].
const WINDOW_CHARACTERS: usize = 25;
/// How many characters the terminal may have added (a frame, a line break) or left out between two of the echo.
const LOOK_AHEAD: usize = 5;

/// A character that is not white space, and the line it is on.
struct Placed {
    character: char,
    line: usize,
}

fn placed(text: &str) -> impl Iterator<Item = Placed> {
    text.split('\n')
        .enumerate()
        .flat_map(|(line, text)| text.chars().map(move |character| Placed { character, line }))
        .filter(|placed| !matches!(placed.character, ' ' | '\t' | '\r' | '\x0c' | '\x0b'))
}

/// `message` without everything up to the line where the echo of `user` ends; unchanged where there is no echo.
pub(super) fn remove<'a>(frame: &EchoFrame, message: &'a str, user: &str) -> &'a str {
    let typed: Vec<Placed> = placed(user).collect();
    // What is behind this is never looked at: of a long message that is nearly all.
    let reach = WINDOW_CHARACTERS + (typed.len() + 1) * LOOK_AHEAD;
    let first_lines = placed(message).take_while(|placed| placed.line < WINDOW_LINES).count();
    let shown: Vec<Placed> = placed(message).take(first_lines + reach).collect();
    let Some(last) = last_line(&shown, &typed) else { return message };
    lines::from_line(message, after_frame(frame, message, last) + 1)
}

/// The line on which the echo ends.
fn last_line(shown: &[Placed], typed: &[Placed]) -> Option<usize> {
    let key: Vec<char> = typed.iter().take(KEY).take_while(|placed| placed.line == 0).map(|placed| placed.character).collect();
    if key.is_empty() {
        return None;
    }
    let first_lines = shown.iter().take_while(|placed| placed.line < WINDOW_LINES).count();
    let window = &shown[..first_lines.max(WINDOW_CHARACTERS).min(shown.len())];
    let start = window
        .windows(key.len())
        .position(|candidate| candidate.iter().zip(&key).all(|(placed, character)| placed.character == *character))?;

    let (mut in_shown, mut in_typed) = (start, 0);
    while let Some((shown_step, typed_step)) = next_match(&shown[in_shown..], &typed[in_typed..]) {
        in_shown += shown_step;
        in_typed += typed_step;
    }
    Some(shown[in_shown].line)
}

/// The nearest pair of equal characters ahead of the first ones; none once either side runs out.
fn next_match(shown: &[Placed], typed: &[Placed]) -> Option<(usize, usize)> {
    for typed_step in 1..=LOOK_AHEAD {
        let wanted = typed.get(typed_step)?.character;
        for shown_step in 1..=LOOK_AHEAD {
            if shown.get(shown_step)?.character == wanted {
                return Some((shown_step, typed_step));
            }
        }
    }
    None
}

/// The line where the frame around the echo ends, if the agent draws one.
fn after_frame(frame: &EchoFrame, message: &str, last: usize) -> usize {
    let mut below = message.split('\n').skip(last + 1);
    let mut next_has = |left, right| below.next().is_some_and(|line| line.contains(left) && line.contains(right));
    match *frame {
        EchoFrame::Corners(left, right) if next_has(left, right) => last + 1,
        EchoFrame::Lines(count) if message.split('\n').nth(last + count).is_some() => last + count,
        EchoFrame::None | EchoFrame::Corners(..) | EchoFrame::Lines(_) => last,
    }
}
