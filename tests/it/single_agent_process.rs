//! `agentapi server` as a process: flags, files, signals, exits, and the agent's processes.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, test_kill_process};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{ECHO, ServerBuilder, SingleBuilder, eventually};

#[tokio::test]
async fn wrong_flags_and_variables_end_with_one_and_say_why() {
    for (builder, expected) in [
        (SingleBuilder::new(&[]), "requires at least 1 arg(s), only received 0"),
        (SingleBuilder::new(&ECHO).flags(&["--nonsense"]), "unexpected argument '--nonsense'"),
        (SingleBuilder::new(&ECHO).flags(&["--type", "gpt"]), "failed to parse agent type: invalid agent type: gpt"),
        (SingleBuilder::new(&ECHO).flags(&["-W", "9"]), "term width must be at least 10"),
        (SingleBuilder::new(&ECHO).env("AGENTAPI_TERM_HEIGHT", "9"), "term height must be at least 10"),
        (SingleBuilder::new(&ECHO).flags(&["--load-state"]), "--load-state requires --state-file to be set"),
        (SingleBuilder::new(&ECHO).flags(&["--experimental-acp", "-s", "f"]), "ACP mode doesn't support state persistence"),
        (
            SingleBuilder::new(&ECHO).env("AGENTAPI_ALLOWED_HOSTS", "localhost:3284"),
            "failed to create server: failed to parse allowed hosts: 'localhost:3284' must not include a port",
        ),
    ] {
        let end = builder.run().await;
        assert_eq!(end.code, Some(1), "{expected}: {}", end.stderr);
        assert!(end.stderr.contains(expected), "{expected}: {}", end.stderr);
    }
    assert_eq!(SingleBuilder::new(&ECHO).flags(&["--exit"]).run().await.code, Some(0));
}

#[tokio::test]
async fn version_and_document_are_printed() {
    let program = ServerBuilder::embedded();
    let (code, out, _) = program.run(&["--version"], "").await;
    assert_eq!((code, out), (Some(0), format!("agentapi version {}\n", env!("CARGO_PKG_VERSION"))));
    for args in [&["server", "--print-openapi"][..], &["server", "-P", "dummy"]] {
        let (code, out, _) = program.run(args, "").await;
        let document: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!((code, &document["openapi"]), (Some(0), &"3.0.3".into()));
    }
}

#[tokio::test]
async fn each_signal_that_stops_a_server_stops_it_in_order() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let single = SingleBuilder::new(&ECHO).start().await;
        let end = single.stop(signal).await;
        assert_eq!(end.code, Some(0), "{signal:?}: {}", end.stderr);
    }
}

#[tokio::test]
async fn an_agent_that_ends_ends_its_server() {
    let end = SingleBuilder::new(&["bash", "-c", "echo all done"]).run().await;
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    let end = SingleBuilder::new(&["bash", "-c", "echo 'no key is set'; exit 3"]).run().await;
    assert_eq!(end.code, Some(1));
    assert!(end.stderr.contains("\n========\nno key is set\n========\nnon-zero exit code: 3\n"), "{}", end.stderr);
    let end = SingleBuilder::new(&["bash", "-c", "kill -KILL $$"]).run().await;
    assert_eq!(end.code, Some(1));
    assert!(end.stderr.contains("non-zero exit code: ended by signal 9"), "{}", end.stderr);
    let end = SingleBuilder::new(&["no-such-program"]).run().await;
    assert_eq!(end.code, Some(1));
    assert!(end.stderr.contains("Error starting process: program \"no-such-program\" was not found"), "{}", end.stderr);
}

#[tokio::test]
async fn a_taken_port_is_said_before_the_agent_starts() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let builder = SingleBuilder::new(&["touch", "started"]).flags(&["--port", &port]);
    let end = builder.run().await;
    assert_eq!(end.code, Some(1));
    let expected = format!("failed to start server: listen tcp 127.0.0.1:{port}: bind: address already in use");
    assert!(end.stderr.contains(&expected), "{}", end.stderr);
    assert!(!builder.path("started").exists());
}

#[tokio::test]
async fn a_server_listens_on_this_machine_only_unless_told_otherwise() {
    let port = |url: &str| url.rsplit(':').next().expect("a port").parse::<u16>().expect("a port");
    let single = SingleBuilder::new(&ECHO).start().await;
    let local = port(&single.url);
    assert!(TcpStream::connect(("127.0.0.1", local)).await.is_ok());
    // The rest of 127.0.0.0/8 is reached only by who listens on all addresses.
    assert!(TcpStream::connect(("127.0.0.2", local)).await.is_err());
    if TcpListener::bind(("::1", 0)).await.is_ok() {
        assert!(TcpStream::connect(("::1", local)).await.is_ok(), "localhost may be either");
    }
    let open = SingleBuilder::new(&ECHO).flags(&["--host", "0.0.0.0"]).start().await;
    assert!(TcpStream::connect(("127.0.0.2", port(&open.url))).await.is_ok());
}

#[tokio::test]
async fn a_pid_file_keeps_a_second_server_from_starting() {
    let builder = SingleBuilder::new(&ECHO).flags(&["--pid-file", "run/agentapi.pid"]);
    let file = builder.path("run/agentapi.pid");
    let single = builder.start().await;
    let pid = single.pid().as_raw_nonzero().to_string();
    assert_eq!(std::fs::read_to_string(&file).expect("there"), format!("{pid}\n"));
    let end = builder.run().await;
    assert_eq!(end.code, Some(1));
    let expected = format!("another instance is already running with PID {pid} (PID file: run/agentapi.pid)");
    assert!(end.stderr.contains(&expected), "{}", end.stderr);
    assert_eq!(std::fs::read_to_string(&file).expect("still there"), format!("{pid}\n"));
    assert_eq!(single.stop(Signal::TERM).await.code, Some(0));
    assert!(!file.exists());

    for stale in ["2147483647\n", "not a number", "", "-1", "0"] {
        std::fs::write(&file, stale).expect("written");
        let single = builder.start().await;
        let pid = single.pid().as_raw_nonzero().to_string();
        assert_eq!(std::fs::read_to_string(&file).expect("there").trim(), pid, "{stale:?}");
        if stale.is_empty() {
            std::fs::write(&file, "1\n").expect("written");
        }
        assert_eq!(single.stop(Signal::TERM).await.code, Some(0));
        assert_eq!(file.exists(), stale.is_empty(), "what is another's is left alone");
    }
}

async fn pid_in(path: &Path) -> Pid {
    eventually("the process tells its id", || async {
        let pid: i32 = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
        Pid::from_raw(pid)
    })
    .await
}

#[tokio::test]
async fn all_processes_of_an_agent_end_with_the_server_however_stubborn() {
    let stubborn = "trap '' TERM HUP INT; (trap '' TERM HUP INT; exec sleep 1000) & echo $! >child; \
                    setsid bash -c 'trap \"\" TERM HUP INT; echo $$ >outsider; sleep 1000' & while :; do read -r _ || sleep 1; done";
    let builder = SingleBuilder::new(&["bash", "-c", stubborn]);
    let single = builder.start().await;
    let (child, outsider) = (pid_in(&builder.path("child")).await, pid_in(&builder.path("outsider")).await);
    let begun = Instant::now();
    assert_eq!(single.stop(Signal::INT).await.code, Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(5), "it had its time: {:?}", begun.elapsed());
    for pid in [child, outsider] {
        eventually("it is gone", || async { test_kill_process(pid).is_err().then_some(()) }).await;
    }
}

#[tokio::test]
async fn an_agent_has_the_environment_of_its_user_without_the_servers_secrets() {
    let secrets = [
        "DATABASE_URL",
        "REDIS_URL",
        "REDIS_PASSWORD",
        "UPSTASH_REDIS_REST_TOKEN",
        "UPSTASH_OTHER",
        "AGENTAPI_TOKEN",
        "AGENTAPI_ADMIN_PASSWORD",
        "TOKEN_ENCRYPTION_KEY",
        "TOKEN_ENCRYPTION_KEYS_PREVIOUS",
    ];
    let builder =
        secrets.iter().fold(SingleBuilder::new(&["bash", "-c", "env >env; stty size >size; pwd >pwd"]), |builder, secret| {
            builder.env(secret, "hunter2")
        });
    let builder =
        builder.env("HOME", "/home/ada").env("ANTHROPIC_API_KEY", "sk-1").env("TERM", "other").env("AGENTAPI_TYPE", "claude");
    assert_eq!(builder.clone().flags(&["-W", "90", "-H", "50"]).run().await.code, Some(0));
    let read = |name: &str| std::fs::read_to_string(builder.path(name)).expect("written");
    let env = read("env");
    for line in ["HOME=/home/ada", "ANTHROPIC_API_KEY=sk-1", "TERM=vt100", "AGENTAPI_TYPE=claude", "AGENTAPI_PORT=0"] {
        assert!(env.lines().any(|set| set == line), "{line} is not in {env}");
    }
    assert!(!env.contains("hunter2"), "{env}");
    assert_eq!(read("size"), "50 90\n");
    assert_eq!(Path::new(read("pwd").trim()).canonicalize().ok(), builder.path("").canonicalize().ok());
}
