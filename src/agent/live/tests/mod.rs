//! Live agents: real programs in real pseudo-terminals. Every wait is for an event, with a limit around it.

mod conversing;
mod ending;
mod input;
mod watching;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::agent::{
    AgentEvent, History, HistoryError, Launch, LiveAgent, Pace, SendError, SpawnError, SpawnOptions, Subscription, Told,
    environment,
};
use crate::domain::{AgentStatus, AgentType, Fence, Message, MessageRole, TerminalSize};

/// Limit of every wait; nothing takes so long unless it is broken.
const LIMIT: Duration = Duration::from_secs(30);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("it happens in time")
}

/// A store that fails a number of times first.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    failures: u32,
    messages: BTreeMap<i64, Message>,
}

impl Store {
    fn failing(times: u32) -> Self {
        let store = Self::default();
        store.0.lock().unwrap().failures = times;
        store
    }

    fn contents(&self) -> Vec<String> {
        self.0.lock().unwrap().messages.values().map(|message| message.content.to_string()).collect()
    }
}

impl History for Store {
    async fn save(&self, messages: Vec<Message>) -> Result<(), HistoryError> {
        let mut stored = self.0.lock().unwrap();
        if stored.failures > 0 {
            stored.failures -= 1;
            return Err(HistoryError::Failed("the store is away".into()));
        }
        stored.messages.extend(messages.into_iter().map(|message| (message.id, message)));
        Ok(())
    }
}

fn launch(program: &str, args: &[&str]) -> Launch {
    let env = environment(std::env::vars_os(), &[], &BTreeMap::new(), Path::new("/"));
    Launch {
        program: program.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        directory: std::env::temp_dir(),
        env,
    }
}

fn options(program: &str, args: &[&str]) -> SpawnOptions {
    SpawnOptions {
        launch: launch(program, args),
        agent_type: AgentType::Custom,
        size: TerminalSize::new(80, 100).unwrap(),
        initial_prompt: None,
        history: Vec::new(),
        life: Fence::FIRST,
        pace: Pace { quiet: Duration::from_millis(300), ..Pace::default() },
    }
}

fn script(script: &str) -> SpawnOptions {
    options("sh", &["-c", script])
}

fn start(options: SpawnOptions) -> (LiveAgent, Subscription) {
    start_with(options, Store::default())
}

fn start_with(options: SpawnOptions, store: Store) -> (LiveAgent, Subscription) {
    let agent = LiveAgent::spawn(options, store, &TaskTracker::new()).expect("it starts");
    let events = agent.subscribe(None);
    (agent, events)
}

/// Waits for the next `stable`; returns the events up to it.
async fn until_stable(events: &mut Subscription) -> Vec<AgentEvent> {
    let mut seen = Vec::new();
    loop {
        let event = within(events.next()).await.expect("the agent lives").event;
        seen.push(event.clone());
        if event == AgentEvent::StatusChange(AgentStatus::Stable) {
            return seen;
        }
    }
}

/// A stable agent and its events from then on.
async fn stable(options: SpawnOptions) -> (LiveAgent, Subscription) {
    let (agent, mut events) = start(options);
    until_stable(&mut events).await;
    (agent, events)
}

/// Waits until the screen is as asked for.
async fn until_screen(agent: &LiveAgent, wanted: impl Fn(&str) -> bool) {
    let mut screens = agent.subscribe_screen().await.unwrap();
    let mut screen = Arc::clone(&screens.screen);
    while !wanted(&screen) {
        screen = within(screens.next()).await.unwrap_or_else(|| panic!("the agent ended with the screen {screen:?}"));
    }
}

/// Role and content, for short.
fn said(messages: &[Message]) -> Vec<(MessageRole, &str)> {
    messages.iter().map(|message| (message.role, &*message.content)).collect()
}
