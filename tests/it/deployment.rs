//! The deployment's files against `docs/DOCKER_REDIS_SETUP.md` and against the settings that the server knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use agentapi::config::{Config, Endpoint};
use serde_yaml_ng::Value;

const COMPOSE_FILE: &str = "docker-compose.multitenant.yml";

/// Variables of the compose file that the server does not know.
const COMPOSE_ONLY: [&str; 6] = [
    "POSTGRES_PASSWORD",
    "REDIS_PORT",
    "REDIS_MAX_MEMORY",
    "REDIS_INSIGHTS_PORT",
    "AGENTAPI_BUILD_PROFILE",
    "AGENTAPI_IMAGE_TAG",
];

/// Variables whose value in the container does not come from `.env`: they are facts of the container.
const FIXED_IN_COMPOSE: [&str; 4] = ["AGENTAPI_HOST", "AGENTAPI_PORT", "AGENTAPI_DATA_DIR", "DATABASE_URL"];

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn compose(name: &str) -> Value {
    serde_yaml_ng::from_str(&file(name)).expect("is YAML")
}

/// The value at a path such as `services.redis.image`.
fn at<'a>(yaml: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(yaml, |value, key| value.get(key).unwrap_or_else(|| panic!("{path}: there is no {key}")))
}

fn text<'a>(yaml: &'a Value, path: &str) -> &'a str {
    at(yaml, path).as_str().unwrap_or_else(|| panic!("{path} is not text"))
}

fn texts<'a>(yaml: &'a Value, path: &str) -> Vec<&'a str> {
    let items = at(yaml, path).as_sequence().unwrap_or_else(|| panic!("{path} is not a list"));
    items.iter().map(|item| item.as_str().unwrap_or_else(|| panic!("{path}: {item:?} is not text"))).collect()
}

fn keys(yaml: &Value, path: &str) -> BTreeSet<String> {
    let mapping = at(yaml, path).as_mapping().unwrap_or_else(|| panic!("{path} is not a mapping"));
    mapping.keys().map(|key| key.as_str().expect("keys are text").to_owned()).collect()
}

/// `name`, and the text after `:-`, of each `${name:-default}` in `text`.
fn references(text: &str) -> Vec<(&str, Option<&str>)> {
    text.split("${")
        .skip(1)
        .map(|rest| {
            let inside = rest.split_once('}').expect("closes").0;
            match inside.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (inside.split(":?").next().unwrap_or(inside), None),
            }
        })
        .collect()
}

/// The lines `NAME=value` of .env.example, in order.
fn env_example() -> Vec<(String, String)> {
    let split = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let example = file(".env.example");
    example.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| split(line).expect(line)).collect()
}

/// What the server knows, with defaults; the data directory depends on who asks and is left empty.
fn settings() -> BTreeMap<String, String> {
    let mut shown: BTreeMap<_, _> = Config::default().show().into_iter().collect();
    shown.insert("AGENTAPI_DATA_DIR".to_owned(), String::new());
    shown
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn services_are_those_of_the_guide() {
    let yaml = compose(COMPOSE_FILE);
    for (path, expected) in [
        ("services.redis.image", "redis:7-alpine"),
        ("services.redis-insights.image", "redislabs/redisinsight:latest"),
        ("services.agentapi.build.context", "."),
    ] {
        assert_eq!(text(&yaml, path), expected, "{path}");
    }
    assert!(["postgres:16-alpine", "postgres:17-alpine"].contains(&text(&yaml, "services.postgres.image")));
    assert_eq!(texts(&yaml, "services.redis-insights.profiles"), ["development", "debug"]);
    for service in ["agentapi", "postgres", "redis"] {
        assert!(at(&yaml, "services").get(service).and_then(|it| it.get("profiles")).is_none(), "{service} is always on");
    }
}

#[test]
fn ports_are_those_of_the_guide() {
    let yaml = compose(COMPOSE_FILE);
    assert_eq!(texts(&yaml, "services.agentapi.ports"), ["${AGENTAPI_PORT:-3284}:3284"]);
    assert_eq!(texts(&yaml, "services.redis.ports"), ["127.0.0.1:${REDIS_PORT:-6379}:6379"]);
    assert_eq!(texts(&yaml, "services.redis-insights.ports"), ["127.0.0.1:${REDIS_INSIGHTS_PORT:-8001}:8001"]);
    assert_eq!(text(&yaml, "services.redis-insights.environment.RI_APP_PORT"), "8001");
}

#[test]
fn redis_keeps_snapshots_and_a_log_within_its_memory() {
    let yaml = compose(COMPOSE_FILE);
    let command = texts(&yaml, "services.redis.command").join(" ");
    assert_eq!(
        command,
        "redis-server --appendonly yes --save 900 1 --save 300 10 --save 60 10000 \
         --maxmemory ${REDIS_MAX_MEMORY:-256mb} --maxmemory-policy allkeys-lru --requirepass ${REDIS_PASSWORD:-}"
    );
    assert_eq!(text(&yaml, "services.redis.environment.REDISCLI_AUTH"), "${REDIS_PASSWORD:-}");
}

#[test]
fn health_checks_are_those_of_the_guide() {
    let yaml = compose(COMPOSE_FILE);
    for (service, asks, interval, timeout, retries) in [
        ("agentapi", "http://localhost:3284/status", "30s", "10s", 3),
        ("redis", "redis-cli ping", "10s", "5s", 5),
        ("postgres", "pg_isready", "10s", "5s", 5),
    ] {
        let path = |key: &str| format!("services.{service}.healthcheck.{key}");
        assert!(texts(&yaml, &path("test")).join(" ").contains(asks), "{service}");
        assert_eq!(text(&yaml, &path("interval")), interval, "{service}");
        assert_eq!(text(&yaml, &path("timeout")), timeout, "{service}");
        assert_eq!(at(&yaml, &path("retries")).as_u64(), Some(retries), "{service}");
    }
    let dockerfile = file("Dockerfile");
    assert!(dockerfile.contains("HEALTHCHECK --interval=30s --timeout=10s --retries=3"), "the image has the same check");
    assert!(dockerfile.contains("EXPOSE 3284"));
}

#[test]
fn agentapi_waits_for_healthy_stores() {
    let yaml = compose(COMPOSE_FILE);
    assert_eq!(keys(&yaml, "services.agentapi.depends_on"), names(&["postgres", "redis"]));
    for store in ["postgres", "redis"] {
        assert_eq!(text(&yaml, &format!("services.agentapi.depends_on.{store}.condition")), "service_healthy");
    }
    assert_eq!(at(&yaml, "services.agentapi.init").as_bool(), Some(true));
}

#[test]
fn only_agentapi_depends_on_redis_so_that_the_service_can_be_taken_out() {
    let yaml = compose(COMPOSE_FILE);
    for service in keys(&yaml, "services").iter().filter(|service| *service != "agentapi") {
        let dependencies = at(&yaml, "services").get(service).and_then(|service| service.get("depends_on"));
        assert!(dependencies.and_then(|dependencies| dependencies.get("redis")).is_none(), "{service}");
    }
}

#[test]
fn resources_are_those_of_the_guide() {
    let yaml = compose(COMPOSE_FILE);
    for (service, cpus, memory, reserved_cpus, reserved_memory) in
        [("redis", "0.5", "512M", "0.25", "256M"), ("redis-insights", "0.25", "256M", "0.1", "128M")]
    {
        let path = |key: &str| format!("services.{service}.{key}");
        assert_eq!(text(&yaml, &path("deploy.resources.limits.cpus")), cpus);
        assert_eq!(text(&yaml, &path("deploy.resources.limits.memory")), memory);
        assert_eq!(text(&yaml, &path("deploy.resources.reservations.cpus")), reserved_cpus);
        assert_eq!(text(&yaml, &path("deploy.resources.reservations.memory")), reserved_memory);
    }
}

#[test]
fn volumes_and_network_are_those_of_the_guide() {
    let yaml = compose(COMPOSE_FILE);
    for (volume, folder) in [("redis_data", "redis"), ("redis_insights_data", "redis-insights")] {
        assert_eq!(text(&yaml, &format!("volumes.{volume}.driver")), "local");
        assert_eq!(text(&yaml, &format!("volumes.{volume}.driver_opts.device")), format!("${{PWD:-.}}/data/{folder}"));
        let made = texts(&yaml, "services.data-folders.entrypoint");
        assert!(made.contains(&format!("/data/{folder}").as_str()), "{folder} is made before it is mounted");
    }
    assert!(texts(&yaml, "services.redis.volumes").contains(&"redis_data:/data:nocopy"));
    assert!(texts(&yaml, "services.redis-insights.volumes").contains(&"redis_insights_data:/data:nocopy"));
    assert_eq!(text(&yaml, "networks.agentapi-network.driver"), "bridge");
    let subnets = at(&yaml, "networks.agentapi-network.ipam.config");
    assert_eq!(subnets.get(0).and_then(|it| it.get("subnet")).and_then(Value::as_str), Some("172.20.0.0/16"));
    for service in ["agentapi", "postgres", "redis", "redis-insights"] {
        assert_eq!(texts(&yaml, &format!("services.{service}.networks")), ["agentapi-network"], "{service}");
    }
}

#[test]
fn agentapi_gets_the_variables_and_defaults_of_the_guide() {
    let yaml = compose(COMPOSE_FILE);
    for (variable, default) in [
        ("REDIS_ENABLE", "true"),
        ("REDIS_PROTOCOL", "native"),
        ("UPSTASH_REDIS_REST_URL", ""),
        ("UPSTASH_REDIS_REST_TOKEN", ""),
        ("UPSTASH_REDIS_URL", ""),
        ("REDIS_URL", "redis://redis:6379"),
        ("REDIS_MAX_POOL_SIZE", "10"),
        ("REDIS_CONNECTION_TIMEOUT", "5s"),
        ("RATE_LIMIT_ENABLED", "true"),
        ("RATE_LIMIT_REQUESTS_PER_MINUTE", "60"),
        ("RATE_LIMIT_BURST_SIZE", "10"),
        ("CIRCUIT_BREAKER_ENABLED", "true"),
        ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "5"),
        ("CIRCUIT_BREAKER_SUCCESS_THRESHOLD", "2"),
        ("CIRCUIT_BREAKER_TIMEOUT", "30s"),
        ("SESSION_STORAGE", "redis"),
        ("SESSION_TTL", "3600s"),
        ("SESSION_CLEANUP_INTERVAL", "300s"),
        ("TOKEN_ENCRYPTION_KEY", ""),
    ] {
        let value = text(&yaml, &format!("services.agentapi.environment.{variable}"));
        assert_eq!(value, format!("${{{variable}:-{default}}}"));
    }
}

#[test]
fn agentapi_gets_every_variable_that_the_server_knows_and_no_other() {
    let yaml = compose(COMPOSE_FILE);
    assert_eq!(keys(&yaml, "services.agentapi.environment"), settings().into_keys().collect());
}

#[test]
fn compose_defaults_are_the_servers_own_but_for_redis() {
    let yaml = compose(COMPOSE_FILE);
    let differs = names(&["REDIS_ENABLE", "REDIS_URL", "SESSION_STORAGE"]);
    for (variable, default) in settings() {
        if differs.contains(&variable) || FIXED_IN_COMPOSE.contains(&variable.as_str()) {
            continue;
        }
        let value = text(&yaml, &format!("services.agentapi.environment.{variable}"));
        assert_eq!(references(value), [(variable.as_str(), Some(default.as_str()))]);
    }
}

/// The container's settings with these lines of `.env`.
fn container(env: &BTreeMap<&str, &str>) -> Config {
    let yaml = compose(COMPOSE_FILE);
    let variables = keys(&yaml, "services.agentapi.environment").into_iter().map(|variable| {
        let mut value = text(&yaml, &format!("services.agentapi.environment.{variable}")).to_owned();
        for (name, default) in references(&value.clone()) {
            let default = default.expect("every reference has a default");
            value = value.replace(&format!("${{{name}:-{default}}}"), env.get(name).unwrap_or(&default));
        }
        (variable, value)
    });
    Config::from_variables(&variables.collect()).expect("is accepted")
}

#[test]
fn the_containers_settings_are_accepted_without_env_file() {
    let config = container(&BTreeMap::new());
    assert!(config.redis.enabled());
    assert!(config.server.allowed_hosts.iter().any(|host| host == "agentapi"), "other containers call it by this name");
}

#[test]
fn the_guides_lines_for_rest_do_without_the_second_file() {
    let guide = file("docs/DOCKER_REDIS_SETUP.md");
    let lines = guide.lines().filter_map(|line| line.trim().split_once('='));
    let rest = lines.filter(|(name, _)| *name == "REDIS_PROTOCOL" || name.starts_with("UPSTASH_REDIS_REST_"));
    let config = container(&rest.collect());
    assert!(matches!(config.redis.endpoint(), Some(Endpoint::Rest { .. })));
}

#[test]
fn env_example_has_every_variable_with_its_default_and_no_other() {
    let mut expected = settings();
    let yaml = file(COMPOSE_FILE);
    let compose_defaults: BTreeMap<_, _> = references(&yaml).into_iter().collect();
    for variable in COMPOSE_ONLY {
        let default = compose_defaults.get(variable).copied().flatten().unwrap_or_else(|| panic!("{variable} has no default"));
        expected.insert(variable.to_owned(), default.to_owned());
    }
    let example = env_example();
    assert_eq!(example.len(), expected.len(), "no variable twice");
    assert_eq!(example.into_iter().collect::<BTreeMap<_, _>>(), expected);
}

#[test]
fn env_example_has_every_variable_of_the_compose_files() {
    let known: BTreeSet<_> = env_example().into_iter().map(|(name, _)| name).collect();
    for name in [COMPOSE_FILE, "docker-compose.upstash.yml", "docker-compose.upstash-rest.yml"] {
        for (variable, _) in references(&file(name)) {
            // The shell's.
            assert!(known.contains(variable) || variable == "PWD", "{variable} of {name}");
        }
    }
}

#[test]
fn env_example_is_accepted_as_it_is() {
    let config = Config::from_variables(&env_example().into_iter().collect()).expect("is accepted");
    assert!(!config.redis.enabled(), "a server on its own needs no Redis");
}

/// The first column of the reference's tables is the variable, the second its default.
#[test]
fn the_reference_has_every_variable_with_its_default_and_no_other() {
    let reference = file("docs/REDIS_CONFIGURATION.md");
    let documented: BTreeMap<_, _> = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once("` | "))
        .filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .map(|(name, rest)| {
            let default = rest.split(" | ").next().unwrap_or_default().trim_matches('`');
            (name.to_owned(), if default == "unset" { "" } else { default }.to_owned())
        })
        .collect();
    let mut expected: BTreeMap<_, _> = env_example().into_iter().collect();
    // The one whose default is not one value.
    expected.insert("AGENTAPI_DATA_DIR".to_owned(), documented.get("AGENTAPI_DATA_DIR").cloned().unwrap_or_default());
    assert_eq!(documented, expected);
}

#[test]
fn the_upstash_files_take_the_local_redis_out_and_ask_for_what_they_need() {
    for (name, needed) in [
        ("docker-compose.upstash.yml", &["UPSTASH_REDIS_URL"][..]),
        ("docker-compose.upstash-rest.yml", &["UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"]),
    ] {
        let yaml = compose(name);
        assert_eq!(at(&yaml, "services.redis.scale").as_u64(), Some(0), "{name}");
        assert_eq!(text(&yaml, "services.agentapi.environment.REDIS_URL"), "", "{name}");
        for variable in needed {
            let value = text(&yaml, &format!("services.agentapi.environment.{variable}"));
            assert!(value.starts_with(&format!("${{{variable}:?")), "{name}: {value}");
        }
    }
    let rest = compose("docker-compose.upstash-rest.yml");
    assert_eq!(text(&rest, "services.agentapi.environment.REDIS_PROTOCOL"), "rest");
}
