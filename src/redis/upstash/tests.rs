//! The client against a server that answers what it is told.

use std::collections::BTreeMap;

use redis::aio::ConnectionLike as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::*;

/// A link to `listener`, of at most `connections`.
pub(super) fn link(listener: &TcpListener, connections: usize) -> RestLink {
    let variables = BTreeMap::from(
        [
            ("REDIS_PROTOCOL", "rest".to_owned()),
            ("UPSTASH_REDIS_REST_URL", format!("http://{}/prefix/", listener.local_addr().expect("bound"))),
            ("UPSTASH_REDIS_REST_TOKEN", "s3cret".to_owned()),
            ("REDIS_MAX_POOL_SIZE", connections.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let settings = config::Config::from_variables(&variables).expect("valid").redis;
    let Some(config::Endpoint::Rest { url, token }) = settings.endpoint() else { panic!("REST") };
    RestLink::new(url, token, &settings).expect("a client")
}

pub(super) async fn listen() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).await.expect("a port")
}

/// Reads one request; returns its head and body.
async fn request(stream: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            if body.len() == length.parse::<usize>().expect("a number") {
                return (head.to_owned(), body.to_owned());
            }
        }
        assert_ne!(stream.read_buf(&mut bytes).await.expect("more"), 0, "{text}");
    }
}

async fn respond(stream: &mut TcpStream, status: &str, headers: &str, body: &str) {
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.expect("written");
}

async fn get(mut link: RestLink, key: &str) -> RedisResult<String> {
    redis::cmd("GET").arg(key).query_async(&mut link).await
}

#[tokio::test]
async fn one_command_is_one_array_with_the_headers_of_the_api_and_no_more() {
    let listener = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let first = request(&mut stream).await;
        respond(&mut stream, "200 OK", "upstash-sync-token: seen-7\r\n", r#"{"result":"YQ=="}"#).await;
        let second = request(&mut stream).await;
        respond(&mut stream, "200 OK", "", r#"{"result":null}"#).await;
        (first, second)
    };
    let link = link(&listener, 1);
    let client = async {
        assert_eq!(get(link.clone(), "k").await.expect("a value"), "a");
        let mut link = link.clone();
        assert_eq!(link.req_packed_command(redis::cmd("GET").arg("k")).await.expect("an answer"), Value::Nil);
    };
    let (((head, body), (second, _)), ()) = tokio::join!(server, client);
    assert_eq!(body, r#"["GET","k"]"#);
    let mut lines: Vec<String> = head.lines().map(str::to_lowercase).collect();
    lines.sort();
    let host = format!("host: {}", listener.local_addr().expect("bound"));
    assert_eq!(
        lines,
        [
            "authorization: bearer s3cret".to_owned(),
            "content-length: 11".to_owned(),
            "content-type: application/json".to_owned(),
            host,
            "post /prefix/ http/1.1".to_owned(),
            "upstash-encoding: base64".to_owned(),
            "upstash-sync-token: ".to_owned(),
            format!("user-agent: agentapi/{}", env!("CARGO_PKG_VERSION")),
        ]
    );
    assert!(second.contains("upstash-sync-token: seen-7"), "{second}");
}

#[tokio::test]
async fn what_is_asked_for_together_travels_together_and_in_order() {
    let listener = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let (head, body) = request(&mut stream).await;
        respond(&mut stream, "200 OK", "", r#"[{"result":"YQ=="},{"error":"ERR no"},{"result":"Yg=="},{"result":"Yw=="}]"#).await;
        (head, body)
    };
    let link = link(&listener, 4);
    let mut pipeline = redis::pipe();
    pipeline.cmd("GET").arg("3").cmd("GET").arg("4");
    let mut third = link.clone();
    let client = async {
        tokio::join!(get(link.clone(), "1"), get(link.clone(), "2"), pipeline.query_async::<(String, String)>(&mut third))
    };
    let ((head, body), (one, two, three)) = tokio::join!(server, client);
    assert!(head.starts_with("POST /prefix/pipeline "), "{head}");
    assert_eq!(body, r#"[["GET","1"],["GET","2"],["GET","3"],["GET","4"]]"#);
    assert_eq!((one.expect("a value").as_str(), three.expect("values")), ("a", ("b".to_owned(), "c".to_owned())));
    assert_eq!(two.expect_err("an error").code(), Some("ERR"));
}

#[tokio::test]
async fn a_transaction_goes_alone_and_both_shapes_of_its_answer_are_understood() {
    let listener = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut requests = Vec::new();
        for answer in
            [r#"{"result":"YQ=="}"#, r#"[{"result":"OK"},{"result":7}]"#, r#"{"error":"EXECABORT Transaction discarded"}"#]
        {
            requests.push(request(&mut stream).await);
            respond(&mut stream, "200 OK", "", answer).await;
        }
        requests
    };
    // One connection: what cannot go along waits.
    let link = link(&listener, 1);
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("SET").arg("k").arg("v").ignore().cmd("INCR").arg("n");
    let (mut first, mut second) = (link.clone(), link.clone());
    let client = async {
        let (one, two) = tokio::join!(get(link.clone(), "1"), transaction.query_async::<(i64,)>(&mut first));
        (one, two, transaction.query_async::<(i64,)>(&mut second).await)
    };
    let (requests, (one, two, three)) = tokio::join!(server, client);
    let paths: Vec<_> = requests.iter().map(|(head, _)| head.split(' ').nth(1).expect("a path")).collect();
    assert_eq!(paths, ["/prefix/", "/prefix/multi-exec", "/prefix/multi-exec"]);
    assert_eq!(requests[1].1, r#"[["SET","k","v"],["INCR","n"]]"#);
    assert_eq!((one.expect("a value").as_str(), two.expect("values")), ("a", (7,)));
    assert_eq!(three.expect_err("an error").code(), Some("EXECABORT"));
}

#[tokio::test]
async fn what_gathers_while_a_request_is_out_goes_in_bounded_batches() {
    let listener = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut sizes = Vec::new();
        while sizes.iter().sum::<usize>() < 301 {
            let (_, body) = request(&mut stream).await;
            let size = body.matches("GET").count();
            let answers = vec![r#"{"result":"YQ=="}"#; size].join(",");
            let answers = if body.starts_with("[[") { format!("[{answers}]") } else { answers };
            respond(&mut stream, "200 OK", "", &answers).await;
            sizes.push(size);
        }
        sizes
    };
    let link = link(&listener, 1);
    let client = futures_util::future::join_all((0..301).map(|n| {
        let link = link.clone();
        async move { get(link, &n.to_string()).await }
    }));
    let (sizes, answers) = tokio::join!(server, client);
    assert_eq!(sizes, [128, 128, 45]);
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("a")));
}

#[tokio::test]
async fn nothing_is_sent_twice_and_a_kept_connection_that_closed_is_replaced() {
    let listener = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        request(&mut stream).await;
        respond(&mut stream, "200 OK", "", r#"{"result":"YQ=="}"#).await;
        drop(stream);
        let (mut stream, _) = listener.accept().await.expect("a second connection");
        request(&mut stream).await;
        // Read, perhaps carried out, and never answered.
        drop(stream);
    };
    let link = link(&listener, 1);
    let client = async {
        assert_eq!(get(link.clone(), "1").await.expect("a value"), "a");
        let error = get(link.clone(), "2").await.expect_err("lost").to_string();
        assert!(error.contains("the connection broke") && !error.contains("s3cret"), "{error}");
    };
    tokio::join!(server, client);
    let more = tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept()).await;
    assert!(more.is_err(), "sent again");
}

#[tokio::test]
async fn every_other_answer_is_an_error_that_says_nothing_of_the_body() {
    let listener = listen().await;
    let cases = [
        ("401 Unauthorized", r#"{"error":"WRONGPASS s3cret"}"#, "the token is refused"),
        ("429 Too Many Requests", "<html>s3cret", "too many requests"),
        ("500 Internal Server Error", "s3cret", "HTTP 500"),
        ("503 Service Unavailable", "", "HTTP 503"),
        ("302 Found", "s3cret", "HTTP 302"),
        ("200 OK", "<html>s3cret</html>", "the body is not JSON"),
        ("200 OK", r#"{"result":"s3cr"#, "the body is not JSON"),
        ("200 OK", r#"{"result":"%s3cret"}"#, "a result is not base64"),
        ("200 OK", r#"[{"result":"YQ=="}]"#, "an answer is no object"),
        ("400 Bad Request", r#"{"error":"ERR wrong number of arguments for s3cret"}"#, "error reply ERR"),
        ("400 Bad Request", r#"{"error":"ERR max daily request limit exceeded. s3cret"}"#, "max daily request limit exceeded"),
    ];
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        for (status, body, _) in cases {
            request(&mut stream).await;
            respond(&mut stream, status, "", body).await;
        }
    };
    let link = link(&listener, 1);
    let client = async {
        for (status, body, expected) in cases {
            let error = get(link.clone(), "k").await.expect_err(status);
            let said = crate::redis::unavailable(&error).to_string();
            assert!(said.contains(expected) && !said.contains("s3cr"), "{status} {body}: {said}");
        }
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn what_is_wrong_with_one_callers_answer_is_no_others() {
    let listener = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        request(&mut stream).await;
        respond(&mut stream, "200 OK", "", r#"[{"result":"YQ=="},{"result":{"a":1}},{"result":"Yw=="}]"#).await;
    };
    let link = link(&listener, 1);
    let client = async { tokio::join!(get(link.clone(), "1"), get(link.clone(), "2"), get(link.clone(), "3")) };
    let ((), (one, two, three)) = tokio::join!(server, client);
    assert_eq!((one.as_deref(), three.as_deref()), (Ok("a"), Ok("c")));
    let error = two.expect_err("an object").to_string();
    assert!(error.contains("a result is an object"), "{error}");
}

#[tokio::test]
async fn a_connection_whose_request_was_not_read_to_its_end_is_replaced() {
    let listener = listen().await;
    let server = async {
        let (mut deaf, _) = listener.accept().await.expect("a client");
        // Less than what is sent fits between.
        deaf.read_exact(&mut [0; 1024]).await.expect("a beginning");
        respond(&mut deaf, "400 Bad Request", "", r#"{"error":"ERR max request size exceeded"}"#).await;
        let (mut stream, _) = listener.accept().await.expect("a second connection");
        request(&mut stream).await;
        respond(&mut stream, "200 OK", "", r#"{"result":"YQ=="}"#).await;
        drop(deaf);
    };
    let link = link(&listener, 1);
    let client = async {
        let error = get(link.clone(), &"k".repeat(32 * 1024 * 1024)).await.expect_err("too large");
        assert_eq!(error.code(), Some("ERR"), "{error}");
        let next = tokio::time::timeout(std::time::Duration::from_secs(1), get(link.clone(), "1")).await;
        assert_eq!(next.expect("in time").expect("a value"), "a");
    };
    tokio::join!(server, client);
}

/// Longer than an answer is waited for, by what a machine adds that has a lot to do.
const LONG: std::time::Duration = std::time::Duration::from_secs(5);

#[tokio::test]
async fn an_answer_too_long_is_an_error_and_is_not_read_to_its_end() {
    let listener = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        request(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("written");
        let chunk = format!("100000\r\n{}\r\n", "x".repeat(0x10_0000));
        let mut sent = 0;
        while stream.write_all(chunk.as_bytes()).await.is_ok() {
            sent += 1;
        }
        sent
    };
    let link = link(&listener, 1);
    let client = async { get(link.clone(), "k").await.expect_err("too long").to_string() };
    let (megabytes, error) = tokio::time::timeout(LONG, async { tokio::join!(server, client) }).await.expect("ends");
    assert!(error.contains("in the middle of an answer") || error.contains("no answer in time"), "{error}");
    // Beyond what is taken, no more than fits between.
    assert!(megabytes < 32, "{megabytes}");
}

#[tokio::test]
async fn a_long_command_goes_alone_while_short_ones_pass() {
    let listener = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut bodies = Vec::new();
        for answer in [r#"{"result":"YQ=="}"#, r#"{"result":"Yg=="}"#, r#"[{"result":"Yw=="},{"result":"ZA=="}]"#] {
            bodies.push(request(&mut stream).await.1);
            respond(&mut stream, "200 OK", "", answer).await;
        }
        bodies
    };
    let link = link(&listener, 1);
    let long = "k".repeat(1024 * 1024);
    let client =
        async { tokio::join!(get(link.clone(), "1"), get(link.clone(), &long), get(link.clone(), "3"), get(link.clone(), "4")) };
    let (bodies, (one, two, three, four)) = tokio::join!(server, client);
    let values = [one, two, three, four].map(|value| value.expect("a value"));
    assert_eq!(values, ["a", "b", "c", "d"]);
    assert_eq!((bodies[0].as_str(), bodies[2].as_str()), (r#"["GET","1"]"#, r#"[["GET","3"],["GET","4"]]"#));
    assert!(bodies[1].starts_with(r#"["GET","kkk"#), "{}", &bodies[1][..20]);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_sent() {
    let listener = listen().await;
    let (link, tasks) = (link(&listener, 1), TaskTracker::new());
    let first = tasks.spawn(get(link.clone(), "1"));
    let (mut stream, _) = listener.accept().await.expect("a client");
    assert_eq!(request(&mut stream).await.1, r#"["GET","1"]"#);
    // The only connection is taken: they wait.
    let (gone, stays) = (tasks.spawn(get(link.clone(), "2")), tasks.spawn(get(link.clone(), "3")));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    gone.abort();
    assert!(gone.await.expect_err("it went away").is_cancelled());
    respond(&mut stream, "200 OK", "", r#"{"result":"YQ=="}"#).await;
    assert_eq!(request(&mut stream).await.1, r#"["GET","3"]"#);
    respond(&mut stream, "200 OK", "", r#"{"result":"Yw=="}"#).await;
    assert_eq!(first.await.expect("ends").expect("a value"), "a");
    assert_eq!(stays.await.expect("ends").expect("a value"), "c");
}
