//! `agentapi attach` in a real terminal.

use std::time::{Duration, Instant};

use pty_process::{OwnedReadPty, OwnedWritePty, Size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use crate::support::{ECHO, Network, PATIENCE, Proxy, ServerBuilder, SingleBuilder, TestDatabase};

/// The program in a terminal of 20 rows.
struct Attached {
    process: Child,
    output: OwnedReadPty,
    input: OwnedWritePty,
    seen: String,
}

impl Attached {
    fn start(args: &[&str], token: Option<&str>) -> Self {
        let (pty, pts) = pty_process::open().expect("a terminal");
        pty.resize(Size::new(20, 60)).expect("resized");
        let mut command =
            pty_process::Command::new(env!("CARGO_BIN_EXE_agentapi")).arg("attach").args(args).env_clear().kill_on_drop(true);
        if let Some(token) = token {
            command = command.env("AGENTAPI_TOKEN", token);
        }
        let process = command.spawn(pts).expect("it starts");
        let (output, input) = pty.into_split();
        Self { process, output, input, seen: String::new() }
    }

    /// Reads until the terminal was sent `text`; forgets what came before its end.
    async fn sees(&mut self, text: &str) {
        while !self.seen.contains(text) {
            let mut piece = [0; 4096];
            let read = tokio::time::timeout(PATIENCE, self.output.read(&mut piece)).await;
            let read = read.unwrap_or_else(|_| panic!("{text:?} does not come: {:?}", self.seen));
            let read = read.unwrap_or_else(|error| panic!("{text:?} did not come: {error}: {:?}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
        let end = self.seen.rfind(text).expect("found") + text.len();
        self.seen.drain(..end);
    }

    async fn types(&mut self, keys: &str) {
        self.input.write_all(keys.as_bytes()).await.expect("it reads");
    }

    async fn ends(mut self) -> Option<i32> {
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await.expect("ends in time").expect("is ours");
        status.code()
    }
}

/// Shows the screen, types, resizes, detaches; the agent lives on.
async fn look_and_type(mut attached: Attached) {
    attached.sees("\x1b[?1049h").await;
    attached.sees("\x1b[H>\x1b[K").await;
    attached.types("hel").await;
    attached.types("lo\r").await;
    attached.sees("you said hello").await;
    attached.input.resize(Size::new(2, 60)).expect("resized");
    attached.sees("\x1b[Hyou said hello\x1b[K\r\n>").await;
    attached.types("\x03").await;
    attached.sees("\x1b[?1049l").await;
    assert_eq!(attached.ends().await, Some(0));
}

#[tokio::test]
async fn a_single_agents_terminal_is_shown_and_typed_at() {
    let single = SingleBuilder::new(&ECHO).start_stable().await;
    let address = single.url.strip_prefix("http://").expect("http");
    look_and_type(Attached::start(&["--url", &format!("{address}//")], None)).await;
    assert_eq!(single.client.get("/status").await.status, 200);
    let mut attached = Attached::start(&["-u", &single.url], None);
    attached.sees("you said hello").await;
    let end = single.stop(rustix::process::Signal::TERM).await;
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    attached.sees("the agent has ended").await;
    assert_eq!(attached.ends().await, Some(0));
}

#[tokio::test]
async fn one_agent_of_many_is_shown_to_who_has_a_token() {
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let client = server.operator().await;
    let agent = client.start_echo_agent().await;
    let url = format!("{}{agent}", server.url);
    let token = client.token.clone().expect("logged in");
    look_and_type(Attached::start(&["--url", &url], Some(&token))).await;
    let key = client.post("/v1/api-keys", serde_json::json!({"name": "a terminal"})).await.ok()["key"].clone();
    let another = format!("{}{}", server.url, client.start_echo_agent().await);
    look_and_type(Attached::start(&["--url", &another], key.as_str())).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("{token}\n")).expect("written");
    let path = file.path().display().to_string();
    let mut attached = Attached::start(&["--url", &url, "--token-file", &path], Some("wrong"));
    attached.sees("you said hello").await;
    client.delete(&agent).await.ok();
    attached.sees("the agent has ended").await;
    assert_eq!(attached.ends().await, Some(0));
    for (token, said) in [(None, "401"), (Some("wrong"), "401"), (Some(token.as_str()), "409")] {
        let mut attached = Attached::start(&["--url", &url], token);
        attached.sees("the server refuses: ").await;
        attached.sees(said).await;
        assert_eq!(attached.ends().await, Some(1), "{token:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_attached_to_is_said_and_the_terminal_left_alone() {
    for (args, said) in [
        (&["--url", "localhost:1"][..], "cannot reach the agent at http://localhost:1"),
        (&["--url", "http://u:secret@localhost"], "--url … is not an agent's address"),
        (&["--url", "http://"], "is not an agent's address"),
        (&["--token-file", "/nowhere/at/all"], "the token cannot be read from /nowhere/at/all"),
        (&["--nonsense"], "unexpected argument"),
    ] {
        let mut attached = Attached::start(args, None);
        attached.sees(said).await;
        assert!(!attached.seen.contains("\x1b[?1049h"));
        assert_eq!(attached.ends().await, Some(1), "{args:?}");
    }
    let single = SingleBuilder::new(&ECHO).start_stable().await;
    let program = ServerBuilder::embedded();
    let (code, _, error) = program.run(&["attach", "--url", &single.url], "").await;
    assert_eq!((code, error.contains("attach needs a terminal")), (Some(1), true), "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_keeps_nobody_attached() {
    let single = SingleBuilder::new(&ECHO).start_stable().await;
    let network = Proxy::before(single.url.strip_prefix("http://").expect("http"));
    let mut attached = Attached::start(&["--url", &network.address()], None);
    attached.sees("\x1b[H>\x1b[K").await;
    network.set(Network::BlackHole);
    attached.types("is anybody there?").await;
    let begun = Instant::now();
    // What is typed in one go with other keys does not detach.
    let detached = async {
        loop {
            attached.types("\x03").await;
            if tokio::time::timeout(Duration::from_millis(500), attached.sees("\x1b[?1049l")).await.is_ok() {
                break;
            }
        }
    };
    detached.await;
    assert!(begun.elapsed() < Duration::from_secs(8), "a key may take 10 s: {:?}", begun.elapsed());
    assert_eq!(attached.ends().await, Some(0));
}

#[tokio::test]
async fn a_signal_gives_the_terminal_back() {
    let single = SingleBuilder::new(&ECHO).start_stable().await;
    let mut attached = Attached::start(&["--url", &single.url], None);
    attached.sees("\x1b[H>\x1b[K").await;
    let pid = attached.process.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())).expect("it runs");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    attached.sees("\x1b[?1049l").await;
    assert_eq!(attached.ends().await, Some(0));
    tokio::time::timeout(Duration::from_secs(30), single.client.get("/status")).await.expect("it lives").ok();
}
