//! Recorded sessions of today's agents, with their own times: what is made of their screens and titles.
//!
//! The files are asciicasts (version 2) of both directions: `"o"` is what the agent wrote, `"i"` what was typed.

use std::time::{Duration, Instant};

use super::super::format::Question;
use super::super::terminal::Emulator;
use super::*;
use crate::domain::{Fence, TerminalSize};

const PATIENCE: Patience = Patience { quiet: Duration::from_secs(2), sign: Duration::from_millis(500) };

/// A recorded session, played to a conversation.
struct Replay {
    emulator: Emulator,
    conversation: Conversation,
    start: Now,
    screen: Arc<str>,
    title: Arc<str>,
    /// A message that was typed, the screen before it, and whether Return was pressed.
    typed: Option<(Arc<str>, Arc<str>, bool)>,
    /// What the screens showed of questions, one after another.
    questions: Vec<Question>,
    /// Changes but those of the texts.
    seen: Vec<String>,
}

impl Replay {
    fn new(agent_type: AgentType) -> Self {
        let start = Now::read();
        let empty: Arc<str> = Arc::from("");
        Self {
            emulator: Emulator::new(TerminalSize::default()),
            conversation: Conversation::new(agent_type, Vec::new(), EventId::before(Fence::FIRST), false, PATIENCE, start),
            start,
            screen: Arc::clone(&empty),
            title: empty,
            typed: None,
            questions: vec![Question::None],
            seen: Vec::new(),
        }
    }

    fn play(mut self, recording: &str) -> Self {
        for line in recording.lines().skip(1) {
            let (seconds, kind, text): (f64, String, String) = serde_json::from_str(line).expect("an event");
            let now = self.at(Duration::from_secs_f64(seconds));
            self.wait_until(now.instant);
            match kind.as_str() {
                "o" => self.output(&text, now),
                "i" => self.input(&text, now),
                kind => panic!("{kind}"),
            }
        }
        let end = self.at(Duration::from_hours(1));
        self.wait_until(end.instant);
        self
    }

    fn at(&self, after: Duration) -> Now {
        Now { instant: self.start.instant + after, wall: self.start.wall + after }
    }

    fn wait_until(&mut self, instant: Instant) {
        while let Some(due) = self.conversation.deadline().filter(|due| *due <= instant) {
            let changes = self.conversation.tick(self.at(due - self.start.instant));
            self.saw(&changes);
        }
    }

    fn output(&mut self, text: &str, now: Now) {
        self.emulator.feed(text.as_bytes());
        let title = self.emulator.title();
        if title != self.title {
            let changes = self.conversation.title_changed(&title, now);
            self.saw(&changes);
            self.title = title;
        }
        let screen = self.emulator.text();
        if *screen == *self.screen {
            return;
        }
        self.screen = screen.into();
        self.questions.push(format::question(self.conversation.agent_type, &self.screen));
        self.questions.dedup();
        let changes = self.conversation.screen_changed(&self.screen, Arc::clone(&self.screen), now);
        self.saw(&changes);
        if let Some((text, before, true)) = self.typed.take_if(|(_, _, handed_in)| *handed_in) {
            let changes = self.conversation.sent(text, before, Arc::clone(&self.screen), now);
            self.saw(&changes);
        }
    }

    fn input(&mut self, text: &str, now: Now) {
        if let Some(message) = text.strip_prefix("\x1b[200~").and_then(|text| text.strip_suffix("\x1b[201~")) {
            let changes = self.conversation.begin_sending(now).expect("it takes a message");
            self.saw(&changes);
            self.typed = Some((message.into(), Arc::clone(&self.screen), false));
        } else if text == "\r" {
            self.typed.as_mut().expect("something was typed").2 = true;
        }
    }

    fn saw(&mut self, changes: &[Change]) {
        self.seen.extend(changes.iter().filter_map(|change| match change {
            Change::Status(status, _) => Some(status.to_string()),
            Change::Asks(asks) => Some(if *asks { "asks" } else { "asks no more" }.to_owned()),
            Change::Message(_) | Change::Settled(_) => None,
        }));
    }

    fn last_answer(&self) -> &str {
        &self.conversation.messages().last().expect("a message").content
    }
}

#[test]
fn claude_code_waits_for_a_permission_though_its_screen_blinks() {
    let replay = Replay::new(AgentType::Claude).play(include_str!("../../../tests/fixtures/recordings/claude.cast"));
    let said: Vec<&str> = replay.conversation.messages().iter().map(|message| &*message.content).collect();
    // A hint below its box goes away by itself.
    let start = ["stable", "running", "stable"];
    let asked = ["running", "asks", "stable", "running", "asks no more", "stable"];
    assert_eq!(replay.seen, [&start[..], &asked, &["running", "stable"]].concat(), "{said:#?}");
    assert_eq!(replay.questions, [Question::None, Question::Coming, Question::Open, Question::None]);
    assert!(replay.last_answer().starts_with("● STUB-REPLY to: hello there\n"), "{said:#?}");
}

#[test]
fn codex_waits_for_an_approval_though_its_title_blinks() {
    let replay = Replay::new(AgentType::Codex).play(include_str!("../../../tests/fixtures/recordings/codex.cast"));
    let said: Vec<&str> = replay.conversation.messages().iter().map(|message| &*message.content).collect();
    let turn = ["running", "stable"];
    let asked = ["running", "asks", "stable", "running", "asks no more", "stable"];
    assert_eq!(replay.seen, [&["stable"][..], &turn, &asked, &turn].concat(), "{said:#?}");
    assert!(replay.last_answer().starts_with("• STUB-REPLY to: hello there\n"), "{said:#?}");
}
