//! Messages there and back.

use super::{
    AgentEvent, AgentStatus, Arc, Duration, LIMIT, MessageRole, SendError, SpawnOptions, Store, options, said, script, stable,
    start, start_with, until_screen, until_stable, within,
};
use crate::domain::{AgentType, EventId, Fence, Message, TerminalSize};
use MessageRole::{Agent, User};

/// An event without its time.
fn short(event: &AgentEvent) -> String {
    match event {
        AgentEvent::StatusChange(status) => status.to_string(),
        AgentEvent::MessageUpdate(message) => format!("{} {} {:?}", message.id, message.role.as_str(), &*message.content),
    }
}

#[tokio::test]
async fn an_echoing_program_is_running_then_heard_then_stable() {
    let (agent, mut events) = start(options("cat", &[]));
    assert_eq!(agent.status(), AgentStatus::Running);
    let seen: Vec<_> = until_stable(&mut events).await.iter().map(short).collect();
    assert_eq!(seen, ["0 agent \"\"", "running", "stable"]);

    within(agent.send_user("  hello \n")).await.unwrap();
    assert_eq!(agent.status(), AgentStatus::Running);
    let seen: Vec<_> = until_stable(&mut events).await.iter().map(short).collect();
    assert_eq!(seen, ["running", "1 user \"hello\"", "2 agent \"hello\"", "stable"]);
    assert_eq!(said(&agent.messages()), [(Agent, ""), (User, "hello"), (Agent, "hello")]);
    assert_eq!(&*agent.screen(), "hello\nhello");
}

#[tokio::test]
async fn identical_exchanges_are_answered_each_time() {
    let (agent, mut events) = stable(options("cat", &[])).await;
    for round in 1..=3 {
        within(agent.send_user("again")).await.unwrap();
        until_stable(&mut events).await;
        let messages = agent.messages();
        assert_eq!(messages.len(), 1 + 2 * round);
        assert_eq!(said(&messages)[messages.len() - 2..], [(User, "again"), (Agent, "again")]);
    }
}

#[tokio::test]
async fn identical_exchanges_with_a_program_that_redraws_everything_do_not_wedge() {
    let redraw = r#"h=; while :; do printf '\033[2J\033[H%b> ' "$h"; IFS= read -r l || exit; h="$h> $l\nThe answer.\n"; done"#;
    let (agent, mut events) = stable(SpawnOptions { agent_type: AgentType::Claude, ..script(redraw) }).await;
    for _ in 0..3 {
        within(agent.send_user("what")).await.unwrap();
        until_stable(&mut events).await;
    }
    let messages = agent.messages();
    let exchange = [(User, "what"), (Agent, "The answer.")];
    assert_eq!(said(&messages)[1..], [exchange, exchange, exchange].concat());
}

#[tokio::test]
async fn an_answer_longer_than_the_screen_is_whole_each_time() {
    let (agent, mut events) = stable(script("while read -r word; do seq -f \"$word %.0f\" 1500; done")).await;
    for word in ["first", "second"] {
        within(agent.send_user(word)).await.unwrap();
        until_stable(&mut events).await;
        let messages = agent.messages();
        let answer: Vec<&str> = messages.last().unwrap().content.lines().collect();
        let expected: Vec<String> = (1..=1500).map(|number| format!("{word} {number}")).collect();
        assert_eq!(answer, expected);
    }
    assert!(agent.screen().lines().count() <= 100, "the screen is a screen");
}

#[tokio::test]
async fn an_answer_that_repeats_one_line_is_whole() {
    let (agent, mut events) = stable(script("while read -r word; do yes same | head -n 500; done")).await;
    within(agent.send_user("go")).await.unwrap();
    until_stable(&mut events).await;
    assert_eq!(*agent.messages().last().unwrap().content, *vec!["same"; 500].join("\n"));
}

#[tokio::test]
async fn a_question_of_the_agent_takes_keys_and_no_message() {
    let asks = r#"
        printf '> '
        while IFS= read -r said; do
            printf '\033[2J\033[HRun %s?\n \342\235\257 1. Yes\n   2. No\n\nEsc to cancel\n' "$said"
            IFS= read -r answer
            printf '\033[2J\033[Hanswered %s\n> ' "$answer"
        done"#;
    let (agent, mut events) = stable(SpawnOptions { agent_type: AgentType::Claude, ..script(asks) }).await;
    assert!(!agent.asks());
    within(agent.send_user("it")).await.unwrap();
    until_stable(&mut events).await;
    assert!(agent.asks());
    assert_eq!(agent.send_user("no, do not").await, Err(SendError::Asks));
    let takes_messages = agent.until_idle();
    tokio::pin!(takes_messages);
    assert!(futures_util::poll!(&mut takes_messages).is_pending(), "it does not take a message yet");
    within(agent.send_raw("2\r")).await.unwrap();
    assert!(within(takes_messages).await);
    assert!(!agent.asks());
    assert_eq!(said(&agent.messages()).last(), Some(&(Agent, "answered 2")));
}

#[tokio::test]
async fn a_shell_with_a_dollar_prompt_is_spoken_to() {
    let (agent, mut events) = stable(options("bash", &["--norc", "--noprofile", "-i"])).await;
    for _ in 0..2 {
        within(agent.send_user("echo one; echo two")).await.unwrap();
        until_stable(&mut events).await;
    }
    let messages = agent.messages();
    let exchange = [(User, "echo one; echo two"), (Agent, "one\ntwo")];
    assert_eq!(said(&messages)[1..], [exchange, exchange].concat());
}

#[tokio::test]
async fn several_lines_reach_a_program_without_marked_paste_as_lines() {
    let (agent, mut events) = stable(script("stty -echo; while read -r l; do echo \"<$l>\"; done")).await;
    within(agent.send_user("one\r\ntwo\tand \x1b[201~half\nthree")).await.unwrap();
    until_stable(&mut events).await;
    until_screen(&agent, |screen| screen == "<one>\n<two\tand [201~half>\n<three>".replace('\t', "    ")).await;
}

#[tokio::test]
async fn a_marked_paste_cannot_be_left() {
    // Shows what it reads in a form that can be read; Return ends a line.
    let (agent, mut events) = stable(script("stty -icanon -icrnl min 1; printf '\\033[?2004h'; exec cat -v")).await;
    within(agent.send_user("safe\x1b[201~\x03rm")).await.unwrap();
    until_stable(&mut events).await;
    let screen = agent.screen();
    assert!(screen.contains("^[[200~safe[201~rm^[[201~"), "{screen}");
}

#[tokio::test]
async fn wide_characters_are_kept() {
    let (agent, mut events) = stable(options("cat", &[])).await;
    within(agent.send_user("日本語 e\u{301} 👩 ok")).await.unwrap();
    until_stable(&mut events).await;
    assert_eq!(said(&agent.messages())[2], (Agent, "日本語 e\u{301} 👩 ok"));
}

#[tokio::test]
async fn a_start_screen_is_the_first_message() {
    let (agent, _events) = stable(script("printf 'Welcome\\n> '; exec cat")).await;
    assert_eq!(said(&agent.messages()), [(Agent, "Welcome")]);
}

#[tokio::test]
async fn a_program_of_a_known_type_is_running_until_its_prompt_shows() {
    let (agent, mut events) = start(SpawnOptions {
        agent_type: AgentType::Claude,
        ..script("stty -echo; echo loading; read -r _; echo '> '; exec cat")
    });
    until_screen(&agent, |screen| screen == "loading").await;
    assert_eq!(within(agent.send_user("hi")).await, Err(SendError::Busy));
    within(agent.send_raw("\r")).await.unwrap();
    until_stable(&mut events).await;
    assert!(agent.screen().contains('>'));
}

#[tokio::test]
async fn the_initial_prompt_is_the_first_user_message() {
    let (agent, mut events) = start(SpawnOptions { initial_prompt: Some(" do it ".to_owned()), ..options("cat", &[]) });
    until_stable(&mut events).await;
    assert_eq!(said(&agent.messages()), [(Agent, ""), (User, "do it"), (Agent, "do it")]);
}

#[tokio::test]
async fn a_restarted_agent_goes_on_with_its_conversation() {
    let message = |id, role, content: &str| Message {
        id,
        role,
        content: Arc::from(content),
        time: chrono::Utc::now(),
        event: EventId::from_i64(0),
    };
    let history = vec![message(0, Agent, "hi"), message(1, User, "q"), message(2, Agent, "a")];
    let life = Fence::from_i64(2);
    let (agent, mut events) = stable(SpawnOptions { history, life, ..script("echo restarted; exec cat") }).await;
    assert_eq!(said(&agent.messages()), [(Agent, "hi"), (User, "q"), (Agent, "a")]);
    within(agent.send_user("more")).await.unwrap();
    until_stable(&mut events).await;
    let messages = agent.messages();
    assert_eq!(said(&messages)[3..], [(User, "more"), (Agent, "more")]);
    assert_eq!(messages.iter().map(|message| message.id).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    // Who watched the earlier life is told how it ended, and all that is new.
    let told = agent.messages().iter().map(|message| message.event > EventId::before(life)).collect::<Vec<_>>();
    assert_eq!(told, [false, false, true, true, true]);
}

#[tokio::test]
async fn messages_are_stored_before_the_sender_is_told_even_if_the_store_fails_at_first() {
    let store = Store::failing(2);
    let (agent, mut events) = start_with(options("cat", &[]), store.clone());
    until_stable(&mut events).await;
    within(agent.send_user("keep this")).await.unwrap();
    assert_eq!(store.contents()[..2], ["", "keep this"]);
    until_stable(&mut events).await;
    within(agent.stop(Duration::from_secs(1))).await;
    assert_eq!(store.contents(), ["", "keep this", "keep this"]);
}

#[tokio::test]
async fn an_echoing_agent_takes_a_message_in_a_third_of_a_second() {
    let (agent, mut events) = stable(SpawnOptions { size: TerminalSize::default(), ..options("cat", &[]) }).await;
    let mut fastest = LIMIT;
    for _ in 0..3 {
        let begun = std::time::Instant::now();
        within(agent.send_user("quick")).await.unwrap();
        fastest = fastest.min(begun.elapsed());
        until_stable(&mut events).await;
    }
    println!("fastest of three: {fastest:?}");
    assert!(fastest < Duration::from_millis(300), "{fastest:?}");
}

#[tokio::test]
async fn a_frame_that_is_never_ended_does_not_freeze_the_screen() {
    let (agent, _events) = start(script("printf '\\033[?2026hshown late'; exec cat"));
    until_screen(&agent, |screen| screen == "shown late").await;
}

#[tokio::test]
async fn a_spinning_title_keeps_an_agent_running() {
    let spin = "stty -echo; printf '> '; i=0; while [ $i -lt 12 ]; do printf '\\033]2;%s\\007' $i; i=$((i+1)); sleep 0.1; done; echo done; exec cat";
    let (agent, mut events) = start(SpawnOptions { agent_type: AgentType::Claude, ..script(spin) });
    until_stable(&mut events).await;
    assert!(agent.screen().contains("done"), "it was never quiet before");
}
