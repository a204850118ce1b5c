//! The HTTP surface of a single agent: hosts, origins, methods, schemas, the API document.

use reqwest::{Method, redirect};
use serde_json::Value;

use crate::support::{Answer, ECHO, Single, SingleBuilder};

async fn ask(single: &Single, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let http = reqwest::Client::builder().redirect(redirect::Policy::none()).build().expect("a client");
    let request = http.request(method, format!("{}{path}", single.url));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    single.client.send(request).await
}

fn all(answer: &Answer, name: &str) -> Vec<String> {
    answer.headers.get_all(name).iter().map(|value| value.to_str().expect("text").to_owned()).collect()
}

const REFUSED: &str = "Invalid host header. Allowed hosts: localhost, 127.0.0.1, ::1\n";

#[tokio::test]
async fn only_hosts_on_the_list_are_answered() {
    let single = SingleBuilder::new(&ECHO).start().await;
    for host in ["localhost", "localhost:3284", "LocalHost:1", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:3284"] {
        assert_eq!(ask(&single, Method::GET, "/status", &[("host", host)]).await.status, 200, "{host}");
    }
    for host in ["evil.com", "localhost.", "localhost.evil.com", "0.0.0.0", "example.com:3284", "", "a b"] {
        for (method, path) in
            [(Method::GET, "/status"), (Method::GET, "/nowhere"), (Method::POST, "/message"), (Method::GET, "/")]
        {
            let answer = ask(&single, method, path, &[("host", host), ("origin", "http://localhost:3000")]).await;
            assert_eq!((answer.status.as_u16(), answer.text.as_str()), (400, REFUSED), "{host} {path}");
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!((answer.header("vary"), answer.header("access-control-allow-origin")), ("", ""));
        }
    }
    let preflight = [("host", "evil.com"), ("origin", "http://localhost:3000"), ("access-control-request-method", "GET")];
    assert_eq!(ask(&single, Method::OPTIONS, "/status", &preflight).await.status, 400);
    let single = SingleBuilder::new(&ECHO).env("AGENTAPI_ALLOWED_HOSTS", "Example.com *").start().await;
    assert_eq!(ask(&single, Method::GET, "/status", &[("host", "anything.at.all")]).await.status, 200);
    let single = SingleBuilder::new(&ECHO).flags(&["--allowed-hosts", "Example.com"]).start().await;
    assert_eq!(ask(&single, Method::GET, "/status", &[("host", "example.COM:443")]).await.status, 200);
    let refused = ask(&single, Method::GET, "/status", &[("host", "localhost")]).await;
    assert_eq!(refused.text, "Invalid host header. Allowed hosts: example.com\n");
}

#[tokio::test]
async fn pages_of_origins_on_the_list_may_call() {
    let single = SingleBuilder::new(&ECHO).start().await;
    for (origin, allowed) in [
        (Some("http://localhost:3284"), true),
        (Some("http://localhost:3000"), true),
        (Some("HTTP://LOCALHOST:3001"), true),
        (Some("http://localhost:3002"), false),
        (Some("https://localhost:3000"), false),
        (Some("null"), false),
        (None, false),
    ] {
        let headers: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
        let answer = ask(&single, Method::GET, "/status", &headers).await;
        assert_eq!((answer.status.as_u16(), answer.header("vary")), (200, "Origin"), "{origin:?}");
        let expected = if allowed { (origin.unwrap_or_default(), "Link", "true") } else { ("", "", "") };
        let got = ["allow-origin", "expose-headers", "allow-credentials"];
        let got = got.map(|name| answer.header(&format!("access-control-{name}")).to_owned());
        assert_eq!((got[0].as_str(), got[1].as_str(), got[2].as_str()), expected, "{origin:?}");
    }
    let refused = ask(&single, Method::HEAD, "/status", &[("origin", "http://localhost:3000")]).await;
    assert_eq!((refused.status.as_u16(), refused.header("access-control-allow-origin")), (405, ""), "{refused:?}");
    let single = SingleBuilder::new(&ECHO).flags(&["-o", "https://*.example.com,http://a.test/path"]).start().await;
    for (origin, allowed) in [("https://x.example.com", true), ("http://a.test", true), ("https://example.com", false)] {
        let answer = ask(&single, Method::GET, "/status", &[("origin", origin)]).await;
        assert_eq!(answer.header("access-control-allow-origin") == origin, allowed, "{origin}");
    }
    let single = SingleBuilder::new(&ECHO).flags(&["-o", "*"]).start().await;
    let answer = ask(&single, Method::GET, "/status", &[("origin", "https://any.where")]).await;
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("access-control-allow-credentials")), ("*", "true"));
}

#[tokio::test]
async fn preflights_are_answered_as_the_reference_does() {
    let single = SingleBuilder::new(&ECHO).start().await;
    let good = "http://localhost:3000";
    for (origin, method, headers, allowed_headers) in [
        (good, "POST", None, Some("")),
        (good, "POST", Some("content-type, x-csrf-TOKEN"), Some("Content-Type, X-Csrf-Token")),
        (good, "DELETE", Some("accept,authorization,origin"), Some("Accept, Authorization, Origin")),
        (good, "GET", Some("Last-Event-ID"), Some("Last-Event-Id")),
        (good, "PATCH", None, None),
        (good, "POST", Some("content-type,x-other"), None),
        ("http://evil.com", "POST", None, None),
    ] {
        let mut sent = vec![("origin", origin), ("access-control-request-method", method)];
        sent.extend(headers.map(|headers| ("access-control-request-headers", headers)));
        let answer = ask(&single, Method::OPTIONS, "/message", &sent).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""), "{sent:?}");
        let vary = ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"];
        assert_eq!(all(&answer, "vary"), vary, "{sent:?}");
        let names = ["allow-origin", "allow-methods", "allow-headers", "allow-credentials", "max-age"];
        let got = names.map(|name| answer.header(&format!("access-control-{name}")).to_owned());
        let expected = allowed_headers.map_or([""; 5], |headers| [origin, method, headers, "true", "300"]);
        assert_eq!(got, expected.map(str::to_owned), "{sent:?}");
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_as_the_reference_does() {
    let single = SingleBuilder::new(&ECHO).start().await;
    for path in ["/nowhere", "/status/", "/internal", "/v1/agents", "/chat/x"] {
        let answer = ask(&single, Method::GET, path, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (404, "404 page not found\n"), "{path}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    for (path, allowed) in [
        ("/status", "GET"),
        ("/messages", "GET"),
        ("/events", "GET"),
        ("/internal/screen", "GET"),
        ("/openapi.json", "GET"),
        ("/message", "POST"),
        ("/upload", "POST"),
    ] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS] {
            if method == allowed {
                continue;
            }
            let answer = ask(&single, method.clone(), path, &[]).await;
            assert_eq!((answer.status.as_u16(), answer.text.as_str()), (405, ""), "{method} {path}");
            assert_eq!(answer.header("allow"), allowed, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_root_leads_to_where_the_chat_is() {
    for (base, location) in
        [(None, "/chat/embed"), (Some("/"), "/embed"), (Some("/x/chat/"), "/x/chat/embed"), (Some("/y"), "/y/embed")]
    {
        let flags: Vec<&str> = base.map(|base| ["--chat-base-path", base]).into_iter().flatten().collect();
        let single = SingleBuilder::new(&ECHO).flags(&flags).start().await;
        for method in [Method::GET, Method::POST] {
            let answer = ask(&single, method, "/", &[]).await;
            assert_eq!((answer.status.as_u16(), answer.header("location")), (307, location));
        }
        for page in ["/chat", "/chat/", "/chat/embed", "/chat/embed/?url=x"] {
            let answer = ask(&single, Method::GET, page, &[]).await;
            assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "text/html; charset=utf-8"), "{page}");
        }
    }
}

#[tokio::test]
async fn answers_name_their_schema_by_the_host_that_was_asked() {
    let single = SingleBuilder::new(&ECHO).flags(&["-a", "*"]).start_stable().await;
    for (host, base) in [
        ("localhost:3284", "http://localhost:3284"),
        ("127.0.0.1", "http://127.0.0.1"),
        ("localhost.test", "http://localhost.test"),
        ("Localhost", "https://Localhost"),
        ("example.com", "https://example.com"),
        ("[::1]:1", "https://[::1]:1"),
    ] {
        let answer = ask(&single, Method::GET, "/status", &[("host", host)]).await;
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("link"), "</schemas/StatusResponseBody.json>; rel=\"describedBy\"");
        let expected = format!(
            "{{\"$schema\":\"{base}/schemas/StatusResponseBody.json\",\"status\":\"stable\",\"agent_type\":\"custom\",\"transport\":\"pty\"}}\n"
        );
        assert_eq!(answer.text, expected);
    }
    let messages = ask(&single, Method::GET, "/messages", &[]).await;
    assert!(
        messages.text.contains("\"messages\":[{\"id\":0,\"content\":\"\",\"role\":\"agent\",\"time\":\""),
        "{}",
        messages.text
    );
}

#[tokio::test]
async fn times_are_those_of_the_machine() {
    let single = SingleBuilder::new(&ECHO).env("TZ", "America/New_York").start().await;
    let time = single.client.get("/messages").await.ok()["messages"][0]["time"].as_str().expect("a time").to_owned();
    assert!(time.ends_with("-05:00") || time.ends_with("-04:00"), "{time}");
}

/// Whether `value` is as `schema` says, as far as the document uses the language of schemas.
fn fits(document: &Value, schema: &Value, value: &Value) -> bool {
    if let Some(name) = schema["$ref"].as_str() {
        return fits(document, &document["components"]["schemas"][name.rsplit('/').next().expect("a name")], value);
    }
    let kind = match schema["type"].as_str() {
        Some("string") => value.is_string() && schema["enum"].as_array().is_none_or(|all| all.contains(value)),
        Some("integer") => value.is_i64(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.as_array().is_some_and(|items| items.iter().all(|item| fits(document, &schema["items"], item))),
        Some("object") => value.as_object().is_some_and(|object| {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            required.iter().all(|name| object.contains_key(name.as_str().expect("a name")))
                && object.iter().all(|(name, value)| {
                    let property = &schema["properties"][name];
                    property.is_object() && fits(document, property, value)
                })
        }),
        _ => true,
    };
    kind || (schema["nullable"] == true && value.is_null())
}

#[tokio::test]
async fn the_document_describes_what_is_answered() {
    let single = SingleBuilder::new(&ECHO).start_stable().await;
    let answer = ask(&single, Method::GET, "/openapi-3.0.json", &[]).await;
    assert_eq!(answer.header("content-type"), "application/vnd.oai.openapi+json");
    let document = answer.json();
    assert_eq!((&document["openapi"], &document["info"]["title"]), (&"3.0.3".into(), &"AgentAPI".into()));
    let paths: Vec<_> = document["paths"].as_object().expect("paths").keys().collect();
    assert_eq!(paths, ["/events", "/message", "/messages", "/status", "/upload"]);
    let operations = [
        ("/events", "get", "subscribeEvents"),
        ("/message", "post", "post-message"),
        ("/messages", "get", "get-messages"),
        ("/status", "get", "get-status"),
        ("/upload", "post", "post-upload"),
    ];
    for (path, method, id) in operations {
        assert_eq!(document["paths"][path][method]["operationId"], id);
    }
    single.client.say("", "hello").await;
    for path in ["/status", "/messages"] {
        let schema = &document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        let body = single.client.get(path).await.ok();
        assert!(fits(&document, schema, &body), "{path}: {body}");
        assert!(!fits(&document, schema, &serde_json::json!({"$schema": "x", "other": 1})));
    }
    let error = single.client.post("/message", serde_json::json!({"type": "x"})).await.json();
    assert!(fits(&document, &document["components"]["schemas"]["ErrorModel"], &error), "{error}");
    let mut events = single.client.events("").await;
    let one_of =
        document["paths"]["/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]["schema"]["items"]["oneOf"]
            .clone();
    for event in events.until("a status", |event| event.name == "status_change").await {
        let schema = one_of.as_array().expect("events").iter().find(|item| item["title"] == format!("Event {}", event.name));
        assert!(fits(&document, &schema.expect("a schema")["properties"]["data"], &event.data), "{event:?}");
    }

    let modern = ask(&single, Method::GET, "/openapi.json", &[]).await.json();
    assert_eq!(modern["openapi"], "3.1.0");
    let text = modern.to_string();
    assert!(!text.contains("nullable") && !text.contains("\"example\":"), "{text}");
    assert!(text.contains("[\"array\",\"null\"]") && text.contains("\"examples\":["), "{text}");
    for (path, version) in [("/openapi.yaml", "3.1.0"), ("/openapi-3.0.yaml", "3.0.3")] {
        let answer = ask(&single, Method::GET, path, &[]).await;
        assert_eq!(answer.header("content-type"), "application/vnd.oai.openapi+yaml");
        let document: Value = serde_yaml_ng::from_str(&answer.text).expect("YAML");
        assert_eq!(document["openapi"], version);
    }
    let schema = single.client.get("/schemas/MessagesResponseBody.json").await.ok();
    assert_eq!(schema["properties"]["messages"]["items"]["$ref"], "/schemas/Message.json");
    assert_eq!(single.client.get("/schemas/Nothing.json").await.text, "null");
    assert_eq!(single.client.get("/docs").await.status, 200);
}
