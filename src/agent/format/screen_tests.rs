//! Whole screens of today's agents, recorded after the user said "hello there", and after the user said it again.

use crate::domain::AgentType;

use super::{agent_message, is_ready, new_text};

/// Claude Code 2.1: a full-screen program that keeps its box at the bottom of a terminal of 1000 rows.
const CLAUDE: [&str; 2] = [
    include_str!("../../../tests/fixtures/screens/claude-first.txt"),
    include_str!("../../../tests/fixtures/screens/claude-again.txt"),
];
/// Codex 0.169: the same, with a long path below the box.
const CODEX: [&str; 2] = [
    include_str!("../../../tests/fixtures/screens/codex-first.txt"),
    include_str!("../../../tests/fixtures/screens/codex-again.txt"),
];

fn answer(kind: AgentType, before: &str, after: &str) -> String {
    agent_message(kind, new_text(kind, before, after), "hello there")
}

#[test]
fn an_answer_ends_where_the_empty_middle_of_the_screen_begins() {
    let answer = |kind, [first, _]: [&str; 2]| answer(kind, "", first);
    assert!(answer(AgentType::Claude, CLAUDE).ends_with("● Stand-in heard: hello there\n\n✻ Sautéed for 0s · done 1:15 AM"));
    assert!(answer(AgentType::Codex, CODEX).ends_with("• Stand-in heard: hello there\n\n  Worked for <1s • 1:15 AM"));
}

#[test]
fn the_same_answer_is_found_again() {
    let [first, again] = CLAUDE;
    assert_eq!(answer(AgentType::Claude, first, again), "● Stand-in heard: hello there\n\n✻ Cooked for 0s · done 1:15 AM");
    let [first, again] = CODEX;
    assert_eq!(answer(AgentType::Codex, first, again), "• Stand-in heard: hello there\n\n  Worked for <1s • 1:15 AM");
}

#[test]
fn the_box_shows_that_the_agent_is_ready() {
    assert!(is_ready(AgentType::Claude, CLAUDE[0]));
    assert!(is_ready(AgentType::Codex, CODEX[0]));
}

#[test]
fn choices_of_codex_are_no_box() {
    let asks =
        "  Would you like to run the following command?\n\n  $ touch a\n\n› 1. Yes, proceed (y)\n  2. No (esc)\n\n  Press enter";
    assert_eq!(agent_message(AgentType::Codex, asks, ""), asks);
    assert!(!is_ready(AgentType::Codex, asks));
}

#[test]
fn a_dialog_at_the_bottom_is_told_without_the_empty_middle() {
    let asks = format!("● Running it\n{}Do you want to proceed?\n ❯ 1. Yes\n   2. No", "\n".repeat(900));
    assert_eq!(agent_message(AgentType::Claude, &asks, ""), "● Running it\n\nDo you want to proceed?\n ❯ 1. Yes\n   2. No");
    let spaced = "a\n\n\n\n\nb";
    assert_eq!(agent_message(AgentType::Claude, spaced, ""), spaced);
}
