//! The place where an agent's user types, which is no part of an answer.

use crate::domain::AgentType;

/// Text shown for Amp's empty start screen, whose logo is an animation.
const AMP_WELCOME: &str = "Welcome to Amp";

/// `message` without the agent's input box, where one is recognised.
pub(super) fn remove(kind: AgentType, message: &str) -> String {
    let lines: Vec<&str> = message.split('\n').collect();
    match kind {
        AgentType::Codex => codex(&lines),
        AgentType::Opencode => opencode(&lines),
        AgentType::Amp => amp(&lines),
        AgentType::Claude
        | AgentType::Goose
        | AgentType::Aider
        | AgentType::Gemini
        | AgentType::Copilot
        | AgentType::Cursor
        | AgentType::Auggie
        | AgentType::AmazonQ
        | AgentType::Custom => lines[..below_note(&lines, generic(&lines))].join("\n"),
    }
}

fn is_border(line: &str) -> bool {
    line.contains(&"─".repeat(15)) || line.contains(&"╌".repeat(15))
}

/// Where the box begins in `lines`: a line with `>` near the end, or a bar between two borders.
fn generic(lines: &[&str]) -> usize {
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

/// How many lines Codex draws at most from its prompt to the end of its screen: a long path takes several.
const CODEX_BOX: usize = 8;

/// Codex keeps status lines below its prompt and a blank line. Where it is but one, the protocol keeps it.
fn codex(lines: &[&str]) -> String {
    if let [answer @ .., prompt, _, status] = lines
        && prompt.contains('›')
    {
        return answer.iter().chain([status]).copied().collect::<Vec<_>>().join("\n");
    }
    // A choice that Codex offers looks like a prompt, but another follows it.
    let is_prompt = |pair: &[&str]| pair[0].starts_with('›') && pair[1].trim().is_empty();
    let bottom = lines.len().saturating_sub(CODEX_BOX);
    let prompt = lines[bottom..].windows(2).rposition(is_prompt);
    lines[..prompt.map_or(lines.len(), |at| bottom + at)].join("\n")
}

fn opencode(lines: &[&str]) -> String {
    let bottom = format!("╹{}", "▀".repeat(17));
    let found = (4..lines.len()).rev().find(|&at| lines[at].trim().starts_with(&bottom));
    lines[..found.map_or(lines.len(), |at| at - 4)].join("\n")
}

fn amp(lines: &[&str]) -> String {
    let edge = |line: &str, left, right| line.trim().starts_with(left) && line.trim().ends_with(right);
    let bottom = lines.iter().rposition(|line| edge(line, '╰', '╯'));
    let top = bottom.and_then(|bottom| lines[..=bottom].iter().rposition(|line| edge(line, '╭', '╮')));
    let answer = lines[..top.unwrap_or(lines.len())].join("\n");
    if answer.is_empty() { AMP_WELCOME.to_owned() } else { answer }
}
