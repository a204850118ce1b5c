//! How a live agent ended.

use crate::domain::AgentState;

/// How an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Whether it was stopped, rather than ending by itself.
    pub stopped: bool,
    /// Exit code of its program, if it exited.
    pub exit_code: Option<i32>,
    /// The signal that ended its program, otherwise.
    pub signal: Option<i32>,
}

impl Ended {
    /// The state that the agent is in now.
    #[must_use]
    pub const fn state(self) -> AgentState {
        if self.stopped { AgentState::Stopped } else { AgentState::Exited }
    }
}
