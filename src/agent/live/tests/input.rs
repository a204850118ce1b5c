//! Who may send what, when.

use super::{
    AgentStatus, Duration, MessageRole, Pace, SendError, SpawnOptions, options, said, script, stable, start, until_screen,
    until_stable, within,
};

#[tokio::test]
async fn of_two_senders_at_once_exactly_one_is_busy() {
    let (agent, mut events) = stable(options("cat", &[])).await;
    let (first, second) = within(async { tokio::join!(agent.send_user("one"), agent.send_user("two")) }).await;
    let sent = [first, second];
    assert_eq!(sent.iter().filter(|result| **result == Err(SendError::Busy)).count(), 1);
    assert_eq!(sent.iter().filter(|result| result.is_ok()).count(), 1);
    until_stable(&mut events).await;
    assert_eq!(agent.messages().len(), 3);
}

#[tokio::test]
async fn a_starting_agent_is_busy() {
    let (agent, _events) = start(options("cat", &[]));
    assert_eq!(agent.send_user("hi").await, Err(SendError::Busy));
}

#[tokio::test]
async fn empty_and_huge_messages_are_refused() {
    let (agent, _events) = stable(options("cat", &[])).await;
    assert_eq!(agent.send_user(" \n\t").await, Err(SendError::Empty));
    assert_eq!(agent.send_user("\x1b\x03").await, Err(SendError::Empty));
    assert_eq!(agent.send_user(&"x".repeat(64 * 1024 + 1)).await, Err(SendError::TooLong));
    assert_eq!(agent.send_raw(&"x".repeat(64 * 1024 + 1)).await, Err(SendError::TooLong));
    assert_eq!(agent.status(), AgentStatus::Stable);
}

#[tokio::test]
async fn raw_input_passes_a_message_on_its_way_and_is_not_recorded() {
    // Shows what it reads, but Return leaves no trace: the message is on its way until a raw key shows.
    let (agent, mut events) = stable(SpawnOptions { pace: short_tempered(), ..script("stty raw -echo; exec cat") }).await;
    let mut screens = agent.subscribe_screen().await.unwrap();
    let mut passed = 0;
    let presses = async {
        loop {
            agent.send_raw("").await.unwrap();
            agent.send_raw("!").await.unwrap();
            screens.next().await.unwrap();
            passed += 1;
        }
    };
    let sent = within(async {
        tokio::select! {
            sent = agent.send_user("ab") => sent,
            () = presses => unreachable!("it has no end"),
        }
    })
    .await;
    assert_eq!(sent, Ok(()));
    assert!(passed > 0);
    until_stable(&mut events).await;
    assert_eq!(said(&agent.messages())[..2], [(MessageRole::Agent, ""), (MessageRole::User, "ab")]);
    assert_eq!(agent.messages().len(), 3);
}

#[tokio::test]
async fn a_sender_that_goes_away_does_not_cut_its_message() {
    let (agent, mut events) = stable(options("cat", &[])).await;
    // Polled once: the request is with the agent; then dropped.
    let mut sending = Box::pin(agent.send_user("whole"));
    tokio::select! {
        biased;
        _ = &mut sending => panic!("it cannot be delivered at once"),
        () = std::future::ready(()) => {}
    }
    drop(sending);
    until_stable(&mut events).await;
    assert_eq!(said(&agent.messages()[1..]).len(), 2);
    assert_eq!(&*agent.messages()[2].content, "whole");
}

fn short_tempered() -> Pace {
    let ms = Duration::from_millis;
    Pace { quiet: ms(200), echo: ms(200), press_again: ms(100), reaction: ms(500), ..Pace::default() }
}

#[tokio::test]
async fn an_agent_that_never_reacts_is_unresponsive_and_what_was_typed_is_taken_back() {
    // A shell to which Return means nothing; line feed still hands in a line.
    let folder = tempfile::tempdir().unwrap();
    let bindings = folder.path().join("inputrc");
    std::fs::write(&bindings, "\"\\C-m\": \"\"\n").unwrap();
    let mut deaf = SpawnOptions { pace: short_tempered(), ..options("bash", &["--norc", "--noprofile", "-i"]) };
    deaf.launch.env.insert("INPUTRC".into(), bindings.into());
    deaf.launch.env.insert("PS1".into(), "$ ".into());
    let (agent, mut events) = stable(deaf).await;
    assert_eq!(within(agent.send_user("echo lost")).await, Err(SendError::Unresponsive));
    until_stable(&mut events).await;
    assert_eq!(said(&agent.messages()), [(MessageRole::Agent, "$")], "what was not taken is not recorded");
    within(agent.send_raw("echo kept\n")).await.unwrap();
    until_screen(&agent, |screen| screen == "$ echo kept\nkept\n$").await;
}

#[tokio::test]
async fn an_agent_that_does_not_read_does_not_take_the_server_with_it() {
    let (agent, mut events) = stable(SpawnOptions { pace: short_tempered(), ..script("stty raw -echo; exec sleep 1000") }).await;
    let mut accepted = 0;
    let result = loop {
        match within(agent.send_raw(&"x".repeat(60_000))).await {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(result, SendError::Unresponsive);
    assert!(accepted < 10, "what waits is bounded");
    assert_eq!(within(agent.send_user("hi")).await, Err(SendError::Unresponsive));
    until_stable(&mut events).await;
    assert_eq!(agent.status(), AgentStatus::Stable);
}
