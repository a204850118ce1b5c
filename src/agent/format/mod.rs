//! From terminal screens to messages: pure functions that find an agent's answer on its screen.
//!
//! The rules are those of the AgentAPI protocol, kept byte for byte, because clients see their results. What differs between kinds
//! of agents is a `match` on [`AgentType`] in the file of its rule; a new kind starts with the generic rules.

mod diff;
mod echo;
mod input_box;
mod lines;
mod tool_call;

use crate::domain::AgentType;

pub(crate) use self::diff::new_text;

/// What the agent said in `text`, the new part of its screen: without the echo of what the `user` typed, its input box, blank
/// edges, and the calls of tools that only report to the platform.
pub(crate) fn agent_message(kind: AgentType, text: &str, user: &str) -> String {
    tool_call::remove(kind, &message_text(kind, text, user))
}

/// [`agent_message`] before tool calls are removed.
fn message_text(kind: AgentType, text: &str, user: &str) -> String {
    let answer = echo::remove(kind, text, user);
    lines::close_gaps(lines::trim_blank(&input_box::remove(kind, &answer)).unwrap_or_default())
}

/// Whether the agent's whole `screen` shows a place to type at: it has drawn its input box or prompt.
pub(crate) fn is_ready(kind: AgentType, screen: &str) -> bool {
    let screen = lines::trim_blank(screen).unwrap_or_default();
    input_box::remove(kind, screen).len() != screen.len()
}

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod screen_tests;
