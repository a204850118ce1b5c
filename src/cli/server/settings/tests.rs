use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
}

/// What comes of these words on the command line, and these variables.
fn read_with(words: &[&str], variables: &[(&str, &str)]) -> Result<Settings, String> {
    let flags = Cli::try_parse_from(["server"].iter().chain(words)).map_err(|error| error.to_string())?.flags;
    let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    match read(flags, variable).map_err(|error| error.to_string())? {
        Task::Serve(settings) => Ok(*settings),
        task => Err(format!("{task:?}")),
    }
}

#[test]
fn types_are_named_by_name_or_alias_or_found_out_from_the_program() {
    for name in
        ["claude", "goose", "aider", "codex", "gemini", "copilot", "amp", "cursor", "auggie", "amazonq", "opencode", "custom"]
    {
        for words in [&["--type", name, "--", "sh"][..], &["-t", name, "sh"], &["--", name], &["--", &format!("/opt/bin/{name}")]]
        {
            assert_eq!(read_with(words, &[]).expect("valid").agent_type.as_str(), name, "{words:?}");
        }
    }
    for (alias, kind) in [("cursor-agent", AgentType::Cursor), ("q", AgentType::AmazonQ)] {
        assert_eq!(read_with(&["--type", alias, "x"], &[]).expect("valid").agent_type, kind);
        assert_eq!(read_with(&["--", alias], &[]).expect("valid").agent_type, kind);
    }
    for program in ["sh", "Claude", "claude2", "/usr/bin/claude.sh", ".."] {
        assert_eq!(read_with(&["--", program], &[]).expect("valid").agent_type, AgentType::Custom, "{program}");
    }
    assert_eq!(read_with(&["--type", "claude", "goose"], &[]).expect("valid").agent_type, AgentType::Claude);
    for wrong in ["Claude", "gpt", "/usr/bin/claude"] {
        let error = read_with(&["--type", wrong, "sh"], &[]).expect_err(wrong);
        assert_eq!(error, format!("failed to parse agent type: invalid agent type: {wrong}"));
    }
}

#[test]
fn the_defaults_are_those_of_the_reference() {
    let settings = read_with(&["--", "agent", "--flag", "-p"], &[]).expect("valid");
    assert_eq!((settings.program.as_str(), settings.args), ("agent", vec!["--flag".to_owned(), "-p".to_owned()]));
    assert_eq!((settings.port, settings.host, settings.chat_base_path.as_str()), (3284, None, "/chat"));
    assert_eq!(settings.size, TerminalSize::default());
    assert_eq!(settings.hosts, AllowedHosts::parse(&DEFAULT_HOSTS.map(str::to_owned)).expect("valid"));
    assert_eq!(settings.origins, AllowedOrigins::parse(&DEFAULT_ORIGINS.map(str::to_owned)).expect("valid"));
    assert_eq!((settings.initial_prompt, settings.load_state, settings.save_state, settings.pid_file), (None, None, None, None));
}

#[test]
fn a_flag_wins_over_its_variable_and_that_over_the_default() {
    let variables = [
        ("AGENTAPI_TYPE", "goose"),
        ("AGENTAPI_PORT", "4000"),
        ("AGENTAPI_CHAT_BASE_PATH", "/env"),
        ("AGENTAPI_TERM_WIDTH", "90"),
        ("AGENTAPI_TERM_HEIGHT", "91"),
        ("AGENTAPI_ALLOWED_HOSTS", "one.test two.test\nthree.test"),
        ("AGENTAPI_ALLOWED_ORIGINS", "http://one.test  http://two.test"),
        ("AGENTAPI_INITIAL_PROMPT", "from the environment"),
        ("AGENTAPI_STATE_FILE", "/env/state"),
        ("AGENTAPI_SAVE_STATE", "f"),
        ("AGENTAPI_PID_FILE", "/env/pid"),
        ("AGENTAPI_HOST", "0.0.0.0"),
    ];
    let list = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
    let settings = read_with(&["agent"], &variables).expect("valid");
    assert_eq!((settings.agent_type, settings.port, settings.chat_base_path.as_str()), (AgentType::Goose, 4000, "/env"));
    assert_eq!((settings.size.width(), settings.size.height()), (90, 91));
    assert_eq!(settings.hosts, AllowedHosts::Only(list(&["one.test", "two.test", "three.test"])));
    assert!(settings.origins == AllowedOrigins::parse(&list(&["http://one.test", "http://two.test"])).expect("valid"));
    assert_eq!(settings.initial_prompt.as_deref(), Some("from the environment"));
    assert_eq!((settings.load_state, settings.save_state), (Some(PathBuf::from("/env/state")), None));
    assert_eq!(settings.pid_file, Some(PathBuf::from("/env/pid")));
    assert_eq!(settings.host, Some(IpAddr::from([0, 0, 0, 0])));

    let words = "-t claude -p5000 --chat-base-path=/flag -W 100 -H 101 -a a.test,b.test -a c.test -o http://a.test -I flag \
                 -s /flag/state --load-state=false --save-state --pid-file /flag/pid --host ::1 agent";
    let settings = read_with(&words.split_whitespace().collect::<Vec<_>>(), &variables).expect("valid");
    assert_eq!((settings.agent_type, settings.port, settings.chat_base_path.as_str()), (AgentType::Claude, 5000, "/flag"));
    assert_eq!((settings.size.width(), settings.size.height()), (100, 101));
    assert_eq!(settings.hosts, AllowedHosts::Only(list(&["a.test", "b.test", "c.test"])));
    assert_eq!(settings.origins, AllowedOrigins::parse(&list(&["http://a.test"])).expect("valid"));
    assert_eq!(settings.initial_prompt.as_deref(), Some("flag"));
    assert_eq!((settings.load_state, settings.save_state), (None, Some(PathBuf::from("/flag/state"))));
    assert_eq!(settings.pid_file, Some(PathBuf::from("/flag/pid")));

    let empty: Vec<_> = variables.iter().map(|(name, _)| (*name, "")).collect();
    assert_eq!(read_with(&["agent"], &empty).expect("empty variables count as unset").port, 3284);
}

#[test]
fn what_is_wrong_is_said() {
    for (words, variables, expected) in [
        (&[][..], &[][..], "requires at least 1 arg(s), only received 0"),
        (&["--nonsense", "x"], &[], "unexpected argument '--nonsense'"),
        (&["-W", "9", "x"], &[], "term width must be at least 10"),
        (&["-H", "9", "x"], &[], "term height must be at least 10"),
        (&["-W", "1001", "x"], &[], "term width must be at most 1000"),
        (&["-W", "wide", "x"], &[], "invalid value \"wide\" for --term-width (AGENTAPI_TERM_WIDTH): expected a whole number"),
        (&["x"], &[("AGENTAPI_PORT", "70000")], "invalid value \"70000\" for --port (AGENTAPI_PORT)"),
        (&["--host", "localhost", "x"], &[], "invalid value \"localhost\" for --host (AGENTAPI_HOST): expected an IP address"),
        (&["--load-state", "x"], &[], "--load-state requires --state-file to be set"),
        (&["--save-state", "x"], &[], "--save-state requires --state-file to be set"),
        (&["x"], &[("AGENTAPI_LOAD_STATE", "true")], "--load-state requires --state-file to be set"),
        (
            &["--load-state=maybe", "x"],
            &[],
            "invalid value \"maybe\" for --load-state (AGENTAPI_LOAD_STATE): expected true or false",
        ),
        (&["--experimental-acp", "-s", "f", "x"], &[], "ACP mode doesn't support state persistence"),
        (&["-c", "/a b", "x"], &[], "for --chat-base-path"),
        (&["-a", "", "x"], &[], "failed to create server: failed to parse allowed hosts: the list must not be empty"),
        (&["-a", "a, b", "x"], &[], "failed to parse allowed hosts: ' b' contains whitespace characters, which are not allowed"),
        (&["x"], &[("AGENTAPI_ALLOWED_HOSTS", "a,b")], "hosts: 'a,b' contains comma characters, which are not allowed"),
        (&["x"], &[("AGENTAPI_ALLOWED_ORIGINS", "a,b")], "origins: 'a,b' contains comma characters, which are not allowed"),
    ] {
        let error = read_with(words, variables).expect_err(expected);
        assert!(error.contains(expected), "{words:?}: {error}");
    }
}

#[test]
fn some_flags_end_the_matter() {
    assert_eq!(read_with(&["--print-openapi"], &[]).expect_err("no server"), "PrintOpenapi");
    assert_eq!(read_with(&["x"], &[("AGENTAPI_PRINT_OPENAPI", "1")]).expect_err("no server"), "PrintOpenapi");
    assert_eq!(read_with(&["--exit", "x"], &[]).expect_err("no server"), "Nothing");
    assert!(read_with(&["--load-state=false", "--experimental-acp=false", "x"], &[]).is_ok());
}
