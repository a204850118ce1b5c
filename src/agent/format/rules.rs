//! How each kind of agent draws its screen, as data. A new agent, or a new look of one, is a change of this table and a recorded
//! screen that shows it (`screen_tests.rs`); one that is like others needs no line at all.

use crate::domain::AgentType;

/// How one kind of agent draws its screen.
pub(crate) struct Rules {
    /// Typed when it starts: ends a start animation, whose screen would never be quiet.
    pub(crate) wake: &'static [u8],
    /// Whether a quiet screen shows that it is ready, whatever it looks like.
    pub(crate) ready_when_quiet: bool,
    /// What its window title tells, by how it begins; the first that fits counts.
    pub(super) titles: &'static [(&'static str, Activity)],
    /// The mark before the one of the answers it offers that is chosen.
    pub(super) choice: Option<char>,
    /// How a line at the end of its screen begins while it is about to ask, though its title is idle already.
    pub(super) about_to_ask: Option<&'static str>,
    /// Lines at the top of its screen that change all the time.
    pub(super) header: usize,
    /// What it draws around the user's words when it shows them again.
    pub(super) echo: EchoFrame,
    /// Where its user types.
    pub(super) input_box: InputBox,
    /// How it shows that it reports to the platform.
    pub(super) report: Option<Report>,
}

/// What an agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It works.
    Busy,
    /// It waits for a message.
    Idle,
    /// It waits for the answer to a question: a permission, a choice.
    Asks,
}

/// What an agent draws below the user's words when it shows them again.
pub(super) enum EchoFrame {
    /// Nothing.
    None,
    /// A line with these corners.
    Corners(char, char),
    /// So many lines.
    Lines(usize),
}

/// Where an agent's user types.
pub(super) enum InputBox {
    /// Behind a `>` near the end of the screen, or a bar between two borders.
    PromptOrBar,
    /// Behind a prompt with status lines and a blank line below it; so many lines at most.
    AboveStatus { prompt: char, height: usize },
    /// So many lines above a line that begins with this corner and this bar.
    AboveBar { corner: char, bar: char, height: usize },
    /// A box with round corners. A screen with nothing else reads as this text.
    RoundBox { alone: &'static str },
}

/// How an agent shows a call of the tool by which it reports to its platform.
pub(super) enum Report {
    /// A headline, then the call, then its result in braces.
    InBraces { headline: &'static str, result: &'static str },
    /// A headline, a line that names the tool, then its result as one line.
    InLines { headline: &'static str, tool: &'static str, result: &'static str },
}

/// What holds for an agent unless its own rules say otherwise.
const USUAL: Rules = Rules {
    wake: b"",
    ready_when_quiet: false,
    titles: &[],
    choice: None,
    about_to_ask: None,
    header: 0,
    echo: EchoFrame::None,
    input_box: InputBox::PromptOrBar,
    report: None,
};

const CLAUDE: Rules = Rules {
    titles: &[("✳", Activity::Idle), ("◐", Activity::Busy), ("◑", Activity::Busy)],
    choice: Some('❯'),
    // It shows no question while keys are being pressed, and takes none as an answer right after.
    about_to_ask: Some("Waiting for permission"),
    report: Some(Report::InBraces {
        headline: "coder - coder_report_task (MCP)",
        result: r#""message": "Thanks for reporting!""#,
    }),
    ..USUAL
};

const CODEX: Rules = Rules {
    titles: &[
        ("[ ! ]", Activity::Asks),
        ("[ . ]", Activity::Asks),
        ("⠋", Activity::Busy),
        ("⠙", Activity::Busy),
        ("⠹", Activity::Busy),
        ("⠸", Activity::Busy),
        ("⠼", Activity::Busy),
        ("⠴", Activity::Busy),
        ("⠦", Activity::Busy),
        ("⠧", Activity::Busy),
        ("⠇", Activity::Busy),
        ("⠏", Activity::Busy),
        // The name of its directory.
        ("", Activity::Idle),
    ],
    choice: Some('›'),
    // A long path below the prompt takes several lines.
    input_box: InputBox::AboveStatus { prompt: '›', height: 8 },
    report: Some(Report::InLines {
        headline: "•Called",
        tool: "Coder.coder_report_task",
        result: r#"{"message": "Thanks for reporting!"}"#,
    }),
    ..USUAL
};

const GEMINI: Rules = Rules {
    // As its setting `ui.showStatusInTitle` describes them.
    titles: &[("◇", Activity::Idle), ("✦", Activity::Busy), ("✋", Activity::Asks)],
    choice: Some('●'),
    echo: EchoFrame::Corners('╰', '╯'),
    ..USUAL
};

const COPILOT: Rules = Rules { choice: Some('❯'), echo: EchoFrame::Corners('╰', '╯'), ..USUAL };

const CURSOR: Rules = Rules { echo: EchoFrame::Corners('└', '┘'), ..USUAL };

const OPENCODE: Rules =
    Rules {
        header: 3, echo: EchoFrame::Lines(2), input_box: InputBox::AboveBar { corner: '╹', bar: '▀', height: 4 }, ..USUAL
    };

const AMP: Rules = Rules {
    // Space and backspace.
    wake: b" \x08",
    // Its logo is an animation.
    input_box: InputBox::RoundBox { alone: "Welcome to Amp" },
    ..USUAL
};

/// Any program may be a custom agent; it need not draw anything that looks like a prompt.
const CUSTOM: Rules = Rules { ready_when_quiet: true, ..USUAL };

/// The rules for one kind of agent.
pub(crate) const fn rules(kind: AgentType) -> &'static Rules {
    match kind {
        AgentType::Claude => &CLAUDE,
        AgentType::Codex => &CODEX,
        AgentType::Gemini => &GEMINI,
        AgentType::Copilot => &COPILOT,
        AgentType::Cursor => &CURSOR,
        AgentType::Opencode => &OPENCODE,
        AgentType::Amp => &AMP,
        AgentType::Custom => &CUSTOM,
        AgentType::Goose | AgentType::Aider | AgentType::Auggie | AgentType::AmazonQ => &USUAL,
    }
}
