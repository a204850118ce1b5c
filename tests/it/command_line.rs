//! The command line.

use std::net::TcpListener;

use crate::support::{ServerBuilder, TestDatabase};

#[tokio::test]
async fn wrong_settings_stop_the_start_with_every_one_of_them_named() {
    let builder = ServerBuilder::embedded()
        .env("REDIS_MAX_POOL_SIZE", "lots")
        .env("SESSION_TTL", "soon")
        .env("TOKEN_ENCRYPTION_KEY", "hunter2");
    for command in ["serve", "migrate", "config"] {
        let (code, out, error) = builder.run(&[command], "").await;
        assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
        for part in [
            "3 settings are wrong",
            "REDIS_MAX_POOL_SIZE=\"lots\": expected a whole number from 1 to 1000",
            "SESSION_TTL=\"soon\": expected a duration",
            "TOKEN_ENCRYPTION_KEY=\"********\": expected 64 hexadecimal digits",
        ] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_file_of_settings_is_read_and_the_environment_wins() {
    let builder = ServerBuilder::embedded().env("RATE_LIMIT_BURST_SIZE", "3");
    let file = "# a comment\nexport SESSION_TTL=2m\nRATE_LIMIT_BURST_SIZE=7\nREDIS_URL='redis://:hunter2@example.org'\n";
    std::fs::write(builder.data_dir().join(".env"), file).expect("written");
    let out = builder.done(&["config"], "").await;
    for line in ["SESSION_TTL=120s", "RATE_LIMIT_BURST_SIZE=3", "REDIS_URL=redis://:********@example.org"] {
        assert!(out.lines().any(|shown| shown == line), "{line} is not in {out}");
    }
    std::fs::write(builder.data_dir().join(".env"), "what is this\n").expect("written");
    let (code, _, error) = builder.run(&["config"], "").await;
    assert_eq!((code, error.contains("file .env")), (Some(1), true), "{error}");
}

#[tokio::test]
async fn tenants_and_users_are_managed() {
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database);
    let server = builder.start().await;
    for (args, input, code, expected) in [
        (&["tenant", "create", "acme", "--name", "Acme Inc."][..], "", 0, "Acme Inc."),
        (&["tenant", "create", "acme"], "", 1, "there is a tenant acme already"),
        (&["tenant", "create", "No Slug"], "", 2, "lower-case letters"),
        (&["user", "create", "acme", "ada@acme.example", "--role", "admin"], "correct horse\n", 0, "ada@acme.example\tadmin"),
        (&["user", "create", "acme", "ada@acme.example"], "correct horse\n", 1, "has a user ada@acme.example already"),
        (&["user", "create", "acme", "bob@acme.example"], "short\n", 1, "at least 12 characters"),
        (&["user", "create", "nowhere", "bob@acme.example"], "correct horse\n", 1, "there is no tenant nowhere"),
        (&["user", "create", "acme", "bob@acme.example", "--role", "king"], "", 2, "member, admin or operator"),
        (&["user", "create", "acme", "no address"], "", 2, "e-mail address"),
        (&["user", "list", "acme"], "", 0, "ada@acme.example\tadmin"),
        (&["tenant", "list"], "", 0, "acme\tAcme Inc."),
        (&["user", "passwd", "acme", "nobody@acme.example"], "battery staple\n", 1, "has no user nobody@acme.example"),
    ] {
        let (actual, out, error) = builder.run(args, input).await;
        assert_eq!(actual, Some(code), "{args:?}: {out}{error}");
        assert!(format!("{out}{error}").contains(expected), "{args:?}: {out}{error}");
    }
    server.anonymous().log_in("acme", "ada@acme.example", "correct horse").await.get("/v1/agents").await.ok();
    builder.done(&["user", "passwd", "acme", "ada@acme.example"], "battery staple\n").await;
    server.anonymous().log_in("acme", "ada@acme.example", "battery staple").await;
    let old = serde_json::json!({"tenant": "acme", "email": "ada@acme.example", "password": "correct horse"});
    assert_eq!(server.anonymous().post("/v1/auth/login", old).await.problem(401), "invalid_credentials");
}

#[tokio::test]
async fn a_taken_port_is_said_at_once() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let (code, _, error) = ServerBuilder::embedded().env("AGENTAPI_PORT", &port).run(&["serve"], "").await;
    assert_eq!(code, Some(1));
    assert!(error.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{error}");
}

#[tokio::test]
async fn the_api_document_is_printed() {
    let (code, out, _) = ServerBuilder::embedded().run(&["openapi"], "").await;
    let document: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &document["openapi"]), (Some(0), &serde_json::json!("3.1.0")));
}
