//! Answers that an agent offers to choose from: numbered lines at the end of its screen, one of them marked.

/// Lines that may stand below the answers: how to choose, the edge of a box.
const BELOW: usize = 3;
/// Lines that an answer may take.
const ANSWER: usize = 3;
/// Answers that may be offered.
const ANSWERS: usize = 12;

/// Whether `screen` ends with numbered answers, one of which has this `mark`, and no more than a few words on how to choose.
pub(super) fn is_offered(mark: char, screen: &str) -> bool {
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
