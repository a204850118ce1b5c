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
        | AgentType::Custom => lines[..generic(&lines)].join("\n"),
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

/// Codex keeps a status line below its two-line prompt.
fn codex(lines: &[&str]) -> String {
    match lines {
        [answer @ .., prompt, _, status] if prompt.contains('›') => {
            answer.iter().chain([status]).copied().collect::<Vec<_>>().join("\n")
        }
        _ => lines.join("\n"),
    }
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
