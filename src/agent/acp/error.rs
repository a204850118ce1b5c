//! Why a program could not be spoken to.

/// Why a program that was started cannot be spoken to by the Agent Client Protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcpError {
    /// It does not answer.
    #[error("the program did not answer {0} in time: does it speak the Agent Client Protocol on its standard input and output?")]
    NoAnswer(&'static str),
    /// It ended first, having said this on its standard error last.
    #[error("the program ended before it answered{}", last_words(.0))]
    Ended(String),
    /// What it writes is no JSON-RPC.
    #[error("the program does not speak the Agent Client Protocol: {0}")]
    NotAcp(&'static str),
    /// It wants to be signed in.
    #[error("the agent asks to be signed in; it offers: {0}. Give it its key in env, or a home that is signed in")]
    AuthenticationRequired(String),
    /// It answers with an error.
    #[error("the agent answered {0} with an error: {1}")]
    Answered(&'static str, String),
}

fn last_words(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!("; its last words were: {words}") }
}
