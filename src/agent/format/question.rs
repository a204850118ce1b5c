//! What an agent's screen shows of a question to its user: answers to choose from, numbered lines at its end with one of them
//! marked; or that one is about to be asked.

use super::rules::rules;
use crate::domain::AgentType;

/// Lines that may stand below the answers: how to choose, the edge of a box.
const BELOW: usize = 3;
/// Lines that an answer may take.
const ANSWER: usize = 3;
/// Lines at the end that may tell of a question to come: an input box may stand below.
const END: usize = 8;
/// Answers that may be offered.
const ANSWERS: usize = 12;

/// What a screen shows of a question.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// There is none.
    #[default]
    None,
    /// It is about to be asked.
    Coming,
    /// There are answers to choose from.
    Open,
}

/// The question that the agent's whole `screen` ends with.
pub(crate) fn question(kind: AgentType, screen: &str) -> Question {
    let rules = rules(kind);
    let ends_with =
        |text| screen.lines().rev().map(str::trim).filter(|line| !line.is_empty()).take(END).any(|line| line.starts_with(text));
    if rules.choice.is_some_and(|mark| is_offered(mark, screen)) {
        Question::Open
    } else if rules.about_to_ask.is_some_and(ends_with) {
        Question::Coming
    } else {
        Question::None
    }
}

/// Whether `screen` ends with numbered answers, one of which has this `mark`, and no more than a few words on how to choose.
fn is_offered(mark: char, screen: &str) -> bool {
    let lines = screen.lines().rev().map(text).filter(|line| !line.is_empty()).take(BELOW + ANSWERS * ANSWER);
    let mut below = BELOW;
    let (mut marked, mut expected) = (false, None);
    for line in lines {
        let (has_mark, number) = answer(mark, line);
        marked |= has_mark;
        match (number, expected) {
            // A mark that is before no answer is a prompt.
            (None, _) if has_mark => return false,
            (None, None) if below > 0 => below -= 1,
            (None, None) => return false,
            (Some(1), Some(2)) => return marked,
            (Some(number), None) => expected = Some(number),
            (Some(number), Some(last)) if number + 1 == last => expected = Some(number),
            // A line of an answer.
            (_, Some(_)) => {}
        }
    }
    false
}

/// A line without the sides of a box around it.
fn text(line: &str) -> &str {
    line.trim_matches(|character: char| character.is_whitespace() || matches!(character, '│' | '┃' | '─' | '╭' | '╮' | '╰' | '╯'))
}

/// Whether a line has the mark, and the number of the answer that begins in it.
fn answer(mark: char, line: &str) -> (bool, Option<usize>) {
    let marked = line.strip_prefix(mark);
    let words = marked.unwrap_or(line).trim_start();
    let number =
        words.split_once(". ").and_then(|(number, _)| number.parse().ok()).filter(|number| (1..=ANSWERS).contains(number));
    (marked.is_some(), number)
}

#[cfg(test)]
mod tests {
    use super::is_offered;

    #[test]
    fn answers_at_the_end_are_offered_in_a_box_or_without_one() {
        assert!(is_offered(
            '❯',
            "Do you want to proceed?\n ❯ 1. Yes\n   2. Yes, and always\n      here\n   3. No\n\n Esc to cancel"
        ));
        assert!(is_offered('●', "│ Allow?      │\n│   1. Once   │\n│ ● 2. Always │\n╰─────────────╯"));
    }

    #[test]
    fn a_list_in_an_answer_or_above_a_prompt_is_not_offered() {
        let list = " ❯ 1. Yes\n   2. No";
        for screen in [
            "1. one\n2. two".to_owned(),
            "❯ 1. one".to_owned(),
            format!("{list}\n────\n❯ \n────\n  ? for shortcuts"),
            format!("{list}\nthat\nwas\nthe\nquestion"),
            String::new(),
        ] {
            assert!(!is_offered('❯', &screen), "{screen}");
        }
    }
}
