//! Real agent programs hold conversations over HTTP, with a stand-in for the model.
//!
//! Run by `make test-agents`, which installs the programs and names their directory in `AGENTAPI_TEST_AGENTS_DIR`. An agent that
//! is not in its `bin` is skipped with a line about it.

mod stand_in;
#[expect(dead_code, unused_imports, reason = "shared with the other tests, which use all of it")]
#[path = "../it/support/mod.rs"]
mod support;

use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::time::timeout;

use self::stand_in::StandIn;
use self::support::{Client, Event, EventStream, PATIENCE, Server, ServerBuilder, TestDatabase, eventually};

/// What the agents are asked first; the stand-in hears its first line.
const HELLO: &str = "hello there\nand good day";
/// What the stand-in answers.
const HEARD: &str = "Stand-in heard: hello there";

/// Where agents are installed, if `agent` is.
fn installed(agent: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("AGENTAPI_TEST_AGENTS_DIR") else {
        skipped(agent, "AGENTAPI_TEST_AGENTS_DIR is not set; run `make test-agents`");
        return None;
    };
    let programs = PathBuf::from(folder).join("bin");
    if programs.join(agent).exists() {
        return Some(programs);
    }
    skipped(agent, &format!("it is not installed in {}", programs.display()));
    None
}

/// Says so where the test harness does not hide it.
fn skipped(agent: &str, why: &str) {
    writeln!(std::io::stderr(), "skipped: {agent}: {why}").expect("standard error");
}

fn is_status(event: &Event, status: &str) -> bool {
    event.name == "status_change" && event.data["status"] == status
}

/// A conversation with a real agent.
struct Conversation {
    client: Client,
    /// The agent's path.
    agent: String,
    server: Server,
    data_dir: tempfile::TempDir,
}

impl Conversation {
    /// Starts a server and an agent on it, and waits until the agent takes messages.
    async fn start(programs: PathBuf, body: Value) -> Self {
        // Neither below TMPDIR, where Codex's tools do not work, nor in a repository, which Aider would take for its project.
        let data_dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let homes = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/agent-homes");
        let path = std::env::var_os("PATH").expect("a PATH");
        let path = std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&path))).expect("a PATH");
        let server = ServerBuilder::new(&TestDatabase::create().await)
            .env("AGENTAPI_DATA_DIR", &data_dir.path().display().to_string())
            .env("AGENT_HOME_TEMPLATE", homes)
            .env("AGENT_ALLOW_CUSTOM_COMMANDS", "false")
            .env("LOG_LEVEL", "warn")
            .env("PATH", path.to_str().expect("text"))
            .start()
            .await;
        let client = server.operator().await;
        let answer = client.post("/v1/agents", body).await;
        let agent = answer.header("location").to_owned();
        answer.ok();
        let conversation = Self { client, agent, server, data_dir };
        conversation.client.stable(&conversation.agent).await;
        conversation
    }

    /// Says `text`; the agent turns busy, answers what `expected` is a part of, and is idle. Returns its answer.
    async fn ask(&self, text: &str, expected: &str) -> String {
        let mut events = self.say(text, expected).await;
        events.until("the agent is idle again", |event| is_status(event, "stable")).await;
        self.last_answer().await
    }

    /// Says `text`; the agent asks back, which `expected` is a part of, and waits for keys. Returns its question.
    async fn ask_for_answer(&self, text: &str, expected: &str) -> String {
        let question = self.ask(text, expected).await;
        assert_eq!(self.client.get(&format!("{}/status", self.agent)).await.ok()["asks"], true);
        let message = json!({"type": "user", "content": "no"});
        let refused = self.client.post(&format!("{}/message", self.agent), message).await;
        assert_eq!(refused.problem(409), "agent_asks");
        question
    }

    /// Presses keys, as at the agent's own terminal, until `expected` is a part of its answer and it is idle.
    async fn press(&self, keys: &str, expected: &str) {
        let mut events = self.client.events(&self.agent).await;
        events.until("the agent is idle", |event| is_status(event, "stable")).await;
        self.post("raw", keys).await;
        self.until_said(&mut events, expected).await;
        events.until("the agent is idle again", |event| is_status(event, "stable")).await;
        self.last_answer().await;
    }

    async fn say(&self, text: &str, expected: &str) -> EventStream {
        let mut events = self.client.events(&self.agent).await;
        events.until("the agent is idle", |event| is_status(event, "stable")).await;
        self.post("user", text).await;
        events.until("the agent is busy", |event| is_status(event, "running")).await;
        self.until_said(&mut events, expected).await;
        let said = self.client.conversation(&self.agent).await;
        let [.., (user, question), (agent, _)] = &said[..] else { panic!("{said:?}") };
        assert_eq!((user.as_str(), question.as_str(), agent.as_str()), ("user", text, "agent"));
        events
    }

    async fn post(&self, kind: &str, content: &str) {
        println!("--- {kind} {content:?}");
        self.client.post(&format!("{}/message", self.agent), json!({"type": kind, "content": content})).await.ok();
    }

    async fn until_said(&self, events: &mut EventStream, expected: &str) {
        let says = |event: &Event| {
            event.data["role"] == "agent" && event.data["message"].as_str().is_some_and(|text| text.contains(expected))
        };
        let said = timeout(PATIENCE, events.until(expected, says)).await;
        assert!(said.is_ok(), "{expected:?} was not said: {:#?}", self.client.conversation(&self.agent).await);
    }

    async fn last_answer(&self) -> String {
        let (_, answer) = self.client.conversation(&self.agent).await.pop().expect("messages");
        println!("{answer}");
        answer
    }

    /// Stops the agent; nothing that it started lives on.
    async fn stop(self) {
        let before = self.processes();
        assert!(!before.is_empty(), "the agent runs");
        assert_eq!(self.client.delete(&self.agent).await.ok()["state"], "stopped");
        eventually("no process of the agent lives", || async { self.processes().is_empty().then_some(()) }).await;
        assert_eq!(self.server.terminate().await, Some(0));
    }

    /// Command lines of all processes whose environment names the agent's home.
    fn processes(&self) -> Vec<String> {
        let workspaces = self.data_dir.path().join("workspaces").display().to_string();
        let processes = std::fs::read_dir("/proc").expect("procfs").flatten();
        processes
            .filter(|process| {
                let env = std::fs::read(process.path().join("environ")).unwrap_or_default();
                env.windows(workspaces.len()).any(|window| window == workspaces.as_bytes())
            })
            .map(|process| {
                let words = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&words).replace('\0', " ")
            })
            .collect()
    }
}

#[tokio::test]
async fn claude_code_holds_a_conversation() {
    let Some(programs) = installed("claude") else { return };
    let model = StandIn::start().await;
    let env = json!({
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_AUTH_TOKEN": "a token",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    });
    let body = json!({"type": "claude", "args": ["--permission-mode", "default"], "env": env});
    let claude = Conversation::start(programs, body).await;
    for _ in 0..2 {
        let answer = claude.ask(HELLO, HEARD).await;
        assert!(answer.starts_with("● Stand-in heard: hello there\n") && answer.contains("\n✻ "), "{answer}");
        assert!(answer.lines().count() < 8 && !answer.contains('❯'), "only the answer: {answer}");
    }
    claude.ask("RUN echo tool-output-$((6 * 7))", "Stand-in ran it, and it said: tool-output-42").await;
    let question = claude.ask_for_answer("RUN touch made && echo made-$((6 * 7))", "Do you want to proceed?").await;
    assert!(question.contains("❯ 1. Yes") && question.lines().count() < 30, "{question}");
    claude.press("1", "Stand-in ran it, and it said: made-42").await;
    claude.ask_for_answer("RUN touch again", "Do you want to proceed?").await;
    // Stopped while it waits for an answer.
    claude.stop().await;
}

#[tokio::test]
async fn codex_holds_a_conversation() {
    let Some(programs) = installed("codex") else { return };
    let model = StandIn::start().await;
    let base_url = format!("model_providers.key.base_url=\"{}/v1\"", model.url);
    // Its own sandbox needs what a container may not have.
    let args = ["--sandbox", "danger-full-access", "--ask-for-approval", "never", "-c", &base_url, "--model", "stand-in"];
    let body = json!({"type": "codex", "args": args, "env": {"OPENAI_API_KEY": "a key"}});
    let codex = Conversation::start(programs, body).await;
    for _ in 0..2 {
        let answer = codex.ask(HELLO, HEARD).await;
        assert!(answer.starts_with("• Stand-in heard: hello there\n") && answer.contains("\n  Worked for "), "{answer}");
        assert!(answer.lines().count() < 8 && !answer.contains('›'), "only the answer: {answer}");
    }
    codex.ask("RUN echo tool-output-$((6 * 7))", "Stand-in ran it, and it said: tool-output-42").await;
    codex.stop().await;
}

#[tokio::test]
async fn codex_waits_for_an_approval() {
    let Some(programs) = installed("codex") else { return };
    let model = StandIn::start().await;
    let base_url = format!("model_providers.key.base_url=\"{}/v1\"", model.url);
    let args = ["--sandbox", "read-only", "--ask-for-approval", "on-request", "-c", &base_url, "--model", "stand-in"];
    let body = json!({"type": "codex", "args": args, "env": {"OPENAI_API_KEY": "a key"}});
    let codex = Conversation::start(programs, body).await;
    let question = codex.ask_for_answer("UNCONFINED RUN touch made && echo made-$((6 * 7))", "Would you like to run").await;
    assert!(question.contains("› 1. Yes"), "{question}");
    codex.press("y", "Stand-in ran it, and it said: made-42").await;
    codex.stop().await;
}

#[tokio::test]
async fn aider_holds_a_conversation() {
    let Some(programs) = installed("aider") else { return };
    let model = StandIn::start().await;
    let args = ["--model", "openai/stand-in", "--edit-format", "diff", "--no-git", "--no-show-model-warnings"];
    let env = json!({"OPENAI_API_BASE": format!("{}/v1", model.url), "OPENAI_API_KEY": "a key"});
    let aider = Conversation::start(programs, json!({"type": "aider", "args": args, "env": env})).await;
    for _ in 0..2 {
        let answer = aider.ask(HELLO, HEARD).await;
        assert!(answer.starts_with("Stand-in heard: hello there\n") && answer.contains("\nTokens: "), "{answer}");
        assert!(answer.lines().count() < 8, "only the answer: {answer}");
    }
    // Aider has no tools: it reads what to do from the text, and asks.
    aider.ask("WRITE made.txt", "Create new file?").await;
    aider.press("y\r", "Applied edit to made.txt").await;
    aider.stop().await;
}

/// What an ACP agent did, by kind.
async fn did(conversation: &Conversation, kind: &str) -> Vec<Value> {
    let timeline = conversation.client.get(&format!("{}/timeline?limit=100", conversation.agent)).await.ok();
    let entries = timeline["items"].as_array().expect("items").iter();
    entries.filter(|entry| entry["kind"] == kind).map(|entry| entry["data"].clone()).collect()
}

#[tokio::test]
async fn claude_holds_a_conversation_by_acp() {
    let Some(programs) = installed("claude-agent-acp") else { return };
    let model = StandIn::start().await;
    let env = json!({
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_AUTH_TOKEN": "a token",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    });
    let claude = Conversation::start(programs, json!({"type": "claude", "transport": "acp", "env": env})).await;
    for _ in 0..2 {
        assert_eq!(claude.ask(HELLO, HEARD).await, HEARD);
    }
    claude.post("user", "RUN touch made && echo made-$((6 * 7))").await;
    let approval = eventually("it asks for leave", || async {
        let pending = claude.client.get(&format!("{}/approvals?state=pending", claude.agent)).await.ok();
        pending["items"].as_array().expect("items").first().cloned()
    })
    .await;
    println!("{approval:#}");
    let options = approval["options"].as_array().expect("options");
    let allow = options.iter().find(|option| option["kind"] == "allow_once").expect("it may be allowed once");
    let path = format!("{}/approvals/{}", claude.agent, approval["id"].as_str().expect("an id"));
    claude.client.post(&path, json!({"option": allow["id"]})).await.ok();
    claude.client.stable(&claude.agent).await;
    assert!(claude.last_answer().await.ends_with("Stand-in ran it, and it said: made-42"));
    assert_eq!(did(&claude, "tool_call").await[0]["status"], "completed");
    assert_eq!(did(&claude, "turn").await.iter().filter(|turn| turn["stop_reason"] == "end_turn").count(), 3);
    claude.stop().await;
}

#[tokio::test]
async fn codex_holds_a_conversation_by_acp() {
    let Some(programs) = installed("codex-acp") else { return };
    let model = StandIn::start().await;
    let base_url = format!("model_providers.key.base_url=\"{}/v1\"", model.url);
    // Its own sandbox needs what a container may not have.
    let settings = [&base_url, "model=\"stand-in\"", "sandbox_mode=\"danger-full-access\"", "approval_policy=\"never\""];
    let args: Vec<&str> = settings.into_iter().flat_map(|setting| ["-c", setting]).collect();
    let body = json!({"type": "codex", "transport": "acp", "args": args, "env": {"OPENAI_API_KEY": "a key"}});
    let codex = Conversation::start(programs, body).await;
    for _ in 0..2 {
        // What it says of a model that it does not know comes first.
        assert!(codex.ask(HELLO, HEARD).await.ends_with(HEARD));
    }
    codex.ask("RUN echo tool-output-$((6 * 7))", "Stand-in ran it, and it said: tool-output-42").await;
    assert_eq!(did(&codex, "tool_call").await[0]["status"], "completed");
    assert_eq!(did(&codex, "turn").await.iter().filter(|turn| turn["stop_reason"] == "end_turn").count(), 3);
    codex.stop().await;
}
