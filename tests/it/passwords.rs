//! Which passwords may be set.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, SaltString};
use sqlx::Executor;

use crate::support::{PASSWORD, ServerBuilder, TestDatabase};

/// Passwords that are refused for `ada@acme.example` of tenant `acme`, "Acme Rockets", and what is said of them.
const REFUSED: [(&str, &str); 14] = [
    ("short", "at least 12 characters"),
    ("12345678901", "at least 12 characters"),
    ("ünïcödéööö1", "at least 12 characters"),
    ("            ", "more than a few different characters"),
    ("abcabcabcabcabc", "more than a few different characters"),
    ("123456789012", "not a sequence"),
    ("zyxwvutsrqponm", "not a sequence"),
    ("qwerty123456", "not a common password"),
    ("QwertyUiop123", "not a common password"),
    ("Password1234!!", "not a common password"),
    ("passwordpassword", "not a common password"),
    ("agentapi-2026!", "the name of the tenant, the user or agentapi"),
    ("acme-rockets-1", "the name of the tenant, the user or agentapi"),
    ("Ada@acme.example", "the name of the tenant, the user or agentapi"),
];

#[tokio::test]
async fn weak_passwords_are_refused_with_the_reason() {
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database);
    builder.done(&["tenant", "create", "acme", "--name", "Acme Rockets"], "").await;
    builder.done(&["user", "create", "acme", "ada@acme.example"], "a rather long sentence\n").await;
    for command in [["user", "create", "acme", "ada@acme.example"], ["user", "passwd", "acme", "ada@acme.example"]] {
        for (password, reason) in REFUSED {
            let (code, out, error) = builder.run(&command, &format!("{password}\n")).await;
            assert_eq!((code, out.as_str()), (Some(1), ""), "{password}: {error}");
            assert!(error.contains(reason), "{password}: {error}");
            assert!(password.len() < 8 || !error.contains(password), "{error}");
        }
    }
    let (code, _, error) = builder.run(&["user", "passwd", "acme", "ada@acme.example"], &"long ".repeat(300)).await;
    assert_eq!((code, error.contains("at most 1024 bytes")), (Some(1), true), "{error}");
    for good in ["correct horse", "Tr0ub4dor&3xy", "пароль длинный", "my acme rockets fly far"] {
        builder.done(&["user", "passwd", "acme", "ada@acme.example"], &format!("{good}\n")).await;
    }
}

#[tokio::test]
async fn first_operators_password_meets_the_same_rules() {
    for (password, reason) in [("correct hor", "at least 12 characters"), ("admin-default", "the name of the tenant")] {
        let database = TestDatabase::create().await;
        let builder = ServerBuilder::new(&database);
        let (code, _, error) = builder.clone().env("AGENTAPI_ADMIN_PASSWORD", password).run(&["serve"], "").await;
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains("AGENTAPI_ADMIN_PASSWORD") && error.contains(reason), "{error}");
        assert!(!error.contains(password), "{error}");
        // Nothing was made that the next start would take for an operator.
        builder.start().await.operator().await;
    }
}

#[tokio::test]
async fn shortest_password_is_a_setting() {
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database).env("AGENTAPI_PASSWORD_MIN_LENGTH", "16");
    let server = builder.start().await;
    let create = ["user", "create", "default", "ada@localhost"];
    let (code, _, error) = builder.run(&create, "fifteen letters\n").await;
    assert_eq!((code, error.contains("at least 16 characters")), (Some(1), true), "{error}");
    builder.clone().env("AGENTAPI_PASSWORD_MIN_LENGTH", "8").done(&create, "tuff8ltr\n").await;
    server.anonymous().log_in("default", "ada@localhost", "tuff8ltr").await;
    for wrong in ["7", "65", "many"] {
        let (code, _, error) = builder.clone().env("AGENTAPI_PASSWORD_MIN_LENGTH", wrong).run(&["config"], "").await;
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains("AGENTAPI_PASSWORD_MIN_LENGTH") && error.contains("from 8 to 64"), "{error}");
    }
}

#[tokio::test]
async fn password_from_before_the_rules_still_logs_in() {
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database);
    let server = builder.start().await;
    let salt = SaltString::encode_b64(b"sixteen bytes xx").expect("a salt");
    // With a composed character in two parts, as it was hashed before.
    for old in ["password", "cafe\u{301}1234"] {
        let hash = Argon2::default().hash_password(old.as_bytes(), &salt).expect("a hash").to_string();
        let update = sqlx::query("UPDATE users SET password_hash = $1").bind(hash);
        database.connect().await.execute(update).await.expect("changed");
        server.anonymous().log_in("default", "admin@localhost", old).await;
    }
}

#[tokio::test]
async fn password_is_the_same_however_its_characters_are_composed() {
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database);
    let server = builder.start().await;
    server.anonymous().log_in("default", "admin@localhost", PASSWORD).await;
    builder.done(&["user", "passwd", "default", "admin@localhost"], "un cafe\u{301} noir\n").await;
    for written in ["un cafe\u{301} noir", "un caf\u{e9} noir"] {
        server.anonymous().log_in("default", "admin@localhost", written).await;
    }
}
