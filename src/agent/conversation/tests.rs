use super::*;
use crate::domain::Fence;

const QUIET: Duration = Duration::from_secs(2);
const PATIENCE: Patience = Patience { quiet: QUIET, sign: Duration::from_millis(500) };

/// A conversation with a clock that the test turns.
struct Scene {
    conversation: Conversation,
    now: Now,
}

impl Scene {
    fn new(agent_type: AgentType) -> Self {
        Self::resumed(agent_type, Vec::new(), false)
    }

    fn resumed(agent_type: AgentType, history: Vec<Message>, prompt: bool) -> Self {
        let now = Now::read();
        Self { conversation: Conversation::new(agent_type, history, EventId::before(Fence::FIRST), prompt, PATIENCE, now), now }
    }

    /// Codex at its prompt, with the title of its directory.
    fn idle_codex() -> Self {
        let mut scene = Self::new(AgentType::Codex);
        scene.shows("> \n› \n\n  status");
        scene.titled("project");
        assert_eq!(scene.quiet(), ["settled 0", "stable"]);
        scene
    }

    /// Claude with a message that it works on, whatever its title tells.
    fn claude_at_work() -> Self {
        let mut scene = Self::new(AgentType::Claude);
        scene.shows("Welcome\n> ");
        assert_eq!(scene.quiet(), ["settled 0", "stable"]);
        scene.sends("go", "> go");
        scene
    }

    fn after(&mut self, span: Duration) -> Now {
        self.now.instant += span;
        self.now.wall += span;
        self.now
    }

    fn shows(&mut self, screen: &str) -> Vec<String> {
        let now = self.after(Duration::from_millis(10));
        short(&self.conversation.screen_changed(screen, screen.into(), now))
    }

    fn titled(&mut self, title: &str) -> Vec<String> {
        short(&self.conversation.title_changed(title, self.now))
    }

    /// As long as a sign must stand.
    fn after_sign(&mut self) -> Vec<String> {
        let now = self.after(PATIENCE.sign);
        short(&self.conversation.tick(now))
    }

    fn quiet(&mut self) -> Vec<String> {
        let now = self.after(QUIET);
        short(&self.conversation.tick(now))
    }

    /// Sends a message at the screen of this moment.
    fn sends(&mut self, text: &str, shows: &str) -> Vec<String> {
        let before = Arc::clone(&self.conversation.shown);
        let mut seen = short(&self.conversation.begin_sending(self.now).expect("it is idle"));
        seen.extend(self.shows(shows));
        let now = self.after(Duration::from_millis(10));
        seen.extend(short(&self.conversation.sent(text.into(), before, shows.into(), now)));
        seen
    }
}

fn short(changes: &[Change]) -> Vec<String> {
    let text = |message: &Message| format!("{} {} {}", message.id, message.role.as_str(), message.content);
    changes
        .iter()
        .map(|change| match change {
            Change::Status(status, _) => status.to_string(),
            Change::Message(message) => text(message),
            Change::Asks(asks) => format!("asks {asks}"),
            Change::Settled(message) => format!("settled {}", message.id),
        })
        .collect()
}

#[test]
fn an_agent_is_stable_once_ready_and_quiet() {
    let mut scene = Scene::new(AgentType::Claude);
    assert_eq!(scene.shows("loading"), ["0 agent loading"]);
    assert!(scene.quiet().is_empty(), "quiet, but not ready");
    assert_eq!(scene.conversation.deadline(), None, "nothing to wait for");
    assert_eq!(scene.shows("Welcome\n> "), ["0 agent Welcome"]);
    let early = scene.after(Duration::from_millis(1999));
    assert!(scene.conversation.tick(early).is_empty());
    assert_eq!(scene.quiet(), ["settled 0", "stable"]);
    assert_eq!(scene.conversation.deadline(), None);
    assert_eq!(scene.shows("Welcome\n> tip"), ["running"]);
    assert_eq!(scene.shows("no prompt"), ["0 agent no prompt"]);
    assert_eq!(scene.quiet(), ["settled 0", "stable"], "once ready, always ready");
}

#[test]
fn a_custom_agent_is_ready_when_quiet_even_if_it_is_silent() {
    let mut scene = Scene::new(AgentType::Custom);
    assert_eq!(scene.quiet(), ["settled 0", "stable"]);
    let mut scene = Scene::new(AgentType::Custom);
    assert_eq!(scene.shows("$"), ["0 agent $"]);
    assert_eq!(scene.quiet(), ["settled 0", "stable"]);
}

#[test]
fn a_message_is_followed_by_one_answer_that_grows_in_place() {
    let mut scene = Scene::new(AgentType::Custom);
    scene.quiet();
    assert_eq!(scene.sends("hi", "hi"), ["running", "1 user hi", "settled 1", "2 agent "]);
    assert_eq!(scene.shows("hi\nhel"), ["2 agent hel"]);
    assert_eq!(scene.shows("hi\nhello"), ["2 agent hello"]);
    assert_eq!(scene.quiet(), ["settled 2", "stable"]);
    assert_eq!(scene.shows("hi\nhello\nby the way"), ["running", "2 agent hello\nby the way"]);
    assert_eq!(scene.quiet(), ["settled 2", "stable"]);
    let screen = "hi\nhello\nby the way";
    assert_eq!(scene.sends("hi", screen), ["running", "3 user hi", "settled 3", "4 agent "]);
    assert_eq!(scene.shows(&format!("{screen}\nhi\nhello")), ["4 agent hello"]);
}

#[test]
fn a_screen_that_never_changes_does_not_wedge() {
    let mut scene = Scene::new(AgentType::Custom);
    scene.shows("same");
    for round in 0..3 {
        scene.quiet();
        let seen = scene.sends("x", "same");
        assert_eq!(seen.last().unwrap(), &format!("{} agent ", 2 + 2 * round));
        assert_eq!(scene.quiet().last().unwrap(), "stable");
    }
}

#[test]
fn nobody_sends_while_the_agent_is_busy_or_another_sends() {
    let mut scene = Scene::new(AgentType::Custom);
    assert_eq!(scene.conversation.begin_sending(scene.now), Err(Refusal::Busy));
    scene.quiet();
    assert!(scene.conversation.begin_sending(scene.now).is_ok());
    assert_eq!(scene.conversation.begin_sending(scene.now), Err(Refusal::Busy));
}

#[test]
fn typing_shows_in_no_message_and_a_failed_message_leaves_no_trace() {
    let mut scene = Scene::new(AgentType::Custom);
    scene.shows("hello");
    scene.quiet();
    scene.conversation.begin_sending(scene.now).unwrap();
    assert!(scene.shows("hello\ntyped").is_empty());
    assert!(scene.shows("hello").is_empty());
    assert!(short(&scene.conversation.not_sent()).is_empty());
    assert_eq!(scene.quiet(), ["stable"]);
    assert_eq!(scene.conversation.messages().len(), 1);
}

#[test]
fn an_initial_prompt_keeps_the_agent_running_until_it_is_answered() {
    let mut scene = Scene::resumed(AgentType::Custom, Vec::new(), true);
    assert!(scene.quiet().is_empty());
    assert!(scene.conversation.prompt_is_due());
    assert_eq!(scene.sends("go", "go\ngone"), ["settled 0", "1 user go", "settled 1", "2 agent gone"]);
    assert!(!scene.conversation.prompt_is_due());
    assert_eq!(scene.quiet(), ["settled 2", "stable"]);
}

#[test]
fn history_is_continued() {
    let message = |id, role| Message { id, role, content: "old".into(), time: Utc::now(), event: EventId::from_i64(0) };
    let history = vec![message(4, MessageRole::User), message(5, MessageRole::Agent)];
    let mut scene = Scene::resumed(AgentType::Custom, history.clone(), false);
    assert!(scene.shows("start screen").is_empty(), "the last answer stays as it is");
    assert_eq!(scene.quiet(), ["stable"]);
    let seen = scene.sends("new", "start screen\nnew\nanswer");
    assert_eq!(seen, ["running", "6 user new", "settled 6", "7 agent answer"]);

    let mut scene = Scene::resumed(AgentType::Custom, history[..1].to_vec(), false);
    assert_eq!(scene.shows("start screen"), ["5 agent start screen"], "an unanswered question gets what there is");
}

#[test]
fn the_end_settles_the_last_message() {
    let mut scene = Scene::new(AgentType::Custom);
    scene.shows("bye");
    assert_eq!(short(&scene.conversation.ended(scene.now)), ["settled 0"]);
}

/// A title of Codex: a spinner while it works, and nothing before its directory otherwise.
#[test]
fn a_title_that_tells_counts_before_the_screen() {
    let mut scene = Scene::idle_codex();
    scene.sends("hi", "› hi");
    scene.titled("⠋ project");
    assert!(scene.quiet().is_empty(), "it works in silence");
    // It moves on the screen, and the title flickers, but stands in the end.
    scene.titled("project");
    scene.titled("⠙ project");
    scene.titled("project");
    let soon = scene.after(Duration::from_millis(499));
    assert!(scene.conversation.tick(soon).is_empty());
    scene.shows("› hi\n\n• done");
    assert_eq!(scene.after_sign(), ["settled 2", "stable"]);
}

#[test]
fn an_idle_title_from_before_a_message_does_not_answer_it() {
    let mut scene = Scene::idle_codex();
    scene.sends("hi", "› hi");
    assert!(scene.after_sign().is_empty(), "it has not begun to work");
    assert_eq!(scene.quiet(), ["settled 2", "stable"], "as without a title");
}

#[test]
fn an_answer_may_come_before_its_message_counts_as_taken() {
    let mut scene = Scene::idle_codex();
    let before = Arc::clone(&scene.conversation.shown);
    scene.conversation.begin_sending(scene.now).expect("it is idle");
    scene.titled("⠋ project");
    scene.titled("project");
    let now = scene.after(Duration::from_millis(10));
    scene.conversation.sent("hi".into(), before, "› hi\n\n• done".into(), now);
    assert_eq!(scene.after_sign(), ["settled 2", "stable"], "without waiting for the screen");
}

/// Claude blinks a dot for as long as a question is open. A tool may be asked for so soon that its busy title came and went before
/// the message counted as taken.
#[test]
fn a_question_is_seen_however_its_screen_blinks_and_though_no_title_told_of_work() {
    let mut scene = Scene::new(AgentType::Claude);
    scene.titled("✳ Claude Code");
    scene.shows("Welcome\n> ");
    scene.quiet();
    scene.sends("go", "> go");
    let mut seen = Vec::new();
    let mut blink = |scene: &mut Scene| {
        for dot in ["●", " "] {
            seen.extend(scene.shows(&format!("{dot} Bash\nProceed?\n ❯ 1. Yes\n   2. No")));
            let now = scene.after(Duration::from_millis(600));
            seen.extend(short(&scene.conversation.tick(now)));
        }
    };
    blink(&mut scene);
    blink(&mut scene);
    seen.retain(|change| !change.contains(" agent "));
    assert_eq!(seen, ["asks true", "settled 2", "stable"]);
    // It is answered, and what was seen of the question tells nothing any more.
    assert_eq!(scene.shows("● Bash\n  done")[..2], ["running", "asks false"]);
    assert!(scene.after_sign().is_empty());
    assert_eq!(scene.quiet(), ["settled 2", "stable"]);
}

/// Claude draws no question while keys are pressed, and takes no answers in the first moments after it drew one.
#[test]
fn an_idle_title_does_not_count_for_a_question_that_is_about_to_be_asked() {
    let mut scene = Scene::claude_at_work();
    scene.titled("◐ Claude Code");
    scene.titled("✳ Claude Code");
    scene.shows("Running go\n\n────\n  Waiting for permission…\n");
    assert!(scene.after_sign().is_empty(), "no user's turn yet");
    scene.shows("Running go\nProceed?\n ❯ 1. Yes\n   2. No");
    let soon = scene.after(Duration::from_millis(499));
    assert!(scene.conversation.tick(soon).is_empty(), "it does not take answers yet");
    assert_eq!(scene.after_sign(), ["asks true", "settled 2", "stable"]);
}

#[test]
fn an_agent_that_works_by_its_title_asks_nothing() {
    let mut scene = Scene::claude_at_work();
    scene.titled("◐ Claude Code");
    scene.shows("which is\n ❯ 1. this\n   2. that");
    assert!(scene.quiet().is_empty());
}

#[test]
fn an_agent_that_asks_takes_no_message_and_is_never_told_to_take_one() {
    let mut scene = Scene::claude_at_work();
    scene.shows("Proceed?\n ❯ 1. Yes\n   2. No");
    assert_eq!(scene.quiet(), ["asks true", "settled 2", "stable"]);
    assert_eq!(scene.conversation.begin_sending(scene.now), Err(Refusal::Asks));
    assert_eq!(scene.shows("going on")[..2], ["running", "asks false"]);
}
