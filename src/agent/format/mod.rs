//! From terminal screens to messages: pure functions that find an agent's answer on its screen.
//!
//! The rules are those of the AgentAPI protocol, kept byte for byte, because clients see their results. What differs between kinds
//! of agents is data, in `rules.rs`.

mod diff;
mod echo;
mod input_box;
mod lines;
mod question;
mod rules;
mod tool_call;

use crate::domain::AgentType;

pub(crate) use self::question::{Question, question};
pub(crate) use self::rules::{Activity, rules};

/// The part of screen `new` that screen `old` did not have, without blank lines at its edges.
pub(crate) fn new_text<'a>(kind: AgentType, old: &str, new: &'a str) -> &'a str {
    diff::new_text(rules(kind), old, new)
}

/// What the agent said in `text`, the new part of its screen: without the echo of what the `user` typed, its input box, blank
/// edges, and the calls of tools that only report to the platform.
pub(crate) fn agent_message(kind: AgentType, text: &str, user: &str) -> String {
    let rules = rules(kind);
    let answer = echo::remove(&rules.echo, text, user);
    let answer = input_box::remove(&rules.input_box, answer);
    let answer = lines::close_gaps(lines::trim_blank(&answer).unwrap_or_default());
    tool_call::remove(rules.report.as_ref(), &answer).into_owned()
}

/// Whether the agent's whole `screen` shows a place to type at: it has drawn its input box or prompt.
pub(crate) fn is_ready(kind: AgentType, screen: &str) -> bool {
    let screen = lines::trim_blank(screen).unwrap_or_default();
    input_box::remove(&rules(kind).input_box, screen).len() != screen.len()
}

/// What the agent does, if its window `title` tells.
pub(crate) fn activity(kind: AgentType, title: &str) -> Option<Activity> {
    rules(kind).titles.iter().find(|(beginning, _)| title.starts_with(beginning)).map(|(_, activity)| *activity)
}

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod screen_tests;
