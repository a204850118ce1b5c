//! How long a live agent waits for what.

use std::time::Duration;

/// Spans of time in the life of an agent. The defaults suit real agents; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// A screen that did not change for this long is quiet: the agent is idle.
    pub quiet: Duration,
    /// A sign that the agent waits counts once it has stood for this long: titles flicker, and agents take no answers in the first
    /// moments after they asked.
    pub sign: Duration,
    /// From the first output after a pause until it is shown: a program writes a frame in several pieces.
    pub first_frame: Duration,
    /// Between two frames while output goes on.
    pub frame: Duration,
    /// Least pause between typed text and Return: agents take a Return that comes with the text for a part of it.
    pub before_return: Duration,
    /// The echo of the typed text is complete once the screen has been quiet for this long.
    pub echo_quiet: Duration,
    /// Longest wait for the echo; some programs show none.
    pub echo: Duration,
    /// Return is pressed again when nothing happened for this long.
    pub press_again: Duration,
    /// An agent that shows nothing for this long after the first Return does not take the message. As long as it may take an
    /// agent to read the text.
    pub reaction: Duration,
    /// Longest wait of a sender until its message is stored; it is stored later then.
    pub stored: Duration,
    /// From SIGTERM to SIGHUP, in which a program that knows how to end can do so. At most half of the grace it is given.
    pub hang_up: Duration,
    /// From the program's end to the end of its output, which a process that left the session may hold open.
    pub last_output: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            quiet: ms(2000),
            sign: ms(500),
            first_frame: ms(16),
            frame: ms(40),
            before_return: ms(50),
            echo_quiet: ms(50),
            echo: ms(2000),
            press_again: ms(3000),
            reaction: ms(15_000),
            stored: ms(5000),
            hang_up: ms(500),
            last_output: ms(500),
        }
    }
}
