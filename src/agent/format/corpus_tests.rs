//! The protocol's own cases, where they are at hand: screens of real agents with the messages that clients expect of them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::domain::AgentType;

use super::{Question, agent_message, echo, is_ready, new_text, question, rules};

/// A folder of cases; `None`, with a line about it, where it is absent.
fn corpus(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no corpus at {}", folder.display());
    None
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("readable").path()).collect();
    entries.sort();
    entries
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a readable name")
}

fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{}/{file}: {error}", folder.display()))
}

#[test]
fn messages_are_read_off_the_screens_of_real_agents() {
    let Some(corpus) = corpus("agentapi-0.12.1") else { return };
    let mut checked = 0;
    for folder in entries(&corpus.join("format")) {
        let kind: AgentType = name(&folder).parse().expect("a folder is named after an agent");
        for case in entries(&folder) {
            let message = agent_message(kind, &read(&case, "msg.txt"), &read(&case, "user.txt"));
            assert_eq!(message, read(&case, "expected.txt"), "{}", case.display());
            checked += 1;
        }
    }
    println!("{checked} messages");
    assert!(checked > 0);
}

#[test]
fn the_echo_of_the_user_is_removed() {
    let Some(corpus) = corpus("agentapi-0.12.1") else { return };
    let cases = entries(&corpus.join("remove-user-input"));
    for case in &cases {
        let message = read(case, "msg.txt");
        let left = echo::remove(&rules(AgentType::Custom).echo, &message, &read(case, "user.txt"));
        assert_eq!(left, read(case, "expected.txt"), "{}", case.display());
    }
    println!("{} echoes", cases.len());
    assert!(!cases.is_empty());
}

#[test]
fn readiness_is_seen_on_the_screens_of_real_agents() {
    let Some(corpus) = corpus("agentapi-0.12.1") else { return };
    let mut checked = 0;
    for folder in entries(&corpus.join("initialization")) {
        let kind: AgentType = name(&folder).parse().expect("a folder is named after an agent");
        for (state, ready) in [("ready", true), ("not_ready", false)] {
            for screen in entries(&folder.join(state)) {
                let text = fs::read_to_string(&screen).expect("readable");
                assert_eq!(is_ready(kind, &text), ready, "{}", screen.display());
                checked += 1;
            }
        }
    }
    println!("{checked} screens");
    assert!(checked > 0);
}

#[test]
fn new_text_is_found_between_two_screens() {
    let Some(corpus) = corpus("agentapi-0.12.1") else { return };
    for case in entries(&corpus.join("diff")) {
        let after = read(&case, "after.txt");
        let text = new_text(AgentType::Custom, &read(&case, "before.txt"), &after);
        assert_eq!(text, read(&case, "expected.txt"), "{}", case.display());
    }
}

/// Screens that end with answers to choose from, of those that were recorded: permissions, and whether a folder is trusted.
const ASKING: [&str; 7] = [
    "claude2-2-permission.txt",
    "codex2-1-first.txt",
    "codex3-3-approval.txt",
    "copilot1-1-first.txt",
    "copilot2-3-permission.txt",
    "gemini1-1-first.txt",
    "gemini1-6-permission.txt",
];

#[test]
fn questions_are_told_from_other_screens_of_real_agents() {
    let Some(folder) = corpus("recordings/screens") else { return };
    let mut asking = Vec::new();
    for screen in entries(&folder) {
        let file = name(&screen);
        let kind: String = file.chars().take_while(char::is_ascii_alphabetic).collect();
        let Ok(kind) = kind.parse() else { continue };
        let text = fs::read_to_string(&screen).expect("readable");
        if question(kind, &text) == Question::Open {
            asking.push(file.to_owned());
        }
    }
    assert_eq!(asking, ASKING);
}
