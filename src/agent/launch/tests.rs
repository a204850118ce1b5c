use super::*;

fn env(passthrough: &[&str], own: &[(&str, &str)]) -> BTreeMap<String, String> {
    let server = [
        ("PATH", "/bin"),
        ("LANG", "C.UTF-8"),
        ("HOME", "/root"),
        ("SHELL", "/bin/sh"),
        ("ANTHROPIC_API_KEY", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("TOKEN_ENCRYPTION_KEY", "secret"),
        ("DATABASE_URL", "secret"),
        ("REDIS_URL", "secret"),
        ("UPSTASH_REDIS_REST_TOKEN", "secret"),
        ("AGENTAPI_ADMIN_PASSWORD", "secret"),
        ("SESSION_TTL", "60s"),
    ];
    let server = server.map(|(name, value)| (name.into(), value.into()));
    let passthrough: Vec<String> = passthrough.iter().map(|&name| name.to_owned()).collect();
    let own = own.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    environment(server, &passthrough, &own, Path::new("/agent/home"))
        .into_iter()
        .map(|(name, value)| (name.into_string().unwrap(), value.into_string().unwrap()))
        .collect()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

const BASE: [(&str, &str); 4] = [("HOME", "/agent/home"), ("LANG", "C.UTF-8"), ("PATH", "/bin"), ("TERM", "xterm-256color")];

#[test]
fn nothing_of_the_server_reaches_an_agent_but_the_basics() {
    assert_eq!(env(&[], &[]), map(&BASE));
}

#[test]
fn named_variables_are_passed_on_and_the_agents_own_win() {
    let expected = [&BASE[..], &[("ANTHROPIC_API_KEY", "own"), ("SHELL", "/bin/sh"), ("EXTRA", "1")]].concat();
    assert_eq!(env(&["SHELL", "ANTHROPIC_API_KEY", "NOT_SET"], &[("ANTHROPIC_API_KEY", "own"), ("EXTRA", "1")]), map(&expected));
}

#[test]
fn the_servers_own_settings_are_never_passed_on() {
    let settings = [
        "TOKEN_ENCRYPTION_KEY",
        "DATABASE_URL",
        "REDIS_URL",
        "UPSTASH_REDIS_REST_TOKEN",
        "AGENTAPI_ADMIN_PASSWORD",
        "SESSION_TTL",
    ];
    assert_eq!(env(&settings, &[]), map(&BASE));
}

#[test]
fn the_agents_home_is_its_own_even_if_the_servers_is_named() {
    assert_eq!(env(&["HOME"], &[])["HOME"], "/agent/home");
}

#[test]
fn values_are_not_shown() {
    let launch = Launch {
        program: "claude".into(),
        args: vec!["--key=secret".into()],
        directory: "/".into(),
        env: BTreeMap::from([("KEY".into(), "secret".into())]),
    };
    assert!(!format!("{launch:?}").contains("secret"));
}

#[test]
fn what_a_program_cannot_be_given_is_refused() {
    let good = Launch {
        program: "sh".into(),
        args: vec![],
        directory: "/".into(),
        env: BTreeMap::from([("PATH".into(), "/bin".into())]),
    };
    assert!(good.resolve().is_ok());
    let bad = [
        Launch { program: "s\0h".into(), ..good.clone() },
        Launch { args: vec!["\0".into()], ..good.clone() },
        Launch { env: BTreeMap::from([("A=B".into(), "x".into())]), ..good.clone() },
        Launch { env: BTreeMap::from([(OsString::new(), "x".into())]), ..good.clone() },
        Launch { env: BTreeMap::from([("A".into(), "\0".into())]), ..good.clone() },
    ];
    for launch in bad {
        assert!(matches!(launch.resolve(), Err(SpawnError::Invalid(_))), "{launch:?}");
    }
    let no_path = Launch { env: BTreeMap::new(), ..good };
    assert!(matches!(no_path.resolve(), Err(SpawnError::NotFound { .. })));
}
