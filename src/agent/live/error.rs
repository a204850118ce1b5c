//! Why something is not to be had of a live agent.

use super::super::remote::RemoteError;

/// Why something was not sent to an agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is nothing to send.
    #[error("message must not be empty")]
    Empty,
    /// It is longer than an agent is given at once.
    #[error("message must not be longer than 65536 bytes")]
    TooLong,
    /// The agent is starting, works on something, or is being sent another message.
    #[error("message can only be sent when the agent is waiting for user input")]
    Busy,
    /// The agent asks something, and takes what is typed for an answer.
    #[error("the agent asks a question, which the last message shows: answer it with keys, as a raw message")]
    Asks,
    /// The agent does not read its input, or did not react to the message; what was typed was taken back, as far as possible.
    #[error("the agent did not react to the message")]
    Unresponsive,
    /// The agent has ended.
    #[error("the agent has ended")]
    Ended,
    /// The agent has no terminal: it takes no keys but those that cancel its work.
    #[error("an ACP agent takes no keystrokes but Escape (\\u001b) and Ctrl-C (\\u0003), which cancel what it works on")]
    NoKeys,
    /// A remote agent's server did not take it. Whether the agent has it is not known where there was no answer.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// Why an agent's screen is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScreenError {
    /// It has none.
    #[error("an ACP agent has no screen: see its messages and its timeline")]
    None,
    /// A remote agent's server does not show it.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}
