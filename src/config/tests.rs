use std::time::Duration;

use super::*;

fn config(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_variables(&pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn problem(pairs: &[(&str, &str)]) -> String {
    config(pairs).expect_err("is wrong").to_string()
}

#[test]
fn defaults_are_those_of_the_specification() {
    let shown: BTreeMap<_, _> = config(&[]).expect("defaults are valid").show().into_iter().collect();
    for (variable, value) in [
        ("REDIS_PROTOCOL", "native"),
        ("REDIS_MAX_POOL_SIZE", "10"),
        ("REDIS_CONNECTION_TIMEOUT", "5s"),
        ("RATE_LIMIT_ENABLED", "true"),
        ("RATE_LIMIT_REQUESTS_PER_MINUTE", "60"),
        ("RATE_LIMIT_BURST_SIZE", "10"),
        ("RATE_LIMIT_ALGORITHM", "fixed_window"),
        ("CIRCUIT_BREAKER_ENABLED", "true"),
        ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "5"),
        ("CIRCUIT_BREAKER_SUCCESS_THRESHOLD", "2"),
        ("CIRCUIT_BREAKER_TIMEOUT", "30s"),
        ("SESSION_TTL", "3600s"),
        ("SESSION_CLEANUP_INTERVAL", "300s"),
        ("AGENTAPI_PORT", "3284"),
    ] {
        assert_eq!(shown.get(variable).map(String::as_str), Some(value), "{variable}");
    }
}

#[test]
fn durations_take_units_or_bare_seconds() {
    for (text, expected) in
        [("5s", 5_000), ("2m", 120_000), ("250ms", 250), ("90", 90_000), ("12h", 43_200_000), ("1d", 86_400_000)]
    {
        let config = config(&[("REDIS_CONNECTION_TIMEOUT", text)]).expect(text);
        assert_eq!(config.redis.connection_timeout, Duration::from_millis(expected), "{text}");
    }
    for text in ["0", "5 apples", "-1s", "1.5s", "99999999999999999999s", "36500d", "s"] {
        assert!(problem(&[("REDIS_CONNECTION_TIMEOUT", text)]).contains("REDIS_CONNECTION_TIMEOUT"), "{text}");
    }
}

#[test]
fn every_wrong_variable_is_listed_at_once_with_value_and_expectation() {
    let message = problem(&[
        ("REDIS_PROTOCOL", "carrier-pigeon"),
        ("RATE_LIMIT_REQUESTS_PER_MINUTE", "many"),
        ("SESSION_TTL", "soon"),
        ("CIRCUIT_BREAKER_ENABLED", "perhaps"),
        ("AGENTAPI_PORT", "70000"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,nonsense"),
        ("LOG_FORMAT", "xml"),
    ]);
    assert!(message.starts_with("7 settings are wrong:"), "{message}");
    for line in [
        r#"AGENTAPI_PORT="70000": expected a whole number from 0 to 65535"#,
        r#"RATE_LIMIT_REQUESTS_PER_MINUTE="many": expected a whole number from 1 to 1000000"#,
        r#"CIRCUIT_BREAKER_ENABLED="perhaps": expected true or false"#,
        r#"REDIS_PROTOCOL="carrier-pigeon": expected `native` or `rest`"#,
        r#"SESSION_TTL="soon": expected a duration"#,
        r#"LOG_FORMAT="xml": expected `json` or `text`"#,
        r#"TRUSTED_PROXIES="10.0.0.0/8,nonsense": expected a list"#,
    ] {
        assert!(message.contains(line), "{line} not in {message}");
    }
}

#[test]
fn a_wrong_secret_is_named_but_never_shown() {
    let message =
        problem(&[("TOKEN_ENCRYPTION_KEY", "hunter2"), ("DATABASE_URL", "mysql://u:hunter2@h/db"), ("REDIS_URL", "hunter2")]);
    for variable in ["TOKEN_ENCRYPTION_KEY", "DATABASE_URL", "REDIS_URL"] {
        assert!(message.contains(variable), "{message}");
    }
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn secrets_are_masked_when_shown_and_when_debugged() {
    let config = config(&[
        ("TOKEN_ENCRYPTION_KEY", &"ab".repeat(32)),
        ("DATABASE_URL", "postgres://u:hunter2@h/db?password=hunter2"),
        ("REDIS_URL", "redis://:hunter2@h"),
        ("REDIS_PASSWORD", "hunter2"),
        ("AGENTAPI_ADMIN_PASSWORD", "hunter2 hunter2"),
        ("UPSTASH_REDIS_REST_URL", "https://x.example"),
        ("UPSTASH_REDIS_REST_TOKEN", "hunter2"),
    ])
    .expect("valid");
    let shown = format!("{:?} {config:?}", config.show());
    assert!(!shown.contains("hunter2") && !shown.contains("abab"), "{shown}");
}

#[test]
fn redis_is_on_when_an_endpoint_is_set_unless_told_otherwise() {
    assert!(!config(&[]).expect("valid").redis.enabled());
    assert!(config(&[("REDIS_URL", "redis://h")]).expect("valid").redis.enabled());
    assert!(!config(&[("REDIS_URL", "redis://h"), ("REDIS_ENABLE", "false")]).expect("valid").redis.enabled());
    assert!(problem(&[("REDIS_ENABLE", "true")]).contains("REDIS_URL"));
}

#[test]
fn upstash_endpoint_is_preferred() {
    let config = config(&[("REDIS_URL", "redis://local"), ("UPSTASH_REDIS_URL", "rediss://cloud:6379")]).expect("valid");
    assert!(matches!(config.redis.endpoint(), Some(Endpoint::Native { url, .. }) if url.host() == "cloud"));
}

#[test]
fn contradictions_are_refused() {
    assert!(problem(&[("SESSION_STORAGE", "redis")]).contains("SESSION_STORAGE"));
    assert!(problem(&[("SESSION_TTL", "2h"), ("SESSION_ABSOLUTE_TTL", "1h")]).contains("SESSION_ABSOLUTE_TTL"));
}

#[test]
fn rest_needs_its_pair_and_says_which_of_it_is_missing() {
    const PROTOCOL: (&str, &str) = ("REDIS_PROTOCOL", "rest");
    const URL: (&str, &str) = ("UPSTASH_REDIS_REST_URL", "https://x.example");
    const TOKEN: (&str, &str) = ("UPSTASH_REDIS_REST_TOKEN", "t0ken");
    let endpoint = config(&[PROTOCOL, URL, TOKEN, ("REDIS_URL", "redis://h"), ("UPSTASH_REDIS_URL", "rediss://h")]);
    assert!(matches!(endpoint.expect("valid").redis.endpoint(), Some(Endpoint::Rest { url, .. }) if url.host() == "x.example"));
    assert!(config(&[PROTOCOL, ("REDIS_ENABLE", "false")]).expect("valid").redis.endpoint().is_none());
    let missing = |pairs| {
        let message = problem(pairs);
        (message.contains("UPSTASH_REDIS_REST_URL=\"\""), message.contains("UPSTASH_REDIS_REST_TOKEN=\"\""))
    };
    assert_eq!(missing(&[PROTOCOL]), (true, true));
    assert_eq!(missing(&[PROTOCOL, TOKEN]), (true, false));
    assert_eq!(missing(&[PROTOCOL, URL, ("REDIS_URL", "redis://h")]), (false, true));
    // Only the REST pair, and the protocol left at its default.
    let message = problem(&[URL, TOKEN]);
    assert!(message.contains("REDIS_URL=\"\"") && message.contains("REDIS_PROTOCOL=rest"), "{message}");
    for wrong in ["rediss://x.example", "https://user:hunter2@x.example", "https://x.example/?_token=hunter2", "x.example"] {
        let message = problem(&[PROTOCOL, TOKEN, ("UPSTASH_REDIS_REST_URL", wrong)]);
        assert!(message.contains("https:// URL") && !message.contains("hunter2"), "{message}");
        assert!(message.starts_with("1 setting is wrong"), "{message}");
    }
    let message = problem(&[PROTOCOL, URL, ("UPSTASH_REDIS_REST_TOKEN", "Bearer hunter2")]);
    assert!(message.contains("without spaces") && !message.contains("hunter2"), "{message}");
}

#[test]
fn a_redis_url_that_the_client_makes_nothing_of_is_refused_at_the_start() {
    for variable in ["REDIS_URL", "UPSTASH_REDIS_URL"] {
        for good in [
            "redis://h",
            "redis://h/",
            "redis://h:6380/15",
            "rediss://user:p%40ss@h/0?protocol=3",
            "redis://h?protocol=resp2",
            "redis://[::1]",
        ] {
            assert!(config(&[(variable, good)]).is_ok(), "{good}");
        }
        for (wrong, expected) in [
            ("h:6379", "expected redis://"),
            ("http://h", "expected redis://"),
            ("redis://:hunter2@h/notanumber", "expected the number of a database"),
            ("redis://:hunter2@h/-1", "expected the number of a database"),
            ("redis://:hunter2@h/0/1", "expected the number of a database"),
            ("redis://:hunter2@h/99999999999", "expected the number of a database"),
            ("redis://:hunter2@h/?protocol=9", "expected nothing behind the ? but protocol=2 or protocol=3"),
            ("redis://h/?password=hunter2", "expected nothing behind the ? but"),
            ("rediss://:hunter2@h/#insecure", "certificates are always checked"),
            ("redis://:hunter2@h/#", "certificates are always checked"),
            ("redis://:hunter2@0.0.0.0", "expected the host of a Redis"),
            ("redis://:hunter2@[::]", "expected the host of a Redis"),
        ] {
            let message = problem(&[(variable, wrong)]);
            assert!(message.contains(expected) && message.contains(variable), "{wrong}: {message}");
            assert!(message.starts_with("1 setting is wrong") && !message.contains("hunter2"), "{message}");
        }
    }
}

#[test]
fn half_of_what_leads_to_a_redis_is_not_passed_over() {
    const URL: (&str, &str) = ("UPSTASH_REDIS_REST_URL", "https://x.example");
    const TOKEN: (&str, &str) = ("UPSTASH_REDIS_REST_TOKEN", "hunter2");
    const PASSWORD: (&str, &str) = ("REDIS_PASSWORD", "hunter2");
    const NATIVE: (&str, &str) = ("REDIS_URL", "redis://h");
    const OFF: (&str, &str) = ("REDIS_ENABLE", "false");
    let unset = |names: &[&'static str]| names.iter().map(|name| (*name, "")).collect::<Vec<_>>();
    for (pairs, missing) in [
        ([vec![TOKEN], vec![]], "UPSTASH_REDIS_REST_URL=\"\""),
        ([vec![TOKEN], unset(&["UPSTASH_REDIS_REST_URL", "REDIS_URL"])], "UPSTASH_REDIS_REST_URL=\"\""),
        ([vec![TOKEN], vec![NATIVE, ("REDIS_PROTOCOL", "native")]], "UPSTASH_REDIS_REST_URL=\"\""),
        ([vec![URL], vec![]], "UPSTASH_REDIS_REST_TOKEN=\"\""),
        ([vec![URL], vec![NATIVE]], "UPSTASH_REDIS_REST_TOKEN=\"\""),
        (
            [vec![PASSWORD], unset(&["REDIS_URL", "UPSTASH_REDIS_URL"])],
            "REDIS_URL=\"\": expected the endpoint that REDIS_PASSWORD",
        ),
    ] {
        let message = problem(&pairs.concat());
        assert!(message.contains(missing) && !message.contains("hunter2"), "{message}");
        assert!(config(&[pairs.concat(), vec![OFF]].concat()).is_ok(), "{message}");
    }
    assert!(config(&[PASSWORD, NATIVE]).is_ok());
    for quoted in ["\"hunter2\"", "'hunter2'", "hunter2\""] {
        let message = problem(&[URL, ("UPSTASH_REDIS_REST_TOKEN", quoted), ("REDIS_PROTOCOL", "rest")]);
        assert!(message.contains("without spaces or quotes around it") && !message.contains("hunter2"), "{message}");
    }
}

#[test]
fn a_rest_pair_that_is_not_used_is_noticed_unless_upstash_is_used_natively() {
    let pair = [("UPSTASH_REDIS_REST_URL", "https://x.example"), ("UPSTASH_REDIS_REST_TOKEN", "t0ken")];
    let ignores = |more: &[(&str, &str)]| config(&[&pair, more].concat()).expect("valid").redis.ignores_rest();
    assert!(ignores(&[("REDIS_URL", "redis://h")]));
    assert!(!ignores(&[("REDIS_URL", "redis://h"), ("UPSTASH_REDIS_URL", "rediss://x.example")]));
    assert!(!ignores(&[("UPSTASH_REDIS_URL", "rediss://x.example"), ("REDIS_PROTOCOL", "native"), ("REDIS_ENABLE", "true")]));
    assert!(!ignores(&[("REDIS_URL", "redis://h"), ("REDIS_PROTOCOL", "rest")]));
    assert!(!ignores(&[("REDIS_URL", "redis://h"), ("REDIS_ENABLE", "false")]));
}

#[test]
fn previous_keys_are_few_and_all_different() {
    let (one, two) = ("ab".repeat(32), "cd".repeat(32));
    let keys =
        config(&[("TOKEN_ENCRYPTION_KEY", &one), ("TOKEN_ENCRYPTION_KEYS_PREVIOUS", &format!("{two}, {},", "ef".repeat(32)))]);
    assert_eq!(keys.expect("valid").session.token_encryption_keys_previous.len(), 2);
    let many: Vec<String> = (10..19).map(|digits| digits.to_string().repeat(32)).collect();
    for wrong in [one.clone(), format!("{two},{two}"), "hunter2".to_owned(), format!("{two};{two}"), many.join(",")] {
        let message = problem(&[("TOKEN_ENCRYPTION_KEY", &one), ("TOKEN_ENCRYPTION_KEYS_PREVIOUS", &wrong)]);
        assert!(message.contains("TOKEN_ENCRYPTION_KEYS_PREVIOUS=\"********\": expected"), "{message}");
        assert!(!message.contains("hunter2") && !message.contains("abab") && !message.contains("cdcd"), "{message}");
    }
}

#[test]
fn an_empty_value_counts_as_unset() {
    assert_eq!(config(&[("SESSION_TTL", ""), ("REDIS_URL", "  ")]).expect("valid").session.ttl, Duration::from_secs(3600));
}

#[test]
fn heartbeat_timeout_is_bounded_by_the_interval() {
    let timeout = |pairs: &[(&str, &str)]| config(pairs).expect("valid").replica.timeout();
    assert_eq!(timeout(&[]), Duration::from_secs(10));
    assert_eq!(timeout(&[("AGENTAPI_HEARTBEAT_INTERVAL", "60s")]), Duration::from_secs(300));
    assert_eq!(timeout(&[("AGENTAPI_HEARTBEAT_TIMEOUT", "8s")]), Duration::from_secs(8));
    assert_eq!(timeout(&[("AGENTAPI_HEARTBEAT_TIMEOUT", "1h")]), Duration::from_secs(3600));
    let message = problem(&[("AGENTAPI_HEARTBEAT_INTERVAL", "5s"), ("AGENTAPI_HEARTBEAT_TIMEOUT", "19s")]);
    let expected =
        r#"AGENTAPI_HEARTBEAT_TIMEOUT="19000ms": expected four times AGENTAPI_HEARTBEAT_INTERVAL (20000ms) or more, up to 1h"#;
    assert!(message.contains(expected), "{message}");
    for wrong in ["2h", "0", "soon"] {
        assert!(problem(&[("AGENTAPI_HEARTBEAT_TIMEOUT", wrong)]).contains("AGENTAPI_HEARTBEAT_TIMEOUT"), "{wrong}");
    }
}
