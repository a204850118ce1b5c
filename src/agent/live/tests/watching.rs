//! Readers and subscribers.

use std::time::{Duration, Instant};

use super::{
    AgentEvent, AgentStatus, Message, Pace, SpawnOptions, StreamEnd, options, script, stable, start, until_screen, until_stable,
    within,
};

#[tokio::test]
async fn a_subscription_replays_and_goes_on_without_gap_or_duplicate() {
    let (agent, _events) = start(script("i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done; exec cat"));
    // Subscribers that join while it goes on end up with the same messages as the agent.
    let mut subscriptions = Vec::new();
    for _ in 0..20 {
        subscriptions.push(agent.subscribe());
        tokio::task::yield_now().await;
    }
    for mut events in subscriptions {
        let mut known: Vec<Message> = events.messages.to_vec();
        let mut status = events.status;
        while status != AgentStatus::Stable {
            match within(events.next()).await.unwrap() {
                AgentEvent::StatusChange(new) => {
                    assert_ne!(new, status, "only changes are told");
                    status = new;
                }
                AgentEvent::MessageUpdate(message) => match known.iter_mut().find(|known| known.id == message.id) {
                    Some(same) => {
                        assert_ne!(*same, message, "only changes are told");
                        *same = message;
                    }
                    None => known.push(message),
                },
            }
        }
        assert_eq!(known, **agent.messages());
    }
}

#[tokio::test]
async fn a_subscriber_that_lags_is_told_and_others_are_not_disturbed() {
    let ms = Duration::from_millis(1);
    let pace = Pace { first_frame: ms, frame: ms, ..options("cat", &[]).pace };
    let (agent, mut lagging) = stable(SpawnOptions { pace, ..options("cat", &[]) }).await;
    // Each line changes the screen, and so the message.
    for line in 0..300 {
        within(agent.send_raw(&format!("{line}\n"))).await.unwrap();
        until_screen(&agent, |screen| screen.ends_with(&format!("{line}\n{line}"))).await;
    }
    assert_eq!(within(lagging.next()).await, Err(StreamEnd::Lagged));
    assert_eq!(within(lagging.next()).await, Err(StreamEnd::Lagged), "a gap is not skipped");
    let mut fresh = agent.subscribe();
    if fresh.status == AgentStatus::Running {
        until_stable(&mut fresh).await;
    }
    assert_eq!(agent.status(), AgentStatus::Stable);
}

#[tokio::test]
async fn a_viewer_that_is_dropped_harms_nobody() {
    let (agent, events) = start(script("i=0; while [ $i -lt 50 ]; do echo $i; i=$((i+1)); done; echo end; exec cat"));
    drop(events);
    drop(agent.subscribe_screen());
    until_screen(&agent, |screen| screen.ends_with("end")).await;
}

#[tokio::test]
async fn a_flood_of_output_leaves_the_agent_responsive() {
    let (agent, _events) = start(script("yes | head -c 20000000; echo; echo over; exec cat"));
    let mut screens = agent.subscribe_screen();
    within(screens.next()).await.unwrap();
    let begun = Instant::now();
    within(agent.send_raw("")).await.unwrap();
    let raw = begun.elapsed();
    let begun = Instant::now();
    let _read = (agent.status(), agent.messages(), agent.screen());
    let read = begun.elapsed();
    println!("during the flood: raw input {raw:?}, reading {read:?}");
    assert!(raw < Duration::from_secs(1) && read < Duration::from_millis(100));
    until_screen(&agent, |screen| screen.ends_with("over")).await;
}

#[tokio::test]
async fn a_flooding_agent_can_be_stopped() {
    let (agent, _events) = start(options("yes", &[]));
    let mut screens = agent.subscribe_screen();
    within(screens.next()).await.unwrap();
    let ended = within(agent.stop(Duration::from_secs(20))).await;
    assert!(ended.stopped);
}

#[tokio::test]
async fn queries_of_the_program_are_answered() {
    let ask = "stty raw -echo; printf '\\033[c'; dd bs=1 count=3 2>/dev/null | od -An -c; exec cat";
    let (agent, _events) = start(script(ask));
    until_screen(&agent, |screen| screen.contains("033   [   ?")).await;
}

#[tokio::test]
async fn a_resized_terminal_is_announced() {
    let (agent, _events) = start(script("trap 'stty size' WINCH; stty size; while :; do sleep 0.02; done"));
    until_screen(&agent, |screen| screen == "100 80").await;
    within(agent.resize(crate::domain::TerminalSize::new(120, 50).unwrap())).await.unwrap();
    until_screen(&agent, |screen| screen.ends_with("50 120")).await;
}
