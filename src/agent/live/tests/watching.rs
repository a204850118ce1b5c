//! Readers and subscribers.

use std::time::{Duration, Instant};

use super::{
    AgentEvent, AgentStatus, Message, Pace, SpawnOptions, Subscription, Told, options, script, stable, start, until_screen,
    until_stable, within,
};

/// What a watcher knows.
#[derive(Debug, Clone, Default, PartialEq)]
struct Known {
    messages: Vec<Message>,
    status: Option<AgentStatus>,
}

impl Known {
    /// Learns from an event, which must be news.
    fn learn(&mut self, told: Told) {
        match told.event {
            AgentEvent::StatusChange(status) => {
                assert_ne!(self.status, Some(status), "only changes are told");
                self.status = Some(status);
            }
            AgentEvent::MessageUpdate(message) => match self.messages.iter_mut().find(|known| known.id == message.id) {
                Some(known) => {
                    assert_ne!(*known, message, "only changes are told");
                    *known = message;
                }
                None => self.messages.push(message),
            },
        }
    }

    async fn learn_until(&mut self, events: &mut Subscription, status: AgentStatus) {
        while self.status != Some(status) {
            self.learn(within(events.next()).await.expect("the agent lives"));
        }
    }
}

#[tokio::test]
async fn a_subscription_replays_and_goes_on_without_gap_or_duplicate() {
    let (agent, _events) = start(script("i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done; exec cat"));
    // Subscribers that join while it goes on end up with the same messages as the agent.
    let mut subscriptions = Vec::new();
    for _ in 0..20 {
        subscriptions.push(agent.subscribe(None));
        tokio::task::yield_now().await;
    }
    for mut events in subscriptions {
        let mut known = Known::default();
        known.learn_until(&mut events, AgentStatus::Stable).await;
        assert_eq!(known.messages, **agent.messages());
    }
}

#[tokio::test]
async fn a_watcher_that_was_cut_off_anywhere_resumes_with_what_it_lacks() {
    let (agent, mut events) = start(options("cat", &[]));
    let (mut known, mut cuts) = (Known::default(), Vec::new());
    for text in ["", "one", "two", "two", "three"] {
        if !text.is_empty() {
            within(agent.send_user(text)).await.unwrap();
            known.status = None;
        }
        while known.status != Some(AgentStatus::Stable) {
            let told = within(events.next()).await.expect("the agent lives");
            let id = told.id;
            known.learn(told);
            cuts.push((id, known.clone()));
        }
    }
    let last = cuts.last().expect("there were events").0;
    assert!(cuts.is_sorted_by_key(|(id, _)| *id) && cuts.len() > 15, "{cuts:?}");
    for (id, mut resumed) in cuts {
        let mut events = agent.subscribe(Some(id));
        let mut seen = id;
        while seen < last {
            let told = within(events.next()).await.expect("the agent lives");
            assert!(told.id > seen, "nothing is told twice");
            seen = told.id;
            // A status that came back to what it was is told: it has changed.
            if matches!(told.event, AgentEvent::StatusChange(_)) {
                resumed.status = None;
            }
            resumed.learn(told);
        }
        assert_eq!(resumed, known, "after {id}");
    }
    // An id that was never told is not taken for knowledge.
    let mut events = agent.subscribe(Some(last.next()));
    let mut anew = Known::default();
    anew.learn_until(&mut events, AgentStatus::Stable).await;
    assert_eq!(anew, known);
}

#[tokio::test]
async fn a_watcher_cut_off_in_the_first_replay_still_learns_the_status() {
    let (agent, _events) = start(script("printf working; while :; do sleep 0.05; printf .; done"));
    until_screen(&agent, |screen| screen.contains("working...")).await;
    let first = within(agent.subscribe(None).next()).await.unwrap();
    assert!(matches!(first.event, AgentEvent::MessageUpdate(_)));
    let mut known = Known::default();
    let mut events = agent.subscribe(Some(first.id));
    known.learn_until(&mut events, AgentStatus::Running).await;
}

#[tokio::test]
async fn a_slow_watcher_finds_the_newest_state_and_disturbs_nobody() {
    let ms = Duration::from_millis(1);
    let pace = Pace { first_frame: ms, frame: ms, ..options("cat", &[]).pace };
    let (agent, mut slow) = stable(SpawnOptions { pace, ..options("cat", &[]) }).await;
    // Each line changes the screen, and so the message.
    for line in 0..300 {
        within(agent.send_raw(&format!("{line}\n"))).await.unwrap();
        until_screen(&agent, |screen| screen.ends_with(&format!("{line}\n{line}"))).await;
    }
    let told = until_stable(&mut slow).await;
    assert!(told.len() <= 4, "three hundred changes of one message are told once: {told:?}");
    assert!(told.contains(&AgentEvent::MessageUpdate(agent.messages()[0].clone())));
}

#[tokio::test]
async fn a_viewer_that_is_dropped_harms_nobody() {
    let (agent, events) = start(script("i=0; while [ $i -lt 50 ]; do echo $i; i=$((i+1)); done; echo end; exec cat"));
    drop(events);
    drop(agent.subscribe_screen().await.unwrap());
    until_screen(&agent, |screen| screen.ends_with("end")).await;
}

#[tokio::test]
async fn a_flood_of_output_leaves_the_agent_responsive() {
    let (agent, _events) = start(script("yes | head -c 20000000; echo; echo over; exec cat"));
    let mut screens = agent.subscribe_screen().await.unwrap();
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
    let mut screens = agent.subscribe_screen().await.unwrap();
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
